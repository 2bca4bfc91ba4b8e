//! What clients send to a relay, from the bytes of a stream on: frames, authentication, commands, deliveries, with three
//! connections of two devices at once. Only QUIC is missing, and the tasks that move bytes in and out of it.
//!
//! What has to hold: before authentication nothing is served. A refused command changes nothing. No connection gets, or
//! deletes, what is not its own, or what was not delivered on it. What was accepted stays until it is
//! acknowledged by its recipient or expires. Every answer fits a frame.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arbitrary::Arbitrary;
use bytes::BytesMut;
use kuvert_protocol::prelude::*;
use kuvert_relay::clock::{Clock, ManualClock};
use kuvert_relay::command::authenticate::{self, Proof};
use kuvert_relay::command::{self, AuthenticatedDevice, CommandError, Lane, register, slot};
use kuvert_relay::config::{Config, Limits, Registration};
use kuvert_relay::delivery::Delivery;
use kuvert_relay::incidents::Incidents;
use kuvert_relay::limits::held::{Bounds, Budget};
use kuvert_relay::limits::saved::Saved;
use kuvert_relay::limits::{Limiter, MAX_UNAUTHENTICATED_FRAME_BYTES};
use kuvert_relay::metrics::Metrics;
use kuvert_relay::observe::{Blind, ConnectionNumber};
use kuvert_relay::presence::LocalPresence;
use kuvert_relay::relay_time::RelayClock;
use kuvert_relay::retention;
use kuvert_relay::shared::Shared;
use kuvert_relay::slots::MemorySlots;
use kuvert_relay::store::memory::MemoryStore;
use kuvert_relay::store::{Cursor, NewAccount, NewDevice, NumberedDeviceList, Store, Times};
use kuvert_relay::young::{Disk, LowWater, Space, Young};
use kuvert_relay_lens::LensOffer;
use kuvert_relay_sqlite::SqliteRights;
use kuvert_relay_sqlite::embedded::Offer as _;
use kuvert_relay_sqlite::people::People;
use kuvert_relay_sqlite::report::Sources;
use kuvert_types::authentication::statement;
use kuvert_types::limits::{DELIVERY_WINDOW, MAX_FRAME_BYTES};
use kuvert_types::{AccountId, Address, DeviceId, EnvelopeId};
use kuvert_wire::frame;
use kuvert_wire::v1::client_frame::Body as Request;
use kuvert_wire::v1::server_frame::Body as Response;
use kuvert_wire::v1::{self, ClientFrame, ServerFrame};
use tokio::sync::{mpsc, watch};

const MAX_OPERATIONS: usize = 60;

const NOW: u64 = 1_700_000_000_000;

/// The relay's word to every connection here; a real one draws it.
const PROOF: Proof = Proof { challenge: [1; 32], exporter: [2; 32] };

#[derive(Arbitrary, Debug)]
enum Operation<'a> {
    /// Bytes of a stream, not necessarily whole frames.
    Bytes {
        connection: u8,
        bytes: &'a [u8],
    },
    /// A proof that no fuzzer finds.
    Authenticate {
        connection: u8,
        device: bool,
    },
    Submit {
        connection: u8,
        to: bool,
        id: u8,
        size: u16,
    },
    Attach {
        connection: u8,
    },
    /// So many of those delivered on the connection.
    Acknowledge {
        connection: u8,
        delivered: u8,
    },
    Reconnect {
        connection: u8,
    },
    Wait {
        hours: u8,
    },
}

/// A device that is registered.
struct Device {
    secrets: DeviceSecrets,
    address: Address,
}

struct Connection {
    stream: BytesMut,
    state: State,
    answers: u64,
}

enum State {
    Unknown,
    Known(Box<Known>),
    Closed,
}

struct Known {
    caller: AuthenticatedDevice,
    lane: Lane,
    deliveries: mpsc::Receiver<Vec<Response>>,
    /// Cursors, in the order of delivery.
    delivered: Vec<u64>,
    attached: bool,
}

/// What waits: cursor and id, for each mailbox.
type Mail = BTreeMap<Address, Vec<(u64, EnvelopeId)>>;

struct World {
    service: Arc<Shared>,
    store: Arc<dyn Store>,
    clock: Arc<ManualClock>,
    devices: [Device; 2],
    connections: [Connection; 3],
    _keep: (watch::Sender<bool>, mpsc::Receiver<()>),
}

