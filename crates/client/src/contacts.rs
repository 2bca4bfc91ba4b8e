//! The address book, as the caller uses it: adding, naming, verifying, blocking.

use kuvert_protocol::identity::safety_number;
use kuvert_types::AccountId;
use kuvert_types::limits::is_valid_name;
use kuvert_wire::v1::get_account::By;

use crate::blocking;
use crate::connection::{Connection, establish};
use crate::contact::{Compared, Contact, check_alias, free_alias};
use crate::conversation::ConversationId;
use crate::directory::{Account, look_up};
use crate::disclosure;
use crate::engine::{Engine, Tx};
use crate::erase;
use crate::error::Error;
use crate::files;
use crate::history::{PAGE, waiting_texts};
use crate::identity::Identity;
use crate::invite::InviteLink;
use crate::receive::open_held;
use crate::records::{ContactInfo, SafetyNumber};
use crate::requests;
use crate::resets;
use crate::state::{AtRelay, Outgoing, Progress, Stored, message_of_key, raise};
use crate::store::{Log, Table, Transaction};

/// Why a text that waited is given up: the code of an error.
const REMOVED: &str = "contact-unknown";

/// The address book of a home: contacts, and accounts that wrote first. Cheap to clone.
///
/// What a person types is resolved once, by [`find`](Self::find); everything else names a contact by its account.
#[derive(Clone)]
pub struct Contacts {
    engine: Engine,
}

/// What a contact is to be added by.
enum Target {
    Account(AccountId),
    Name(String),
    Link(InviteLink),
}

impl Target {
    /// Reads what a person typed.
    fn of(own: &Identity, name_or_link: &str) -> Result<Self, Error> {
        let text = name_or_link.trim();
        if !InviteLink::looks_like(text) {
            if let Ok(account) = text.parse::<AccountId>() {
                return if account == own.account() { Err(Error::OwnAddress) } else { Ok(Self::Account(account)) };
            }
            if !is_valid_name(text) {
                return Err(Error::NameInvalid { name: text.escape_default().to_string() });
            }
            if own.name.as_deref() == Some(text) {
                return Err(Error::OwnAddress);
            }
            return Ok(Self::Name(text.to_owned()));
        }
        let link: InviteLink = text.parse().map_err(Error::LinkInvalid)?;
        // The key says which relay it is; it may be reachable under several names.
        if link.relay.fingerprint != own.relay.fingerprint {
            let (theirs, ours) = (link.relay.host_port(), own.relay.host_port());
            return Err(Error::LinkOtherRelay { theirs, ours });
        }
        if link.account == own.account() { Err(Error::OwnAddress) } else { Ok(Self::Link(link)) }
    }
}

impl Contacts {
    pub(crate) const fn new(engine: Engine) -> Self {
        Self { engine }
    }

    /// Adds a contact over a connection of its own: see [`Connection::add_contact`].
    ///
    /// # Errors
    /// As [`Connection::add_contact`], and those of connecting.
    pub async fn add(&self, name_or_link: &str) -> Result<ContactInfo, Error> {
        self.check(name_or_link).await?;
        let connection = Connection::new(self.engine.clone(), establish(&self.engine).await?);
        let added = connection.add_contact(name_or_link, None).await;
        connection.close().await;
        added
    }

    /// Checks a name or link before a connection is made: what [`Connection::add_contact`] can refuse offline.
    ///
    /// # Errors
    /// `link-invalid`, `link-other-relay`, `name-invalid`, `own-address`.
    pub async fn check(&self, name_or_link: &str) -> Result<(), Error> {
        let own = self.engine.identity().await?;
        Target::of(&own, name_or_link).map(drop)
    }

