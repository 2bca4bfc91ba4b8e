//! Phone numbers: claimed with a code, one for an account, one account for a number.
//!
//! ```text
//! await_code ──► code stored ──right──► verified (taken from the account that had the number)
//!                   │  └─wrong, 5 times─► forgotten
//!                   └──10 minutes later─► refused, and purged within the hour
//! ```

use std::time::Duration;

use kuvert_types::AccountId;
use rusqlite::{OptionalExtension, Transaction, params};

use super::codes::{self, Code};
use kuvert_relay_sqlite::people::column::{account_at, signed};

/// How long a code is good.
pub const CODE_LIFE: Duration = Duration::from_secs(10 * 60);

/// How long its row stays, so that a late answer is told that it is late.
pub const CODE_KEPT: Duration = Duration::from_secs(60 * 60);

/// Wrong codes before the right one is forgotten: of a million, these are guessed with a chance of 1 in 200,000.
pub const CODE_ATTEMPTS: u32 = 5;

/// Remembers which code `account` has to give. One that it waited for before is forgotten.
///
/// # Errors
/// SQLite's.
pub fn await_code(
    tx: &Transaction<'_>,
    account: &AccountId,
    number: &str,
    code: &Code,
    now_ms: u64,
) -> rusqlite::Result<()> {
    tx.execute(
        "INSERT OR REPLACE INTO phone_code(account, number, code_hash, expires_at, attempts_left)
         VALUES(?1, ?2, ?3, ?4, ?5)",
        params![
            account.as_bytes(),
            number,
            code.hash(account),
            signed(now_ms.saturating_add(CODE_LIFE.as_millis() as u64)),
            CODE_ATTEMPTS
        ],
    )?;
    Ok(())
}

/// What a code did.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verified {
    /// It is not the one, or none is waited for.
    Wrong,
    /// It comes too late.
    Expired,
    /// The account has the number now.
    Yes {
        /// E.164.
        number: String,
        /// The other account that had it before.
        taken_from: Option<AccountId>,
    },
}

/// Takes a code.
///
/// # Errors
/// SQLite's.
pub fn verify(tx: &Transaction<'_>, account: &AccountId, digits: &str, now_ms: u64) -> rusqlite::Result<Verified> {
    let awaited = tx
        .query_row(
            "SELECT number, code_hash, expires_at, attempts_left FROM phone_code WHERE account = ?1",
            [account.as_bytes()],
            |row| {
                Ok((row.get::<_, String>(0)?, row.get::<_, Vec<u8>>(1)?, row.get::<_, i64>(2)?, row.get::<_, u32>(3)?))
            },
        )
        .optional()?;
    let Some((number, hash, expires_at, attempts_left)) = awaited else { return Ok(Verified::Wrong) };
    let forget = || tx.execute("DELETE FROM phone_code WHERE account = ?1", [account.as_bytes()]);
    if signed(now_ms) >= expires_at {
        forget()?;
        return Ok(Verified::Expired);
    }
    if !codes::fits(account, digits, &hash) {
        match attempts_left {
            0 | 1 => forget()?,
            _ => tx.execute(
                "UPDATE phone_code SET attempts_left = attempts_left - 1 WHERE account = ?1",
                [account.as_bytes()],
            )?,
        };
        return Ok(Verified::Wrong);
    }
    forget()?;
    let before = tx.query_row("SELECT account FROM phone WHERE number = ?1", [&number], |row| account_at(row, 0));
    let taken_from = before.optional()?.filter(|before| before != account);
    tx.execute("DELETE FROM phone WHERE number = ?1 OR account = ?2", params![number, account.as_bytes()])?;
    tx.execute(
        "INSERT INTO phone(account, number, verified_at) VALUES(?1, ?2, ?3)",
        params![account.as_bytes(), number, signed(now_ms)],
    )?;
    Ok(Verified::Yes { number, taken_from })
}

/// An account's verified number, and when its code came back.
///
/// # Errors
/// SQLite's.
pub fn of(tx: &Transaction<'_>, account: &AccountId) -> rusqlite::Result<Option<(String, u64)>> {
    tx.query_row("SELECT number, verified_at FROM phone WHERE account = ?1", [account.as_bytes()], |row| {
        Ok((row.get(0)?, row.get::<_, i64>(1)?.unsigned_abs()))
    })
    .optional()
}

/// Deletes the codes that expired some time ago, and says how many.
///
/// # Errors
/// SQLite's.
pub fn purge(tx: &Transaction<'_>, now_ms: u64) -> rusqlite::Result<usize> {
    let kept = CODE_KEPT.saturating_sub(CODE_LIFE).as_millis() as u64;
    tx.execute("DELETE FROM phone_code WHERE expires_at <= ?1", [signed(now_ms.saturating_sub(kept))])
}

