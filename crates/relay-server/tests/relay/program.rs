//! The program as an operator runs it: a process with files, signals and exit codes.

use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Output, Stdio};

use kuvert_types::RelayUrl;
use kuvert_wire::v1::client_frame::Body as Request;
use kuvert_wire::v1::error::Code;
use kuvert_wire::v1::{self, demonstration};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::Command;

use crate::common::process::{Process, clean};
use crate::common::*;

fn command() -> Command {
    clean(crate::PROGRAM)
}

async fn run(args: &[&OsStr]) -> Output {
    within(command().args(args).output()).await.unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

async fn inspect(data: &Path) -> Vec<Value> {
    let output = run(&["inspect".as_ref(), "--json".as_ref(), "--data".as_ref(), data.as_ref()]).await;
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Of the client's two ways to notice, this one takes a round trip, the other one the idle timeout.
#[tokio::test]
async fn a_client_hears_at_once_that_its_relay_was_killed_and_restarted() {
    let data = tempfile::tempdir().unwrap();
    let relay = Process::start(data.path(), &[]).await;
    let port = relay.url.port.to_string();
    let device = Device::new();
    let mut client = Client::register(&relay.url, &device).await;
    relay.stop("-KILL").await;
    let listen = format!("127.0.0.1:{port}");
    let relay = Process::start(data.path(), &["--listen", &listen]).await;
    // It may have heard already, by a datagram of its own.
    client.try_send(submit(envelope_from(&device, &device, "to whom?"))).await;
    let ended = within(client.connection.closed()).await;
    assert!(matches!(ended, quinn::ConnectionError::Reset), "{ended:?}");
    drop(Client::authenticate(&relay.url, &device).await);
    relay.stop("-TERM").await;
}

/// The names that a relay could have chosen by its process's number, all taken by others.
#[tokio::test]
async fn a_ready_file_is_written_through_no_link_that_others_left() {
    let folder = tempfile::tempdir().unwrap();
    let (victim, shared) = (folder.path().join("victim"), folder.path().join("shared"));
    std::fs::write(&victim, "something that matters").unwrap();
    std::fs::create_dir(&shared).unwrap();
    let ready = shared.join("ready");
    std::os::unix::fs::symlink(&victim, &ready).unwrap();
    // Waits for a line before it serves, so that its number is known.
    let script = r#"read -r go; exec "$@""#;
    let mut child = Command::new("sh")
        .args(["-c", script, "sh", env!("CARGO_BIN_EXE_kuvert-relay"), "serve", "--listen", "127.0.0.1:0", "--data"])
        .arg(folder.path().join("data"))
        .arg("--ready-file")
        .arg(&ready)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let number = child.id().unwrap();
    for name in [format!("ready.{number}"), "ready.new".into(), "ready.tmp".into()] {
        std::os::unix::fs::symlink(&victim, shared.join(name)).unwrap();
    }
    child.stdin.take().unwrap().write_all(b"go\n").await.unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let url = within(lines.next_line()).await.unwrap().unwrap();
    let is_written = async {
        while std::fs::read_to_string(&ready).unwrap() == "something that matters" {
            tokio::task::yield_now().await;
        }
    };
    within(is_written).await;
    assert_eq!(std::fs::read_to_string(&ready).unwrap().trim_end(), url);
    assert_eq!(std::fs::read_to_string(&victim).unwrap(), "something that matters");
    let limits = std::fs::read_to_string(format!("/proc/{number}/limits")).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"], "and it leaves no core dumps");
}

#[tokio::test]
async fn it_says_where_it_is_and_stops_on_signals() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let ready = folder.path().join("ready");
    let mut fingerprints = Vec::new();
    for signal in ["-TERM", "-INT"] {
        let relay = Process::start(&data, &["--ready-file", ready.to_str().unwrap()]).await;
        assert!(relay.first_line.starts_with("kuvert://127.0.0.1:"));
        fingerprints.push(relay.url.fingerprint);
        // Somebody is connected when it stops, and is told.
        let mut client = Client::register(&relay.url, &Device::new()).await;
        client.attach().await;
        client.caught_up().await;
        // The ready file comes after the line.
        within(async {
            while !ready.exists() {
                tokio::task::yield_now().await
            }
        })
        .await;
        assert_eq!(std::fs::read_to_string(&ready).unwrap().trim(), relay.first_line);
        std::fs::remove_file(&ready).unwrap();
        let (code, stderr) = relay.stop(signal).await;
        assert_eq!(code, Some(0), "{stderr}");
        assert!(matches!(client.unasked().await, v1::server_frame::Body::GoingAway(_)));
    }
    assert_eq!(fingerprints[0], fingerprints[1], "the identity stays");
    assert_eq!(std::fs::metadata(data.join("tls/key.pem")).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(std::fs::metadata(&data).unwrap().permissions().mode() & 0o777, 0o700);
    assert!(!data.join("observe.db").exists());
}

/// A client that does not even confirm what it received keeps the relay waiting for a moment; a second signal does not.
#[test]
fn a_second_signal_ends_it_at_once() {
    let data = tempfile::tempdir().unwrap();
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (here, elsewhere) = (runtime(), runtime());
    let mut relay = here.block_on(Process::start(data.path(), &[]));
    // From here on nothing drives this client's connection.
    let silent = elsewhere.block_on(Client::register(&relay.url, &Device::new()));
    let code = here.block_on(async {
        let mut log = BufReader::new(relay.child.stderr.take().unwrap()).lines();
        relay.signal("-TERM");
        while let Some(line) = within(log.next_line()).await.unwrap() {
            if line.contains("stopping") {
                relay.signal("-TERM");
            }
        }
        within(relay.child.wait()).await.unwrap().code()
    });
    assert_eq!(code, Some(1));
    drop(silent);
    // What it had is whole.
    let relay = here.block_on(Process::start(data.path(), &[]));
    assert_eq!(here.block_on(relay.stop("-TERM")).0, Some(0));
}

#[tokio::test]
async fn with_json_it_speaks_json() {
    let data = tempfile::tempdir().unwrap();
    let relay = Process::start(data.path(), &["--json"]).await;
    let ready: Value = serde_json::from_str(&relay.first_line).unwrap();
    assert_eq!(ready["type"], "ready");
    assert_eq!(ready["address"], relay.url.to_string());
    assert_eq!(relay.stop("-TERM").await.0, Some(0));
}

/// As behind `| head`.
#[tokio::test]
async fn whoever_closes_the_pipe_has_seen_enough() {
    for args in [&["registry", "record"][..], &["config", "default"], &["inspect", "--data"]] {
        let data = tempfile::tempdir().unwrap();
        let mut with_data = args.to_vec();
        if args.contains(&"--data") {
            Process::start(data.path(), &[]).await.stop("-TERM").await;
            with_data.push(data.path().to_str().unwrap());
        }
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = within(command().args(&with_data).stdout(writer).output()).await.unwrap();
        assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), String::new()), "{args:?}");
    }
}

