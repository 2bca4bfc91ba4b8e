//! The work of a load process.

use std::collections::{HashSet, VecDeque};
use std::io::{self, BufRead, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use kuvert_wire::checked::to_wire;
use kuvert_wire::v1;
use kuvert_wire::v1::client_frame::Body as Request;
use kuvert_wire::v1::server_frame::Body as Response;
use quinn::TransportErrorCode;
use tokio::io::{AsyncBufReadExt, BufReader, Lines, Stdin};
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinSet;

use crate::device::{Device, address};
use crate::job::{Done, GO, Job, READY, Range, Work};
use crate::link::{Dialer, Link, Reader, Writer, submit};
use crate::plan::{CIPHERTEXT_BYTES, Random};
use crate::{Outcome, bare, hostile, redis, storage};

/// Connections opened at once: enough to keep a relay busy, too few for it to ask for proof of addresses.
const OPENING: usize = 24;

/// How often a refused connection is tried again, and after how long.
const MAX_REFUSALS: usize = 100;
const AFTER_REFUSAL: Duration = Duration::from_millis(200);

/// Within every ciphertext, so that a search of files finds it.
pub const MARKER: &[u8; 16] = b"kuvert-bench-env";

/// Where in the ciphertext: behind the time of sending.
const MARKER_AT: usize = 8;

/// The first part of a live measurement that does not count.
pub const WARM_UP: f64 = 0.2;

/// A timer is this late at worst; later than that is waiting, and counts as latency.
const TIMER: Duration = Duration::from_millis(1);

/// Does what the first line of stdin says.
///
/// # Errors
/// The work failed; the parent sees this process end.
pub fn work() -> Outcome<()> {
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    let job: Job = serde_json::from_str(&line)?;
    match &job.work {
        Work::Storage { .. } => {
            say(READY)?;
            wait_for_go()?;
            say(&serde_json::to_string(&storage::run(&job)?)?)
        }
        Work::Bare { data } => bare::run(data.as_ref()),
        work => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            match work {
                Work::RedisEnqueue { .. } | Work::RedisLive { .. } => runtime.block_on(redis::run(job)),
                _ => runtime.block_on(network(job)),
            }
        }
    }
}

/// A line for the parent.
///
/// # Errors
/// It has gone.
pub fn say(line: &str) -> Outcome<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{line}")?;
    Ok(stdout.flush()?)
}

fn wait_for_go() -> Outcome<()> {
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    if line.trim_end() == GO { Ok(()) } else { Err("the parent has gone".into()) }
}

/// The parent, as network work hears it.
pub struct Parent(Lines<BufReader<Stdin>>);

impl Default for Parent {
    fn default() -> Self {
        Self::new()
    }
}

impl Parent {
    /// From stdin.
    pub fn new() -> Self {
        Self(BufReader::new(tokio::io::stdin()).lines())
    }

    /// Says that all is ready and waits for the word.
    ///
    /// # Errors
    /// The parent has gone.
    pub async fn go(&mut self) -> Outcome<()> {
        say(READY)?;
        match self.0.next_line().await? {
            Some(line) if line == GO => Ok(()),
            _ => Err("the parent has gone".into()),
        }
    }

    /// Until stdin closes.
    pub async fn leaves(&mut self) {
        while let Ok(Some(_)) = self.0.next_line().await {}
    }
}

