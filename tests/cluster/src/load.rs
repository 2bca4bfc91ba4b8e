//! Clients: senders that repeat until they know, receivers that move from relay to relay, and takers of prekeys.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use kuvert_relay_bench::Outcome;
use kuvert_relay_bench::device::{Device, address};
use kuvert_relay_bench::job::Target;
use kuvert_relay_bench::link::{Dialer, Link, submit};
use kuvert_wire::checked::to_wire;
use kuvert_wire::v1;
use kuvert_wire::v1::client_frame::Body as Request;
use kuvert_wire::v1::error::Code;
use kuvert_wire::v1::server_frame::Body as Response;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::history::{Answer, History, Id, Served};

/// Accounts that are written to, each at one device that reads.
pub const MAILBOXES: usize = 40;

/// Accounts that write, each one envelope after the other.
pub const SENDERS: usize = 24;

/// Accounts whose prekeys are taken.
pub const OWNERS: usize = 4;

/// Accounts that take them.
pub const TAKERS: usize = 4;

/// Envelopes a second, of all senders, where nothing else is asked for. Each writes three times a second, evenly after the others: an
/// outage is seen to a seventieth of a second, and the clients leave the machine to what they measure.
pub const RATE: u32 = 72;

/// Envelopes for one bundle that is taken, where there is a rate.
const ENVELOPES_PER_BUNDLE: u32 = 12;

/// Between two bundles of one taker, where there is none.
const TAKES: Duration = Duration::from_millis(20);

/// How long a client waits for an answer before it goes to another relay.
const ANSWER: Duration = Duration::from_secs(5);

/// How long it takes to connect at most.
const CONNECT: Duration = Duration::from_secs(4);

/// How much earlier than the others the relay is tried that is a client's turn.
const HEAD_START: Duration = Duration::from_millis(400);

/// Between two tries.
const PAUSE: Duration = Duration::from_millis(100);

/// Bytes of an envelope.
const CIPHERTEXT: usize = 570;

/// A receiver moves to another relay after so many deliveries, and after so long.
const MOVES: (u64, Duration) = (400, Duration::from_secs(60));

/// Every other mailbox acknowledges what it got only after this time, so that what is stored twice is seen to be, and at the latest after
/// so many deliveries: no more than a relay sends ahead.
const LATE: (Duration, u64) = (Duration::from_secs(12), 64);

/// An envelope that a relay refused surely is given up this often: one of so many.
const GIVES_UP: u8 = 4;

/// One-time prekeys that are published at once.
const PREKEYS: u32 = 50;

/// What every client shares.
#[derive(Debug)]
pub struct World {
    /// Addresses of relays.
    pub relays: Vec<String>,
    /// Keys and ids follow from it.
    pub seed: u64,
    /// Envelopes a second, of all senders together. None: as many as are answered.
    pub rate: Option<u32>,
    /// What was answered.
    pub history: History,
    /// When.
    pub served: Served,
    /// Senders and takers stop.
    pub stop: AtomicBool,
    /// Receivers stop.
    pub done: AtomicBool,
    next: AtomicUsize,
}

/// Random bytes.
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    // A test without randomness repeats itself.
    let _ = getrandom::fill(&mut bytes);
    bytes
}

impl World {
    /// In front of these relays.
    pub fn new(relays: Vec<String>, rate: Option<u32>) -> Self {
        let seed = u64::from_be_bytes(random());
        Self {
            relays,
            seed,
            rate,
            history: History::default(),
            served: Served::default(),
            stop: AtomicBool::new(false),
            done: AtomicBool::new(false),
            next: AtomicUsize::new(0),
        }
    }

    /// Connects to one relay, and where it does not answer at once to all, as a client does whose relay's name has several addresses:
    /// the first that takes it has it.
    async fn connect(self: &Arc<Self>, device: &Device, register: bool) -> Link {
        loop {
            let first = self.next.fetch_add(1, Ordering::Relaxed);
            let mut tries = JoinSet::new();
            for place in 0..self.relays.len() {
                let relay = self.relays[(first + place) % self.relays.len()].clone();
                let device = device.clone();
                tries.spawn(async move {
                    if place > 0 {
                        sleep(HEAD_START).await;
                    }
                    let target = Target { url: relay, bare: false };
                    timeout(CONNECT, log_in(&target, &device, register)).await
                });
            }
            while let Some(tried) = tries.join_next().await {
                if let Ok(Ok(Ok(link))) = tried {
                    return link;
                }
            }
            sleep(PAUSE).await;
        }
    }

