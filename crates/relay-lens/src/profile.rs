//! Profiles: what an account's holder says about himself, each part with the time of its last change.

use kuvert_types::AccountId;
use rusqlite::{OptionalExtension, ToSql, Transaction, params};

use kuvert_relay_sqlite::people::column::{signed, unsigned_at};

/// A change. An absent part stays as it is, an empty one is cleared.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Change {
    /// The name to be shown.
    pub display_name: Option<String>,
    /// The e-mail address.
    pub email: Option<String>,
    /// The about text.
    pub about: Option<String>,
    /// The picture.
    pub picture: Option<Vec<u8>>,
    /// Whether others see it.
    pub public: Option<bool>,
}

/// A part and when it was last changed, Unix milliseconds.
pub type Part<T> = Option<(T, u64)>;

/// A profile as it lies in the database. The default is that of an account that told nothing.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Profile {
    /// The name to be shown.
    pub display_name: Part<String>,
    /// The e-mail address.
    pub email: Part<String>,
    /// The about text.
    pub about: Part<String>,
    /// The picture.
    pub picture: Part<Vec<u8>>,
    /// Whether others see name, about text and picture.
    pub public: bool,
}

/// Changes an account's profile.
///
/// # Errors
/// SQLite's.
pub fn set(tx: &Transaction<'_>, account: &AccountId, change: &Change, now_ms: u64) -> rusqlite::Result<()> {
    tx.execute("INSERT OR IGNORE INTO profile(account) VALUES(?1)", [account.as_bytes()])?;
    let Change { display_name, email, about, picture, public } = change;
    let texts = [("display_name", display_name), ("email", email), ("about", about)];
    for (column, text) in texts {
        if let Some(text) = text {
            set_part(tx, account, column, text, text.is_empty(), now_ms)?;
        }
    }
    if let Some(picture) = picture {
        set_part(tx, account, "picture", picture, picture.is_empty(), now_ms)?;
    }
    if let Some(public) = public {
        tx.execute("UPDATE profile SET public = ?2 WHERE account = ?1", params![account.as_bytes(), public])?;
    }
    Ok(())
}

fn set_part(
    tx: &Transaction<'_>,
    account: &AccountId,
    column: &'static str,
    value: &dyn ToSql,
    clear: bool,
    now_ms: u64,
) -> rusqlite::Result<()> {
    if clear {
        let sql = format!("UPDATE profile SET {column} = NULL, {column}_at = NULL WHERE account = ?1");
        tx.execute(&sql, [account.as_bytes()])?;
    } else {
        let sql = format!("UPDATE profile SET {column} = ?2, {column}_at = ?3 WHERE account = ?1");
        tx.execute(&sql, params![account.as_bytes(), value, signed(now_ms)])?;
    }
    Ok(())
}

/// An account's profile.
///
/// # Errors
/// SQLite's.
pub fn of(tx: &Transaction<'_>, account: &AccountId) -> rusqlite::Result<Profile> {
    let found = tx.query_row(
        "SELECT display_name, display_name_at, email, email_at, about, about_at, picture, picture_at, public FROM profile
         WHERE account = ?1",
        [account.as_bytes()],
        |row| {
            let text = |at: usize| -> rusqlite::Result<Part<String>> {
                Ok(row.get::<_, Option<String>>(at)?.zip(unsigned_at(row, at + 1)?))
            };
            Ok(Profile {
                display_name: text(0)?,
                email: text(2)?,
                about: text(4)?,
                picture: row.get::<_, Option<Vec<u8>>>(6)?.zip(unsigned_at(row, 7)?),
                public: row.get(8)?,
            })
        },
    );
    Ok(found.optional()?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use kuvert_relay_sqlite::people::People;

    const ALICE: AccountId = AccountId::from_bytes([1; 16]);

    #[test]
    fn each_part_keeps_the_date_of_its_own_last_change() {
        let people = People::in_memory(Some(&crate::tables::TABLES)).unwrap();
        let set = |change: Change, at: u64| people.transact(|tx| set(tx, &ALICE, &change, at)).unwrap();
        let get = || people.transact(|tx| of(tx, &ALICE)).unwrap();
        assert_eq!(get(), Profile::default());
        set(Change { display_name: Some("Alice".into()), picture: Some(vec![7; 3]), ..Change::default() }, 10);
        set(Change { email: Some("alice@example.org".into()), public: Some(true), ..Change::default() }, 20);
        let expected = Profile {
            display_name: Some(("Alice".into(), 10)),
            email: Some(("alice@example.org".into(), 20)),
            about: None,
            picture: Some((vec![7; 3], 10)),
            public: true,
        };
        assert_eq!(get(), expected);
        set(Change { display_name: Some("Alice A.".into()), picture: Some(vec![]), ..Change::default() }, 30);
        assert_eq!(get(), Profile { display_name: Some(("Alice A.".into(), 30)), picture: None, ..expected });
    }
}