/// Sends what the input says.
pub fn run(input: &[u8]) {
    let operations = crate::operations::<Operation<'_>>(input, MAX_OPERATIONS);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let mut world = World::new();
    runtime.block_on(async move {
        for operation in operations {
            world.step(operation).await;
        }
    });
}

/// A disk with room.
#[derive(Debug)]
struct Empty;

impl Disk for Empty {
    fn space(&self) -> std::io::Result<Space> {
        Ok(Space { free: u64::MAX, total: u64::MAX })
    }
}

impl World {
    fn new() -> Self {
        let clock = Arc::new(ManualClock::new(NOW));
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let (stop, stopping) = watch::channel(false);
        let (alive, ended) = mpsc::channel(1);
        let as_clock: Arc<dyn Clock> = Arc::<ManualClock>::clone(&clock);
        let offer = LensOffer::default();
        let people = People::in_memory(Some(offer.tables())).expect("SQLite works in memory");
        // There are no files here: a report cannot be made.
        let sources = Sources { data: PathBuf::from("no-such-directory"), retention_days: 30 };
        let rights = SqliteRights::new(people.clone(), sources, None);
        let config = Config { demonstration: true, ..Config::new("no-such-directory") };
        let extension = offer.extension(&config, people);
        let service = Arc::new(Shared {
            store: Arc::clone(&store),
            rights: Arc::new(rights),
            extension: Some(extension),
            presence: Arc::new(LocalPresence::default()),
            slots: Arc::new(MemorySlots::default()),
            observer: Arc::new(Blind),
            metrics: Arc::new(Metrics::new()),
            limiter: Limiter::new(&Limits::default(), Arc::clone(&as_clock)),
            saved_limits: Saved::nowhere(),
            held: Budget::new(Bounds::default()),
            others: None,
            blobs: None,
            young: Young::new(u64::from(Limits::default().young_account_mib) << 20),
            low_water: Arc::new(LowWater::new(Arc::new(Empty), Arc::clone(&as_clock), 1)),
            // This clock stands before the program was made, and is right.
            clock: Arc::new(RelayClock::start(as_clock, &Times::default(), true).expect("the clock is trusted")),
            incidents: Incidents::default(),
            report_delay_ms: 0,
            registration: Registration::Open,
            stopping,
            alive,
        });
        let devices = [1, 2].map(|n| device(&*store, n));
        let connections = [(); 3].map(|()| Connection { stream: BytesMut::new(), state: State::Unknown, answers: 0 });
        Self { service, store, clock, devices, connections, _keep: (stop, ended) }
    }

    async fn step(&mut self, operation: Operation<'_>) {
        match operation {
            Operation::Bytes { connection, bytes } => self.receive(connection, bytes).await,
            Operation::Authenticate { connection, device } => {
                let Device { secrets, address } = &self.devices[usize::from(device)];
                let signature = secrets.sign_authentication(&statement(address, &PROOF.challenge, &PROOF.exporter));
                let body = v1::Authenticate {
                    address: Some(kuvert_wire::checked::to_wire(address)),
                    signature: signature.as_bytes().to_vec().into(),
                };
                self.request(connection, Request::Authenticate(body)).await;
            }
            Operation::Submit { connection, to, id, size } => {
                let source = match &self.connections[usize::from(connection) % 3].state {
                    State::Known(known) => Some(kuvert_wire::checked::to_wire(&known.caller.device)),
                    State::Unknown | State::Closed => None,
                };
                let envelope = v1::Envelope {
                    id: vec![id; 16].into(),
                    recipient: Some(kuvert_wire::checked::to_wire(&self.devices[usize::from(to)].address)),
                    source,
                    ciphertext: vec![id; usize::from(size)].into(),
                };
                self.request(connection, Request::Submit(v1::Submit { envelope: Some(envelope), access_key: None }))
                    .await;
            }
            Operation::Attach { connection } => self.request(connection, Request::Attach(v1::Attach {})).await,
            Operation::Acknowledge { connection, delivered } => {
                let State::Known(known) = &self.connections[usize::from(connection) % 3].state else { return };
                let up_to = known.delivered.get(usize::from(delivered)).copied().unwrap_or_default();
                self.request(connection, Request::Acknowledge(v1::Acknowledge { up_to })).await;
            }
            Operation::Reconnect { connection } => {
                self.connections[usize::from(connection) % 3] =
                    Connection { stream: BytesMut::new(), state: State::Unknown, answers: 0 };
            }
            Operation::Wait { hours } => {
                self.clock.advance(Duration::from_secs(u64::from(hours) * 3600));
                let before = self.mail().await;
                let count = retention::expire(&self.service, 30).await.unwrap();
                let after = self.mail().await;
                let len = |mail: &Mail| mail.values().map(Vec::len).sum::<usize>() as u64;
                assert_eq!(len(&before) - len(&after), count);
            }
        }
        tokio::task::yield_now().await;
        for connection in &mut self.connections {
            connection.take_deliveries();
        }
    }