async fn network(job: Job) -> Outcome<()> {
    let mut parent = Parent::new();
    let target = job.target.as_ref().ok_or("this work needs a server")?;
    let dialer = Dialer::new(target)?;
    let done = match job.work {
        Work::Register { devices } => {
            parent.go().await?;
            let begun = Instant::now();
            let links = open(&dialer, job.seed, devices, true).await?;
            Done { count: links.len() as u64, seconds: begun.elapsed().as_secs_f64(), ..Done::default() }
        }
        Work::Enqueue { senders, recipients, count, outstanding } => {
            let links = open(&dialer, job.seed, senders, false).await?;
            parent.go().await?;
            enqueue(links, job.seed, job.round, recipients, count, outstanding).await?
        }
        Work::Drain { devices } => {
            let links = open(&dialer, job.seed, devices, false).await?;
            parent.go().await?;
            drain(links, job.round).await?
        }
        Work::Live { devices, rate, outstanding, seconds } => {
            let links = open(&dialer, job.seed, devices, false).await?;
            live(links, &mut parent, &job, rate, outstanding, Duration::from_secs_f64(seconds)).await?
        }
        Work::Handshake { count, concurrent } => {
            parent.go().await?;
            handshake(&dialer, count, concurrent).await?
        }
        Work::Idle { devices } => {
            let mut links = open(&dialer, job.seed, devices, true).await?;
            for (_, link) in &mut links {
                link.ask(Request::Attach(v1::Attach {})).await?;
            }
            parent.go().await?;
            parent.leaves().await;
            Done { count: links.len() as u64, ..Done::default() }
        }
        Work::Hostile { devices } => hostile::run(target, job.seed, devices, &mut parent).await?,
        Work::Bare { .. } | Work::Storage { .. } | Work::RedisEnqueue { .. } | Work::RedisLive { .. } => {
            return Err("this work needs no network".into());
        }
    };
    say(&serde_json::to_string(&done)?)?;
    parent.leaves().await;
    dialer.endpoint().close(0u32.into(), b"");
    Ok(())
}

/// Connections of all these devices, in their order.
async fn open(dialer: &Dialer, seed: u64, devices: Range, register: bool) -> Outcome<Vec<(usize, Link)>> {
    let next = Arc::new(AtomicUsize::new(devices.first));
    let mut tasks = JoinSet::new();
    for _ in 0..OPENING {
        let (next, dialer) = (Arc::clone(&next), dialer.clone());
        tasks.spawn(async move {
            let mut links = Vec::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= devices.first + devices.count {
                    return Outcome::Ok(links);
                }
                links.push((number, patiently(&dialer, &Device::new(seed, number), register).await?));
            }
        });
    }
    let mut links = Vec::new();
    while let Some(opened) = tasks.join_next().await {
        links.extend(opened??);
    }
    links.sort_by_key(|(number, _)| *number);
    Ok(links)
}

/// As Kuvert's client does: a relay that refuses a connection because it is busy is asked again.
async fn patiently(dialer: &Dialer, device: &Device, register: bool) -> Outcome<Link> {
    for _ in 0..MAX_REFUSALS {
        match dialer.connect().await {
            Ok(connection) => return dialer.link(connection, device, register).await,
            Err(error) if error.downcast_ref().is_some_and(is_refused) => tokio::time::sleep(AFTER_REFUSAL).await,
            Err(error) => return Err(error),
        }
    }
    Err("the server refused every connection".into())
}

fn is_refused(error: &quinn::ConnectionError) -> bool {
    matches!(error, quinn::ConnectionError::ConnectionClosed(close) if close.error_code == TransportErrorCode::CONNECTION_REFUSED)
}

/// The envelopes of one sender.
struct Mail {
    from: v1::Address,
    random: Random,
    id: [u8; 16],
    next: u64,
}

impl Mail {
    fn new(seed: u64, round: u64, sender: usize) -> Self {
        let mut id = [0; 16];
        id[..4].copy_from_slice(&(round as u32).to_be_bytes());
        id[4..8].copy_from_slice(&(sender as u32).to_be_bytes());
        let random = Random::new(seed ^ round, sender as u64);
        Self { from: to_wire(&address(seed, sender)), random, id, next: 0 }
    }

