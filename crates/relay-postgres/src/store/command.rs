//! What a lane is asked, each with the place for its answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use kuvert_relay::store::pending::Reply;
use kuvert_relay::store::{
    Cursor, FullMailbox, NewAccount, NewDevice, NewEnvelope, NumberedDeviceList, RegisterError, SetBlockedError,
    StoreError, StoredAccessKey, SubmitError, Submitted, Unavailable, UpdateDevicesError,
};
use kuvert_types::{AccessKeyHash, AccountId, Address, DeviceId};
use tokio::sync::oneshot;

use super::cache::MailboxNumber;
use crate::answering::Answering;

/// How long a command is tried for while no server takes writes. A failover takes some 25 seconds.
const PATIENCE: Duration = Duration::from_secs(40);

/// Bytes of ciphertext and overhead that may wait for all lanes together. Beyond, commands are refused as
/// [`Unavailable::Overloaded`]: memory stays bounded whatever arrives.
const MAX_QUEUED_BYTES: u64 = 64 * 1024 * 1024;

/// What a command in a queue costs beside the bytes that came with it.
const QUEUED_OVERHEAD: u64 = 256;

/// An envelope on its way.
pub struct Submit {
    pub mailbox: Address,
    pub envelope: NewEnvelope,
    pub key: Option<AccessKeyHash>,
    pub accepted_at: u64,
    pub reply: Answering<Submitted, SubmitError>,
    pub tries: Tries,
}

/// An acknowledgement on its way.
pub struct Acknowledge {
    pub mailbox: Address,
    pub up_to: Cursor,
    pub reply: Answering<u64, StoreError>,
    pub tries: Tries,
}

/// A change of an account that the lane keeps in memory.
pub enum Change {
    Register {
        account: Box<NewAccount>,
        reply: Reply<(), RegisterError>,
    },
    Delete {
        account: AccountId,
        reply: Reply<bool, StoreError>,
    },
    UpdateDevices {
        account: AccountId,
        expected: u64,
        list: NumberedDeviceList,
        kept: Vec<DeviceId>,
        added: Vec<NewDevice>,
        reply: Reply<Vec<DeviceId>, UpdateDevicesError>,
    },
    SetAccessKey {
        account: AccountId,
        key: Option<StoredAccessKey>,
        reply: Reply<(), StoreError>,
    },
    SetBlocked {
        account: AccountId,
        other: AccountId,
        blocked: bool,
        reply: Reply<(), SetBlockedError>,
    },
}

/// All of it.
pub enum Command {
    Submit(Submit),
    Acknowledge(Acknowledge),
    Change(Change, Tries),
    AccessKey {
        mailbox: Address,
        reply: Reply<Option<StoredAccessKey>, StoreError>,
        tries: Tries,
    },
    TakeFull {
        mailbox: Address,
        reply: Reply<Option<FullMailbox>, StoreError>,
        tries: Tries,
    },
    /// These expired, deleted by a statement for all slots of this node.
    Expired(Vec<(MailboxNumber, u64)>),
    /// What was read of the slots must be read again, with a new epoch.
    Renew(oneshot::Sender<()>),
}

/// How it went so far.
#[derive(Debug)]
pub struct Tries {
    since: Instant,
    /// It was sent, and no answer came that can be relied on.
    pub doubtful: bool,
    /// Given back with this.
    _room: Room,
}

/// Room in the queues, given back when dropped.
#[derive(Debug)]
pub struct Room {
    taken: Arc<AtomicU64>,
    bytes: u64,
}

