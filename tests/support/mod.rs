//! Real programs for end-to-end tests: a relay, homes, commands. Everything that is started ends when its value is dropped.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub mod photos;
pub mod picture;
pub mod tmux;
pub mod window;

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant, SystemTime};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// Nothing in these tests takes longer than this on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(300);

/// What relays are set up with: files find room, whatever else is on the disk of the machine that runs the tests.
const SETTINGS: &str = "[limits]\nblob_disk_percent = 100\n";

/// Between two looks at something that is waited for.
const LOOK_AGAIN: Duration = Duration::from_millis(30);

/// The messenger.
pub fn kuvert() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| program("kuvert"))
}

/// The messenger, and beside it a program that it runs: `kuvert NAME` is `kuvert-NAME`.
pub fn kuvert_with(name: &str) -> &'static Path {
    program(&format!("kuvert-{name}"));
    kuvert()
}

/// The relay.
pub fn kuvert_relay() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| program("kuvert-relay"))
}

/// The relay with the demonstration of what a relay can ask for.
pub fn kuvert_relay_lens() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| program("kuvert-relay-lens"))
}

/// A program of the workspace. It lies above the test's own executable, where `cargo build` puts it and where `cargo test
/// --workspace` does; tests that are run alone do not build it.
pub fn program(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let program = test.ancestors().nth(2).unwrap().join(name);
    let built = fs::metadata(&program).and_then(|metadata| metadata.modified());
    let built =
        built.unwrap_or_else(|_| panic!("{} is not there: run `cargo build --workspace` first", program.display()));
    if let Some(source) = sources(&program).into_iter().find(|source| changed(source) > Some(built)) {
        let (program, source) = (program.display(), source.display());
        panic!("{program} is older than {source}: run `cargo build --workspace` first");
    }
    program
}

/// The files that a program was built from, as cargo lists them beside it.
fn sources(program: &Path) -> Vec<PathBuf> {
    let list = fs::read_to_string(program.with_extension("d")).unwrap_or_default();
    let files = list.split_once(": ").map_or("", |(_, files)| files).trim();
    // A blank within a path stands behind a backslash.
    let files = files.replace("\\ ", "\0");
    files.split(' ').map(|file| PathBuf::from(file.replace('\0', " "))).collect()
}

fn changed(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).ok()?.modified().ok()
}

/// A command without the settings of the user that runs the tests.
fn clean(program: &Path) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("KUVERT_") || name == "RUST_LOG" {
            command.env_remove(name);
        }
    }
    command
}

/// The same command, unable to make any file larger than so many bytes. What it writes beyond fails; the signal that comes with
/// it must not kill the program.
fn limited(bytes: u64, command: &Command) -> Command {
    let mut shell = clean(Path::new("/bin/sh"));
    // In blocks of 512 bytes.
    shell.args(["-c", "ulimit -f \"$1\" && shift && exec \"$@\"", "sh", &(bytes / 512).to_string()]);
    shell.arg(command.get_program()).args(command.get_args());
    shell
}

/// A relay in a directory of its own.
pub struct Relay {
    program: &'static Path,
    directory: tempfile::TempDir,
    child: Option<Child>,
    /// Where clients find it: `kuvert://…`
    pub address: String,
    starts: usize,
}

impl Relay {
    /// Starts one as it comes.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts one with further arguments of `serve`.
    pub fn start_with(arguments: &[&str]) -> Self {
        Self::start_as(kuvert_relay(), arguments)
    }

    /// Starts one with the demonstration, with further arguments of `serve`.
    pub fn start_lens(arguments: &[&str]) -> Self {
        Self::start_as(kuvert_relay_lens(), arguments)
    }

    fn start_as(program: &'static Path, arguments: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut relay = Self { program, directory, child: None, address: String::new(), starts: 0 };
        relay.launch(0, arguments, None);
        relay
    }

    /// Starts it again on the same port.
    pub fn start_again(&mut self, arguments: &[&str]) {
        self.kill();
        self.launch(self.port(), arguments, None);
    }

    /// Starts it again on the same port, unable to make any file larger than so many bytes.
    pub fn start_within(&mut self, bytes: u64) {
        self.kill();
        self.launch(self.port(), &[], Some(bytes));
    }

