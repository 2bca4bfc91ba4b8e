//! What goes from one node to another: a command for a slot that the other node holds, and its answer, as protobuf. Both ends are
//! the same program or neighbours in version; the bytes are stored nowhere.

use std::pin::Pin;

use bytes::Bytes;
use kuvert_relay::mailbox::{Amount, MailboxFull, Occupant};
use kuvert_relay::store::{
    Cursor, FullMailbox, NewAccount, NewDevice, NewEnvelope, NumberedDeviceList, Pending, RegisterError,
    SetBlockedError, StoreError, StoredAccessKey, SubmitError, Submitted, Unavailable, UpdateDevicesError,
};
use kuvert_types::{AccessKeyHash, AccountId, AccountKey, Address, DeviceId, DeviceSigningKey, EnvelopeId};
use prost::{Message, Oneof};

use super::command::{Acknowledge, Change, Command, Submit, Tries};
use crate::answering::Answering;

/// A command.
#[derive(Clone, PartialEq, Message)]
pub struct Request {
    #[prost(oneof = "Asked", tags = "1, 2, 3, 4, 6, 7, 8, 9, 10")]
    asked: Option<Asked>,
}

#[derive(Clone, PartialEq, Oneof)]
enum Asked {
    #[prost(message, tag = "1")]
    Submit(SubmitRequest),
    #[prost(message, tag = "2")]
    Acknowledge(AcknowledgeRequest),
    #[prost(message, tag = "3")]
    Register(RegisterRequest),
    #[prost(bytes = "bytes", tag = "4")]
    Delete(Bytes),
    // 5 was this without the devices that are added: a relay that knows only that must not take it for done.
    #[prost(message, tag = "10")]
    UpdateDevices(UpdateDevicesRequest),
    #[prost(message, tag = "6")]
    SetAccessKey(SetKeyRequest),
    #[prost(message, tag = "7")]
    SetBlocked(SetBlockedRequest),
    #[prost(bytes = "bytes", tag = "8")]
    AccessKey(Bytes),
    #[prost(bytes = "bytes", tag = "9")]
    TakeFull(Bytes),
}

#[derive(Clone, PartialEq, Message)]
struct SubmitRequest {
    #[prost(bytes = "bytes", tag = "1")]
    mailbox: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    id: Bytes,
    #[prost(bytes = "bytes", optional, tag = "3")]
    source: Option<Bytes>,
    #[prost(bytes = "bytes", tag = "4")]
    ciphertext: Bytes,
    #[prost(bytes = "bytes", optional, tag = "5")]
    key: Option<Bytes>,
    #[prost(uint64, tag = "6")]
    accepted_at: u64,
    /// It may have been stored before: it keeps its place before acknowledgements. Older nodes skip this.
    #[prost(bool, tag = "7")]
    doubtful: bool,
}

#[derive(Clone, PartialEq, Message)]
struct AcknowledgeRequest {
    #[prost(bytes = "bytes", tag = "1")]
    mailbox: Bytes,
    #[prost(uint64, tag = "2")]
    up_to: u64,
}

#[derive(Clone, PartialEq, Message)]
struct ListMessage {
    #[prost(uint64, tag = "1")]
    number: u64,
    #[prost(bytes = "bytes", tag = "2")]
    bytes: Bytes,
}

#[derive(Clone, PartialEq, Message)]
struct RegisterRequest {
    #[prost(bytes = "bytes", tag = "1")]
    account: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    account_key: Bytes,
    #[prost(message, required, tag = "3")]
    list: ListMessage,
    #[prost(string, optional, tag = "4")]
    name: Option<String>,
    #[prost(string, optional, tag = "5")]
    phone: Option<String>,
    #[prost(uint64, tag = "6")]
    registered_at: u64,
    #[prost(uint32, tag = "7")]
    device: u32,
    #[prost(bytes = "bytes", tag = "8")]
    signing_key: Bytes,
    #[prost(bytes = "bytes", tag = "9")]
    certificate: Bytes,
    #[prost(bytes = "bytes", optional, tag = "10")]
    invitation: Option<Bytes>,
}

