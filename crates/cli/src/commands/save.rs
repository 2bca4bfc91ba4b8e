//! `kuvert save`: the files of a message, fetched whatever their size and written where they are wanted.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use kuvert_client::{Client, Connection, Direction, Error, FileInfo, FileState, MessageRecord, safe_file_name};

use crate::args::Save;
use crate::commands::{open, with_progress};
use crate::error::Failure;
use crate::options::Options;
use crate::output::record::Record;

/// Of files that are written: their owner alone reads them.
const FILE_MODE: u32 = 0o600;

/// Fetches and writes.
pub async fn run(args: &Save, options: &Options) -> Result<(), Failure> {
    let client = open(options).await?;
    let (message, number) = find(&client, &args.id).await?;
    let wanted: Vec<&FileInfo> =
        message.attachments.iter().filter(|file| number.is_none_or(|number| number == file.number)).collect();
    if wanted.is_empty() {
        return Err(Error::NoSuchFile.into());
    }
    let once = wanted.iter().any(|file| is_once(&message, file));
    must_have_a_place(once, args.to.as_deref())?;
    // Before anything is fetched: whether it can be written where it is wanted.
    let places = args.to.as_deref().map(|to| places(to, &wanted)).transpose()?;
    let record = if wanted.iter().all(|file| file.state == FileState::Here) || message.direction == Direction::Outgoing
    {
        message.clone()
    } else {
        let connection = client.connect().await?;
        let fetched = fetch(&connection, &message, number, options).await;
        connection.close().await;
        fetched?
    };
    let files = record.attachments.iter().filter(|file| number.is_none_or(|number| number == file.number));
    let mut places = places.into_iter().flatten();
    for file in files {
        let path = put(&client, &record, file, places.next()).await?;
        let (id, name) = (format!("{}/{}", message.message.id, file.number), safe_file_name(&file.name));
        let path = path.display().to_string();
        options.output.print(&Record::Saved { id: &id, name: &name, path: &path, size: file.size })?;
    }
    Ok(())
}

/// A file that was saved.
#[derive(Debug)]
pub struct Saved {
    /// What it is called, made safe.
    pub name: String,
    /// Where it is.
    pub path: PathBuf,
}

/// Writes a file of a message, which is here, where it is wanted.
///
/// # Errors
/// `no-such-file`, `file-gone`, `file-exists`, `disk-full`, `file-unusable`: it is to be shown once, and no place is named.
pub async fn one(client: &Client, record: &MessageRecord, number: u8, to: Option<&Path>) -> Result<Saved, Failure> {
    let file = record.attachments.iter().find(|file| file.number == number).ok_or(Error::NoSuchFile)?;
    must_have_a_place(is_once(record, file), to)?;
    let place = to.map(|to| places(to, &[file])).transpose()?.into_iter().flatten().next();
    Ok(Saved { name: safe_file_name(&file.name), path: put(client, record, file, place).await? })
}

/// Whether a file is to be shown once, to this home.
pub fn is_once(record: &MessageRecord, file: &FileInfo) -> bool {
    file.view_once && record.direction == Direction::Incoming
}

/// What is to be shown once has to be written where its reader wants it.
///
/// # Errors
/// `file-unusable`
pub fn must_have_a_place(once: bool, to: Option<&Path>) -> Result<(), Failure> {
    match to {
        None if once => {
            Err(Failure::new("file-unusable", "this is to be shown once: say with --to where it is to be written"))
        }
        _ => Ok(()),
    }
}

/// Copies a file that is here to its place, if one is named; where it is then.
async fn put(
    client: &Client,
    record: &MessageRecord,
    file: &FileInfo,
    place: Option<PathBuf>,
) -> Result<PathBuf, Failure> {
    let here = file.path(client.directory()).ok_or_else(|| Error::FileGone { name: file.name.clone() })?;
    let path = match place {
        Some(place) => write(&here, &place).map(|()| place)?,
        None => here,
    };
    if is_once(record, file) {
        client.erase_file(&record.message, file.number).await?;
    }
    Ok(path)
}

/// The message that an id names, and the number of the file, if one alone is meant.
async fn find(client: &Client, typed: &str) -> Result<(MessageRecord, Option<u8>), Failure> {
    let (id, number) = match typed.split_once('/') {
        None => (typed, None),
        Some((id, number)) => (id, Some(number.parse().map_err(|_| Error::NoSuchFile)?)),
    };
    let mut found = client.find_anywhere(id).await?;
    // The other side can give a message the id of one of ours: the one with files is meant.
    found.sort_by_key(|(_, message)| message.attachments.is_empty());
    let message = found.into_iter().next().map(|(_, message)| message);
    Ok((message.ok_or_else(|| Error::MessageUnknown { id: id.to_owned() })?, number))
}

async fn fetch(
    connection: &Connection,
    message: &MessageRecord,
    number: Option<u8>,
    options: &Options,
) -> Result<MessageRecord, Failure> {
    with_progress(options, |say| {
        let (connection, message) = (connection.clone(), message.message);
        async move { connection.fetch_files(&message, number, move |transfer| drop(say.send(transfer.clone()))).await }
    })
    .await
}

/// Where each file is to be written: in a directory that is there, or, for one, under a name that is not.
fn places(to: &Path, files: &[&FileInfo]) -> Result<Vec<PathBuf>, Failure> {
    if to.is_dir() {
        return Ok(files.iter().map(|file| to.join(safe_file_name(&file.name))).map(free).collect());
    }
    if to.symlink_metadata().is_ok() {
        return Err(Error::FileExists { path: to.to_owned() }.into());
    }
    match files {
        [_] => Ok(vec![to.to_owned()]),
        _ => Err(Failure::new("file-exists", format!("{} is no directory: several files need one", to.display()))),
    }
}

/// The place, or one beside it with a number, that nothing stands at.
fn free(place: PathBuf) -> PathBuf {
    let mut free = place.clone();
    let mut number = 1;
    while free.symlink_metadata().is_ok() {
        number += 1;
        free = numbered(&place, number);
    }
    free
}

/// `a (2).jpg`
pub fn numbered(place: &Path, number: u32) -> PathBuf {
    let stem = place.file_stem().unwrap_or_default().to_string_lossy();
    let extension = place.extension().map(|extension| format!(".{}", extension.to_string_lossy())).unwrap_or_default();
    place.with_file_name(format!("{stem} ({number}){extension}"))
}

/// Copies a file to a place where nothing is.
fn write(from: &Path, to: &Path) -> Result<(), Failure> {
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::AlreadyExists => Error::FileExists { path: to.to_owned() }.into(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Error::DiskFull.into(),
        _ => Failure::io(&format!("write {}", to.display()), &error),
    };
    let mut input = fs::File::open(from).map_err(|error| Failure::io(&format!("read {}", from.display()), &error))?;
    let mut output = OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(to).map_err(failed)?;
    let written = io::copy(&mut input, &mut output).and_then(|_| output.sync_all());
    written.map_err(|error| {
        // Half a file is of no use.
        let _ = fs::remove_file(to);
        failed(error)
    })
}
