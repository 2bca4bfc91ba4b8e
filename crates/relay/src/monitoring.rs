//! Metrics and health for what watches the relay, over plain HTTP on an address of this machine.
//!
//! | path | answer |
//! |---|---|
//! | `/metrics` | [`crate::metrics`] as text, in the format that `Accept` asks for ([`Exposition`]) |
//! | `/healthz` | 200 as long as the process answers at all: restart it if not |
//! | `/readyz` | 200 if mail can be accepted: the store answers, the disk has room, the relay is not stopping; else 503 and why. With little room it says so |
//!
//! One request per connection, read by `httparse`: nothing here needs a web framework.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use kuvert_types::{AccountId, Address, DeviceId};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::blobs::Blobs;
use crate::exposition::Exposition;
use crate::figures::{Figure, Figures};
use crate::limits::ConnectionCount;
use crate::metrics::{Metrics, Sample};
use crate::relay_time::RelayClock;
use crate::store::{Store, StoreError, StoreFiles, Unavailable};
use crate::young::LowWater;

/// Bytes of a request: more is never needed here.
const MAX_REQUEST_BYTES: usize = 8 * 1024;

/// Header lines of a request.
const MAX_HEADERS: usize = 64;

/// For a whole request, and for taking its answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Requests under way at once.
const MAX_CONNECTIONS: usize = 16;

/// How long the store may take to answer before the relay is not ready.
const STORE_PATIENCE: Duration = Duration::from_secs(3);

/// What a relay says that serves with little room.
const LOW_WATER: &str = "little free disk space: nobody registers, and nothing is stored for new accounts";

/// A mailbox that belongs to no account: asking about it shows that the store answers, and changes nothing.
const NOBODY: Address = Address { account: AccountId::from_bytes([0; 16]), device: DeviceId::PRIMARY };

/// What monitoring looks at.
pub struct Monitor {
    /// What was counted.
    pub metrics: Arc<Metrics>,
    /// Whether it answers, and how much it holds.
    pub store: Arc<dyn Store>,
    /// Connections.
    pub count: Arc<ConnectionCount>,
    /// Becomes true once, when the relay shuts down.
    pub stopping: watch::Receiver<bool>,
    /// The data directory.
    pub data: PathBuf,
    /// Whether the clock is in doubt.
    pub clock: Arc<RelayClock>,
    /// Whether there is little room.
    pub low_water: Arc<LowWater>,
    /// Files, if it takes any.
    pub blobs: Option<Arc<Blobs>>,
    /// Free space below which the relay is not ready.
    pub ready_free_bytes: u64,
    /// What else is counted.
    pub figures: Option<Arc<dyn Figures>>,
}

impl fmt::Debug for Monitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Monitor").finish_non_exhaustive()
    }
}

/// An answer.
#[derive(PartialEq, Eq, Debug)]
struct Answer {
    status: &'static str,
    kind: &'static str,
    body: String,
}

impl Answer {
    fn text(status: &'static str, body: impl Into<String>) -> Self {
        Self { status, kind: "text/plain; charset=utf-8", body: body.into() }
    }

    fn bytes(&self) -> Vec<u8> {
        let Self { status, kind, body } = self;
        let length = body.len();
        format!(
            "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nCache-Control: no-store\r\n\
             Connection: close\r\n\r\n{body}"
        )
        .into_bytes()
    }
}

/// Answers until it is dropped.
pub async fn serve(listener: TcpListener, monitor: Arc<Monitor>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Some(_) = connections.join_next() => {}
            accepted = listener.accept(), if connections.len() < MAX_CONNECTIONS => match accepted {
                Ok((stream, _)) => drop(connections.spawn(answer(stream, Arc::clone(&monitor)))),
                // The process has no handles left, for instance: that passes.
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            },
        }
    }
}

async fn answer(mut stream: TcpStream, monitor: Arc<Monitor>) {
    let answer = match timeout(PATIENCE, read(&mut stream)).await {
        Ok(Ok(Ok(asked))) => monitor.answer(&asked).await,
        Ok(Ok(Err(refusal))) => refusal,
        // Nobody is there to be told.
        Ok(Err(_)) | Err(_) => return,
    };
    let send = async {
        stream.write_all(&answer.bytes()).await?;
        stream.shutdown().await
    };
    // Whoever does not take it, misses it.
    let _ = timeout(PATIENCE, send).await;
}

