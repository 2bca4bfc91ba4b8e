//! Address books: what an account's holder says about others. Those who have no account and were never asked are in it as
//! well; they are called shadow rows here.

use std::collections::BTreeSet;

use kuvert_types::AccountId;
use kuvert_types::limits::MAX_ADDRESS_BOOK;
use rusqlite::{OptionalExtension, Transaction, params};

use kuvert_relay_sqlite::people::column::{account_at, signed};

/// A person in an address book.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Person {
    /// E.164.
    pub phone: String,
    /// What the book's owner calls that person.
    pub name: Option<String>,
    /// An e-mail address.
    pub email: Option<String>,
    /// A birthday, as it was written.
    pub birthday: Option<String>,
    /// A postal address.
    pub address: Option<String>,
}

/// What an upload led to.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Uploaded {
    /// People of this upload whose number an account other than the owner's verified.
    pub matches: Vec<(String, AccountId)>,
    /// People in the owner's address book now.
    pub stored: u64,
    /// Those of them whose number no account verified.
    pub without_account: u64,
}

/// Stores people in the address book of `owner`; with `replace`, instead of those that were in it. `None`: there is no room
/// for them, and nothing changed.
///
/// # Errors
/// SQLite's.
pub fn upload(
    tx: &Transaction<'_>,
    owner: &AccountId,
    people: &[Person],
    replace: bool,
    now_ms: u64,
) -> rusqlite::Result<Option<Uploaded>> {
    if !replace && count(tx, owner)? + new_numbers(tx, owner, people)? > MAX_ADDRESS_BOOK as u64 {
        return Ok(None);
    }
    if replace {
        tx.execute("DELETE FROM address_book WHERE owner = ?1", [owner.as_bytes()])?;
    }
    let mut insert = tx.prepare_cached(
        "INSERT OR REPLACE INTO address_book(owner, phone, name, email, birthday, address, uploaded_at)
         VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?;
    let mut holder = tx.prepare_cached("SELECT account FROM phone WHERE number = ?1")?;
    let mut matches = Vec::new();
    for Person { phone, name, email, birthday, address } in people {
        insert.execute(params![owner.as_bytes(), phone, name, email, birthday, address, signed(now_ms)])?;
        let account = holder.query_row([phone], |row| account_at(row, 0)).optional()?;
        matches.extend(account.filter(|account| account != owner).map(|account| (phone.clone(), account)));
    }
    Ok(Some(Uploaded { matches, stored: count(tx, owner)?, without_account: shadows(tx, owner)? }))
}

fn new_numbers(tx: &Transaction<'_>, owner: &AccountId, people: &[Person]) -> rusqlite::Result<u64> {
    let mut known = tx.prepare_cached("SELECT 1 FROM address_book WHERE owner = ?1 AND phone = ?2")?;
    let mut new = BTreeSet::new();
    for Person { phone, .. } in people {
        if !known.exists(params![owner.as_bytes(), phone])? {
            new.insert(phone);
        }
    }
    Ok(new.len() as u64)
}

/// People in an account's address book.
///
/// # Errors
/// SQLite's.
pub fn count(tx: &Transaction<'_>, owner: &AccountId) -> rusqlite::Result<u64> {
    tx.query_row("SELECT count(*) FROM address_book WHERE owner = ?1", [owner.as_bytes()], |row| {
        Ok(row.get::<_, i64>(0)?.unsigned_abs())
    })
}

/// Those of them whose number no account verified.
///
/// # Errors
/// SQLite's.
pub fn shadows(tx: &Transaction<'_>, owner: &AccountId) -> rusqlite::Result<u64> {
    tx.query_row(
        "SELECT count(*) FROM address_book WHERE owner = ?1 AND phone NOT IN (SELECT number FROM phone)",
        [owner.as_bytes()],
        |row| Ok(row.get::<_, i64>(0)?.unsigned_abs()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use kuvert_relay_sqlite::people::People;

    const ALICE: AccountId = AccountId::from_bytes([1; 16]);
    const BOB: AccountId = AccountId::from_bytes([2; 16]);

    fn numbers(range: std::ops::Range<usize>) -> Vec<Person> {
        range.map(|n| Person { phone: format!("+49155500{n:05}"), ..Person::default() }).collect()
    }

    fn verified(people: &People, account: AccountId, number: &str) {
        let insert = "INSERT INTO phone(account, number, verified_at) VALUES(?1, ?2, 1)";
        people.transact(|tx| tx.execute(insert, params![account.as_bytes(), number])).unwrap();
    }

    #[test]
    fn who_has_an_account_is_matched_and_who_has_none_is_kept_all_the_same() {
        let people = People::in_memory(Some(&crate::tables::TABLES)).unwrap();
        let book = numbers(0..3);
        verified(&people, ALICE, &book[0].phone);
        verified(&people, BOB, &book[1].phone);
        let upload = |replace| people.transact(|tx| upload(tx, &ALICE, &book, replace, 5)).unwrap().unwrap();
        let matches = vec![(book[1].phone.clone(), BOB)];
        assert_eq!(upload(false), Uploaded { matches, stored: 3, without_account: 1 });
        assert_eq!(upload(false).stored, 3, "nobody is there twice");
        // Bob's rows are not Alice's, and the other way about.
        let none = people.transact(|tx| super::upload(tx, &BOB, &[], true, 5)).unwrap().unwrap();
        assert_eq!(none, Uploaded::default());
        assert_eq!(people.transact(|tx| count(tx, &ALICE)), Ok(3));
        let emptied = people.transact(|tx| super::upload(tx, &ALICE, &[], true, 5)).unwrap().unwrap();
        assert_eq!(emptied, Uploaded::default());
    }

    #[test]
    fn a_book_that_is_full_takes_no_more_people_and_changes_those_it_has() {
        let people = People::in_memory(Some(&crate::tables::TABLES)).unwrap();
        let all = numbers(0..MAX_ADDRESS_BOOK);
        let upload = |book: &[Person]| people.transact(|tx| upload(tx, &ALICE, book, false, 5)).unwrap();
        assert_eq!(upload(&all).unwrap().stored, MAX_ADDRESS_BOOK as u64);
        assert_eq!(upload(&numbers(MAX_ADDRESS_BOOK..MAX_ADDRESS_BOOK + 1)), None);
        assert_eq!(people.transact(|tx| count(tx, &ALICE)), Ok(MAX_ADDRESS_BOOK as u64));
        let renamed = [Person { name: Some("new".into()), ..all[0].clone() }];
        assert!(upload(&renamed).is_some());
    }
}
