//! Tables and their versions. The list of steps is our own: it is some lines long, where a library for migrations would bring
//! several dozen crates and its own table beside ours.
//!
//! Steps run under an advisory lock, so that two programs that migrate at once do not meet, each in a transaction of its own.

use std::collections::BTreeSet;

use kuvert_privacy::registry::fields::people::RIGHTS;
use kuvert_privacy::registry::{self, Field, Mismatch, Place};

use crate::link::Link;
use crate::outcome::Fault;

/// Step `n` leads from version `n` to `n + 1`. Steps that were released are never edited.
const MIGRATIONS: &[&str] = &[
    include_str!("schema/v1.sql"),
    include_str!("schema/v2.sql"),
    include_str!("schema/v3.sql"),
    include_str!("schema/v4.sql"),
];

/// The version that this program writes.
pub const VERSION: i64 = MIGRATIONS.len() as i64;

/// "Kuvr", as in the files of the embedded backend: the advisory lock of those who migrate.
const MIGRATING: i64 = 0x4B75_7672;

/// The lock of a relay that serves alone, with the hash of the schema's name.
pub const SERVING: i32 = 0x4B75_7673;

/// The oldest server that this is tested with, as it numbers itself.
const OLDEST_SERVER: i32 = 150_000;

/// Why a store cannot be used. Every message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Its address is wrong.
    #[error(transparent)]
    Settings(#[from] crate::settings::SettingsError),
    /// No server answers, or it refuses.
    #[error("cannot reach the store ({0}): check its address, its user's rights and that PostgreSQL runs")]
    Unreachable(String),
    /// It has no tables yet.
    #[error("the store has no tables yet: run `kuvert-relay migrate` on it once")]
    Empty,
    /// An earlier program wrote it.
    #[error("the store has format {found}, this program writes {VERSION}: run `kuvert-relay migrate` on it once")]
    Older {
        /// Its version.
        found: i64,
    },
    /// A later program wrote it.
    #[error("the store has format {found}, this program knows up to {VERSION}: use a newer program")]
    Newer {
        /// Its version.
        found: i64,
    },
    /// There are tables that are not ours.
    #[error("the database holds other tables than a relay's: make an empty database for the relay")]
    Foreign,
    /// Its columns are not those that the registry tells of.
    #[error("the store: {0}")]
    Unregistered(Mismatch),
    /// The server is too old.
    #[error("the server is PostgreSQL {}, and the relay needs 15 or later", .0 / 10_000)]
    Server(i32),
    /// Another relay serves it.
    #[error("another relay serves this store: stop it, or make both nodes of one cluster with [cluster]")]
    Served,
    /// It is a group of another store's.
    #[error("this is one group of a store that has several: name the first one with --store")]
    NotHome,
    /// The system gives no threads.
    #[error("cannot start threads: {0}")]
    Threads(std::io::Error),
}

impl From<Fault> for OpenError {
    fn from(fault: Fault) -> Self {
        Self::Unreachable(fault.words)
    }
}

/// What there is.
async fn found(link: &Link) -> Result<i64, OpenError> {
    let server = link.query_one("SELECT current_setting('server_version_num')::int4", &[]).await?.get(0);
    if server < OLDEST_SERVER {
        return Err(OpenError::Server(server));
    }
    let present = "SELECT to_regclass('kuvert_schema') IS NOT NULL,
        EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                WHERE n.nspname = current_schema() AND c.relkind IN ('r', 'p', 'v'))";
    let row = link.query_one(present, &[]).await?;
    match (row.get(0), row.get(1)) {
        (true, _) => {
            let row = link.query_opt("SELECT version FROM kuvert_schema", &[]).await?;
            row.map(|row| row.get(0)).ok_or(OpenError::Foreign)
        }
        (false, true) => Err(OpenError::Foreign),
        (false, false) => Ok(0),
    }
}

