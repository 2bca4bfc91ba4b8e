//! What came: files of contacts are fetched up to a size, each beside the mail; others when they are asked for.

use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kuvert_protocol::attachment::FileKey;
use kuvert_wire::attachment::Attachment;
use kuvert_wire::v1::error::Code;
use prost::Message as _;

use super::exchange::{self, Failed, Fetching};
use super::{budget, folder};
use crate::connection::{Connection, challenge};
use crate::contact::Contact;
use crate::conversation::MessageRef;
use crate::disclosure;
use crate::engine::{Engine, blocking};
use crate::error::Error;
use crate::history::title;
use crate::home::Exclusive;
use crate::records::{FILES, FileInfo, MessageRecord, Transfer};
use crate::state::{self, FetchRow, FileRow, FileState, Stored, damaged, file_key, file_of_key};
use crate::store::{Log, Table, Transaction};
use crate::transport::blob::BlobStream;
use crate::transport::{Link, dial};

/// How often a file that comes damaged is fetched without being asked for.
const MAX_DAMAGED: u32 = 3;

impl Connection {
    /// Fetches the files of a message, whatever their size and sender: all, or the one of this number. What is here already stays. Goes
    /// on after an interruption where it was. The message as it stands then.
    ///
    /// # Errors
    /// `message-unknown`, `no-such-file`, `file-gone`, `file-damaged`, `disk-full`, `store-locked`: another process fetches; those of the
    /// connection and of the store.
    pub async fn fetch_files(
        &self,
        message: &MessageRef,
        number: Option<u8>,
        mut on_progress: impl FnMut(&Transfer) + Send,
    ) -> Result<MessageRecord, Error> {
        let message = *message;
        let _held = self.engine().home().hold(Exclusive::Fetches, self.engine().options().lock_timeout).await?;
        let files = record(self.engine(), message).await?.attachments;
        let wanted: Vec<FileInfo> =
            files.into_iter().filter(|file| number.is_none_or(|number| number == file.number)).collect();
        if wanted.is_empty() {
            return Err(Error::NoSuchFile);
        }
        let mut road = Road::default();
        for file in wanted {
            if file.state != FileState::Here {
                self.fetch_one(&mut road, (message, file.number), false, &mut on_progress).await?;
            }
        }
        road.close().await;
        record(self.engine(), message).await
    }

    /// Fetches what contacts sent and what is not larger than `max`; `told` hears of each, and why it is not here. Waits for no other process.
    ///
    /// # Errors
    /// Those of the connection and of the store.
    pub(crate) async fn fetch_wanted(
        &self,
        only: Option<MessageRef>,
        max: u64,
        on_progress: &mut (dyn FnMut(&Transfer) + Send),
        told: &mut (dyn FnMut(MessageRef, u8, Option<Error>) + Send),
    ) -> Result<(), Error> {
        let wanted = self.engine().read(move |tx| wanted(tx, only, max)).await?;
        if wanted.is_empty() {
            return Ok(());
        }
        let _held = match self.engine().home().hold(Exclusive::Fetches, Duration::ZERO).await {
            Err(Error::StoreLocked { .. }) => return Ok(()),
            held => held?,
        };
        let mut road = Road::default();
        for (message, number) in wanted {
            if !self.engine().read(move |tx| budget::has_room(tx, message, number)).await? {
                tracing::info!(
                    "a contact's files took the room of a day: this one is fetched when it is asked for, or tomorrow"
                );
                continue;
            }
            let has_room = self.engine().home().directory().to_owned();
            let fetched = match blocking(move || folder::has_room(&has_room)).await? {
                true => self.fetch_one(&mut road, (message, number), true, on_progress).await,
                false => Err(Error::DiskFull),
            };
            match fetched {
                Ok(()) => told(message, number, None),
                // What a full disk and a limit stand against now stands against the others, too.
                Err(
                    error
                    @ (Error::DiskFull | Error::HomeReadOnly | Error::HomeUnusable { .. } | Error::Limited { .. }),
                ) => {
                    told(message, number, Some(error));
                    break;
                }
                // Deleted, or another process was faster.
                Err(Error::MessageUnknown { .. } | Error::NoSuchFile) => {}
                Err(error) if error.is_connection() || is_of_the_store(&error) => return Err(error),
                // Whatever stands against one file, which its sender may have meant to, stands against no other and no text.
                Err(error) => told(message, number, Some(error)),
            }
        }
        road.close().await;
        Ok(())
    }