impl Room {
    /// For a command that came with so many bytes. `None`: there is none.
    pub fn take(taken: &Arc<AtomicU64>, bytes: usize) -> Option<Self> {
        let bytes = bytes as u64 + QUEUED_OVERHEAD;
        let room = Self { taken: Arc::clone(taken), bytes };
        // Dropped at once if it was too much.
        (taken.fetch_add(bytes, Ordering::Relaxed) + bytes <= MAX_QUEUED_BYTES).then_some(room)
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.taken.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl Tries {
    /// Now.
    pub fn new(room: Room) -> Self {
        Self { since: Instant::now(), doubtful: false, _room: room }
    }

    /// Whether it was tried for long enough.
    pub fn is_over(&self) -> bool {
        self.since.elapsed() > PATIENCE
    }

    /// What it is answered with then.
    pub fn error(&self) -> StoreError {
        if self.doubtful {
            StoreError::Unknown("no server took writes for a while, and one may have had it".into())
        } else {
            Unavailable::Io("no server takes writes".into()).into()
        }
    }
}

impl Change {
    /// Whose.
    pub fn account(&self) -> AccountId {
        match self {
            Self::Register { account, .. } => account.account,
            Self::Delete { account, .. }
            | Self::UpdateDevices { account, .. }
            | Self::SetAccessKey { account, .. }
            | Self::SetBlocked { account, .. } => *account,
        }
    }

    /// Answers with an error. What is not waited for any more is not told.
    pub fn fail(self, error: StoreError) {
        match self {
            Self::Register { reply, .. } => drop(reply.send(Err(error.into()))),
            Self::Delete { reply, .. } => drop(reply.send(Err(error))),
            Self::UpdateDevices { reply, .. } => drop(reply.send(Err(error.into()))),
            Self::SetAccessKey { reply, .. } => drop(reply.send(Err(error))),
            Self::SetBlocked { reply, .. } => drop(reply.send(Err(error.into()))),
        }
    }
}

impl Command {
    /// Whose account it is about; the lane's own business is about none.
    pub fn account(&self) -> Option<AccountId> {
        match self {
            Self::Submit(Submit { mailbox, .. })
            | Self::Acknowledge(Acknowledge { mailbox, .. })
            | Self::AccessKey { mailbox, .. }
            | Self::TakeFull { mailbox, .. } => Some(mailbox.account),
            Self::Change(change, _) => Some(change.account()),
            Self::Expired(_) | Self::Renew(_) => None,
        }
    }

    /// How it went so far, for what is tried again.
    pub fn tries(&self) -> Option<&Tries> {
        match self {
            Self::Submit(Submit { tries, .. })
            | Self::Acknowledge(Acknowledge { tries, .. })
            | Self::Change(_, tries)
            | Self::AccessKey { tries, .. }
            | Self::TakeFull { tries, .. } => Some(tries),
            Self::Expired(_) | Self::Renew(_) => None,
        }
    }

    /// Whether it may have happened.
    pub fn is_doubtful(&self) -> bool {
        self.tries().is_some_and(|tries| tries.doubtful)
    }

    /// Answers that it may have happened.
    pub fn fail_doubtful(self) {
        self.fail(StoreError::Unknown("another node may have had it".into()));
    }

    /// Whether it is to be sent again after this error of another node's. What may have happened is repeated only where doing it
    /// twice is doing it once.
    pub fn again_after(&mut self, error: &StoreError) -> bool {
        let repeatable = !matches!(self, Self::Change(..));
        let (Self::Submit(Submit { tries, .. })
        | Self::Acknowledge(Acknowledge { tries, .. })
        | Self::Change(_, tries)
        | Self::AccessKey { tries, .. }
        | Self::TakeFull { tries, .. }) = self
        else {
            return false;
        };
        match error {
            StoreError::Unavailable(Unavailable::Io(_) | Unavailable::Stopped) => !tries.is_over(),
            StoreError::Unknown(_) if repeatable => {
                tries.doubtful = true;
                !tries.is_over()
            }
            _ => false,
        }
    }

    /// Answers with an error. What is not waited for any more is not told.
    pub fn fail(self, error: StoreError) {
        match self {
            Self::Submit(Submit { reply, .. }) => reply.send(Err(error.into())),
            Self::Acknowledge(Acknowledge { reply, .. }) => reply.send(Err(error)),
            Self::Change(change, _) => change.fail(error),
            Self::AccessKey { reply, .. } => drop(reply.send(Err(error))),
            Self::TakeFull { reply, .. } => drop(reply.send(Err(error))),
            Self::Expired(_) => {}
            Self::Renew(done) => drop(done.send(())),
        }
    }
}
