//! One client's connection, from the handshake to its end.
//!
//! | module | holds |
//! |---|---|
//! | [`greeting`] | the states before a device is authenticated |
//! | [`reader`] | bytes to frames |
//! | [`writer`] | answers and deliveries to bytes |
//! | [`blob`] | one transfer, on a stream of its own |
//! | [`close`] | the codes with which connections are closed |
//!
//! One task reads frames and hands each to [`crate::command`]; one task waits for the answers and writes them; one
//! delivers. The queues between them are short: a client that does not read stops being read, and what it holds in
//! memory is bounded by the constants of [`crate::limits`].

pub mod blob;
pub mod close;
pub mod greeting;
pub mod reader;
pub mod writer;

use std::sync::Arc;
use std::time::Duration;

use kuvert_types::Address;
use kuvert_wire::frame::FrameError;
use kuvert_wire::v1::client_frame::Body as Request;
use kuvert_wire::v1::server_frame::Body as Response;
use kuvert_wire::v1::{ClientFrame, GoingAway, SubmitSealed};
use prost::Message;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::mpsc::Permit;
use tokio::task::JoinSet;
use tokio::time::timeout;

use self::blob::window::Windows;
use self::close::Close;
use self::greeting::{Connected, Outcome};
use self::reader::{ReadError, Reader};
use self::writer::{Outbox, Pending, Writer};
use crate::command::error::Code;
use crate::command::{self, AuthenticatedDevice, CommandError, Lane, sealed, slot};
use crate::connection_number::ConnectionNumber;
use crate::delivery::Delivery;
use crate::incidents::Kind;
use crate::limits::held::{FRAME_DEADLINE_UNDER_PRESSURE, UNCOUNTED};
use crate::limits::{
    AUTHENTICATION_DEADLINE, MAX_BLOB_STREAMS, MAX_BYTES_IN_FLIGHT, MAX_REFUSED_STREAMS, READER_IDLE, SEALED_IDLE,
    SLOTS_IDLE,
};
use crate::observe::Event;
use crate::presence::Over;
use crate::shared::Shared;
use crate::store::Session;

/// How long the relay tries to hand a last word to a client whose queue is full.
const LAST_WORD: Duration = Duration::from_secs(3);

/// When a client that was turned away for want of room tries again: those that hold it have given it back, or ended.
const NO_ROOM_WAIT: Duration = FRAME_DEADLINE_UNDER_PRESSURE;

/// A wait for the request limit is looked at again after this long at most, so that a shutdown does not have to wait.
const LIMIT_PAUSE: Duration = Duration::from_secs(1);

/// Bytes of a request that are not counted in [`crate::limits::MAX_BYTES_IN_FLIGHT`]: even 64 of them are little.
const SMALL_REQUEST: usize = UNCOUNTED;

/// As the semaphore of bytes counts.
fn permits(bytes: usize) -> u32 {
    u32::try_from(bytes.min(MAX_BYTES_IN_FLIGHT)).unwrap_or(u32::MAX)
}

/// Something after which a connection is of no use: a last answer, and a code to close with.
#[derive(Debug)]
pub struct Fatal {
    request: u64,
    refusal: CommandError,
    close: Close,
}

impl Fatal {
    /// The client broke the protocol.
    pub fn protocol(request: u64, refusal: CommandError) -> Self {
        Self { request, refusal, close: Close::PROTOCOL }
    }

    fn too_slow(message: &'static str) -> Self {
        Self { request: 0, refusal: CommandError::new(Code::Limited, message), close: Close::TOO_SLOW }
    }
}

impl Fatal {
    /// [KV-102] More bytes of requests would be held than may be.
    fn no_room() -> Self {
        let refusal = CommandError::limited("bytes of requests at once", NO_ROOM_WAIT);
        Self { request: 0, refusal, close: Close::NO_ROOM }
    }
}

/// Why a connection ends.
#[derive(Debug)]
enum Ending {
    ClientLeft,
    GoingAway,
    AccountDeleted,
    DeviceDropped,
    Fatal(Fatal),
}

impl From<Fatal> for Ending {
    fn from(fatal: Fatal) -> Self {
        Self::Fatal(fatal)
    }
}

