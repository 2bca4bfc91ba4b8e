//! The extension `demonstration`: what people tell a relay about themselves and others beyond what delivering mail needs, which
//! is level L0 of the disclosure ladder, and the terms under which it is shared. None of it is needed for the service, and an
//! account that stays above L0 leaves no row here.
//!
//! Its tables lie in `DATA/people.db`, beside the relay's own: a few small rows, written seldom, one transaction each. Every
//! column has its entry in the registry ([`kuvert_privacy::registry`]).
//!
//! | module | holds |
//! |---|---|
//! | [`command`] | what a client can ask for |
//! | [`phone`], [`codes`] | numbers, verified by a code |
//! | [`profile`] | what people say about themselves |
//! | [`address_book`] | what they say about others |
//! | [`devices`] | what their machines are |
//! | [`withdraw`] | taking all of it back |
//! | [`look`] | what there is, for `inspect` |
//! | [`policy`], [`consents`] | the terms, and which of them were accepted |
//! | [`sharing`] | what the demonstration exported |
//! | [`tables`] | its tables and their versions |
//! | [`document`] | its file in an account's report |

pub mod address_book;
pub mod codes;
pub mod command;
pub mod consents;
pub mod devices;
pub mod document;
pub mod look;
pub mod phone;
pub mod policy;
pub mod profile;
pub mod sharing;
pub mod tables;
pub mod withdraw;

use std::sync::Arc;

use bytes::Bytes;
use kuvert_types::{AccountId, Address};
use kuvert_wire::v1::demonstration::NAME;
use rusqlite::Transaction;
use serde_json::Value;

use self::codes::{CodeSender, LogCodes};
use self::policy::DEMONSTRATION;
use crate::clock::Clock;
use crate::command::Caller;
use crate::config::Config;
use crate::extension::{Extension, Handled, Work};
use crate::people::People;
use crate::people::schema::Tables;
use crate::relay::{Parts, RunningRelay, StartError};
use crate::service::Service;
use crate::store::StoreError;

/// The extension.
#[derive(Debug)]
pub struct Lens {
    /// Whether there are terms to accept, and exports.
    demonstration: bool,
    /// Brings codes to phones.
    codes: Arc<dyn CodeSender>,
}

impl Lens {
    /// With codes in the log. `demonstration`: with terms to accept, and exports.
    pub fn new(demonstration: bool) -> Self {
        Self { demonstration, codes: Arc::new(LogCodes) }
    }

    /// With another way for codes to reach phones than the log.
    #[must_use]
    pub fn with_codes(self, codes: Arc<dyn CodeSender>) -> Self {
        Self { codes, ..self }
    }
}

/// Starts a relay with this extension, on the embedded store in `config.data`.
///
/// # Errors
/// See [`StartError`].
pub async fn start(config: Config, clock: Arc<dyn Clock>) -> Result<RunningRelay, StartError> {
    let lens = Lens::new(config.demonstration);
    Parts::new(clock).with_extension(Arc::new(lens)).start(config).await
}

impl Extension for Lens {
    fn name(&self) -> &'static str {
        NAME
    }

    fn warning(&self) -> Option<&'static str> {
        self.demonstration.then_some(DEMONSTRATION)
    }

    fn tables(&self) -> &'static Tables {
        &tables::TABLES
    }

    fn handle(&self, caller: &Caller, body: Bytes) -> Handled {
        command::run(self, caller, body)
    }

    fn forget_devices<'a>(&'a self, service: &'a Service, gone: Vec<Address>) -> Work<'a> {
        let forget = move |tx: &Transaction<'_>| gone.iter().try_for_each(|device| devices::forget(tx, device));
        Box::pin(service.people.run_erasing(forget))
    }

    fn erase<'a>(&'a self, service: &'a Service, account: AccountId) -> Work<'a> {
        Box::pin(service.people.run_erasing(move |tx| withdraw::account(tx, &account)))
    }

    fn tidy<'a>(&'a self, service: &'a Service) -> Work<'a, usize> {
        let now = service.clock.now_ms();
        Box::pin(service.people.run(move |tx| phone::purge(tx, now)))
    }

    fn documents(&self, people: &People, account: &AccountId) -> Result<Vec<(String, Value)>, StoreError> {
        let ledger = people.transact(|tx| consents::ledger(tx, account))?;
        Ok(vec![("consents.json".to_owned(), document::consents(&ledger, self.demonstration))])
    }
}
