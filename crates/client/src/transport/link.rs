//! One stream to the relay. Requests are numbered and may be sent without waiting; each has a [`Ticket`] for its answer.
//! What the relay says unasked goes to a queue of its own.
//!
//! ```text
//! send() ── queue ──► writer task ──► stream ──► relay
//!   └─ Ticket ◄── by number ──┐
//! next_push() ◄── queue ── reader task ◄── stream ◄── relay
//!                          watchdog: requests wait and no packet comes -> the link is broken
//! ```
//! When the link breaks, every ticket and the queue of pushes learn why. The tasks end with the link.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use kuvert_types::limits::DELIVERY_WINDOW;
use kuvert_wire::frame;
use kuvert_wire::v1::{self, client_frame, server_frame};
use quinn::{Connection, Endpoint, RecvStream, SendStream, VarInt};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::words::{describe, printable};
use crate::error::Error;
use crate::patience::millis;

/// Frames that wait to be written. A sender waits beyond that.
const OUTGOING_QUEUE: usize = 128;

/// Pushes that wait to be taken, at most: a window's deliveries, the word that nothing is left behind each of them (a relay
/// says so again whenever something came in between), and a few that end the connection. With room for deliveries alone,
/// 140 envelopes one by one while a batch is being stored would end a connection, and the receiving with it.
const PUSH_QUEUE: usize = 2 * DELIVERY_WINDOW + 16;

/// While requests wait, QUIC itself is acknowledged within a round trip: a relay that sends no packet at all for this
/// long is gone.
const SILENCE: Duration = Duration::from_secs(5);
const SILENCE_STEPS: u32 = 5;

/// The close code of a client that leaves.
const GOODBYE: VarInt = VarInt::from_u32(0);

/// The close code towards a relay that breaks the protocol.
const MISBEHAVIOUR: VarInt = VarInt::from_u32(1);

/// What a relay says unasked.
#[derive(Debug)]
pub enum Push {
    /// An envelope.
    Delivery(v1::Delivery),
    /// Nothing waits.
    CaughtUp,
    /// Another connection took over.
    Displaced,
    /// The relay shuts down.
    GoingAway,
}

/// The relay read a request and says no.
#[derive(Clone, Debug)]
pub struct RelayError {
    /// Why.
    pub code: v1::error::Code,
    /// For people; safe to print.
    pub message: String,
    /// When trying again makes sense.
    pub retry_after: Duration,
}

type Answer = Result<server_frame::Body, RelayError>;

/// The names of extensions that a relay says it offers, at most: no relay has more.
const MAX_EXTENSIONS: usize = 16;

/// A stream to a relay.
#[derive(Debug)]
pub struct Link {
    endpoint: Endpoint,
    connection: Connection,
    outgoing: mpsc::Sender<Bytes>,
    shared: Arc<Shared>,
    pushes: tokio::sync::Mutex<mpsc::Receiver<Push>>,
    tasks: [JoinHandle<()>; 3],
    request_timeout: Duration,
    /// What the relay offers beyond mail, once it said so.
    extensions: OnceLock<Vec<String>>,
    /// Bytes of the largest blob that the relay takes, once it said so.
    max_blob_bytes: OnceLock<u64>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// Told once the link is broken.
    ended: Notify,
}

#[derive(Debug, Default)]
struct State {
    last_number: u64,
    waiting: HashMap<u64, oneshot::Sender<Result<Answer, Error>>>,
    /// Set once; nothing is sent or awaited any more then.
    broken: Option<Error>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that holds the lock can panic half-way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn broken(&self) -> Option<Error> {
        self.lock().broken.clone()
    }

    fn fail(&self, error: Error) {
        let waiting = {
            let mut state = self.lock();
            state.broken.get_or_insert_with(|| error.clone());
            std::mem::take(&mut state.waiting)
        };
        for sender in waiting.into_values() {
            // A ticket that was dropped does not want to know.
            let _ = sender.send(Err(error.clone()));
        }
        self.ended.notify_waiters();
    }
}

fn lost(reason: impl Into<String>) -> Error {
    Error::ConnectionLost { reason: reason.into() }
}

impl Link {
    /// Starts the tasks on an open stream.
    pub(super) fn start(
        endpoint: Endpoint,
        connection: Connection,
        (send, receive): (SendStream, RecvStream),
        request_timeout: Duration,
    ) -> Self {
        let shared = Arc::new(Shared::default());
        let (outgoing, queue) = mpsc::channel(OUTGOING_QUEUE);
        let (push, pushes) = mpsc::channel(PUSH_QUEUE);
        let tasks = [
            tokio::spawn(write(send, queue, connection.clone(), Arc::clone(&shared))),
            tokio::spawn(read(receive, push, connection.clone(), Arc::clone(&shared))),
            tokio::spawn(watch(connection.clone(), Arc::clone(&shared))),
        ];
        Self {
            endpoint,
            connection,
            outgoing,
            shared,
            pushes: pushes.into(),
            tasks,
            request_timeout,
            extensions: OnceLock::new(),
            max_blob_bytes: OnceLock::new(),
        }
    }