    /// A whole frame, as a correct client sends it.
    async fn request(&mut self, connection: u8, body: Request) {
        let mut bytes = BytesMut::new();
        if frame::encode(&ClientFrame { request: 1, body: Some(body) }, &mut bytes).is_ok() {
            self.receive(connection, &bytes).await;
        }
    }

    async fn receive(&mut self, connection: u8, bytes: &[u8]) {
        let at = usize::from(connection) % 3;
        self.connections[at].stream.extend_from_slice(bytes);
        loop {
            let connection = &mut self.connections[at];
            let limit = match connection.state {
                State::Unknown => MAX_UNAUTHENTICATED_FRAME_BYTES,
                State::Known(_) => MAX_FRAME_BYTES,
                State::Closed => return,
            };
            match frame::decode_within::<ClientFrame>(limit, &mut connection.stream) {
                Ok(Some(ClientFrame { body: Some(body), .. })) => self.serve(at, body).await,
                // A command that the relay does not know is answered with an error and no more.
                Ok(Some(ClientFrame { body: None, .. })) => {}
                Ok(None) => return,
                Err(_) => connection.state = State::Closed,
            }
        }
    }

    async fn serve(&mut self, at: usize, body: Request) {
        let (mail, accounts) = (self.mail().await, self.store.stats().await.unwrap().accounts);
        let before = self.look().await;
        let answer = match &mut self.connections[at].state {
            State::Known(known) => {
                known.check_request(&body);
                let answer = command::run(&known.caller, &mut known.lane, body.clone()).await;
                let device = known.caller.device;
                self.check_mail(&mail, &body, answer.is_ok(), Some((device, at))).await;
                answer
            }
            State::Unknown => {
                let answer = self.greet(at, body.clone()).await;
                self.check_mail(&mail, &body, answer.is_ok(), None).await;
                let registered = matches!((&body, &answer), (Request::Register(_), Ok(_)));
                let after = self.store.stats().await.unwrap().accounts;
                assert_eq!(after, accounts + u64::from(registered), "only a registration makes an account");
                answer
            }
            State::Closed => return,
        };
        if let (Request::DeleteAccount(_), Ok(_)) = (&body, &answer) {
            self.end_connections(at);
        }
        if let Err(refusal) = &answer {
            assert_eq!(self.look().await, before, "refused, and changed something: {refusal:?}");
        }
        let body = Some(answer.unwrap_or_else(|refusal| Response::Error(refusal.into_wire())));
        frame::encode(&ServerFrame { request: 1, body }, &mut BytesMut::new()).expect("an answer fits a frame");
        self.connections[at].answers += 1;
    }

    /// What the relay does with the connections of an account that was deleted on one of them.
    fn end_connections(&mut self, at: usize) {
        let State::Known(known) = &self.connections[at].state else { return };
        let account = known.caller.device.account;
        for connection in &mut self.connections {
            if matches!(&connection.state, State::Known(known) if known.caller.device.account == account) {
                connection.state = State::Closed;
            }
        }
    }

    async fn slot(&self, request: slot::Request) -> Result<Response, CommandError> {
        slot::run(&self.service, IpAddr::V4(Ipv4Addr::LOCALHOST), request)?.await
    }

    /// What the states before authentication do.
    async fn greet(&mut self, at: usize, body: Request) -> Result<Response, CommandError> {
        let number = ConnectionNumber::random();
        let result = match body {
            Request::Authenticate(request) => authenticate::run(&self.service, number, &PROOF, request).await,
            Request::Register(request) => {
                register::run(&self.service, number, IpAddr::V4(Ipv4Addr::LOCALHOST), &PROOF, request).await
            }
            Request::WriteSlot(request) => return self.slot(slot::Request::Write(request)).await,
            Request::ReadSlot(request) => return self.slot(slot::Request::Read(request)).await,
            _ => {
                self.connections[at].state = State::Closed;
                return Ok(Response::Done(v1::Done {}));
            }
        };
        let (device, response) = result?;
        let (outbox, deliveries) = mpsc::channel(1);
        let caller = AuthenticatedDevice { service: Arc::clone(&self.service), device, connection: number };
        let lane = Lane { delivery: Delivery::new(outbox), session: self.store.session() };
        let known = Known { caller, lane, deliveries, delivered: Vec::new(), attached: false };
        self.connections[at].state = State::Known(Box::new(known));
        Ok(response)
    }

