//! Level L0: what this home tells the relay about people beyond what delivering mail needs. None of it leaves above L0.
//!
//! ```text
//!  first thing told ──► `told` ──level L1 or higher──► next connection: WithdrawDisclosure ──Done──► nothing told
//!                                                         └── no answer, refused ──► the connection after that
//! ```
//! It is noted before the relay hears of it, so that no answer that gets lost can leave something there that nobody takes
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

use kuvert_types::Level;
use kuvert_wire::v1::{self, client_frame, server_frame};

pub(crate) use self::told::note;
use self::told::{row, tell};
use crate::disclosure;
use crate::engine::{Engine, Tx, blocking};
use crate::error::Error;
use crate::state::{self, ToldRow, own};
use crate::store::{Table, Transaction};
use crate::transport::Link;

/// How often the machine is told anew.
const DEVICE_EVERY_MS: u64 = 24 * 60 * 60 * 1000;

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
    let now = engine.now();
    let (request, granted) = match engine.read(move |tx| due(tx, now)).await? {
        Due::Nothing => return Ok(()),
        Due::Device(granted) => {
            tell(engine).await?;
            let details = blocking(|| Ok(device::details())).await?;
            let details = v1::ReportDevice { simulated: sheet::lines(&granted), ..details };
            (client_frame::Body::ReportDevice(details), Some(granted))
        }
        Due::Withdrawal => (client_frame::Body::WithdrawDisclosure(v1::WithdrawDisclosure {}), None),
    };
    match link.request(request).await? {
        Ok(server_frame::Body::Done(_)) => {}
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
            None => ToldRow::default(),
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