impl From<ReadError> for Ending {
    fn from(error: ReadError) -> Self {
        Self::Fatal(match error {
            ReadError::Ended => return Self::ClientLeft,
            ReadError::TooSlow => Fatal::too_slow("a frame took too long to arrive"),
            ReadError::NoRoom => Fatal::no_room(),
            ReadError::Frame(error @ FrameError::TooLarge) => Fatal::protocol(
                0,
                CommandError::new(Code::TooLarge, format!("{error}; before authentication much less")),
            ),
            // The decoder's words can hold what was sent.
            ReadError::Frame(_) => {
                Fatal::protocol(0, CommandError::new(Code::Malformed, "what was sent is no frame of this protocol"))
            }
        })
    }
}

/// Serves a connection whose handshake is done, until it ends.
pub async fn serve(service: Arc<Shared>, connection: quinn::Connection) {
    let number = ConnectionNumber::random();
    service.metrics.connected();
    service.observe(Event::Connected { connection: number, from: connection.remote_address() });
    tracing::debug!(connection = %number, "connected");
    let close = serve_stream(&service, &connection, number).await;
    close.close(&connection);
    tracing::debug!(connection = %number, reason = close.reason, "disconnected");
    service.observe(Event::Disconnected { connection: number });
}

async fn serve_stream(service: &Arc<Shared>, connection: &quinn::Connection, number: ConnectionNumber) -> Close {
    let (stream, incoming) = match timeout(AUTHENTICATION_DEADLINE, connection.accept_bi()).await {
        Ok(Ok(streams)) => streams,
        Ok(Err(_)) => return Close::DONE,
        Err(_) => return Close::TOO_SLOW,
    };
    let (outbox, writer) = Writer::new(connection.clone(), stream);
    let writing = tokio::spawn(writer.run());
    let ended = service.presence.ended();
    let mut client = Client {
        service,
        connection,
        number,
        reader: Reader::new(incoming, &service.held),
        outbox,
        streams: Streams::Later,
        transfers: JoinSet::new(),
        refused_streams: 0,
    };
    let ending = match client.greet().await {
        Ok(Peer::Device(device)) => client.serve_while_it_exists(device, ended).await,
        Ok(Peer::Anonymous(first)) => client.serve_sealed(first).await,
        Ok(Peer::Reader(first)) => client.serve_reader(first).await,
        Ok(Peer::Linking(first)) => client.serve_slots(first).await,
        Err(ending) => ending,
    };
    if matches!(ending, Ending::GoingAway) {
        client.finish_transfers().await;
    }
    let (last_word, close) = match ending {
        Ending::ClientLeft => (None, Close::DONE),
        Ending::GoingAway => (Some(Pending::ready(0, Ok(Response::GoingAway(GoingAway {})))), Close::GOING_AWAY),
        Ending::AccountDeleted => {
            let refusal = CommandError::new(Code::AuthenticationFailed, "this account was deleted");
            (Some(Pending::ready(0, Err(refusal))), Close::ACCOUNT_DELETED)
        }
        Ending::DeviceDropped => {
            let refusal =
                CommandError::new(Code::AuthenticationFailed, "this account's device list names this device no more");
            (Some(Pending::ready(0, Err(refusal))), Close::DEVICE_DROPPED)
        }
        Ending::Fatal(fatal) => {
            tracing::debug!(connection = %number, code = fatal.refusal.code.as_str_name(), "closing");
            (Some(Pending::ready(fatal.request, Err(fatal.refusal))), fatal.close)
        }
    };
    if let Some(last_word) = last_word {
        // A client that does not read misses it.
        let _ = timeout(LAST_WORD, client.outbox.answers.send(last_word)).await;
    }
    // With the outbox gone, the writer finishes.
    drop(client);
    // A panic in the writer has been printed; the connection ends here anyway.
    let _ = writing.await;
    close
}

/// What is at the other end of a connection.
enum Peer {
    /// The device that authenticated.
    Device(Address),
    /// A peer without a name, which submits sealed envelopes: the first, with its request's number.
    Anonymous(Box<(u64, SubmitSealed)>),
    /// A peer without a name, which links a device: its first request for a slot, with the request's number.
    Linking(Box<(u64, slot::Request)>),
    /// A peer without a name, which reads blobs: the first stream for one.
    Reader(Box<(quinn::SendStream, quinn::RecvStream)>),
}

/// What becomes of the streams beside the first.
enum Streams {
    /// They wait until it is known what the connection is for.
    Later,
    /// The first of them makes it a connection that reads blobs without a name.
    Reader,
    /// Each is for a blob [KV-124].
    Blobs(Arc<blob::Peer>),
    /// They are turned away.
    None,
}