    fn submit(&mut self, to: v1::Address, sent_at: u64) -> Request {
        self.id[8..].copy_from_slice(&self.next.to_be_bytes());
        self.next += 1;
        let mut ciphertext = vec![0; CIPHERTEXT_BYTES];
        self.random.fill(&mut ciphertext);
        ciphertext[..MARKER_AT].copy_from_slice(&sent_at.to_be_bytes());
        ciphertext[MARKER_AT..MARKER_AT + MARKER.len()].copy_from_slice(MARKER);
        submit(self.id, &self.from, to, ciphertext.into())
    }
}

/// Whether an envelope of this round has the shape that it was sent with.
fn is_of(round: u64, envelope: &v1::Envelope) -> bool {
    let body = &envelope.ciphertext;
    envelope.id.starts_with(&(round as u32).to_be_bytes())
        && body.len() == CIPHERTEXT_BYTES
        && body[MARKER_AT..].starts_with(MARKER)
}

/// As latencies are reported.
pub fn micros(duration: Duration) -> u32 {
    u32::try_from(duration.as_micros()).unwrap_or(u32::MAX)
}

async fn enqueue(
    links: Vec<(usize, Link)>,
    seed: u64,
    round: u64,
    recipients: Range,
    count: usize,
    outstanding: usize,
) -> Outcome<Done> {
    let addresses: Arc<[v1::Address]> = recipients.iter().map(|number| to_wire(&address(seed, number))).collect();
    let begun = Instant::now();
    let mut tasks = JoinSet::new();
    for (number, link) in links {
        tasks.spawn(send(link, Mail::new(seed, round, number), Arc::clone(&addresses), count, outstanding));
    }
    let mut done = Done::default();
    while let Some(latencies) = tasks.join_next().await {
        done.latencies.extend(latencies??);
    }
    done.seconds = begun.elapsed().as_secs_f64();
    done.count = done.latencies.len() as u64;
    Ok(done)
}

/// Keeps `outstanding` submits under way until `count` are accepted.
async fn send(
    mut link: Link,
    mut mail: Mail,
    recipients: Arc<[v1::Address]>,
    count: usize,
    outstanding: usize,
) -> Outcome<Vec<u32>> {
    let mut latencies = Vec::with_capacity(count);
    let mut under_way = VecDeque::new();
    let mut sent = 0;
    let mut room = outstanding;
    loop {
        let now = Instant::now();
        let more = room.min(count - sent);
        let bodies: Vec<_> = (0..more)
            .map(|_| {
                let to = recipients[mail.random.below(recipients.len())].clone();
                mail.submit(to, 0)
            })
            .collect();
        under_way.extend(std::iter::repeat_n(now, more));
        sent += more;
        if more > 0 {
            link.writer.send(bodies).await?;
        }
        if latencies.len() == count {
            return Ok(latencies);
        }
        let frames = link.reader.frames().await?;
        let now = Instant::now();
        room = frames.len();
        for frame in frames {
            match frame.body {
                Some(Response::Accepted(_)) => {}
                other => return Err(format!("not accepted: {other:?}").into()),
            }
            let begun = under_way.pop_front().ok_or("an answer to nothing")?;
            latencies.push(micros(now - begun));
        }
    }
}

async fn drain(links: Vec<(usize, Link)>, round: u64) -> Outcome<Done> {
    let begun = Instant::now();
    let mut tasks = JoinSet::new();
    for (_, link) in links {
        tasks.spawn(empty(link, round));
    }
    let mut done = Done::default();
    let mut ids = HashSet::new();
    while let Some(emptied) = tasks.join_next().await {
        let (delivered, strange) = emptied??;
        done.wrong += strange;
        for id in delivered {
            done.count += 1;
            done.wrong += u64::from(!ids.insert(id));
        }
    }
    done.seconds = begun.elapsed().as_secs_f64();
    Ok(done)
}

