//! The statements. Each function is one transaction. What changes a blob locks its row before it looks at anything else of it.

use kuvert_relay::admin::KnownBlob;
use kuvert_relay::blobs::room::{NoRoom, Share, Usage, charge};
use kuvert_relay::blobs::store::{BlobError, BlobGauges, BlobState, Expired, Left, NewBlob, UploadKey};
use kuvert_relay::store::StoreError;
use kuvert_types::{AccountId, BlobHash, BlobId};
use tokio_postgres::Row;

use super::cipher::{KEY_BYTES, RowKey};
use super::objects::name::Piece;
use crate::link::Link;
use crate::outcome::Fault;
use crate::store::column::{account, array, get, signed, unsigned};

/// What a statement came to, or the fault that ended it.
pub type Answer<T> = Result<Result<T, BlobError>, Fault>;

/// The advisory locks of those who make blobs: of the whole store, or of one account's.
const ADMITTING: i32 = 0x4B75_7662;

/// The lock of those who write the keys anew.
pub const REWRITING: i64 = 0x4B75_7663;

/// With the hash of the schema's name, the lock of the one that compares rows with objects: the others leave it at that, so it must not
/// be another store's of the same database.
pub const COLLECTING: i32 = 0x4B75_7664;

/// Gives a transaction up that changed nothing yet, or is not to.
async fn roll_back(link: &Link) -> Result<(), Fault> {
    link.batch("ROLLBACK").await?;
    link.mark_finished();
    Ok(())
}

/// Ends a transaction by what came of it.
async fn end<T>(link: &Link, done: Result<T, BlobError>) -> Answer<T> {
    match done {
        Ok(done) => link.commit().await.map(|()| Ok(done)),
        Err(error) => roll_back(link).await.map(|()| Err(error)),
    }
}

/// Makes a blob with its readers and a key, if the account's share admits it.
pub async fn create(link: &Link, blob: &NewBlob, key: &RowKey, share: &Share, bounded: bool) -> Answer<()> {
    let (id, account) = (&blob.id.as_bytes()[..], &blob.account.as_bytes()[..]);
    link.begin().await?;
    // Two that ask for the last of it wait for each other: for the room that all share, or for the account's own.
    let lock = "SELECT pg_advisory_xact_lock($1, CASE WHEN $2 THEN 0 ELSE hashtext(encode($3, 'hex')) END)";
    link.query(lock, &[&ADMITTING, &bounded, &account]).await?;
    let usage = "SELECT (SELECT coalesce(sum(charged), 0)::int8 FROM blob WHERE account = $1),
        (SELECT count(*) FROM blob WHERE account = $1),
        CASE WHEN $2 THEN (SELECT coalesce(sum(size - durable), 0)::int8 FROM blob WHERE committed_at IS NULL) ELSE 0 END";
    let row = link.query_one(usage, &[&account, &bounded]).await?;
    let usage = || {
        Ok::<_, StoreError>(Usage {
            account_bytes: unsigned(&row, 0)?,
            account_blobs: unsigned(&row, 1)?,
            promised: unsigned(&row, 2)?,
        })
    };
    let charged = charge(blob.size, blob.readers.len());
    let admitted: Result<(), BlobError> = match usage() {
        Ok(usage) => share.admit(&usage, charged).map_err(|refused: NoRoom| refused.into()),
        Err(damaged) => Err(damaged.into()),
    };
    if admitted.is_err() {
        return end(link, admitted).await;
    }
    let insert = "WITH k AS (INSERT INTO blob_key(slot, key) VALUES (nextval('blob_slot'), $8) RETURNING slot),
        b AS (INSERT INTO blob(id, account, token, size, charged, durable, created_at, committed_at, shared, slot, epoch)
            SELECT $1, $2, $3, $4, $5, 0, $6, NULL, $7, slot, 0 FROM k)
        INSERT INTO blob_reader(blob, capability) SELECT $1, unnest($9::bytea[]) ON CONFLICT DO NOTHING";
    let readers: Vec<&[u8]> = blob.readers.iter().map(|reader| &reader[..]).collect();
    link.execute(
        insert,
        &[
            &id,
            &account,
            &&blob.token[..],
            &signed(blob.size),
            &signed(charged),
            &signed(blob.created_at),
            &blob.shared,
            &&key.as_bytes()[..],
            &readers,
        ],
    )
    .await?;
    end(link, Ok(())).await
}