    fn device(&self, number: usize) -> Device {
        Device::new(self.seed, number)
    }
}

/// When one client of several has its turn: all of them together keep to a rate, and come evenly one after the other.
struct Turns {
    next: Instant,
    /// Between two of this client's.
    each: Duration,
}

impl Turns {
    /// Of one client of so many, that all have as many a second as the rate says, divided by `share`. None: there is no rate.
    fn begin(rate: Option<u32>, share: u32, (client, clients): (usize, usize), now: Instant) -> Option<Self> {
        let (client, clients) = (u32::try_from(client).ok()?, u32::try_from(clients).ok()?);
        let each = Duration::from_secs(1) * clients * share / rate?;
        Some(Self { next: now + each * client / clients, each })
    }

    /// Goes on to the turn after this one. What was missed during an outage is left out: else all would come at once after it, and
    /// each time from then on.
    fn pass(&mut self, now: Instant) {
        let late = now.saturating_duration_since(self.next).as_nanos();
        let missed = late.checked_div(self.each.as_nanos()).unwrap_or(0);
        self.next += self.each * u32::try_from(missed).unwrap_or(u32::MAX).saturating_add(1);
    }

    async fn wait(&mut self) {
        sleep(self.next.saturating_duration_since(Instant::now())).await;
        self.pass(Instant::now());
    }
}

/// Connects to one relay. One that registered without hearing of it is registered.
async fn log_in(target: &Target, device: &Device, register: bool) -> Outcome<Link> {
    // Relays of a test may have networks of their own.
    let dialer = Dialer::from(target, Ipv4Addr::UNSPECIFIED)?;
    if register {
        let connection = dialer.connect().await?;
        if let Ok(link) = dialer.link(connection, device, true).await {
            return Ok(link);
        }
    }
    let connection = dialer.connect().await?;
    dialer.link(connection, device, false).await
}

/// Registers all accounts.
pub async fn register(world: &Arc<World>) {
    let mut tasks = JoinSet::new();
    for number in 0..MAILBOXES + SENDERS + OWNERS + TAKERS {
        let world = Arc::clone(world);
        tasks.spawn(async move {
            world.connect(&world.device(number), true).await.connection.close(0_u32.into(), b"");
        });
    }
    while tasks.join_next().await.is_some() {}
}

/// Starts all clients: those that stop with `stop`, and those that stop with `done`.
pub fn start(world: &Arc<World>) -> (JoinSet<()>, JoinSet<()>) {
    let (mut senders, mut receivers) = (JoinSet::new(), JoinSet::new());
    for mailbox in 0..MAILBOXES {
        receivers.spawn(receive(Arc::clone(world), mailbox));
    }
    for sender in 0..SENDERS {
        senders.spawn(send(Arc::clone(world), sender));
    }
    let owners = MAILBOXES + SENDERS;
    for owner in 0..OWNERS {
        senders.spawn(publish(Arc::clone(world), owners + owner));
    }
    for taker in 0..TAKERS {
        senders.spawn(take(Arc::clone(world), taker, owners));
    }
    (senders, receivers)
}

/// Asks with patience. None: the connection is of no use any more.
async fn ask(link: &mut Link, request: Request) -> Option<Response> {
    timeout(ANSWER, link.ask(request)).await.ok()?.ok()
}

