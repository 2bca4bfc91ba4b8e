//! The parts of `envelope`, one for a day of arrival, so that what is old goes as a whole.
//!
//! A part is made when mail of its day comes first. Mail of a day for which none can be made any more, because the clock is far off or
//! because there are too many, is kept in the part for the rest. That changes nothing but how it is deleted.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use kuvert_relay::mailbox::MS_PER_DAY;

use crate::link::Pool;
use crate::outcome::Fault;

/// Parts that there may be: a month of mail, and what a clock that jumps leaves.
const MAX_PARTS: usize = 64;

/// Among the advisory locks: those who make or drop parts.
const PARTS: i64 = 0x4B75_7674;

/// The days whose part is known to be there, or known to be kept with the rest.
#[derive(Debug, Default)]
pub struct Days(Mutex<HashSet<i32>>);

/// The day of a time of arrival.
pub fn of(accepted_at: u64) -> i32 {
    i32::try_from(accepted_at / MS_PER_DAY).unwrap_or(i32::MAX)
}

impl Days {
    /// Sees to it that mail of these days can be stored. Costs nothing where that was seen to before.
    ///
    /// # Errors
    /// The servers cannot be reached, or a lock was not to be had in time.
    pub async fn prepare(&self, pool: &Pool, days: impl Iterator<Item = i32>) -> Result<(), Fault> {
        for day in days {
            if !self.known().contains(&day) {
                make(pool, day).await?;
                let mut known = self.known();
                if known.len() >= 2 * MAX_PARTS {
                    known.clear();
                }
                known.insert(day);
            }
        }
        Ok(())
    }

    /// Parts were dropped.
    pub fn forget(&self) {
        self.known().clear();
    }

    fn known(&self) -> std::sync::MutexGuard<'_, HashSet<i32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn make(pool: &Pool, day: i32) -> Result<(), Fault> {
    let Some(next) = day.checked_add(1) else { return Ok(()) };
    let link = pool.lend().await?;
    link.begin().await?;
    link.execute("SELECT pg_advisory_xact_lock($1)", &[&PARTS]).await?;
    let name = name(day);
    let sql =
        "SELECT to_regclass($1) IS NOT NULL, (SELECT count(*) FROM pg_inherits WHERE inhparent = 'envelope'::regclass)";
    let row = link.query_one(sql, &[&name]).await?;
    let (there, parts): (bool, i64) = (row.get(0), row.get(1));
    let rest = "SELECT EXISTS (SELECT FROM envelope_rest WHERE day = $1)";
    if !there && parts < MAX_PARTS as i64 && !link.query_one(rest, &[&day]).await?.get::<_, bool>(0) {
        // Attaching locks less than making it in its place would. That no row of the rest belongs to it is looked for again
        // under the lock; the search is over a part that is as good as empty.
        link.batch(&format!(
            "CREATE TABLE {name} (LIKE envelope INCLUDING STORAGE);
            CREATE INDEX {name}_accepted_at ON {name} USING brin (accepted_at) WITH (autosummarize = on);
            ALTER TABLE envelope ATTACH PARTITION {name} FOR VALUES FROM ({day}) TO ({next})"
        ))
        .await?;
    }
    link.commit().await
}

fn name(day: i32) -> String {
    format!("envelope_{day}")
}

/// Drops the parts of days before this one that hold nothing. Says whether there were any.
///
/// # Errors
/// The servers cannot be reached, or a lock was not to be had in time: they stay until the next time.
pub async fn drop_empty(pool: &Pool, before: i32) -> Result<bool, Fault> {
    let link = pool.lend().await?;
    let sql = "SELECT c.relname::text FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
        WHERE i.inhparent = 'envelope'::regclass AND c.relname <> 'envelope_rest'
            AND substr(c.relname::text, 10)::int4 < $1";
    let old: Vec<String> = link.query(sql, &[&before]).await?.iter().map(|row| row.get(0)).collect();
    let mut dropped = false;
    for name in old {
        let look = format!("SELECT EXISTS (SELECT FROM {name})");
        if link.query_once(&look, &[]).await?.iter().any(|row| row.get(0)) {
            continue;
        }
        link.begin().await?;
        link.execute("SELECT pg_advisory_xact_lock($1)", &[&PARTS]).await?;
        link.batch("SET LOCAL lock_timeout = '1s'").await?;
        // First the lock, then the look: no row comes in between.
        link.batch(&format!(
            "LOCK TABLE envelope IN ACCESS EXCLUSIVE MODE; LOCK TABLE {name} IN ACCESS EXCLUSIVE MODE"
        ))
        .await?;
        let empty = format!(
            "DO $$ BEGIN IF NOT EXISTS (SELECT FROM {name}) THEN
                ALTER TABLE envelope DETACH PARTITION {name}; DROP TABLE {name};
            END IF; END $$"
        );
        link.batch(&empty).await?;
        link.commit().await?;
        dropped = true;
    }
    Ok(dropped)
}
