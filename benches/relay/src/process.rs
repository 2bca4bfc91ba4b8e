//! The processes of a run, and what `/proc` says of them. All of them end with the run.

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

use crate::job::{Done, GO, Job, READY, Target, Work};
use crate::{Outcome, RELAY, WORKER};

/// `USER_HZ`: the kernel counts a process's CPU time for others in hundredths, whatever its own tick.
const TICKS_PER_SECOND: f64 = 100.0;

/// The relay gets so long to start or stop.
const PATIENCE: Duration = Duration::from_secs(30);

/// One device here stands for many people's traffic from one machine: what a rate limit or a limit per address would make
/// of that is not what is measured.
const RAISED_LIMITS: &str = "[limits]
connections = 40000
connections_per_address = 40000
requests_per_device = { burst = 1000000000, per_hour = 3600000000 }
kib_per_account = { burst = 1000000000, per_hour = 3600000000 }
sealed_kib_per_address = { burst = 1000000000, per_hour = 3600000000 }
registrations_per_address = { burst = 1000000000, per_hour = 3600000000 }
young_account_mib = 4000000000
max_file_mib = 2048
blob_disk_percent = 100
blob_mib_per_account = 1000000
uploads_per_account = { burst = 1000000000, per_hour = 3600000000 }
upload_kib_per_account = { burst = 1000000000, per_hour = 3600000000 }
blob_read_kib_per_account = { burst = 1000000000, per_hour = 3600000000 }
blob_read_kib_per_address = { burst = 1000000000, per_hour = 3600000000 }
";

/// This same program, without settings meant for the user's own home.
fn command(program: &Path, arguments: impl IntoIterator<Item = impl Into<OsString>>) -> Command {
    let mut command = Command::new(program);
    command.args(arguments.into_iter().map(Into::into));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("KUVERT_") || name == "RUST_LOG" {
            command.env_remove(name);
        }
    }
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
    command
}

/// Whether a relay has the limits that it comes with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Limits {
    /// As it comes.
    Default,
    /// So high that no measurement meets them.
    Raised,
}

/// A relay or the prototype.
#[derive(Debug)]
pub struct Server {
    child: Child,
    /// The prototype ends when this closes.
    stdin: Option<ChildStdin>,
    _stdout: Lines<BufReader<ChildStdout>>,
    pid: u32,
    data: PathBuf,
    /// Where clients find it.
    pub target: Target,
}

impl Server {
    /// Starts the relay with its data below `base`.
    ///
    /// # Errors
    /// It does not start: its log lies beside its data.
    pub async fn relay(program: &Path, base: &Path, name: &str, limits: Limits) -> Outcome<Self> {
        let data = base.join(name);
        let config = base.join(format!("{name}.toml"));
        fs::write(&config, if limits == Limits::Raised { RAISED_LIMITS } else { "" })?;
        let mut arguments = [RELAY[0], RELAY[1], "serve", "--listen", "127.0.0.1:0"].map(OsString::from).to_vec();
        arguments.extend(["--config".into(), config.into_os_string(), "--data".into(), data.clone().into_os_string()]);
        let log = File::create(base.join(format!("{name}.log")))?;
        Self::start(command(program, arguments), data, log, false).await
    }

    /// Starts the prototype with its data below `base`.
    ///
    /// # Errors
    /// It does not start.
    pub async fn bare(program: &Path, base: &Path, name: &str) -> Outcome<Self> {
        let data = base.join(name);
        fs::create_dir(&data)?;
        let log = File::create(base.join(format!("{name}.log")))?;
        let mut server = Self::start_bare(program, data.clone(), log)?;
        let work = Work::Bare { data: data.to_string_lossy().into_owned() };
        let job = Job { seed: 0, round: 0, target: None, work };
        if let Some(stdin) = &mut server.stdin {
            stdin.write_all(format!("{}\n", serde_json::to_string(&job)?).as_bytes()).await?;
        }
        server.target.url = first_line(&mut server._stdout).await?;
        Ok(server)
    }