    /// Stops it and starts it on another port, with its key and data.
    pub fn start_elsewhere(&mut self) {
        self.stop();
        let before = std::mem::take(&mut self.address);
        // The port that is free now may be the one that it had.
        while self.address.is_empty() || self.address == before {
            self.kill();
            self.address.clear();
            self.launch(0, &[], None);
        }
    }

    fn port(&self) -> u16 {
        let host = self.address.trim_start_matches("kuvert://").split('#').next().unwrap();
        host.rsplit(':').next().unwrap().parse().unwrap()
    }

    fn launch(&mut self, port: u16, arguments: &[&str], limit: Option<u64>) {
        let ready = self.directory.path().join("ready");
        let _ = fs::remove_file(&ready);
        let log = fs::OpenOptions::new().create(true).append(true).open(self.log_path()).unwrap();
        let mut command = clean(self.program);
        command.arg("serve").args(["--listen", &format!("127.0.0.1:{port}")]).arg("--data").arg(self.data());
        command.arg("--ready-file").arg(&ready).args(arguments);
        // Where no other configuration is named.
        let settings = self.directory.path().join("settings.toml");
        fs::write(&settings, SETTINGS).unwrap();
        command.env("KUVERT_RELAY_CONFIG", settings);
        if let Some(bytes) = limit {
            command = limited(bytes, &command);
        }
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap();
        let begun = Instant::now();
        let address = loop {
            if let Ok(address) = fs::read_to_string(&ready) {
                break address.trim().to_owned();
            }
            if let Some(status) = child.try_wait().unwrap() {
                panic!("the relay ended with {status}: {}", self.log());
            }
            assert!(begun.elapsed() < PATIENCE, "the relay is not ready");
            std::thread::sleep(LOOK_AGAIN);
        };
        assert!(self.address.is_empty() || self.address == address, "the relay's address changed");
        self.address = address;
        self.child = Some(child);
        self.starts += 1;
    }

    /// Its data directory.
    pub fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    fn log_path(&self) -> PathBuf {
        self.directory.path().join("log")
    }

    /// Everything that it wrote to stderr, over all starts.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// The process.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// SIGTERM; it has to end with 0.
    pub fn stop(&mut self) {
        let mut child = self.child.take().unwrap();
        signal(&child, Signal::TERM);
        let status = wait(&mut child);
        assert!(status.success(), "{status}: {}", self.log());
    }

    /// What its program's `inspect --json` prints.
    pub fn inspect(&self) -> Vec<Value> {
        let output = clean(self.program).args(["--json", "inspect", "--data"]).arg(self.data()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        objects(&output.stdout)
    }

    /// How many envelopes wait.
    pub fn waiting(&self) -> u64 {
        find(&self.inspect(), "relay")["waiting"].as_u64().unwrap()
    }

    /// The sealed bytes that wait, from the relay's own database.
    pub fn ciphertexts(&self) -> Vec<Vec<u8>> {
        let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
        let database = rusqlite::Connection::open_with_flags(self.data().join("relay.db"), flags).unwrap();
        database.busy_timeout(PATIENCE).unwrap();
        let mut statement = database.prepare("SELECT ciphertext FROM envelope").unwrap();
        statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    }

    /// The waiting ciphertext in pieces of 16 bytes, without those that stood in the relay's files before: the first message
    /// of a session carries its sender's certificate, which the relay knows since the registration.
    pub fn pieces(&self, before: &[(PathBuf, Vec<u8>)]) -> Vec<Vec<u8>> {
        let ciphertexts = self.ciphertexts();
        let pieces = ciphertexts.iter().flat_map(|ciphertext| ciphertext.chunks_exact(16));
        let new = pieces.filter(|piece| !before.iter().any(|(_, bytes)| contains(bytes, piece)));
        let mut new: Vec<Vec<u8>> = new.map(<[u8]>::to_vec).collect();
        // Messages before the first answer repeat the handshake.
        new.sort_unstable();
        new.dedup();
        new
    }

    /// How many of these pieces stand in its files.
    pub fn left(&self, pieces: &[Vec<u8>]) -> usize {
        // One pass for all of them; a table of first bytes rules most places out.
        let pair = |bytes: &[u8]| usize::from(bytes[0]) << 8 | usize::from(bytes[1]);
        let mut begins = vec![false; 1 << 16];
        pieces.iter().for_each(|piece| begins[pair(piece)] = true);
        let wanted: HashSet<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
        let mut found: HashSet<&[u8]> = HashSet::new();
        for (_, bytes) in self.files() {
            for window in bytes.windows(16).filter(|window| begins[pair(window)]) {
                found.extend(wanted.get(window));
            }
        }
        found.len()
    }

    /// The bytes of all files in its directory.
    pub fn files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let mut files = Vec::new();
        read_all(&self.data(), &mut files);
        files
    }