/// Takes and acknowledges everything. Ends with the answer to the last acknowledgement.
async fn empty(mut link: Link, round: u64) -> Outcome<(Vec<Bytes>, u64)> {
    let attach = link.writer.send([Request::Attach(v1::Attach {})]).await?;
    let (mut ids, mut strange) = (Vec::new(), 0);
    let mut last_request = attach;
    let mut answered = 0;
    let mut caught_up = false;
    while !caught_up || answered < last_request {
        let mut up_to = None;
        for frame in link.reader.frames().await? {
            answered = answered.max(frame.request);
            match frame.body {
                Some(Response::Delivery(delivery)) => {
                    up_to = Some(delivery.cursor);
                    let envelope = delivery.envelope.unwrap_or_default();
                    strange += u64::from(!is_of(round, &envelope));
                    ids.push(envelope.id);
                }
                Some(Response::CaughtUp(_)) => caught_up = true,
                Some(Response::Attached(_) | Response::Done(_)) => {}
                other => return Err(format!("unexpected: {other:?}").into()),
            }
        }
        if let Some(up_to) = up_to {
            last_request = link.writer.send([Request::Acknowledge(v1::Acknowledge { up_to })]).await?;
        }
    }
    Ok((ids, strange))
}

/// One live measurement.
#[derive(Clone)]
struct Live {
    begun: Instant,
    until: Instant,
    warm: Duration,
    /// Between two envelopes of one pair.
    every: Option<Duration>,
    round: u64,
}

async fn live(
    links: Vec<(usize, Link)>,
    parent: &mut Parent,
    job: &Job,
    rate: Option<f64>,
    outstanding: usize,
    time: Duration,
) -> Outcome<Done> {
    let pairs = links.len() / 2;
    let mut halves = Vec::new();
    let mut links = links.into_iter();
    while let (Some((from, sender)), Some((to, mut receiver))) = (links.next(), links.next()) {
        receiver.ask(Request::Attach(v1::Attach {})).await?;
        halves.push((from, sender, to, receiver));
    }
    parent.go().await?;
    let begun = Instant::now();
    let plan = Live {
        begun,
        until: begun + time,
        warm: time.mul_f64(WARM_UP),
        every: rate.map(|rate| Duration::from_secs_f64(pairs as f64 / rate)),
        round: job.round,
    };
    let mut tasks = JoinSet::new();
    for (from, sender, to, receiver) in halves {
        let mail = Mail::new(job.seed, job.round, from);
        let to = to_wire(&address(job.seed, to));
        tasks.spawn(pair(plan.clone(), sender, mail, to, receiver, outstanding));
    }
    let mut done = Done { seconds: (time - plan.warm).as_secs_f64(), ..Done::default() };
    while let Some(pair) = tasks.join_next().await {
        let (latencies, wrong) = pair??;
        done.count += latencies.len() as u64;
        done.wrong += wrong;
        done.latencies.extend(latencies);
    }
    Ok(done)
}

/// Latencies in microseconds from submit to delivery, and how many envelopes were lost or came twice.
async fn pair(
    plan: Live,
    sender: Link,
    mail: Mail,
    to: v1::Address,
    receiver: Link,
    outstanding: usize,
) -> Outcome<(Vec<u32>, u64)> {
    // Answers are taken by a task of their own; it ends with the connection.
    let Link { connection, writer, mut reader } = sender;
    let answers = tokio::spawn(async move { while reader.frames().await.is_ok() {} });
    let room = Arc::new(Semaphore::new(outstanding));
    let sent = Arc::new(AtomicU64::new(u64::MAX));
    let finished = Arc::new(Notify::new());
    let sending = {
        let (plan, room, sent, finished) = (plan.clone(), Arc::clone(&room), Arc::clone(&sent), Arc::clone(&finished));
        async move {
            let count = send_live(&plan, writer, mail, to, &room).await;
            sent.store(*count.as_ref().unwrap_or(&0), Ordering::Relaxed);
            finished.notify_one();
            count
        }
    };
    let Link { connection: _receiving, writer: acknowledging, reader: deliveries } = receiver;
    let receiving = receive_live(&plan, acknowledging, deliveries, &room, &sent, &finished);
    // Whoever fails ends the other, who would wait for him.
    let (count, (latencies, received)) = tokio::try_join!(sending, receiving)?;
    answers.abort();
    drop(connection);
    Ok((latencies, count.abs_diff(received)))
}

