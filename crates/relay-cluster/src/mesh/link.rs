//! One connection to another node: opened, and opened again whenever it breaks.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use kuvert_relay::store::{StoreError, Unavailable};
use kuvert_relay_postgres::Answering;
use kuvert_types::Address;
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Connection, RecvStream, SendStream};
use tokio::net::lookup_host;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, interval, sleep, timeout};

use super::frame::Frame;
use super::tls::{Identity, NAME};
use super::{HANDSHAKE, MAX_HINTS, MAX_REQUEST_BYTES, MAX_REQUESTS, Peer, Shared, close, count, lock, transport};

/// Between two tries to connect: at first, and at most.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// Frames that are written at once.
const BATCH: usize = 256;

/// How long requests under way get to be answered before the link is opened with another key.
const ANSWERS: Duration = Duration::from_secs(10);

/// A request that is not answered for this long will not be: the other node's store gives up long before.
const DEADLINE: Duration = Duration::from_secs(30);

/// How often that is looked at.
const LOOK: Duration = Duration::from_secs(2);

/// Bytes read at once.
const READ: usize = 64 * 1024;

/// The link to one node. Ends when dropped; what is under way on it then is not known.
pub struct Link {
    /// Which node.
    pub peer: Peer,
    queue: mpsc::Sender<Item>,
    state: Arc<State>,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("peer", &self.peer).finish_non_exhaustive()
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What is to be written.
enum Item {
    Hint(Frame),
    Request(Asked, u16, Bytes),
}

/// A request whose answer is waited for. Dropped without one, it says that its fate is not known.
struct Asked {
    answering: Answering<Bytes, StoreError>,
    since: Instant,
    /// Its part of [`MAX_REQUESTS`] and [`MAX_REQUEST_BYTES`].
    room: [OwnedSemaphorePermit; 2],
}

impl Asked {
    fn answer(self, result: Result<Bytes, StoreError>) {
        let Self { answering, since: _, room } = self;
        // First: the one that hears the answer finds its room free.
        drop(room);
        answering.send(result);
    }
}

struct State {
    up: AtomicBool,
    /// Something was to be said and did not fit: what was said before does not hold.
    overrun: Notify,
    requests: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
    under_way: Mutex<HashMap<u64, Asked>>,
    next: AtomicU64,
}

/// The other node surely did not get it.
pub fn unreached() -> StoreError {
    Unavailable::Io("the node that holds this part of the store is not reached".to_owned()).into()
}

fn lost() -> StoreError {
    StoreError::Unknown("the link to the node that holds this part of the store broke".to_owned())
}

/// Why a connection ended.
enum Ended {
    Broken,
    /// For another one with other keys; what waits for it stays.
    Rekeyed,
}

impl Link {
    /// Begins to connect.
    pub fn open(peer: Peer, shared: Arc<Shared>) -> Self {
        let (queue, items) = mpsc::channel(MAX_HINTS + MAX_REQUESTS);
        let state = Arc::new(State {
            up: AtomicBool::new(false),
            overrun: Notify::new(),
            requests: Arc::new(Semaphore::new(MAX_REQUESTS)),
            bytes: Arc::new(Semaphore::new(MAX_REQUEST_BYTES)),
            under_way: Mutex::default(),
            next: AtomicU64::new(0),
        });
        let keys = shared.identity.subscribe();
        let runner = Runner { peer: peer.clone(), state: Arc::clone(&state), shared: Arc::clone(&shared), items, keys };
        Self { peer, queue, state, shared, task: tokio::spawn(runner.run()) }
    }

    /// Whether the node is reached.
    pub fn is_up(&self) -> bool {
        self.state.up.load(Ordering::Acquire)
    }

    /// Says something that may be lost.
    pub fn hint(&self, frame: Frame) {
        // Requests have their own part of the queue: hints may not take it.
        let room = self.is_up() && self.queue.capacity() > MAX_REQUESTS;
        let may_be_missed = matches!(frame, Frame::Mail(_) | Frame::Told(_));
        if room && self.queue.try_send(Item::Hint(frame)).is_ok() {
            count(&self.shared.figures.hints);
            return;
        }
        count(&self.shared.figures.dropped);
        if self.is_up() && !may_be_missed {
            self.state.overrun.notify_one();
        }
    }