#[derive(Clone, PartialEq, Message)]
struct DeviceMessage {
    #[prost(uint32, tag = "1")]
    device: u32,
    #[prost(bytes = "bytes", tag = "2")]
    signing_key: Bytes,
    #[prost(bytes = "bytes", tag = "3")]
    certificate: Bytes,
}

#[derive(Clone, PartialEq, Message)]
struct UpdateDevicesRequest {
    #[prost(bytes = "bytes", tag = "1")]
    account: Bytes,
    #[prost(uint64, tag = "2")]
    expected: u64,
    #[prost(message, required, tag = "3")]
    list: ListMessage,
    #[prost(uint32, repeated, tag = "4")]
    kept: Vec<u32>,
    #[prost(message, repeated, tag = "5")]
    added: Vec<DeviceMessage>,
}

#[derive(Clone, PartialEq, Message)]
struct KeyMessage {
    #[prost(bytes = "bytes", tag = "1")]
    hash: Bytes,
    #[prost(bool, tag = "2")]
    sealed: bool,
}

#[derive(Clone, PartialEq, Message)]
struct SetKeyRequest {
    #[prost(bytes = "bytes", tag = "1")]
    account: Bytes,
    #[prost(message, optional, tag = "2")]
    key: Option<KeyMessage>,
}

#[derive(Clone, PartialEq, Message)]
struct SetBlockedRequest {
    #[prost(bytes = "bytes", tag = "1")]
    account: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    other: Bytes,
    #[prost(bool, tag = "3")]
    blocked: bool,
}

#[derive(Clone, PartialEq, Message)]
struct OccupantMessage {
    #[prost(bytes = "bytes", optional, tag = "1")]
    account: Option<Bytes>,
    #[prost(uint64, tag = "2")]
    envelopes: u64,
    #[prost(uint64, tag = "3")]
    bytes: u64,
}

/// What became of a command.
#[derive(Clone, PartialEq, Message)]
pub struct Answer {
    /// [`DONE`] or why not.
    #[prost(uint32, tag = "1")]
    code: u32,
    /// A cursor, a count, a number.
    #[prost(uint64, tag = "2")]
    number: u64,
    /// Whether it was there already; whether something was there.
    #[prost(bool, tag = "3")]
    flag: bool,
    #[prost(string, tag = "4")]
    words: String,
    #[prost(uint32, repeated, tag = "5")]
    devices: Vec<u32>,
    #[prost(message, optional, tag = "6")]
    key: Option<KeyMessage>,
    #[prost(message, repeated, tag = "7")]
    occupants: Vec<OccupantMessage>,
}

const DONE: u32 = 0;
const IO: u32 = 1;
const OVERLOADED: u32 = 2;
const STOPPED: u32 = 3;
const DISK_FULL: u32 = 4;
const UNKNOWN: u32 = 5;
const CORRUPT: u32 = 6;
/// The slot is another node's by now.
const MOVED: u32 = 7;
const UNKNOWN_MAILBOX: u32 = 10;
const FULL_ENVELOPES: u32 = 11;
const FULL_BYTES: u32 = 12;
const TOO_LARGE: u32 = 13;
const BLOCKED: u32 = 14;
const ACCOUNT_EXISTS: u32 = 20;
const NAME_TAKEN: u32 = 21;
const INVITATION: u32 = 22;
const UNKNOWN_ACCOUNT: u32 = 30;
const CONFLICT: u32 = 31;
const TOO_MANY: u32 = 40;

impl Answer {
    fn of(code: u32) -> Self {
        Self { code, ..Self::default() }
    }

    /// The slot is another node's by now: nothing happened.
    pub fn moved() -> Self {
        Self::of(MOVED)
    }

    /// This node has no room for more.
    pub fn overloaded() -> Self {
        Self::of(OVERLOADED)
    }

    /// Whether it says that nothing happened, for want of something that may come back.
    pub const fn is_unavailable(&self) -> bool {
        matches!(self.code, IO | OVERLOADED | STOPPED | DISK_FULL)
    }

    /// Whether that is what it says.
    pub const fn is_moved(&self) -> bool {
        self.code == MOVED
    }

