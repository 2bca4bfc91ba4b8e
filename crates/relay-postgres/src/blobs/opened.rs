//! Uploads that streams of this node have open: one that another stream of it took over, or that was erased or completed here, ends with
//! its next bytes. What other nodes do is found out when it writes down how far it is.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use kuvert_relay::blobs::store::BlobError;
use kuvert_types::BlobId;

/// Those that are open.
#[derive(Debug, Default)]
pub struct Opened(Mutex<HashMap<BlobId, Weak<Local>>>);

/// One that is open.
#[derive(Debug, Default)]
pub struct Local {
    epoch: AtomicU64,
    erased: AtomicBool,
    committed: AtomicBool,
}

impl Opened {
    fn lock(&self) -> MutexGuard<'_, HashMap<BlobId, Weak<Local>>> {
        // The map is whole after every statement, so a panic elsewhere does not spoil it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A stream goes on with an upload, in this epoch.
    pub fn begin(&self, id: BlobId, epoch: u64) -> Arc<Local> {
        let mut opened = self.lock();
        let known = opened.get(&id).and_then(Weak::upgrade);
        let local = known.unwrap_or_else(|| {
            // Few are open at once: those that no stream has any more go here.
            opened.retain(|_, local| local.strong_count() > 0);
            let local = Arc::default();
            opened.insert(id, Arc::downgrade(&local));
            local
        });
        local.epoch.fetch_max(epoch, Ordering::AcqRel);
        local
    }

    /// Blobs were erased.
    pub fn end(&self, ids: &[BlobId]) {
        let mut opened = self.lock();
        for local in ids.iter().filter_map(|id| opened.remove(id)?.upgrade()) {
            local.erased.store(true, Ordering::Release);
        }
    }

    /// An upload is complete.
    pub fn commit(&self, id: &BlobId) {
        if let Some(local) = self.lock().get(id).and_then(Weak::upgrade) {
            local.committed.store(true, Ordering::Release);
        }
    }
}

impl Local {
    /// That the stream of this epoch goes on with it.
    pub fn must_be(&self, epoch: u64) -> Result<(), BlobError> {
        if self.erased.load(Ordering::Acquire) {
            Err(BlobError::Unknown)
        } else if self.committed.load(Ordering::Acquire) {
            Err(BlobError::Committed)
        } else if self.epoch.load(Ordering::Acquire) > epoch {
            Err(BlobError::TakenOver)
        } else {
            Ok(())
        }
    }
}