/// What is asked for.
#[derive(PartialEq, Eq, Debug)]
struct Asked {
    /// Without its query.
    path: String,
    exposition: Exposition,
}

/// What is asked for, or what is wrong with the request.
async fn read(stream: &mut TcpStream) -> io::Result<Result<Asked, Answer>> {
    let mut bytes = Vec::new();
    loop {
        if stream.take((MAX_REQUEST_BYTES - bytes.len()) as u64).read_buf(&mut bytes).await? == 0 {
            let too_long = bytes.len() >= MAX_REQUEST_BYTES;
            return if too_long {
                Ok(Err(Answer::text("431 Request Header Fields Too Large", "too long\n")))
            } else {
                Err(io::ErrorKind::UnexpectedEof.into())
            };
        }
        if let Some(result) = parse(&bytes) {
            return Ok(result);
        }
    }
}

/// `None`: there is more to come.
fn parse(bytes: &[u8]) -> Option<Result<Asked, Answer>> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(bytes) {
        Ok(httparse::Status::Partial) => None,
        Ok(httparse::Status::Complete(_)) if request.method == Some("GET") => {
            let target = request.path.unwrap_or_default();
            let accepts = request.headers.iter().filter(|header| header.name.eq_ignore_ascii_case("accept"));
            let accepts: Vec<_> = accepts.map(|header| String::from_utf8_lossy(header.value)).collect();
            Some(Ok(Asked {
                path: target.split('?').next().unwrap_or_default().to_owned(),
                exposition: Exposition::wanted(&accepts.join(",")),
            }))
        }
        Ok(httparse::Status::Complete(_)) => Some(Err(Answer::text("405 Method Not Allowed", "only GET\n"))),
        Err(_) => Some(Err(Answer::text("400 Bad Request", "this is no HTTP request\n"))),
    }
}

impl Monitor {
    async fn answer(&self, asked: &Asked) -> Answer {
        match asked.path.as_str() {
            "/healthz" => Answer::text("200 OK", "ok\n"),
            "/readyz" => match self.ready().await {
                Ok(()) if self.low_water.is_low() => Answer::text("200 OK", format!("ready; {LOW_WATER}\n")),
                Ok(()) => Answer::text("200 OK", "ready\n"),
                Err(reason) => Answer::text("503 Shared Unavailable", format!("{reason}\n")),
            },
            "/metrics" => match self.metrics.text(&self.sample().await, &self.others()) {
                Ok(body) => {
                    Answer { status: "200 OK", kind: asked.exposition.media_type(), body: asked.exposition.write(body) }
                }
                Err(_) => Answer::text("500 Internal Server Error", "the metrics cannot be written\n"),
            },
            _ => Answer::text("404 Not Found", "there are /metrics, /healthz and /readyz\n"),
        }
    }