fn state(row: &Row, first: usize) -> Result<BlobState, StoreError> {
    let (size, durable) = (unsigned(row, first)?, unsigned(row, first + 1)?);
    Ok(BlobState { size, durable, committed: get(row, first + 2)? })
}

fn row_key(row: &Row, column: usize) -> Result<RowKey, StoreError> {
    array::<KEY_BYTES>(row, column).map(RowKey::new)
}

fn piece(row: &Row, first: usize) -> Result<Piece, StoreError> {
    let narrow = |number: i32| number.unsigned_abs();
    Ok(Piece {
        number: narrow(get(row, first)?),
        epoch: unsigned(row, first + 1)?,
        length: narrow(get(row, first + 2)?),
    })
}

/// How far an upload is.
pub async fn status(link: &Link, key: &UploadKey) -> Answer<BlobState> {
    let sql = "SELECT size, durable, committed_at IS NOT NULL FROM blob WHERE id = $1 AND account = $2 AND token = $3";
    let UploadKey { id, account, token } = key;
    let row = link.query_opt(sql, &[&&id.as_bytes()[..], &&account.as_bytes()[..], &&token[..]]).await?;
    Ok(row.ok_or(BlobError::Unknown).and_then(|row| Ok(state(&row, 0)?)))
}

/// What a stream has that goes on with an upload.
#[derive(Debug)]
pub struct Turn {
    pub state: BlobState,
    pub epoch: u64,
    pub key: RowKey,
    /// The last piece, where it is a short one: the stream makes it whole.
    pub last: Option<Piece>,
}

/// Takes an upload over: from now on nothing that an older stream notes counts.
pub async fn take_over(link: &Link, key: &UploadKey, piece_bytes: u64) -> Answer<Turn> {
    let UploadKey { id, account, token } = key;
    let id = &id.as_bytes()[..];
    link.begin().await?;
    let sql = "UPDATE blob SET epoch = epoch + 1
        WHERE id = $1 AND account = $2 AND token = $3 AND committed_at IS NULL
        RETURNING size, durable, false, epoch, (SELECT key FROM blob_key WHERE blob_key.slot = blob.slot)";
    let Some(row) = link.query_opt(sql, &[&id, &&account.as_bytes()[..], &&token[..]]).await? else {
        roll_back(link).await?;
        return Ok(status(link, key).await?.and(Err(BlobError::Committed)));
    };
    let last = "SELECT number, epoch, length FROM blob_piece WHERE blob = $1 ORDER BY number DESC LIMIT 1";
    let last = link.query_opt(last, &[&id]).await?;
    let turn = || {
        let last = last.as_ref().map(|row| piece(row, 0)).transpose()?;
        let last = last.filter(|piece| u64::from(piece.length) < piece_bytes);
        Ok(Turn { state: state(&row, 0)?, epoch: unsigned(&row, 3)?, key: row_key(&row, 4)?, last })
    };
    end(link, turn().map_err(|damaged: StoreError| damaged.into())).await
}

