//! Session messages as bytes: fixed layouts, one spelling each (PROTOCOL.md, Session messages). Integers are big-endian.
//!
//! ```text
//! RatchetMessage: version u8 = 1 ‖ kind u8 = 2 ‖ encrypted header 232 ‖ ciphertext, a padded length ‖ tag 16
//! PrekeyMessage:  version u8 = 1 ‖ kind u8 = 1 ‖ handshake 1859 ‖ encrypted header 232 ‖ ciphertext ‖ tag 16
//! handshake:      initiator's certificate 245 ‖ ephemeral key 32 ‖ signed prekey id u32
//!                 ‖ KEM prekey kind u8 (1 one-time, 2 last-resort) ‖ KEM prekey id u32 ‖ KEM ciphertext 1568
//!                 ‖ one-time prekey u8 (1 used, 0 none) ‖ one-time prekey id u32 (0 if none)
//! ```
//! Every byte is authenticated: version, kind and encrypted header by the body's associated data, the handshake by its
//! transcript hash there and by the certificate's own signatures.

use kuvert_types::{DecodeError, DeviceCertificate, Reader, UnverifiedDeviceCertificate, limits};

use crate::padding;
use crate::prekey::KemPrekeyKind;
use crate::primitives::aead::TAG_LEN;
use crate::primitives::kem1024::CIPHERTEXT_LEN;
use crate::primitives::x25519::X25519Public;
use crate::ratchet::ENCRYPTED_HEADER_LEN;

/// First byte of every session message.
pub const PROTOCOL_VERSION: u8 = 1;

/// Bytes of the handshake in a prekey message.
pub const HANDSHAKE_LEN: usize = DeviceCertificate::LEN + 32 + 4 + 1 + 4 + CIPHERTEXT_LEN + 1 + 4;

/// Bytes that a ratchet message adds to the padded content.
pub const RATCHET_MESSAGE_OVERHEAD: usize = 2 + ENCRYPTED_HEADER_LEN + TAG_LEN;

/// Bytes that a prekey message adds to the padded content.
pub const PREKEY_MESSAGE_OVERHEAD: usize = RATCHET_MESSAGE_OVERHEAD + HANDSHAKE_LEN;

/// Bytes of content in one message, at most [KV-029]: as padded, and with a handshake, it fits the relay's limit.
pub const MAX_CONTENT_LEN: usize = 90 * 1024 - 1;

const _: () = assert!(
    padding::padded_len(MAX_CONTENT_LEN) + PREKEY_MESSAGE_OVERHEAD <= limits::MAX_CIPHERTEXT_BYTES,
    "the longest message fits an envelope"
);

/// Second byte of every session message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum MessageKind {
    Prekey,
    Ratchet,
}

impl MessageKind {
    pub(crate) const fn to_byte(self) -> u8 {
        match self {
            Self::Prekey => 1,
            Self::Ratchet => 2,
        }
    }
}

/// A session message taken apart. Nothing in it is authenticated yet.
#[allow(clippy::large_enum_variant)] // lives on the stack for one call
pub(crate) enum Message<'a> {
    Prekey(PrekeyMessage<'a>),
    Ratchet(RatchetMessage<'a>),
}

/// The first message of a session, repeated with new content until an answer comes.
pub(crate) struct PrekeyMessage<'a> {
    pub(crate) handshake: Handshake<'a>,
    /// What `handshake` was read from.
    pub(crate) handshake_bytes: &'a [u8; HANDSHAKE_LEN],
    pub(crate) ratchet: RatchetMessage<'a>,
}

/// What the recipient needs to agree on the session's secret.
pub(crate) struct Handshake<'a> {
    pub(crate) certificate: UnverifiedDeviceCertificate,
    pub(crate) choice: HandshakeChoice<'a>,
}

/// The handshake without the certificate: the ephemeral key, and which prekeys the initiator used.
#[derive(Clone, Copy)]
pub(crate) struct HandshakeChoice<'a> {
    pub(crate) ephemeral: X25519Public,
    pub(crate) signed_prekey_id: u32,
    pub(crate) kem_kind: KemPrekeyKind,
    pub(crate) kem_prekey_id: u32,
    pub(crate) kem_ciphertext: &'a [u8; CIPHERTEXT_LEN],
    pub(crate) one_time_prekey_id: Option<u32>,
}

/// Header and body.
pub(crate) struct RatchetMessage<'a> {
    pub(crate) kind: MessageKind,
    pub(crate) encrypted_header: &'a [u8; ENCRYPTED_HEADER_LEN],
    pub(crate) ciphertext: &'a [u8],
    pub(crate) tag: &'a [u8; TAG_LEN],
}

impl<'a> Message<'a> {
    /// [KV-026] One of two fixed layouts, of the version that this build speaks [KV-077].
    pub(crate) fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        if bytes.len() > limits::MAX_CIPHERTEXT_BYTES {
            return Err(DecodeError::Length);
        }
        let mut reader = Reader::new(bytes);
        if reader.u8()? != PROTOCOL_VERSION {
            return Err(DecodeError::Version);
        }
        match reader.u8()? {
            1 => {
                let handshake_bytes = fixed(&mut reader)?;
                Ok(Self::Prekey(PrekeyMessage {
                    handshake: Handshake::decode(handshake_bytes)?,
                    handshake_bytes,
                    ratchet: RatchetMessage::decode(MessageKind::Prekey, reader)?,
                }))
            }
            2 => Ok(Self::Ratchet(RatchetMessage::decode(MessageKind::Ratchet, reader)?)),
            _ => Err(DecodeError::Value),
        }
    }
}

