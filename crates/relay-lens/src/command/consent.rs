//! The demonstration's terms: GetPolicies, AcceptPolicy, ObjectAdvertising. A relay that does not run the demonstration has
//! no terms, and refuses all three.

use kuvert_wire::v1::demonstration as wire;
use kuvert_wire::v1::demonstration::answer::Body as Response;
use rusqlite::Transaction;

use super::Answer;
use crate::policy::{self, Consent, Refused};
use crate::{Lens, consents};
use kuvert_privacy::time::utc;
use kuvert_relay::command::error::Code;
use kuvert_relay::command::{AuthenticatedDevice, CommandError};

/// The versions, and what the caller accepted.
///
/// # Errors
/// `NO_DEMONSTRATION`.
pub fn get(lens: &Lens, caller: &AuthenticatedDevice, _: wire::GetPolicies) -> Result<Answer, CommandError> {
    change(lens, caller, |_, _| Ok(None))
}

/// Accepts a version.
///
/// # Errors
/// `NO_DEMONSTRATION`; the answer can also be `INVALID`.
pub fn accept(lens: &Lens, caller: &AuthenticatedDevice, request: wire::AcceptPolicy) -> Result<Answer, CommandError> {
    change(lens, caller, move |ledger, now| {
        let same = |consent: &&Consent| consent.version == request.version;
        match ledger.iter().find(same) {
            // A repetition after a lost answer.
            Some(known) if known.advertising == request.advertising => Ok(None),
            _ => policy::accept(ledger, &request.version, request.advertising, now).map(Some),
        }
    })
}

/// Refuses use for advertising.
///
/// # Errors
/// `NO_DEMONSTRATION`; the answer can also be `TOO_LATE` or `INVALID`.
pub fn object(lens: &Lens, caller: &AuthenticatedDevice, _: wire::ObjectAdvertising) -> Result<Answer, CommandError> {
    change(lens, caller, |ledger, now| policy::object(ledger, now).map(Some))
}

/// Reads the ledger, asks `decide` for an entry to write, and answers with the ledger as it is then: one transaction.
fn change(
    lens: &Lens,
    caller: &AuthenticatedDevice,
    decide: impl FnOnce(&[Consent], u64) -> Result<Option<Consent>, Refused> + Send + 'static,
) -> Result<Answer, CommandError> {
    let AuthenticatedDevice { service, device, .. } = caller.clone();
    if !lens.demonstration {
        return Err(CommandError::new(
            Code::NoDemonstration,
            "this relay has no terms: it does not run the demonstration",
        ));
    }
    let rows = lens.people.clone();
    Ok(Box::pin(async move {
        let now = service.clock.now_ms();
        let account = device.account;
        let work = move |tx: &Transaction<'_>| {
            let ledger = consents::ledger(tx, &account)?;
            match decide(&ledger, now) {
                Ok(Some(consent)) => {
                    consents::put(tx, &account, &consent)?;
                    Ok(Ok(consents::ledger(tx, &account)?))
                }
                Ok(None) => Ok(Ok(ledger)),
                Err(refused) => Ok(Err(refused)),
            }
        };
        let ledger = rows.run(work).await?.map_err(refuse)?;
        Ok(Response::Policies(to_wire(&ledger)))
    }))
}

fn refuse(refused: Refused) -> CommandError {
    match refused {
        Refused::UnknownVersion => CommandError::new(Code::Invalid, "there is no such version of the terms"),
        Refused::AlreadyAccepted => {
            CommandError::new(Code::Invalid, "this version was accepted already, and the choice made then stands")
        }
        Refused::Superseded => CommandError::new(Code::Invalid, "a later version was accepted already"),
        Refused::NothingAccepted => {
            CommandError::new(Code::Invalid, "no terms were accepted: there is nothing to object to")
        }
        Refused::TooLate(until) => CommandError::new(
            Code::TooLate,
            format!("use for advertising could be refused until {}; the choice is binding now", utc(until)),
        ),
    }
}

fn to_wire(ledger: &[Consent]) -> wire::Policies {
    let policies = policy::ALL
        .iter()
        .map(|policy| wire::Policy {
            version: policy.version.to_owned(),
            paragraphs: policy.paragraphs.iter().map(|paragraph| (*paragraph).to_owned()).collect(),
            objection_days: policy.objection_days.unwrap_or_default(),
        })
        .collect();
    let ledger = ledger
        .iter()
        .map(|consent| wire::Consent {
            version: consent.version.clone(),
            accepted_at: consent.accepted_at,
            advertising: consent.advertising,
            objected_at: consent.objected_at.unwrap_or_default(),
            objection_until: policy::objection_until(consent).unwrap_or_default(),
        })
        .collect();
    wire::Policies { policies, ledger }
}
