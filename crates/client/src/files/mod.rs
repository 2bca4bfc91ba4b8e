//! Files: sent and fetched beside the mail, each over a stream of its own.
//!
//! ```text
//! queue: look at the file, take metadata out of pictures ─► message in the history, one upload a file
//!   upload: read ─ the same file? ─ no: another key, from the beginning [KV-110]
//!                  └ yes: create ─ append from where the relay has it durably ─ commit
//!   all of a message's are committed ─► the message goes into the outbox
//!
//! a message with files came ─► stored, told ─► fetch: each piece opened before it counts ─► whole, synced, named ─► the relay is told
//! ```
//! A message takes its place in the outbox once its files are at the relay: texts that are written meanwhile do not wait for it.
//!
//! | module | owns |
//! |---|---|
//! | `upload` | what waits to be sent |
//! | `fetch` | what came |
//! | `budget` | how much of it comes in a day without being asked for |
//! | `background` | both beside a call of `receive` |
//! | `exchange` | one transfer on its stream |
//! | `source` | a file as it lies on the disk |
//! | `picture`, `thumbnail` | metadata of pictures; thumbnails |
//! | `voice`, `name` | voice notes, names |
//! | `folder` | the home's folders |

pub(crate) mod background;
mod budget;
mod exchange;
pub(crate) mod fetch;
pub(crate) mod folder;
pub(crate) mod name;
mod picture;
pub(crate) mod source;
#[cfg(test)]
mod tests;
pub mod thumbnail;
pub(crate) mod upload;
mod voice;

use std::ffi::OsString;
use std::fs;
use std::io::{BufReader, BufWriter, Seek as _};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use kuvert_protocol::attachment::FileKey;
use kuvert_protocol::blob::BlobSecret;
use kuvert_types::limits::{MAX_ATTACHMENTS, MAX_FILE_BYTES, MAX_PICTURE_SIDE, MAX_TEXT_BYTES, WAVEFORM_STEPS};
use kuvert_wire::attachment::Voice;
use kuvert_wire::v1;
use prost::Message as _;

use crate::contact::Contact;
use crate::conversation::{ConversationId, MessageRef};
use crate::engine::{Engine, Tx, blocking};
use crate::error::Error;
use crate::fold::is_invisible;
use crate::home::Home;
use crate::rng;
use crate::state::{
    self, FetchRow, FileRow, FileState, MessageRow, Progress, Stored, UploadRow, file_key, message_key,
};
use crate::store::{Log, Table, Transaction};

use self::picture::Kind;

/// A file to be sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OutgoingFile {
    /// Where it is.
    pub path: PathBuf,
    /// A picture is sent with everything that it tells: place, time, camera.
    pub original: bool,
    /// The recipient is asked to show it once.
    pub view_once: bool,
    /// It is a voice note: Ogg Opus.
    pub voice: bool,
}

impl OutgoingFile {
    /// A file as it is sent if nothing else is asked for.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), original: false, view_once: false, voice: false }
    }
}

/// The name of a file as it can stand in a directory and be shown, whatever its sender called it.
pub fn safe_file_name(name: &str) -> String {
    name::safe(name)
}

/// Puts a message with files into the history, to be sent once they are at the relay.
///
/// # Errors
/// `text-too-long`, `text-empty` without files, `too-many-files`, `file-unusable`, `file-too-large`, `picture-unreadable`,
/// `voice-unreadable`, `disk-full`, and those of a text. Nothing is queued then.
pub(crate) async fn queue(
    engine: &Engine,
    conversation: ConversationId,
    text: &str,
    files: Vec<OutgoingFile>,
) -> Result<MessageRef, Error> {
    if text.len() > MAX_TEXT_BYTES {
        return Err(Error::TextTooLong { bytes: text.len() });
    }
    if files.len() > MAX_ATTACHMENTS {
        return Err(Error::TooManyFiles { count: files.len() });
    }
    // Before anything is read.
    engine.read(move |tx| may_send(tx, conversation)).await?;
    let home = engine.home().clone();
    let prepared = blocking(move || prepare_all(&home, &files)).await?;
    let copies: Vec<PathBuf> = prepared.iter().filter_map(|file| file.copy(engine.home())).collect();
    let text = if is_invisible(text) { String::new() } else { text.to_owned() };
    let (prepared, contents): (Vec<_>, Vec<_>) = prepared
        .into_iter()
        .map(|file| ((file.told, file.upload.clone(), file.from), (file.upload.file_key, file.content)))
        .unzip();
    let queued = engine.write(move |tx| insert(tx, conversation, text, prepared)).await;
    if queued.is_err() {
        // Nothing names them.
        blocking(move || copies.iter().try_for_each(|copy| folder::remove(copy))).await?;
    }
    let message = queued?;
    contents.into_iter().for_each(|(key, content)| engine.looked().keep(key, content));
    engine.files_due().notify_one();
    Ok(message)
}