#[tokio::test]
async fn wrong_command_lines_end_with_2_and_say_what_is_wrong() {
    let data = tempfile::tempdir().unwrap();
    let file = data.path().join("relay.toml");
    std::fs::write(&file, "retention_dayz = 3").unwrap();
    let (data, file) = (data.path().to_str().unwrap(), file.to_str().unwrap());
    for (args, code, says) in [
        (vec!["serve", "--data", data, "--retention", "31"], "retention-too-long", "1 to 30 days"),
        (vec!["serve", "--data", data, "--retention", "0"], "retention-too-long", "1 to 30 days"),
        (vec!["serve", "--data", data, "--config", file], "config-unknown-key", "did you mean `retention_days`?"),
        (vec!["serve", "--data", data, "--config", "/nowhere.toml"], "config-file", "/nowhere.toml"),
        (
            vec!["serve", "--data", data, "--listen", "127.0.0.1:0", "--public-host", "a b"],
            "public-host",
            "--public-host",
        ),
    ] {
        let mut args: Vec<&OsStr> = args.iter().map(OsStr::new).collect();
        args.push("--json".as_ref());
        let output = run(&args).await;
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        let error: Value = serde_json::from_str(&text(&output.stdout)).unwrap();
        assert_eq!((&error["type"], &error["code"]), (&"error".into(), &code.into()));
        assert!(error["message"].as_str().unwrap().contains(says), "{error}");
        assert!(text(&output.stderr).contains(says));
    }
    for args in [&["serve", "--listen", "nowhere"][..], &["serve", "--retention", "x"], &["dance"], &[]] {
        let args: Vec<&OsStr> = args.iter().map(OsStr::new).collect();
        assert_eq!(run(&args).await.status.code(), Some(2), "{args:?}");
    }
    assert_eq!(run(&["--version".as_ref()]).await.status.code(), Some(0));
}

#[tokio::test]
async fn a_second_relay_on_the_same_data_or_port_is_refused() {
    let (data, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let relay = Process::start(data.path(), &[]).await;
    let port = format!("127.0.0.1:{}", relay.url.port);
    for (data, listen, code, says) in [
        (data.path(), "127.0.0.1:0", "data-locked", "another relay"),
        (other.path(), port.as_str(), "port-in-use", "--listen"),
    ] {
        let args: [&OsStr; 6] = [
            "--json".as_ref(),
            "serve".as_ref(),
            "--data".as_ref(),
            data.as_ref(),
            "--listen".as_ref(),
            listen.as_ref(),
        ];
        let output = run(&args).await;
        assert_eq!(output.status.code(), Some(1));
        let error: Value = serde_json::from_str(&text(&output.stdout)).unwrap();
        assert_eq!(error["code"], code);
        assert!(error["message"].as_str().unwrap().contains(says), "{error}");
    }
    drop(Client::register(&relay.url, &Device::new()).await);
    assert_eq!(relay.stop("-TERM").await.0, Some(0));
}

#[tokio::test]
async fn data_that_cannot_be_used_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let serve = async |data: &Path| {
        let args: [&OsStr; 6] = [
            "--json".as_ref(),
            "serve".as_ref(),
            "--listen".as_ref(),
            "127.0.0.1:0".as_ref(),
            "--data".as_ref(),
            data.as_ref(),
        ];
        let output = run(&args).await;
        assert_eq!(output.status.code(), Some(1));
        let error: Value = serde_json::from_str(&text(&output.stdout)).unwrap();
        error["code"].as_str().unwrap().to_owned()
    };
    let private = |name: &str| {
        let data = folder.path().join(name);
        std::fs::create_dir(&data).unwrap();
        std::fs::set_permissions(&data, std::fs::Permissions::from_mode(0o700)).unwrap();
        data
    };
    let write = |path: &Path, content: &[u8]| {
        std::fs::write(path, content).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
    };
    // Somebody else's database; no database at all.
    let data = private("foreign");
    rusqlite::Connection::open(data.join("relay.db")).unwrap().execute_batch("CREATE TABLE t(x)").unwrap();
    std::fs::set_permissions(data.join("relay.db"), std::fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(serve(&data).await, "data-foreign");
    let data = private("garbage");
    write(&data.join("relay.db"), &[0x5A; 10_000]);
    let code = serve(&data).await;
    assert!(["data-foreign", "data-corrupt"].contains(&code.as_str()), "{code}");
    // Others could write here; the TLS key is open to others.
    let data = private("open");
    std::fs::set_permissions(&data, std::fs::Permissions::from_mode(0o777)).unwrap();
    assert_eq!(serve(&data).await, "data-permissions");
    let data = private("key");
    assert_eq!(Process::start(&data, &[]).await.stop("-TERM").await.0, Some(0));
    std::fs::set_permissions(data.join("tls/key.pem"), std::fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(serve(&data).await, "tls-permissions");
    // A file where the directory should be.
    let data = folder.path().join("file");
    write(&data, b"");
    assert_eq!(serve(&data).await, "data-io");
    let args: [&OsStr; 4] = ["--json".as_ref(), "inspect".as_ref(), "--data".as_ref(), folder.path().as_ref()];
    let output = run(&args).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stdout).contains("data-missing"));
}