    /// As it travels.
    pub fn to_bytes(&self) -> Bytes {
        self.encode_to_vec().into()
    }

    fn error(error: StoreError) -> Self {
        let (code, words) = match error {
            StoreError::Unavailable(Unavailable::DiskFull) => (DISK_FULL, String::new()),
            StoreError::Unavailable(Unavailable::Io(words)) => (IO, words),
            StoreError::Unavailable(Unavailable::Overloaded) => (OVERLOADED, String::new()),
            StoreError::Unavailable(Unavailable::Stopped) => (STOPPED, String::new()),
            StoreError::Unknown(words) => (UNKNOWN, words),
            StoreError::Corrupt(words) => (CORRUPT, words),
        };
        Self { words, ..Self::of(code) }
    }

    fn store_error(&self) -> StoreError {
        match self.code {
            IO => Unavailable::Io(self.words.clone()).into(),
            OVERLOADED => Unavailable::Overloaded.into(),
            // The other node stops, not this one.
            STOPPED | MOVED => Unavailable::Io("the node of the mailbox stops".into()).into(),
            DISK_FULL => Unavailable::DiskFull.into(),
            CORRUPT => StoreError::Corrupt(self.words.clone()),
            // An answer that a later program gives.
            _ => StoreError::Unknown(self.words.clone()),
        }
    }
}

/// The bytes of a command; none for a lane's own business.
pub fn encode(command: &Command) -> Option<Bytes> {
    let bytes = Bytes::copy_from_slice;
    let address = |address: &Address| bytes(&address.to_bytes());
    let list = |list: &NumberedDeviceList| ListMessage { number: list.number, bytes: list.bytes.clone() };
    let asked = match command {
        Command::Submit(Submit { mailbox, envelope, key, accepted_at, tries, .. }) => Asked::Submit(SubmitRequest {
            mailbox: address(mailbox),
            id: bytes(envelope.id.as_bytes()),
            source: envelope.source.as_ref().map(address),
            ciphertext: envelope.ciphertext.clone(),
            key: key.as_ref().map(|key| bytes(key)),
            accepted_at: *accepted_at,
            doubtful: tries.doubtful,
        }),
        Command::Acknowledge(Acknowledge { mailbox, up_to, .. }) => {
            Asked::Acknowledge(AcknowledgeRequest { mailbox: address(mailbox), up_to: up_to.get() })
        }
        Command::Change(Change::Register { account: new, .. }, _) => Asked::Register(RegisterRequest {
            account: bytes(new.account.as_bytes()),
            account_key: bytes(new.account_key.as_bytes()),
            list: list(&new.device_list),
            name: new.name.clone(),
            phone: new.phone.clone(),
            registered_at: new.registered_at,
            device: new.device.device.get(),
            signing_key: bytes(new.device.signing_key.as_bytes()),
            certificate: new.device.certificate.clone(),
            invitation: new.invitation.as_ref().map(|hash| bytes(hash)),
        }),
        Command::Change(Change::Delete { account, .. }, _) => Asked::Delete(bytes(account.as_bytes())),
        Command::Change(Change::UpdateDevices { account, expected, list: new, kept, added, .. }, _) => {
            Asked::UpdateDevices(UpdateDevicesRequest {
                account: bytes(account.as_bytes()),
                expected: *expected,
                list: list(new),
                kept: kept.iter().map(|device| device.get()).collect(),
                added: added.iter().map(device_message).collect(),
            })
        }
        Command::Change(Change::SetAccessKey { account, key, .. }, _) => Asked::SetAccessKey(SetKeyRequest {
            account: bytes(account.as_bytes()),
            key: key.as_ref().map(key_message),
        }),
        Command::Change(Change::SetBlocked { account, other, blocked, .. }, _) => {
            Asked::SetBlocked(SetBlockedRequest {
                account: bytes(account.as_bytes()),
                other: bytes(other.as_bytes()),
                blocked: *blocked,
            })
        }
        Command::AccessKey { mailbox, .. } => Asked::AccessKey(address(mailbox)),
        Command::TakeFull { mailbox, .. } => Asked::TakeFull(address(mailbox)),
        Command::Expired(_) | Command::Renew(_) => return None,
    };
    Some(Request { asked: Some(asked) }.encode_to_vec().into())
}

