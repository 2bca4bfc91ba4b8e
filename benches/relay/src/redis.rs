//! Redis with `appendfsync always` on the same work, if `redis-server` is installed: a stream for each recipient, answers
//! after fsync, entries deleted once they are read. Over TCP without TLS or accounts, which is in its favour; what it deletes
//! stays in its file.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::task::JoinSet;

use crate::Outcome;
use crate::job::{Done, Job, Work};
use crate::load::{Parent, WARM_UP, micros, say};
use crate::plan::{CIPHERTEXT_BYTES, Random};

/// Does the job's part.
///
/// # Errors
/// The server is gone, or says something unexpected.
pub async fn run(job: Job) -> Outcome<()> {
    let mut parent = Parent::new();
    let address: SocketAddr = job.target.as_ref().ok_or("this work needs a server")?.url.parse()?;
    let mut tasks = JoinSet::new();
    let mut done = Done::default();
    match job.work {
        Work::RedisEnqueue { senders, recipients, count, outstanding } => {
            let mut links = Vec::new();
            for sender in senders.iter() {
                links.push((sender, connect(address).await?));
            }
            parent.go().await?;
            let begun = Instant::now();
            for (sender, link) in links {
                let random = Random::new(job.seed ^ job.round, sender as u64);
                tasks.spawn(async move {
                    let latencies = enqueue(link, random, recipients.count, count, outstanding).await?;
                    Outcome::Ok((latencies, 0))
                });
            }
            add(&mut done, tasks).await?;
            done.seconds = begun.elapsed().as_secs_f64();
        }
        Work::RedisLive { pairs, rate, seconds } => {
            let mut links = Vec::new();
            for pair in pairs.iter() {
                links.push((pair, connect(address).await?, connect(address).await?));
            }
            parent.go().await?;
            let time = Duration::from_secs_f64(seconds);
            let plan = Plan {
                begun: Instant::now(),
                time,
                every: Duration::from_secs_f64(pairs.count as f64 / rate),
                warm: time.mul_f64(WARM_UP),
            };
            done.seconds = (time - plan.warm).as_secs_f64();
            for (pair, from, to) in links {
                let random = Random::new(job.seed, pair as u64);
                tasks.spawn(live(plan.clone(), format!("pair{pair}"), random, from, to));
            }
            add(&mut done, tasks).await?;
        }
        _ => return Err("not this work".into()),
    }
    say(&serde_json::to_string(&done)?)?;
    parent.leaves().await;
    Ok(())
}

async fn add(done: &mut Done, mut tasks: JoinSet<Outcome<(Vec<u32>, u64)>>) -> Outcome<()> {
    while let Some(task) = tasks.join_next().await {
        let (latencies, wrong) = task??;
        done.count += latencies.len() as u64;
        done.wrong += wrong;
        done.latencies.extend(latencies);
    }
    Ok(())
}

/// Keeps `outstanding` entries under way until `count` are answered.
async fn enqueue(
    (mut reader, mut writer): (Reader, OwnedWriteHalf),
    mut random: Random,
    recipients: usize,
    count: usize,
    outstanding: usize,
) -> Outcome<Vec<u32>> {
    let mut latencies = Vec::with_capacity(count);
    let mut under_way = VecDeque::new();
    let (mut sent, mut room) = (0, outstanding);
    while latencies.len() < count {
        let more = room.min(count - sent);
        let mut out = BytesMut::new();
        for _ in 0..more {
            let key = format!("mailbox{}", random.below(recipients));
            add_entry(&mut out, &key, &body(&mut random, 0));
        }
        under_way.extend(std::iter::repeat_n(Instant::now(), more));
        sent += more;
        writer.write_all(&out).await?;
        let replies = reader.replies().await?;
        let now = Instant::now();
        room = replies.len();
        for reply in replies {
            let Reply::Bytes(_) = reply else { return Err(format!("not accepted: {reply:?}").into()) };
            latencies.push(micros(now - under_way.pop_front().ok_or("an answer to nothing")?));
        }
    }
    Ok(latencies)
}

