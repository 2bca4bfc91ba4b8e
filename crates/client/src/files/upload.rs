//! What waits to be sent: one process of the home sends files at a time, one message after the other. A message leaves for the outbox once all of its files
//! are at the relay.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use bytes::Bytes;
use kuvert_protocol::attachment::{FileKey, blob_len};
use kuvert_protocol::blob::BlobSecret;
use kuvert_types::limits::MAX_BLOB_READERS;
use kuvert_types::{Address, BlobId, UploadToken};
use kuvert_wire::v1::error::Code;
use prost::Message as _;

use super::exchange::{self, Failed, Uploading};
use super::{folder, look, remove_noted, source, upload_path};
use crate::bridge;
use crate::connection::Connection;
use crate::contact::Contact;
use crate::conversation::{ConversationId, MessageRef};
use crate::devices;
use crate::disclosure;
use crate::engine::{Tx, blocking};
use crate::error::Error;
use crate::history::title;
use crate::home::Exclusive;
use crate::records::{NotSent, Transfer};
use crate::send;
use crate::state::{self, OutboxRow, Stored, UploadRow, damaged, enqueue, file_key};
use crate::store::{Log, Table, Transaction};
use crate::transport::RelayError;

/// How often a file is begun anew in one run because it is not what it was, or because the relay does not know it any more.
const MAX_ANEW: u32 = 3;

/// What became of the files that waited.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct FilesReport {
    /// Messages all of whose files are at the relay: the next flush sends them.
    pub ready: Vec<MessageRef>,
    /// Messages that were not, and why.
    pub not_sent: Vec<NotSent>,
}

/// Why a file is not at the relay.
enum Halt {
    /// It can come right: the message stays queued.
    Later(Error),
    /// It cannot: the message is given up.
    Never(Error),
}

impl Connection {
    /// Sends the files that wait, and puts their messages into the outbox: a [`flush`](Self::flush) sends these. Goes on after an interruption where
    /// the relay has each durably. `on_progress` hears how far each is.
    ///
    /// # Errors
    /// Those of the connection and of the store; `store-locked`: another process sends files. What stands against one message is in the report.
    pub async fn send_files(&self, mut on_progress: impl FnMut(&Transfer) + Send) -> Result<FilesReport, Error> {
        let patience = self.engine().options().lock_timeout;
        self.send_files_with(patience, &mut on_progress).await
    }

    pub(crate) async fn send_files_with(
        &self,
        patience: std::time::Duration,
        on_progress: &mut (dyn FnMut(&Transfer) + Send),
    ) -> Result<FilesReport, Error> {
        let mut report = FilesReport::default();
        if self.engine().read(|tx| Ok(tx.count(Table::Upload)? == 0 && tx.count(Table::Unlink)? == 0)).await? {
            return Ok(report);
        }
        let _held = self.engine().home().hold(Exclusive::Uploads, patience).await?;
        self.discard_given_up().await?;
        self.sweep().await?;
        let waiting: Vec<MessageRef> = self
            .engine()
            .read(|tx| super::waiting(tx, None)?.iter().map(Stored::message).collect::<Result<_, Error>>())
            .await?;
        for message in waiting {
            match self.send_files_of(message, on_progress).await? {
                Ok(()) => report.ready.push(message),
                Err(halt) => {
                    let to = self.engine().read(move |tx| title(tx, &message.conversation)).await?;
                    let (error, will_retry) = match halt {
                        Halt::Later(error) => (error, true),
                        Halt::Never(error) => {
                            self.give_up(message, error.code()).await?;
                            (error, false)
                        }
                    };
                    tracing::info!(code = error.code(), will_retry, "files of a message were not sent");
                    report.not_sent.push(NotSent { message, to, error, will_retry });
                }
            }
        }
        self.discard_given_up().await?;
        remove_noted(self.engine()).await?;
        Ok(report)
    }

    async fn send_files_of(
        &self,
        message: MessageRef,
        on_progress: &mut (dyn FnMut(&Transfer) + Send),
    ) -> Result<Result<(), Halt>, Error> {
        // The devices that may read are those that get the message.
        if let Err(error) = send::make_ready(self, message.conversation).await? {
            return Ok(Err(match error {
                error @ Error::UnknownRecipient { .. } => Halt::Never(error),
                other => Halt::Later(other),
            }));
        }
        let rows = self.engine().read(move |tx| uploads_of(tx, &message)).await?;
        for (number, (name, mut row)) in rows {
            let mut anew = 0;
            while !row.is_committed() {
                let total = row.size;
                let transfer = Transfer { message, number, name: name.clone(), upload: true, done: 0, total };
                match self.send_one(&transfer, row.clone(), on_progress).await? {
                    Step::Committed => break,
                    Step::Halt(halt) => return Ok(Err(halt)),
                    Step::Anew(reason) => {
                        anew += 1;
                        if anew > MAX_ANEW {
                            return Ok(Err(Halt::Never(Error::FileChanged { name, reason })));
                        }
                        match self.begin_anew(&transfer, row).await? {
                            Ok(fresh) => row = fresh,
                            Err(halt) => return Ok(Err(halt)),
                        }
                    }
                }
            }
        }
        self.engine().write(move |tx| conclude(tx, &message)).await?;
        Ok(Ok(()))
    }

