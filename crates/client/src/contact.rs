//! The address book: trust on first use with a pinned account key.
//!
//! ```text
//!  add by name ──► unverified ──verify──► verified          add by link ──► verified
//!                       │                    │
//!                       └── another key ─────┴──► key changed: nothing is sent
//!                                                    │ accept_key: the new key is pinned, unverified; sessions are dropped
//!                                                    ▼
//!                                                unverified
//! ```
//! [KV-097] A contact is found by its account id before all else, then by its alias, then by the name that it was added
//! under. The relay's present names play no part: a name that one contact gave up may be another account's today.

use kuvert_types::{AccessKey, AccountId, AccountKey};

use crate::devices;
use crate::directory::Account;
use crate::engine::Tx;
use crate::error::Error;
use crate::event::ListConflict;
use crate::fold::{fold, is_invisible};
use crate::records::ContactInfo;
use crate::state::{self, AtRelay, ContactRow, own};
use crate::store::{Table, Transaction};

const MAX_ALIAS_CHARS: usize = 64;

/// What a look at a fresh account record changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Compared {
    /// All as known, or newer.
    Fits,
    /// Another account key: noted in the row.
    KeyChanged,
    /// The device list contradicts what is known: not taken.
    Conflict(ListConflict),
}

/// A contact with its account.
#[derive(Clone, PartialEq, Debug)]
pub struct Contact {
    /// The account.
    pub account: AccountId,
    /// What is known.
    pub row: ContactRow,
}

impl Contact {
    /// The contact of an account.
    pub fn get(tx: &dyn Transaction, account: &AccountId) -> Result<Option<Self>, Error> {
        let row = state::get(tx, Table::Contact, account.as_bytes())?;
        Ok(row.map(|row| Self { account: *account, row }))
    }

    /// The contact of an account that the caller names.
    ///
    /// # Errors
    /// `contact-unknown`, `own-address`.
    pub fn known(tx: &Tx<'_>, account: &AccountId) -> Result<Self, Error> {
        if let Some(contact) = Self::get(tx, account)? {
            return Ok(contact);
        }
        if tx.identity()?.account() == *account {
            return Err(Error::OwnAddress);
        }
        Err(Error::ContactUnknown { who: account.to_string() })
    }

    /// Whether a row of the table of contacts can be read, with everything in it.
    pub fn is_readable(key: &[u8], value: &[u8]) -> bool {
        let is_good = |row: ContactRow| {
            row.key().is_ok()
                && row.changed().is_ok()
                && devices::of(&row).is_ok()
                && row.access_key.is_none_or(|key| AccessKey::try_from(key.as_slice()).is_ok())
        };
        state::account_id(key).is_ok() && state::decode::<ContactRow>(value, "contacts").is_ok_and(is_good)
    }

    /// All contacts, by alias.
    pub fn all(tx: &dyn Transaction) -> Result<Vec<Self>, Error> {
        let mut all = Vec::new();
        for (key, value) in tx.list(Table::Contact)? {
            let row = prost::Message::decode(value.as_slice()).map_err(|_| state::damaged("contacts"))?;
            all.push(Self { account: state::account_id(&key)?, row });
        }
        all.sort_by(|a, b| a.row.alias.cmp(&b.row.alias));
        Ok(all)
    }

    /// [KV-097] What looks like an account id is that account and nothing else. Else by alias, else by the name that it was
    /// added under: a verified contact before an unverified one, a contact before a request, the older before the newer. Else by
    /// an alias that differs only as [`fold`] passes over, if there is just one.
    pub fn find(tx: &dyn Transaction, who: &str) -> Result<Option<Self>, Error> {
        let who = who.trim();
        if let Ok(account) = who.parse::<AccountId>() {
            return Self::get(tx, &account);
        }
        let all = Self::all(tx)?;
        if let Some(contact) = all.iter().find(|contact| contact.row.alias == who) {
            return Ok(Some(contact.clone()));
        }
        let named = |contact: &&Self| contact.row.name.as_deref() == Some(who);
        let rank = |contact: &&Self| (!contact.row.verified, contact.row.request, contact.row.added_at);
        if let Some(contact) = all.iter().filter(named).min_by_key(rank) {
            return Ok(Some(contact.clone()));
        }
        // Typed in another case. Homes of an older build may have several such aliases: none of them is guessed at.
        let folded = fold(who);
        let mut alike = all.iter().filter(|contact| fold(&contact.row.alias) == folded);
        Ok(alike.next().filter(|_| alike.next().is_none()).cloned())
    }

    /// A new contact with a key that is trusted from now on.
    pub fn new(account: AccountId, key: AccountKey, name: Option<String>, alias: String, now: u64) -> Self {
        let (account_key, seen_name) = (key.as_bytes().to_vec(), name.clone());
        let row = ContactRow { account_key, alias, name, seen_name, added_at: now, ..ContactRow::default() };
        Self { account, row }
    }

    /// Stores it.
    pub fn save(&self, tx: &dyn Transaction) -> Result<(), Error> {
        if self.row.name_news {
            tx.put(Table::Own, own::NAME_NEWS, &[])?;
        }
        state::put(tx, Table::Contact, self.account.as_bytes(), &self.row)
    }