    /// Asks something.
    ///
    /// # Errors
    /// Why it was not asked, with what is to be told so.
    pub fn request(&self, slot: u16, body: Bytes, answering: Answering<Bytes, StoreError>) -> Result<(), Unasked> {
        let overloaded = |answering| Err((answering, Unavailable::Overloaded.into()));
        if !self.is_up() {
            return Err((answering, unreached()));
        }
        let bytes = u32::try_from(body.len().max(1)).unwrap_or(u32::MAX);
        let Ok(place) = Arc::clone(&self.state.requests).try_acquire_owned() else { return overloaded(answering) };
        let Ok(room) = Arc::clone(&self.state.bytes).try_acquire_many_owned(bytes) else {
            return overloaded(answering);
        };
        let asked = Asked { answering, since: Instant::now(), room: [place, room] };
        match self.queue.try_send(Item::Request(asked, slot, body)) {
            Ok(()) => count(&self.shared.figures.requests),
            Err(mpsc::error::TrySendError::Full(item) | mpsc::error::TrySendError::Closed(item)) => {
                if let Item::Request(asked, ..) = item {
                    return overloaded(asked.answering);
                }
            }
        }
        Ok(())
    }
}

/// Who asked, and why in vain.
type Unasked = (Answering<Bytes, StoreError>, StoreError);

/// Answers a request that was never written.
fn refuse(item: Item, with: &StoreError) {
    if let Item::Request(asked, ..) = item {
        asked.answer(Err(with.clone()));
    }
}

struct Runner {
    peer: Peer,
    state: Arc<State>,
    shared: Arc<Shared>,
    items: mpsc::Receiver<Item>,
    keys: watch::Receiver<Identity>,
}

impl Runner {
    async fn run(mut self) {
        let mut pause = PAUSE.0;
        loop {
            let dialing = timeout(HANDSHAKE, dial(&self.peer, &self.shared, self.keys.borrow_and_update().clone()));
            let dialed = tokio::select! {
                dialed = dialing => dialed,
                () = refuse_all(&mut self.items, &self.state) => return,
            };
            match dialed {
                Ok(Ok((connection, send, receive))) => {
                    pause = PAUSE.0;
                    tracing::info!(node = self.peer.node.id, "linked to another node");
                    let ended = self.serve(&connection, send, receive).await;
                    connection.close(close::GOING, b"");
                    if matches!(ended, Ended::Rekeyed) {
                        continue;
                    }
                    tracing::warn!(node = self.peer.node.id, "the link to another node broke");
                }
                Ok(Err(reason)) => tracing::debug!(node = self.peer.node.id, reason, "no link to another node"),
                Err(_) => tracing::debug!(node = self.peer.node.id, "no link to another node in time"),
            }
            // Also where it was to be opened with other keys, and was not.
            self.state.up.store(false, Ordering::Release);
            // Half as long at least, so that two nodes do not try in step.
            let [byte] = random();
            let jittered = pause / 2 + pause * u32::from(byte) / 510;
            tokio::select! {
                () = sleep(jittered) => {}
                () = refuse_all(&mut self.items, &self.state) => return,
            }
            pause = (pause * 2).min(PAUSE.1);
        }
    }