    /// One file, from where it is.
    async fn send_one(
        &self,
        transfer: &Transfer,
        mut row: UploadRow,
        on_progress: &mut (dyn FnMut(&Transfer) + Send),
    ) -> Result<Step, Error> {
        let path = upload_path(self.engine().home(), &row);
        let looked = self.engine().looked().take(&row.file_key);
        let seen = read_source(path.clone(), looked).await?;
        let content = match seen {
            // [KV-110] Another file, or the same one with other bytes: another key.
            Ok(content) if content.marks != source::Marks::noted(&row) || content.whole.as_slice() != row.content => {
                return Ok(Step::Anew("it changed".to_owned()));
            }
            Ok(content) => content,
            Err(error) => return Ok(source_failed(&transfer.name, &error)),
        };
        let link = self.link();
        let (size, limit) = (blob_len(row.size).unwrap_or(u64::MAX), link.link.max_blob_bytes());
        if limit == 0 {
            return Ok(Step::Halt(Halt::Never(Error::FilesNotOffered)));
        }
        if size > limit {
            let too_large = Error::FileTooLarge { name: transfer.name.clone(), bytes: row.size, limit };
            return Ok(Step::Halt(Halt::Never(too_large)));
        }
        let mut stream = link.link.blob_stream().await?;
        if row.blob.is_empty() {
            let (to, secret) = (transfer.message.conversation, row.secret.clone());
            let Some((readers, shared)) = self.engine().read(move |tx| readers(tx, to, &secret)).await? else {
                let who = self.engine().read(move |tx| title(tx, &to)).await?;
                return Ok(Step::Halt(Halt::Later(Error::DeviceNotReady { who })));
            };
            let (blob, token) = match exchange::create(&mut stream, size, readers, shared).await {
                Ok(created) => created,
                Err(failed) => return self.judge(&transfer.name, failed),
            };
            (row.blob, row.token) = (blob.as_bytes().to_vec(), token.as_bytes().to_vec());
            row.shared = shared;
            // Before a byte is sent: else no later run could go on, or take it back.
            if !self.save(transfer, &row).await? {
                return Ok(Step::Halt(Halt::Never(Error::MessageUnknown { id: transfer.message.id.to_string() })));
            }
        }
        let key: &[u8; FileKey::LEN] = row.file_key.as_slice().try_into().map_err(|_| damaged("files"))?;
        let uploading = Uploading {
            blob: BlobId::try_from(row.blob.as_slice()).map_err(|_| damaged("files"))?,
            token: UploadToken::try_from(row.token.as_slice()).map_err(|_| damaged("files"))?,
            key: FileKey::from_bytes(key),
            path,
            content,
        };
        let mut progress = |done: u64| on_progress(&Transfer { done, ..transfer.clone() });
        match exchange::upload(stream, uploading, &mut progress).await {
            Ok(digest) => {
                row.digest = digest.to_vec();
                self.save(transfer, &row).await?;
                Ok(Step::Committed)
            }
            Err(failed) => self.judge(&transfer.name, failed),
        }
    }

    /// What follows from a transfer that ended early.
    fn judge(&self, name: &str, failed: Failed) -> Result<Step, Error> {
        let later = |error| Ok(Step::Halt(Halt::Later(error)));
        match failed {
            Failed::Source(error) => Ok(source_failed(name, &error)),
            Failed::Broken(error) => Err(error),
            Failed::Damaged(_) => Err(Error::Internal { what: "an upload that is damaged" }),
            Failed::Refused(refusal) => match refusal.code {
                Code::BlobUnknown | Code::BlobOffset => Ok(Step::Anew("the relay lost it again and again".to_owned())),
                Code::BlobTakenOver => later(Error::FileTakenOver),
                Code::BlobQuota => later(Error::FileQuota),
                Code::BlobFull => later(Error::FilesFull),
                Code::NotOffered => Ok(Step::Halt(Halt::Never(Error::FilesNotOffered))),
                Code::TooLarge => {
                    let limit = self.link().link.max_blob_bytes();
                    Ok(Step::Halt(Halt::Never(Error::FileTooLarge { name: name.to_owned(), bytes: limit, limit })))
                }
                Code::NotAuthenticated | Code::AuthenticationFailed | Code::UnsupportedVersion => {
                    Err(refusal.into_error())
                }
                Code::Limited | Code::Unavailable => later(refusal.into_error()),
                _ => Ok(Step::Halt(Halt::Never(refusal.into_error()))),
            },
        }
    }

