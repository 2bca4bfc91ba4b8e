//! The façade: one home, opened. What needs the relay is in `connect`, `send` and `receive`.

use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use kuvert_protocol::identity::{DeviceSecrets, LocalDevice, account_key_fingerprint, safety_number};
use kuvert_types::limits::is_valid_name;
use kuvert_types::{AccountId, AccountKey, Address, DeviceList, RelayUrl, UnverifiedDeviceCertificate};
use kuvert_wire::v1::get_account::By;

use crate::blocking;
use crate::certain::RelayClock;
pub use crate::connect::Connection;
use crate::connect::{load_own, look_up};
use crate::contacts::{Account, Compared, Contact, check_alias, free_alias, requests};
use crate::devices;
use crate::disclosure;
use crate::error::Error;
use crate::fold::fold;
use crate::home::Home;
use crate::invite::InviteLink;
use crate::options::Options;
use crate::receive::open_held;
use crate::records::{ContactInfo, MessageRecord, SafetyNumber, Whoami};
use crate::state::{AtRelay, OwnRow, Stored, damaged, own_row};
use crate::store::sqlite::{Opened, SqliteStore};
use crate::store::{Log, Mode, Store, Table, Transaction};

/// One home: an account's device, its sessions, its address book, its mail. Cheap to clone.
///
/// Methods that are not `async` do one small transaction and block for as long as that takes (a few milliseconds, or up to
/// [`Options::lock_timeout`] when another process is writing).
#[derive(Clone)]
pub struct Client(pub(crate) Arc<Inner>);

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("home", &self.0.home.directory()).finish_non_exhaustive()
    }
}

/// What all handles on a home share.
pub(crate) struct Inner {
    pub home: Home,
    pub options: Options,
    pub own: Own,
    pub device: LocalDevice,
    pub relay_clock: RelayClock,
    store: Arc<Mutex<Box<dyn Store>>>,
}

/// Who this home is; fixed once registered.
#[derive(Clone)]
pub(crate) struct Own {
    pub address: Address,
    pub key: AccountKey,
    pub list: DeviceList,
    /// Which relay it is: the pinned key counts. Where it is now says [`Inner::relay`].
    pub relay: RelayUrl,
    pub name: Option<String>,
    pub registered: bool,
}

impl Own {
    pub fn from_row(row: &OwnRow, secrets: DeviceSecrets) -> Result<(Self, LocalDevice), Error> {
        let certificate = UnverifiedDeviceCertificate::decode(&row.certificate).map_err(|_| damaged("own account"))?;
        let certificate = certificate.verify().map_err(|_| damaged("own account"))?;
        let device = LocalDevice::new(secrets, certificate).map_err(|_| damaged("own account"))?;
        let key = certificate.account_key();
        let own = Self {
            address: certificate.address(),
            key,
            list: devices::stored(&row.device_list, &key)?,
            relay: row.relay.parse().map_err(|_| damaged("own account"))?,
            name: row.name.clone(),
            registered: row.registered,
        };
        Ok((own, device))
    }
}

impl Inner {
    pub fn load(home: Home, mut store: Box<dyn Store>, options: Options) -> Result<Arc<Self>, Error> {
        let (own, device) = load_own(&mut *store, &home)?;
        let relay_clock = RelayClock::default();
        Ok(Arc::new(Self { home, options, own, device, relay_clock, store: Arc::new(Mutex::new(store)) }))
    }

    /// The same home after its account's row changed.
    pub fn reload(&self) -> Result<Arc<Self>, Error> {
        let (own, device) = load_own(&mut **self.store.lock().unwrap_or_else(PoisonError::into_inner), &self.home)?;
        let store = Arc::clone(&self.store);
        let (home, options, relay_clock) = (self.home.clone(), self.options.clone(), RelayClock::default());
        Ok(Arc::new(Self { home, options, own, device, relay_clock, store }))
    }

    /// Refuses what needs an account at the relay.
    pub fn must_exist(&self) -> Result<(), Error> {
        if self.transact(Mode::Read, own_row)?.deleted_at == 0 { Ok(()) } else { Err(Error::AccountDeleted) }
    }

    /// The time, if both this machine's clock and the relay's say so: what may decide that something is too old.
    pub fn certain_now(&self) -> Option<u64> {
        self.relay_clock.agrees(self.now())
    }