    /// Until the connection ends. The link is up meanwhile.
    async fn serve(&mut self, connection: &Connection, mut send: SendStream, mut receive: RecvStream) -> Ended {
        self.state.up.store(true, Ordering::Release);
        // From here on what is attached here is put into the queue; what was before is said first.
        let before = Before { here: self.shared.handler.here(), told: self.shared.handler.summary() };
        let ended = tokio::select! {
            ended = write(&mut send, before, &mut self.items, &mut self.keys, &self.state) => ended,
            () = read(&mut receive, &self.state) => Ended::Broken,
            () = watch_deadlines(&self.state) => Ended::Broken,
            () = self.state.overrun.notified() => Ended::Broken,
            _ = connection.closed() => Ended::Broken,
        };
        if matches!(ended, Ended::Broken) {
            self.state.up.store(false, Ordering::Release);
        }
        // Not under the lock: who is told may ask again.
        let unanswered = std::mem::take(&mut *lock(&self.state.under_way));
        for (_, asked) in unanswered {
            count(&self.shared.figures.unknown);
            asked.answer(Err(lost()));
        }
        ended
    }
}

/// Refuses what is asked, as long as it is waited for. Ends with the link. What comes to a link that is up, because its keys change,
/// stays.
async fn refuse_all(items: &mut mpsc::Receiver<Item>, state: &State) {
    if state.up.load(Ordering::Acquire) {
        return std::future::pending().await;
    }
    while let Some(item) = items.recv().await {
        refuse(item, &unreached());
    }
}

async fn dial(
    peer: &Peer,
    shared: &Shared,
    identity: Identity,
) -> Result<(Connection, SendStream, RecvStream), String> {
    let words = |error: &dyn fmt::Display| error.to_string();
    let addresses: Vec<_> = lookup_host(&peer.address).await.map_err(|error| words(&error))?.collect();
    lock(&shared.known).extend(addresses.iter().map(|address| address.ip().to_canonical()));
    let crypto = QuicClientConfig::try_from(identity.client().map_err(|error| words(&error))?);
    let mut config = ClientConfig::new(Arc::new(crypto.map_err(|error| words(&error))?));
    config.transport_config(Arc::new(transport()));
    let mut reason = "its host has no address".to_owned();
    for address in addresses {
        let connecting = shared.endpoint.connect_with(config.clone(), address, NAME);
        let connecting = connecting.map_err(|error| words(&error))?;
        match connecting.await {
            Ok(connection) => return greet(peer, shared, connection).await,
            Err(error) => reason = words(&error),
        }
    }
    Err(reason)
}

async fn greet(
    peer: &Peer,
    shared: &Shared,
    connection: Connection,
) -> Result<(Connection, SendStream, RecvStream), String> {
    let (mut send, mut receive) = connection.open_bi().await.map_err(|error| error.to_string())?;
    let mut hello = BytesMut::new();
    Frame::Hello(shared.me).encode(&mut hello).map_err(|_| "no greeting".to_owned())?;
    send.write_all(&hello).await.map_err(|error| error.to_string())?;
    match first_frame(&mut receive).await {
        Some(Frame::Hello(node)) if node == peer.node => Ok((connection, send, receive)),
        _ => {
            connection.close(close::WRONG_NODE, b"another node");
            Err("another node, or another start of it, answers there".to_owned())
        }
    }
}

/// The first frame of a stream, which is short.
pub async fn first_frame(receive: &mut RecvStream) -> Option<Frame> {
    const LEN: usize = 15;
    let mut bytes = [0; LEN];
    receive.read_exact(&mut bytes).await.ok()?;
    Frame::decode(&mut BytesMut::from(&bytes[..])).ok()?
}

/// What a node is told first that is newly reached.
struct Before {
    here: Vec<(Address, u64)>,
    told: Vec<Bytes>,
}

async fn write(
    send: &mut SendStream,
    before: Before,
    items: &mut mpsc::Receiver<Item>,
    keys: &mut watch::Receiver<Identity>,
    state: &State,
) -> Ended {
    let mut out = BytesMut::new();
    let here = before.here.into_iter().map(|(device, number)| Frame::Attached(device, number));
    let frames: Vec<_> = here.chain(before.told.into_iter().map(Frame::Told)).collect();
    for chunk in frames.chunks(BATCH) {
        for frame in chunk {
            // It is short.
            let _ = frame.encode(&mut out);
        }
        if send.write_all(&out.split()).await.is_err() {
            return Ended::Broken;
        }
    }
    let mut batch = Vec::with_capacity(BATCH);
    loop {
        tokio::select! {
            // Other keys first: however much there is to write, the old one is not shown for longer than what is under way takes.
            biased;
            changed = keys.changed() => {
                if changed.is_ok() {
                    all_answered(state).await;
                }
                return Ended::Rekeyed;
            }
            count = items.recv_many(&mut batch, BATCH) => if count == 0 {
                return Ended::Broken;
            },
        }
        // No point to stop at before all of them are under way: then their fate is not known, else it is.
        for item in batch.drain(..) {
            put(item, &mut out, state);
        }
        if send.write_all(&out.split()).await.is_err() {
            return Ended::Broken;
        }
    }
}

fn put(item: Item, out: &mut BytesMut, state: &State) {
    match item {
        // All hints are short.
        Item::Hint(frame) => drop(frame.encode(out)),
        Item::Request(asked, slot, body) => {
            let id = state.next.fetch_add(1, Ordering::Relaxed);
            match (Frame::Request { id, slot, body }.encode(out)) {
                Ok(()) => drop(lock(&state.under_way).insert(id, asked)),
                Err(_) => asked.answer(Err(Unavailable::Io("too large for another node".to_owned()).into())),
            }
        }
    }
}

/// Waits for the answers under way, for a while.
async fn all_answered(state: &State) {
    let answered = async {
        while !lock(&state.under_way).is_empty() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    // What is not answered by then is not known.
    let _ = timeout(ANSWERS, answered).await;
}

/// Until the stream ends, or holds something else than answers.
async fn read(receive: &mut RecvStream, state: &State) {
    let mut buffer = BytesMut::new();
    while let Ok(Some(chunk)) = receive.read_chunk(READ, true).await {
        buffer.extend_from_slice(&chunk.bytes);
        loop {
            match Frame::decode(&mut buffer) {
                Ok(Some(Frame::Answer { id, result })) => {
                    let asked = lock(&state.under_way).remove(&id);
                    if let Some(asked) = asked {
                        asked.answer(result);
                    }
                }
                Ok(Some(Frame::Unknown)) => {}
                Ok(None) => break,
                Ok(Some(_)) | Err(_) => return,
            }
        }
    }
}

/// Ends when an answer is overdue.
async fn watch_deadlines(state: &State) {
    let mut looks = interval(LOOK);
    loop {
        looks.tick().await;
        if lock(&state.under_way).values().any(|asked| asked.since.elapsed() > DEADLINE) {
            return;
        }
    }
}

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    // Without randomness the pauses are in step, and no more than that.
    let _ = getrandom::fill(&mut bytes);
    bytes
}