async fn send_live(plan: &Live, mut writer: Writer, mut mail: Mail, to: v1::Address, room: &Semaphore) -> Outcome<u64> {
    // Pairs begin at different moments.
    let phase = plan.every.map_or(Duration::ZERO, |every| every.mul_f64(mail.random.below(1_000) as f64 / 1_000.0));
    let mut scheduled = plan.begun + phase;
    let mut count = 0;
    loop {
        match plan.every {
            Some(every) => {
                tokio::time::sleep_until(scheduled.into()).await;
                scheduled += every;
            }
            None => room.acquire().await?.forget(),
        }
        let now = Instant::now();
        if now >= plan.until {
            return Ok(count);
        }
        // Whoever is late because the relay makes him wait has waited.
        let at = match plan.every {
            Some(every) => now.min(scheduled - every + TIMER),
            None => now,
        };
        let stamp = u64::from(micros(at - plan.begun));
        writer.send([mail.submit(to.clone(), stamp)]).await?;
        count += 1;
    }
}

async fn receive_live(
    plan: &Live,
    mut writer: Writer,
    mut reader: Reader,
    room: &Semaphore,
    sent: &AtomicU64,
    finished: &Notify,
) -> Outcome<(Vec<u32>, u64)> {
    let (mut latencies, mut received) = (Vec::new(), 0);
    let (mut asked, mut answered) = (0, 0);
    while received < sent.load(Ordering::Relaxed) {
        let frames = tokio::select! {
            frames = reader.frames() => frames?,
            () = finished.notified() => continue,
        };
        let now = micros(plan.begun.elapsed());
        let mut up_to = None;
        for frame in frames {
            answered = answered.max(frame.request);
            let Some(Response::Delivery(delivery)) = frame.body else { continue };
            up_to = Some(delivery.cursor);
            let envelope = delivery.envelope.unwrap_or_default();
            if !is_of(plan.round, &envelope) {
                return Err("a delivery that was not sent in this measurement".into());
            }
            received += 1;
            room.add_permits(1);
            let stamp = u64::from_be_bytes(envelope.ciphertext[..MARKER_AT].try_into()?) as u32;
            if stamp >= micros(plan.warm) {
                latencies.push(now.saturating_sub(stamp));
            }
        }
        if let Some(up_to) = up_to {
            asked = writer.send([Request::Acknowledge(v1::Acknowledge { up_to })]).await?;
        }
    }
    // Hanging up too early would leave the last envelopes to the next measurement.
    while answered < asked {
        for frame in reader.frames().await? {
            answered = answered.max(frame.request);
        }
    }
    Ok((latencies, received))
}

async fn handshake(dialer: &Dialer, count: usize, concurrent: usize) -> Outcome<Done> {
    let begun = Instant::now();
    let left = Arc::new(AtomicUsize::new(count));
    let mut tasks = JoinSet::new();
    for _ in 0..concurrent {
        let (left, dialer) = (Arc::clone(&left), dialer.clone());
        tasks.spawn(async move {
            let mut latencies = Vec::new();
            let take = |left: usize| left.checked_sub(1);
            while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok() {
                let begun = Instant::now();
                let connection = dialer.connect().await?;
                latencies.push(micros(begun.elapsed()));
                connection.close(0u32.into(), b"");
            }
            Outcome::Ok(latencies)
        });
    }
    let mut done = Done::default();
    while let Some(latencies) = tasks.join_next().await {
        done.latencies.extend(latencies??);
    }
    done.count = done.latencies.len() as u64;
    done.seconds = begun.elapsed().as_secs_f64();
    Ok(done)
}
