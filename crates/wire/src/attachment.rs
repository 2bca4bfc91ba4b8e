//! What a message tells of a file [KV-123].

use bytes::Bytes;
use kuvert_types::limits::{
    MAX_FILE_BYTES, MAX_FILE_NAME_BYTES, MAX_MEDIA_TYPE_BYTES, MAX_PICTURE_SIDE, MAX_THUMBNAIL_BYTES, MAX_VOICE_MS,
    WAVEFORM_STEPS,
};
use kuvert_types::{BlobCapability, BlobId, DecodeError};
use std::fmt;

use crate::checked::{FieldError, InField as _, array};
use crate::v1;

/// A file of a message: where its blob lies, what opens it, and what is shown before it is fetched. All of it is the sender's word.
#[derive(Clone, PartialEq, Eq)]
pub struct Attachment {
    /// The blob's name at the relay.
    pub blob: BlobId,
    /// What the relay gives it out for: the receiving device's own, or one for all.
    pub capability: BlobCapability,
    /// Whether the capability is one for all: its reader does not tell the relay that it is done.
    pub shared: bool,
    /// What the blob is encrypted under.
    pub file_key: [u8; 32],
    /// Bytes of the file, at most [`MAX_FILE_BYTES`].
    pub size: u64,
    /// SHA-256 of the blob.
    pub digest: [u8; 32],
    /// As in `image/jpeg`, without parameters ([`is_media_type`]).
    pub media_type: String,
    /// At most [`MAX_FILE_NAME_BYTES`] bytes, empty for none. Whatever the sender wrote: neither a path, nor safe to show.
    pub name: String,
    /// A request to show it once.
    pub view_once: bool,
    /// Of a picture.
    pub picture: Option<Picture>,
    /// Of a voice note.
    pub voice: Option<Voice>,
}

/// What is told of a picture.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Picture {
    /// Pixels, 1 to [`MAX_PICTURE_SIDE`].
    pub width: u32,
    /// Pixels, 1 to [`MAX_PICTURE_SIDE`].
    pub height: u32,
    /// A small JPEG of at most [`MAX_THUMBNAIL_BYTES`] bytes; not looked at here.
    pub thumbnail: Option<Bytes>,
}

/// What is told of a voice note.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Voice {
    /// 1 to [`MAX_VOICE_MS`].
    pub duration_ms: u32,
    /// How loud it is in each of so many parts of equal length: 0 to 255.
    pub waveform: [u8; WAVEFORM_STEPS],
}

impl fmt::Debug for Attachment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Every field is named, so that a new one forces a decision.
        let Self {
            blob,
            capability: _,
            shared,
            file_key: _,
            size,
            digest: _,
            media_type,
            name: _,
            view_once,
            picture,
            voice,
        } = self;
        f.debug_struct("Attachment")
            .field("blob", blob)
            .field("shared", shared)
            .field("size", size)
            .field("media_type", media_type)
            .field("view_once", view_once)
            .field("picture", &picture.is_some())
            .field("voice", &voice.is_some())
            .finish_non_exhaustive()
    }
}

/// Whether this is a type and a subtype as RFC 6838 (section 4.2) restricts their names, in lower case, so that a type has one
/// spelling: `image/jpeg`.
pub fn is_media_type(text: &str) -> bool {
    let is_name = |name: &str| {
        name.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
            && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"!#$&-^_.+".contains(&b))
    };
    text.len() <= MAX_MEDIA_TYPE_BYTES
        && text.split_once('/').is_some_and(|(kind, subtype)| is_name(kind) && is_name(subtype))
}

fn check(good: bool, field: &'static str) -> Result<(), FieldError> {
    if good { Ok(()) } else { Err(FieldError { field, reason: DecodeError::Value }) }
}

impl TryFrom<v1::Attachment> for Attachment {
    type Error = FieldError;

    fn try_from(value: v1::Attachment) -> Result<Self, FieldError> {
        // [KV-123]
        check(value.size <= MAX_FILE_BYTES, "size")?;
        check(is_media_type(&value.media_type), "media_type")?;
        check(value.name.len() <= MAX_FILE_NAME_BYTES, "name")?;
        Ok(Self {
            blob: BlobId::try_from(value.blob.as_ref()).in_field("blob")?,
            capability: BlobCapability::try_from(value.capability.as_ref()).in_field("capability")?,
            shared: value.shared,
            file_key: array(&value.file_key, "file_key")?,
            size: value.size,
            digest: array(&value.digest, "digest")?,
            media_type: value.media_type,
            name: value.name,
            view_once: value.view_once,
            picture: value.picture.map(Picture::try_from).transpose()?,
            voice: value.voice.map(Voice::try_from).transpose()?,
        })
    }
}

impl TryFrom<v1::Picture> for Picture {
    type Error = FieldError;