    async fn fetch_one(
        &self,
        road: &mut Road,
        (message, number): (MessageRef, u8),
        by_itself: bool,
        on_progress: &mut (dyn FnMut(&Transfer) + Send),
    ) -> Result<(), Error> {
        let (file, due) = self.engine().read(move |tx| find(tx, message, number)).await?;
        if due.done {
            return self.tell_done(road, message, number, &due).await;
        }
        let told = file.told.clone().unwrap_or_default();
        let name = told.name.clone();
        if file.state() == FileState::Gone {
            return Err(Error::FileGone { name });
        }
        if file.state() == FileState::Here {
            return Ok(());
        }
        let told = Attachment::try_from(told).map_err(|_| damaged("files"))?;
        let home = self.engine().home().clone();
        let partial = blocking(move || folder::partial(&home, &file_key(&message, number))).await?;
        self.set(message, number, FileState::Partial, None).await?;
        let transfer = Transfer { message, number, name: name.clone(), upload: false, done: 0, total: told.size };
        let mut progress = |done: u64| on_progress(&Transfer { done, ..transfer.clone() });
        let mut again = false;
        loop {
            let stream = road.stream(self).await?;
            let fetching = Fetching {
                blob: told.blob,
                capability: told.capability,
                key: FileKey::from_bytes(&told.file_key),
                size: told.size,
                digest: told.digest,
                partial: partial.clone(),
            };
            match exchange::download(stream, fetching, &mut progress).await {
                (_, Ok(())) => break,
                // What was kept may have changed on this disk: once more, from the beginning.
                (true, Err(Failed::Damaged(_))) if !again => {
                    again = true;
                    forget_partial(partial.clone()).await?;
                }
                (_, Err(Failed::Damaged(error))) => {
                    forget_partial(partial.clone()).await?;
                    self.note_damaged(message, number).await?;
                    return Err(Error::FileDamaged { name, reason: error.to_string() });
                }
                (_, Err(Failed::Refused(refusal))) => match refusal.code {
                    Code::BlobUnknown => {
                        forget_partial(partial.clone()).await?;
                        self.set(message, number, FileState::Gone, None).await?;
                        return Err(Error::FileGone { name });
                    }
                    _ => return Err(refusal.into_error()),
                },
                (_, Err(Failed::Source(error))) => return Err(folder::failed(&partial)(error)),
                (_, Err(Failed::Broken(error))) => return Err(error),
            }
        }
        let home = self.engine().home().clone();
        let (whole, called) = (partial.clone(), told.name.clone());
        let place = blocking(move || folder::settle(&whole, &folder::folder(&home, FILES)?, &called)).await?;
        let due = FetchRow {
            done: !told.shared,
            blob: told.blob.as_bytes().to_vec(),
            capability: told.capability.as_bytes().to_vec(),
            ..due
        };
        let charge = by_itself.then_some(told.size);
        let wanted = self.keep((message, number), &place, &due, charge).await?;
        if !wanted {
            // Deleted while it came.
            let home = self.engine().home().clone();
            blocking(move || folder::remove(&folder::folder(&home, FILES)?.join(place))).await?;
        }
        forget_partial(partial).await?;
        if due.done { self.tell_done(road, message, number, &due).await } else { Ok(()) }
    }