    /// Sends a request. Requests go out in the order of these calls.
    ///
    /// # Errors
    /// The link is broken.
    pub async fn send(&self, body: client_frame::Body) -> Result<Ticket, Error> {
        let (sender, answer) = oneshot::channel();
        let number = {
            let mut state = self.shared.lock();
            if let Some(error) = &state.broken {
                return Err(error.clone());
            }
            state.last_number += 1;
            let number = state.last_number;
            state.waiting.insert(number, sender);
            number
        };
        let ticket = Ticket { number, answer, shared: Arc::clone(&self.shared), timeout: self.request_timeout };
        let mut bytes = BytesMut::new();
        frame::encode(&v1::ClientFrame { request: number, body: Some(body) }, &mut bytes)
            .map_err(|_| Error::Internal { what: "request over the frame limit" })?;
        match timeout(self.request_timeout, self.outgoing.send(bytes.freeze())).await {
            Ok(Ok(())) => Ok(ticket),
            Ok(Err(_)) => Err(self.shared.broken().unwrap_or_else(|| lost("the connection was closed"))),
            // It takes packets and does not read.
            Err(_) => Err(Error::RequestTimeout { seconds: self.request_timeout.as_secs() }),
        }
    }

    /// Sends a request and waits for its answer.
    ///
    /// # Errors
    /// The link is broken, or the relay takes too long.
    pub async fn request(&self, body: client_frame::Body) -> Result<Answer, Error> {
        self.send(body).await?.answer().await
    }

    /// Notes what the relay says that it offers beyond mail.
    pub fn note_extensions(&self, mut extensions: Vec<String>) {
        extensions.truncate(MAX_EXTENSIONS);
        // What it says first counts.
        let _ = self.extensions.set(extensions);
    }

    /// Notes how large a blob the relay takes.
    pub fn note_max_blob_bytes(&self, bytes: u64) {
        let _ = self.max_blob_bytes.set(bytes);
    }

    /// Bytes of the largest blob that the relay takes; 0: none.
    pub fn max_blob_bytes(&self) -> u64 {
        self.max_blob_bytes.get().copied().unwrap_or(0)
    }

    /// The connection, for streams beside this one.
    pub(super) const fn quic(&self) -> &Connection {
        &self.connection
    }

    /// Whether the relay said that it offers this extension.
    pub fn offers(&self, extension: &str) -> bool {
        self.extensions.get().is_some_and(|offered| offered.iter().any(|name| name == extension))
    }

    /// What the relay said unasked, in order.
    ///
    /// # Errors
    /// The link is broken and everything that came before was taken.
    pub async fn next_push(&self) -> Result<Push, Error> {
        let push = self.pushes.lock().await.recv().await;
        push.ok_or_else(|| self.shared.broken().unwrap_or_else(|| lost("the connection was closed")))
    }

    /// What the relay said unasked and is here already.
    pub async fn push_at_hand(&self) -> Option<Push> {
        self.pushes.lock().await.try_recv().ok()
    }

    /// Why the link is of no use any more, if so.
    pub fn broken(&self) -> Option<Error> {
        self.shared.broken()
    }

    /// Waits until the link is of no use any more; why. Can be dropped at any point.
    pub async fn end(&self) -> Error {
        loop {
            let ended = self.shared.ended.notified();
            if let Some(error) = self.shared.broken() {
                return error;
            }
            ended.await;
        }
    }

    /// Bytes that both ends take from their TLS connection (RFC 8446, section 7.5).
    ///
    /// # Errors
    /// The TLS library gives none.
    pub fn exporter(&self, label: &str, context: &[u8]) -> Result<[u8; 32], Error> {
        let mut bytes = [0; 32];
        self.connection
            .export_keying_material(&mut bytes, label.as_bytes(), context)
            .map_err(|_| Error::Internal { what: "TLS exporter" })?;
        Ok(bytes)
    }