    /// Where the relay is, as it was told last: another process may have been told since this handle was opened.
    pub fn relay(&self) -> Result<RelayUrl, Error> {
        self.transact(Mode::Read, own_row)?.relay.parse().map_err(|_| damaged("own account"))
    }

    pub fn now(&self) -> u64 {
        self.options.clock.now_ms()
    }

    /// Runs `work` in one transaction: committed if it succeeds, without effect if not.
    pub fn transact<T>(&self, mode: Mode, work: impl FnOnce(&dyn Transaction) -> Result<T, Error>) -> Result<T, Error> {
        // A panic in another holder rolled its transaction back.
        let mut store = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        let tx = store.begin(mode)?;
        let value = work(&*tx)?;
        tx.commit()?;
        Ok(value)
    }

    /// Runs `work` in one transaction: committed if it gives a value, without effect if it gives none or fails.
    pub fn attempt<T>(
        &self,
        mode: Mode,
        work: impl FnOnce(&dyn Transaction) -> Result<Option<T>, Error>,
    ) -> Result<Option<T>, Error> {
        let mut store = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        let tx = store.begin(mode)?;
        let value = work(&*tx)?;
        if value.is_some() {
            tx.commit()?;
        }
        Ok(value)
    }

    /// Runs `work` where it may block. It finishes even if the caller stops waiting.
    pub async fn blocking<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Arc<Self>) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let inner = Arc::clone(self);
        let done = tokio::task::spawn_blocking(move || work(&inner)).await;
        done.unwrap_or(Err(Error::Internal { what: "a transaction panicked" }))
    }

    /// The contact called `who`.
    pub fn contact(&self, tx: &dyn Transaction, who: &str) -> Result<Contact, Error> {
        if let Some(contact) = Contact::find(tx, who)? {
            return Ok(contact);
        }
        let who = who.trim();
        if self.own.name.as_deref().is_some_and(|name| fold(name) == fold(who))
            || self.own.address.account.to_string() == who
        {
            return Err(Error::OwnAddress);
        }
        Err(Error::ContactUnknown { who: who.escape_debug().to_string() })
    }
}

/// What a contact is to be added by.
enum Target {
    Account(AccountId),
    Name(String),
    Link(InviteLink),
}

impl Client {
    /// Opens a home that holds an account.
    ///
    /// # Errors
    /// `not-registered`, `permissions`, `home-unusable`, and those that start with `store-`.
    pub fn open(home: &Path, options: Options) -> Result<Self, Error> {
        let home = Home::open(home, options.store_key_file.as_deref())?;
        let none = || Error::NotRegistered { home: home.directory().to_owned() };
        if !home.store_file().exists() {
            return Err(none());
        }
        let key = home.store_key()?;
        match SqliteStore::open(&home.store_file(), home.key_file(), &key, options.lock_timeout)? {
            Opened::Store(store) => Self::with_store(home, Box::new(store), options),
            Opened::Nothing => Err(none()),
        }
    }

    /// Opens a home whose store is behind the caller's own [`Store`]. The home is still used for locks.
    ///
    /// # Errors
    /// `not-registered`, and those of the store.
    pub fn with_store(home: Home, store: Box<dyn Store>, options: Options) -> Result<Self, Error> {
        let inner = Inner::load(home, store, options)?;
        if !inner.own.registered {
            return Err(Error::NotRegistered { home: inner.home.directory().to_owned() });
        }
        let client = Self(inner);
        if let Some(level) = client.0.options.level {
            client.set_level(level)?;
        }
        Ok(client)
    }

    /// Who this home is.
    ///
    /// # Errors
    /// Those of the store.
    pub fn whoami(&self) -> Result<Whoami, Error> {
        let own = &self.0.own;
        let (queued, unshown, level, row) = self.0.transact(Mode::Read, |tx| {
            Ok((tx.len(Log::Outbox)?, tx.count(Table::Unshown)?, disclosure::row(tx)?.level(), own_row(tx)?))
        })?;
        Ok(Whoami {
            address: own.address,
            name: row.name,
            relay: row.relay.parse().map_err(|_| damaged("own account"))?,
            fingerprint: account_key_fingerprint(&own.address.account, &own.key),
            deleted_at: (row.deleted_at != 0).then_some(row.deleted_at),
            queued,
            unshown,
            level,
        })
    }