impl<'a> RatchetMessage<'a> {
    fn decode(kind: MessageKind, mut reader: Reader<'a>) -> Result<Self, DecodeError> {
        let encrypted_header = fixed(&mut reader)?;
        let (ciphertext, tag) = reader.rest().split_last_chunk().ok_or(DecodeError::Length)?;
        if !padding::is_padded_len(ciphertext.len()) {
            return Err(DecodeError::Length);
        }
        Ok(Self { kind, encrypted_header, ciphertext, tag })
    }
}

impl<'a> Handshake<'a> {
    fn decode(bytes: &'a [u8; HANDSHAKE_LEN]) -> Result<Self, DecodeError> {
        Reader::whole(bytes, |reader| {
            Ok(Self {
                certificate: UnverifiedDeviceCertificate::decode(reader.bytes(DeviceCertificate::LEN)?)?,
                choice: HandshakeChoice::read(reader)?,
            })
        })
    }
}

impl<'a> HandshakeChoice<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Ok(Self {
            ephemeral: X25519Public::decode(reader.array()?).map_err(|_| DecodeError::Value)?,
            signed_prekey_id: reader.u32()?,
            kem_kind: KemPrekeyKind::from_byte(reader.u8()?)?,
            kem_prekey_id: reader.u32()?,
            kem_ciphertext: fixed(reader)?,
            one_time_prekey_id: match (reader.u8()?, reader.u32()?) {
                (0, 0) => None,
                (1, id) => Some(id),
                _ => return Err(DecodeError::Value),
            },
        })
    }

    /// The whole handshake as sent.
    pub(crate) fn encode(&self, certificate: &DeviceCertificate) -> [u8; HANDSHAKE_LEN] {
        let mut bytes = [0; HANDSHAKE_LEN];
        let mut at = 0;
        let fields: [&[u8]; 8] = [
            &certificate.encode(),
            self.ephemeral.as_bytes(),
            &self.signed_prekey_id.to_be_bytes(),
            &[self.kem_kind.to_byte()],
            &self.kem_prekey_id.to_be_bytes(),
            self.kem_ciphertext,
            &[u8::from(self.one_time_prekey_id.is_some())],
            &self.one_time_prekey_id.unwrap_or(0).to_be_bytes(),
        ];
        for field in fields {
            bytes[at..at + field.len()].copy_from_slice(field);
            at += field.len();
        }
        bytes
    }
}

/// The next `N` bytes, where they are.
fn fixed<'a, const N: usize>(reader: &mut Reader<'a>) -> Result<&'a [u8; N], DecodeError> {
    reader.bytes(N)?.first_chunk().ok_or(DecodeError::Length)
}

/// The certificate in a prekey message, before anything is checked; `None` for a ratchet message. For a look ahead: whether
/// the account is known, and under which key.
///
/// # Errors
/// [`DecodeError`]: the bytes are no session message.
pub fn initiator_certificate(message: &[u8]) -> Result<Option<UnverifiedDeviceCertificate>, DecodeError> {
    match Message::decode(message)? {
        Message::Prekey(message) => Ok(Some(message.handshake.certificate)),
        Message::Ratchet(_) => Ok(None),
    }
}

/// The last-resort KEM prekey that a first message names, before anything is checked: the caller loads the
/// [`ReplayRecord`](crate::ReplayRecord) of that prekey before it decrypts [KV-059]. `None` for a ratchet message, and for a first
/// message that names a one-time KEM prekey: neither needs a record.
///
/// # Errors
/// [`DecodeError`]: the bytes are no session message.
pub fn last_resort_prekey(message: &[u8]) -> Result<Option<u32>, DecodeError> {
    Ok(match Message::decode(message)? {
        Message::Prekey(message) => {
            let choice = message.handshake.choice;
            (choice.kem_kind == KemPrekeyKind::LastResort).then_some(choice.kem_prekey_id)
        }
        Message::Ratchet(_) => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A ratchet message of so many bytes in all: the shape, and nothing that would open.
    fn shaped(len: usize) -> alloc::vec::Vec<u8> {
        let mut bytes = alloc::vec![0; len];
        bytes[..2].copy_from_slice(&[PROTOCOL_VERSION, 2]);
        bytes
    }

    #[test]
    fn a_message_beyond_the_relays_limit_is_refused_whatever_its_shape() {
        let overhead = RATCHET_MESSAGE_OVERHEAD;
        let lens = (1..).map(padding::padded_len).map(|padded| padded + overhead);
        let mut lens: alloc::vec::Vec<usize> = lens.take_while(|len| *len < 2 * limits::MAX_CIPHERTEXT_BYTES).collect();
        lens.dedup();
        let (allowed, beyond): (alloc::vec::Vec<usize>, alloc::vec::Vec<usize>) =
            lens.into_iter().partition(|len| *len <= limits::MAX_CIPHERTEXT_BYTES);
        assert!(!allowed.is_empty() && !beyond.is_empty());
        for len in allowed {
            assert!(Message::decode(&shaped(len)).is_ok(), "{len}");
        }
        for len in beyond {
            assert!(matches!(Message::decode(&shaped(len)), Err(DecodeError::Length)), "{len}");
        }
    }

    #[test]
    fn what_messages_add_to_their_content() {
        assert_eq!((RATCHET_MESSAGE_OVERHEAD, PREKEY_MESSAGE_OVERHEAD), (250, 250 + HANDSHAKE_LEN));
    }
}
