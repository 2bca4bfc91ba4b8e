//! Mail without its sender's name: to whom it can go, how an entry is sealed once more, and the connection that it leaves by.
//!
//! The connection is made for one flush and has nothing in common with the authenticated one: its own socket, endpoint and
//! TLS session, nothing resumed. What is left in common is the network address.

use std::collections::HashMap;

use kuvert_protocol::sealed_sender;
use kuvert_types::{AccessKey, AccountId, Address};
use kuvert_wire::v1::{self, client_frame, server_frame};

use crate::contact::Contact;
use crate::conversation::ConversationId;
use crate::devices;
use crate::disclosure;
use crate::engine::{Engine, Tx};
use crate::error::Error;
use crate::rng;
use crate::session::session;
use crate::state::{self, EnvelopeState, Outgoing};
use crate::store::Transaction;
use crate::transport::{Link, Ticket, dial};

/// Whose device list was compared with the relay's within this time is written to without asking again: the question is
/// asked under one's name, and would tell what the envelope does not. What contacts say about their own lists in every
/// content shortens it.
const COMPARE_AGAIN_MS: u64 = 7 * 24 * 60 * 60 * 1000;

/// The entry of a page and an envelope of it.
type Place = (usize, usize);

/// Anonymous mail of one flush.
#[derive(Default)]
pub(super) struct AnonymousMail {
    keys: HashMap<AccountId, AccessKey>,
    /// Of contacts that are written to under one's name.
    named: HashMap<AccountId, AccessKey>,
    link: Option<Link>,
}

impl AnonymousMail {
    /// Notes a contact's access key, and whether it gets anonymous mail.
    pub fn prepare(&mut self, contact: AccountId, key: Option<(AccessKey, bool)>) {
        self.keys.remove(&contact);
        self.named.remove(&contact);
        match key {
            Some((key, true)) => drop(self.keys.insert(contact, key)),
            Some((key, false)) => drop(self.named.insert(contact, key)),
            None => {}
        }
    }

    /// The access key that goes with mail under one's name.
    pub fn key_beside_name(&self, contact: &AccountId) -> Option<bytes::Bytes> {
        self.named.get(contact).map(|key| bytes::Bytes::copy_from_slice(key.as_bytes()))
    }

    /// Whether it does.
    pub fn is_for(&self, contact: &AccountId) -> bool {
        self.keys.contains_key(contact)
    }

    /// Envelopes of a page with their sender sealed, for the contacts that get them so. A fresh one for every try: the session
    /// message in it is the same.
    pub async fn seal(&self, engine: &Engine, page: &[Outgoing]) -> Result<HashMap<Place, Vec<u8>>, Error> {
        let mut messages: Vec<(Place, Address, Vec<u8>)> = Vec::new();
        for (entry, outgoing) in page.iter().enumerate() {
            let ConversationId::Contact(account) = outgoing.conversation;
            if !self.is_for(&account) {
                continue;
            }
            for (index, envelope) in outgoing.envelopes.iter().enumerate() {
                if envelope.row.state() == EnvelopeState::Encrypted {
                    messages.push(((entry, index), envelope.recipient, envelope.row.ciphertext.clone()));
                }
            }
        }
        if messages.is_empty() {
            return Ok(HashMap::new());
        }
        engine.read(move |tx| seal(tx, &messages)).await
    }

    /// Submits one such envelope. The first opens the connection.
    pub async fn submit(
        &mut self,
        engine: &Engine,
        account: &AccountId,
        envelope: v1::Envelope,
    ) -> Result<Ticket, Error> {
        let key = self.keys.get(account).ok_or(Error::Internal { what: "anonymous mail without a key" })?;
        let access_key = key.as_bytes().to_vec().into();
        let link = match self.link.take() {
            Some(link) => link,
            None => open(engine).await?,
        };
        let link = self.link.insert(link);
        link.send(client_frame::Body::SubmitSealed(v1::SubmitSealed { envelope: Some(envelope), access_key })).await
    }

    /// Forgets the keys of contacts whose relay refused them, so that they are written to under one's name. A key that the
    /// contact has told since stays.
    pub async fn forget(&mut self, engine: &Engine, contacts: Vec<AccountId>) -> Result<(), Error> {
        let refused: Vec<_> = contacts.iter().filter_map(|contact| self.keys.remove_entry(contact)).collect();
        engine
            .write(move |tx| {
                for (account, key) in refused {
                    let Some(mut contact) = Contact::get(tx, &account)? else { continue };
                    if contact.row.access_key.as_deref() == Some(key.as_bytes().as_slice()) {
                        contact.row.access_key = None;
                        contact.save(tx)?;
                    }
                }
                Ok(())
            })
            .await
    }

    /// Says goodbye to the relay, without waiting for that.
    pub fn close(&mut self) {
        if let Some(link) = self.link.take() {
            tokio::spawn(async move { link.close().await });
        }
    }
}

/// The contact's access key, if it told one, and whether to send anonymous mail with it: if this home seals its sender and the
/// contact takes that. Else it goes with named mail, and shows the relay that a contact writes.
pub(super) fn key_for(tx: &dyn Transaction, contact: &Contact) -> Result<Option<(AccessKey, bool)>, Error> {
    let seals = contact.row.takes_sealed && disclosure::row(tx)?.level().seals_sender();
    let key = contact.row.access_key.as_deref().map(AccessKey::try_from).transpose();
    Ok(key.map_err(|_| state::damaged("contacts"))?.map(|key| (key, seals)))
}

/// Whether the contact's device list, as it is known here, is good enough to write to without asking the relay.
pub(super) fn list_is_fresh(contact: &Contact, now: u64) -> Result<bool, Error> {
    let behind = devices::is_behind(&contact.row)?;
    Ok(!behind && contact.row.compared_at != 0 && now.abs_diff(contact.row.compared_at) < COMPARE_AGAIN_MS)
}

fn seal(tx: &Tx<'_>, messages: &[(Place, Address, Vec<u8>)]) -> Result<HashMap<Place, Vec<u8>>, Error> {
    let own = tx.identity()?;
    let mut certificates = HashMap::new();
    let mut sealed = HashMap::new();
    for (place, address, message) in messages {
        let certificate = match certificates.get(address) {
            Some(certificate) => *certificate,
            None => *certificates.entry(*address).or_insert(session(tx, address)?.remote_certificate().copied()),
        };
        // Without a session the recipient cannot open it: it is left for the next flush, which begins one.
        let Some(certificate) = certificate else { continue };
        let bytes = sealed_sender::seal(&own.device, &certificate, message, &mut rng::system_rng())
            .map_err(|_| Error::Internal { what: "a sender that cannot be sealed" })?;
        sealed.insert(*place, bytes);
    }
    Ok(sealed)
}

/// A separate, unauthenticated connection.
async fn open(engine: &Engine) -> Result<Link, Error> {
    let link = dial(&engine.identity().await?.relay, engine.options()).await?;
    let hello = client_frame::Body::Hello(v1::Hello { version: kuvert_wire::VERSION });
    match link.request(hello).await? {
        Ok(server_frame::Body::Challenge(_)) => Ok(link),
        Ok(_) => Err(Error::RelayProtocol { what: "no challenge" }),
        Err(refusal) => Err(refusal.into_error()),
    }
}