    /// Closes the connection and waits until the relay heard of it, at most a second.
    pub async fn close(&self) {
        self.shared.fail(lost("it was closed on this side"));
        self.connection.close(GOODBYE, b"");
        // Longer than a round trip is not worth waiting for: the relay's idle timeout does the rest.
        let _ = timeout(Duration::from_secs(1), self.endpoint.wait_idle()).await;
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.connection.close(GOODBYE, b"");
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// A request that was sent. Dropping it gives up on the answer, not on the request.
#[derive(Debug)]
pub struct Ticket {
    number: u64,
    answer: oneshot::Receiver<Result<Answer, Error>>,
    shared: Arc<Shared>,
    timeout: Duration,
}

impl Ticket {
    /// The relay's answer.
    ///
    /// # Errors
    /// The link is broken, or the relay takes too long.
    pub async fn answer(mut self) -> Result<Answer, Error> {
        let begun = Instant::now();
        match timeout(self.timeout, &mut self.answer).await {
            Ok(Ok(result)) => {
                let milliseconds = millis(begun.elapsed());
                tracing::trace!(request = self.number, milliseconds, "answered");
                result
            }
            Ok(Err(_)) => Err(self.shared.broken().unwrap_or_else(|| lost("the connection was closed"))),
            Err(_) => Err(Error::RequestTimeout { seconds: self.timeout.as_secs() }),
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.shared.lock().waiting.remove(&self.number);
    }
}

async fn write(mut stream: SendStream, mut queue: mpsc::Receiver<Bytes>, connection: Connection, shared: Arc<Shared>) {
    let mut batch: Vec<Bytes> = Vec::new();
    loop {
        // What has gathered goes out in one go.
        if queue.recv_many(&mut batch, OUTGOING_QUEUE).await == 0 {
            return;
        }
        if let Err(error) = stream.write_all_chunks(&mut batch).await {
            let reason = connection.close_reason().map_or_else(|| error.to_string(), |close| describe(&close));
            return shared.fail(lost(reason));
        }
        batch.clear();
    }
}

async fn read(mut stream: RecvStream, pushes: mpsc::Sender<Push>, connection: Connection, shared: Arc<Shared>) {
    let mut input = BytesMut::new();
    let error = loop {
        match stream.read_chunk(usize::MAX, true).await {
            Ok(Some(chunk)) => input.extend_from_slice(&chunk.bytes),
            Ok(None) => break lost("the relay ended it"),
            Err(error) => {
                break lost(connection.close_reason().map_or_else(|| error.to_string(), |close| describe(&close)));
            }
        }
        if let Err(what) = take_frames(&mut input, &pushes, &shared) {
            connection.close(MISBEHAVIOUR, what.as_bytes());
            break Error::RelayProtocol { what };
        }
    };
    shared.fail(error);
}

/// Hands whole frames on.
fn take_frames(input: &mut BytesMut, pushes: &mpsc::Sender<Push>, shared: &Shared) -> Result<(), &'static str> {
    while let Some(frame) = frame::decode::<v1::ServerFrame>(input).map_err(|_| "a frame that cannot be read")? {
        let body = frame.body.ok_or("an empty frame")?;
        if frame.request == 0 {
            // A relay in trouble says so unasked before it closes: its words are better than "closed".
            if let server_frame::Body::Error(error) = &body {
                let refusal = RelayError::from(error.clone());
                shared.lock().broken.get_or_insert_with(|| refusal.into_error());
                continue;
            }
            // Waiting for room here would hold up answers, so a relay that sends beyond its window is cut off.
            pushes.try_send(push(body)?).map_err(|_| "more deliveries than its window allows")?;
            continue;
        }
        // An answer that nobody waits for any more is none of our business.
        if let Some(sender) = shared.lock().waiting.remove(&frame.request) {
            let answer = match body {
                server_frame::Body::Error(error) => Err(error.into()),
                body => Ok(body),
            };
            let _ = sender.send(Ok(answer)); // the ticket may have been dropped meanwhile
        }
    }
    Ok(())
}

fn push(body: server_frame::Body) -> Result<Push, &'static str> {
    Ok(match body {
        server_frame::Body::Delivery(delivery) => Push::Delivery(delivery),
        server_frame::Body::CaughtUp(_) => Push::CaughtUp,
        server_frame::Body::Displaced(_) => Push::Displaced,
        server_frame::Body::GoingAway(_) => Push::GoingAway,
        _ => return Err("an answer without a request"),
    })
}

async fn watch(connection: Connection, shared: Arc<Shared>) {
    let mut ticks = interval(SILENCE / SILENCE_STEPS);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut heard, mut silent) = (0, 0);
    loop {
        ticks.tick().await;
        let now = connection.stats().udp_rx.datagrams;
        let waiting = !shared.lock().waiting.is_empty();
        silent = if waiting && now == heard { silent + 1 } else { 0 };
        heard = now;
        if silent >= SILENCE_STEPS {
            connection.close(GOODBYE, b"");
            return shared.fail(lost("the relay fell silent"));
        }
    }
}

