//! The terms of a relay that runs the demonstration, and what this account accepted of them.

use kuvert_wire::v1::demonstration as wire;
use kuvert_wire::v1::demonstration::{answer, request};
use kuvert_wire::v1::error::Code;

use crate::connection::Connection;
use crate::error::Error;
use crate::people::ask;
use crate::transport::RelayError;

/// The versions of the terms, and the account's ledger.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Terms {
    /// Oldest first.
    pub policies: Vec<Policy>,
    /// In the order of acceptance.
    pub ledger: Vec<Consent>,
}

/// A dated version.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Policy {
    /// The day it is from.
    pub version: String,
    /// What it says.
    pub paragraphs: Vec<String>,
    /// Days after acceptance within which use for advertising can be refused; `None`: settings only reduce it.
    pub objection_days: Option<u32>,
}

/// What was accepted. Times are Unix milliseconds by the relay's clock.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Consent {
    /// Which version.
    pub version: String,
    /// When.
    pub accepted_at: u64,
    /// Whether with use for advertising.
    pub advertising: bool,
    /// When that was taken back.
    pub objected_at: Option<u64>,
    /// Until when it could be, or can be, taken back; `None`: there is no end to it.
    pub objection_until: Option<u64>,
}

impl Connection {
    /// The versions of the terms, and what was accepted.
    ///
    /// # Errors
    /// `not-offered`, `no-demonstration`, and those of the connection.
    pub async fn terms(&self) -> Result<Terms, Error> {
        self.ask_terms(request::Body::GetPolicies(wire::GetPolicies {})).await
    }

    /// Accepts a version, with or without use for advertising.
    ///
    /// # Errors
    /// `not-offered`, `no-demonstration`, `relay-refused` (unknown, accepted already, or an earlier one), and those of the connection.
    pub async fn accept_terms(&self, version: &str, advertising: bool) -> Result<Terms, Error> {
        let request = wire::AcceptPolicy { version: version.to_owned(), advertising };
        self.ask_terms(request::Body::AcceptPolicy(request)).await
    }

    /// Refuses use for advertising under the version that was accepted last.
    ///
    /// # Errors
    /// `too-late`, `not-offered`, `no-demonstration`, `relay-refused` (nothing was accepted), and those of the connection.
    pub async fn object_to_advertising(&self) -> Result<Terms, Error> {
        self.ask_terms(request::Body::ObjectAdvertising(wire::ObjectAdvertising {})).await
    }

    async fn ask_terms(&self, request: request::Body) -> Result<Terms, Error> {
        match ask(&self.link().link, request).await? {
            Ok(answer::Body::Policies(policies)) => Ok(terms(policies)),
            Ok(_) => Err(Error::RelayProtocol { what: "no terms" }),
            Err(refusal) => Err(refuse(refusal)),
        }
    }
}

fn refuse(refusal: RelayError) -> Error {
    match refusal.code {
        Code::NoDemonstration => Error::NoDemonstration,
        Code::TooLate => Error::TooLate { detail: refusal.message },
        _ => refusal.into_error(),
    }
}

fn terms(wire: wire::Policies) -> Terms {
    let some = |time: u64| (time != 0).then_some(time);
    let policies = wire.policies.into_iter().map(|policy| Policy {
        version: policy.version,
        paragraphs: policy.paragraphs,
        objection_days: (policy.objection_days != 0).then_some(policy.objection_days),
    });
    let ledger = wire.ledger.into_iter().map(|consent| Consent {
        version: consent.version,
        accepted_at: consent.accepted_at,
        advertising: consent.advertising,
        objected_at: some(consent.objected_at),
        objection_until: some(consent.objection_until),
    });
    Terms { policies: policies.collect(), ledger: ledger.collect() }
}
