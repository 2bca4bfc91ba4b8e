//! The scenarios in their order.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::Outcome;
use crate::job::{Done, Job, Range, Target, Work};
use crate::load::MARKER;
use crate::plan::{CIPHERTEXT_BYTES, Plan};
use crate::process::{Limits, Server, Worker};
use crate::report::{
    Disk, Drain, Enqueue, Expiry, Fsync, Handshake, Hostile, Idle, Live, Point, Redis, Report, Start, Storage, Versus,
    median,
};

/// How long the relay may take to bring its files to rest.
const SETTLE: Duration = Duration::from_secs(20);

/// Envelopes of a pair under way when as many as possible are to be delivered.
const CLOSED_LOOP: usize = 16;

/// Connections made at once.
const CONCURRENT_HANDSHAKES: usize = 16;

/// Gap between the envelopes of one round and those of the next.
const LIVE_ROUND: u64 = 1_000;

struct Run<'a> {
    plan: &'a Plan,
    /// This program.
    program: PathBuf,
    directory: &'a Path,
    progress: &'a mut dyn FnMut(&str),
}

/// Measures everything; the points of the plot only if `plot`.
///
/// # Errors
/// A process failed, something was lost, or a step took longer than the plan allows.
pub async fn measure(plan: &Plan, directory: &Path, plot: bool, progress: &mut dyn FnMut(&str)) -> Outcome<Report> {
    let base = scratch(directory)?;
    let mut run = Run { plan, program: std::env::current_exe()?, directory: base.path(), progress };
    let fsync = fsync(base.path(), plan.fsync)?;
    let mail = run.mail(plot).await?;
    let (handshake, idle) = run.connections().await?;
    let (storage, expiry) = run.storage().await?;
    let Mail { enqueue, drain, disk, live, rss_mib, prototype, redis, points } = mail;
    Ok(Report {
        enqueue,
        drain,
        live,
        idle,
        handshake,
        disk,
        expiry,
        storage,
        rss_mib,
        prototype,
        redis,
        points,
        fsync,
    })
}

/// Measures what `clients` hostile clients do to the honest.
///
/// # Errors
/// As [`measure`].
pub async fn measure_hostile(
    plan: &Plan,
    directory: &Path,
    clients: usize,
    progress: &mut dyn FnMut(&str),
) -> Outcome<Hostile> {
    let base = scratch(directory)?;
    let mut run = Run { plan, program: std::env::current_exe()?, directory: base.path(), progress };
    run.hostile(clients).await
}

/// A directory of the run's own, deleted with it.
fn scratch(directory: &Path) -> Outcome<tempfile::TempDir> {
    std::fs::create_dir_all(directory)?;
    Ok(tempfile::Builder::new().prefix("kuvert-bench-").tempdir_in(directory)?)
}

struct Mail {
    enqueue: Enqueue,
    drain: Drain,
    disk: Disk,
    live: Live,
    rss_mib: f64,
    prototype: Versus,
    redis: Option<Redis>,
    points: Vec<Point>,
}

/// What one round of submitting cost a server.
struct Round {
    done: Done,
    cpu_seconds: f64,
}

impl Round {
    fn per_second(&self) -> f64 {
        self.done.count as f64 / self.done.seconds
    }

    fn cpu_per_100k(&self) -> f64 {
        self.cpu_seconds / self.done.count as f64 * 1e5
    }
}