    /// [KV-110] Another key for what the file holds now. What lies at the relay is discarded.
    async fn begin_anew(&self, transfer: &Transfer, row: UploadRow) -> Result<Result<UploadRow, Halt>, Error> {
        if !row.blob.is_empty() {
            self.discard(&row).await?;
        }
        tracing::info!("a file is sent from the beginning under another key");
        let home = self.engine().home().clone();
        let looked = blocking(move || Ok(look(&home, row))).await?;
        match looked {
            Ok((row, _)) => {
                if self.save(transfer, &row).await? {
                    Ok(Ok(row))
                } else {
                    Ok(Err(Halt::Never(Error::MessageUnknown { id: transfer.message.id.to_string() })))
                }
            }
            Err(error) => match source_failed(&transfer.name, &error) {
                Step::Halt(halt) => Ok(Err(halt)),
                // It changes while it is looked at.
                Step::Anew(reason) => Ok(Err(Halt::Never(Error::FileChanged { name: transfer.name.clone(), reason }))),
                Step::Committed => Err(Error::Internal { what: "a file that is sent without being read" }),
            },
        }
    }

    /// Stores how far a file is. Whether its message is still wanted.
    async fn save(&self, transfer: &Transfer, row: &UploadRow) -> Result<bool, Error> {
        let (message, number, row) = (transfer.message, transfer.number, row.clone());
        self.engine()
            .write(move |tx| {
                let key = file_key(&message, number);
                let wanted = state::get::<UploadRow>(tx, Table::Upload, &key)?.is_some_and(|now| !now.discard);
                // What was given up meanwhile is discarded by the name that it has now.
                let discard = !wanted;
                state::put(tx, Table::Upload, &key, &UploadRow { discard, ..row.clone() })?;
                let Some(mut stored) = Stored::find(tx, &message)?.filter(|_| wanted) else { return Ok(false) };
                let told = stored.row.files.get_mut(usize::from(number) - 1).and_then(|file| file.told.as_mut());
                if let Some(told) = told.filter(|told| told.size != row.size) {
                    told.size = row.size;
                    tx.replace(Log::Message, stored.place, &stored.row.encode_to_vec())?;
                }
                Ok(true)
            })
            .await
    }

    /// Takes an upload from the relay.
    async fn discard(&self, row: &UploadRow) -> Result<(), Error> {
        let mut stream = self.link().link.blob_stream().await?;
        match exchange::discard(&mut stream, &row.blob, &row.token).await {
            Ok(()) => Ok(()),
            // It goes by itself after a day.
            Err(Failed::Refused(RelayError { code, .. })) => {
                tracing::warn!(code = code.as_str_name(), "the relay kept a file that is not wanted any more");
                Ok(())
            }
            Err(Failed::Broken(error)) => Err(error),
            Err(_) => Err(Error::Internal { what: "a file that is discarded" }),
        }
    }

    /// Takes from the relay what was given up.
    async fn discard_given_up(&self) -> Result<(), Error> {
        let given_up = self
            .engine()
            .read(|tx| {
                let all = tx.list(Table::Upload)?.into_iter();
                let rows = all.map(|(key, value)| Ok((key, state::decode::<UploadRow>(&value, "files")?)));
                Ok(rows
                    .collect::<Result<Vec<_>, Error>>()?
                    .into_iter()
                    .filter(|(_, row)| row.discard)
                    .collect::<Vec<_>>())
            })
            .await?;
        for (key, row) in given_up {
            if !row.blob.is_empty() {
                self.discard(&row).await?;
            }
            self.engine().write(move |tx| Ok(tx.delete(Table::Upload, &key)?)).await?;
        }
        Ok(())
    }

    /// The message is not sent: it cannot be.
    async fn give_up(&self, message: MessageRef, code: &'static str) -> Result<(), Error> {
        self.engine().write(move |tx| super::give_up(tx, &message, code)).await
    }

    /// Removes copies that a process left which was killed.
    async fn sweep(&self) -> Result<(), Error> {
        let named: Vec<PathBuf> = self
            .engine()
            .read(|tx| {
                let rows = tx.list(Table::Upload)?.into_iter();
                rows.map(|(_, value)| {
                    let row: UploadRow = state::decode(&value, "files")?;
                    Ok(PathBuf::from(<std::ffi::OsString as std::os::unix::ffi::OsStringExt>::from_vec(row.path)))
                })
                .collect()
            })
            .await?;
        let home = self.engine().home().clone();
        blocking(move || {
            folder::sweep(&home, &|place| named.iter().any(|named| named == place));
            Ok(())
        })
        .await
    }
}