async fn send(world: Arc<World>, client: usize) {
    let (sender, mut number) = (MAILBOXES + client, 0);
    let device = world.device(sender);
    let from = to_wire(&device.address);
    let mut link = world.connect(&device, false).await;
    let mut turns = Turns::begin(world.rate, 1, (client, SENDERS), Instant::now());
    while !world.stop.load(Ordering::Relaxed) {
        if let Some(turns) = &mut turns {
            turns.wait().await;
        }
        number += 1;
        let (id, [pick, gives_up]): (Id, [u8; 2]) = (random(), random());
        let mailbox = usize::from(pick) % MAILBOXES;
        let to = to_wire(&address(world.seed, mailbox));
        world.history.submits(id, sender, number, mailbox);
        let began = Instant::now();
        let mut known = true;
        loop {
            let request = submit(id, &from, to.clone(), Bytes::from(vec![7; CIPHERTEXT]));
            let answer = match ask(&mut link, request).await {
                Some(Response::Accepted(_)) => Answer::Accepted,
                // In these words a relay says that it does not know.
                Some(Response::Error(error)) if error.message.contains("does not know") => Answer::Unknown,
                Some(Response::Error(_)) => Answer::Refused,
                _ => Answer::Unknown,
            };
            world.history.answered(&id, answer);
            match answer {
                Answer::Accepted => {
                    world.served.note(began.elapsed());
                    break;
                }
                Answer::Refused if known && gives_up % GIVES_UP == 0 => {
                    world.history.gives_up(&id);
                    sleep(PAUSE).await;
                    break;
                }
                Answer::Refused => {}
                Answer::Unknown => known = false,
            }
            if world.stop.load(Ordering::Relaxed) {
                return;
            }
            sleep(PAUSE).await;
            link.connection.close(0_u32.into(), b"");
            link = world.connect(&device, false).await;
        }
    }
}

async fn receive(world: Arc<World>, mailbox: usize) {
    let device = world.device(mailbox);
    while !world.done.load(Ordering::Relaxed) {
        let mut link = world.connect(&device, false).await;
        // Either way another connection follows.
        let _ = read(&world, mailbox, &mut link).await;
        link.connection.close(0_u32.into(), b"");
        sleep(PAUSE).await;
    }
}

/// Reads until the connection is of no use any more, or for long enough.
async fn read(world: &World, mailbox: usize, link: &mut Link) -> Outcome<()> {
    link.writer.send([Request::Attach(v1::Attach {})]).await?;
    let (mut last, mut seen, mut asked) = (0, 0, None);
    let (mut acknowledged_at, mut unacknowledged) = (Instant::now(), 0);
    let began = Instant::now();
    while seen < MOVES.0 && began.elapsed() < MOVES.1 {
        let frames = match timeout(ANSWER, link.reader.frames()).await {
            Ok(frames) => frames?,
            Err(_) if world.done.load(Ordering::Relaxed) || asked.is_some() => return Ok(()),
            // Nothing came for a while: nothing was sent, or the relay is gone.
            Err(_) => {
                let number = link.writer.send([Request::CountPrekeys(v1::CountPrekeys {})]).await?;
                asked = Some((number, 0));
                continue;
            }
        };
        for frame in frames {
            match frame.body {
                Some(Response::Delivery(delivery)) => {
                    let id = delivery.envelope.as_ref().and_then(|envelope| Id::try_from(&envelope.id[..]).ok());
                    world.history.delivered(mailbox, delivery.cursor, &id.unwrap_or_default(), last);
                    last = delivery.cursor;
                    seen += 1;
                    unacknowledged += 1;
                }
                Some(Response::Done(_)) if asked.is_some_and(|(number, _)| number == frame.request) => {
                    world.history.acknowledged(mailbox, asked.map_or(0, |(_, up_to)| up_to));
                    asked = None;
                }
                Some(Response::PrekeyCounts(_)) => asked = None,
                Some(Response::Displaced(_) | Response::Error(_)) => return Ok(()),
                _ => {}
            }
        }
        let is_late = mailbox.is_multiple_of(2) || acknowledged_at.elapsed() > LATE.0 || unacknowledged >= LATE.1;
        if asked.is_none() && unacknowledged > 0 && is_late {
            (acknowledged_at, unacknowledged) = (Instant::now(), 0);
            world.history.acknowledges(mailbox, last);
            let number = link.writer.send([Request::Acknowledge(v1::Acknowledge { up_to: last })]).await?;
            asked = Some((number, last));
        }
    }
    Ok(())
}