/// Notes pieces that a stream has written, if the upload is still its own. The object of one that they replace is to go.
pub async fn note(
    link: &Link,
    id: &BlobId,
    epoch: u64,
    pieces: &[Piece],
    durable: u64,
    replaced: Option<&str>,
) -> Answer<()> {
    let numbers: Vec<i32> = pieces.iter().map(|piece| piece.number.cast_signed()).collect();
    let lengths: Vec<i32> = pieces.iter().map(|piece| piece.length.cast_signed()).collect();
    let id = &id.as_bytes()[..];
    let sql = "WITH b AS (UPDATE blob SET durable = greatest(durable, $3)
            WHERE id = $1 AND epoch = $2 AND committed_at IS NULL RETURNING id),
        g AS (INSERT INTO blob_gone(object) SELECT $6 FROM b WHERE $6::text IS NOT NULL ON CONFLICT DO NOTHING)
        INSERT INTO blob_piece(blob, number, epoch, length)
            SELECT b.id, p.number, $2, p.length FROM b, unnest($4::int4[], $5::int4[]) AS p(number, length)
        ON CONFLICT (blob, number) DO UPDATE SET epoch = excluded.epoch, length = excluded.length";
    if link.execute(sql, &[&id, &signed(epoch), &signed(durable), &numbers, &lengths, &replaced]).await? > 0 {
        return Ok(Ok(()));
    }
    let row = link.query_opt("SELECT committed_at IS NOT NULL FROM blob WHERE id = $1", &[&id]).await?;
    Ok(Err(match row.map(|row| row.get(0)) {
        None => BlobError::Unknown,
        Some(true) => BlobError::Committed,
        Some(false) => BlobError::TakenOver,
    }))
}

/// Locks the row of an upload's blob.
async fn locked(link: &Link, key: &UploadKey) -> Answer<BlobState> {
    let sql = "SELECT size, durable, committed_at IS NOT NULL FROM blob
        WHERE id = $1 AND account = $2 AND token = $3 FOR UPDATE";
    let UploadKey { id, account, token } = key;
    let row = link.query_opt(sql, &[&&id.as_bytes()[..], &&account.as_bytes()[..], &&token[..]]).await?;
    Ok(row.ok_or(BlobError::Unknown).and_then(|row| Ok(state(&row, 0)?)))
}

/// It can be read from now on.
pub async fn commit(link: &Link, key: &UploadKey, now: u64) -> Answer<()> {
    link.begin().await?;
    let may = match locked(link, key).await? {
        Ok(state) if state.committed => Ok(false),
        Ok(state) if state.durable < state.size => Err(BlobError::Offset),
        Ok(_) => Ok(true),
        Err(error) => Err(error),
    };
    if matches!(may, Ok(true)) {
        let sql = "UPDATE blob SET committed_at = $2 WHERE id = $1";
        link.execute(sql, &[&&key.id.as_bytes()[..], &signed(now)]).await?;
    }
    end(link, may.map(drop)).await
}

/// Erases the rows of blobs that are locked. Says which objects are to go.
async fn erase(link: &Link, ids: &[&[u8]]) -> Result<Vec<String>, Fault> {
    let sql = "WITH gone AS (DELETE FROM blob WHERE id = ANY($1) RETURNING slot),
        k AS (DELETE FROM blob_key USING gone WHERE blob_key.slot = gone.slot),
        r AS (DELETE FROM blob_reader WHERE blob = ANY($1)),
        p AS (DELETE FROM blob_piece WHERE blob = ANY($1)
            RETURNING left(encode(blob, 'hex'), 1) || '/' || encode(blob, 'hex') || '-' || number || '-' || epoch || '-' || length
                AS object)
        INSERT INTO blob_gone(object) SELECT object FROM p ON CONFLICT DO NOTHING RETURNING object";
    Ok(link.query(sql, &[&ids]).await?.iter().map(|row| row.get(0)).collect())
}

/// What was erased.
#[derive(Debug, Default)]
pub struct Erased {
    pub ids: Vec<BlobId>,
    /// Objects that are to go.
    pub objects: Vec<String>,
}