    /// Compares what waits with what waited before a request.
    async fn check_mail(&self, before: &Mail, body: &Request, done: bool, caller: Option<(Address, usize)>) {
        let after = self.mail().await;
        for (mailbox, before) in before {
            let after = &after[mailbox];
            let kept: Vec<_> = before.iter().filter(|entry| after.contains(entry)).copied().collect();
            assert_eq!(kept[..], after[..kept.len()], "order of arrival");
            let (gone, new) = (before.len() - kept.len(), after.len() - kept.len());
            assert!(new == 0 || (new == 1 && done && matches!(body, Request::Submit(_))), "mail from nowhere");
            if gone > 0 {
                let (device, at) = caller.expect("nothing is deleted before authentication");
                if done && device.account == mailbox.account && matches!(body, Request::DeleteAccount(_)) {
                    assert!(after.is_empty(), "mail of an account that is no more");
                    continue;
                }
                assert!(done && device == *mailbox && matches!(body, Request::Acknowledge(_)), "mail deleted");
                let State::Known(known) = &self.connections[at].state else { panic!("closed") };
                let gone = before.iter().filter(|entry| !after.contains(entry));
                for (cursor, _) in gone {
                    assert!(known.delivered.contains(cursor), "deleted before it was delivered on this connection");
                }
            }
        }
    }

    async fn mail(&self) -> Mail {
        let mut mail = Mail::new();
        for Device { address, .. } in &self.devices {
            let page = self.store.read(*address, Cursor::START, usize::MAX, usize::MAX).await.unwrap();
            mail.insert(*address, page.envelopes.iter().map(|found| (found.cursor.get(), found.id)).collect());
        }
        mail
    }

    /// Everything that a refusal must not change.
    async fn look(&self) -> String {
        let mut seen = format!("{:?}", self.store.stats().await);
        for Device { address, .. } in &self.devices {
            let waiting = self.store.waiting(*address).await;
            let account = self.store.account(kuvert_relay::store::AccountBy::Id(address.account)).await;
            seen += &format!("{waiting:?} {:?} {account:?}", self.store.count_prekeys(*address).await);
        }
        seen
    }
}

impl Known {
    fn check_request(&mut self, body: &Request) {
        self.attached |= matches!(body, Request::Attach(_));
    }
}

impl Connection {
    fn take_deliveries(&mut self) {
        let State::Known(known) = &mut self.state else { return };
        while let Ok(bodies) = known.deliveries.try_recv() {
            for body in bodies {
                let Response::Delivery(delivery) = body else { continue };
                assert!(known.attached, "delivered unasked");
                let envelope = delivery.envelope.expect("a delivery has an envelope");
                let recipient = kuvert_wire::checked::address(&envelope.recipient.unwrap(), "recipient").unwrap();
                assert_eq!(recipient, known.caller.device, "somebody else's mail");
                known.delivered.push(delivery.cursor);
            }
        }
        let distinct: BTreeSet<_> = known.delivered.iter().collect();
        assert!(distinct.len() <= DELIVERY_WINDOW + MAX_OPERATIONS);
    }
}

fn device(store: &dyn Store, n: u8) -> Device {
    let account = AccountSecret::from_bytes(&[n; 32]);
    let secrets = DeviceSecrets::from_bytes(&[n; 64]);
    let address = Address { account: AccountId::from_bytes([n; 16]), device: DeviceId::PRIMARY };
    let certificate = secrets.certify(&account, address);
    let new = NewAccount {
        account: address.account,
        account_key: account.public(),
        device_list: NumberedDeviceList { number: 1, bytes: vec![n; 130].into() },
        name: None,
        phone: None,
        registered_at: NOW,
        device: NewDevice {
            device: DeviceId::PRIMARY,
            signing_key: secrets.signing_key(),
            certificate: certificate.encode().to_vec().into(),
        },
        invitation: None,
    };
    store.register(new).wait().unwrap();
    Device { secrets, address }
}
