//! The statements. Each function is one transaction or part of one.

use kuvert_relay::blobs::room::{Usage, charge};
use kuvert_relay::blobs::store::{BlobGauges, BlobState, Left, NewBlob, UploadKey};
use kuvert_types::{AccountId, BlobHash, BlobId};
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

use super::cipher::{KEY_BYTES, RowKey};
use super::look::KnownBlob;
use crate::store::column::{account, signed, unsigned};

/// What stands of a blob, without its readers and its key.
#[derive(Clone, Copy, Debug)]
pub struct Found {
    pub state: BlobState,
    pub shared: bool,
    slot: i64,
}

const FOUND: &str = "size, durable, committed_at IS NOT NULL, shared, slot";

fn found(row: &Row<'_>, first: usize) -> rusqlite::Result<Found> {
    let state =
        BlobState { size: unsigned(row, first)?, durable: unsigned(row, first + 1)?, committed: row.get(first + 2)? };
    Ok(Found { state, shared: row.get(first + 3)?, slot: row.get(first + 4)? })
}

/// What is taken of the room that `account` asks for.
pub fn usage(tx: &Transaction<'_>, account: &AccountId) -> rusqlite::Result<Usage> {
    let sql = "SELECT coalesce(sum(charged), 0), count(*) FROM blob WHERE account = ?1";
    let (account_bytes, account_blobs) =
        tx.prepare_cached(sql)?.query_row([account.as_bytes()], |row| Ok((unsigned(row, 0)?, unsigned(row, 1)?)))?;
    let sql = "SELECT coalesce(sum(size - durable), 0) FROM blob WHERE committed_at IS NULL";
    let promised = tx.prepare_cached(sql)?.query_row([], |row| unsigned(row, 0))?;
    Ok(Usage { account_bytes, account_blobs, promised })
}

/// Puts a blob down with its readers and a key. Its slot is a new one: those of erased keys go with the next writing anew.
pub fn insert(tx: &Transaction<'_>, blob: &NewBlob, key: &RowKey) -> rusqlite::Result<()> {
    tx.prepare_cached("INSERT INTO blob_key(key) VALUES(?1)")?.execute([key.as_bytes()])?;
    let slot = tx.last_insert_rowid();
    tx.prepare_cached(
        "INSERT INTO blob(id, account, token, size, charged, durable, created_at, committed_at, shared, slot)
         VALUES(?1, ?2, ?3, ?4, ?5, 0, ?6, NULL, ?7, ?8)",
    )?
    .execute(params![
        blob.id.as_bytes(),
        blob.account.as_bytes(),
        blob.token,
        signed(blob.size),
        signed(charge(blob.size, blob.readers.len())),
        signed(blob.created_at),
        blob.shared,
        slot,
    ])?;
    let mut reader = tx.prepare_cached("INSERT OR IGNORE INTO blob_reader(blob, capability) VALUES(?1, ?2)")?;
    for capability in &blob.readers {
        reader.execute(params![blob.id.as_bytes(), capability])?;
    }
    Ok(())
}

/// The blob of an upload's key.
pub fn by_token(connection: &Connection, key: &UploadKey) -> rusqlite::Result<Option<Found>> {
    let sql = format!("SELECT {FOUND} FROM blob WHERE id = ?1 AND account = ?2 AND token = ?3");
    connection
        .prepare_cached(&sql)?
        .query_row(params![key.id.as_bytes(), key.account.as_bytes(), key.token], |row| found(row, 0))
        .optional()
}

/// The blob that a reader may read.
pub fn by_capability(connection: &Connection, id: &BlobId, capability: &BlobHash) -> rusqlite::Result<Option<Found>> {
    let sql = format!(
        "SELECT {FOUND} FROM blob JOIN blob_reader ON blob_reader.blob = blob.id WHERE id = ?1 AND capability = ?2"
    );
    connection.prepare_cached(&sql)?.query_row(params![id.as_bytes(), capability], |row| found(row, 0)).optional()
}

/// The key of a blob's file.
pub fn key(connection: &Connection, found: &Found) -> rusqlite::Result<RowKey> {
    let sql = "SELECT key FROM blob_key WHERE slot = ?1";
    connection.prepare_cached(sql)?.query_row([found.slot], |row| row.get::<_, [u8; KEY_BYTES]>(0).map(RowKey::new))
}

/// More of an upload is on the disk.
pub fn set_durable(tx: &Transaction<'_>, id: &BlobId, durable: u64) -> rusqlite::Result<()> {
    let sql = "UPDATE blob SET durable = max(durable, ?2) WHERE id = ?1";
    tx.prepare_cached(sql)?.execute(params![id.as_bytes(), signed(durable)]).map(drop)
}

/// It can be read from now on.
pub fn set_committed(tx: &Transaction<'_>, id: &BlobId, now: u64) -> rusqlite::Result<()> {
    let sql = "UPDATE blob SET committed_at = coalesce(committed_at, ?2) WHERE id = ?1";
    tx.prepare_cached(sql)?.execute(params![id.as_bytes(), signed(now)]).map(drop)
}