fn may_send(tx: &Tx<'_>, conversation: ConversationId) -> Result<(), Error> {
    tx.identity()?.must_exist()?;
    let ConversationId::Contact(contact) = conversation;
    Contact::known(tx, &contact)?.may_send()
}

/// A file that was looked at.
struct Prepared {
    told: v1::Attachment,
    upload: UploadRow,
    /// Where its owner has it.
    from: PathBuf,
    content: source::Content,
}

impl Prepared {
    fn copy(&self, home: &Home) -> Option<PathBuf> {
        self.upload.copy.then(|| upload_path(home, &self.upload))
    }
}

/// Where the bytes of an upload are.
fn upload_path(home: &Home, row: &UploadRow) -> PathBuf {
    let path = Path::new(std::ffi::OsStr::from_bytes(&row.path));
    // A path that begins at the root stays as it is.
    home.directory().join(path)
}

/// All or none.
fn prepare_all(home: &Home, files: &[OutgoingFile]) -> Result<Vec<Prepared>, Error> {
    let mut prepared = Vec::with_capacity(files.len());
    for file in files {
        match prepare(home, file) {
            Ok(one) => prepared.push(one),
            Err(error) => {
                for copy in prepared.iter().filter_map(|file: &Prepared| file.copy(home)) {
                    folder::remove(&copy)?;
                }
                return Err(error);
            }
        }
    }
    Ok(prepared)
}

fn prepare(home: &Home, file: &OutgoingFile) -> Result<Prepared, Error> {
    let unusable = |error: std::io::Error| Error::FileUnusable { path: file.path.clone(), reason: error.to_string() };
    let path = std::path::absolute(&file.path).map_err(unusable)?;
    let mut input = BufReader::new(source::open(&path).map_err(unusable)?);
    let name = name::of(&path);
    let bytes = input.get_ref().metadata().map_err(unusable)?.len();
    if bytes > MAX_FILE_BYTES {
        return Err(Error::FileTooLarge { name, bytes, limit: MAX_FILE_BYTES });
    }
    let kind = picture::kind(&mut input).map_err(unusable)?;
    let mut told = v1::Attachment { view_once: file.view_once, ..v1::Attachment::default() };
    told.media_type = media_type(kind, &name).to_owned();
    let mut upload = UploadRow { path: path.as_os_str().as_bytes().to_vec(), ..UploadRow::default() };
    if file.voice {
        told.media_type = "audio/ogg".to_owned();
        told.voice = Some(voice_told(voice::read(&path)?));
    }
    if !file.original && kind != Kind::None {
        input.rewind().map_err(unusable)?;
        let (copy, size) = strip(home, &path, kind, &mut input)?;
        upload.path = copy.as_os_str().as_bytes().to_vec();
        upload.copy = true;
        told.picture = size.map(|(width, height)| v1::Picture { width, height, thumbnail: None });
    }
    let seen = || thumbnail::of(&upload_path(home, &upload), kind);
    told.picture = with_thumbnail(told.picture, file.view_once, seen);
    told.name = name;
    match look(home, upload) {
        Ok((upload, content)) => {
            told.size = upload.size;
            Ok(Prepared { told, upload, from: path, content })
        }
        Err(error) => Err(unusable(error)),
    }
}