    /// Whether any of its files holds these bytes.
    pub fn holds(&self, needle: &[u8]) -> bool {
        self.files().iter().any(|(_, bytes)| contains(bytes, needle))
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("--- the relay's log ({} starts):\n{}", self.starts, tail(&self.log(), 40));
        }
    }
}

fn read_all(directory: &Path, into: &mut Vec<(PathBuf, Vec<u8>)>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read_all(&path, into);
        } else if let Ok(bytes) = fs::read(&path) {
            into.push((path, bytes));
        }
    }
}

/// Whether `needle` stands in `haystack`.
pub fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    let Some(first) = needle.first() else { return true };
    let mut rest = haystack;
    while let Some(place) = rest.iter().position(|byte| byte == first) {
        if rest[place..].starts_with(needle) {
            return true;
        }
        rest = &rest[place + 1..];
    }
    false
}

/// All readable memory of a process, piece by piece.
pub fn memory(pid: u32, mut visit: impl FnMut(&str, &[u8])) {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let memory = File::open(format!("/proc/{pid}/mem")).unwrap();
    let mut read = 0;
    for line in maps.lines() {
        let mut fields = line.split_whitespace();
        let (range, rights) = (fields.next().unwrap(), fields.next().unwrap());
        if !rights.starts_with('r') || line.contains("[v") {
            continue;
        }
        let (start, end) = range.split_once('-').unwrap();
        let start = u64::from_str_radix(start, 16).unwrap();
        let length = usize::try_from(u64::from_str_radix(end, 16).unwrap() - start).unwrap();
        let mut bytes = vec![0; length];
        if memory.read_exact_at(&mut bytes, start).is_ok() {
            read += bytes.len();
            visit(line, &bytes);
        }
    }
    assert!(read > 1_000_000, "{read} bytes are not the memory of a relay");
}

/// A home directory with an account, or without one yet.
pub struct Home {
    directory: tempfile::TempDir,
}

impl Home {
    /// One without an account.
    pub fn empty() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    /// A registered account.
    pub fn registered(relay: &Relay, name: &str) -> Self {
        let home = Self::empty();
        home.ok(&["register", "--relay", &relay.address, "--name", name]);
        home
    }

    /// The home itself.
    pub fn path(&self) -> PathBuf {
        self.directory.path().join("home")
    }

    /// A command on this home, with `--json`.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = clean(kuvert());
        command.arg("--json").arg("--home").arg(self.path()).args(arguments);
        command
    }

    /// The same as a person would type it, without `--json`.
    pub fn typed(&self, arguments: &[&str]) -> Command {
        let mut command = clean(kuvert());
        command.arg("--home").arg(self.path()).args(arguments);
        command
    }

    /// Runs a command to its end.
    pub fn run(&self, arguments: &[&str]) -> Done {
        self.feed(arguments, b"")
    }

    /// Runs a command with something on stdin.
    pub fn feed(&self, arguments: &[&str], stdin: &[u8]) -> Done {
        Done::of(self.command(arguments), stdin, arguments)
    }

    /// Runs a command that has to succeed.
    pub fn ok(&self, arguments: &[&str]) -> Vec<Value> {
        self.run(arguments).ok()
    }

    /// Runs a command to its end that cannot make any file larger than so many bytes.
    pub fn within(&self, bytes: u64, arguments: &[&str]) -> Done {
        Done::of(limited(bytes, &self.command(arguments)), b"", arguments)
    }

    /// Starts a command and reads along.
    pub fn start(&self, arguments: &[&str]) -> Running {
        Running::start(self.command(arguments))
    }

    /// The texts of the messages that a `receive` prints now.
    pub fn receive(&self) -> Vec<String> {
        texts(&self.ok(&["receive"]))
    }
}

/// A command that has ended.
#[derive(Debug)]
pub struct Done {
    /// The exit code; none after a signal.
    pub code: Option<i32>,
    /// The objects on stdout.
    pub objects: Vec<Value>,
    /// The words on stderr.
    pub stderr: String,
    what: String,
}