    /// The address book, by alias. Without requests.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn list(&self) -> Result<Vec<ContactInfo>, Error> {
        let accepted = |tx: &Tx<'_>| {
            Ok(Contact::all(tx)?.iter().filter(|contact| !contact.row.request).map(Contact::info).collect())
        };
        self.engine.read(accepted).await
    }

    /// Accounts that wrote first and were not accepted, by alias.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn requests(&self) -> Result<Vec<ContactInfo>, Error> {
        self.engine.read(|tx| Ok(requests::all(tx)?.iter().map(Contact::info).collect())).await
    }

    /// The contact or request that a person means: by account id, else by alias, else by the name it was added under.
    ///
    /// # Errors
    /// `contact-unknown`, `own-address`.
    pub async fn find(&self, who: &str) -> Result<ContactInfo, Error> {
        let who = who.trim().to_owned();
        self.engine
            .read(move |tx| match Contact::find(tx, &who)? {
                Some(contact) => Ok(contact.info()),
                None if tx.identity()?.is_called(&who) => Err(Error::OwnAddress),
                None => Err(Error::ContactUnknown { who: who.escape_debug().to_string() }),
            })
            .await
    }

    /// The contact or request with an account.
    ///
    /// # Errors
    /// `contact-unknown`, `own-address`.
    pub async fn get(&self, account: AccountId) -> Result<ContactInfo, Error> {
        self.engine.read(move |tx| Ok(Contact::known(tx, &account)?.info())).await
    }

    /// Makes a request a contact, unverified: what it wrote is confirmed with the next flush. `alias`: what to call it. For a
    /// contact it only sets the alias.
    ///
    /// # Errors
    /// `contact-unknown`, `alias-taken`, `alias-invalid`.
    pub async fn accept_request(&self, account: AccountId, alias: Option<&str>) -> Result<ContactInfo, Error> {
        let alias = alias.map(str::to_owned);
        self.change(account, move |tx, contact| {
            if let Some(alias) = alias {
                check_alias(tx, &alias, &contact.account)?;
                contact.row.alias = alias;
            }
            requests::accept(contact, tx, tx.now())
        })
        .await
    }

    /// Calls a contact or a request otherwise. A request stays one.
    ///
    /// # Errors
    /// `contact-unknown`, `alias-taken`, `alias-invalid`.
    pub async fn rename(&self, account: AccountId, alias: &str) -> Result<ContactInfo, Error> {
        let alias = alias.to_owned();
        self.change(account, move |tx, contact| {
            check_alias(tx, &alias, &contact.account)?;
            contact.row.alias = alias;
            Ok(())
        })
        .await
    }

    /// Removes a contact or a request: alias, pinned key, trust, what is held and what waits for it go, and it gets another
    /// access key no more. Texts that wait are given up, if `force` says so. `history`: the messages go, too.
    ///
    /// What it writes from then on is a request. To be able to open that, the sessions stay: it goes on writing in them.
    ///
    /// # Errors
    /// `contact-unknown`; `contact-blocked`: it would be unblocked by that; `texts-waiting`, without `force`.
    pub async fn remove(&self, account: AccountId, history: bool, force: bool) -> Result<Removed, Error> {
        let removed = self.engine.write(move |tx| remove(tx, &account, history, force)).await?;
        erase::scrub_if_due(&self.engine).await?;
        Ok(removed)
    }

    /// Marks a contact's key as compared.
    ///
    /// # Errors
    /// `contact-unknown`, `identity-changed` (accept the new key first).
    pub async fn verify(&self, account: AccountId) -> Result<ContactInfo, Error> {
        self.change(account, |_, contact| {
            if contact.row.changed_key.is_some() {
                return Err(Error::IdentityChanged { who: contact.row.alias.clone() });
            }
            contact.row.verified = true;
            Ok(())
        })
        .await
    }

    /// Blocks or unblocks a contact or a request. While it is blocked its mail is dropped unseen and nothing is sent to it.
    /// Blocking draws another access key: from the next flush on the relay takes no anonymous mail from it, and gives its mail
    /// a stranger's room. Unblocking ends that, at the relay, too.
    ///
    /// # Errors
    /// `contact-unknown`.
    pub async fn set_blocked(&self, account: AccountId, blocked: bool) -> Result<ContactInfo, Error> {
        self.block(account, blocked, false).await
    }

    /// Blocks a contact or a request, at the relay, too: from the next flush on the relay drops its mail as it comes, and knows
    /// that this account does not want to hear from that one.
    ///
    /// # Errors
    /// `contact-unknown`.
    pub async fn block_at_relay(&self, account: AccountId) -> Result<ContactInfo, Error> {
        self.block(account, true, true).await
    }

    async fn block(&self, account: AccountId, blocked: bool, at_relay: bool) -> Result<ContactInfo, Error> {
        self.change(account, move |tx, contact| {
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
        .await
    }

    /// Accepts a contact's changed account key: it becomes the pinned one, unverified; old sessions are dropped; mail that was
    /// kept meanwhile is opened, and shown by the next `receive`. Without a change it does nothing.
    ///
    /// # Errors
    /// `contact-unknown`.
    pub async fn accept_key(&self, account: AccountId) -> Result<ContactInfo, Error> {
        self.change(account, |tx, contact| accept_changed_key(tx, contact, false)).await
    }

    async fn change(
        &self,
        account: AccountId,
        change: impl FnOnce(&Tx<'_>, &mut Contact) -> Result<(), Error> + Send + 'static,
    ) -> Result<ContactInfo, Error> {
        self.engine
            .write(move |tx| {
                let mut contact = Contact::known(tx, &account)?;
                change(tx, &mut contact)?;
                contact.save(tx)?;
                Ok(contact.info())
            })
            .await
    }

    /// The safety number with a contact. Under a changed key it is the number with the new key, so that it can be compared
    /// before it is accepted; it is not verified then.
    ///
    /// # Errors
    /// `contact-unknown`.
    pub async fn safety_number(&self, account: AccountId) -> Result<SafetyNumber, Error> {
        let both = move |tx: &Tx<'_>| Ok((tx.identity()?, Contact::known(tx, &account)?));
        let (own, contact) = self.engine.read(both).await?;
        let changed = contact.row.changed()?;
        let verified = contact.row.verified && changed.is_none();
        let key = changed.map_or_else(|| contact.row.key(), Ok)?;
        let number = safety_number((&own.account(), &own.key), (&contact.account, &key));
        Ok(SafetyNumber { who: contact.row.alias, digits: number.digits(), groups: number.to_string(), verified })
    }
}

/// What the removal of a contact did.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Removed {
    /// The contact as it was.
    pub contact: ContactInfo,
    /// Texts that waited and were given up.
    pub given_up: u64,
    /// Messages that stay readable, by the account.
    pub kept: u64,
    /// Messages that went.
    pub deleted: u64,
}

fn remove(tx: &Tx<'_>, account: &AccountId, history: bool, force: bool) -> Result<Removed, Error> {
    let contact = Contact::known(tx, account)?;
    let conversation = ConversationId::Contact(*account);
    let who = || contact.row.alias.clone();
    if contact.row.blocked {
        return Err(Error::ContactBlocked { who: who() });
    }
    let given_up = waiting_texts(tx, Some(&conversation))?;
    if given_up > 0 && !force {
        return Err(Error::TextsWaiting { who: who(), count: given_up });
    }
    for outgoing in Outgoing::scan(tx, Some(conversation.as_bytes()), 0, usize::MAX)? {
        if let Some(text) = &outgoing.text {
            raise(tx, text, Progress::Failed, REMOVED)?;
        }
        outgoing.remove(tx)?;
    }
    for waiting in files::waiting(tx, Some(&conversation))? {
        files::give_up(tx, &waiting.message()?, REMOVED)?;
    }
    resets::forget(tx, account)?;
    for entry in tx.scan(Log::Held, Some(account.as_bytes()), 0, usize::MAX)? {
        tx.remove(Log::Held, entry.place)?;
    }
    for (key, _) in tx.list(Table::ReceiptDue)? {
        if message_of_key(&key)?.conversation == conversation {
            tx.delete(Table::ReceiptDue, &key)?;
        }
    }
    tx.delete(Table::Contact, account.as_bytes())?;
    if contact.row.access_key.is_some() {
        // It was told ours, too: what it sends has to come under its name, as a stranger's mail does.
        disclosure::rotate(tx)?;
    }
    if history {
        // A draft is kept as the messages are.
        tx.delete(Table::Conversation, conversation.as_bytes())?;
    }
    let (kept, deleted) = count_or_delete(tx, &conversation, history)?;
    Ok(Removed { contact: contact.info(), given_up, kept, deleted })
}

/// How many messages of a conversation stay, and how many were deleted.
fn count_or_delete(tx: &Tx<'_>, conversation: &ConversationId, delete: bool) -> Result<(u64, u64), Error> {
    let (mut count, mut after) = (0, 0);
    loop {
        let entries = tx.scan(Log::Message, Some(conversation.as_bytes()), after, PAGE)?;
        let Some(last) = entries.last() else { break };
        after = last.place;
        count += entries.len() as u64;
        if delete {
            entries.iter().try_for_each(|entry| erase::forget(tx, &Stored::read(entry)?))?;
        }
    }
    Ok(if delete { (0, count) } else { (count, 0) })
}

impl Connection {
    /// Adds a contact by name or account id (trust on first use) or by invite link (verified at once). `alias` defaults to the
    /// name in the link, else to the relay's name, else to the first 8 characters of the account. Adding a known account again
    /// checks its key, and changes its alias if one is given; adding a request accepts it. A link that fits a changed key
    /// accepts that key: the link is the other way to compare.
    ///
    /// # Errors
    /// `unknown-recipient`, `link-invalid`, `link-other-relay`, `invite-mismatch`, `identity-changed`, `own-address`,
    /// `alias-taken`, `alias-invalid`, `device-list-refused`.
    pub async fn add_contact(&self, name_or_link: &str, alias: Option<&str>) -> Result<ContactInfo, Error> {
        let own = self.engine().identity().await?;
        let (by, link) = match Target::of(&own, name_or_link)? {
            Target::Name(name) => (By::Name(name), None),
            Target::Account(account) => (By::Account(account.as_bytes().to_vec().into()), None),
            Target::Link(link) => (By::Account(link.account.as_bytes().to_vec().into()), Some(link)),
        };
        let asked_for = match &by {
            By::Account(account) => Some(account.clone()),
            By::Name(_) => None,
        };
        let record = match look_up(&self.link().link, by).await? {
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
        if account.id == own.account() {
            return Err(Error::OwnAddress);
        }
        let alias = alias.map(str::to_owned);
        // A changed key is noted for good although the call fails.
        let added = self.engine().write(move |tx| add(tx, &account, alias, link)).await??;
        self.compared().insert(added.account);
        Ok(added)
    }
}

/// Pins the changed key, and opens what was kept under it.
fn accept_changed_key(tx: &Tx<'_>, contact: &mut Contact, verified: bool) -> Result<(), Error> {
    if contact.row.changed_key.is_none() {
        return Ok(());
    }
    pin_changed_key(tx, contact, verified)?;
    // What it says is in the store; the next receive shows it.
    open_held(tx, &contact.account)?;
    // Opening may have changed the row.
    if let Some(fresh) = Contact::get(tx, &contact.account)? {
        *contact = fresh;
    }
    requests::ask_for_what_was_dropped(contact, tx, tx.now())
}

/// Pins the changed key, drops sessions under the old one, and has what was encrypted in them encrypted anew.
fn pin_changed_key(tx: &dyn Transaction, contact: &mut Contact, verified: bool) -> Result<(), Error> {
    let Some(key) = contact.row.changed_key.take() else { return Ok(()) };
    contact.row.account_key = key;
    contact.row.verified = verified;
    contact.row.device_list = None;
    contact.row.claimed_number = 0;
    contact.row.claimed_hash.clear();
    // Told under the old key.
    contact.row.access_key = None;
    contact.row.takes_sealed = false;
    contact.save(tx)?;
    for device in requests::devices(&contact.account) {
        tx.delete(Table::Session, &device.to_bytes())?;
    }
    resets::forget(tx, &contact.account)?;
    for mut outgoing in Outgoing::scan(tx, Some(contact.account.as_bytes()), 0, usize::MAX)? {
        outgoing.clear(tx)?;
    }
    Ok(())
}

fn add(
    tx: &Tx<'_>,
    account: &Account,
    alias: Option<String>,
    link: Option<InviteLink>,
) -> Result<Result<ContactInfo, Error>, Error> {
    if let Some(alias) = &alias {
        check_alias(tx, alias, &account.id)?;
    }
    // [KV-097] The link comes from the person, the relay's name from the relay.
    let suggested = link.as_ref().and_then(|link| link.name.as_deref()).or(account.name.as_deref());
    let mut contact = match Contact::get(tx, &account.id)? {
        Some(contact) => contact,
        None => {
            let alias = free_alias(tx, &account.id, suggested)?;
            Contact::new(account.id, account.key, account.name.clone(), alias, tx.now())
        }
    };
    let mut compared = contact.compare(account)?;
    if link.is_some() && compared == Compared::KeyChanged {
        accept_changed_key(tx, &mut contact, true)?;
        compared = contact.compare(account)?;
    }
    if compared == Compared::Fits {
        let was_request = contact.row.request;
        requests::accept(&mut contact, tx, tx.now())?;
        if was_request {
            // It has the alias of an account without a name so far.
            contact.row.name.clone_from(&account.name);
            contact.row.alias = free_alias(tx, &account.id, suggested)?;
        }
        if let Some(alias) = alias {
            contact.row.alias = alias;
        }
        contact.row.verified |= link.is_some();
        contact.row.compared_at = tx.now();
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::tests::{ID, record};
    use crate::store::memory::MemoryStore;
    use crate::store::{Mode, Store};
    use kuvert_types::{Address, DeviceId};

    #[test]
    fn another_key_is_noted_and_stops_sending_until_accepted() {
        let mut store = MemoryStore::new();
        let tx = store.begin(Mode::Write).unwrap();
        let (first, second) = (Account::check(&record(1)).unwrap(), Account::check(&record(1)).unwrap());
        let mut contact = Contact::new(ID, first.key, None, "bob".into(), 0);
        assert_eq!(contact.compare(&first).unwrap(), Compared::Fits);
        contact.row.verified = true;
        assert!(contact.may_send().is_ok());
        assert_eq!(contact.compare(&second).unwrap(), Compared::KeyChanged);
        assert_eq!(contact.may_send().unwrap_err().code(), "identity-changed");
        assert_eq!(contact.row.key().unwrap(), first.key, "the pin stays");
        let address = Address { account: ID, device: DeviceId::PRIMARY }.to_bytes();
        tx.put(Table::Session, &address, b"old").unwrap();
        pin_changed_key(&*tx, &mut contact, false).unwrap();
        assert_eq!(contact.row.key().unwrap(), second.key);
        assert!(contact.may_send().is_ok() && !contact.row.verified);
        assert_eq!(tx.get(Table::Session, &address).unwrap(), None);
        assert_eq!(contact.compare(&second).unwrap(), Compared::Fits);
        assert_eq!(contact.compare(&first).unwrap(), Compared::KeyChanged);
    }
}