/// What is told of a picture. One that is to be shown once is told without a thumbnail: that would be shown before, and stay.
fn with_thumbnail(
    told: Option<v1::Picture>,
    view_once: bool,
    seen: impl FnOnce() -> (picture::Size, Option<Bytes>),
) -> Option<v1::Picture> {
    if view_once {
        return told;
    }
    let (size, thumbnail) = seen();
    let size =
        size.filter(|(width, height)| [width, height].into_iter().all(|side| (1..=MAX_PICTURE_SIDE).contains(side)));
    // As it is seen where metadata were taken out, else as it is decoded.
    let told = told.or(size.map(|(width, height)| v1::Picture { width, height, thumbnail: None }));
    told.map(|told| v1::Picture { thumbnail, ..told })
}

fn media_type(kind: Kind, name: &str) -> &'static str {
    match kind {
        Kind::Jpeg => "image/jpeg",
        Kind::Png => "image/png",
        Kind::WebP => "image/webp",
        Kind::Other | Kind::None => name::media_type(name),
    }
}

fn voice_told(voice: Voice) -> v1::Voice {
    let waveform: [u8; WAVEFORM_STEPS] = voice.waveform;
    v1::Voice { duration_ms: voice.duration_ms, waveform: Bytes::copy_from_slice(&waveform) }
}

/// Copies a picture without its metadata; the copy's place below the home's directory.
fn strip(
    home: &Home,
    path: &Path,
    kind: Kind,
    input: &mut BufReader<fs::File>,
) -> Result<(PathBuf, picture::Size), Error> {
    let folder = folder::folder(home, folder::OUTGOING)?;
    let name = data_encoding::HEXLOWER.encode(&rng::bytes::<16>());
    let place = folder.join(&name);
    let mut output = BufWriter::new(folder::make(&place).map_err(folder::failed(&place))?);
    let copied = picture::strip(kind, input, &mut output)
        .and_then(|size| output.get_ref().sync_all().map(|()| size).map_err(picture::Refused::Io));
    match copied {
        Ok(size) => Ok((Path::new(folder::OUTGOING).join(name), size)),
        Err(refused) => {
            folder::remove(&place)?;
            Err(match refused {
                picture::Refused::Picture(reason) => Error::PictureUnreadable { path: path.to_owned(), reason },
                picture::Refused::Io(error) => folder::failed(path)(error),
            })
        }
    }
}

/// Looks at a file, and draws what it is encrypted under.
fn look(home: &Home, row: UploadRow) -> std::io::Result<(UploadRow, source::Content)> {
    let content = source::read(&upload_path(home, &row))?;
    let marks = content.marks;
    let row = UploadRow {
        path: row.path,
        copy: row.copy,
        size: marks.size,
        changed_at: marks.changed_at,
        inode: marks.inode,
        device: marks.device,
        content: content.whole.to_vec(),
        file_key: FileKey::generate(&mut rng::system_rng()).as_bytes().to_vec(),
        secret: BlobSecret::generate(&mut rng::system_rng()).as_bytes().to_vec(),
        ..UploadRow::default()
    };
    Ok((row, content))
}

/// What is told of a file, how it is uploaded, and where its owner has it.
type Queued = (v1::Attachment, UploadRow, PathBuf);

fn insert(tx: &Tx<'_>, conversation: ConversationId, text: String, files: Vec<Queued>) -> Result<MessageRef, Error> {
    may_send(tx, conversation)?;
    if text.is_empty() && files.is_empty() {
        return Err(Error::TextEmpty);
    }
    let message = MessageRef { conversation, author: tx.identity()?.account(), id: rng::envelope_id() };
    let mut row = MessageRow::queued(&message, text, tx.now());
    for (number, (told, upload, from)) in (1..).zip(files) {
        state::put(tx, Table::Upload, &file_key(&message, number), &upload)?;
        let place = from.into_os_string().into_vec();
        row.files.push(FileRow { told: Some(told), state: FileState::Here.into(), place });
    }
    tx.append(Log::Message, conversation.as_bytes(), &message_key(&message), &row.encode_to_vec())?
        .ok_or(Error::Internal { what: "message id drawn twice" })?;
    Ok(message)
}

/// Notes the files of a message that came, to be fetched.
///
/// # Errors
/// Those of the store.
pub(crate) fn note_fetches(tx: &dyn Transaction, message: &MessageRef, files: &[FileRow]) -> Result<(), Error> {
    for (number, file) in (1..).zip(files) {
        state::put(tx, Table::Fetch, &file_key(message, number), &FetchRow::of(file))?;
    }
    Ok(())
}