impl Run<'_> {
    fn say(&mut self, step: &str) {
        (self.progress)(step);
    }

    fn job(&self, round: u64, target: Option<&Target>, work: Work) -> Job {
        Job { seed: self.plan.seed, round, target: target.cloned(), work }
    }

    /// Lets several processes do their part at the same time, and adds up what they did.
    async fn together(&self, jobs: Vec<Job>, server: &Server) -> Outcome<Round> {
        let mut workers = Vec::new();
        for job in &jobs {
            workers.push(Worker::start(&self.program, job, self.plan.patience).await?);
        }
        let cpu = server.cpu_seconds()?;
        for worker in &mut workers {
            worker.go().await?;
        }
        let mut all = Done::default();
        for worker in &mut workers {
            let done = worker.done().await?;
            all.count += done.count;
            all.wrong += done.wrong;
            all.seconds = all.seconds.max(done.seconds);
            all.latencies.extend(done.latencies);
        }
        let cpu_seconds = server.cpu_seconds()? - cpu;
        for worker in workers {
            worker.finish().await?;
        }
        all.latencies.sort_unstable();
        Ok(Round { done: all, cpu_seconds })
    }

    /// The same work for each process, with its part of the devices.
    fn parts(&self, round: u64, server: &Server, devices: Range, work: impl Fn(Range) -> Work) -> Vec<Job> {
        let parts = self.plan.processes;
        (0..parts).map(|part| self.job(round, Some(&server.target), work(devices.part(part, parts)))).collect()
    }

    // ---- mail

    async fn mail(&mut self, plot: bool) -> Outcome<Mail> {
        let plan = self.plan;
        let senders = Range { first: 0, count: plan.senders };
        let recipients = Range { first: plan.senders, count: plan.recipients };
        let relay = Server::relay(&self.program, self.directory, "mail", Limits::Raised).await?;
        let bare = Server::bare(&self.program, self.directory, "bare").await?;
        let redis = Server::redis(self.directory, "redis").await?;
        let mut redis_rounds = Vec::new();
        let mut redis_rss_mib = 0.0;
        self.say("registering devices");
        let all = Range { first: 0, count: plan.senders + plan.recipients };
        let registering = self.parts(0, &relay, all, |devices| Work::Register { devices });
        self.together(registering, &relay).await?;
        relay.settle(SETTLE).await?;
        // What so many handshakes left to the allocator is no part of what waiting mail takes.
        relay.stop().await?;
        let relay = Server::relay(&self.program, self.directory, "mail", Limits::Raised).await?;

        let (mut relay_rounds, mut bare_rounds, mut drains) = (Vec::new(), Vec::new(), Vec::new());
        let (mut amplification, mut bytes_per_waiting, mut erased) = (Vec::new(), Vec::new(), Vec::new());
        let mut rss_mib = 0.0;
        let mut left = 0;
        let mut wrong = 0;
        let empty = relay.database_bytes()?;
        for round in 1..=plan.rounds as u64 {
            self.say(&format!("round {round} of {}: the prototype takes {} envelopes", plan.rounds, plan.envelopes));
            bare_rounds.push(self.enqueue(round, &bare, senders, recipients).await?);
            if let Some(redis) = &redis {
                self.say(&format!("round {round} of {}: Redis takes {} envelopes", plan.rounds, plan.envelopes));
                let (count, outstanding) = (plan.envelopes / senders.count, plan.outstanding);
                let work = |senders| Work::RedisEnqueue { senders, recipients, count, outstanding };
                redis_rounds.push(self.together(self.parts(round, redis, senders, work), redis).await?);
                if round == 1 {
                    redis_rss_mib = redis.memory_kib("VmHWM")? / 1024.0;
                }
            }
            self.say(&format!("round {round} of {}: the relay takes {} envelopes", plan.rounds, plan.envelopes));
            let written = relay.written_bytes()?;
            let taken = self.enqueue(round, &relay, senders, recipients).await?;
            let count = taken.done.count;
            relay.settle(SETTLE).await?;
            amplification.push((relay.written_bytes()? - written) / (count as f64 * CIPHERTEXT_BYTES as f64));
            if round == 1 {
                rss_mib = relay.memory_kib("VmHWM")? / 1024.0;
                bytes_per_waiting.push(relay.database_bytes()?.saturating_sub(empty) as f64 / count as f64);
            }
            relay_rounds.push(taken);
            self.say(&format!("round {round} of {}: recipients fetch them", plan.rounds));
            let draining = self.parts(round, &relay, recipients, |devices| Work::Drain { devices });
            let drained = self.together(draining, &relay).await?;
            let begun = Instant::now();
            wrong += drained.done.wrong + count.abs_diff(drained.done.count);
            left = gone(&relay).await?;
            erased.push(drained.done.count as f64 / (drained.done.seconds + begun.elapsed().as_secs_f64()));
            drains.push(drained);
        }
        if wrong > 0 {
            return Err(format!("{wrong} envelopes were lost, changed or delivered twice").into());
        }
        bare.stop().await?;
        let (live, points) = self.live(&relay, plot).await?;
        relay.stop().await?;
        let redis_live = match redis {
            Some(redis) => Some(self.redis_live(redis).await?),
            None => None,
        };

        let of = |rounds: &[Round], value: &dyn Fn(&Round) -> f64| median(rounds.iter().map(value).collect());
        let late =
            |rounds: &[Round], part: f64| median(rounds.iter().map(|round| percentile(&round.done, part)).collect());
        let enqueue = Enqueue {
            per_second: of(&relay_rounds, &Round::per_second),
            p50_ms: late(&relay_rounds, 0.5),
            p99_ms: late(&relay_rounds, 0.99),
            p999_ms: late(&relay_rounds, 0.999),
            server_cpu_s_per_100k: of(&relay_rounds, &Round::cpu_per_100k),
            write_amplification: median(amplification),
        };
        let prototype = Versus {
            per_second: of(&bare_rounds, &Round::per_second),
            p50_ms: late(&bare_rounds, 0.5),
            p99_ms: late(&bare_rounds, 0.99),
            server_cpu_s_per_100k: of(&bare_rounds, &Round::cpu_per_100k),
            ratio: over(&relay_rounds, &bare_rounds),
        };
        let redis = redis_live.map(|live| Redis {
            per_second: of(&redis_rounds, &Round::per_second),
            p50_ms: late(&redis_rounds, 0.5),
            p99_ms: late(&redis_rounds, 0.99),
            server_cpu_s_per_100k: of(&redis_rounds, &Round::cpu_per_100k),
            ratio: over(&relay_rounds, &redis_rounds),
            live_p50_ms: percentile(&live.done, 0.5),
            live_p99_ms: percentile(&live.done, 0.99),
            rss_mib: redis_rss_mib,
        });
        let drain = Drain {
            per_second: of(&drains, &Round::per_second),
            per_second_with_erasure: median(erased),
            server_cpu_s_per_100k: of(&drains, &Round::cpu_per_100k),
        };
        let disk =
            Disk { bytes_per_waiting: median(bytes_per_waiting), delivered_bytes_left: left * CIPHERTEXT_BYTES as u64 };
        Ok(Mail { enqueue, drain, disk, live, rss_mib, prototype, redis, points })
    }

    async fn enqueue(&self, round: u64, server: &Server, senders: Range, recipients: Range) -> Outcome<Round> {
        let Plan { envelopes, outstanding, .. } = *self.plan;
        let count = envelopes / senders.count;
        let jobs =
            self.parts(round, server, senders, |senders| Work::Enqueue { senders, recipients, count, outstanding });
        self.together(jobs, server).await
    }

    async fn redis_live(&mut self, redis: Server) -> Outcome<Round> {
        let Plan { processes, pairs, senders, live_rate, live_seconds, .. } = *self.plan;
        self.say(&format!("live through Redis at {live_rate} envelopes/s"));
        let (rate, seconds) = (f64::from(live_rate) / processes as f64, f64::from(live_seconds));
        let pairs = Range { first: 0, count: pairs.min(senders / 2) };
        let jobs = self.parts(LIVE_ROUND, &redis, pairs, |pairs| Work::RedisLive { pairs, rate, seconds });
        let round = self.together(jobs, &redis).await?;
        redis.stop().await?;
        Ok(round)
    }

    async fn live(&mut self, relay: &Server, plot: bool) -> Outcome<(Live, Vec<Point>)> {
        let rate = f64::from(self.plan.live_rate);
        self.say(&format!("live delivery at {rate} envelopes/s"));
        let steady = self.deliver(LIVE_ROUND, relay, Some(rate)).await?;
        self.say("live delivery, as much as goes");
        let most = self.deliver(LIVE_ROUND + 1, relay, None).await?;
        let live = Live {
            rate,
            p50_ms: percentile(&steady.done, 0.5),
            p99_ms: percentile(&steady.done, 0.99),
            p999_ms: percentile(&steady.done, 0.999),
            max_per_second: most.per_second(),
        };
        let mut points = Vec::new();
        let rates = if plot { &self.plan.plot_rates[..] } else { &[] };
        for (round, rate) in (LIVE_ROUND + 2..).zip(rates) {
            self.say(&format!("latency at {rate} envelopes/s"));
            let offered = f64::from(*rate);
            let Round { done, .. } = self.deliver(round, relay, Some(offered)).await?;
            let delivered = done.count as f64 / done.seconds;
            let [p50_ms, p99_ms, p999_ms] = [0.5, 0.99, 0.999].map(|part| percentile(&done, part));
            points.push(Point { offered, delivered, p50_ms, p99_ms, p999_ms });
            // Beyond saturation the queues grow for as long as one measures.
            if delivered < 0.9 * offered {
                break;
            }
        }
        Ok((live, points))
    }

    async fn deliver(&self, round: u64, server: &Server, rate: Option<f64>) -> Outcome<Round> {
        let plan = self.plan;
        // Devices of the senders; an even number in each process.
        let parts = plan.processes;
        let pairs = Range { first: 0, count: plan.pairs.min(plan.senders / 2) };
        let seconds = f64::from(plan.live_seconds);
        let outstanding = if rate.is_some() { 0 } else { CLOSED_LOOP };
        let rate = rate.map(|rate| rate / parts as f64);
        let jobs = (0..parts).map(|part| {
            let Range { first, count } = pairs.part(part, parts);
            let devices = Range { first: 2 * first, count: 2 * count };
            self.job(round, Some(&server.target), Work::Live { devices, rate, outstanding, seconds })
        });
        let round = self.together(jobs.collect(), server).await?;
        match round.done.wrong {
            0 => Ok(round),
            wrong => Err(format!("{wrong} live envelopes were lost or delivered twice").into()),
        }
    }

    // ---- connections

    async fn connections(&mut self) -> Outcome<(Handshake, Idle)> {
        let plan = self.plan;
        let relay = Server::relay(&self.program, self.directory, "idle", Limits::Raised).await?;
        self.say(&format!("{} handshakes", plan.handshakes));
        let count = plan.handshakes / plan.processes;
        let work = Work::Handshake { count, concurrent: CONCURRENT_HANDSHAKES };
        let jobs = (0..plan.processes).map(|_| self.job(0, Some(&relay.target), work.clone()));
        let shaken = self.together(jobs.collect(), &relay).await?;
        let handshake = Handshake {
            per_second: shaken.per_second(),
            server_cpu_ms: shaken.cpu_seconds / shaken.done.count as f64 * 1e3,
            p50_ms: percentile(&shaken.done, 0.5),
            p99_ms: percentile(&shaken.done, 0.99),
            // The clients offer nothing else.
            post_quantum: true,
        };
        relay.stop().await?;

        // A server of its own: memory that handshakes have left to the allocator would hide what connections take.
        let relay = Server::relay(&self.program, self.directory, "rest", Limits::Raised).await?;
        self.say(&format!("{} connections at rest", plan.idle));
        let before = relay.memory_kib("VmRSS")?;
        let devices = Range { first: 0, count: plan.idle };
        let mut workers = Vec::new();
        for job in self.parts(0, &relay, devices, |devices| Work::Idle { devices }) {
            workers.push(Worker::start(&self.program, &job, plan.patience).await?);
        }
        for worker in &mut workers {
            worker.go().await?;
        }
        tokio::time::sleep(plan.rest).await;
        let after = relay.memory_kib("VmRSS")?;
        let mut connections = 0;
        for worker in workers {
            connections += worker.end().await?.count;
        }
        relay.stop().await?;
        let idle = Idle { connections, kib_per_connection: (after - before) / connections as f64 };
        Ok((handshake, idle))
    }

    // ---- the store alone

    async fn storage(&mut self) -> Outcome<(Storage, Expiry)> {
        let plan = self.plan;
        self.say(&format!("the store with up to {} rows over {} mailboxes", plan.rows[1], plan.mailboxes));
        let data = self.directory.join("storage");
        let work = Work::Storage {
            data: data.to_string_lossy().into_owned(),
            mailboxes: plan.mailboxes,
            rows: plan.rows,
            sample: plan.row_sample,
            rows_at_start: plan.rows_at_start,
            expiring: plan.expiring,
        };
        let mut worker = Worker::start(&self.program, &self.job(0, None, work), 2 * plan.patience).await?;
        worker.go().await?;
        let figures = worker.done().await?.storage.ok_or("no figures of the store")?;
        worker.finish().await?;
        let expiry = Expiry {
            rows: figures.expired,
            seconds: figures.expiry_seconds,
            worst_stall_ms: figures.worst_stall_ms,
            inserts_ratio: figures.inserts_ratio,
        };
        let [few, many] = figures.per_second;
        let storage = Storage {
            mailboxes: figures.mailboxes,
            rows: figures.rows,
            per_second: figures.per_second,
            bare_per_second: figures.bare_per_second,
            many_over_few: many / few,
            bytes_per_waiting: figures.bytes_per_waiting,
            start: Start { rows: figures.start_rows, seconds: figures.start_seconds },
        };
        Ok((storage, expiry))
    }

    // ---- hostile clients

    async fn hostile(&mut self, clients: usize) -> Outcome<Hostile> {
        let plan = self.plan;
        let fsync = fsync(self.directory, plan.fsync)?;
        // The limits that it comes with are what protects it.
        let relay = Server::relay(&self.program, self.directory, "hostile", Limits::Default).await?;
        let honest = Range { first: 0, count: plan.senders };
        self.say("registering honest devices");
        let registering = self.parts(0, &relay, honest, |devices| Work::Register { devices });
        self.together(registering, &relay).await?;
        let rate = Some(f64::from(plan.live_rate));
        let devices = Range { first: plan.senders, count: clients };
        let (mut alone, mut beside) = (Vec::new(), Vec::new());
        let mut attacked = Done::default();
        let mut rss_mib_before = 0.0;
        // In turns: what the disk does by itself is in both.
        for round in 0..plan.rounds as u64 {
            self.say(&format!("round {} of {}: live at {} envelopes/s", round + 1, plan.rounds, plan.live_rate));
            alone.push(self.deliver(LIVE_ROUND + 2 * round, &relay, rate).await?);
            if round == 0 {
                rss_mib_before = relay.memory_kib("VmRSS")? / 1024.0;
            }
            self.say(&format!("the same beside {clients} hostile clients"));
            let job = self.job(round, Some(&relay.target), Work::Hostile { devices });
            let mut attacker = Worker::start(&self.program, &job, plan.patience).await?;
            attacker.go().await?;
            beside.push(self.deliver(LIVE_ROUND + 2 * round + 1, &relay, rate).await?);
            let done = attacker.end().await?;
            attacked.count += done.count;
            attacked.turned_away += done.turned_away;
        }
        let rss_mib_peak = relay.memory_kib("VmHWM")? / 1024.0;
        relay.stop().await?;
        let p99 = |rounds: &[Round]| rounds.iter().map(|round| percentile(&round.done, 0.99)).collect::<Vec<_>>();
        let (p99_ms_each_alone, p99_ms_each_beside) = (p99(&alone), p99(&beside));
        let (p99_ms_alone, p99_ms_beside) = (median(p99_ms_each_alone.clone()), median(p99_ms_each_beside.clone()));
        Ok(Hostile {
            clients: clients as u64,
            attempts: attacked.count,
            turned_away: attacked.turned_away,
            rate: f64::from(plan.live_rate),
            p99_ms_alone,
            p99_ms_beside,
            p99_ms_each_alone,
            p99_ms_each_beside,
            p99_ratio: p99_ms_beside / p99_ms_alone,
            rss_mib_before,
            rss_mib_peak,
            lost: alone.iter().chain(&beside).map(|round| round.done.wrong).sum(),
            fsync,
        })
    }
}

