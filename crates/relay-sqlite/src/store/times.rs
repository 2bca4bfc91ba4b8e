//! How far the relay's time has come: three counters, which older programs leave alone.

use kuvert_relay::store::{Doubt, KnownTime, Times};
use rusqlite::{Connection, OptionalExtension};

use super::column::{signed, unsigned};

/// Unix milliseconds.
const KNOWN: &str = "known_time";

/// By how many milliseconds the clock is ahead of that; not there: it is not in doubt.
const DOUBT: &str = "clock_step";

/// For how many milliseconds the relay has run so.
const RAN: &str = "clock_step_ran";

/// Runs within the writer's transaction.
pub fn note(connection: &Connection, known: &KnownTime) -> rusqlite::Result<()> {
    let mut set = connection.prepare_cached("INSERT OR REPLACE INTO counter(name, value) VALUES(?1, ?2)")?;
    set.execute((KNOWN, signed(known.at)))?;
    match known.doubt {
        Some(doubt) => {
            set.execute((DOUBT, doubt.step_ms))?;
            set.execute((RAN, signed(doubt.ran_ms)))?;
        }
        None => {
            connection.prepare_cached("DELETE FROM counter WHERE name IN (?1, ?2)")?.execute((DOUBT, RAN))?;
        }
    }
    Ok(())
}

/// Without the envelopes: what there is of them is known when the store is opened.
pub fn read(connection: &Connection) -> rusqlite::Result<Times> {
    let counter = |name: &str| {
        let mut select = connection.prepare_cached("SELECT value FROM counter WHERE name = ?1")?;
        select.query_row([name], |row| row.get::<_, i64>(0)).optional()
    };
    let newest = connection.query_row("SELECT max(registered_at) FROM account", [], |row| {
        Ok(row.get::<_, Option<i64>>(0)?.map(i64::unsigned_abs))
    })?;
    let mut doubt = None;
    if let Some(step_ms) = counter(DOUBT)? {
        doubt = Some(Doubt { step_ms, ran_ms: counter(RAN)?.unwrap_or_default().unsigned_abs() });
    }
    Ok(Times { known: known(connection)?.map(|at| KnownTime { at, doubt }), newest })
}

/// How far the relay's time has come, Unix milliseconds.
pub fn known(connection: &Connection) -> rusqlite::Result<Option<u64>> {
    let mut select = connection.prepare_cached("SELECT value FROM counter WHERE name = ?1")?;
    select.query_row([KNOWN], |row| unsigned(row, 0)).optional()
}
