//! The prototype that the relay is measured beside: the relay's own endpoint and frames around a table in SQLite, one
//! writer that commits what has gathered, an answer after the commit's fsync. No accounts, no quotas, no limits, no
//! mailboxes: it could not deliver what it stores.

use std::path::Path;
use std::sync::mpsc::{self, Receiver, Sender};

use bytes::BytesMut;
use kuvert_relay::endpoint;
use kuvert_relay::endpoint_key::EndpointKey;
use kuvert_relay::tls::Identity;
use kuvert_types::RelayUrl;
use kuvert_types::limits::MAX_FRAME_BYTES;
use kuvert_wire::frame;
use kuvert_wire::v1::client_frame::Body as Request;
use kuvert_wire::v1::server_frame::Body as Response;
use kuvert_wire::v1::{Accepted, ClientFrame, Envelope, ServerFrame};
use rusqlite::{Connection, TransactionBehavior};
use tokio::io::AsyncReadExt;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use crate::Outcome;
use crate::load::say;

/// The relay's own.
const MAX_BATCH: usize = 1024;

/// Name of its database.
pub const DATABASE_FILE: &str = "bare.db";

/// An envelope on its way to the table.
struct Job {
    envelope: Envelope,
    request: u64,
    reply: UnboundedSender<u64>,
}

/// Serves until stdin closes; says its address first.
///
/// # Errors
/// It cannot serve.
pub fn run(data: &Path) -> Outcome<()> {
    let identity = Identity::load_or_make(data)?;
    let table = Table::open(data)?;
    let (sender, receiver) = mpsc::channel();
    let writer = std::thread::spawn(move || write(table, &receiver));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(serve(&identity, sender))?;
    runtime.shutdown_background();
    writer.join().map_err(|_| "the writer failed")?
}

async fn serve(identity: &Identity, sender: Sender<Job>) -> Outcome<()> {
    let listening = endpoint::listen(([127, 0, 0, 1], 0).into(), identity.server_config()?, &EndpointKey::random()?)?;
    let url = RelayUrl {
        host: "127.0.0.1".to_owned(),
        port: listening.local_addr()?.port(),
        fingerprint: identity.fingerprint(),
    };
    say(&url.to_string())?;
    let accepting = tokio::spawn(async move {
        while let Some(incoming) = listening.accept().await {
            let sender = sender.clone();
            tokio::spawn(async move {
                let connection = incoming.await?;
                let (send, receive) = connection.accept_bi().await?;
                client(send, receive, sender).await
            });
        }
    });
    let mut rest = Vec::new();
    tokio::io::stdin().read_to_end(&mut rest).await?;
    accepting.abort();
    Ok(())
}

async fn client(mut send: quinn::SendStream, mut receive: quinn::RecvStream, sender: Sender<Job>) -> Outcome<()> {
    let (reply, mut replies) = unbounded_channel();
    let mut buffer = BytesMut::new();
    loop {
        tokio::select! {
            chunk = receive.read_chunk(MAX_FRAME_BYTES, true) => {
                let Some(chunk) = chunk? else { return Ok(()) };
                buffer.extend_from_slice(&chunk.bytes);
                while let Some(frame) = frame::decode::<ClientFrame>(&mut buffer)? {
                    let Some(Request::Submit(submit)) = frame.body else { continue };
                    let envelope = submit.envelope.unwrap_or_default();
                    sender.send(Job { envelope, request: frame.request, reply: reply.clone() })?;
                }
            }
            Some(request) = replies.recv() => {
                let mut out = BytesMut::new();
                let mut next = Some(request);
                while let Some(request) = next {
                    let accepted = Response::Accepted(Accepted::default());
                    frame::encode(&ServerFrame { request, body: Some(accepted) }, &mut out)?;
                    next = replies.try_recv().ok();
                }
                send.write_all(&out).await?;
            }
        }
    }
}

fn write(mut table: Table, receiver: &Receiver<Job>) -> Outcome<()> {
    while let Ok(first) = receiver.recv() {
        let mut jobs = vec![first];
        jobs.extend(receiver.try_iter().take(MAX_BATCH - 1));
        let rows = jobs.iter().map(|job| {
            let to = job.envelope.recipient.as_ref().map_or(&[][..], |to| &to.account);
            (to, &job.envelope.ciphertext[..])
        });
        table.insert(rows)?;
        for job in jobs {
            // The client may have gone.
            let _ = job.reply.send(job.request);
        }
    }
    Ok(())
}

/// The table in order of arrival, with the relay's settings of SQLite.
pub struct Table(Connection);

impl Table {
    /// Makes it.
    ///
    /// # Errors
    /// SQLite's.
    pub fn open(directory: &Path) -> Outcome<Self> {
        let connection = Connection::open(directory.join(DATABASE_FILE))?;
        connection.execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA secure_delete = ON;
             PRAGMA wal_autocheckpoint = 4000; PRAGMA cache_size = -65536;
             CREATE TABLE msg(id INTEGER PRIMARY KEY, mbox BLOB NOT NULL, body BLOB NOT NULL);",
        )?;
        Ok(Self(connection))
    }

    /// One transaction.
    ///
    /// # Errors
    /// SQLite's.
    pub fn insert<'a>(&mut self, rows: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> Outcome<()> {
        let transaction = self.0.transaction_with_behavior(TransactionBehavior::Immediate)?;
        {
            let mut insert = transaction.prepare_cached("INSERT INTO msg(mbox, body) VALUES(?1, ?2)")?;
            for row in rows {
                insert.execute(row)?;
            }
        }
        Ok(transaction.commit()?)
    }
}