/// The rate of the one over that of the other, median of the rounds.
fn over(ours: &[Round], theirs: &[Round]) -> f64 {
    median(ours.iter().zip(theirs).map(|(ours, theirs)| ours.per_second() / theirs.per_second()).collect())
}

/// Waits until no delivered envelope is on the disk any more; says how many are, if that takes too long.
async fn gone(relay: &Server) -> Outcome<u64> {
    let begun = Instant::now();
    loop {
        relay.settle(SETTLE).await?;
        let left = relay.occurrences(MARKER)?;
        if left == 0 || begun.elapsed() > SETTLE {
            return Ok(left);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// In milliseconds; of latencies that are sorted.
fn percentile(done: &Done, part: f64) -> f64 {
    let last = done.latencies.len().saturating_sub(1);
    let at = (last as f64 * part).round() as usize;
    done.latencies.get(at).map_or(0.0, |micros| f64::from(*micros) / 1e3)
}

/// What the disk does by itself, before any server runs: every acknowledgement waits for at least one of these.
fn fsync(directory: &Path, time: Duration) -> Outcome<Fsync> {
    use std::io::{Seek, Write};
    let mut file = std::fs::File::create(directory.join("fsync"))?;
    let mut done = Done::default();
    let begun = Instant::now();
    while begun.elapsed() < time {
        let write = Instant::now();
        // A log that starts over now and then, like the relay's.
        if done.latencies.len() % 1024 == 0 {
            file.rewind()?;
        }
        file.write_all(&[0; 16 * 1024])?;
        file.sync_data()?;
        done.latencies.push(u32::try_from(write.elapsed().as_micros()).unwrap_or(u32::MAX));
    }
    done.latencies.sort_unstable();
    let [p50_ms, p99_ms, p999_ms, worst_ms] = [0.5, 0.99, 0.999, 1.0].map(|part| percentile(&done, part));
    Ok(Fsync { p50_ms, p99_ms, p999_ms, worst_ms })
}