/// Erases what a query finds, which locks it.
async fn erase_found(link: &Link, rows: &[Row]) -> Answer<Erased> {
    let ids: Result<Vec<BlobId>, StoreError> = rows.iter().map(|row| array(row, 0).map(BlobId::from_bytes)).collect();
    let ids = match ids {
        Ok(ids) => ids,
        Err(damaged) => return Ok(Err(damaged.into())),
    };
    let raw: Vec<&[u8]> = ids.iter().map(|id| &id.as_bytes()[..]).collect();
    let objects = if raw.is_empty() { Vec::new() } else { erase(link, &raw).await? };
    Ok(Ok(Erased { ids, objects }))
}

/// Takes readers off a locked blob, and erases it if none is left.
async fn take_off(link: &Link, id: &BlobId, readers: &[&[u8]]) -> Result<(u64, Left, Erased), Fault> {
    let raw = &id.as_bytes()[..];
    let sql = "DELETE FROM blob_reader WHERE blob = $1 AND capability = ANY($2)";
    let taken = link.execute(sql, &[&raw, &readers]).await?;
    if link.query_opt("SELECT FROM blob_reader WHERE blob = $1 LIMIT 1", &[&raw]).await?.is_some() {
        return Ok((taken, Left::Readers, Erased::default()));
    }
    let objects = erase(link, &[raw]).await?;
    Ok((taken, Left::Nothing, Erased { ids: vec![*id], objects }))
}

/// Erases an upload or a blob, or takes readers off it.
pub async fn discard(link: &Link, key: &UploadKey, readers: &[BlobHash]) -> Answer<Erased> {
    link.begin().await?;
    if let Err(error) = locked(link, key).await? {
        return end(link, Err(error)).await;
    }
    let erased = if readers.is_empty() {
        Erased { ids: vec![key.id], objects: erase(link, &[&key.id.as_bytes()[..]]).await? }
    } else {
        let readers: Vec<&[u8]> = readers.iter().map(|reader| &reader[..]).collect();
        take_off(link, &key.id, &readers).await?.2
    };
    end(link, Ok(erased)).await
}

/// A reader has all of it.
pub async fn done(link: &Link, id: &BlobId, capability: &BlobHash) -> Answer<(Left, Erased)> {
    let raw = &id.as_bytes()[..];
    link.begin().await?;
    let found = "SELECT committed_at IS NOT NULL, shared FROM blob WHERE id = $1 FOR UPDATE";
    let Some(row) = link.query_opt(found, &[&raw]).await? else { return end(link, Err(BlobError::Unknown)).await };
    // In a statement of its own: it sees what was done while the lock was waited for.
    let reader = "SELECT FROM blob_reader WHERE blob = $1 AND capability = $2";
    if link.query_opt(reader, &[&raw, &&capability[..]]).await?.is_none() {
        return end(link, Err(BlobError::Unknown)).await;
    }
    match (row.get(0), row.get(1)) {
        (false, _) => end(link, Err(BlobError::NotCommitted)).await,
        (true, true) => end(link, Ok((Left::Shared, Erased::default()))).await,
        (true, false) => {
            let (_, left, erased) = take_off(link, id, &[&capability[..]]).await?;
            end(link, Ok((left, erased))).await
        }
    }
}

/// A blob that a reader opens.
#[derive(Debug)]
pub struct Opened {
    pub state: BlobState,
    pub key: RowKey,
    /// In their order.
    pub pieces: Vec<Piece>,
}

/// The blob that a reader may read.
pub async fn read(link: &Link, id: &BlobId, capability: &BlobHash) -> Answer<Opened> {
    let raw = &id.as_bytes()[..];
    let sql = "SELECT b.size, b.durable, b.committed_at IS NOT NULL, k.key
        FROM blob b JOIN blob_reader r ON r.blob = b.id JOIN blob_key k ON k.slot = b.slot
        WHERE b.id = $1 AND r.capability = $2";
    let Some(row) = link.query_opt(sql, &[&raw, &&capability[..]]).await? else { return Ok(Err(BlobError::Unknown)) };
    let pieces = "SELECT number, epoch, length FROM blob_piece WHERE blob = $1 ORDER BY number";
    let pieces = link.query(pieces, &[&raw]).await?;
    let opened = || {
        let pieces = pieces.iter().map(|row| piece(row, 0)).collect::<Result<_, _>>()?;
        Ok::<_, StoreError>(Opened { state: state(&row, 0)?, key: row_key(&row, 3)?, pieces })
    };
    Ok(match opened() {
        Ok(opened) if !opened.state.committed => Err(BlobError::NotCommitted),
        opened => opened.map_err(BlobError::from),
    })
}