    /// Starts `redis-server` with its data below `base`, made durable with each answer; `None`: it is not installed.
    ///
    /// # Errors
    /// It does not start.
    pub async fn redis(base: &Path, name: &str) -> Outcome<Option<Self>> {
        let data = base.join(name);
        fs::create_dir(&data)?;
        // Free a moment ago; who takes it in between makes this run fail.
        let port = std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        let mut command = Command::new("redis-server");
        command.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "yes", "--appendfsync", "always", "--port"]);
        command.arg(port.to_string()).arg("--dir").arg(&data);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = match command.spawn() {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            started => started?,
        };
        let mut lines = BufReader::new(child.stdout.take().ok_or("no stdout")?).lines();
        while !first_line(&mut lines).await?.contains("Ready to accept connections") {}
        let (pid, stdin) = (child.id().ok_or("it has ended")?, child.stdin.take());
        let target = Target { url: format!("127.0.0.1:{port}"), bare: true };
        Ok(Some(Self { child, stdin, _stdout: lines, pid, data, target }))
    }

    fn start_bare(program: &Path, data: PathBuf, log: File) -> Outcome<Self> {
        let mut command = command(program, [WORKER]);
        let mut child = command.stderr(log).spawn()?;
        let stdout = child.stdout.take().ok_or("no stdout")?;
        Ok(Self {
            stdin: child.stdin.take(),
            _stdout: BufReader::new(stdout).lines(),
            pid: child.id().ok_or("it has ended")?,
            child,
            data,
            target: Target { url: String::new(), bare: true },
        })
    }

    async fn start(mut command: Command, data: PathBuf, log: File, bare: bool) -> Outcome<Self> {
        let mut child = command.stderr(log).spawn()?;
        let stdout = child.stdout.take().ok_or("no stdout")?;
        let mut lines = BufReader::new(stdout).lines();
        let url = first_line(&mut lines).await?;
        let pid = child.id().ok_or("it has ended")?;
        let target = Target { url, bare };
        Ok(Self { stdin: child.stdin.take(), child, _stdout: lines, pid, data, target })
    }

    /// CPU seconds so far, of user and system.
    ///
    /// # Errors
    /// It has ended.
    pub fn cpu_seconds(&self) -> Outcome<f64> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid))?;
        // The name in parentheses may hold anything; behind it, utime and stime are the 12th and 13th field.
        let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11).take(2);
        let ticks = fields.map(str::parse::<f64>).sum::<Result<f64, _>>()?;
        Ok(ticks / TICKS_PER_SECOND)
    }

    /// Memory in KiB: now (`VmRSS`) or at its highest (`VmHWM`).
    ///
    /// # Errors
    /// It has ended.
    pub fn memory_kib(&self, field: &str) -> Outcome<f64> {
        number(&fs::read_to_string(format!("/proc/{}/status", self.pid))?, field)
    }

    /// Bytes that it has had written to disk so far.
    ///
    /// # Errors
    /// It has ended, or `/proc/PID/io` may not be read: a relay lets only the superuser look into it.
    pub fn written_bytes(&self) -> Outcome<f64> {
        number(&fs::read_to_string(format!("/proc/{}/io", self.pid))?, "write_bytes")
    }

    /// Bytes of the files with the database's name.
    ///
    /// # Errors
    /// They cannot be looked at.
    pub fn database_bytes(&self) -> Outcome<u64> {
        let sizes = self.databases()?.into_iter().map(|path| Ok(fs::metadata(path)?.len()));
        sizes.sum::<Result<u64, std::io::Error>>().map_err(Into::into)
    }

    /// How often `needle` stands in those files.
    ///
    /// # Errors
    /// They cannot be read.
    pub fn occurrences(&self, needle: &[u8]) -> Outcome<u64> {
        let mut count = 0;
        for path in self.databases()? {
            let bytes = fs::read(path)?;
            let mut rest = &bytes[..];
            while let Some(at) = rest.iter().position(|byte| *byte == needle[0]) {
                count += u64::from(rest[at..].starts_with(needle));
                rest = &rest[at + 1..];
            }
        }
        Ok(count)
    }

    fn databases(&self) -> Outcome<Vec<PathBuf>> {
        let paths = fs::read_dir(&self.data)?.map(|entry| Ok(entry?.path()));
        let paths = paths.collect::<Result<Vec<_>, std::io::Error>>()?;
        let named = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().contains(".db"));
        Ok(paths.into_iter().filter(named).collect())
    }

    /// Waits until the relay has emptied its log, at most `patience`.
    ///
    /// # Errors
    /// The files cannot be looked at.
    pub async fn settle(&self, patience: Duration) -> Outcome<()> {
        let log = self.data.join("relay.db-wal");
        let begun = Instant::now();
        while begun.elapsed() < patience && fs::metadata(&log).is_ok_and(|log| log.len() > 0) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    /// Ends it.
    ///
    /// # Errors
    /// It does not end.
    pub async fn stop(mut self) -> Outcome<()> {
        drop(self.stdin.take());
        self.child.start_kill()?;
        timeout(PATIENCE, self.child.wait()).await??;
        Ok(())
    }
}