    /// The link by which others add this account, verified at once.
    ///
    /// # Errors
    /// `account-deleted`.
    pub fn invite(&self) -> Result<InviteLink, Error> {
        self.0.must_exist()?;
        let own = &self.0.own;
        Ok(InviteLink {
            relay: self.0.relay()?,
            account: own.address.account,
            fingerprint: account_key_fingerprint(&own.address.account, &own.key),
            name: own.name.clone(),
        })
    }

    /// Checks a name or link before a connection is made: what [`add_contact`](Self::add_contact) can refuse offline.
    ///
    /// # Errors
    /// `link-invalid`, `link-other-relay`, `name-invalid`, `own-address`.
    pub fn check_contact(&self, name_or_link: &str) -> Result<(), Error> {
        self.target(name_or_link).map(|_| ())
    }

    fn target(&self, name_or_link: &str) -> Result<Target, Error> {
        let own = &self.0.own;
        let text = name_or_link.trim();
        if !InviteLink::looks_like(text) {
            if let Ok(account) = text.parse::<AccountId>() {
                return if account == own.address.account {
                    Err(Error::OwnAddress)
                } else {
                    Ok(Target::Account(account))
                };
            }
            if !is_valid_name(text) {
                return Err(Error::NameInvalid { name: text.escape_default().to_string() });
            }
            if own.name.as_deref() == Some(text) {
                return Err(Error::OwnAddress);
            }
            return Ok(Target::Name(text.to_owned()));
        }
        let link: InviteLink = text.parse().map_err(Error::LinkInvalid)?;
        // The key says which relay it is; it may be reachable under several names.
        if link.relay.fingerprint != own.relay.fingerprint {
            let (theirs, ours) = (link.relay.host_port(), self.0.relay()?.host_port());
            return Err(Error::LinkOtherRelay { theirs, ours });
        }
        if link.account == own.address.account { Err(Error::OwnAddress) } else { Ok(Target::Link(link)) }
    }

    /// Adds a contact by name or account id (trust on first use) or by invite link (verified at once). `alias` defaults to the
    /// name in the link, else to the relay's name, else to the first 8 characters of the account. Adding a known account again
    /// checks its key, and changes its alias if one is given; adding a request accepts it. A link that fits a changed key
    /// accepts that key: the link is the other way to compare.
    ///
    /// # Errors
    /// `unknown-recipient`, `link-invalid`, `link-other-relay`, `invite-mismatch`, `identity-changed`, `own-address`,
    /// `alias-taken`, `alias-invalid`, `device-list-refused`.
    pub async fn add_contact(
        &self,
        connection: &Connection,
        name_or_link: &str,
        alias: Option<&str>,
    ) -> Result<ContactInfo, Error> {
        let (by, link) = match self.target(name_or_link)? {
            Target::Name(name) => (By::Name(name), None),
            Target::Account(account) => (By::Account(account.as_bytes().to_vec().into()), None),
            Target::Link(link) => (By::Account(link.account.as_bytes().to_vec().into()), Some(link)),
        };
        let asked_for = match &by {
            By::Account(account) => Some(account.clone()),
            By::Name(_) => None,
        };
        let record = match look_up(&connection.link().link, by).await? {
            Ok(record) => record,
            Err(refusal) => return Err(refusal.about(name_or_link.trim())),
        };
        let account = Account::check(&record).map_err(|what| Error::RelayProtocol { what })?;
        if asked_for.is_some_and(|asked_for| asked_for.as_ref() != account.id.as_bytes()) {
            return Err(Error::RelayProtocol { what: "another account than asked for" });
        }
        if link.as_ref().is_some_and(|link| account.fingerprint() != link.fingerprint) {
            return Err(Error::InviteMismatch);
        }
        if account.id == self.0.own.address.account {
            return Err(Error::OwnAddress);
        }
        let alias = alias.map(str::to_owned);
        let added = self.0.blocking(move |inner| add(inner, &account, alias, link)).await?;
        connection.compared().insert(added.account);
        Ok(added)
    }

    /// The address book, by alias. Without requests.
    ///
    /// # Errors
    /// Those of the store.
    pub fn contacts(&self) -> Result<Vec<ContactInfo>, Error> {
        self.0.transact(Mode::Read, |tx| {
            Ok(Contact::all(tx)?.iter().filter(|contact| !contact.row.request).map(Contact::info).collect())
        })
    }

