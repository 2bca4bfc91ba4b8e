//! The newest device list of a contact that wrote from a device that the known list leaves out. [KV-016]
//!
//! It is asked for only after the mail opened, so that only who holds a key that the contact's account key has signed can make
//! this home ask.

use std::collections::BTreeSet;

use kuvert_types::AccountId;
use kuvert_wire::v1::error::Code;
use kuvert_wire::v1::get_account::By;

use super::open::{Opened, open_held};
use crate::connection::Connection;
use crate::contact::{Compared, Contact};
use crate::directory::{Account, look_up};
use crate::error::Error;
use crate::event::Event;

/// Asks for the list, takes it if nothing known stands against it, and opens what waited. Where the relay does not give it
/// now, what waits goes on waiting.
///
/// # Errors
/// Those of the connection and of the store.
pub(super) async fn open_with_newest(connection: &Connection, account: AccountId) -> Result<Opened, Error> {
    let nothing =
        Opened { events: Vec::new(), receipts_due: false, prekeys_used: false, lists_wanted: BTreeSet::new() };
    let record = match look_up(&connection.link().link, By::Account(account.as_bytes().to_vec().into())).await? {
        Ok(record) => record,
        Err(refusal) if matches!(refusal.code, Code::UnknownRecipient | Code::Limited | Code::Unavailable) => {
            return Ok(nothing);
        }
        Err(refusal) => return Err(refusal.into_error()),
    };
    let Some(fresh) = Account::check(&record).ok().filter(|fresh| fresh.id == account) else { return Ok(nothing) };
    connection
        .engine()
        .write(move |tx| {
            let Some(mut contact) = Contact::get(tx, &account)? else { return Ok(nothing) };
            let compared = contact.compare(&fresh)?;
            if compared == Compared::Fits {
                contact.row.compared_at = tx.now();
            }
            contact.save(tx)?;
            let who = contact.row.alias;
            match compared {
                Compared::Fits => open_held(tx, &account),
                Compared::KeyChanged => Ok(Opened { events: vec![Event::IdentityChanged { account, who }], ..nothing }),
                Compared::Conflict(conflict) => {
                    Ok(Opened { events: vec![Event::DeviceListConflict { account, who, conflict }], ..nothing })
                }
            }
        })
        .await
}