async fn first_line(lines: &mut Lines<BufReader<ChildStdout>>) -> Outcome<String> {
    let line = timeout(PATIENCE, lines.next_line()).await??;
    line.ok_or_else(|| "the server did not start".into())
}

fn number(text: &str, field: &str) -> Outcome<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    let number = line.and_then(|line| line.split_whitespace().next()).ok_or("not in /proc")?;
    Ok(number.parse()?)
}

/// A load process.
#[derive(Debug)]
pub struct Worker {
    child: Child,
    stdin: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
    patience: Duration,
}

impl Worker {
    /// Starts it and waits until it is ready.
    ///
    /// # Errors
    /// It ended, or takes longer than `patience`.
    pub async fn start(program: &Path, job: &Job, patience: Duration) -> Outcome<Self> {
        let mut child = command(program, [WORKER]).stderr(Stdio::inherit()).spawn()?;
        let (stdin, stdout) = (child.stdin.take().ok_or("no stdin")?, child.stdout.take().ok_or("no stdout")?);
        let mut worker = Self { child, stdin, lines: BufReader::new(stdout).lines(), patience };
        worker.tell(&serde_json::to_string(job)?).await?;
        if worker.hear().await? != READY {
            return Err("a load process was not ready".into());
        }
        Ok(worker)
    }

    /// Lets it begin.
    ///
    /// # Errors
    /// It has ended.
    pub async fn go(&mut self) -> Outcome<()> {
        self.tell(GO).await
    }

    /// What it did, once it is done.
    ///
    /// # Errors
    /// It failed, or took too long.
    pub async fn done(&mut self) -> Outcome<Done> {
        Ok(serde_json::from_str(&self.hear().await?)?)
    }

    /// Lets it hang up, and waits for its end.
    ///
    /// # Errors
    /// It does not end.
    pub async fn finish(self) -> Outcome<()> {
        let Self { mut child, stdin, lines, patience } = self;
        drop((stdin, lines));
        timeout(patience, child.wait()).await??;
        Ok(())
    }

    /// Ends work that goes on until stdin closes, and hears what it did.
    ///
    /// # Errors
    /// It failed.
    pub async fn end(self) -> Outcome<Done> {
        let Self { mut child, stdin, mut lines, patience } = self;
        drop(stdin);
        let line = timeout(patience, lines.next_line()).await??.ok_or("a load process failed")?;
        timeout(patience, child.wait()).await??;
        Ok(serde_json::from_str(&line)?)
    }

    async fn tell(&mut self, line: &str) -> Outcome<()> {
        self.stdin.write_all(format!("{line}\n").as_bytes()).await?;
        Ok(self.stdin.flush().await?)
    }

    async fn hear(&mut self) -> Outcome<String> {
        match timeout(self.patience, self.lines.next_line()).await {
            Ok(line) => line?.ok_or_else(|| "a load process failed; what it said stands above".into()),
            Err(_) => Err("a load process took too long".into()),
        }
    }
}