    fn try_from(value: v1::Picture) -> Result<Self, FieldError> {
        check((1..=MAX_PICTURE_SIDE).contains(&value.width), "width")?;
        check((1..=MAX_PICTURE_SIDE).contains(&value.height), "height")?;
        let fits = value.thumbnail.as_ref().is_none_or(|bytes| (1..=MAX_THUMBNAIL_BYTES).contains(&bytes.len()));
        check(fits, "thumbnail")?;
        Ok(Self { width: value.width, height: value.height, thumbnail: value.thumbnail })
    }
}

impl TryFrom<v1::Voice> for Voice {
    type Error = FieldError;

    fn try_from(value: v1::Voice) -> Result<Self, FieldError> {
        check((1..=MAX_VOICE_MS).contains(&value.duration_ms), "duration_ms")?;
        Ok(Self { duration_ms: value.duration_ms, waveform: array(&value.waveform, "waveform")? })
    }
}

impl From<Attachment> for v1::Attachment {
    fn from(value: Attachment) -> Self {
        Self {
            blob: Bytes::copy_from_slice(value.blob.as_bytes()),
            capability: Bytes::copy_from_slice(value.capability.as_bytes()),
            file_key: Bytes::copy_from_slice(&value.file_key),
            size: value.size,
            digest: Bytes::copy_from_slice(&value.digest),
            media_type: value.media_type,
            name: value.name,
            shared: value.shared,
            view_once: value.view_once,
            picture: value.picture.map(|picture| v1::Picture {
                width: picture.width,
                height: picture.height,
                thumbnail: picture.thumbnail,
            }),
            voice: value.voice.map(|voice| v1::Voice {
                duration_ms: voice.duration_ms,
                waveform: Bytes::copy_from_slice(&voice.waveform),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> v1::Attachment {
        Attachment {
            blob: BlobId::from_bytes([1; 16]),
            capability: BlobCapability::from_bytes([2; 32]),
            shared: false,
            file_key: [3; 32],
            size: 5,
            digest: [4; 32],
            media_type: "image/svg+xml".to_owned(),
            name: "a.svg".to_owned(),
            view_once: true,
            picture: Some(Picture { width: 3, height: 4, thumbnail: Some(Bytes::from_static(b"jpeg")) }),
            voice: Some(Voice { duration_ms: 1_500, waveform: [9; WAVEFORM_STEPS] }),
        }
        .into()
    }

    fn refused(change: impl FnOnce(&mut v1::Attachment)) -> &'static str {
        let mut attachment = good();
        change(&mut attachment);
        Attachment::try_from(attachment).unwrap_err().field
    }

    #[test]
    fn an_attachment_round_trips() {
        assert_eq!(v1::Attachment::from(Attachment::try_from(good()).unwrap()), good());
        let bare = v1::Attachment { picture: None, voice: None, name: String::new(), size: 0, ..good() };
        assert_eq!(v1::Attachment::from(Attachment::try_from(bare.clone()).unwrap()), bare);
    }

    #[test]
    fn what_is_out_of_bounds_is_refused_by_name() {
        assert_eq!(refused(|a| a.blob = vec![1; 15].into()), "blob");
        assert_eq!(refused(|a| a.capability = vec![1; 16].into()), "capability");
        assert_eq!(refused(|a| a.file_key = vec![1; 33].into()), "file_key");
        assert_eq!(refused(|a| a.digest = Bytes::new()), "digest");
        assert_eq!(refused(|a| a.size = MAX_FILE_BYTES + 1), "size");
        assert_eq!(refused(|a| a.name = "x".repeat(MAX_FILE_NAME_BYTES + 1)), "name");
        assert_eq!(refused(|a| a.picture.as_mut().unwrap().width = 0), "width");
        assert_eq!(refused(|a| a.picture.as_mut().unwrap().height = MAX_PICTURE_SIDE + 1), "height");
        for thumbnail in [Bytes::new(), vec![0; MAX_THUMBNAIL_BYTES + 1].into()] {
            assert_eq!(refused(|a| a.picture.as_mut().unwrap().thumbnail = Some(thumbnail)), "thumbnail");
        }
        assert_eq!(refused(|a| a.voice.as_mut().unwrap().duration_ms = 0), "duration_ms");
        assert_eq!(refused(|a| a.voice.as_mut().unwrap().waveform = vec![0; 63].into()), "waveform");
    }

    #[test]
    fn a_media_type_has_one_spelling() {
        for good in ["image/jpeg", "application/vnd.oasis.opendocument.text", "audio/ogg", "x/7z"] {
            assert!(is_media_type(good), "{good}");
        }
        let long = format!("a/{}", "b".repeat(MAX_MEDIA_TYPE_BYTES - 1));
        for bad in ["", "/", "image", "image/", "/jpeg", "Image/jpeg", "a/b/c", "a/b;c=d", "a/b c", "a/\u{e4}", &long] {
            assert!(!is_media_type(bad), "{bad}");
        }
    }

    #[test]
    fn no_key_and_no_name_is_shown() {
        let shown = format!("{:?}", Attachment::try_from(good()).unwrap());
        assert!(!shown.contains("[3, 3") && !shown.contains("a.svg"), "{shown}");
    }
}