#[tokio::test]
async fn inspect_prints_everything_that_a_running_relay_holds() {
    let data = tempfile::tempdir().unwrap();
    let config = data.path().join("relay.toml");
    std::fs::write(&config, "region = \"USA\"\n").unwrap();
    let relay = Process::start(data.path(), &["--retention", "7", "--config", config.to_str().unwrap()]).await;
    let alice = Device { phone: Some("+491701234567".into()), ..Device::named("alice") };
    let bob = Device::named("bob");
    let mut alice_there = Client::register(&relay.url, &alice).await;
    let mut bob_there = Client::register(&relay.url, &bob).await;
    bob_there.ask(Request::PublishPrekeys(prekeys(1, 7, true))).await;
    let told = envelope_from(&alice, &bob, vec![0xAB; 300]);
    alice_there.submit(told.clone()).await;
    bob_there.welcome(true).await;
    submit_sealed(&relay.url, envelope(&bob, vec![0xCD; 40])).await;
    let unwanted = Device::new().address.account;
    let account = bytes::Bytes::copy_from_slice(unwanted.as_bytes());
    bob_there.ask(Request::SetBlocked(v1::SetBlocked { account, blocked: true })).await;

    let lines = inspect(data.path()).await;
    let summary = &lines[0];
    assert_eq!((&summary["type"], &summary["region"]), (&"relay".into(), &"USA".into()));
    for (field, value) in
        [("accounts", 2), ("devices", 2), ("waiting", 2), ("waiting_bytes", 340), ("one_time_prekeys", 14)]
    {
        assert_eq!(summary[field], value, "{field}");
    }
    let waiting: Vec<_> = lines.iter().filter(|line| line["type"] == "waiting").collect();
    assert_eq!(waiting.len(), 2);
    let id = kuvert_types::EnvelopeId::try_from(told.id.as_ref()).unwrap();
    assert_eq!(waiting[0]["id"], id.to_string());
    assert_eq!(waiting[0]["recipient"], bob.address.to_string());
    assert_eq!(waiting[0]["sender"], alice.address.to_string());
    assert_eq!(waiting[0]["size"], 300);
    let accepted = waiting[0]["accepted_at"].as_u64().unwrap();
    assert_eq!(waiting[0]["expires_at"].as_u64().unwrap() - accepted, 7 * 86_400_000);
    assert_eq!((&waiting[1]["sender"], &waiting[1]["size"]), (&Value::Null, &40.into()));
    let bobs = lines.iter().find(|line| line["type"] == "account" && line["name"] == "bob").unwrap();
    assert_eq!((&bobs["access_key"], &bobs["sealed_mail"]), (&true.into(), &true.into()));
    assert_eq!(bobs["blocked"], serde_json::json!([unwanted.to_string()]));

    let output = run(&["inspect".as_ref(), "--data".as_ref(), data.path().as_ref()]).await;
    let printed = text(&output.stdout);
    let identity_key = "09".repeat(32);
    for held in [
        "alice",
        "+491701234567",
        "bob",
        &alice.address.account.to_string(),
        &bob.address.to_string(),
        &id.to_string(),
        &identity_key,
        "7 one-time, 7 one-time KEM",
        &format!("blocked           {unwanted}"),
        "unknown",
        "7 days",
        "USA (the operator's label)",
    ] {
        assert!(printed.contains(held), "{held} is missing in {printed}");
    }
    // It only looked: all is still there, and the relay goes on.
    bob_there.attach().await;
    bob_there.delivery().await;
    let cursor = bob_there.delivery().await.cursor;
    bob_there.acknowledge(cursor).await;
    assert_eq!(inspect(data.path()).await[0]["waiting"], 0);
    assert_eq!(relay.stop("-TERM").await.0, Some(0));
    assert_eq!(inspect(data.path()).await[0]["accounts"], 2, "also when it does not run");
}

#[tokio::test]
async fn what_was_accepted_survives_sigkill() {
    let data = tempfile::tempdir().unwrap();
    let (alice, bob) = (Device::new(), Device::new());
    let mut relay = Process::start(data.path(), &[]).await;
    drop(Client::register(&relay.url, &bob).await);
    let mut alice_there = Client::register(&relay.url, &alice).await;
    let mut accepted = Vec::new();
    for round in 0..3u8 {
        for number in 0..20u8 {
            let letter = envelope_from(&alice, &bob, vec![round, number]);
            alice_there.submit(letter.clone()).await;
            accepted.push(letter);
        }
        relay.child.kill().await.unwrap();
        relay = Process::start(data.path(), &[]).await;
        alice_there = Client::authenticate(&relay.url, &alice).await.0;
    }
    let (mut bob_there, greeting) = Client::authenticate(&relay.url, &bob).await;
    assert_eq!(greeting.waiting, accepted.len() as u64);
    bob_there.attach().await;
    for letter in accepted {
        assert_eq!(bob_there.delivery().await.envelope, Some(letter));
    }
    assert_eq!(relay.stop("-TERM").await.0, Some(0));
}

