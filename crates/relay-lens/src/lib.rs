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
//! | [`observe`] | what the relay learns, written down |
//! | [`phone`], [`codes`] | numbers, verified by a code |
//! | [`profile`] | what people say about themselves |
//! | [`address_book`] | what they say about others |
//! | [`devices`] | what their machines are |
//! | [`withdraw`] | taking all of it back |
//! | [`look`] | what there is, for `inspect` |
//! | [`policy`], [`consents`] | the terms, and which of them were accepted |
//! | [`sharing`] | what the demonstration exported |
//! | [`tables`] | its tables and their versions |
//! | [`program`] | the program `kuvert-relay-lens` |
//! | [`document`] | its file in an account's report |

// `println!` and `eprintln!` panic where nothing can be written.
#![deny(clippy::print_stdout, clippy::print_stderr)]

pub mod address_book;
pub mod codes;
pub mod command;
pub mod consents;
pub mod devices;
pub mod document;
pub mod look;
pub mod observe;
pub mod phone;
pub mod policy;
pub mod profile;
pub mod program;
pub mod sharing;
pub mod tables;
pub mod withdraw;

use std::error::Error;
use std::sync::Arc;

use bytes::Bytes;
use kuvert_privacy::registry::Field;
use kuvert_privacy::registry::fields::people::DISCLOSURES;
use kuvert_relay::RunningRelay;
use kuvert_relay::clock::Clock;
use kuvert_relay::command::AuthenticatedDevice;
use kuvert_relay::config::Config;
use kuvert_relay::extension::{Extension, Handled};
use kuvert_relay::observe::Observer;
use kuvert_relay::store::{Pending, StoreError};
use kuvert_relay_sqlite::OBSERVE_FILE;
use kuvert_relay_sqlite::embedded::{Embedded, Offer, StartError};
use kuvert_relay_sqlite::people::People;
use kuvert_relay_sqlite::people::schema::Tables;
use kuvert_relay_sqlite::report::Documents;
use kuvert_types::{AccountId, Address};
use kuvert_wire::v1::demonstration::NAME;
use rusqlite::Transaction;
use serde_json::Value;

use self::codes::{CodeSender, LogCodes};
use self::observe::{Database, Past};
use self::policy::DEMONSTRATION;

/// What a relay with the extension is given, and how it is set up.
#[derive(Clone, Debug)]
pub struct LensOffer {
    codes: Arc<dyn CodeSender>,
}

impl Default for LensOffer {
    /// With codes in the log.
    fn default() -> Self {
        Self { codes: Arc::new(LogCodes) }
    }
}

impl LensOffer {
    /// With another way for codes to reach phones than the log.
    pub const fn with_codes(codes: Arc<dyn CodeSender>) -> Self {
        Self { codes }
    }
}

impl Offer for LensOffer {
    fn tables(&self) -> &'static Tables {
        &tables::TABLES
    }

    fn documents(&self, config: &Config) -> Arc<dyn Documents> {
        Arc::new(Consents { demonstration: config.demonstration })
    }

    fn extension(&self, config: &Config, people: People) -> Arc<dyn Extension> {
        Arc::new(Lens { demonstration: config.demonstration, codes: Arc::clone(&self.codes), people })
    }

    /// Writes observations, or forgets those that were written when the relay still did.
    fn observer(&self, config: &Config) -> Result<Option<Arc<dyn Observer>>, Box<dyn Error + Send + Sync>> {
        let path = config.data.join(OBSERVE_FILE);
        Ok(match (config.observe, path.exists()) {
            (true, _) => Some(Arc::new(Database::open(&path)?)),
            (false, true) => Some(Arc::new(Past::new(path))),
            (false, false) => None,
        })
    }
}

/// Starts a relay with this extension, on the embedded store in `config.data`.
///
/// # Errors
/// See [`StartError`].
pub async fn start(config: Config, clock: Arc<dyn Clock>) -> Result<RunningRelay, StartError> {
    Embedded::new(clock).with_offer(Arc::new(LensOffer::default())).start(config).await
}

/// The file `consents.json` of an account's report.
#[derive(Clone, Copy, Debug)]
pub struct Consents {
    /// Whether there are terms to accept.
    pub demonstration: bool,
}

impl Documents for Consents {
    fn documents(&self, people: &People, account: &AccountId) -> Result<Vec<(String, Value)>, StoreError> {
        let ledger = people.transact(|tx| consents::ledger(tx, account))?;
        Ok(vec![("consents.json".to_owned(), document::consents(&ledger, self.demonstration))])
    }
}

/// The extension.
#[derive(Debug)]
pub struct Lens {
    /// Whether there are terms to accept, and exports.
    demonstration: bool,
    /// Brings codes to phones.
    codes: Arc<dyn CodeSender>,
    /// Its rows.
    people: People,
}

impl Extension for Lens {
    fn name(&self) -> &'static str {
        NAME
    }

    fn warning(&self) -> Option<&'static str> {
        self.demonstration.then_some(DEMONSTRATION)
    }

    fn fields(&self) -> &'static [&'static [Field]] {
        DISCLOSURES
    }

    fn handle(&self, caller: &AuthenticatedDevice, body: Bytes) -> Handled {
        command::run(self, caller, body)
    }

    fn forget_devices(&self, gone: Vec<Address>) -> Pending<(), StoreError> {
        let forget = move |tx: &Transaction<'_>| gone.iter().try_for_each(|device| devices::forget(tx, device));
        self.people.run_erasing(forget)
    }

    fn erase(&self, account: AccountId) -> Pending<(), StoreError> {
        self.people.run_erasing(move |tx| withdraw::account(tx, &account))
    }

    fn prune(&self, now: u64) -> Pending<usize, StoreError> {
        self.people.run(move |tx| phone::purge(tx, now))
    }
}