    /// Accounts that wrote first and were not accepted, by alias.
    ///
    /// # Errors
    /// Those of the store.
    pub fn requests(&self) -> Result<Vec<ContactInfo>, Error> {
        self.0.transact(Mode::Read, |tx| Ok(requests::all(tx)?.iter().map(Contact::info).collect()))
    }

    /// Makes a request a contact, unverified: what it wrote is confirmed with the next flush. `alias`: what to call it. For a
    /// contact it only sets the alias.
    ///
    /// # Errors
    /// `contact-unknown`, `alias-taken`, `alias-invalid`.
    pub fn accept_request(&self, who: &str, alias: Option<&str>) -> Result<ContactInfo, Error> {
        let now = self.0.now();
        self.change(who, |tx, contact| {
            if let Some(alias) = alias {
                check_alias(tx, alias, &contact.account)?;
                alias.clone_into(&mut contact.row.alias);
            }
            requests::accept(contact, tx, now)
        })
    }

    /// One contact or request: by account id, else by alias, else by the name it was added under.
    ///
    /// # Errors
    /// `contact-unknown`, `own-address`.
    pub fn contact(&self, who: &str) -> Result<ContactInfo, Error> {
        self.0.transact(Mode::Read, |tx| Ok(self.0.contact(tx, who)?.info()))
    }

    /// Marks a contact's key as compared.
    ///
    /// # Errors
    /// `contact-unknown`, `identity-changed` (accept the new key first).
    pub fn verify(&self, who: &str) -> Result<ContactInfo, Error> {
        self.change(who, |_, contact| {
            if contact.row.changed_key.is_some() {
                return Err(Error::IdentityChanged { who: contact.row.alias.clone() });
            }
            contact.row.verified = true;
            Ok(())
        })
    }

    /// Blocks or unblocks a contact or a request. While it is blocked its mail is dropped unseen and nothing is sent to it.
    /// Blocking draws another access key: from the next flush on the relay takes no sealed mail from it, and gives its mail a
    /// stranger's room. Unblocking ends that, at the relay, too.
    ///
    /// # Errors
    /// `contact-unknown`.
    pub fn set_blocked(&self, who: &str, blocked: bool) -> Result<ContactInfo, Error> {
        self.block(who, blocked, false)
    }

    /// Blocks a contact or a request, at the relay, too: from the next flush on the relay drops its mail as it comes, and knows
    /// that this account does not want to hear from that one.
    ///
    /// # Errors
    /// `contact-unknown`.
    pub fn block_at_relay(&self, who: &str) -> Result<ContactInfo, Error> {
        self.block(who, true, true)
    }

    fn block(&self, who: &str, blocked: bool, at_relay: bool) -> Result<ContactInfo, Error> {
        self.change(who, |tx, contact| {
            if blocked && !contact.row.blocked {
                disclosure::rotate(tx)?;
            }
            contact.row.blocked = blocked;
            let known = contact.row.at_relay();
            let wanted = match (blocked, known) {
                (true, AtRelay::No) if at_relay => AtRelay::Wanted,
                (true, AtRelay::Unwanted) if at_relay => AtRelay::Yes,
                (true, known) => known,
                (false, AtRelay::No) => AtRelay::No,
                (false, _) => AtRelay::Unwanted,
            };
            contact.row.set_at_relay(wanted);
            blocking::note_news(tx)
        })
    }

    /// Accepts a contact's changed account key: it becomes the pinned one, unverified; old sessions are dropped; mail that was
    /// kept meanwhile is opened, and shown by the next `receive`. Without a change it does nothing.
    ///
    /// # Errors
    /// `contact-unknown`.
    pub fn accept_key(&self, who: &str) -> Result<ContactInfo, Error> {
        self.change(who, |tx, contact| accept_changed_key(&self.0, tx, contact, false))
    }

    fn change(
        &self,
        who: &str,
        change: impl FnOnce(&dyn Transaction, &mut Contact) -> Result<(), Error>,
    ) -> Result<ContactInfo, Error> {
        self.0.transact(Mode::Write, |tx| {
            let mut contact = self.0.contact(tx, who)?;
            change(tx, &mut contact)?;
            contact.save(tx)?;
            Ok(contact.info())
        })
    }

