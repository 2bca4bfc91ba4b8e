//! Blocking at the relay: it drops the mail of an account as it is submitted, if the owner of this home wants that.
//!
//! Without it a blocked account's mail comes here and is dropped here, and the relay does not know that it is unwanted. With
//! it the relay keeps a row that says which account does not want to hear from which.

use kuvert_types::AccountId;
use kuvert_wire::v1::{self, client_frame, server_frame};

use crate::contact::Contact;
use crate::engine::Engine;
use crate::error::Error;
use crate::state::{AtRelay, own};
use crate::store::{Table, Transaction};
use crate::transport::Link;

/// Tells the relay what changed since it was last told.
///
/// # Errors
/// Those of the connection and of the store. A relay that says no is asked again with the next flush.
pub async fn publish(engine: &Engine, link: &Link) -> Result<(), Error> {
    for (account, blocked) in engine.read(|tx| unpublished(tx)).await? {
        let request = v1::SetBlocked { account: account.as_bytes().to_vec().into(), blocked };
        match link.request(client_frame::Body::SetBlocked(request)).await? {
            Ok(server_frame::Body::Done(_)) => {}
            Ok(_) => return Err(Error::RelayProtocol { what: "no answer to blocking" }),
            Err(refusal) => {
                tracing::warn!(code = refusal.code.as_str_name(), "the relay did not take who is blocked");
                continue;
            }
        }
        engine.write(move |tx| note(tx, &account, blocked)).await?;
    }
    Ok(())
}

/// Has the next flush look for what the relay does not know.
pub fn note_news(tx: &dyn Transaction) -> Result<(), Error> {
    Ok(tx.put(Table::Own, own::BLOCKS, &[])?)
}

/// Accounts of which the relay does not know yet whether they are blocked.
fn unpublished(tx: &dyn Transaction) -> Result<Vec<(AccountId, bool)>, Error> {
    // The whole address book is looked through only when something changed.
    if tx.get(Table::Own, own::BLOCKS)?.is_none() {
        return Ok(Vec::new());
    }
    let change = |contact: Contact| match contact.row.at_relay() {
        AtRelay::Wanted => Some((contact.account, true)),
        AtRelay::Unwanted => Some((contact.account, false)),
        AtRelay::No | AtRelay::Yes => None,
    };
    Ok(Contact::all(tx)?.into_iter().filter_map(change).collect())
}

fn note(tx: &dyn Transaction, account: &AccountId, blocked: bool) -> Result<(), Error> {
    let Some(mut contact) = Contact::get(tx, account)? else { return Ok(()) };
    let known = match (contact.row.at_relay(), blocked) {
        (AtRelay::Wanted, true) => AtRelay::Yes,
        (AtRelay::Unwanted, false) => AtRelay::No,
        // The owner changed its mind meanwhile.
        (other, _) => other,
    };
    contact.row.set_at_relay(known);
    contact.save(tx)?;
    if unpublished(tx)?.is_empty() {
        tx.delete(Table::Own, own::BLOCKS)?;
    }
    Ok(())
}