#[tokio::test]
async fn the_log_tells_what_is_served_and_whether_the_last_stop_was_clean() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let monitored = || {
        let mut command = command();
        command.env("KUVERT_RELAY_MONITORING_LISTEN", "127.0.0.1:0").env("KUVERT_RELAY_LOG_JSON", "true");
        command
    };
    let relay = Process::start_as(monitored(), &data, &["--json"]).await;
    let device = Device::new();
    Client::register(&relay.url, &device).await.submit(envelope_from(&device, &device, "to myself")).await;
    let (_, log) = relay.stop("-KILL").await;
    assert!(!log.contains("not clean"), "{log}");
    let to = folder.path().join("backup");
    let backup = run(&["backup".as_ref(), "--data".as_ref(), data.as_ref(), "--to".as_ref(), to.as_ref()]).await;
    assert!(backup.status.success(), "{}", text(&backup.stderr));
    // A backup opens the database and may leave its log empty: what was killed stays known.
    let relay = Process::start_as(monitored(), &data, &["--json"]).await;
    let ready: Value = serde_json::from_str(&relay.first_line).unwrap();
    let monitoring = ready["monitoring"].as_str().unwrap().to_owned();
    let metrics = crate::monitoring::get(monitoring.parse().unwrap(), "/metrics").await.1;
    let value = |name: &str| {
        let line = metrics.lines().find_map(|line| line.strip_prefix(&format!("kuvert_relay_{name} ")));
        line.unwrap_or_else(|| panic!("{name} in {metrics}")).parse::<f64>().unwrap()
    };
    assert_eq!(value("last_stop_unclean"), 1.0);
    assert!(value("last_backup_timestamp_seconds") > 1_767_225_600.0);
    assert_eq!(value("clock_step_seconds"), 0.0);
    let port = relay.url.port;
    let (_, log) = relay.stop("-TERM").await;
    assert!(log.contains("the last stop was not clean"), "{log}");
    let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let serving = lines.map(|line| line["fields"].clone()).find(|fields| fields["message"] == "serving").unwrap();
    assert_eq!((&serving["accounts"], &serving["waiting"]), (&1.into(), &1.into()));
    assert_eq!(serving["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(serving["listen"], format!("127.0.0.1:{port}"));
    assert_eq!(serving["monitoring"], monitoring);
    let (_, log) = Process::start_as(monitored(), &data, &["--json"]).await.stop("-TERM").await;
    assert!(!log.contains("not clean") && log.contains("serving"), "{log}");
}

/// Where nothing can be written: a full disk for both streams.
fn full() -> Stdio {
    Stdio::from(std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap())
}

#[tokio::test]
async fn output_that_cannot_be_written_is_a_failure_and_no_panic() {
    let folder = tempfile::tempdir().unwrap();
    let (data, nothing) = (folder.path().join("data"), folder.path().join("nothing"));
    assert_eq!(Process::start(&data, &[]).await.stop("-TERM").await.0, Some(0));
    let (data, nothing) = (data.to_str().unwrap(), nothing.to_str().unwrap());
    let backup = folder.path().join("backup");
    for arguments in [
        &["inspect", "--json", "--data", data][..],
        &["inspect", "--json", "--data", nothing],
        &["inspect", "--data", nothing],
        &["invite", "create", "--json", "--data", data],
        &["invite", "create", "--json", "--data", nothing],
        &["backup", "--json", "--data", data, "--to", backup.to_str().unwrap()],
        &["registry", "legend"],
        &["config", "default"],
        &["serve", "--json", "--retention", "99"],
    ] {
        let status = within(command().args(arguments).stdout(full()).stderr(full()).status()).await.unwrap();
        assert!(matches!(status.code(), Some(1 | 2)), "{arguments:?}: {status}");
    }
}

#[tokio::test]
async fn a_relay_serves_though_nothing_reads_its_stdout_and_its_log_cannot_be_written() {
    let data = tempfile::tempdir().unwrap();
    let ready = data.path().join("ready");
    for (stdout, stderr) in [(full(), full()), (Stdio::piped(), Stdio::null())] {
        let mut command = command();
        command.args(["serve", "--listen", "127.0.0.1:0", "-vv", "--data"]).arg(data.path());
        let mut child = command.arg("--ready-file").arg(&ready).stdout(stdout).stderr(stderr).spawn().unwrap();
        // The pipe has no reader from here on.
        drop(child.stdout.take());
        let url = loop {
            if let Ok(address) = std::fs::read_to_string(&ready) {
                break address.trim().parse::<RelayUrl>().unwrap();
            }
            assert!(child.try_wait().unwrap().is_none(), "it ended");
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        };
        let device = Device::new();
        let mut client = Client::register(&url, &device).await;
        client.submit(envelope_from(&device, &device, "to myself")).await;
        std::process::Command::new("kill").arg(child.id().unwrap().to_string()).status().unwrap();
        assert_eq!(within(child.wait()).await.unwrap().code(), Some(0));
        std::fs::remove_file(&ready).unwrap();
    }
}

/// As a container's volume: root owns it, and the relay's group may write. This needs root, to play two users.
#[tokio::test]
async fn a_volume_of_roots_that_the_relays_group_may_write_is_served() {
    use std::os::unix::fs::{MetadataExt, chown};
    const RELAY: u32 = 10_001;
    let folder = tempfile::tempdir().unwrap();
    if folder.path().metadata().unwrap().uid() != 0 || within(clean("setpriv").arg("--version").output()).await.is_err()
    {
        println!("a volume of root's: skipped, because this is not root, or setpriv is missing");
        return;
    }
    let mode = |path: &Path, mode| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    mode(folder.path(), 0o711);
    let program = folder.path().join("program");
    std::fs::copy(env!("CARGO_BIN_EXE_kuvert-relay"), &program).unwrap();
    let volume = folder.path().join("volume");
    std::fs::create_dir(&volume).unwrap();
    chown(&volume, Some(0), Some(RELAY)).unwrap();
    let as_relay = || {
        let mut command = clean("setpriv");
        let user = RELAY.to_string();
        command.args(["--reuid", &user, "--regid", &user, "--clear-groups"]).arg(&program).current_dir("/");
        command.kill_on_drop(true);
        command
    };
    let refused = async || {
        let mut command = as_relay();
        command.args(["serve", "--json", "--listen", "127.0.0.1:0", "--data"]).arg(&volume);
        let output = within(command.output()).await.unwrap();
        assert_eq!(output.status.code(), Some(1));
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    // Others may read it, or its own group may not write: the advice is what this user can do.
    mode(&volume, 0o2775);
    assert_eq!(refused().await["code"], "data-permissions");
    mode(&volume, 0o2750);
    let failure = refused().await;
    assert_eq!(failure["code"], "data-of-another");
    assert!(failure["message"].as_str().unwrap().contains("chown 10001"), "{failure}");

    mode(&volume, 0o2770);
    let relay = Process::start_as(as_relay(), &volume, &[]).await;
    let device = Device::new();
    Client::register(&relay.url, &device).await.submit(envelope_from(&device, &device, "to myself")).await;
    assert_eq!(relay.stop("-TERM").await.0, Some(0));
    for entry in std::fs::read_dir(&volume).unwrap() {
        let metadata = entry.unwrap().metadata().unwrap();
        assert_eq!((metadata.uid(), metadata.mode() & 0o022), (RELAY, 0));
    }

    // What a start as another user leaves is named with its owner.
    std::fs::write(volume.join("observe.db"), "").unwrap();
    let failure = refused().await;
    assert_eq!(failure["code"], "data-of-another");
    let message = failure["message"].as_str().unwrap();
    assert!(message.contains("observe.db belongs to the user with number 0") && message.contains("chown"), "{message}");
}

#[tokio::test]
async fn day_31_by_the_clock_offset() {
    let data = tempfile::tempdir().unwrap();
    let (alice, bob) = (Device::new(), Device::new());
    let relay = Process::start(data.path(), &[]).await;
    drop(Client::register(&relay.url, &bob).await);
    Client::register(&relay.url, &alice).await.submit(envelope(&bob, "sealed")).await;
    assert_eq!(relay.stop("-TERM").await.0, Some(0));
    let relay = Process::start(data.path(), &["--clock-offset", "2678400", "--trust-clock"]).await;
    let (_, greeting) = Client::authenticate(&relay.url, &bob).await;
    assert_eq!((greeting.waiting, greeting.expired), (0, 1));
    assert_eq!(relay.stop("-TERM").await.0, Some(0));
    assert_eq!(inspect(data.path()).await[0]["waiting"], 0);
}

#[tokio::test]
async fn logs_hold_no_name_number_address_or_key() {
    for more in [&["-vv"][..], &["-vv", "--config"]] {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("relay.toml");
        std::fs::write(&config, "[log]\njson = true\nlevel = \"trace\"").unwrap();
        let mut args = more.to_vec();
        if more.len() > 1 {
            args.push(config.to_str().unwrap());
        }
        let relay = Process::start(&folder.path().join("data"), &args).await;
        let alice = Device { phone: Some("+4917099887766".into()), ..Device::named("canaryname") };
        let bob = Device::named("othercanary");
        let mut alice_there = Client::register(&relay.url, &alice).await;
        let mut bob_there = Client::register(&relay.url, &bob).await;
        bob_there.ask(Request::PublishPrekeys(prekeys(1, 3, true))).await;
        alice_there.ask(take_bundles(&bob)).await;
        let by = Some(v1::get_account::By::Name("othercanary".into()));
        alice_there.ask(Request::GetAccount(v1::GetAccount { by })).await;
        let letter = envelope_from(&alice, &bob, "canary in the ciphertext");
        alice_there.submit(letter.clone()).await;
        alice_there.refused(submit(envelope_from(&bob, &alice, "forbidden"))).await;
        // What is told at L0 only is not taken, and leaves nothing here either.
        let told = "+4917012345619";
        let people = vec![demonstration::Person {
            name: Some("thirdcanary".into()),
            phone: told.into(),
            ..demonstration::Person::default()
        }];
        for request in [
            tell(demonstration::RequestPhoneCode { phone: told.into() }),
            tell(demonstration::UploadAddressBook { people, replace: true }),
        ] {
            assert_eq!(bob_there.refused(request).await, Code::NotOffered);
        }
        bob_there.attach().await;
        let cursor = bob_there.delivery().await.cursor;
        bob_there.acknowledge(cursor).await;
        let (second, _) = Client::authenticate(&relay.url, &bob).await;
        let mut broken = Client::connect(&relay.url).await;
        broken.send.write_all(&[0xFF; 64]).await.unwrap();
        broken.closed().await;
        let port = alice_there._endpoint.local_addr().unwrap().port().to_string();
        drop(second);
        let own = format!("127.0.0.1:{}", relay.url.port);
        let (code, log) = relay.stop("-TERM").await;
        assert_eq!(code, Some(0));
        // Once, at the start, it tells its own address, which is on the same machine as the clients here.
        assert_eq!(log.matches(&own).count(), 1, "{log}");
        let log = log.replace(&own, "");
        assert!(
            log.contains("serving") && log.contains("connected") && log.contains("TOO_LARGE"),
            "logs are on: {log}"
        );

        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let id = kuvert_types::EnvelopeId::try_from(letter.id.as_ref()).unwrap();
        let lower = log.to_lowercase();
        for device in [&alice, &bob] {
            let key = device.signing_key.verifying_key().to_bytes();
            for canary in [
                device.address.account.to_string(),
                hex(device.address.account.as_bytes()),
                hex(&key[..8]),
                hex(&device.account_public().as_bytes()[..8]),
                device.name.clone().unwrap(),
            ] {
                assert!(!lower.contains(&canary), "{canary} is in the log: {log}");
            }
        }
        let port = format!(":{port}");
        for canary in ["canary", "17099887766", &told[1..], "127.0.0.1", &port, &id.to_string(), &hex(id.as_bytes())] {
            assert!(!lower.contains(canary), "{canary} is in the log: {log}");
        }
    }
}

#[tokio::test]
async fn the_printed_configuration_is_one_that_serve_takes() {
    let folder = tempfile::tempdir().unwrap();
    let output = run(&["config".as_ref()]).await;
    assert!(output.status.success());
    assert_eq!(run(&["config".as_ref(), "default".as_ref()]).await.stdout, output.stdout);
    let file = folder.path().join("relay.toml");
    std::fs::write(&file, output.stdout).unwrap();
    let checked = run(&["config".as_ref(), "check".as_ref(), "--config".as_ref(), file.as_ref()]).await;
    assert!(text(&checked.stdout).starts_with("good: listens on 127.0.0.1:4433"), "{}", text(&checked.stderr));
    let relay = Process::start(&folder.path().join("data"), &["--config", file.to_str().unwrap()]).await;
    assert_eq!(relay.stop("-TERM").await.0, Some(0));
    std::fs::write(&file, "[log]\nlevle = \"info\"").unwrap();
    let checked = run(&["config".as_ref(), "check".as_ref(), "--config".as_ref(), file.as_ref()]).await;
    assert_eq!(checked.status.code(), Some(2));
    assert!(text(&checked.stderr).contains("did you mean `log.level`?"), "{}", text(&checked.stderr));
}

#[tokio::test]
async fn flags_win_over_the_environment_and_that_over_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("relay.toml");
    std::fs::write(&file, "listen = \"127.0.0.1:7\"\ndata = \"/file\"\nregistration = \"closed\"").unwrap();
    let check = async |variables: &[(&str, &str)]| {
        let mut command = command();
        command.args(["--json", "config", "check", "--config"]).arg(&file);
        within(command.envs(variables.iter().copied()).output()).await.unwrap()
    };
    let output = check(&[("KUVERT_RELAY_LISTEN", "127.0.0.1:8"), ("KUVERT_RELAY_DATA", "")]).await;
    let settled: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&settled["listen"], &settled["data"]), (&"127.0.0.1:8".into(), &"/file".into()));
    let output = check(&[("KUVERT_RELAY_LISTENN", "127.0.0.1:8")]).await;
    let error: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(error["code"], "config-unknown-key");
    assert!(error["message"].as_str().unwrap().contains("did you mean `KUVERT_RELAY_LISTEN`?"), "{error}");
    // `Process::start` gives --listen and --data.
    let data = folder.path().join("data");
    let relay = Process::start(&data, &["--config", file.to_str().unwrap()]).await;
    assert!(data.join("relay.db").exists() && relay.url.port != 7);
    let mut client = Client::connect(&relay.url).await;
    let proof = client.hello().await;
    let register = Request::Register(Device::new().register_request(&proof));
    assert_eq!(client.refused(register).await, Code::RegistrationClosed);
    assert_eq!(relay.stop("-TERM").await.0, Some(0));
}

