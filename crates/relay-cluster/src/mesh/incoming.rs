//! What other nodes say.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex};

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use kuvert_relay::store::{Pending, StoreError};
use quinn::{Connection, RecvStream, SendStream};
use rustls::pki_types::CertificateDer;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::frame::{Frame, Node};
use super::link::first_frame;
use super::tls::Identity;
use super::{HANDSHAKE, MAX_HANDSHAKES, MAX_REQUEST_BYTES, MAX_REQUESTS, MAX_STRANGERS, Shared, close, count, lock};

/// Bytes read at once.
const READ: usize = 64 * 1024;

/// Bytes of answers that are gathered for one write.
const WRITE: usize = 64 * 1024;

/// The connections of other nodes: one of each, the newest.
#[derive(Default)]
pub struct Incoming(Mutex<HashMap<u16, (Node, Connection)>>);

impl fmt::Debug for Incoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming").finish_non_exhaustive()
    }
}

impl Incoming {
    /// Closes those whose key is not taken any more.
    pub fn keep(&self, identity: &Identity) {
        for (_, connection) in lock(&self.0).values() {
            let shown = connection.peer_identity().and_then(|any| any.downcast::<Vec<CertificateDer<'static>>>().ok());
            if !shown.is_some_and(|chain| chain.first().is_some_and(|shown| identity.takes(shown))) {
                connection.close(close::KEY, b"this key is not taken any more");
            }
        }
    }

    /// Notes a new connection. `false`: a later start of that node is here already.
    fn enter(&self, node: Node, connection: &Connection) -> bool {
        let mut here = lock(&self.0);
        if here.get(&node.id).is_some_and(|(before, _)| before.epoch > node.epoch) {
            return false;
        }
        if let Some((_, before)) = here.insert(node.id, (node, connection.clone())) {
            before.close(close::REPLACED, b"there is a newer connection");
        }
        true
    }

    /// Forgets a connection. `false`: there is a newer one.
    fn leave(&self, node: Node, connection: &Connection) -> bool {
        let mut here = lock(&self.0);
        let ours = here.get(&node.id).is_some_and(|(_, current)| current.stable_id() == connection.stable_id());
        if ours {
            here.remove(&node.id);
        }
        ours
    }
}

/// Accepts connections until the endpoint closes.
pub async fn accept(shared: Arc<Shared>) {
    let strangers = Arc::new(Semaphore::new(MAX_STRANGERS));
    let nodes = Arc::new(Semaphore::new(MAX_HANDSHAKES));
    let mut connections = JoinSet::new();
    loop {
        let incoming = tokio::select! {
            Some(_) = connections.join_next() => continue,
            incoming = shared.endpoint.accept() => incoming,
        };
        let Some(incoming) = incoming else { return };
        // Costs no state: an address that does not receive what it asks for gets no further.
        if !incoming.remote_address_validated() {
            if let Err(error) = incoming.retry() {
                error.into_incoming().ignore();
            }
            continue;
        }
        let known = lock(&shared.known).contains(&incoming.remote_address().ip().to_canonical());
        let places = if known { &nodes } else { &strangers };
        match Arc::clone(places).try_acquire_owned() {
            Ok(place) => {
                connections.spawn(handshake(incoming, Arc::clone(&shared), place));
            }
            Err(_) => incoming.ignore(),
        }
    }
}

async fn handshake(incoming: quinn::Incoming, shared: Arc<Shared>, place: OwnedSemaphorePermit) {
    let greeted = timeout(HANDSHAKE, async {
        let connection = incoming.await.ok()?;
        let (send, mut receive) = connection.accept_bi().await.ok()?;
        let Some(Frame::Hello(node)) = first_frame(&mut receive).await else {
            connection.close(close::PROTOCOL, b"say hello first");
            return None;
        };
        Some((connection, send, receive, node))
    });
    let Ok(Some((connection, send, receive, node))) = greeted.await else {
        tracing::debug!("a connection to the cluster's port is no node's");
        return;
    };
    drop(place);
    if node.id == shared.me.id || !shared.incoming.enter(node, &connection) {
        connection.close(close::WRONG_NODE, b"not another node");
        return;
    }
    serve(&shared, node, &connection, send, receive).await;
    if shared.incoming.leave(node, &connection) {
        shared.handler.gone(node);
    }
}

/// A request that is being answered.
struct Asked {
    id: u64,
    answer: Pending<Bytes, StoreError>,
    /// Its part of [`MAX_REQUEST_BYTES`].
    _room: OwnedSemaphorePermit,
}

async fn serve(shared: &Shared, node: Node, connection: &Connection, send: SendStream, receive: RecvStream) {
    let (asked, answers) = mpsc::channel(MAX_REQUESTS);
    tokio::select! {
        code = read(shared, node, receive, asked) => connection.close(code, b""),
        () = write(shared.me, send, answers) => connection.close(close::BEHIND, b""),
        _ = connection.closed() => {}
    }
}

/// Until the stream ends; says with which code the connection is to be closed.
async fn read(shared: &Shared, node: Node, mut receive: RecvStream, asked: mpsc::Sender<Asked>) -> quinn::VarInt {
    let bytes = Arc::new(Semaphore::new(MAX_REQUEST_BYTES));
    let mut buffer = BytesMut::new();
    while let Ok(Some(chunk)) = receive.read_chunk(READ, true).await {
        buffer.extend_from_slice(&chunk.bytes);
        loop {
            let frame = match Frame::decode(&mut buffer) {
                Ok(Some(frame)) => frame,
                Ok(None) => break,
                Err(_) => return close::PROTOCOL,
            };
            match frame {
                Frame::Request { id, slot, body } => {
                    let length = u32::try_from(body.len().max(1)).unwrap_or(u32::MAX);
                    // Not read on before there is room: the sender's window fills up.
                    let Ok(place) = asked.reserve().await else { return close::BEHIND };
                    let Ok(room) = Arc::clone(&bytes).acquire_many_owned(length).await else { return close::BEHIND };
                    count(&shared.figures.served);
                    place.send(Asked { id, answer: shared.handler.serve(slot, body), _room: room });
                }
                Frame::Mail(device) => shared.handler.mail(&device),
                Frame::Attached(device, number) => shared.handler.attached(node, device, number),
                Frame::Detached(device, number) => shared.handler.detached(node, &device, number),
                Frame::Displaced(device, number) => shared.handler.displaced(&device, number),
                Frame::Ended(account) => shared.handler.ended(&account),
                Frame::Dropped(device) => shared.handler.dropped(&device),
                Frame::Look => shared.handler.look(),
                Frame::Told(words) => shared.handler.told(words),
                Frame::Unknown => {}
                Frame::Hello(_) | Frame::Answer { .. } => return close::PROTOCOL,
            }
        }
    }
    close::GOING
}

async fn write(me: Node, mut send: SendStream, mut asked: mpsc::Receiver<Asked>) {
    let mut out = BytesMut::new();
    // It is short.
    let _ = Frame::Hello(me).encode(&mut out);
    let mut under_way = FuturesUnordered::new();
    loop {
        tokio::select! {
            biased;
            Some((id, result)) = under_way.next(), if out.len() < WRITE => answer(id, result, &mut out),
            next = asked.recv(), if out.len() < WRITE => match next {
                Some(Asked { id, answer, _room }) => under_way.push(async move {
                    let result = answer.await;
                    drop(_room);
                    (id, result)
                }),
                None => return,
            },
            // Once nothing more is there at once.
            () = std::future::ready(()), if !out.is_empty() => if send.write_all(&out.split()).await.is_err() {
                return;
            },
        }
    }
}

fn answer(id: u64, result: Result<Bytes, StoreError>, out: &mut BytesMut) {
    if (Frame::Answer { id, result }).encode(out).is_err() {
        // It happened, but what it gave does not fit: the other node cannot know.
        let result = Err(StoreError::Unknown("the answer is too large for a link between nodes".to_owned()));
        // That one is short.
        let _ = Frame::Answer { id, result }.encode(out);
    }
}
