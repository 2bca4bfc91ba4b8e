//! What accounts have a right to, from the relay's files.

use std::sync::Arc;

use kuvert_relay::data_rights::{DataRights, ReportRequest};
use kuvert_relay::incidents::Incident;
use kuvert_relay::store::{Cursor, Pending, StoreError};
use kuvert_types::AccountId;
use prost::Message as _;

use crate::people::{People, holds, incidents, reports, rights};
use crate::report::rows::Mail;
use crate::report::{self, Documents, Sources};

/// [`DataRights`] on `DATA/people.db`.
#[derive(Clone, Debug)]
pub struct SqliteRights {
    people: People,
    sources: Sources,
    documents: Option<Arc<dyn Documents>>,
}

impl SqliteRights {
    /// Reports are made from `sources`, with an extension's documents.
    pub fn new(people: People, sources: Sources, documents: Option<Arc<dyn Documents>>) -> Self {
        Self { people, sources, documents }
    }
}

impl DataRights for SqliteRights {
    fn ask_for_report(&self, account: AccountId, now: u64, delay_ms: u64) -> Pending<ReportRequest, StoreError> {
        self.people.run(move |tx| reports::ask(tx, &account, now, delay_ms))
    }

    fn report_request(&self, account: AccountId, now: u64) -> Pending<Option<ReportRequest>, StoreError> {
        self.people.run(move |tx| reports::find(tx, &account, now))
    }

    fn make_report(&self, account: AccountId, mail: Vec<Cursor>, now: u64) -> Pending<Vec<u8>, StoreError> {
        let (sources, documents) = (self.sources.clone(), self.documents.clone());
        self.people.blocking(move |people| {
            let mail = Mail::At(mail.into_iter().map(Cursor::get).collect());
            let report = report::gather(&sources, people, documents.as_deref(), &account, &mail, now)?;
            Ok(report.encode_to_vec())
        })
    }

    fn keep_report(&self, account: AccountId, report: Vec<u8>) -> Pending<(), StoreError> {
        self.people.run(move |tx| reports::keep(tx, &account, &report))
    }

    fn report_piece(
        &self,
        account: AccountId,
        offset: u64,
        length: usize,
    ) -> Pending<Option<(u64, Vec<u8>)>, StoreError> {
        self.people.run(move |tx| reports::piece(tx, &account, offset, length))
    }

    fn is_held(&self, account: AccountId) -> Pending<bool, StoreError> {
        self.people.run(move |tx| holds::is_held(tx, &account))
    }

    fn erase(&self, account: AccountId, held: Option<Vec<u8>>, now: u64) -> Pending<(), StoreError> {
        self.people.run_erasing(move |tx| {
            if let Some(report) = &held {
                holds::keep(tx, &account, report, now)?;
            }
            rights::delete(tx, &account)
        })
    }

    fn count_deletion(&self, now: u64) -> Pending<(), StoreError> {
        self.people.run(move |tx| rights::count_deletion(tx, now))
    }

    fn note_incidents(&self, now: u64, incidents: Vec<Incident>) -> Pending<(), StoreError> {
        self.people.run(move |tx| incidents::write(tx, now, &incidents))
    }

    fn purge(&self, traces_before: u64, now: u64) -> Pending<(), StoreError> {
        self.people.run(move |tx| {
            incidents::purge(tx, traces_before)?;
            reports::purge(tx, now)
        })
    }
}