#[tokio::test]
async fn invitations_are_made_listed_and_taken_back_beside_a_running_relay() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("relay.toml");
    std::fs::write(&file, "registration = \"invitation\"").unwrap();
    let data = folder.path().join("data");
    let relay = Process::start(&data, &["--config", file.to_str().unwrap()]).await;
    let invite = async |args: &[&str]| {
        let mut all: Vec<&OsStr> = vec!["--json".as_ref(), "invite".as_ref(), args[0].as_ref(), "--data".as_ref()];
        all.push(data.as_ref());
        all.extend(args[1..].iter().map(OsStr::new));
        let output = run(&all).await;
        let lines: Vec<Value> = text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        (output.status.code(), lines)
    };
    let register = async |code: &str| {
        let mut client = Client::connect(&relay.url).await;
        let proof = client.hello().await;
        let invitation = Some(code.to_owned());
        client.ask(Request::Register(v1::Register { invitation, ..Device::new().register_request(&proof) })).await
    };
    let (status, made) = invite(&["create", "--uses", "2", "--days", "3"]).await;
    assert_eq!(status, Some(0));
    let code = made[0]["code"].as_str().unwrap();
    assert!(matches!(register(code).await, v1::server_frame::Body::Authenticated(_)));
    let (_, listed) = invite(&["list"]).await;
    assert_eq!((&listed[0]["uses"], &listed[0]["name"]), (&1.into(), &made[0]["name"]));
    assert!(!listed[0].to_string().contains(code));
    // By the name in the list; then it is gone.
    let name = listed[0]["name"].as_str().unwrap();
    assert_eq!(invite(&["revoke", name]).await.0, Some(0));
    assert_eq!(invite(&["list"]).await.1.len(), 0);
    assert!(matches!(register(code).await, v1::server_frame::Body::Error(_)));
    let (status, error) = invite(&["revoke", name]).await;
    assert_eq!((status, &error[0]["code"]), (Some(1), &"invitation-unknown".into()));
    assert_eq!(relay.stop("-TERM").await.0, Some(0));
    // No file of the relay's ever held the code.
    for entry in std::fs::read_dir(&data).unwrap().map(Result::unwrap).filter(|entry| entry.path().is_file()) {
        let bytes = std::fs::read(entry.path()).unwrap();
        for needle in [code.to_owned(), code.replace('-', "")] {
            assert!(!bytes.windows(needle.len()).any(|window| window == needle.as_bytes()), "{:?}", entry.path());
        }
    }
}