impl From<v1::Error> for RelayError {
    fn from(error: v1::Error) -> Self {
        Self {
            code: error.code(),
            message: printable(&error.message),
            retry_after: Duration::from_millis(error.retry_after_ms),
        }
    }
}

impl RelayError {
    /// The error for a refusal that concerns no name.
    pub fn into_error(self) -> Error {
        use v1::error::Code;
        match self.code {
            Code::UnsupportedVersion => Error::VersionUnsupported,
            Code::NotAuthenticated | Code::AuthenticationFailed => Error::AuthenticationFailed,
            Code::RegistrationClosed => Error::RegistrationClosed,
            Code::InvitationNeeded => Error::InvitationNeeded,
            Code::InvitationRefused => Error::InvitationRefused,
            Code::NotOffered => Error::NotOffered,
            Code::PhoneCodeWrong => Error::PhoneCodeWrong,
            Code::PhoneCodeExpired => Error::PhoneCodeExpired,
            Code::AddressBookFull => Error::AddressBookFull,
            Code::Limited => Error::Limited { seconds: self.retry_after.as_millis().div_ceil(1000) as u64 },
            Code::Unavailable => Error::RelayUnavailable { detail: self.message },
            other => Error::RelayRefused { code: other.as_str_name(), detail: self.message },
        }
    }

    /// The error for a refusal that concerns an account or name.
    pub fn about(self, who: &str) -> Error {
        use v1::error::Code;
        match self.code {
            Code::UnknownRecipient => Error::UnknownRecipient { who: who.to_owned() },
            Code::MailboxFull => Error::MailboxFull { who: who.to_owned() },
            Code::NameTaken => Error::NameTaken { name: who.to_owned() },
            _ => self.into_error(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(bodies: impl IntoIterator<Item = (u64, Option<server_frame::Body>)>) -> BytesMut {
        let mut bytes = BytesMut::new();
        for (request, body) in bodies {
            frame::encode(&v1::ServerFrame { request, body }, &mut bytes).unwrap();
        }
        bytes
    }

    fn take(mut input: BytesMut) -> Result<usize, &'static str> {
        let (push, mut pushes) = mpsc::channel(PUSH_QUEUE);
        take_frames(&mut input, &push, &Shared::default())?;
        let mut count = 0;
        while pushes.try_recv().is_ok() {
            count += 1;
        }
        Ok(count)
    }

    #[test]
    fn a_relay_that_breaks_the_protocol_is_cut_off() {
        let delivery = || (0, Some(server_frame::Body::Delivery(v1::Delivery::default())));
        assert_eq!(take(frames((0..DELIVERY_WINDOW).map(|_| delivery()))), Ok(DELIVERY_WINDOW));
        assert!(take(frames((0..1000).map(|_| delivery()))).is_err(), "beyond its window");
        assert!(take(frames([(1, None)])).is_err(), "an empty frame");
        assert!(take(frames([(0, Some(server_frame::Body::Done(v1::Done {})))])).is_err(), "an answer to nothing");
        assert!(take(BytesMut::from(&[0xFF; 64][..])).is_err(), "a length over the limit");
        assert!(take(BytesMut::from(&[3, 0xFF, 0xFF, 0xFF][..])).is_err(), "no message");
    }

    #[test]
    fn envelopes_that_come_one_by_one_fill_no_queue() {
        let delivery = || (0, Some(server_frame::Body::Delivery(v1::Delivery::default())));
        let caught_up = || (0, Some(server_frame::Body::CaughtUp(v1::CaughtUp {})));
        let one_by_one = (0..DELIVERY_WINDOW).flat_map(|_| [delivery(), caught_up()]);
        assert_eq!(take(frames(one_by_one)), Ok(2 * DELIVERY_WINDOW));
    }

    #[test]
    fn answers_find_their_tickets_and_late_ones_are_dropped() {
        let shared = Shared::default();
        let (sender, mut answer) = oneshot::channel();
        shared.lock().waiting.insert(7, sender);
        let (push, _pushes) = mpsc::channel(1);
        let done = || Some(server_frame::Body::Done(v1::Done {}));
        let refused =
            v1::Error { code: v1::error::Code::Limited.into(), message: "a\x1b[2Jb".into(), retry_after_ms: 1 };
        let mut input = frames([(9, done()), (7, Some(server_frame::Body::Error(refused)))]);
        take_frames(&mut input, &push, &shared).unwrap();
        let refusal = answer.try_recv().unwrap().unwrap().unwrap_err();
        assert_eq!(refusal.message, "a[2Jb", "nothing that moves the cursor");
        assert_eq!(refusal.into_error().code(), "limited");
    }
}