    /// The file is here. Whether its message still is. `charge`: bytes that count for what is fetched in a day without being asked for.
    async fn keep(
        &self,
        (message, number): (MessageRef, u8),
        place: &str,
        due: &FetchRow,
        charge: Option<u64>,
    ) -> Result<bool, Error> {
        let (place, due) = (place.as_bytes().to_vec(), due.clone());
        self.engine()
            .write(move |tx| {
                let key = file_key(&message, number);
                if let Some(bytes) = charge {
                    budget::charge(tx, &message, bytes)?;
                }
                match due.done {
                    true => state::put(tx, Table::Fetch, &key, &due)?,
                    false => drop(tx.delete(Table::Fetch, &key)?),
                }
                change(tx, &message, number, |file| {
                    file.set_state(FileState::Here);
                    file.place = place;
                })
            })
            .await
    }

    /// Tells the relay that this reader has all of it, and forgets that it is to be told.
    async fn tell_done(&self, road: &mut Road, message: MessageRef, number: u8, due: &FetchRow) -> Result<(), Error> {
        let mut stream = road.stream(self).await?;
        match exchange::tell_done(&mut stream, &due.blob, &due.capability).await {
            Ok(()) => {
                let told = self.engine().write(move |tx| Ok(tx.delete(Table::Fetch, &file_key(&message, number))?));
                told.await.map(drop)
            }
            Err(Failed::Broken(error)) => Err(error),
            // The file is here: the relay is told with the next one.
            Err(_) => Ok(()),
        }
    }

    async fn set(
        &self,
        message: MessageRef,
        number: u8,
        state: FileState,
        place: Option<Vec<u8>>,
    ) -> Result<(), Error> {
        self.engine()
            .write_relaxed(move |tx| {
                if state == FileState::Gone {
                    tx.delete(Table::Fetch, &file_key(&message, number))?;
                }
                change(tx, &message, number, |file| {
                    file.set_state(state);
                    file.place = place.unwrap_or_default();
                    if state == FileState::Gone {
                        forget_key(file);
                    }
                })
                .map(drop)
            })
            .await
    }

    /// Counts that it came damaged: after a few times it is fetched only when it is asked for.
    async fn note_damaged(&self, message: MessageRef, number: u8) -> Result<(), Error> {
        self.engine()
            .write(move |tx| {
                let key = file_key(&message, number);
                let mut row: FetchRow = state::get(tx, Table::Fetch, &key)?.unwrap_or_default();
                row.damaged += 1;
                state::put(tx, Table::Fetch, &key, &row)?;
                change(tx, &message, number, |file| file.set_state(FileState::Remote)).map(drop)
            })
            .await
    }
}

/// Erases a file that was to be shown once, and was: its key, and what lies in the home's folder.
///
/// # Errors
/// Those of the store and of the file system.
pub(crate) async fn erase(engine: &Engine, message: MessageRef, number: u8) -> Result<(), Error> {
    engine
        .write(move |tx| {
            let Some(stored) = Stored::find(tx, &message)? else { return Ok(()) };
            let Some(file) = stored.row.files.get(usize::from(number).wrapping_sub(1)) else { return Ok(()) };
            if !file.place.is_empty() {
                super::unlink(tx, &Path::new(FILES).join(std::ffi::OsStr::from_bytes(&file.place)))?;
            }
            change(tx, &message, number, |file| {
                file.set_state(FileState::Gone);
                file.place.clear();
                forget_key(file);
            })?;
            Ok(tx.put(Table::Own, state::own::TRACES, &[])?)
        })
        .await?;
    super::remove_noted(engine).await?;
    crate::erase::scrub(engine).await
}

/// What a file opened with is of no more use: it can open a copy that another one kept. The thumbnail stays with the message.
fn forget_key(file: &mut FileRow) {
    if let Some(told) = &mut file.told {
        told.file_key = bytes::Bytes::new();
        told.capability = bytes::Bytes::new();
    }
}

/// The way to the relay's files: the account's own connection, or from L2 on one without a name, made when it is needed.
#[derive(Default)]
struct Road {
    nameless: Option<Link>,
}

