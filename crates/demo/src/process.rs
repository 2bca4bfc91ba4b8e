//! Relay and clients as processes of this same program. All of them end with the demo.

use std::ffi::OsString;
use std::net::Ipv4Addr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use kuvert_cli::error::Failure;

use crate::parts;

/// A command that takes longer than this is stuck, on the slowest machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// The relay gets this long to finish.
const DRAIN: Duration = Duration::from_secs(60);

/// A running relay.
#[derive(Debug)]
pub struct Relay {
    child: Ends,
    /// Kept open: the relay may have more to say.
    _stdout: Lines<BufReader<ChildStdout>>,
    /// `kuvert://…`
    pub address: String,
    /// The process.
    pub pid: u32,
}

impl Relay {
    /// Starts a relay; port 0 picks a free one. With `described` it runs the demonstration of sharing and says
    /// that it stands where the relays of a mass-market messenger are described to stand.
    pub async fn start(data: &Path, port: u16, described: bool) -> Result<Self, Failure> {
        let listen = format!("127.0.0.1:{port}");
        let arguments = ["serve", "--listen", &listen, "--observe", "--data"].map(OsString::from);
        let mut command = command(parts::RELAY, arguments.into_iter().chain([data.as_os_str().to_owned()]))?;
        command.stderr(log_file(data)?);
        if described {
            command.env("KUVERT_RELAY_DEMONSTRATION", "true").env("KUVERT_RELAY_REGION", "USA (simulated)");
        }
        let mut child = Ends(command.spawn().map_err(|error| Failure::io("start the relay", &error))?);
        let pid = child.0.id().unwrap_or_default();
        let stdout = child.0.stdout.take().ok_or_else(|| failed("the relay has no output"))?;
        let mut lines = BufReader::new(stdout).lines();
        let first = tokio::time::timeout(PATIENCE, lines.next_line()).await;
        let Ok(Ok(Some(line))) = first else {
            return Err(failed(&format!("the relay did not start: see {}", log_path(data).display())));
        };
        // The first line holds the address, as words or as an object.
        let address = line
            .split(|c: char| c.is_whitespace() || c == '"')
            .find(|word| word.starts_with("kuvert://"))
            .ok_or_else(|| failed("the relay's first line holds no address"))?
            .to_owned();
        Ok(Self { child, _stdout: lines, address, pid })
    }

    /// The port that it listens on.
    pub fn port(&self) -> u16 {
        self.address.split(['/', '#']).nth(2).and_then(|host| host.rsplit(':').next()?.parse().ok()).unwrap_or_default()
    }

    /// SIGTERM, and waits until it has ended.
    pub async fn stop(mut self) -> Result<(), Failure> {
        let pid = i32::try_from(self.pid).ok().and_then(rustix::process::Pid::from_raw);
        if let Some(pid) = pid {
            rustix::process::kill_process(pid, rustix::process::Signal::TERM)
                .map_err(|error| Failure::io("stop the relay", &error.into()))?;
        }
        match tokio::time::timeout(DRAIN, self.child.0.wait()).await {
            Ok(Ok(status)) if status.success() => Ok(()),
            _ => Err(failed("the relay did not end in good order")),
        }
    }
}

/// A process that has ended once this is dropped: the directory that it writes to is removed next.
#[derive(Debug)]
struct Ends(Child);