/// Where one file stands after a try.
enum Step {
    Committed,
    /// It is begun anew, for this reason.
    Anew(String),
    Halt(Halt),
}

/// What a file holds: as it was `looked` at a moment ago, if it is the same by its marks, else read anew.
async fn read_source(path: PathBuf, looked: Option<source::Content>) -> Result<io::Result<source::Content>, Error> {
    blocking(move || {
        Ok(match looked.filter(|content| content.marks.are_of(&path)) {
            Some(content) => Ok(content),
            None => source::read(&path),
        })
    })
    .await
}

/// A file that cannot be read. One that changes while it is read is tried again.
fn source_failed(name: &str, error: &io::Error) -> Step {
    if error.kind() == io::ErrorKind::InvalidData {
        return Step::Anew(error.to_string());
    }
    let reason = match error.kind() {
        io::ErrorKind::NotFound => "it is not there any more".to_owned(),
        _ => error.to_string(),
    };
    Step::Halt(Halt::Never(Error::FileChanged { name: name.to_owned(), reason }))
}

/// The hashes of the capabilities of those who may read, and whether it is one for all: from L2 on, and where there are too many. `None`: the
/// devices are not known yet.
fn readers(tx: &Tx<'_>, to: ConversationId, secret: &[u8]) -> Result<Option<(Vec<Bytes>, bool)>, Error> {
    let ConversationId::Contact(account) = to;
    let Some(contact) = Contact::get(tx, &account)? else { return Ok(None) };
    let Some(list) = devices::of(&contact.row)? else { return Ok(None) };
    let secret = BlobSecret::from_bytes(secret.try_into().map_err(|_| damaged("files"))?);
    let devices = &list.body().devices;
    let hash = |capability: kuvert_types::BlobCapability| Bytes::copy_from_slice(&capability.hash());
    if disclosure::row(tx)?.level().seals_sender() || devices.len() > MAX_BLOB_READERS {
        return Ok(Some((vec![hash(secret.shared_capability())], true)));
    }
    let each = |device: &kuvert_types::device_list::DeviceEntry| {
        hash(secret.capability(&Address { account, device: device.device }))
    };
    Ok(Some((devices.iter().map(each).collect(), false)))
}

/// The files of a message that wait, with their names.
fn uploads_of(tx: &Tx<'_>, message: &MessageRef) -> Result<BTreeMap<u8, (String, UploadRow)>, Error> {
    let mut uploads = BTreeMap::new();
    let Some(stored) = Stored::find(tx, message)? else { return Ok(uploads) };
    for (number, file) in (1..).zip(&stored.row.files) {
        if let Some(row) = state::get::<UploadRow>(tx, Table::Upload, &file_key(message, number))?
            && !row.discard
        {
            uploads.insert(number, (file.told.as_ref().map(|told| told.name.clone()).unwrap_or_default(), row));
        }
    }
    Ok(uploads)
}

/// All files of a message are at the relay: it goes into the outbox.
fn conclude(tx: &Tx<'_>, message: &MessageRef) -> Result<(), Error> {
    // Deleted meanwhile.
    let Some(mut stored) = Stored::find(tx, message)? else { return Ok(()) };
    for (number, (_, upload)) in uploads_of(tx, message)? {
        let file = stored.row.files.get_mut(usize::from(number) - 1).ok_or_else(|| damaged("files"))?;
        let told = file.told.get_or_insert_default();
        told.blob = upload.blob.into();
        // Until it is told to a device: bridge::finish_content.
        told.capability = upload.secret.into();
        told.shared = upload.shared;
        told.file_key = upload.file_key.into();
        told.digest = upload.digest.into();
        told.size = upload.size;
        tx.delete(Table::Upload, &file_key(message, number))?;
        if upload.copy {
            tx.put(Table::Unlink, &upload.path, &[])?;
        }
    }
    tx.replace(Log::Message, stored.place, &stored.row.encode_to_vec())?;
    let content = bridge::draft(message.id, stored.row.sent_at, bridge::message(&stored.row));
    let row = OutboxRow {
        conversation: stored.row.conversation,
        content,
        text_id: stored.row.id,
        author: stored.row.author,
        ..OutboxRow::default()
    };
    enqueue(tx, &row)
}

/// Whether anything of files is to be sent or taken back.
///
/// # Errors
/// Those of the store.
pub(crate) fn are_due(tx: &dyn Transaction) -> Result<bool, Error> {
    Ok(tx.count(Table::Upload)? > 0)
}