fn key_message(key: &StoredAccessKey) -> KeyMessage {
    KeyMessage { hash: Bytes::copy_from_slice(&key.hash), sealed: key.sealed }
}

/// Gives a command its answer, as another node wrote it. An answer that cannot be read says nothing about what happened.
pub fn deliver(command: Command, answer: &Answer) {
    let done = answer.code == DONE;
    match command {
        Command::Submit(Submit { reply, .. }) => {
            let cursor = Cursor::new(answer.number);
            reply.send(match answer.code {
                DONE if answer.flag => Ok(Submitted::AlreadyStored { cursor }),
                DONE => Ok(Submitted::Stored { cursor }),
                UNKNOWN_MAILBOX => Err(SubmitError::UnknownMailbox),
                FULL_ENVELOPES => Err(MailboxFull::Envelopes.into()),
                FULL_BYTES => Err(MailboxFull::Bytes.into()),
                TOO_LARGE => Err(SubmitError::TooLarge),
                BLOCKED => Err(SubmitError::Blocked),
                _ => Err(answer.store_error().into()),
            });
        }
        Command::Acknowledge(Acknowledge { reply, .. }) => {
            reply.send(if done { Ok(answer.number) } else { Err(answer.store_error()) });
        }
        Command::Change(Change::Register { reply, .. }, _) => {
            let _ = reply.send(match answer.code {
                DONE => Ok(()),
                ACCOUNT_EXISTS => Err(RegisterError::AccountExists),
                NAME_TAKEN => Err(RegisterError::NameTaken),
                INVITATION => Err(RegisterError::Invitation),
                _ => Err(answer.store_error().into()),
            });
        }
        Command::Change(Change::Delete { reply, .. }, _) => {
            let _ = reply.send(if done { Ok(answer.flag) } else { Err(answer.store_error()) });
        }
        Command::Change(Change::UpdateDevices { reply, .. }, _) => {
            let dropped: Result<Vec<DeviceId>, _> =
                answer.devices.iter().map(|number| DeviceId::new(*number)).collect();
            let _ = reply.send(match (answer.code, dropped) {
                (DONE, Ok(dropped)) => Ok(dropped),
                (UNKNOWN_ACCOUNT, _) => Err(UpdateDevicesError::UnknownAccount),
                (CONFLICT, _) => Err(UpdateDevicesError::Conflict { stored: answer.number }),
                _ => Err(answer.store_error().into()),
            });
        }
        Command::Change(Change::SetAccessKey { reply, .. }, _) => {
            let _ = reply.send(if done { Ok(()) } else { Err(answer.store_error()) });
        }
        Command::Change(Change::SetBlocked { reply, .. }, _) => {
            let _ = reply.send(match answer.code {
                DONE => Ok(()),
                TOO_MANY => Err(SetBlockedError::TooMany),
                _ => Err(answer.store_error().into()),
            });
        }
        Command::AccessKey { reply, .. } => {
            let key = answer.key.as_ref().map(stored_key);
            let _ = reply.send(match (done, key) {
                (true, None) => Ok(None),
                (true, Some(Some(key))) => Ok(Some(key)),
                _ => Err(answer.store_error()),
            });
        }
        Command::TakeFull { reply, .. } => {
            let occupants: Option<Vec<Occupant>> = answer.occupants.iter().map(occupant).collect();
            let _ = reply.send(match (done, occupants) {
                (true, Some(largest)) => Ok(answer.flag.then_some(FullMailbox { refused: answer.number, largest })),
                _ => Err(answer.store_error()),
            });
        }
        Command::Expired(_) | Command::Renew(_) => {}
    }
}

fn stored_key(key: &KeyMessage) -> Option<StoredAccessKey> {
    Some(StoredAccessKey { hash: hash(&key.hash)?, sealed: key.sealed })
}

fn hash(bytes: &[u8]) -> Option<AccessKeyHash> {
    bytes.try_into().ok()
}

