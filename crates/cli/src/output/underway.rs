//! What is being printed and noted. A command that ends meanwhile waits for it: what was printed and not noted would be printed again.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

static COUNT: Mutex<usize> = Mutex::new(0);
static CHANGED: Condvar = Condvar::new();

fn count() -> MutexGuard<'static, usize> {
    COUNT.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Counts as being printed and noted until it is dropped.
#[derive(Debug)]
pub struct Underway(());

impl Underway {
    /// Begins.
    pub fn begin() -> Self {
        *count() += 1;
        Self(())
    }
}

impl Drop for Underway {
    fn drop(&mut self) {
        *count() -= 1;
        CHANGED.notify_all();
    }
}

/// Waits until everything is printed and noted, for so long at most: a reader of the output may pause.
pub fn settle(patience: Duration) {
    // Either way the command ends.
    let _ = CHANGED.wait_timeout_while(count(), patience, |count| *count > 0);
}