/// Whether a blob was not erased.
pub async fn is_there(link: &Link, id: &BlobId) -> Result<bool, Fault> {
    Ok(link.query_opt("SELECT FROM blob WHERE id = $1", &[&&id.as_bytes()[..]]).await?.is_some())
}

/// Erases what an account uploaded.
pub async fn delete_account(link: &Link, account: &AccountId) -> Answer<Erased> {
    link.begin().await?;
    let sql = "SELECT id FROM blob WHERE account = $1 ORDER BY id FOR UPDATE";
    let rows = link.query(sql, &[&&account.as_bytes()[..]]).await?;
    let erased = erase_found(link, &rows).await?;
    end(link, erased).await
}

/// Erases so many of what had its time. What another node is erasing is passed over.
pub async fn expire(link: &Link, uploads_before: u64, before: u64, limit: usize) -> Answer<(Expired, Erased)> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    link.begin().await?;
    let uploads = "SELECT id FROM blob WHERE committed_at IS NULL AND created_at < $1 LIMIT $2 FOR UPDATE SKIP LOCKED";
    let mut rows = link.query(uploads, &[&signed(uploads_before), &limit]).await?;
    let uploads = rows.len() as u64;
    let blobs = "SELECT id FROM blob WHERE committed_at < $1 LIMIT $2 FOR UPDATE SKIP LOCKED";
    rows.extend(link.query(blobs, &[&signed(before), &limit]).await?);
    let blobs = rows.len() as u64 - uploads;
    let erased = erase_found(link, &rows).await?;
    end(link, erased.map(|erased| (Expired { uploads, blobs }, erased))).await
}

/// Erases these.
pub async fn erase_these(link: &Link, ids: &[BlobId]) -> Answer<Erased> {
    let raw: Vec<&[u8]> = ids.iter().map(|id| &id.as_bytes()[..]).collect();
    link.begin().await?;
    let rows = link.query("SELECT id FROM blob WHERE id = ANY($1) ORDER BY id FOR UPDATE", &[&raw]).await?;
    let erased = erase_found(link, &rows).await?;
    end(link, erased).await
}

