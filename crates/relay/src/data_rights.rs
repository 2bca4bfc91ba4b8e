//! What accounts have a right to, behind one trait: reports, holds, deletion, and the limits that they ran into.
//!
//! As with [`Store`](crate::store::Store), an operation is under way when it is called, and `Ok` is durable.

use std::fmt;

use kuvert_types::AccountId;

use crate::incidents::Incident;
use crate::store::{Cursor, Pending, StoreError};

/// A report that was asked for. All times are Unix milliseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReportRequest {
    /// When.
    pub requested_at: u64,
    /// From when on it can be fetched.
    pub ready_at: u64,
    /// Until when.
    pub kept_until: u64,
    /// Whether it was made already.
    pub made: bool,
}

/// Keeps what accounts have a right to.
pub trait DataRights: Send + Sync + fmt::Debug + 'static {
    /// Asks for a report, which is ready after `delay_ms`. One that was asked for before and is not made yet stays as it is:
    /// asking again neither shortens the delay nor begins it anew.
    fn ask_for_report(&self, account: AccountId, now: u64, delay_ms: u64) -> Pending<ReportRequest, StoreError>;

    /// The request of an account, unless its time is over.
    fn report_request(&self, account: AccountId, now: u64) -> Pending<Option<ReportRequest>, StoreError>;

    /// Makes the report of an account whose waiting mail is at these cursors: all that the relay holds about it, as the bytes
    /// of a `Report` of the protocol. Nothing of it is kept.
    fn make_report(&self, account: AccountId, mail: Vec<Cursor>, now: u64) -> Pending<Vec<u8>, StoreError>;

    /// Keeps a report that was asked for and made.
    fn keep_report(&self, account: AccountId, report: Vec<u8>) -> Pending<(), StoreError>;

    /// The length of a report that is kept, and at most `length` of its bytes from `offset` on.
    fn report_piece(
        &self,
        account: AccountId,
        offset: u64,
        length: usize,
    ) -> Pending<Option<(u64, Vec<u8>)>, StoreError>;

    /// Whether an account is under a legal hold.
    fn is_held(&self, account: AccountId) -> Pending<bool, StoreError>;

    /// Deletes what is kept here of an account, which is about to be deleted itself, and takes it off the incidents. `held` is
    /// the report that is kept instead if the account is under a hold. Doing it again changes nothing.
    fn erase(&self, account: AccountId, held: Option<Vec<u8>>, now: u64) -> Pending<(), StoreError>;

    /// Counts an account that was deleted: the day, and nothing else.
    fn count_deletion(&self, now: u64) -> Pending<(), StoreError>;

    /// Writes down the limits that accounts ran into.
    fn note_incidents(&self, now: u64, incidents: Vec<Incident>) -> Pending<(), StoreError>;

    /// Deletes incidents from before `traces_before`, and reports that are kept no longer at `now`.
    fn purge(&self, traces_before: u64, now: u64) -> Pending<(), StoreError>;
}
