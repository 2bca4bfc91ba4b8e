//! Making contacts ready to be written to: their device list is compared with the relay's, and there is a session with each
//! of their devices.

use std::collections::HashSet;

use kuvert_types::{AccountId, DeviceId};
use kuvert_wire::v1::error::Code;
use kuvert_wire::v1::get_account::By;
use kuvert_wire::v1::{self, client_frame, server_frame};

use super::anonymous;
use super::encrypt::{Encryptor, devices_without_session};
use super::flush::Flush;
use crate::bridge;
use crate::contact::{Compared, Contact};
use crate::conversation::ConversationId;
use crate::devices;
use crate::directory::{Account, look_up};
use crate::error::Error;
use crate::rng;
use crate::session::session;
use crate::state::{OutboxRow, Outgoing};
use crate::store::{Table, Transaction};

impl Flush<'_> {
    /// Compares the contact's device list with the relay's once a connection, and sees to it that there is a session with
    /// every device. What stands against it is noted in `stopped`.
    pub(super) async fn make_ready(&mut self, conversation: ConversationId) -> Result<(), Error> {
        let ConversationId::Contact(account) = conversation;
        if self.ready.contains(&conversation) || self.stopped.contains_key(&conversation) {
            return Ok(());
        }
        let result = match self.try_make_ready(account).await {
            // One contact's row is gone or damaged: that must not keep what was written to the others.
            Err(error @ (Error::StoreCorrupt { .. } | Error::ContactUnknown { .. })) => Err(error),
            other => other?,
        };
        match result {
            Ok(()) => drop(self.ready.insert(conversation)),
            Err(error) => drop(self.stopped.insert(conversation, error)),
        }
        Ok(())
    }

    async fn try_make_ready(&mut self, account: AccountId) -> Result<Result<(), Error>, Error> {
        let (contact, key) = self
            .engine()
            .read(move |tx| {
                let contact = contact(tx, &account)?;
                let key = anonymous::key_for(tx, &contact)?;
                Ok((contact, key))
            })
            .await?;
        if let Err(error) = contact.may_send() {
            return Ok(Err(error));
        }
        self.anonymous.prepare(account, key);
        let is_anonymous = key.is_some_and(|(_, anonymous)| anonymous);
        let need_not_ask = is_anonymous && anonymous::list_is_fresh(&contact, self.engine().now())?;
        let behind = devices::is_behind(&contact.row)?;
        if behind || (!need_not_ask && !self.connection.compared().contains(&account)) {
            let by = By::Account(account.as_bytes().to_vec().into());
            match look_up(&self.connection.link().link, by).await? {
                Ok(record) => {
                    if let Err(error) = self.take_record(&contact, &record).await? {
                        return Ok(Err(error));
                    }
                }
                // Looked up too often: what is known is as good as it was a minute ago. [KV-016] But not if the contact has
                // named a newer list: what keeps that from being fetched stops sending.
                Err(refusal) if refusal.code == Code::Limited && !behind => {}
                Err(refusal) => return Ok(Err(refusal.about(&contact.row.alias))),
            }
            self.connection.compared().insert(account);
        }
        let missing = self.engine().read(move |tx| devices_without_session(tx, &account, tx.now())).await?;
        if missing.is_empty() {
            return Ok(Ok(()));
        }
        tracing::debug!(devices = missing.len(), "fetching keys to begin sessions");
        self.begin_sessions(account, missing, None).await.map(|begun| begun.map(drop))
    }

    pub(super) async fn contact(&self, account: AccountId) -> Result<Contact, Error> {
        self.engine().read(move |tx| contact(tx, &account)).await
    }

    /// Takes a fresh record of a contact's account.
    async fn take_record(&self, contact: &Contact, record: &v1::AccountRecord) -> Result<Result<(), Error>, Error> {
        let who = contact.row.alias.clone();
        let fresh = match Account::check(record) {
            Ok(account) if account.id == contact.account => account,
            Ok(_) => return Ok(Err(Error::RelayProtocol { what: "another account than asked for" })),
            Err(what) => return Ok(Err(Error::BundleRefused { who, what: what.to_owned() })),
        };
        self.engine()
            .write(move |tx| {
                // As it is now: another process may have changed it.
                let Some(mut contact) = Contact::get(tx, &fresh.id)? else { return Ok(Ok(())) };
                let result = match contact.compare(&fresh)? {
                    Compared::Fits => {
                        contact.row.compared_at = tx.now();
                        Ok(())
                    }
                    Compared::KeyChanged => Err(Error::IdentityChanged { who }),
                    Compared::Conflict(conflict) => Err(Error::DeviceListRefused { who, what: conflict.words() }),
                };
                contact.save(tx)?;
                Ok(result)
            })
            .await
    }

    /// Takes prekey bundles for devices and begins sessions with them. `first` is encrypted in the same transaction, so that
    /// nothing comes before it in its session.
    async fn begin_sessions(
        &self,
        account: AccountId,
        devices: Vec<DeviceId>,
        mut first: Option<Outgoing>,
    ) -> Result<Result<Option<Outgoing>, Error>, Error> {
        let contact = self.contact(account).await?;
        let who = contact.row.alias.clone();
        let request = client_frame::Body::TakeBundles(v1::TakeBundles {
            account: account.as_bytes().to_vec().into(),
            devices: devices.iter().map(|device| device.get()).collect(),
        });
        let bundles = match self.connection.request(request).await? {
            Ok(server_frame::Body::Bundles(bundles)) => bundles,
            Ok(_) => return Err(Error::RelayProtocol { what: "no prekey bundles" }),
            // The account was there a moment ago: one of its devices is not, or has not published its keys yet. That can come
            // right, and the text waits for it.
            Err(refusal) if refusal.code == Code::UnknownRecipient => {
                self.connection.compared().remove(&account);
                return Ok(Err(Error::DeviceNotReady { who }));
            }
            Err(refusal) => return Ok(Err(refusal.about(&who))),
        };
        let refuse = |what: &str| Ok(Err(Error::BundleRefused { who: who.clone(), what: what.to_owned() }));
        let key = contact.row.key()?;
        // Taking bundles shows a list, too: it must not differ from the one just compared.
        let list = match devices::signed(&bundles.device_list, &account, &key) {
            Ok(list) => list,
            Err(conflict) => return Ok(Err(Error::DeviceListRefused { who, what: conflict.words() })),
        };
        let mut verified = Vec::new();
        for bundle in &bundles.bundles {
            let bundle = match bridge::prekey_bundle(bundle) {
                Ok(bundle) => bundle,
                Err(error) => return refuse(&error.to_string()),
            };
            let address = bundle.certificate.claimed().address;
            if address.account != account || !devices.contains(&address.device) {
                return refuse("another device than asked for");
            }
            match bundle.verify(address, &key) {
                Ok(bundle) if list.names(bundle.certificate()) => verified.push(bundle),
                Ok(_) => return refuse("a device that is not in the device list"),
                Err(error) => return refuse(&error.to_string()),
            }
        }
        let served: HashSet<DeviceId> = verified.iter().map(|bundle| bundle.certificate().address().device).collect();
        if served.len() != devices.len() {
            return Ok(Err(Error::DeviceNotReady { who }));
        }
        self.engine()
            .write(move |tx| {
                if let Some(entry) = &mut first {
                    match entry.again(tx)? {
                        Some(now) if now.is_untouched() => *entry = now,
                        // Another run over the outbox began the session.
                        other => return Ok(Ok(other)),
                    }
                }
                let Some(mut contact) = Contact::get(tx, &account)? else { return Ok(Ok(first)) };
                if let Err(conflict) = devices::take(&mut contact.row, &list)? {
                    return Ok(Err(Error::DeviceListRefused { who, what: conflict.words() }));
                }
                contact.save(tx)?;
                let own = tx.identity()?;
                for bundle in &verified {
                    let address = bundle.certificate().address();
                    let mut session = session(tx, &address)?;
                    if let Err(error) = session.initiate(&own.device, bundle, tx.now(), &mut rng::system_rng()) {
                        return Ok(Err(Error::BundleRefused { who, what: error.to_string() }));
                    }
                    tx.put(Table::Session, &address.to_bytes(), &session.encode())?;
                }
                if let Some(first) = &mut first {
                    let mut encryptor = Encryptor::new(tx)?;
                    encryptor.encrypt(first)?;
                    encryptor.save()?;
                }
                Ok(Ok(first))
            })
            .await
    }

    /// Entries that ask for a fresh session are encrypted as the first in one.
    pub(super) async fn begin_fresh_sessions(&mut self, mut page: Vec<Outgoing>) -> Result<Vec<Outgoing>, Error> {
        for outgoing in &mut page {
            let OutboxRow { fresh_session_with, .. } = &outgoing.row;
            let Ok(device) = DeviceId::new(*fresh_session_with) else { continue };
            let ConversationId::Contact(account) = outgoing.conversation;
            if !outgoing.is_untouched() || self.stopped.contains_key(&outgoing.conversation) {
                continue;
            }
            let listed = devices::of(&self.contact(account).await?.row)?
                .is_some_and(|list| list.body().devices.iter().any(|entry| entry.device == device));
            if !listed {
                // Removed meanwhile; encrypting drops the entry.
                continue;
            }
            match self.begin_sessions(account, vec![device], Some(outgoing.clone())).await? {
                Ok(first) => *outgoing = first.unwrap_or_else(|| outgoing.clone()),
                Err(error) => drop(self.stopped.insert(outgoing.conversation, error)),
            }
        }
        Ok(page)
    }
}

fn contact(tx: &dyn Transaction, account: &AccountId) -> Result<Contact, Error> {
    Contact::get(tx, account)?.ok_or_else(|| Error::ContactUnknown { who: account.to_string() })
}