impl Road {
    async fn stream(&mut self, connection: &Connection) -> Result<BlobStream, Error> {
        let engine = connection.engine();
        if !engine.read(|tx| Ok(disclosure::row(tx)?.level().seals_sender())).await? {
            return connection.link().link.blob_stream().await;
        }
        if self.nameless.is_none() {
            // [KV-124] It says hello and nothing more.
            let link = dial(&engine.identity().await?.relay, engine.options()).await?;
            challenge(&link).await?;
            self.nameless = Some(link);
        }
        match &self.nameless {
            Some(nameless) => nameless.blob_stream().await,
            None => Err(Error::Internal { what: "a connection that was just made" }),
        }
    }

    async fn close(self) {
        if let Some(nameless) = self.nameless {
            nameless.close().await;
        }
    }
}

/// Whether it is about this home and no single file.
const fn is_of_the_store(error: &Error) -> bool {
    matches!(
        error,
        Error::StoreLocked { .. }
            | Error::StoreCorrupt { .. }
            | Error::StoreMended
            | Error::StoreIo { .. }
            | Error::Internal { .. }
            | Error::AuthenticationFailed
            | Error::RelayFingerprint { .. }
    )
}

async fn forget_partial(partial: PathBuf) -> Result<(), Error> {
    blocking(move || folder::remove(&partial)).await
}

fn find(tx: &dyn Transaction, message: MessageRef, number: u8) -> Result<(FileRow, FetchRow), Error> {
    let due = state::get::<FetchRow>(tx, Table::Fetch, &file_key(&message, number))?;
    if let Some(due) = due.as_ref().filter(|due| due.done) {
        return Ok((FileRow::default(), due.clone()));
    }
    let unknown = || Error::MessageUnknown { id: message.id.to_string() };
    let stored = Stored::find(tx, &message)?.filter(|stored| !stored.row.outgoing).ok_or_else(unknown)?;
    let file = stored.row.files.into_iter().nth(usize::from(number).wrapping_sub(1)).ok_or(Error::NoSuchFile)?;
    let due = due.unwrap_or_else(|| FetchRow::of(&file));
    Ok((file, due))
}

/// Changes a file of a message; whether it is there.
fn change(
    tx: &dyn Transaction,
    message: &MessageRef,
    number: u8,
    with: impl FnOnce(&mut FileRow),
) -> Result<bool, Error> {
    let Some(mut stored) = Stored::find(tx, message)? else { return Ok(false) };
    let Some(file) = stored.row.files.get_mut(usize::from(number).wrapping_sub(1)) else { return Ok(false) };
    with(file);
    tx.replace(Log::Message, stored.place, &stored.row.encode_to_vec())?;
    Ok(true)
}

/// What is to be fetched without being asked for, in the order in which it came. Nothing of strangers and of those who are blocked.
fn wanted(tx: &dyn Transaction, only: Option<MessageRef>, max: u64) -> Result<Vec<(MessageRef, u8)>, Error> {
    let mut wanted = Vec::new();
    for (key, value) in tx.list(Table::Fetch)? {
        let (message, number) = file_of_key(&key)?;
        let row: FetchRow = state::decode(&value, "files")?;
        // A file of no bytes is fetched, unless nothing is.
        let fits = max > 0 && row.size <= max && !row.on_demand && row.damaged < MAX_DAMAGED;
        if only.is_some_and(|only| only != message) || !(row.done || fits) {
            continue;
        }
        let welcome =
            Contact::get(tx, &message.author)?.is_some_and(|contact| !contact.row.request && !contact.row.blocked);
        if !row.done && !welcome {
            continue;
        }
        let place = Stored::find(tx, &message)?.map_or(0, |stored| stored.place);
        wanted.push((place, message, number));
    }
    wanted.sort_unstable();
    Ok(wanted.into_iter().map(|(_, message, number)| (message, number)).collect())
}

/// A message as it stands now.
///
/// # Errors
/// `message-unknown`, and those of the store.
pub(crate) async fn record(engine: &Engine, message: MessageRef) -> Result<MessageRecord, Error> {
    engine
        .read(move |tx| {
            let unknown = || Error::MessageUnknown { id: message.id.to_string() };
            let stored = Stored::find(tx, &message)?.ok_or_else(unknown)?;
            let alias = title(tx, &message.conversation)?;
            stored.record(tx, &alias)
        })
        .await
}