#[derive(Clone)]
struct Plan {
    begun: Instant,
    time: Duration,
    every: Duration,
    warm: Duration,
}

/// Latencies from adding an entry to reading it, and how many entries are missing.
async fn live(
    plan: Plan,
    key: String,
    mut random: Random,
    from: (Reader, OwnedWriteHalf),
    to: (Reader, OwnedWriteHalf),
) -> Outcome<(Vec<u32>, u64)> {
    let (mut answers, mut writer) = from;
    let answers = tokio::spawn(async move { while answers.replies().await.is_ok() {} });
    let sent = Arc::new(AtomicU64::new(u64::MAX));
    let receiving = tokio::spawn(receive(plan.clone(), key.clone(), to, Arc::clone(&sent)));
    let mut scheduled = plan.begun + plan.every.mul_f64(random.below(1_000) as f64 / 1_000.0);
    let mut count = 0;
    loop {
        tokio::time::sleep_until(scheduled.into()).await;
        scheduled += plan.every;
        if plan.begun.elapsed() >= plan.time {
            break;
        }
        let mut out = BytesMut::new();
        add_entry(&mut out, &key, &body(&mut random, micros(plan.begun.elapsed()).into()));
        writer.write_all(&out).await?;
        count += 1;
    }
    sent.store(count, Ordering::Relaxed);
    let (latencies, received) = receiving.await??;
    answers.abort();
    Ok((latencies, count.abs_diff(received)))
}

async fn receive(
    plan: Plan,
    key: String,
    (mut reader, mut writer): (Reader, OwnedWriteHalf),
    sent: Arc<AtomicU64>,
) -> Outcome<(Vec<u32>, u64)> {
    let (mut latencies, mut received) = (Vec::new(), 0);
    let mut last = Bytes::from_static(b"0");
    let mut out = BytesMut::new();
    while received < sent.load(Ordering::Relaxed) {
        // What was read is deleted along with asking for more.
        let deletions = usize::from(!out.is_empty());
        command(&mut out, &[&b"XREAD"[..], b"BLOCK", b"200", b"STREAMS", key.as_bytes(), &last]);
        writer.write_all(&out.split()).await?;
        let mut replies = Vec::new();
        while replies.len() < 1 + deletions {
            replies.extend(reader.replies().await?);
        }
        let now = micros(plan.begun.elapsed());
        let entries = replies.pop().and_then(entries).unwrap_or_default();
        let mut ids = vec![Bytes::from_static(b"XDEL"), key.clone().into()];
        for (id, body) in entries {
            received += 1;
            let stamp = u64::from_be_bytes(body.get(..8).ok_or("an entry that was not sent")?.try_into()?) as u32;
            if stamp >= micros(plan.warm) {
                latencies.push(now.saturating_sub(stamp));
            }
            last = id.clone();
            ids.push(id);
        }
        if ids.len() > 2 {
            command(&mut out, &ids);
        }
    }
    Ok((latencies, received))
}

/// Id and body of each entry in an answer to XREAD; `None`: the time is up without any.
fn entries(reply: Reply) -> Option<Vec<(Bytes, Bytes)>> {
    let stream = reply.list()?.pop()?.list()?.pop()?.list()?;
    let entry = |entry: Reply| {
        let mut entry = entry.list()?;
        let body = entry.pop()?.list()?.pop()?.bytes()?;
        Some((entry.pop()?.bytes()?, body))
    };
    stream.into_iter().map(entry).collect()
}

fn add_entry(out: &mut BytesMut, key: &str, body: &[u8]) {
    command(out, &[&b"XADD"[..], key.as_bytes(), b"*", b"b", body]);
}

fn body(random: &mut Random, stamp: u64) -> Vec<u8> {
    let mut body = vec![0; CIPHERTEXT_BYTES];
    random.fill(&mut body);
    body[..8].copy_from_slice(&stamp.to_be_bytes());
    body
}

// ---- Redis' protocol: https://redis.io/docs/latest/develop/reference/protocol-spec/