    /// The safety number with a contact. Under a changed key it is the number with the new key, so that it can be compared
    /// before it is accepted; it is not verified then.
    ///
    /// # Errors
    /// `contact-unknown`.
    pub fn safety_number(&self, who: &str) -> Result<SafetyNumber, Error> {
        let contact = self.0.transact(Mode::Read, |tx| self.0.contact(tx, who))?;
        let changed = contact.row.changed()?;
        let verified = contact.row.verified && changed.is_none();
        let key = changed.map_or_else(|| contact.row.key(), Ok)?;
        let own = &self.0.own;
        let number = safety_number((&own.address.account, &own.key), (&contact.account, &key));
        Ok(SafetyNumber { who: contact.row.alias, digits: number.digits(), groups: number.to_string(), verified })
    }

    /// A conversation in order of arrival, filtered by `search` if given: what contains it, upper and
    /// lower case and composed and decomposed letters alike (see [`fold`](crate::fold())).
    ///
    /// # Errors
    /// `contact-unknown`.
    pub fn history(&self, who: &str, search: Option<&str>) -> Result<Vec<MessageRecord>, Error> {
        let wanted = search.map(|search| (search, fold(search)));
        let fits = |text: &str| {
            wanted.as_ref().is_none_or(|(raw, folded)| match folded.as_str() {
                // Who looks for what cannot be seen wants to find just that.
                "" => text.contains(raw),
                folded => fold(text).contains(folded),
            })
        };
        self.0.transact(Mode::Read, |tx| {
            let contact = self.0.contact(tx, who)?;
            let mut found = Vec::new();
            for entry in tx.scan(Log::Message, Some(contact.account.as_bytes()), 0, usize::MAX)? {
                let stored = Stored::read(&entry)?;
                if fits(&stored.row.text) {
                    found.push(stored.record(tx, &contact.row.alias)?);
                }
            }
            Ok(found)
        })
    }
}

/// Pins the changed key, and opens what was kept under it.
fn accept_changed_key(inner: &Inner, tx: &dyn Transaction, contact: &mut Contact, verified: bool) -> Result<(), Error> {
    if contact.row.changed_key.is_none() {
        return Ok(());
    }
    contact.accept_changed_key(tx, verified)?;
    // What it says is in the store; the next receive shows it.
    open_held(inner, tx, &contact.account)?;
    // Opening may have changed the row.
    if let Some(fresh) = Contact::get(tx, &contact.account)? {
        *contact = fresh;
    }
    requests::ask_for_what_was_dropped(contact, tx, inner.now())
}

fn add(
    inner: &Inner,
    account: &Account,
    alias: Option<String>,
    link: Option<InviteLink>,
) -> Result<ContactInfo, Error> {
    // A changed key is noted for good although the call fails.
    let outcome = inner.transact(Mode::Write, |tx| {
        if let Some(alias) = &alias {
            check_alias(tx, alias, &account.id)?;
        }
        let mut contact = match Contact::get(tx, &account.id)? {
            Some(contact) => contact,
            None => {
                // [KV-097] The link comes from the person, the relay's name from the relay.
                let suggested = link.as_ref().and_then(|link| link.name.as_deref()).or(account.name.as_deref());
                let alias = free_alias(tx, &account.id, suggested)?;
                Contact::new(account.id, account.key, account.name.clone(), alias, inner.now())
            }
        };
        let mut compared = contact.compare(account)?;
        if link.is_some() && compared == Compared::KeyChanged {
            accept_changed_key(inner, tx, &mut contact, true)?;
            compared = contact.compare(account)?;
        }
        if compared == Compared::Fits {
            let was_request = contact.row.request;
            requests::accept(&mut contact, tx, inner.now())?;
            if was_request {
                // It has the alias of an account without a name so far.
                contact.row.name.clone_from(&account.name);
                let suggested = link.as_ref().and_then(|link| link.name.as_deref()).or(account.name.as_deref());
                contact.row.alias = free_alias(tx, &account.id, suggested)?;
            }
            if let Some(alias) = alias {
                contact.row.alias = alias;
            }
            contact.row.verified |= link.is_some();
            contact.row.compared_at = inner.now();
        }
        let who = contact.row.alias.clone();
        match compared {
            Compared::Fits => {
                contact.save(tx)?;
                Ok(Ok(contact.info()))
            }
            Compared::KeyChanged => {
                contact.save(tx)?;
                Ok(Err(Error::IdentityChanged { who }))
            }
            Compared::Conflict(conflict) => Ok(Err(Error::DeviceListRefused { who, what: conflict.words() })),
        }
    });
    outcome?
}
