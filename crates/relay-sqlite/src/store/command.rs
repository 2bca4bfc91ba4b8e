//! Everything that can be asked of the writer, each with the place for its answer.

use kuvert_relay::store::pending::Reply;
use kuvert_relay::store::{
    AccountChange, Bundle, Cursor, KnownTime, NewAccount, NewDevice, NewEnvelope, NewInvitation, NewPrekeys,
    NumberedDeviceList, PublishPrekeysError, RegisterError, SetBlockedError, StoreError, StoredAccessKey, SubmitError,
    Submitted, TakeBundleError, UpdateAccountError, UpdateDevicesError,
};
use kuvert_types::{AccessKeyHash, AccountId, Address, DeviceId};

use super::scrub::Suspects;

/// Holds an answer back until its transaction is durable.
pub struct Slot<T, E> {
    reply: Reply<T, E>,
    answer: Option<Result<T, E>>,
}

impl<T, E: From<StoreError>> Slot<T, E> {
    pub fn new(reply: Reply<T, E>) -> Self {
        Self { reply, answer: None }
    }

    pub fn set(&mut self, answer: Result<T, E>) {
        self.answer = Some(answer);
    }

    /// Sends what was set. It may not be waited for any more.
    pub fn send(self) {
        if let Some(answer) = self.answer {
            let _ = self.reply.send(answer);
        }
    }

    pub fn fail(self, error: &StoreError) {
        let _ = self.reply.send(Err(error.clone().into()));
    }
}

/// Work for the writer.
pub enum Command {
    Submit {
        mailbox: Address,
        envelope: NewEnvelope,
        key: Option<AccessKeyHash>,
        accepted_at: u64,
        slot: Slot<Submitted, SubmitError>,
    },
    Acknowledge {
        mailbox: Address,
        up_to: Cursor,
        slot: Slot<u64, StoreError>,
    },
    Expire {
        older_than: u64,
        budget: usize,
        slot: Slot<u64, StoreError>,
    },
    AcknowledgeExpired {
        mailbox: Address,
        count: u64,
        slot: Slot<(), StoreError>,
    },
    Register {
        account: Box<NewAccount>,
        slot: Slot<(), RegisterError>,
    },
    AddInvitation {
        invitation: NewInvitation,
        slot: Slot<(), StoreError>,
    },
    UpdateAccount {
        account: AccountId,
        change: AccountChange,
        slot: Slot<(), UpdateAccountError>,
    },
    DeleteAccount {
        account: AccountId,
        slot: Slot<bool, StoreError>,
    },
    UpdateDevices {
        account: AccountId,
        expected: u64,
        list: NumberedDeviceList,
        kept: Vec<DeviceId>,
        added: Vec<NewDevice>,
        slot: Slot<Vec<DeviceId>, UpdateDevicesError>,
    },
    SetAccessKey {
        account: AccountId,
        key: Option<StoredAccessKey>,
        slot: Slot<(), StoreError>,
    },
    SetBlocked {
        account: AccountId,
        other: AccountId,
        blocked: bool,
        slot: Slot<(), SetBlockedError>,
    },
    NoteSeen {
        device: Address,
        day: u32,
        slot: Slot<(), StoreError>,
    },
    PublishPrekeys {
        device: Address,
        prekeys: Box<NewPrekeys>,
        slot: Slot<(), PublishPrekeysError>,
    },
    TakeBundle {
        device: Address,
        reserve: u64,
        slot: Slot<Bundle, TakeBundleError>,
    },
    NoteTime {
        known: KnownTime,
        slot: Slot<(), StoreError>,
    },
    Restamp {
        now: u64,
        slot: Slot<u64, StoreError>,
    },
    Room {
        slot: Slot<(), StoreError>,
    },
    Checkpoint {
        slot: Slot<(), StoreError>,
    },
    Close {
        slot: Slot<(), StoreError>,
    },
    /// The checkpoint thread has done what it was asked, but for wiping these.
    PassDone {
        failed: Option<Suspects>,
    },
}

impl Command {
    /// Whether it needs room on the disk.
    pub fn grows(&self) -> bool {
        matches!(
            self,
            Self::Submit { .. }
                | Self::Register { .. }
                | Self::AddInvitation { .. }
                | Self::UpdateAccount { .. }
                | Self::UpdateDevices { .. }
                | Self::SetAccessKey { .. }
                | Self::SetBlocked { blocked: true, .. }
                | Self::NoteSeen { .. }
                | Self::NoteTime { .. }
                | Self::Restamp { .. }
                | Self::PublishPrekeys { .. }
        )
    }

    /// Whether it runs between transactions rather than within one.
    pub fn stands_alone(&self) -> bool {
        matches!(self, Self::Room { .. } | Self::Checkpoint { .. } | Self::Close { .. } | Self::PassDone { .. })
    }

    /// Sends the answer that was set.
    pub fn send(self) {
        match self {
            Self::Submit { slot, .. } => slot.send(),
            Self::Acknowledge { slot, .. } | Self::Expire { slot, .. } | Self::Restamp { slot, .. } => slot.send(),
            Self::AcknowledgeExpired { slot, .. }
            | Self::AddInvitation { slot, .. }
            | Self::SetAccessKey { slot, .. }
            | Self::NoteSeen { slot, .. }
            | Self::NoteTime { slot, .. }
            | Self::Room { slot }
            | Self::Checkpoint { slot }
            | Self::Close { slot } => slot.send(),
            Self::SetBlocked { slot, .. } => slot.send(),
            Self::Register { slot, .. } => slot.send(),
            Self::UpdateAccount { slot, .. } => slot.send(),
            Self::DeleteAccount { slot, .. } => slot.send(),
            Self::UpdateDevices { slot, .. } => slot.send(),
            Self::PublishPrekeys { slot, .. } => slot.send(),
            Self::TakeBundle { slot, .. } => slot.send(),
            Self::PassDone { .. } => {}
        }
    }

    /// Answers with an error instead.
    pub fn fail(self, error: &StoreError) {
        match self {
            Self::Submit { slot, .. } => slot.fail(error),
            Self::Acknowledge { slot, .. } | Self::Expire { slot, .. } | Self::Restamp { slot, .. } => slot.fail(error),
            Self::AcknowledgeExpired { slot, .. }
            | Self::AddInvitation { slot, .. }
            | Self::SetAccessKey { slot, .. }
            | Self::NoteSeen { slot, .. }
            | Self::NoteTime { slot, .. }
            | Self::Room { slot }
            | Self::Checkpoint { slot }
            | Self::Close { slot } => slot.fail(error),
            Self::SetBlocked { slot, .. } => slot.fail(error),
            Self::Register { slot, .. } => slot.fail(error),
            Self::UpdateAccount { slot, .. } => slot.fail(error),
            Self::DeleteAccount { slot, .. } => slot.fail(error),
            Self::UpdateDevices { slot, .. } => slot.fail(error),
            Self::PublishPrekeys { slot, .. } => slot.fail(error),
            Self::TakeBundle { slot, .. } => slot.fail(error),
            Self::PassDone { .. } => {}
        }
    }
}