#[tokio::test]
async fn sighup_reads_the_certificate_again_and_another_key_is_not_served() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    // The files that the relay made are as good as anybody's.
    let relay = Process::start(&data, &[]).await;
    let address = relay.url.clone();
    assert_eq!(relay.stop("-TERM").await.0, Some(0));
    let mut relay = Process::start(&data, &[]).await;
    let mut client = Client::register(&relay.url, &Device::new()).await;
    let mut log = BufReader::new(relay.child.stderr.take().unwrap()).lines();
    let mut logged = async |words: &str| {
        while let Some(line) = within(log.next_line()).await.unwrap() {
            if line.contains(words) {
                return;
            }
        }
        panic!("never logged: {words}");
    };
    relay.signal("-HUP");
    logged("the certificate was read again").await;
    let certificate = data.join("tls/certificate.pem");
    let good = std::fs::read(&certificate).unwrap();
    std::fs::write(&certificate, "nothing").unwrap();
    relay.signal("-HUP");
    logged("the certificate was not read again").await;
    client.ask(Request::CountPrekeys(v1::CountPrekeys {})).await;
    std::fs::write(&certificate, good).unwrap();
    relay.signal("-TERM");
    assert_eq!(within(relay.child.wait()).await.unwrap().code(), Some(0));

    // The key is lost, and a new one would be made: everybody would be locked out.
    let kept = folder.path().join("kept");
    std::fs::rename(data.join("tls"), &kept).unwrap();
    let args = ["--json", "serve", "--listen", "127.0.0.1:0", "--data", data.to_str().unwrap()];
    let output = run(&args.map(OsStr::new)).await;
    let error: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((output.status.code(), &error["code"]), (Some(1), &"tls-other-key".into()));
    let relay = Process::start(&data, &["--new-key"]).await;
    assert_ne!(relay.url.fingerprint, address.fingerprint);
    assert_eq!(relay.stop("-TERM").await.0, Some(0));
    // From then on that is the key.
    std::fs::remove_dir_all(data.join("tls")).unwrap();
    std::fs::rename(&kept, data.join("tls")).unwrap();
    assert_eq!(run(&args.map(OsStr::new)).await.status.code(), Some(1));
    let relay = Process::start(&data, &["--new-key"]).await;
    assert_eq!(relay.url.fingerprint, address.fingerprint);
    assert_eq!(relay.stop("-TERM").await.0, Some(0));
}