impl Drop for Ends {
    fn drop(&mut self) {
        // It has ended already, or SIGKILL ends it at once.
        let _ = self.0.start_kill();
        let begun = Instant::now();
        while matches!(self.0.try_wait(), Ok(None)) && begun.elapsed() < DRAIN {
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

/// What the relay's program says of its data: the objects of `inspect`.
pub async fn inspect(data: &Path) -> Result<Vec<Value>, Failure> {
    let arguments = ["inspect", "--json", "--data"].map(OsString::from);
    let command = command(parts::RELAY, arguments.into_iter().chain([data.as_os_str().to_owned()]))?;
    let (_, stdout, _) = feed_and_wait(command, b"").await.map_err(|error| Failure::io("inspect the relay", &error))?;
    Ok(stdout.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
}

/// A loopback address, if this system answers to all of them without being told to.
pub fn loopback(address: Ipv4Addr) -> Option<Ipv4Addr> {
    cfg!(target_os = "linux").then_some(address)
}

/// One person's client: a home, and commands on it.
#[derive(Debug)]
pub struct Client {
    /// As the screen calls the person.
    pub name: &'static str,
    home: PathBuf,
    /// Where the person connects from.
    from: Option<Ipv4Addr>,
}

impl Client {
    /// A person whose client keeps its data below `directory` and connects from a loopback address of its own, where the
    /// system has them.
    pub fn new(name: &'static str, directory: &Path, from: Ipv4Addr) -> Self {
        Self { name, home: directory.join(name.to_lowercase()), from: loopback(from) }
    }

    /// Runs a command of the messenger to its end and returns the objects that it printed.
    pub async fn run(&self, arguments: &[&str], stdin: &str) -> Result<Vec<Value>, Failure> {
        let mut globals = ["--json", "--home"].map(OsString::from).to_vec();
        globals.push(self.home.clone().into());
        if let Some(from) = self.from {
            globals.extend(["--local-address".into(), from.to_string().into()]);
        }
        let mut command = command(parts::MESSENGER, globals.into_iter().chain(arguments.iter().map(OsString::from)))?;
        command.stdin(Stdio::piped()).stderr(Stdio::piped());
        let what = format!("{}'s `kuvert {}`", self.name, arguments.join(" "));
        let ended = tokio::time::timeout(PATIENCE, feed_and_wait(command, stdin.as_bytes())).await;
        let (success, stdout, stderr) = ended
            .map_err(|_| failed(&format!("{what} hangs")))?
            .map_err(|error| Failure::io(&format!("run {what}"), &error))?;
        let mut objects = Vec::new();
        for line in stdout.lines() {
            let object = serde_json::from_str(line).map_err(|_| failed(&format!("{what} printed no JSON: {line}")))?;
            objects.push(object);
        }
        if success {
            return Ok(objects);
        }
        let said = objects.iter().rev().find_map(|object: &Value| object["message"].as_str());
        Err(failed(&format!("{what} failed: {}", said.unwrap_or(stderr.trim()))))
    }
}

async fn feed_and_wait(mut command: Command, input: &[u8]) -> std::io::Result<(bool, String, String)> {
    let mut child = Ends(command.spawn()?);
    let (stdin, stdout, stderr) = (child.0.stdin.take(), child.0.stdout.take(), child.0.stderr.take());
    let feed = async {
        if let Some(mut stdin) = stdin {
            // A command that does not read its input has said why on its output.
            let _ = stdin.write_all(input).await;
        }
    };
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let read_out = async { if let Some(mut stdout) = stdout { stdout.read_to_end(&mut out).await } else { Ok(0) } };
    let read_err = async { if let Some(mut stderr) = stderr { stderr.read_to_end(&mut err).await } else { Ok(0) } };
    let ((), read_out, read_err) = tokio::join!(feed, read_out, read_err);
    read_out?;
    read_err?;
    let status = child.0.wait().await?;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ok((status.success(), text(out), text(err)))
}

/// This program in a part that it plays, without settings meant for the user's own home.
fn command(part: &str, arguments: impl Iterator<Item = OsString>) -> Result<Command, Failure> {
    let program = std::env::current_exe().map_err(|error| Failure::io("find this program", &error))?;
    let mut command = Command::new(program);
    command.args(parts::arguments(part)).args(arguments).stdin(Stdio::null()).stdout(Stdio::piped());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("KUVERT_") || name == "RUST_LOG" {
            command.env_remove(name);
        }
    }
    Ok(command)
}

/// Where the log of the relay in `data` is.
pub fn log_path(data: &Path) -> PathBuf {
    data.with_extension("log")
}

fn log_file(data: &Path) -> Result<Stdio, Failure> {
    // For its owner only: it holds codes that no text message carries. A relay that starts again goes on with it.
    let file = std::fs::OpenOptions::new().create(true).append(true).mode(0o600).open(log_path(data));
    file.map(Stdio::from).map_err(|error| Failure::io("write the relay's log", &error))
}

fn failed(message: &str) -> Failure {
    Failure::new("demo-failed", message)
}