/// Looks whether this program can serve the store as it is.
///
/// # Errors
/// It cannot; see [`OpenError`].
pub async fn check(link: &Link) -> Result<(), OpenError> {
    match found(link).await? {
        0 => return Err(OpenError::Empty),
        found if found < VERSION => return Err(OpenError::Older { found }),
        found if found > VERSION => return Err(OpenError::Newer { found }),
        _ => {}
    }
    check_registered(link).await
}

/// The entries of what is stored here: the tables of the embedded backend's three databases but for SQLite's own, and what is beside
/// them.
pub(crate) fn told() -> impl Iterator<Item = &'static Field> {
    let people = RIGHTS.iter().copied().flatten();
    let database = registry::of(Place::Database).filter(|field| field.table != "sqlite_sequence");
    database.chain(people).chain(registry::of(Place::Blobs)).chain(registry::of(Place::Group))
}

/// A column without an entry is not stored.
async fn check_registered(link: &Link) -> Result<(), OpenError> {
    // Partitions have the columns of what they are parts of.
    let sql = "SELECT c.relname::text, a.attname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
            JOIN pg_attribute a ON a.attrelid = c.oid
        WHERE n.nspname = current_schema() AND c.relkind IN ('r', 'p') AND NOT c.relispartition AND a.attnum > 0
            AND NOT a.attisdropped";
    let rows = link.query(sql, &[]).await?;
    let columns: BTreeSet<(String, String)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    registry::check_against(told(), Place::Group, &columns).map_err(OpenError::Unregistered)
}

/// After a backup was restored: what was handed out since must not be handed out again. All one-time prekeys go, and every slot's
/// cursors begin far beyond those that may have been given out. No relay may serve the store meanwhile.
///
/// # Errors
/// It cannot be written.
pub async fn after_restore(link: &Link) -> Result<(), OpenError> {
    /// A lane sets 2^32 cursors aside whenever it begins: these are as many as 262,144 beginnings since the backup set aside.
    const SKIPPED: i64 = 1 << 50;
    /// More streams than ever go on with one upload in its day.
    const SKIPPED_EPOCHS: i64 = 1 << 32;
    check(link).await?;
    link.begin().await?;
    link.batch(
        "DELETE FROM one_time_prekey; DELETE FROM presence; UPDATE writer SET epoch = epoch + 1;
        UPDATE node SET epoch = epoch + 1; UPDATE slot_group SET epoch = epoch + 1",
    )
    .await?;
    // A stream that goes on with an upload must not have an epoch that another one had since.
    link.execute("UPDATE blob SET epoch = epoch + $1", &[&SKIPPED_EPOCHS]).await?;
    link.execute("UPDATE lease SET epoch = epoch + 1, next_cursor = next_cursor + $1", &[&SKIPPED]).await?;
    link.execute("UPDATE moving SET epoch = epoch + 1, next_cursor = next_cursor + $1 WHERE sealed", &[&SKIPPED])
        .await?;
    link.commit().await?;
    Ok(())
}

/// Brings the tables to the version that this program writes, or leaves them as they are. Says from which version on.
///
/// # Errors
/// They are not ours, newer, or cannot be changed. What was begun is taken back.
pub async fn migrate(link: &Link) -> Result<i64, OpenError> {
    link.execute("SELECT pg_advisory_lock($1)", &[&MIGRATING]).await?;
    let from = found(link).await?;
    if from > VERSION {
        return Err(OpenError::Newer { found: from });
    }
    for (step, sql) in (0..).zip(MIGRATIONS).skip_while(|(step, _)| *step < from) {
        let version: i64 = step + 1;
        link.begin().await?;
        if step == 0 {
            link.batch("CREATE TABLE kuvert_schema(version int8 NOT NULL); INSERT INTO kuvert_schema VALUES (0)")
                .await?;
        }
        link.batch(sql).await?;
        link.execute("UPDATE kuvert_schema SET version = $1", &[&version]).await?;
        link.commit().await?;
    }
    link.execute("SELECT pg_advisory_unlock($1)", &[&MIGRATING]).await?;
    Ok(from)
}