/// Forgets the files of a message that is deleted: what lies in this home's folders is noted to be removed, what lies at the relay and was not
/// told of, to be taken from there.
///
/// # Errors
/// Those of the store.
pub(crate) fn forget(tx: &dyn Transaction, stored: &Stored) -> Result<(), Error> {
    let message = stored.message()?;
    for (number, file) in (1..).zip(&stored.row.files) {
        let key = file_key(&message, number);
        if stored.row.outgoing {
            discard(tx, &key)?;
            continue;
        }
        // A receipt of the relay's that is due stays so.
        if state::get::<FetchRow>(tx, Table::Fetch, &key)?.is_some_and(|row| !row.done) {
            tx.delete(Table::Fetch, &key)?;
        }
        let name = data_encoding::HEXLOWER.encode(&<sha2::Sha256 as sha2::Digest>::digest(&key)[..16]);
        unlink(tx, &Path::new(folder::PARTIAL).join(name))?;
        if !file.place.is_empty() {
            unlink(tx, &Path::new(crate::records::FILES).join(OsString::from_vec(file.place.clone())))?;
        }
    }
    Ok(())
}

/// Gives up a message that waits for its files, for a reason with this code.
///
/// # Errors
/// Those of the store.
pub(crate) fn give_up(tx: &dyn Transaction, message: &MessageRef, code: &str) -> Result<(), Error> {
    let Some(stored) = Stored::find(tx, message)? else { return Ok(()) };
    for (number, _) in (1..).zip(&stored.row.files) {
        discard(tx, &file_key(message, number))?;
    }
    state::raise(tx, message, Progress::Failed, code).map(drop)
}

/// Gives up an upload.
fn discard(tx: &dyn Transaction, key: &[u8]) -> Result<(), Error> {
    let Some(mut row) = state::get::<UploadRow>(tx, Table::Upload, key)? else { return Ok(()) };
    if row.copy {
        unlink(tx, Path::new(&OsString::from_vec(std::mem::take(&mut row.path))))?;
        row.copy = false;
    }
    if row.blob.is_empty() {
        tx.delete(Table::Upload, key)?;
        return Ok(());
    }
    row.discard = true;
    state::put(tx, Table::Upload, key, &row)
}

/// Notes that a file of the home's directory is to be removed.
fn unlink(tx: &dyn Transaction, place: &Path) -> Result<(), Error> {
    Ok(tx.put(Table::Unlink, place.as_os_str().as_bytes(), &[])?)
}

/// Removes what was noted to be removed.
///
/// # Errors
/// Those of the store and of the file system.
pub(crate) async fn remove_noted(engine: &Engine) -> Result<(), Error> {
    let noted: Vec<Vec<u8>> =
        engine.read(|tx| Ok(tx.list(Table::Unlink)?.into_iter().map(|(place, _)| place).collect())).await?;
    if noted.is_empty() {
        return Ok(());
    }
    let directory = engine.home().directory().to_owned();
    let places = noted.clone();
    blocking(move || {
        places.iter().try_for_each(|place| folder::remove(&directory.join(std::ffi::OsStr::from_bytes(place))))
    })
    .await?;
    engine
        .write(move |tx| {
            for place in &noted {
                tx.delete(Table::Unlink, place)?;
            }
            Ok(())
        })
        .await
}

/// Messages that wait for their files to be sent, of one conversation or of all.
///
/// # Errors
/// Those of the store.
pub(crate) fn waiting(tx: &dyn Transaction, conversation: Option<&ConversationId>) -> Result<Vec<Stored>, Error> {
    let mut waiting: Vec<Stored> = Vec::new();
    for (key, value) in tx.list(Table::Upload)? {
        let (message, _) = state::file_of_key(&key)?;
        let row: UploadRow = state::decode(&value, "files")?;
        let other = conversation.is_some_and(|wanted| *wanted != message.conversation);
        if other || row.discard || waiting.last().is_some_and(|last| last.message().is_ok_and(|last| last == message)) {
            continue;
        }
        waiting.extend(Stored::find(tx, &message)?);
    }
    waiting.sort_by_key(|stored| stored.place);
    Ok(waiting)
}