async fn connect(address: SocketAddr) -> Outcome<(Reader, OwnedWriteHalf)> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (reading, writing) = stream.into_split();
    Ok((Reader { stream: reading, buffer: BytesMut::new() }, writing))
}

fn command(out: &mut BytesMut, words: &[impl AsRef<[u8]>]) {
    out.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
    for word in words {
        let word = word.as_ref();
        out.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        out.extend_from_slice(word);
        out.extend_from_slice(b"\r\n");
    }
}

#[derive(Debug, PartialEq)]
enum Reply {
    /// A number or a word.
    Line(Bytes),
    Bytes(Bytes),
    List(Vec<Reply>),
    Nothing,
}

impl Reply {
    fn list(self) -> Option<Vec<Self>> {
        if let Self::List(list) = self { Some(list) } else { None }
    }

    fn bytes(self) -> Option<Bytes> {
        if let Self::Bytes(bytes) = self { Some(bytes) } else { None }
    }
}

struct Reader {
    stream: OwnedReadHalf,
    buffer: BytesMut,
}

impl Reader {
    /// All replies that are there; at least one.
    async fn replies(&mut self) -> Outcome<Vec<Reply>> {
        let mut replies = Vec::new();
        loop {
            let mut rest = &self.buffer[..];
            while let Some(reply) = parse(&mut rest)? {
                if let Reply::Line(line) = &reply
                    && line.starts_with(b"-")
                {
                    return Err(format!("redis: {}", String::from_utf8_lossy(line)).into());
                }
                replies.push(reply);
                let taken = self.buffer.len() - rest.len();
                self.buffer.advance(taken);
                rest = &self.buffer[..];
            }
            if !replies.is_empty() {
                return Ok(replies);
            }
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err("redis has gone".into());
            }
        }
    }
}

/// The next reply, taken off `input`; `None`: it is not whole yet.
fn parse(input: &mut &[u8]) -> Outcome<Option<Reply>> {
    let Some(end) = input.windows(2).position(|two| two == b"\r\n") else { return Ok(None) };
    let (line, mut rest) = (&input[..end], &input[end + 2..]);
    let count = || -> Outcome<i64> { Ok(std::str::from_utf8(&line[1..])?.parse()?) };
    let reply = match line.first() {
        Some(b'$' | b'*') if count()? < 0 => Reply::Nothing,
        Some(b'$') => {
            let len = usize::try_from(count()?)?;
            let Some(bytes) = rest.get(..len) else { return Ok(None) };
            let bytes = Bytes::copy_from_slice(bytes);
            let Some(after) = rest.get(len + 2..) else { return Ok(None) };
            rest = after;
            Reply::Bytes(bytes)
        }
        Some(b'*') => {
            let mut list = Vec::new();
            for _ in 0..count()? {
                match parse(&mut rest)? {
                    Some(reply) => list.push(reply),
                    None => return Ok(None),
                }
            }
            Reply::List(list)
        }
        _ => Reply::Line(Bytes::copy_from_slice(line)),
    };
    *input = rest;
    Ok(Some(reply))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_found_in_a_reply_that_comes_in_pieces() {
        let whole = b"*1\r\n*2\r\n$2\r\nm1\r\n*1\r\n*2\r\n$3\r\n5-0\r\n*2\r\n$1\r\nb\r\n$4\r\n\r\n\r\n\r\n+OK\r\n";
        let first = whole.len() - 5;
        for len in 0..first {
            assert_eq!(parse(&mut &whole[..len]).unwrap(), None);
        }
        let mut input = &whole[..];
        let reply = parse(&mut input).unwrap().unwrap();
        assert_eq!(entries(reply), Some(vec![(Bytes::from_static(b"5-0"), Bytes::from_static(b"\r\n\r\n"))]));
        assert_eq!(parse(&mut input).unwrap(), Some(Reply::Line(Bytes::from_static(b"+OK"))));
        assert_eq!(parse(&mut &b"*-1\r\n"[..]).unwrap(), Some(Reply::Nothing));
    }
}