#[tokio::test]
async fn monitoring_is_on_this_machine_only_and_its_address_is_told() {
    let data = tempfile::tempdir().unwrap();
    let serve = async |listen: &str| {
        let mut command = command();
        command.args(["--json", "serve", "--listen", "127.0.0.1:0", "--data"]).arg(data.path());
        within(command.env("KUVERT_RELAY_MONITORING_LISTEN", listen).output()).await.unwrap()
    };
    let output = serve("0.0.0.0:0").await;
    let error: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((output.status.code(), &error["code"]), (Some(2), &"monitoring-exposed".into()));
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let output = serve(&taken.local_addr().unwrap().to_string()).await;
    let error: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((output.status.code(), &error["code"]), (Some(1), &"monitoring".into()));

    let file = data.path().join("relay.toml");
    std::fs::write(&file, "[monitoring]\nlisten = \"127.0.0.1:0\"").unwrap();
    let relay = Process::start(data.path(), &["--json", "--config", file.to_str().unwrap()]).await;
    let ready: Value = serde_json::from_str(&relay.first_line).unwrap();
    let address: std::net::SocketAddr = ready["monitoring"].as_str().unwrap().parse().unwrap();
    assert!(address.ip().is_loopback() && address.port() != 0);
    drop(within(tokio::net::TcpStream::connect(address)).await.unwrap());
    assert_eq!(relay.stop("-TERM").await.0, Some(0));
}

