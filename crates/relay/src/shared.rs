//! What every connection shares.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use kuvert_types::AccountId;
use tokio::sync::{mpsc, watch};

use crate::blobs::Blobs;
use crate::config::Registration;
use crate::data_rights::DataRights;
use crate::extension::Extension;
use crate::incidents::Incidents;
use crate::limits::Limiter;
use crate::limits::held::Budget;
use crate::limits::saved::Saved;
use crate::metrics::Metrics;
use crate::observe::{Event, Observer};
use crate::others::{self, Listener, Others, Word, Words};
use crate::presence::Presence;
use crate::relay_time::RelayClock;
use crate::slots::Slots;
use crate::store::Store;
use crate::young::{LowWater, Young};

/// The relay's parts, as connections and retention use them.
pub struct Shared {
    /// What is kept.
    pub store: Arc<dyn Store>,
    /// What accounts have a right to.
    pub rights: Arc<dyn DataRights>,
    /// What the relay offers beyond mail.
    pub extension: Option<Arc<dyn Extension>>,
    /// Which devices are connected and attached.
    pub presence: Arc<dyn Presence>,
    /// Other relays that serve the same store; `None`: there are none.
    pub others: Option<Arc<dyn Others>>,
    /// Where devices that are being linked leave each other something.
    pub slots: Arc<dyn Slots>,
    /// Who watches.
    pub observer: Arc<dyn Observer>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// What time it is.
    pub clock: Arc<RelayClock>,
    /// Who asks for too much.
    pub limiter: Limiter,
    /// Bytes of requests that are held.
    pub held: Arc<Budget>,
    /// Files on their way; none where the relay takes none.
    pub blobs: Option<Arc<Blobs>>,
    /// Where limits outlast a restart.
    pub saved_limits: Saved,
    /// Accounts in their first day.
    pub young: Young,
    /// Whether there is little room on the disk.
    pub low_water: Arc<LowWater>,
    /// Who asked for too much, until it is written down.
    pub incidents: Incidents,
    /// Milliseconds from asking for a report to having it.
    pub report_delay_ms: u64,
    /// Who may register.
    pub registration: Registration,
    /// Becomes true once, when the relay shuts down.
    pub stopping: watch::Receiver<bool>,
    /// Dropped with the last user of this, so that a stopping relay knows when that is. Nothing is sent.
    pub alive: mpsc::Sender<()>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

impl Shared {
    /// Tells the observer.
    pub fn observe(&self, event: Event) {
        self.observer.see(self.clock.now_ms(), event);
    }

    /// Forgets what is remembered in memory of an account that is deleted.
    pub fn forget(&self, account: &AccountId) {
        self.incidents.forget(account);
        self.young.forget(account);
        self.limiter.forget(account);
    }

    /// Says something to the other relays, if there are any.
    pub fn tell_others(&self, word: &Word<'_>) {
        if let Some(others) = &self.others {
            others::tell(&**others, word);
        }
    }

    /// Waits until the relay shuts down.
    pub async fn stopped(&self) {
        let mut stopping = self.stopping.clone();
        // An error means that the sender is gone: the relay has ended.
        let _ = stopping.wait_for(|stopping| *stopping).await;
    }
}

impl Listener for Shared {
    fn hear(&self, words: &[u8]) {
        for word in others::words(words) {
            match word {
                Word::Used { limit, key, units } => self.limiter.used_elsewhere(limit, key, units),
                Word::Rests { limit, key, time } => self.limiter.rests_elsewhere(limit, key, time),
                // Not later than now: an account is young for a day, whatever another machine's clock says.
                Word::Registered(account, at) => self.young.registered(account, at.min(self.clock.now_ms())),
                Word::Submitted(account, bytes) => self.young.submitted_elsewhere(&account, bytes),
                Word::Has(account, bytes) => self.young.has_submitted(&account, bytes),
                Word::Gone(account) => self.forget(&account),
            }
        }
    }

    fn summary(&self) -> Vec<Bytes> {
        let mut words = Words::default();
        self.limiter.summary(&mut words);
        self.young.summary(self.clock.now_ms(), &mut words);
        words.into_pieces()
    }
}
