//! Who is there to be told that mail has come. A hint and no more: it may be lost or come twice. Whoever is attached also
//! reads its mailbox on its own from time to time.
//!
//! One device, one listener: a second one displaces the first.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use kuvert_types::Address;
use tokio::sync::Notify;

/// Wakes listeners. Several machines would pass [`notify`](Self::notify) on to each other.
pub trait WakeUps: Send + Sync + fmt::Debug {
    /// Listens for a mailbox from now on. Whoever did before is displaced.
    fn attach(&self, mailbox: Address) -> Attachment;

    /// Stops listening. Called by the attachment itself when it is dropped.
    fn detach(&self, mailbox: &Address, signal: &Arc<Signal>);

    /// Tells whoever listens that there may be mail.
    fn notify(&self, mailbox: &Address);
}

/// What a listener is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WakeUp {
    /// There may be mail.
    Mail,
    /// Another listener took over; this is the last word.
    Displaced,
}

/// Between the one who notifies and the one who listens.
#[derive(Debug, Default)]
pub struct Signal {
    bell: Notify,
    displaced: AtomicBool,
}

impl Signal {
    /// There may be mail. Said several times before anybody listens, it is heard once.
    pub fn mail(&self) {
        self.bell.notify_one();
    }

    /// Another listener takes over.
    pub fn displace(&self) {
        self.displaced.store(true, Ordering::Release);
        self.bell.notify_one();
    }
}

/// One listener's ear. Detaches when dropped.
#[derive(Debug)]
pub struct Attachment {
    mailbox: Address,
    signal: Arc<Signal>,
    wakeups: Arc<dyn WakeUps>,
}

impl Attachment {
    /// Puts together what [`WakeUps::attach`] hands out.
    pub fn new(mailbox: Address, signal: Arc<Signal>, wakeups: Arc<dyn WakeUps>) -> Self {
        Self { mailbox, signal, wakeups }
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
        self.wakeups.detach(&self.mailbox, &self.signal);
    }
}

/// Wake-ups within one process.
#[derive(Debug, Default)]
pub struct LocalWakeUps(Arc<Listeners>);

/// The map of listeners, which attachments hold on to so that they can take themselves out.
#[derive(Default)]
struct Listeners(Mutex<HashMap<Address, Arc<Signal>>>);

impl fmt::Debug for Listeners {
    // The keys are addresses.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listeners").finish_non_exhaustive()
    }
}

impl Listeners {
    fn with<T>(&self, act: impl FnOnce(&mut HashMap<Address, Arc<Signal>>) -> T) -> T {
        // The map is whole after every statement, so a panic elsewhere does not spoil it.
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl WakeUps for LocalWakeUps {
    fn attach(&self, mailbox: Address) -> Attachment {
        let signal = Arc::new(Signal::default());
        if let Some(before) = self.0.with(|listeners| listeners.insert(mailbox, Arc::clone(&signal))) {
            before.displace();
        }
        Attachment::new(mailbox, signal, Arc::new(Self(Arc::clone(&self.0))))
    }

    fn detach(&self, mailbox: &Address, signal: &Arc<Signal>) {
        self.0.with(|listeners| {
            // Whoever displaced this listener stays.
            if listeners.get(mailbox).is_some_and(|current| Arc::ptr_eq(current, signal)) {
                listeners.remove(mailbox);
            }
        });
    }

    fn notify(&self, mailbox: &Address) {
        if let Some(signal) = self.0.with(|listeners| listeners.get(mailbox).cloned()) {
            signal.mail();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kuvert_types::{AccountId, DeviceId};

    const MAILBOX: Address = Address { account: AccountId::from_bytes([1; 16]), device: DeviceId::PRIMARY };

    #[tokio::test]
    async fn a_notification_before_listening_is_heard() {
        let wakeups = LocalWakeUps::default();
        let attachment = wakeups.attach(MAILBOX);
        wakeups.notify(&MAILBOX);
        assert_eq!(attachment.next().await, WakeUp::Mail);
    }

    #[tokio::test]
    async fn the_second_displaces_the_first_and_outlives_its_end() {
        let wakeups = LocalWakeUps::default();
        let first = wakeups.attach(MAILBOX);
        let second = wakeups.attach(MAILBOX);
        assert_eq!(first.next().await, WakeUp::Displaced);
        assert_eq!(first.next().await, WakeUp::Displaced, "and it stays so");
        drop(first);
        wakeups.notify(&MAILBOX);
        assert_eq!(second.next().await, WakeUp::Mail);
        drop(second);
        assert!(wakeups.0.with(|listeners| listeners.is_empty()));
    }
}
