//! Level L0: what this home tells the relay about people beyond what delivering mail needs. None of it leaves above L0.
//!
//! ```text
//!  first thing told ──► `told` ──level L1 or higher──► next connection: WithdrawDisclosure ──Done──► nothing told
//!                                                         └── no answer, refused ──► the connection after that
//! ```
//! It is noted before the relay hears of it, so that no answer that gets lost can leave something there that is never taken
//! back.
//!
//! | module | tells |
//! |---|---|
//! | `phone` | a number, verified by a code |
//! | `profile` | name, e-mail, about text, picture |
//! | `address_book` | whom the owner knows |
//! | `device` | the machine, once a day |
//! | `sheet` | what a phone would allow: simulated |
//!
//! `told` notes that something was told.

pub(crate) mod address_book;
mod device;
pub(crate) mod phone;
pub(crate) mod profile;
pub(crate) mod sheet;
mod told;

use bytes::Bytes;
use kuvert_types::Level;
use kuvert_wire::v1::demonstration as wire;
use kuvert_wire::v1::demonstration::{answer, request};
use kuvert_wire::v1::{self, client_frame, server_frame};
use prost::Message as _;

use self::told::{note, row};
use crate::disclosure;
use crate::engine::{Engine, Tx, blocking};
use crate::error::Error;
use crate::state::{self, PhoneTold, ToldRow, own};
use crate::store::{Table, Transaction};
use crate::transport::{Link, RelayError};

/// How often the machine is told anew.
const DEVICE_EVERY_MS: u64 = 24 * 60 * 60 * 1000;

/// [KV-101] Asks the extension of the relay that takes all of this. A relay that does not offer it is sent nothing.
///
/// # Errors
/// `not-offered`, those of the connection; `Ok(Err)`: the relay says no.
pub(crate) async fn ask(link: &Link, body: request::Body) -> Result<Result<answer::Body, RelayError>, Error> {
    if !link.offers(wire::NAME) {
        return Err(Error::NotOffered);
    }
    let body = wire::Request { body: Some(body) }.encode_to_vec();
    let extension = v1::Extension { name: wire::NAME.to_owned(), body: Bytes::from(body) };
    match link.request(client_frame::Body::Extension(extension)).await? {
        Ok(server_frame::Body::Extension(v1::Extension { name, body })) if name == wire::NAME => {
            let answer = wire::Answer::decode(body).ok().and_then(|answer| answer.body);
            answer.map(Ok).ok_or(Error::RelayProtocol { what: "an extension's answer that cannot be read" })
        }
        Ok(_) => Err(Error::RelayProtocol { what: "no answer of an extension" }),
        Err(refusal) => Ok(Err(refusal)),
    }
}

/// Whether the relay takes what L0 tells.
///
/// # Errors
/// `not-offered`.
pub(crate) fn must_be_offered(link: &Link) -> Result<(), Error> {
    if link.offers(wire::NAME) { Ok(()) } else { Err(Error::NotOffered) }
}

/// What [`note`] does, before a registration on this link.
///
/// # Errors
/// `not-offered` at L0; those of the store.
pub(crate) async fn note_registration(engine: &Engine, link: &Link) -> Result<(), Error> {
    match note_told(engine, link.offers(wire::NAME)).await {
        Err(Error::LevelTooHigh { .. }) => Ok(()),
        noted => noted,
    }
}

/// Notes that something is about to be told that only L0 tells, to a relay that offers it.
///
/// # Errors
/// `level-too-high`, `not-offered`.
async fn tell(engine: &Engine, link: &Link) -> Result<(), Error> {
    note_told(engine, link.offers(wire::NAME)).await
}

async fn note_told(engine: &Engine, offered: bool) -> Result<(), Error> {
    let level = engine.read(|tx| Ok(disclosure::row(tx)?.level())).await?;
    if level == Level::L0 && !offered {
        return Err(Error::NotOffered);
    }
    match note(engine).await? {
        Level::L0 => Ok(()),
        level => Err(Error::LevelTooHigh { level }),
    }
}

/// What a new connection owes the relay.
enum Due {
    Nothing,
    /// With what the simulated sheet grants.
    Device(Vec<String>),
    Withdrawal,
}

fn due(tx: &dyn Transaction, now: u64) -> Result<Due, Error> {
    let ToldRow { told, device_at, granted } = row(tx)?;
    Ok(match disclosure::row(tx)?.level() {
        // A clock that was set back counts as another day.
        Level::L0 if device_at == 0 || now.abs_diff(device_at) >= DEVICE_EVERY_MS => Due::Device(granted),
        Level::L0 => Due::Nothing,
        _ if told => Due::Withdrawal,
        _ => Due::Nothing,
    })
}

/// Brings the relay to what the level says, on a new connection: at L0 the machine is told once a day, above L0 all that was
/// told at L0 is taken back. A relay that says no is asked again on the next connection.
///
/// # Errors
/// Those of the connection and of the store.
pub(crate) async fn settle(engine: &Engine, link: &Link) -> Result<(), Error> {
    if !link.offers(wire::NAME) {
        // Nothing is told here, and what was told elsewhere is taken back where it is.
        return Ok(());
    }
    let now = engine.now();
    let (request, granted) = match engine.read(move |tx| due(tx, now)).await? {
        Due::Nothing => return Ok(()),
        Due::Device(granted) => {
            note_told(engine, true).await?;
            let details = blocking(|| Ok(device::details())).await?;
            let details = wire::ReportDevice { simulated: sheet::lines(&granted), ..details };
            (request::Body::ReportDevice(details), Some(granted))
        }
        Due::Withdrawal => (request::Body::WithdrawDisclosure(wire::WithdrawDisclosure {}), None),
    };
    match ask(link, request).await? {
        Ok(answer::Body::Done(_)) => {}
        Ok(_) => return Err(Error::RelayProtocol { what: "another answer than Done" }),
        Err(refusal) => {
            tracing::warn!(
                code = refusal.code.as_str_name(),
                "the relay was not told what the level says; trying again"
            );
            return Ok(());
        }
    }
    let after = move |tx: &Tx<'_>| {
        let after = match &granted {
            None => {
                // With all else went the number that was given at registration.
                state::change_own(tx, |row| row.set_phone_told(PhoneTold::No))?;
                ToldRow::default()
            }
            Some(granted) => {
                let told = row(tx)?;
                // What was granted or denied in the meantime is told with the next connection.
                let device_at = if told.granted == *granted { now } else { 0 };
                ToldRow { told: true, device_at, ..told }
            }
        };
        state::put(tx, Table::Own, own::TOLD, &after)
    };
    engine.write(after).await
}