fn occupant(message: &OccupantMessage) -> Option<Occupant> {
    let account = message.account.as_ref().map(|account| AccountId::try_from(&account[..]).ok());
    let waiting = Amount { envelopes: message.envelopes, bytes: message.bytes };
    match account {
        None => Some(Occupant { account: None, waiting }),
        Some(account) => Some(Occupant { account: Some(account?), waiting }),
    }
}

/// The answer to come of a command that was handed on.
pub type Coming = Pin<Box<dyn Future<Output = Answer> + Send>>;

impl Request {
    /// From another node's bytes. `None`: they cannot be read.
    pub fn read(bytes: Bytes) -> Option<Self> {
        Self::decode(bytes).ok().filter(|request| request.asked.is_some())
    }

    /// Whose account it is about. `None`: that cannot be read.
    pub fn account(&self) -> Option<AccountId> {
        let account = |bytes: &Bytes| AccountId::try_from(&bytes[..]).ok();
        let mailbox = |bytes: &Bytes| Address::try_from(&bytes[..]).ok().map(|address| address.account);
        match self.asked.as_ref()? {
            Asked::Submit(SubmitRequest { mailbox: of, .. })
            | Asked::Acknowledge(AcknowledgeRequest { mailbox: of, .. })
            | Asked::AccessKey(of)
            | Asked::TakeFull(of) => mailbox(of),
            Asked::Register(RegisterRequest { account: of, .. })
            | Asked::Delete(of)
            | Asked::UpdateDevices(UpdateDevicesRequest { account: of, .. })
            | Asked::SetAccessKey(SetKeyRequest { account: of, .. })
            | Asked::SetBlocked(SetBlockedRequest { account: of, .. }) => account(of),
        }
    }
}

/// Takes the answer of a lane, and gives it on in words for the other node.
fn in_words<T, E: From<StoreError> + Into<Refusal>>(
    answering: Answering<Bytes, StoreError>,
    of: impl FnOnce(T) -> Answer + Send + Sync + 'static,
) -> Answering<T, E> {
    Answering::with(move |result: Result<T, E>| {
        answering.send(Ok(result.map_or_else(|error| refused(error.into()), of).to_bytes()));
    })
}