impl Done {
    fn of(mut command: Command, stdin: &[u8], arguments: &[&str]) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut pipe = child.stdin.take().unwrap();
        let input = stdin.to_vec();
        // A command that fails before it reads closes the pipe.
        let feeder = std::thread::spawn(move || drop(pipe.write_all(&input)));
        let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
        feeder.join().unwrap();
        Self {
            code: status.code(),
            objects: objects(&stdout),
            stderr: String::from_utf8_lossy(&stderr).into_owned(),
            what: arguments.join(" "),
        }
    }

    /// It has to succeed; the objects on stdout.
    pub fn ok(self) -> Vec<Value> {
        assert_eq!(self.code, Some(0), "{}: {:?} {}", self.what, self.objects, self.stderr);
        self.objects
    }

    /// It has to fail with this code, and say what to do in some words.
    pub fn fails_with(self, code: &str) -> Vec<Value> {
        assert_eq!(self.code, Some(1), "{}: {:?} {}", self.what, self.objects, self.stderr);
        let error = find(&self.objects, "error");
        assert_eq!(error["code"], code, "{}: {error}", self.what);
        assert!(error["message"].as_str().unwrap().split(' ').count() > 3, "{}: {error}", self.what);
        self.objects
    }
}

/// A command that is running.
pub struct Running {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<Value>,
    /// The objects on stdout so far.
    pub seen: Vec<Value>,
}

impl Running {
    /// Starts a command that prints JSON lines.
    pub fn start(mut command: Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stdout = child.stdout.take().unwrap();
        let (send, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).split(b'\n') {
                // A line that a kill cut off is no line.
                let Some(value) = line.ok().and_then(|line| serde_json::from_slice(&line).ok()) else { return };
                if send.send(value).is_err() {
                    return;
                }
            }
        });
        Self { stdin: child.stdin.take(), child, lines, seen: Vec::new() }
    }

    /// The process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The next object; none at the end of the output or after `patience`.
    pub fn next_within(&mut self, patience: Duration) -> Result<Value, RecvTimeoutError> {
        let value = self.lines.recv_timeout(patience)?;
        self.seen.push(value.clone());
        Ok(value)
    }

    /// Reads until an object of this type comes.
    pub fn until(&mut self, kind: &str) -> Value {
        loop {
            match self.next_within(PATIENCE) {
                Ok(value) if value["type"] == kind => return value,
                Ok(_) => {}
                Err(error) => {
                    let stderr = self.stderr();
                    panic!("no {kind} ({error}): {:?} {stderr}", self.seen)
                }
            }
        }
    }

    /// Writes to stdin; false once the command has closed it.
    pub fn write(&mut self, text: &str) -> bool {
        self.stdin.as_mut().is_some_and(|stdin| stdin.write_all(text.as_bytes()).and_then(|()| stdin.flush()).is_ok())
    }

    /// End of stdin.
    pub fn close_stdin(&mut self) {
        self.stdin = None;
    }

    /// Ctrl-C.
    pub fn interrupt(&self) {
        signal(&self.child, Signal::INT);
    }

    /// SIGTERM.
    pub fn terminate(&self) {
        signal(&self.child, Signal::TERM);
    }

    /// SIGKILL; returns what it had printed.
    pub fn kill(mut self) -> Vec<Value> {
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.rest()
    }

    /// Waits for the end; the exit code and everything that was printed.
    pub fn wait(mut self) -> (Option<i32>, Vec<Value>) {
        let status = wait(&mut self.child);
        (status.code(), self.rest())
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    fn rest(&mut self) -> Vec<Value> {
        // The reader ends with the pipe, and the pipe with the process.
        while self.next_within(PATIENCE).is_ok() {}
        std::mem::take(&mut self.seen)
    }

    fn stderr(&mut self) -> String {
        let _ = self.child.kill();
        let mut text = String::new();
        if let Some(stderr) = &mut self.child.stderr {
            let _ = stderr.read_to_string(&mut text);
        }
        text
    }
}

/// A command that prints JSON lines into a pipe that nothing reads but the test, when it asks.
pub struct Unread {
    child: Child,
    stdout: BufReader<std::process::ChildStdout>,
    /// Open: a chat goes on as long as it is.
    _stdin: Option<ChildStdin>,
}