    /// For the caller.
    pub fn info(&self) -> ContactInfo {
        let ContactRow { alias, name, verified, blocked, changed_key, added_at, request, .. } = &self.row;
        ContactInfo {
            account: self.account,
            alias: alias.clone(),
            name: name.clone(),
            verified: *verified,
            blocked: *blocked,
            key_changed: changed_key.is_some(),
            request: *request,
            blocked_at_relay: matches!(self.row.at_relay(), AtRelay::Wanted | AtRelay::Yes),
            added_at: *added_at,
        }
    }

    /// Notes that the account came under another key; whether that is news.
    pub fn note_key(&mut self, key: &AccountKey) -> bool {
        let key = Some(key.as_bytes().to_vec());
        if self.row.changed_key == key {
            return false;
        }
        self.row.changed_key = key;
        true
    }

    /// Compares with what the relay shows now, and takes what is newer.
    pub fn compare(&mut self, account: &Account) -> Result<Compared, Error> {
        if account.key != self.row.key()? {
            self.note_key(&account.key);
            return Ok(Compared::KeyChanged);
        }
        if let Err(conflict) = devices::take(&mut self.row, &account.list)? {
            return Ok(Compared::Conflict(conflict));
        }
        if self.row.seen_name != account.name {
            // A request has not been looked up before: its first name is no news.
            let before = std::mem::replace(&mut self.row.seen_name, account.name.clone());
            if self.row.compared_at != 0 && !self.row.name_news {
                (self.row.name_news, self.row.name_before) = (true, before);
            }
        }
        Ok(Compared::Fits)
    }

    /// Whether anything may be sent to it.
    ///
    /// # Errors
    /// `contact-blocked`, `identity-changed`, `request-pending`.
    pub fn may_send(&self) -> Result<(), Error> {
        let who = || self.row.alias.clone();
        if self.row.request {
            return Err(Error::RequestPending { who: who() });
        }
        if self.row.blocked {
            return Err(Error::ContactBlocked { who: who() });
        }
        if self.row.changed_key.is_some() {
            return Err(Error::IdentityChanged { who: who() });
        }
        Ok(())
    }
}

/// What the owner calls an account.
pub fn alias(tx: &dyn Transaction, account: &AccountId) -> Result<String, Error> {
    Ok(Contact::get(tx, account)?.map_or_else(|| account.to_string(), |contact| contact.row.alias))
}

/// Checks that an alias can be seen, typed and told apart, and that no other contact has it, or one that differs from it only
/// as [`fold`] passes over.
pub fn check_alias(tx: &dyn Transaction, alias: &str, account: &AccountId) -> Result<(), Error> {
    let length = alias.chars().count();
    // [KV-097] An account id means the account.
    let folded = fold(alias);
    let an_id = [alias, &folded].iter().any(|alias| alias.parse::<AccountId>().is_ok());
    if !(1..=MAX_ALIAS_CHARS).contains(&length)
        || an_id
        || alias.trim() != alias
        || alias.chars().any(char::is_control)
        || is_invisible(alias)
    {
        return Err(Error::AliasInvalid { alias: alias.escape_default().to_string() });
    }
    let taken =
        Contact::all(tx)?.into_iter().any(|contact| fold(&contact.row.alias) == folded && contact.account != *account);
    if taken { Err(Error::AliasTaken { alias: alias.to_owned() }) } else { Ok(()) }
}

/// An alias for an account that was not given one: the name, else the first characters of the account's id.
pub fn free_alias(tx: &dyn Transaction, account: &AccountId, name: Option<&str>) -> Result<String, Error> {
    let id = account.to_string();
    for candidate in name.into_iter().chain([&id[..8], &id[..16]]) {
        match check_alias(tx, candidate, account) {
            Ok(()) => return Ok(candidate.to_owned()),
            Err(Error::AliasTaken { .. } | Error::AliasInvalid { .. }) => {}
            Err(other) => return Err(other),
        }
    }
    // Others are called by the beginning of this account's id.
    Ok(format!("account {id}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::memory::MemoryStore;
    use crate::store::{Mode, Store};

    const ID: AccountId = AccountId::from_bytes([1; 16]);

    #[test]
    fn aliases_are_unique_and_printable() {
        let mut store = MemoryStore::new();
        let tx = store.begin(Mode::Write).unwrap();
        let key = AccountKey::from_bytes([0; 32]);
        Contact::new(ID, key, Some("robert".into()), "bob".into(), 0).save(&*tx).unwrap();
        let other = AccountId::from_bytes([2; 16]);
        let code = |alias: &str| check_alias(&*tx, alias, &other).err().map(|error| error.code());
        assert_eq!(code("bob"), Some("alias-taken"));
        assert_eq!(code("Bob"), Some("alias-taken"));
        assert_eq!(code("bob\u{200b}"), Some("alias-taken"));
        assert_eq!(code("bobby"), None);
        let disguised = format!("{}\u{200b}", other);
        for bad in [disguised.as_str(), "\u{200b}", "\u{3164}", "", " x", "x ", "a\nb", &"x".repeat(65)] {
            assert_eq!(code(bad), Some("alias-invalid"), "{bad:?}");
        }
        assert_eq!(check_alias(&*tx, "bob", &ID), Ok(()), "one's own alias is free");
        assert_eq!(free_alias(&*tx, &other, Some("bob")).unwrap(), other.to_string()[..8]);
        assert_eq!(free_alias(&*tx, &other, Some("carol")).unwrap(), "carol");
        for who in ["bob", "BOB", "robert", &ID.to_string()] {
            assert_eq!(Contact::find(&*tx, who).unwrap().unwrap().account, ID);
        }
        assert!(Contact::find(&*tx, "carol").unwrap().is_none());
    }
}