/// The command of a request. Its answer goes to `answering`, which is taken, or is still to come. `None`: the request makes no sense.
pub fn command(
    request: Request,
    mut tries: Tries,
    answering: &mut Option<Answering<Bytes, StoreError>>,
) -> Option<(Command, Option<Coming>)> {
    let account = |bytes: &Bytes| AccountId::try_from(&bytes[..]).ok();
    let address = |bytes: &Bytes| Address::try_from(&bytes[..]).ok();
    let list = |list: ListMessage| NumberedDeviceList { number: list.number, bytes: list.bytes };
    /// Waits for the answer and puts it into words for the other node.
    macro_rules! coming {
        ($pending:ident, $of:expr) => {
            Some(Box::pin(async move { $pending.await.map_or_else(|error| refused(error.into()), $of) }))
        };
    }
    Some(match request.asked? {
        // The two that are many: no task waits for each.
        Asked::Submit(asked) => {
            let envelope = NewEnvelope {
                id: EnvelopeId::try_from(&asked.id[..]).ok()?,
                source: match &asked.source {
                    Some(source) => Some(address(source)?),
                    None => None,
                },
                ciphertext: asked.ciphertext,
            };
            let key = match &asked.key {
                Some(key) => Some(hash(key)?),
                None => None,
            };
            let (mailbox, accepted_at) = (address(&asked.mailbox)?, asked.accepted_at);
            tries.doubtful = asked.doubtful;
            let reply = in_words(answering.take()?, |submitted: Submitted| Answer {
                number: submitted.cursor().get(),
                flag: matches!(submitted, Submitted::AlreadyStored { .. }),
                ..Answer::of(DONE)
            });
            (Command::Submit(Submit { mailbox, envelope, key, accepted_at, reply, tries }), None)
        }
        Asked::Acknowledge(asked) => {
            let (mailbox, up_to) = (address(&asked.mailbox)?, Cursor::new(asked.up_to));
            let reply = in_words(answering.take()?, |number: u64| Answer { number, ..Answer::of(DONE) });
            (Command::Acknowledge(Acknowledge { mailbox, up_to, reply, tries }), None)
        }
        Asked::Register(asked) => {
            let (reply, pending) = Pending::<(), RegisterError>::channel();
            let new = NewAccount {
                account: account(&asked.account)?,
                account_key: AccountKey::from_bytes(asked.account_key[..].try_into().ok()?),
                device_list: list(asked.list),
                name: asked.name,
                phone: asked.phone,
                registered_at: asked.registered_at,
                device: new_device(DeviceMessage {
                    device: asked.device,
                    signing_key: asked.signing_key,
                    certificate: asked.certificate,
                })?,
                invitation: match &asked.invitation {
                    Some(invitation) => Some(hash(invitation)?),
                    None => None,
                },
            };
            let change = Change::Register { account: Box::new(new), reply };
            (Command::Change(change, tries), coming!(pending, |()| Answer::of(DONE)))
        }
        Asked::Delete(of) => {
            let (reply, pending) = Pending::<bool, StoreError>::channel();
            let change = Change::Delete { account: account(&of)?, reply };
            (Command::Change(change, tries), coming!(pending, |flag| Answer { flag, ..Answer::of(DONE) }))
        }
        Asked::UpdateDevices(asked) => {
            let (reply, pending) = Pending::<Vec<DeviceId>, UpdateDevicesError>::channel();
            let kept: Option<Vec<DeviceId>> = asked.kept.iter().map(|number| DeviceId::new(*number).ok()).collect();
            let added: Option<Vec<NewDevice>> = asked.added.into_iter().map(new_device).collect();
            let change = Change::UpdateDevices {
                account: account(&asked.account)?,
                expected: asked.expected,
                list: list(asked.list),
                kept: kept?,
                added: added?,
                reply,
            };
            let of = |dropped: Vec<DeviceId>| Answer {
                devices: dropped.iter().map(|device| device.get()).collect(),
                ..Answer::of(DONE)
            };
            (Command::Change(change, tries), coming!(pending, of))
        }
        Asked::SetAccessKey(asked) => {
            let (reply, pending) = Pending::<(), StoreError>::channel();
            let key = match &asked.key {
                Some(key) => Some(stored_key(key)?),
                None => None,
            };
            let change = Change::SetAccessKey { account: account(&asked.account)?, key, reply };
            (Command::Change(change, tries), coming!(pending, |()| Answer::of(DONE)))
        }
        Asked::SetBlocked(asked) => {
            let (reply, pending) = Pending::<(), SetBlockedError>::channel();
            let (of, other) = (account(&asked.account)?, account(&asked.other)?);
            let change = Change::SetBlocked { account: of, other, blocked: asked.blocked, reply };
            (Command::Change(change, tries), coming!(pending, |()| Answer::of(DONE)))
        }
        Asked::AccessKey(of) => {
            let (reply, pending) = Pending::<Option<StoredAccessKey>, StoreError>::channel();
            let of_key =
                |key: Option<StoredAccessKey>| Answer { key: key.as_ref().map(key_message), ..Answer::of(DONE) };
            (Command::AccessKey { mailbox: address(&of)?, reply, tries }, coming!(pending, of_key))
        }
        Asked::TakeFull(of) => {
            let (reply, pending) = Pending::<Option<FullMailbox>, StoreError>::channel();
            let message = |occupant: &Occupant| OccupantMessage {
                account: occupant.account.map(|account| Bytes::copy_from_slice(account.as_bytes())),
                envelopes: occupant.waiting.envelopes,
                bytes: occupant.waiting.bytes,
            };
            let told = move |full: Option<FullMailbox>| match full {
                Some(full) => Answer {
                    flag: true,
                    number: full.refused,
                    occupants: full.largest.iter().map(message).collect(),
                    ..Answer::of(DONE)
                },
                None => Answer::of(DONE),
            };
            (Command::TakeFull { mailbox: address(&of)?, reply, tries }, coming!(pending, told))
        }
    })
}

/// Every error that an operation of a lane can have.
enum Refusal {
    Store(StoreError),
    Rule(Answer),
}