/// Takes a reader off a blob, and says what is left. Erases the rows of the blob if that is nothing.
pub fn remove_reader(tx: &Transaction<'_>, id: &BlobId, capability: &BlobHash) -> rusqlite::Result<Left> {
    let sql = "DELETE FROM blob_reader WHERE blob = ?1 AND capability = ?2";
    tx.prepare_cached(sql)?.execute(params![id.as_bytes(), capability])?;
    if tx.prepare_cached("SELECT 1 FROM blob_reader WHERE blob = ?1")?.exists([id.as_bytes()])? {
        return Ok(Left::Readers);
    }
    erase(tx, id)?;
    Ok(Left::Nothing)
}

/// Erases the rows of a blob: the key is overwritten where it stands.
pub fn erase(tx: &Transaction<'_>, id: &BlobId) -> rusqlite::Result<()> {
    let sql = "UPDATE blob_key SET key = zeroblob(32) WHERE slot = (SELECT slot FROM blob WHERE id = ?1)";
    tx.prepare_cached(sql)?.execute([id.as_bytes()])?;
    tx.prepare_cached("DELETE FROM blob_reader WHERE blob = ?1")?.execute([id.as_bytes()])?;
    tx.prepare_cached("DELETE FROM blob WHERE id = ?1")?.execute([id.as_bytes()]).map(drop)
}

/// The blobs of an account.
pub fn of_account(tx: &Transaction<'_>, account: &AccountId) -> rusqlite::Result<Vec<BlobId>> {
    let mut statement = tx.prepare_cached("SELECT id FROM blob WHERE account = ?1")?;
    statement.query_map([account.as_bytes()], |row| id(row, 0))?.collect()
}

/// Uploads that began before a time and are not committed.
pub fn old_uploads(tx: &Transaction<'_>, before: u64, limit: usize) -> rusqlite::Result<Vec<BlobId>> {
    let sql = "SELECT id FROM blob WHERE committed_at IS NULL AND created_at < ?1 LIMIT ?2";
    tx.prepare_cached(sql)?.query_map(params![signed(before), limit as i64], |row| id(row, 0))?.collect()
}

/// Blobs that were committed before a time.
pub fn old_blobs(tx: &Transaction<'_>, before: u64, limit: usize) -> rusqlite::Result<Vec<BlobId>> {
    let sql = "SELECT id FROM blob WHERE committed_at < ?1 LIMIT ?2";
    tx.prepare_cached(sql)?.query_map(params![signed(before), limit as i64], |row| id(row, 0))?.collect()
}

/// Every blob, and the bytes of it that its file has to have.
pub fn promised(connection: &Connection) -> rusqlite::Result<Vec<(BlobId, u64)>> {
    let mut statement = connection.prepare_cached("SELECT id, durable FROM blob")?;
    statement.query_map([], |row| Ok((id(row, 0)?, unsigned(row, 1)?)))?.collect()
}

/// The blobs that can be read.
pub fn committed(connection: &Connection) -> rusqlite::Result<Vec<BlobId>> {
    let mut statement = connection.prepare("SELECT id FROM blob WHERE committed_at IS NOT NULL")?;
    statement.query_map([], |row| id(row, 0))?.collect()
}

/// So many blobs, the oldest first.
pub fn all(connection: &Connection, limit: usize) -> rusqlite::Result<Vec<KnownBlob>> {
    let sql = "SELECT id, account, size, durable, created_at, committed_at, shared,
                   (SELECT count(*) FROM blob_reader WHERE blob = id) FROM blob ORDER BY created_at, id LIMIT ?1";
    let blob = |row: &Row<'_>| {
        Ok(KnownBlob {
            id: id(row, 0)?,
            account: account(row, 1)?,
            size: unsigned(row, 2)?,
            durable: unsigned(row, 3)?,
            created_at: unsigned(row, 4)?,
            committed_at: row.get::<_, Option<i64>>(5)?.map(i64::unsigned_abs),
            shared: row.get(6)?,
            readers: unsigned(row, 7)?,
        })
    };
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    connection.prepare(sql)?.query_map([limit], blob)?.collect()
}

/// Whether there is such a blob.
pub fn exists(connection: &Connection, id: &BlobId) -> rusqlite::Result<bool> {
    connection.prepare_cached("SELECT 1 FROM blob WHERE id = ?1")?.exists([id.as_bytes()])
}

/// What there is.
pub fn gauges(connection: &Connection) -> rusqlite::Result<BlobGauges> {
    let sql = "SELECT count(committed_at), coalesce(sum(iif(committed_at IS NULL, 0, size)), 0), count(*) FROM blob";
    connection.prepare_cached(sql)?.query_row([], |row| {
        let (blobs, bytes, all) = (unsigned(row, 0)?, unsigned(row, 1)?, unsigned(row, 2)?);
        Ok(BlobGauges { blobs, bytes, uploads: all - blobs })
    })
}

/// Deletes the slots of erased keys. SQLite may move keys together, and leave copies: the whole file is written anew right after.
pub fn drop_erased_slots(tx: &Transaction<'_>) -> rusqlite::Result<usize> {
    tx.prepare_cached("DELETE FROM blob_key WHERE key = zeroblob(32)")?.execute([])
}

fn id(row: &Row<'_>, column: usize) -> rusqlite::Result<BlobId> {
    row.get(column).map(BlobId::from_bytes)
}