    /// Whether mail can be accepted; else why not.
    async fn ready(&self) -> Result<(), &'static str> {
        if *self.stopping.borrow() {
            return Err("stopping");
        }
        // The writer and a reader, without writing anything.
        let answers = async {
            self.store.room().await?;
            self.store.acknowledge_expired(NOBODY, 0).await?;
            self.store.device(NOBODY).await
        };
        match timeout(STORE_PATIENCE, answers).await {
            Ok(Ok(_)) => {}
            Ok(Err(StoreError::Unavailable(Unavailable::DiskFull))) => {
                return Err("no space left: new mail is refused");
            }
            Ok(Err(_)) => return Err("the store fails"),
            Err(_) => return Err("the store does not answer"),
        }
        match self.free_bytes() {
            Some(free) if free.saturating_add(self.store.reusable()) >= self.ready_free_bytes => Ok(()),
            Some(_) => Err("the disk is nearly full"),
            None => Err("the data directory cannot be read"),
        }
    }

    fn others(&self) -> Vec<Figure> {
        self.figures.as_ref().map(|figures| figures.figures()).unwrap_or_default()
    }

    fn free_bytes(&self) -> Option<u64> {
        let stats = rustix::fs::statvfs(&self.data).ok()?;
        Some(stats.f_bavail.saturating_mul(stats.f_frsize))
    }

    async fn sample(&self) -> Sample {
        let StoreFiles { database_bytes, log_bytes, last_backup_ms } = self.store.files();
        let blobs = async { timeout(STORE_PATIENCE, self.blobs.as_ref()?.store.gauges()).await.ok()?.ok() };
        Sample {
            connections: self.count.open(),
            held: timeout(STORE_PATIENCE, self.store.gauges()).await.ok().and_then(Result::ok),
            blobs: blobs.await,
            transfers: self.blobs.as_ref().map_or(0, |blobs| blobs.transfers.under_way()),
            database_bytes,
            log_bytes,
            reusable_bytes: self.store.reusable(),
            free_bytes: self.free_bytes().unwrap_or_default(),
            ready: self.ready().await.is_ok(),
            last_backup_ms,
            unclean: self.store.was_unclean(),
            clock_step_ms: self.clock.doubt().unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;
    use crate::config::Limits;
    use crate::relay_time::EARLIEST_MS;
    use crate::store::Times;
    use crate::store::memory::MemoryStore;
    use crate::young::FileSystem;

    #[test]
    fn requests_are_read_whole_or_refused() {
        assert_eq!(parse(b"GET /metr"), None);
        assert_eq!(parse(b"GET /metrics HTTP/1.1\r\nHost: x\r\n"), None);
        for target in ["/metrics", "/metrics?a=b"] {
            let request = format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n");
            let asked = Asked { path: "/metrics".into(), exposition: Exposition::Text };
            assert_eq!(parse(request.as_bytes()), Some(Ok(asked)));
        }
        let status = |bytes: &[u8]| parse(bytes).unwrap().unwrap_err().status;
        assert_eq!(status(b"POST /metrics HTTP/1.1\r\n\r\n"), "405 Method Not Allowed");
        assert_eq!(status(b"\x16\x03\x01\x02\x00\x01"), "400 Bad Request");
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(MAX_HEADERS + 1));
        assert_eq!(status(many.as_bytes()), "400 Bad Request");
    }

    fn asked(path: &str) -> Asked {
        Asked { path: path.into(), exposition: Exposition::Text }
    }

    #[derive(Debug)]
    struct Seven;

    impl Figures for Seven {
        fn figures(&self) -> Vec<Figure> {
            vec![Figure { name: "seven", help: "Seven", counter: true, value: 7 }]
        }
    }

    #[tokio::test]
    async fn a_relay_that_stops_is_alive_and_not_ready() {
        let data = tempfile::tempdir().unwrap();
        let (stop, stopping) = watch::channel(false);
        let clock = RelayClock::start(Arc::new(ManualClock::new(EARLIEST_MS)), &Times::default(), false).unwrap();
        let monitor = Monitor {
            metrics: Arc::new(Metrics::new()),
            store: Arc::new(MemoryStore::new()),
            count: ConnectionCount::new(&Limits::default()),
            stopping,
            data: data.path().into(),
            clock: Arc::new(clock),
            low_water: Arc::new(LowWater::new(Arc::new(FileSystem::of(data.path())), Arc::new(ManualClock::new(0)), 0)),
            blobs: None,
            ready_free_bytes: 1,
            figures: Some(Arc::new(Seven)),
        };
        let written = monitor.answer(&asked("/metrics")).await.body;
        assert!(written.contains("\nkuvert_relay_seven_total 7\n"), "{written}");
        assert!(!written.contains("# EOF"), "{written}");
        assert_eq!(monitor.answer(&asked("/readyz")).await, Answer::text("200 OK", "ready\n"));
        stop.send(true).unwrap();
        assert_eq!(monitor.answer(&asked("/readyz")).await, Answer::text("503 Shared Unavailable", "stopping\n"));
        assert_eq!(monitor.answer(&asked("/healthz")).await.status, "200 OK");
    }
}