fn refused(refusal: Refusal) -> Answer {
    match refusal {
        Refusal::Store(error) => Answer::error(error),
        Refusal::Rule(answer) => answer,
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<SubmitError> for Refusal {
    fn from(error: SubmitError) -> Self {
        Self::Rule(Answer::of(match error {
            SubmitError::UnknownMailbox => UNKNOWN_MAILBOX,
            SubmitError::Full(MailboxFull::Envelopes) => FULL_ENVELOPES,
            SubmitError::Full(MailboxFull::Bytes) => FULL_BYTES,
            SubmitError::TooLarge => TOO_LARGE,
            SubmitError::Blocked => BLOCKED,
            SubmitError::Store(error) => return Self::Store(error),
        }))
    }
}

impl From<RegisterError> for Refusal {
    fn from(error: RegisterError) -> Self {
        Self::Rule(Answer::of(match error {
            RegisterError::AccountExists => ACCOUNT_EXISTS,
            RegisterError::NameTaken => NAME_TAKEN,
            RegisterError::Invitation => INVITATION,
            RegisterError::Store(error) => return Self::Store(error),
        }))
    }
}

fn device_message(new: &NewDevice) -> DeviceMessage {
    DeviceMessage {
        device: new.device.get(),
        signing_key: Bytes::copy_from_slice(new.signing_key.as_bytes()),
        certificate: new.certificate.clone(),
    }
}

fn new_device(message: DeviceMessage) -> Option<NewDevice> {
    Some(NewDevice {
        device: DeviceId::new(message.device).ok()?,
        signing_key: DeviceSigningKey::from_bytes(message.signing_key[..].try_into().ok()?),
        certificate: message.certificate,
    })
}

impl From<UpdateDevicesError> for Refusal {
    fn from(error: UpdateDevicesError) -> Self {
        match error {
            UpdateDevicesError::UnknownAccount => Self::Rule(Answer::of(UNKNOWN_ACCOUNT)),
            UpdateDevicesError::Conflict { stored } => Self::Rule(Answer { number: stored, ..Answer::of(CONFLICT) }),
            UpdateDevicesError::Store(error) => Self::Store(error),
        }
    }
}

impl From<SetBlockedError> for Refusal {
    fn from(error: SetBlockedError) -> Self {
        match error {
            SetBlockedError::TooMany => Self::Rule(Answer::of(TOO_MANY)),
            SetBlockedError::Store(error) => Self::Store(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicU64;

    use super::super::command::Room;
    use super::*;

    fn tries() -> Tries {
        Tries::new(Room::take(&Arc::<AtomicU64>::default(), 0).unwrap())
    }

    #[test]
    fn an_envelope_that_may_be_stored_is_so_at_the_next_node_too() {
        for doubtful in [false, true] {
            let mailbox = Address { account: AccountId::from_bytes([1; 16]), device: DeviceId::PRIMARY };
            let envelope =
                NewEnvelope { id: EnvelopeId::from_bytes([2; 16]), source: None, ciphertext: Bytes::from_static(b"c") };
            let (reply, _pending) = Answering::channel();
            let mut doubt = tries();
            doubt.doubtful = doubtful;
            let submit = Submit { mailbox, envelope, key: None, accepted_at: 3, reply, tries: doubt };
            let request = Request::read(encode(&Command::Submit(submit)).unwrap()).unwrap();
            assert_eq!(request.account(), Some(mailbox.account));
            let mut answering = Some(Answering::channel().0);
            let (command, _) = command(request, tries(), &mut answering).unwrap();
            assert_eq!(command.tries().unwrap().doubtful, doubtful);
        }
    }

    #[test]
    fn only_what_says_that_nothing_happened_is_unavailable() {
        let unavailable =
            [Unavailable::DiskFull, Unavailable::Overloaded, Unavailable::Stopped, Unavailable::Io("".into())];
        for error in unavailable {
            assert!(Answer::error(error.into()).is_unavailable());
        }
        for error in [StoreError::Unknown("".into()), StoreError::Corrupt("".into())] {
            assert!(!Answer::error(error).is_unavailable());
        }
        assert!(!Answer::moved().is_unavailable() && !Answer::of(DONE).is_unavailable());
    }
}