/// The reading side of a connection.
struct Client<'a> {
    service: &'a Arc<Shared>,
    connection: &'a quinn::Connection,
    number: ConnectionNumber,
    reader: Reader,
    outbox: Outbox,
    streams: Streams,
    /// Those that are under way. They end with the connection.
    transfers: JoinSet<()>,
    refused_streams: u32,
}

/// What comes next on a connection.
enum Next {
    Frame(ClientFrame),
    /// A stream for a blob, before the connection is for anything else.
    Stream(quinn::SendStream, quinn::RecvStream),
}

impl Client<'_> {
    /// Until a device is authenticated, or a sealed envelope comes.
    async fn greet(&mut self) -> Result<Peer, Ending> {
        let greeted = timeout(AUTHENTICATION_DEADLINE, async {
            let hello = self.frame().await?;
            let request = hello.request;
            let (mut challenged, challenge) = Connected.handle(hello, self.service, self.connection)?;
            self.reader.expect_sealed();
            self.answer(request, Ok(challenge)).await?;
            self.streams = Streams::Reader;
            loop {
                let frame = match self.next().await? {
                    Next::Frame(frame) => frame,
                    Next::Stream(send, receive) => return Ok(Peer::Reader(Box::new((send, receive)))),
                };
                // What it says now tells who it is, or what the connection is for.
                self.streams = Streams::None;
                let request = frame.request;
                match challenged.handle(frame, self.service, self.connection, self.number).await? {
                    Outcome::Authenticated(device, response) => {
                        self.reader.trust(&self.service.held, device.account);
                        self.answer(request, Ok(response)).await?;
                        return Ok(Peer::Device(device));
                    }
                    Outcome::Sealed(first) => return Ok(Peer::Anonymous(Box::new((request, first)))),
                    Outcome::Slots(first) => return Ok(Peer::Linking(Box::new((request, first)))),
                    Outcome::Refused(again, refusal) => {
                        challenged = again;
                        self.answer(request, Err(refusal)).await?;
                    }
                }
            }
        });
        greeted.await.unwrap_or_else(|_| Err(Fatal::too_slow("authentication took too long").into()))
    }

    /// Until the connection ends, the account, or the device. `ended`: how many of them had ended before the device was looked up.
    async fn serve_while_it_exists(&mut self, device: Address, ended: u64) -> Ending {
        let mut login = self.service.presence.enter(device);
        // From here on the login hears of it. What happened before has to be looked up.
        if self.service.presence.ended() != ended && matches!(self.service.store.device(device).await, Ok(None)) {
            return Ending::AccountDeleted;
        }
        tokio::select! {
            biased;
            over = login.over() => match over {
                Over::Account => Ending::AccountDeleted,
                Over::Device => Ending::DeviceDropped,
            },
            ending = self.serve(device) => ending,
        }
    }

    /// Until the connection ends.
    async fn serve(&mut self, device: Address) -> Ending {
        self.take_blobs(Some(device));
        let caller = AuthenticatedDevice { service: Arc::clone(self.service), device, connection: self.number };
        // The delivery's sender is the only one: when this ends, so do the deliveries.
        let mut lane =
            Lane { delivery: Delivery::new(self.outbox.deliveries.clone()), session: self.service.store.session() };
        loop {
            match self.serve_one(&caller, &mut lane).await {
                Ok(()) => {}
                Err(ending) => return ending,
            }
        }
    }

    /// From now on each stream beside the first is for a blob.
    fn take_blobs(&mut self, device: Option<Address>) -> Arc<blob::Peer> {
        let peer = Arc::new(blob::Peer {
            service: Arc::clone(self.service),
            number: self.number,
            from: self.connection.remote_address().ip(),
            device,
            windows: Windows::of(self.connection),
        });
        self.connection.set_max_concurrent_bi_streams((1 + MAX_BLOB_STREAMS).into());
        self.streams = Streams::Blobs(Arc::clone(&peer));
        peer
    }

    /// Serves streams of a peer that reads blobs and says no name, until it opens none any more. Its first stream has said all that
    /// it has to say.
    async fn serve_reader(&mut self, first: Box<(quinn::SendStream, quinn::RecvStream)>) -> Ending {
        let peer = self.take_blobs(None);
        let (send, receive) = *first;
        self.transfers.spawn(blob::serve(Arc::clone(&peer), send, receive));
        loop {
            tokio::select! {
                biased;
                () = self.service.stopped() => return Ending::GoingAway,
                Some(_) = self.transfers.join_next(), if !self.transfers.is_empty() => {}
                stream = self.connection.accept_bi() => match stream {
                    Ok((send, receive)) => drop(self.transfers.spawn(blob::serve(Arc::clone(&peer), send, receive))),
                    Err(_) => return Ending::ClientLeft,
                },
                () = tokio::time::sleep(READER_IDLE), if self.transfers.is_empty() => return Ending::ClientLeft,
            }
        }
    }

    /// Waits until transfers have told their clients that the relay goes.
    async fn finish_transfers(&mut self) {
        let finished = async { while self.transfers.join_next().await.is_some() {} };
        // Those that did not, are cut off: what was durable is.
        let _ = timeout(LAST_WORD, finished).await;
    }

    /// Takes sealed envelopes, and nothing else, until the connection ends.
    async fn serve_sealed(&mut self, first: Box<(u64, SubmitSealed)>) -> Ending {
        let (mut request, mut envelope) = *first;
        let mut session = self.service.store.session();
        loop {
            if let Err(ending) = self.submit_sealed(&mut *session, request, envelope).await {
                return ending;
            }
            let frame = match timeout(SEALED_IDLE, self.frame()).await {
                Ok(Ok(frame)) => frame,
                Ok(Err(ending)) => return ending,
                Err(_) => return Ending::ClientLeft,
            };
            request = frame.request;
            envelope = match frame.body {
                Some(Request::SubmitSealed(envelope)) => envelope,
                _ => {
                    let refusal = CommandError::new(
                        Code::NotAuthenticated,
                        "this connection takes sealed envelopes only; open another one to authenticate",
                    );
                    return Fatal::protocol(frame.request, refusal).into();
                }
            };
        }
    }

    async fn submit_sealed(
        &mut self,
        session: &mut dyn Session,
        request: u64,
        envelope: SubmitSealed,
    ) -> Result<(), Ending> {
        let (size, held) = (envelope.encoded_len(), self.reader.take_held());
        let (place, bytes) = self.room(size).await?;
        let (asked, from) = (self.service.clock.elapsed(), self.connection.remote_address().ip());
        let answer = sealed::submit(self.service, session, (self.number, from), envelope).await;
        let answer = command::counted(self.service, "submit_sealed", asked, answer);
        place.send(Pending { request, answer, _bytes: (bytes, held) });
        Ok(())
    }

    /// Takes requests for slots, and nothing else, until the connection ends.
    async fn serve_slots(&mut self, first: Box<(u64, slot::Request)>) -> Ending {
        let (mut request, mut asked_for) = *first;
        loop {
            let (asked, name, held) = (self.service.clock.elapsed(), asked_for.name(), self.reader.take_held());
            // A piece is smaller than what is counted.
            let place = match self.room(0).await {
                Ok((place, _)) => place,
                Err(ending) => return ending,
            };
            let answer = slot::run(self.service, self.connection.remote_address().ip(), asked_for);
            let answer = command::counted(self.service, name, asked, answer);
            place.send(Pending { request, answer, _bytes: (None, held) });
            let frame = match timeout(SLOTS_IDLE, self.frame()).await {
                Ok(Ok(frame)) => frame,
                Ok(Err(ending)) => return ending,
                Err(_) => return Ending::ClientLeft,
            };
            request = frame.request;
            asked_for = match frame.body {
                Some(Request::WriteSlot(body)) => slot::Request::Write(body),
                Some(Request::ReadSlot(body)) => slot::Request::Read(body),
                _ => {
                    let refusal = CommandError::new(
                        Code::NotAuthenticated,
                        "this connection is for slots only; open another one to authenticate",
                    );
                    return Fatal::protocol(frame.request, refusal).into();
                }
            };
        }
    }

    /// A place for the answer to a request of so many bytes. Without one, nothing more is started.
    async fn room(&self, bytes: usize) -> Result<(Permit<'_, Pending>, Option<OwnedSemaphorePermit>), Ending> {
        // Nearly always there is one at once.
        if bytes <= SMALL_REQUEST
            && let Ok(place) = self.outbox.answers.try_reserve()
        {
            return Ok((place, None));
        }
        let room = async {
            let bytes = match bytes {
                0..=SMALL_REQUEST => None,
                // The largest frame fits, so this ends once enough answers are on their way.
                large => Some(Arc::clone(&self.outbox.bytes).acquire_many_owned(permits(large)).await.ok()?),
            };
            Some((self.outbox.answers.reserve().await.ok()?, bytes))
        };
        tokio::select! {
            room = room => room.ok_or(Ending::ClientLeft),
            _ = self.connection.closed() => Err(Ending::ClientLeft),
        }
    }

    async fn serve_one(&mut self, caller: &AuthenticatedDevice, lane: &mut Lane) -> Result<(), Ending> {
        let frame = self.frame().await?;
        self.respect_limit(&caller.device).await?;
        let (size, held) = (frame.encoded_len(), self.reader.take_held());
        let (place, bytes) = self.room(size).await?;
        let request = frame.request;
        let pending = match frame.body {
            Some(_) if let Err(refusal) = self.within_bytes(&caller.device, size) => {
                Pending::ready(request, Err(refusal))
            }
            Some(body) => Pending { request, answer: command::run(caller, lane, body), _bytes: (bytes, held) },
            None => Pending::ready(
                request,
                Err(CommandError::new(Code::Malformed, "a command that this relay does not know")),
            ),
        };
        place.send(pending);
        Ok(())
    }

    /// [KV-102] Counts the bytes of a request for its account. Small ones are bounded by their number, and none of what
    /// receiving needs is larger.
    ///
    /// # Errors
    /// `LIMITED`.
    fn within_bytes(&self, device: &Address, bytes: usize) -> Result<(), CommandError> {
        if bytes <= SMALL_REQUEST {
            return Ok(());
        }
        self.service.limiter.bytes(&device.account, bytes).map_err(|wait| {
            self.service.incidents.note(device.account, Kind::Bytes);
            CommandError::limited("bytes of this account's requests", wait)
        })
    }

    /// The next frame. Streams for blobs are served meanwhile, and other ones turned away.
    async fn frame(&mut self) -> Result<ClientFrame, Ending> {
        loop {
            if let Next::Frame(frame) = self.next().await? {
                return Ok(frame);
            }
        }
    }

    /// The next frame, or the stream that says what the connection is for.
    async fn next(&mut self) -> Result<Next, Ending> {
        if *self.service.stopping.borrow() {
            return Err(Ending::GoingAway);
        }
        if let Some(frame) = self.reader.buffered()? {
            return Ok(Next::Frame(frame));
        }
        let stopped = self.service.stopped();
        tokio::pin!(stopped);
        loop {
            let looks = !matches!(self.streams, Streams::Later);
            let (mut send, mut receive) = tokio::select! {
                biased;
                () = &mut stopped => return Err(Ending::GoingAway),
                frame = self.reader.next() => return Ok(Next::Frame(frame?)),
                stream = self.connection.accept_bi(), if looks => stream.map_err(|_| Ending::ClientLeft)?,
            };
            match &self.streams {
                Streams::Reader => return Ok(Next::Stream(send, receive)),
                Streams::Blobs(peer) => {
                    // Those that have ended are let go.
                    while self.transfers.try_join_next().is_some() {}
                    self.transfers.spawn(blob::serve(Arc::clone(peer), send, receive));
                }
                Streams::Later | Streams::None => {
                    self.refused_streams += 1;
                    // An error means that the client has closed the stream already.
                    let _ = (send.reset(Close::ONE_STREAM.code()), receive.stop(Close::ONE_STREAM.code()));
                }
            }
            if self.refused_streams > MAX_REFUSED_STREAMS {
                let refusal =
                    CommandError::new(Code::Malformed, "one stream per connection: send all commands on the first");
                return Err(Fatal { request: 0, refusal, close: Close::ONE_STREAM }.into());
            }
        }
    }

    /// Waits while the device is over its request limit. Not an error: refusing one of several requests that were sent
    /// without waiting would change their order.
    async fn respect_limit(&self, device: &Address) -> Result<(), Ending> {
        while let Err(wait) = self.service.limiter.request(device) {
            self.service.incidents.note(device.account, Kind::Requests);
            tokio::select! {
                () = self.service.stopped() => return Err(Ending::GoingAway),
                _ = self.connection.closed() => return Err(Ending::ClientLeft),
                () = tokio::time::sleep(wait.min(LIMIT_PAUSE)) => {}
            }
        }
        Ok(())
    }

    async fn answer(&self, request: u64, body: Result<Response, CommandError>) -> Result<(), Ending> {
        self.outbox.answers.send(Pending::ready(request, body)).await.map_err(|_| Ending::ClientLeft)
    }
}