impl Unread {
    /// Starts it.
    pub fn start(mut command: Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        Self { _stdin: child.stdin.take(), child, stdout }
    }

    /// Reads until an object of this type comes.
    pub fn until(&mut self, kind: &str) -> Value {
        loop {
            let mut line = String::new();
            assert!(self.stdout.read_line(&mut line).unwrap() > 0, "no {kind}: it has ended");
            let object: Value = serde_json::from_str(&line).unwrap();
            if object["type"] == kind {
                return object;
            }
        }
    }
}

impl Drop for Unread {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn signal(child: &Child, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    // A process that has just ended cannot be signalled: fine.
    let _ = kill_process(pid, signal);
}

fn wait(child: &mut Child) -> std::process::ExitStatus {
    let begun = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if begun.elapsed() > PATIENCE {
            let _ = child.kill();
            panic!("the process does not end");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Waits until something holds; panics with `what` if it never does.
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "still not after {PATIENCE:?}: {what}");
        std::thread::sleep(LOOK_AGAIN);
    }
}

/// JSON lines.
pub fn objects(stdout: &[u8]) -> Vec<Value> {
    let text = String::from_utf8(stdout.to_vec()).expect("stdout is UTF-8");
    text.lines()
        .map(|line| {
            let object: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
            assert!(object["type"].is_string(), "an object without a type: {line}");
            object
        })
        .collect()
}

/// The first object of a type.
pub fn find<'a>(objects: &'a [Value], kind: &str) -> &'a Value {
    objects.iter().find(|object| object["type"] == kind).unwrap_or_else(|| panic!("no {kind} in {objects:?}"))
}

/// All objects of a type.
pub fn all<'a>(objects: &'a [Value], kind: &str) -> Vec<&'a Value> {
    objects.iter().filter(|object| object["type"] == kind).collect()
}

/// The texts of all messages.
pub fn texts(objects: &[Value]) -> Vec<String> {
    all(objects, "message").iter().map(|message| message["text"].as_str().unwrap().to_owned()).collect()
}

fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

/// SplitMix64: numbers for tests that a seed repeats.
pub struct Random(u64);

impl Random {
    /// Seeded by `KUVERT_TEST_SEED`, else by the clock. Prints the seed.
    pub fn seeded(test: &str) -> Self {
        let seed = match std::env::var("KUVERT_TEST_SEED") {
            Ok(seed) => seed.parse().expect("KUVERT_TEST_SEED is a number"),
            Err(_) => std::time::UNIX_EPOCH.elapsed().unwrap().subsec_nanos().into(),
        };
        eprintln!("{test}: KUVERT_TEST_SEED={seed}");
        Self(seed)
    }

    /// For a thread of its own.
    pub fn from_seed(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// From `low` to below `high` milliseconds.
    pub fn millis(&mut self, low: u64, high: u64) -> Duration {
        Duration::from_millis(low + self.number() % (high - low))
    }
}

/// Alice and Bob at one relay, who know each other: Alice has Bob from his link, Bob has Alice by name.
pub fn alice_and_bob(relay: &Relay) -> (Home, Home) {
    let alice = Home::registered(relay, "alice");
    let bob = Home::registered(relay, "bob");
    let link = find(&bob.ok(&["invite"]), "invite")["link"].as_str().unwrap().to_owned();
    let contact = find(&alice.ok(&["contact", "add", &link]), "contact").clone();
    assert_eq!((&contact["alias"], &contact["verified"]), (&"bob".into(), &true.into()));
    let contact = find(&bob.ok(&["contact", "add", "alice"]), "contact").clone();
    assert_eq!((&contact["alias"], &contact["verified"]), (&"alice".into(), &false.into()));
    (alice, bob)
}

/// The same two after a word of each to the other: each has shown the other its access key, so that the relay takes more than
/// a stranger's part of either.
pub fn acquainted(relay: &Relay) -> (Home, Home) {
    let (alice, bob) = alice_and_bob(relay);
    for (from, to, name) in [(&alice, &bob, "bob"), (&bob, &alice, "alice")] {
        from.ok(&["send", name, "good evening"]);
        assert_eq!(to.receive(), ["good evening"]);
    }
    // The last receipt.
    bob.ok(&["receive"]);
    (alice, bob)
}