/// Many clients that take nothing and send what they can, 240 MiB in all: memory does not follow what they send. SQLite's
/// page cache (16 MiB) is part of what is measured.
#[tokio::test(flavor = "multi_thread")]
async fn memory_is_bounded_whatever_arrives() {
    const CLIENTS: usize = 60;
    const MAX_GROWTH_KIB: u64 = 96 * 1024;
    let data = tempfile::tempdir().unwrap();
    let relay = Process::start(data.path(), &[]).await;
    let status = format!("/proc/{}/status", relay.child.id().unwrap());
    let peak = || -> u64 {
        let status = std::fs::read_to_string(&status).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    let before = peak();
    let mut tasks = Vec::new();
    for number in 0..CLIENTS {
        let url = relay.url.clone();
        tasks.push(tokio::spawn(async move {
            let device = Device::new();
            let mut client = Client::register(&url, &device).await;
            client.attach().await;
            // Half of them begin a large frame and stop; the others write themselves 8 MiB and read none of it.
            if number % 2 == 0 {
                client.send.write_all(&[0xFF, 0xFF, 0x07]).await.unwrap();
                let _ = client.send.write_all(&vec![1; 120_000]).await;
            } else {
                let mut sent = 0;
                let enough = async {
                    while sent < 90 {
                        client.send(submit(envelope_from(&device, &device, vec![7; 90_000]))).await;
                        sent += 1;
                    }
                };
                // It gets as far as the relay lets it.
                let _ = tokio::time::timeout(std::time::Duration::from_secs(5), enough).await;
            }
            client
        }));
    }
    let mut clients = Vec::new();
    for task in tasks {
        clients.push(task.await.unwrap());
    }
    let grown = peak() - before;
    println!("{CLIENTS} hostile clients: {grown} KiB more at the peak");
    assert!(grown < MAX_GROWTH_KIB, "{grown} KiB more with {CLIENTS} clients");
    // Nobody else is harmed.
    let bob = Device::new();
    drop(Client::register(&relay.url, &bob).await);
    let mut alice_there = Client::register(&relay.url, &Device::new()).await;
    alice_there.submit(envelope(&bob, "still here")).await;
    drop(clients);
    assert_eq!(relay.stop("-TERM").await.0, Some(0));
}

#[tokio::test]
async fn nothing_of_the_demonstration_is_on_the_command_line() {
    let run = async |words: &[&str]| run(&words.iter().map(AsRef::as_ref).collect::<Vec<&OsStr>>()).await;
    assert_eq!(text(&run(&["--version"]).await.stdout), format!("kuvert-relay {}\n", env!("CARGO_PKG_VERSION")));
    for help in [&["--help"][..], &["serve", "--help"], &["config"]] {
        let output = run(help).await;
        assert!(output.status.success());
        let help = text(&output.stdout);
        for word in ["--observe", "--demonstration", "share", "withdraw", "observe = ", "demonstration = "] {
            assert!(!help.contains(word), "{word}: {help}");
        }
    }
    for words in
        [&["serve", "--observe"][..], &["serve", "--demonstration"], &["share", "parent"], &["withdraw", "--yes"]]
    {
        assert_eq!(run(words).await.status.code(), Some(2), "{words:?}");
    }
}

#[tokio::test]
async fn what_only_the_other_program_offers_is_refused_with_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let (data, file) = (folder.path().join("data"), folder.path().join("relay.toml"));
    for key in ["observe", "demonstration"] {
        for by_variable in [false, true] {
            std::fs::write(&file, if by_variable { String::new() } else { format!("{key} = true\n") }).unwrap();
            let mut command = command();
            if by_variable {
                command.env(format!("KUVERT_RELAY_{}", key.to_uppercase()), "true");
            }
            let serve = ["--json", "serve", "--listen", "127.0.0.1:0", "--config"];
            let output = within(command.args(serve).arg(&file).arg("--data").arg(&data).output()).await.unwrap();
            assert_eq!(output.status.code(), Some(2));
            let told: Value = serde_json::from_slice(&output.stdout).unwrap();
            assert_eq!(told["code"], "config-not-offered");
            let message = told["message"].as_str().unwrap();
            assert!(message.contains("kuvert-relay-lens") && message.contains(key), "{message}");
            assert!(!data.exists(), "nothing was made");
        }
    }
    // Files of before hold the keys, and say no.
    std::fs::write(&file, "observe = false\ndemonstration = false\n").unwrap();
    let relay = Process::start(&data, &["--config", file.to_str().unwrap()]).await;
    assert_eq!(relay.stop("-TERM").await.0, Some(0));
}

/// As `kuvert-relay-lens` leaves them: both kinds of traces would outlive the accounts that they are about.
#[tokio::test]
async fn a_directory_with_traces_of_the_demonstration_is_refused_until_they_are_gone() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let data = path("data");
    Process::start(&data, &[]).await.stop("-TERM").await;
    let serve = async |data: &Path| {
        let words = ["--json", "serve", "--listen", "127.0.0.1:0", "--data"];
        let output = within(command().args(words).arg(data).output()).await.unwrap();
        assert_eq!(output.status.code(), Some(1));
        let told: Value = serde_json::from_slice(&output.stdout).unwrap();
        let message = told["message"].as_str().unwrap();
        assert!(message.contains("`kuvert-relay-lens serve`"), "{message}");
        told["code"].as_str().unwrap().to_owned()
    };
    for name in ["observe.db", "observe.db-wal"] {
        std::fs::write(data.join(name), "alice wrote to bob").unwrap();
        assert_eq!(serve(&data).await, "data-observations");
        assert_eq!(std::fs::read_to_string(data.join(name)).unwrap(), "alice wrote to bob", "as it was");
        std::fs::remove_file(data.join(name)).unwrap();
    }
    let table =
        "CREATE TABLE shared_account(account BLOB NOT NULL, shared INTEGER NOT NULL, PRIMARY KEY(account, shared))
        STRICT, WITHOUT ROWID; INSERT INTO shared_account VALUES(x'01', 1)";
    rusqlite::Connection::open(data.join("people.db")).unwrap().execute_batch(table).unwrap();
    assert_eq!(serve(&data).await, "data-disclosures");

    // What does not serve works, and `inspect` says that there is more. A backup carries it on.
    let run = async |words: &[&str], directory: &Path| {
        let output = within(command().args(words).arg(directory).output()).await.unwrap();
        assert!(output.status.success(), "{words:?}: {}", text(&output.stderr));
        text(&output.stderr)
    };
    assert!(run(&["inspect", "--data"], &data).await.contains("`kuvert-relay-lens inspect`"));
    run(&["hold", "list", "--data"], &data).await;
    let (backup, restored) = (path("backup"), path("restored"));
    run(&["backup", "--data", data.to_str().unwrap(), "--to"], &backup).await;
    run(&["restore", "--from", backup.to_str().unwrap(), "--data"], &restored).await;
    assert_eq!(serve(&restored).await, "data-disclosures");
}