/// So many objects that are still to be deleted.
pub async fn gone(link: &Link, limit: i64) -> Result<Vec<String>, Fault> {
    let rows = link.query("SELECT object FROM blob_gone LIMIT $1", &[&limit]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// These were deleted.
pub async fn forget_gone(link: &Link, objects: &[String]) -> Result<(), Fault> {
    link.execute("DELETE FROM blob_gone WHERE object = ANY($1)", &[&objects]).await.map(drop)
}

/// The names of the blobs of a folder: from the first on, and before the second.
fn range(folder: u8) -> (Vec<u8>, Option<Vec<u8>>) {
    (vec![folder << 4], (folder < 0xF).then(|| vec![(folder + 1) << 4]))
}

/// The pieces of all blobs of a folder.
pub async fn pieces(link: &Link, folder: u8) -> Answer<Vec<(BlobId, Piece)>> {
    let (from, to) = range(folder);
    let sql =
        "SELECT blob, number, epoch, length FROM blob_piece WHERE blob >= $1 AND ($2::bytea IS NULL OR blob < $2)";
    let rows = link.query(sql, &[&from, &to]).await?;
    let found = |row: &Row| Ok::<_, StoreError>((array(row, 0).map(BlobId::from_bytes)?, piece(row, 1)?));
    Ok(rows.iter().map(found).collect::<Result<_, _>>().map_err(BlobError::from))
}

/// The blobs of a folder, each with its epoch while it is an upload.
pub async fn uploads(link: &Link, folder: u8) -> Answer<Vec<(BlobId, Option<u64>)>> {
    let (from, to) = range(folder);
    let sql = "SELECT id, CASE WHEN committed_at IS NULL THEN epoch END FROM blob
        WHERE id >= $1 AND ($2::bytea IS NULL OR id < $2)";
    let rows = link.query(sql, &[&from, &to]).await?;
    let found = |row: &Row| {
        let epoch: Option<i64> = get(row, 1)?;
        Ok::<_, StoreError>((array(row, 0).map(BlobId::from_bytes)?, epoch.map(i64::unsigned_abs)))
    };
    Ok(rows.iter().map(found).collect::<Result<_, _>>().map_err(BlobError::from))
}

/// What there is.
pub async fn gauges(link: &Link) -> Answer<BlobGauges> {
    let sql =
        "SELECT count(committed_at), coalesce(sum(size) FILTER (WHERE committed_at IS NOT NULL), 0)::int8, count(*)
        FROM blob";
    let row = link.query_one(sql, &[]).await?;
    let gauges = || {
        let (blobs, bytes, all) = (unsigned(&row, 0)?, unsigned(&row, 1)?, unsigned(&row, 2)?);
        Ok(BlobGauges { blobs, bytes, uploads: all - blobs })
    };
    Ok(gauges().map_err(|damaged: StoreError| damaged.into()))
}

/// Every blob, in the order in which they began.
pub async fn all(link: &Link) -> Answer<Vec<KnownBlob>> {
    let sql = "SELECT id, account, size, durable, created_at, committed_at, shared,
            (SELECT count(*) FROM blob_reader WHERE blob = id) FROM blob ORDER BY created_at, id";
    let rows = link.query(sql, &[]).await?;
    let known = |row: &Row| {
        Ok(KnownBlob {
            id: array(row, 0).map(BlobId::from_bytes)?,
            account: account(row, 1)?,
            size: unsigned(row, 2)?,
            durable: unsigned(row, 3)?,
            created_at: unsigned(row, 4)?,
            committed_at: get::<Option<i64>>(row, 5)?.map(i64::unsigned_abs),
            shared: get(row, 6)?,
            readers: unsigned(row, 7)?,
        })
    };
    Ok(rows.iter().map(known).collect::<Result<_, StoreError>>().map_err(BlobError::from))
}

/// The number that tells this store's objects from another store's; whether bytes of blobs are among them.
pub async fn mark(link: &Link, new: i64) -> Result<(i64, bool), Fault> {
    let sql =
        "INSERT INTO counter(name, value) VALUES ('files', $1) ON CONFLICT (name) DO UPDATE SET name = counter.name
        RETURNING value, EXISTS (SELECT FROM blob_piece)";
    let row = link.query_one(sql, &[&new]).await?;
    Ok((row.get(0), row.get(1)))
}

/// Writes the table of keys anew, without what deleted ones left in its pages.
pub async fn rewrite_keys(link: &Link) -> Result<(), Fault> {
    link.begin().await?;
    link.execute("SELECT pg_advisory_xact_lock($1)", &[&REWRITING]).await?;
    link.batch(
        "LOCK TABLE blob_key IN SHARE ROW EXCLUSIVE MODE; CREATE TABLE blob_key_new (LIKE blob_key);
        INSERT INTO blob_key_new SELECT * FROM blob_key;
        ALTER TABLE blob_key_new SET (autovacuum_enabled = off);
        DROP TABLE blob_key;
        ALTER TABLE blob_key_new ADD CONSTRAINT blob_key_pkey PRIMARY KEY (slot);
        ALTER TABLE blob_key_new RENAME TO blob_key; ANALYZE blob_key",
    )
    .await?;
    link.commit().await
}