async fn publish(world: Arc<World>, owner: usize) {
    let device = world.device(owner);
    let (mut link, mut next) = (world.connect(&device, false).await, 1);
    while !world.stop.load(Ordering::Relaxed) {
        let low = match ask(&mut link, Request::CountPrekeys(v1::CountPrekeys {})).await {
            Some(Response::PrekeyCounts(counts)) => counts.one_time_kem < PREKEYS,
            _ => {
                link = world.connect(&device, false).await;
                continue;
            }
        };
        if low {
            // Whatever is answered, these ids are used up.
            let ids = next..next + PREKEYS;
            next += PREKEYS;
            if ask(&mut link, prekeys(ids)).await.is_none() {
                link = world.connect(&device, false).await;
            }
        }
        sleep(Duration::from_millis(300)).await;
    }
}

fn prekeys(ids: std::ops::Range<u32>) -> Request {
    let (curve, kem, signature) = (Bytes::from(vec![3; 32]), Bytes::from(vec![4; 1568]), Bytes::from(vec![5; 64]));
    let kem = |id| v1::KemPrekey { id, public_key: kem.clone(), signature: signature.clone() };
    Request::PublishPrekeys(v1::PublishPrekeys {
        signed_prekey: Some(v1::SignedPrekey {
            id: ids.start,
            public_key: curve.clone(),
            signature: signature.clone(),
        }),
        last_resort_kem_prekey: Some(kem(ids.start)),
        one_time_prekeys: ids.clone().map(|id| v1::OneTimePrekey { id, public_key: curve.clone() }).collect(),
        one_time_kem_prekeys: ids.map(kem).collect(),
    })
}

async fn take(world: Arc<World>, client: usize, owners: usize) {
    let device = world.device(owners + OWNERS + client);
    let mut link = world.connect(&device, false).await;
    let mut turns = Turns::begin(world.rate, ENVELOPES_PER_BUNDLE, (client, TAKERS), Instant::now());
    let mut turn = 0;
    while !world.stop.load(Ordering::Relaxed) {
        match &mut turns {
            Some(turns) => turns.wait().await,
            None => sleep(TAKES).await,
        }
        turn += 1;
        let owner = owners + turn % OWNERS;
        let account = Bytes::copy_from_slice(address(world.seed, owner).account.as_bytes());
        match ask(&mut link, Request::TakeBundles(v1::TakeBundles { account, devices: vec![] })).await {
            Some(Response::Bundles(bundles)) => {
                for bundle in bundles.bundles {
                    if let Some(kem) = bundle.kem_prekey.filter(|_| !bundle.kem_prekey_is_last_resort) {
                        world.history.taken(owner, true, kem.id);
                    }
                    if let Some(curve) = bundle.one_time_prekey {
                        world.history.taken(owner, false, curve.id);
                    }
                }
            }
            Some(Response::Error(error)) if error.code() == Code::Limited => {}
            Some(_) => {}
            None => link = world.connect(&device, false).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_keep_to_their_rate_and_apart_from_each_other_also_after_an_outage() {
        let (began, even) = (Instant::now(), Duration::from_secs(1) / RATE);
        let turns = |client| Turns::begin(Some(RATE), 1, (client, SENDERS), began).unwrap();
        let mut clients: Vec<Turns> = (0..SENDERS).map(turns).collect();
        // All of them wait for the same relay in between.
        let outage = began + Duration::from_secs(4);
        let back = outage + Duration::from_millis(3_333);
        let mut at: Vec<Duration> = Vec::new();
        for client in &mut clients {
            while client.next < began + Duration::from_secs(10) {
                let now = if client.next < outage { client.next } else { client.next.max(back) };
                at.push(now - began);
                client.pass(now);
            }
        }
        at.sort_unstable();
        let gaps: Vec<Duration> = at.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let long = gaps.iter().filter(|gap| **gap > even * 2).count();
        // One turn of each comes at once then, and no more.
        let at_once = gaps.iter().filter(|gap| gap.is_zero()).count();
        assert_eq!((long, at_once), (1, SENDERS - 1), "{gaps:?}");
        assert!(Turns::begin(None, 1, (0, SENDERS), began).is_none());
    }
}
