//! Presence: which devices are connected, which of them take their mail now, and what ends that.
//!
//! Two facts hold for a whole relay, however many machines it has: a device is attached once, and the connections of an
//! account or a device that ended are closed. Both stand behind the trait [`Presence`].
//!
//! | module | holds |
//! |---|---|
//! | [`local`] | presence within one process |
//! | `conformance` | what every presence has to do, as checks (feature `conformance`) |

mod attachments;
#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
pub mod local;
mod logins;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use kuvert_types::{AccountId, Address};
use tokio::sync::{Notify, watch};

pub use local::LocalPresence;

/// Which devices are connected and attached.
pub trait Presence: Send + Sync + fmt::Debug + 'static {
    /// Attaches to a mailbox from now on. What was attached to it before is displaced.
    fn attach(&self, mailbox: Address) -> Attachment;

    /// Says that there may be mail in a mailbox. Best effort: it may be lost or come twice, and an attached device also
    /// reads its mailbox on its own from time to time.
    fn notify(&self, mailbox: &Address);

    /// One more connection of a device.
    fn enter(&self, device: Address) -> Login;

    /// How many accounts and devices were ended so far. A connection that looked its device up before it
    /// [entered](Self::enter) looks again if this has risen in between.
    fn ended(&self) -> u64;

    /// Ends all connections of an account.
    fn end(&self, account: &AccountId);

    /// Ends all connections of a device.
    fn end_device(&self, device: &Address);
}

/// What is done when an attachment or a login ends.
type Leave = Box<dyn FnOnce() + Send + Sync>;

/// What an attached device is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WakeUp {
    /// There may be mail.
    Mail,
    /// Another connection attached; this is the last word.
    Displaced,
}

/// Between a presence and an attachment that it handed out.
#[derive(Debug, Default)]
pub struct Signal {
    bell: Notify,
    displaced: AtomicBool,
}

impl Signal {
    /// There may be mail. Said several times before the attachment listens, it is heard once.
    pub fn mail(&self) {
        self.bell.notify_one();
    }

    /// Another connection attaches.
    pub fn displace(&self) {
        self.displaced.store(true, Ordering::Release);
        self.bell.notify_one();
    }
}

/// A device that takes its mail on one connection. Detaches when dropped.
pub struct Attachment {
    signal: Arc<Signal>,
    leave: Option<Leave>,
}

impl fmt::Debug for Attachment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attachment").finish_non_exhaustive()
    }
}

impl Attachment {
    /// Puts together what [`Presence::attach`] hands out. `leave` is called when it is dropped.
    pub fn new(signal: Arc<Signal>, leave: impl FnOnce() + Send + Sync + 'static) -> Self {
        Self { signal, leave: Some(Box::new(leave)) }
    }

    /// The next wake-up.
    pub async fn next(&self) -> WakeUp {
        if !self.signal.displaced.load(Ordering::Acquire) {
            self.signal.bell.notified().await;
        }
        if self.signal.displaced.load(Ordering::Acquire) { WakeUp::Displaced } else { WakeUp::Mail }
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        if let Some(leave) = self.leave.take() {
            leave();
        }
    }
}

/// What ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Over {
    /// The account, with all its devices.
    Account,
    /// The device alone.
    Device,
}

/// One connection of a device. Leaves when dropped.
pub struct Login {
    /// That the sender is dropped says that the account ended; that it sent something before, that the device alone did. There
    /// until dropped.
    over: Option<watch::Receiver<()>>,
    leave: Option<Leave>,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").finish_non_exhaustive()
    }
}

impl Login {
    /// Puts together what [`Presence::enter`] hands out. That the sender of `over` is dropped ends the account; a value sent
    /// before ends the device alone. `leave` is called when it is dropped, after `over` is.
    pub fn new(over: watch::Receiver<()>, leave: impl FnOnce() + Send + Sync + 'static) -> Self {
        Self { over: Some(over), leave: Some(Box::new(leave)) }
    }

    /// Waits until the account or the device is ended, and says which. May be dropped and called again.
    pub async fn over(&mut self) -> Over {
        let Some(over) = &mut self.over else { return Over::Account };
        match over.changed().await {
            Ok(()) => Over::Device,
            // The sender was dropped.
            Err(_) => Over::Account,
        }
    }
}

impl Drop for Login {
    fn drop(&mut self) {
        self.over = None;
        if let Some(leave) = self.leave.take() {
            leave();
        }
    }
}