#[cfg(test)]
mod tests {
    use super::*;
    use kuvert_relay_sqlite::people::People;

    const ALICE: AccountId = AccountId::from_bytes([1; 16]);
    const BOB: AccountId = AccountId::from_bytes([2; 16]);
    const NUMBER: &str = "+4915550000001";
    const NOW: u64 = 1_800_000_000_000;

    struct World(People);

    impl World {
        fn new() -> Self {
            Self(People::in_memory(Some(&crate::tables::TABLES)).unwrap())
        }

        fn ask(&self, account: AccountId, number: &str) -> Code {
            let code = Code::draw().unwrap();
            self.0.transact(|tx| await_code(tx, &account, number, &code, NOW)).unwrap();
            code
        }

        fn give(&self, account: AccountId, digits: &str, at: u64) -> Verified {
            self.0.transact(|tx| verify(tx, &account, digits, at)).unwrap()
        }

        fn number(&self, account: AccountId) -> Option<String> {
            self.0.transact(|tx| of(tx, &account)).unwrap().map(|(number, _)| number)
        }
    }

    /// Another code than this one.
    fn other(code: &Code) -> String {
        let first = if code.digits().starts_with('0') { '1' } else { '0' };
        format!("{first}{}", &code.digits()[1..])
    }

    #[test]
    fn a_code_is_good_once_and_for_its_account() {
        let world = World::new();
        let code = world.ask(ALICE, NUMBER);
        assert_eq!(world.give(BOB, code.digits(), NOW), Verified::Wrong);
        let yes = Verified::Yes { number: NUMBER.into(), taken_from: None };
        assert_eq!(world.give(ALICE, code.digits(), NOW), yes);
        assert_eq!(world.give(ALICE, code.digits(), NOW), Verified::Wrong);
        assert_eq!(world.number(ALICE).as_deref(), Some(NUMBER));
    }

    #[test]
    fn five_wrong_ones_and_the_right_one_is_forgotten() {
        let world = World::new();
        let code = world.ask(ALICE, NUMBER);
        for _ in 0..CODE_ATTEMPTS {
            assert_eq!(world.give(ALICE, &other(&code), NOW), Verified::Wrong);
        }
        assert_eq!(world.give(ALICE, code.digits(), NOW), Verified::Wrong);
        // One less, and it is good.
        let code = world.ask(ALICE, NUMBER);
        for _ in 1..CODE_ATTEMPTS {
            world.give(ALICE, &other(&code), NOW);
        }
        assert!(matches!(world.give(ALICE, code.digits(), NOW), Verified::Yes { .. }));
    }

    #[test]
    fn it_expires_to_the_millisecond_and_is_purged_within_the_hour() {
        let world = World::new();
        let end = NOW + CODE_LIFE.as_millis() as u64;
        let code = world.ask(ALICE, NUMBER);
        assert_eq!(world.give(ALICE, code.digits(), end), Verified::Expired);
        assert_eq!(world.give(ALICE, code.digits(), NOW), Verified::Wrong, "forgotten");
        let code = world.ask(ALICE, NUMBER);
        assert!(matches!(world.give(ALICE, code.digits(), end - 1), Verified::Yes { .. }));
        world.ask(ALICE, NUMBER);
        let hour = NOW + CODE_KEPT.as_millis() as u64;
        assert_eq!(world.0.transact(|tx| purge(tx, hour - 1)), Ok(0));
        assert_eq!(world.0.transact(|tx| purge(tx, hour)), Ok(1));
    }

    #[test]
    fn a_new_code_replaces_the_old_and_a_number_moves_to_whoever_has_it_now() {
        let world = World::new();
        let (old, new) = (world.ask(ALICE, NUMBER), world.ask(ALICE, NUMBER));
        if old.digits() != new.digits() {
            assert_eq!(world.give(ALICE, old.digits(), NOW), Verified::Wrong);
        }
        assert!(matches!(world.give(ALICE, new.digits(), NOW), Verified::Yes { .. }));
        let code = world.ask(BOB, NUMBER);
        let moved = Verified::Yes { number: NUMBER.into(), taken_from: Some(ALICE) };
        assert_eq!(world.give(BOB, code.digits(), NOW), moved);
        assert_eq!((world.number(ALICE), world.number(BOB).as_deref()), (None, Some(NUMBER)));
        // An account has one number.
        let code = world.ask(BOB, "+4915550000002");
        assert!(matches!(world.give(BOB, code.digits(), NOW), Verified::Yes { taken_from: None, .. }));
        assert_eq!(world.number(BOB).as_deref(), Some("+4915550000002"));
    }
}
