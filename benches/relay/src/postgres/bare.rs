//! A client that writes the rows of the relay's store into tables like its own, over as many connections, in batches as large, with
//! the same fence: without accounts, quotas, encryption, sessions, retries, or a look at what waits. What the store reaches of
//! it is what the servers allow.

use std::sync::Arc;

use kuvert_relay_postgres::link::{Door, Link};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::sync::oneshot;

use crate::Outcome;
use crate::plan::Random;

/// Rows of a batch, as in the store.
const MAX_BATCH: usize = 256;

/// The day that all rows are kept under.
const DAY: i32 = 20_000;

/// The store's statement.
const INSERT: &str = "
    WITH f AS MATERIALIZED (SELECT 1 FROM writer WHERE id = $11 AND epoch = $12 FOR SHARE),
    i AS MATERIALIZED (
        SELECT i.* FROM unnest($1::int2[], $2::int8[], $3::int8[], $4::int8[], $5::int4[], $6::bool[], $7::bytea[], $8::bytea[],
                $9::bytea[], $10::bytea[], $13::bytea[], $14::int4[])
            AS i(slot, mailbox, cursor, accepted_at, day, contact, id, source, ciphertext, tag, key, size)
        JOIN lease l ON l.slot = i.slot AND l.writer = $11 WHERE EXISTS (SELECT FROM f)),
    k AS (
        INSERT INTO envelope_key(mailbox, cursor, day, size, tag, key) SELECT mailbox, cursor, day, size, tag, key FROM i
            ON CONFLICT (mailbox, tag) DO NOTHING RETURNING mailbox, cursor)
    INSERT INTO envelope(mailbox, cursor, accepted_at, day, slot, contact, id, source, ciphertext)
        SELECT i.mailbox, i.cursor, i.accepted_at, i.day, i.slot, i.contact, i.id, i.source, i.ciphertext
        FROM k JOIN i ON i.mailbox = k.mailbox AND i.cursor = k.cursor RETURNING cursor";

/// A row on its way.
struct Row {
    mailbox: i64,
    done: oneshot::Sender<()>,
}

/// The client.
pub struct Bare {
    lanes: Vec<Sender<Row>>,
}

impl Bare {
    /// Over so many connections, into tables that are there and empty.
    ///
    /// # Errors
    /// The servers cannot be reached.
    pub async fn start(door: &Door, lanes: usize, body: usize) -> Outcome<Self> {
        let link = door.open().await.map_err(|fault| fault.words)?;
        let next = DAY + 1;
        link.batch(&format!(
            "CREATE TABLE IF NOT EXISTS envelope_{DAY} PARTITION OF envelope FOR VALUES FROM ({DAY}) TO ({next});
            INSERT INTO writer SELECT 8 + lane, 1 FROM generate_series(0, 7) AS lane ON CONFLICT (id) DO NOTHING;
            UPDATE lease SET writer = 8 + slot % {lanes};
            ANALYZE writer; ANALYZE lease"
        ))
        .await
        .map_err(|fault| fault.words)?;
        let mut senders = Vec::new();
        for lane in 0..lanes {
            let (sender, receiver) = channel(4 * MAX_BATCH);
            let link = door.open().await.map_err(|fault| fault.words)?;
            tokio::spawn(write(link, lane, lanes, body, receiver));
            senders.push(sender);
        }
        Ok(Self { lanes: senders })
    }

    /// Stores a row for a mailbox, durably.
    ///
    /// # Errors
    /// The servers failed.
    pub async fn submit(&self, mailbox: usize) -> Outcome<()> {
        let (done, stored) = oneshot::channel();
        let lane = self.lanes.get(mailbox % self.lanes.len()).ok_or("there is no lane")?;
        lane.send(Row { mailbox: mailbox as i64 + 1, done }).await.map_err(|_| "a lane ended")?;
        Ok(stored.await?)
    }
}

async fn write(link: Link, lane: usize, lanes: usize, body: usize, mut receiver: Receiver<Row>) {
    let (mut random, mut cursor) = (Random::new(lane as u64, 77), 1_i64);
    let bytes: Arc<[u8]> = {
        let mut bytes = vec![0; body];
        random.fill(&mut bytes);
        bytes.into()
    };
    let writer = 8 + i16::try_from(lane).unwrap_or_default();
    let mut rows = Vec::new();
    while receiver.recv_many(&mut rows, MAX_BATCH).await > 0 {
        let count = rows.len();
        let mut drawn = |length: usize| -> Vec<Vec<u8>> {
            (0..count)
                .map(|_| {
                    let mut bytes = vec![0; length];
                    random.fill(&mut bytes);
                    bytes
                })
                .collect()
        };
        let (ids, tags, keys, sources) = (drawn(16), drawn(16), drawn(32), drawn(20));
        let slot = |row: &Row| i16::try_from(row.mailbox as usize % (4096 / lanes) * lanes + lane).unwrap_or_default();
        let slots: Vec<i16> = rows.iter().map(slot).collect();
        let mailboxes: Vec<i64> = rows.iter().map(|row| row.mailbox).collect();
        let cursors: Vec<i64> = (cursor..cursor + count as i64).collect();
        cursor += count as i64;
        let (times, days) = (vec![1_728_000_000_000_i64; count], vec![DAY; count]);
        let (contacts, bodies) = (vec![false; count], vec![&bytes[..]; count]);
        let sizes = vec![i32::try_from(body).unwrap_or(i32::MAX); count];
        let written = link
            .query(
                INSERT,
                &[
                    &slots, &mailboxes, &cursors, &times, &days, &contacts, &ids, &sources, &bodies, &tags, &writer,
                    &1_i64, &keys, &sizes,
                ],
            )
            .await;
        match written {
            Ok(written) if written.len() == count => {
                for row in rows.drain(..) {
                    let _ = row.done.send(());
                }
            }
            // Those who wait hear that it ended.
            _ => return,
        }
    }
}
