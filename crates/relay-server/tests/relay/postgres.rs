//! A relay whose accounts and mail are on PostgreSQL, as an operator runs it. Skipped, with a word, where `KUVERT_POSTGRES` names no
//! server: `.ci/run` starts one.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use kuvert_relay_postgres::link::Door;
use kuvert_relay_postgres::settings::Settings;
use kuvert_wire::v1::error::Code;
use serde_json::Value;
use tokio::process::Command;

use crate::blobs::{files, kill_at_any_step, stands_in};
use crate::common::blob::{Stream, Uploaded};
use crate::common::blob::{begin, blob, capability, commit, create, done, on, read, resume, state, status, unnamed};
use crate::common::process::{Process, clean};
use crate::common::*;

/// What stands in a store's address and must not stand anywhere else.
const PASSWORD: &str = "geheim-1848";

/// An empty database of its own, and its address with a password, which the server does not ask for. `what` tells it from others'.
async fn database(what: &str) -> Option<(String, Settings, String)> {
    let Ok(address) = std::env::var("KUVERT_POSTGRES") else {
        // Not through `eprintln!`, which the test harness swallows.
        let _ = writeln!(std::io::stderr(), "skipped: no PostgreSQL (KUVERT_POSTGRES is not set)");
        return None;
    };
    let settings: Settings = address.parse().unwrap();
    let name = format!("relay_{what}_{}", std::process::id());
    let link = Door::new(settings.clone()).unwrap().open().await.unwrap();
    link.batch(&format!("DROP DATABASE IF EXISTS {name}")).await.unwrap();
    link.batch(&format!("CREATE DATABASE {name}")).await.unwrap();
    let (base, _) = address.rsplit_once('/').unwrap();
    let with_password = base.replacen('@', &format!(":{PASSWORD}@"), 1);
    Some((format!("{with_password}/{name}"), settings, name))
}

fn command(store: &str) -> Command {
    let mut command = clean(crate::PROGRAM);
    command.env("KUVERT_RELAY_STORE", store);
    command
}

async fn lines(store: &str, args: &[&str]) -> Result<Vec<Value>, String> {
    let output = within(command(store).args(args).output()).await.unwrap();
    let (out, err) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(!out.contains(PASSWORD) && !err.contains(PASSWORD), "{out}{err}");
    let lines = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    if output.status.success() { Ok(lines) } else { Err(err) }
}

#[tokio::test]
async fn a_relay_serves_from_postgresql_and_its_operator_sees_what_it_holds() {
    let Some((store, server, name)) = database("mail").await else { return };
    let data = tempfile::tempdir().unwrap();
    let not_yet = lines(&store, &["--json", "inspect"]).await.unwrap_err();
    assert!(not_yet.contains("kuvert-relay migrate"), "{not_yet}");
    let made = lines(&store, &["--json", "migrate"]).await.unwrap();
    assert_eq!((&made[0]["from"], &made[0]["to"]), (&0.into(), &4.into()));

    let relay = Process::start_as(command(&store), data.path(), &["-vv"]).await;
    assert!(!relay.first_line.contains(PASSWORD));
    let (alice, bob) = (Device::new(), Device::new());
    let mut sender = Client::register(&relay.url, &alice).await;
    drop(Client::register(&relay.url, &bob).await);
    sender.submit(envelope(&bob, "over PostgreSQL")).await;

    let sum = lines(&store, &["--json", "inspect"]).await.unwrap();
    assert_eq!((&sum[0]["accounts"], &sum[0]["waiting"]), (&2.into(), &1.into()));
    let invited = lines(&store, &["--json", "invite", "create"]).await.unwrap();
    let code = invited[0]["code"].as_str().unwrap();
    assert_eq!(lines(&store, &["--json", "invite", "list"]).await.unwrap().len(), 1);
    lines(&store, &["--json", "invite", "revoke", code]).await.unwrap();
    let account = alice.address.account.to_string();
    lines(&store, &["--json", "hold", "add", &account, "--reason", "case 1"]).await.unwrap();
    assert_eq!(lines(&store, &["--json", "hold", "list"]).await.unwrap()[0]["reason"], "case 1");

    // It survives the process.
    let (_, log) = relay.stop("-KILL").await;
    assert!(!log.contains(PASSWORD), "{log}");
    let second = format!("{}/{name}_second", std::env::var("KUVERT_POSTGRES").unwrap().rsplit_once('/').unwrap().0);
    let link = Door::new(server.clone()).unwrap().open().await.unwrap();
    link.batch(&format!("DROP DATABASE IF EXISTS {name}_second")).await.unwrap();
    link.batch(&format!("CREATE DATABASE {name}_second")).await.unwrap();
    let refused = lines(&store, &["cluster", "add-group", "second", "--address", &store]).await.unwrap_err();
    assert!(refused.contains("holds a password"), "{refused}");
    let added = lines(&store, &["--json", "cluster", "add-group", "second", "--address", &second]).await.unwrap();
    assert_eq!(added[0]["number"], 1);
    let relay = Process::start_as(command(&store), data.path(), &[]).await;
    // Its mail goes to other servers while it is served.
    let slot = kuvert_relay_postgres::slot::of(&bob.address.account);
    let slots = format!("{slot}-{slot}");
    let wrong = lines(&store, &["cluster", "move-slots", "--slots", "9-4096", "--to", "second"]).await.unwrap_err();
    assert!(wrong.contains("0-2047"), "{wrong}");
    let wrong = lines(&store, &["cluster", "move-slots", "--slots", &slots, "--to", "third"]).await.unwrap_err();
    assert!(wrong.contains("cluster groups"), "{wrong}");
    let moved = ["--json", "cluster", "move-slots", "--slots", &slots, "--to", "second"];
    let told = lines(&store, &moved).await.unwrap();
    assert_eq!((&told[0]["type"], &told[0]["slots"], &told[0]["of"]), (&"moved".into(), &1.into(), &1.into()));
    assert_eq!((&told[1]["type"], &told[1]["slots"], &told[1]["envelopes"]), (&"result".into(), &1.into(), &1.into()));
    assert_eq!(lines(&store, &moved).await.unwrap()[0]["there"], 1, "again it changes nothing");
    let groups = lines(&store, &["--json", "cluster", "groups"]).await.unwrap();
    assert_eq!((&groups[0]["slots"], &groups[1]["slots"], &groups[2]["slots"]), (&4095.into(), &1.into(), &0.into()));
    assert_eq!(lines(&store, &["--json", "inspect"]).await.unwrap()[0]["waiting"], 1);
    let (mut recipient, _) = Client::authenticate(&relay.url, &bob).await;
    recipient.attach().await;
    let delivered = recipient.delivery().await;
    assert_eq!(delivered.envelope.unwrap().ciphertext, &b"over PostgreSQL"[..]);
    recipient.acknowledge(delivered.cursor).await;
    // A second one alone is kept out, and nothing of the data directory is a store.
    assert!(!data.path().join("relay.db").exists());
    let (code, log) = relay.stop("-TERM").await;
    assert_eq!(code, Some(0), "{log}");
    link.batch(&format!("DROP DATABASE {name} WITH (FORCE)")).await.unwrap();
    link.batch(&format!("DROP DATABASE {name}_second WITH (FORCE)")).await.unwrap();
}

/// Pieces in the rows, by the names of their objects.
const PIECES: &str = "SELECT left(encode(blob, 'hex'), 1) || '/' || encode(blob, 'hex') || '-' || number || '-' || epoch || '-' || length,
        length::int8 FROM blob_piece";

/// The objects of a directory, with their sizes.
fn objects(directory: &Path) -> BTreeMap<String, i64> {
    let named = |path: &Path| path.strip_prefix(directory).unwrap().to_str().unwrap().to_owned();
    let found = files(directory).into_iter().filter(|path| !path.ends_with("kuvert-files"));
    // One that goes meanwhile is gone.
    found.filter_map(|path| Some((named(&path), fs::metadata(&path).ok()?.len().cast_signed()))).collect()
}

async fn until_empty(directory: &Path, when: &str) {
    // Objects go in the background, and no event tells of it.
    let begun = Instant::now();
    while !objects(directory).is_empty() {
        assert!(begun.elapsed() < PATIENCE, "{when}: {:?}", objects(directory));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// `KUVERT_KILLS=100` kills 100 times instead of 6.
#[tokio::test(flavor = "multi_thread")]
async fn a_relay_with_its_files_outside_is_killed_at_any_step_and_keeps_what_it_promised() {
    let Some((store, settings, name)) = database("kills").await else { return };
    lines(&store, &["--json", "migrate"]).await.unwrap();
    let (data, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let door = Door::new(store.parse().unwrap()).unwrap();
    let start = async |more: &[&str]| {
        let mut command = command(&store);
        command.env("KUVERT_RELAY_BLOBS_STORE", outside.path());
        Process::start_as(command, data.path(), more).await
    };
    let canaries = kill_at_any_step(
        start,
        async || {
            // What was begun to be deleted may still be there: it is in no row.
            let link = door.open().await.unwrap();
            let pieces = link.query(PIECES, &[]).await.unwrap();
            let there = objects(outside.path());
            for (piece, length) in pieces.iter().map(|row| (row.get::<_, String>(0), row.get::<_, i64>(1))) {
                assert_eq!(there.get(&piece), Some(&length), "{piece}");
            }
        },
        async |when| {
            // Where it died between an object and the row that was to name it, another stream went on with the upload, and nothing names
            // that object any more: it goes at the next start, or within an hour.
            start(&[]).await.stop("-TERM").await;
            until_empty(outside.path(), when).await;
        },
    )
    .await;
    assert!(canaries.iter().all(|canary| !stands_in(&files(outside.path()), canary)));
    let link = Door::new(settings).unwrap().open().await.unwrap();
    link.batch(&format!("DROP DATABASE {name} WITH (FORCE)")).await.unwrap();
}

/// One of two relays on one store, with files in a directory that both have.
struct Twins {
    store: String,
    key: tempfile::TempDir,
    outside: tempfile::TempDir,
    data: [tempfile::TempDir; 2],
}

impl Twins {
    async fn new(store: &str) -> Self {
        lines(store, &["--json", "migrate"]).await.unwrap();
        let key = tempfile::tempdir().unwrap();
        let made = within(clean(crate::PROGRAM).args(["cluster", "key"]).output()).await.unwrap();
        fs::write(key.path().join("cluster.key"), made.stdout).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        fs::set_permissions(key.path().join("cluster.key"), mode).unwrap();
        let [outside, one, other] = [(); 3].map(|()| tempfile::tempdir().unwrap());
        Self { store: store.to_owned(), key, outside, data: [one, other] }
    }

    async fn start(&self, which: usize) -> Process {
        let data = self.data[which].path();
        if which == 1 && !data.join("tls").exists() {
            // The first one's key is that of both.
            fs::create_dir(data.join("tls")).unwrap();
            for file in files(&self.data[0].path().join("tls")) {
                fs::copy(&file, data.join("tls").join(file.file_name().unwrap())).unwrap();
            }
        }
        let mut command = command(&self.store);
        command
            .env("KUVERT_RELAY_BLOBS_STORE", self.outside.path())
            .env("KUVERT_RELAY_CLUSTER_NAME", format!("r{which}"))
            .env("KUVERT_RELAY_CLUSTER_LISTEN", "127.0.0.1:0")
            .env("KUVERT_RELAY_CLUSTER_KEY", self.key.path().join("cluster.key"))
            .env("KUVERT_RELAY_LIMITS_YOUNG_ACCOUNT_MIB", "4096");
        Process::start_as(command, data, &[]).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_uploaded_at_one_relay_goes_on_at_another_and_is_read_at_both() {
    let Some((store, settings, name)) = database("twins").await else { return };
    let twins = Twins::new(&store).await;
    let (one, other) = (twins.start(0).await, twins.start(1).await);
    assert_eq!(one.url.fingerprint, other.url.fingerprint);
    let device = Device::new();
    drop(Client::register(&one.url, &device).await);
    let (content, readers) = (blob(9 << 20), [capability(), capability()]);
    let (alice, _) = Client::authenticate(&one.url, &device).await;
    let uploaded: Uploaded = begin(&alice.connection, create(content.len() as u64, &readers)).await.unwrap();
    let mut stream = Stream::open(&alice.connection).await;
    let (request, _) = stream.append(&uploaded).await.unwrap();
    stream.pieces(request, &content, 0, 5 << 20).await;
    stream.durable(4 << 20).await;

    // Its relay dies; it goes on at the other one.
    let url = one.url.clone();
    one.stop("-KILL").await;
    alice.connection.close(0u32.into(), b"");
    let (alice, _) = Client::authenticate(&other.url, &device).await;
    let durable = on(&alice.connection, status(&uploaded)).await.map(state).unwrap().durable;
    assert!(durable >= 4 << 20, "{durable}");
    resume(&alice.connection, &uploaded, &content).await;
    assert!(!stands_in(&files(twins.outside.path()), &content[..64 << 10]), "each encrypts it once more");

    let one = twins.start(0).await;
    assert_eq!(one.url.fingerprint, url.fingerprint);
    let (at_one, at_other) = (unnamed(&one.url).await, unnamed(&other.url).await);
    assert!(read(&at_one.connection, &uploaded, &readers[0], 0).await.unwrap() == content);
    assert!(read(&at_other.connection, &uploaded, &readers[1], 3 << 20).await.unwrap() == content[3 << 20..]);
    assert!(on(&alice.connection, commit(&uploaded)).await.is_ok(), "again after a lost answer");
    done(&at_one.connection, &uploaded, &readers[0]).await.unwrap();
    let inspected = lines(&store, &["--json", "inspect"]).await.unwrap();
    assert_eq!((&inspected[0]["files"], &inspected[0]["file_bytes"]), (&1.into(), &(9 << 20).into()));
    let shown = inspected.iter().find(|line| line["type"] == "file").unwrap();
    assert_eq!((&shown["size"], &shown["readers"]), (&(9 << 20).into(), &1.into()));
    done(&at_other.connection, &uploaded, &readers[1]).await.unwrap();
    assert_eq!(read(&at_one.connection, &uploaded, &readers[1], 0).await, Err(Code::BlobUnknown));
    until_empty(twins.outside.path(), "after the last reader").await;
    assert!(!stands_in(&files(twins.outside.path()), &content));
    for relay in [one, other] {
        let (code, log) = relay.stop("-TERM").await;
        assert_eq!(code, Some(0), "{log}");
        assert!(!log.contains(PASSWORD), "{log}");
    }
    let link = Door::new(settings).unwrap().open().await.unwrap();
    link.batch(&format!("DROP DATABASE {name} WITH (FORCE)")).await.unwrap();
}

#[tokio::test]
async fn a_place_for_files_that_cannot_be_used_is_said_at_the_start() {
    let data = tempfile::tempdir().unwrap();
    for (store, place, said) in [
        ("postgres://relay@127.0.0.1:1/kuvert", "/no/such/directory", "must be there"),
        ("postgres://relay@127.0.0.1:1/kuvert", "files", "/srv/kuvert-files"),
        ("", "/srv/files", "a relay in a directory keeps files there, too"),
    ] {
        let mut serve = clean(crate::PROGRAM);
        serve.env("KUVERT_RELAY_STORE", store).env("KUVERT_RELAY_BLOBS_STORE", place);
        let output = within(serve.args(["serve", "--listen", "127.0.0.1:0", "--data"]).arg(data.path()).output()).await;
        let output = output.unwrap();
        let err = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{err}");
        assert!(err.contains(said), "{err}");
    }
}

#[tokio::test]
async fn a_password_in_the_command_line_is_warned_of_and_shown_nowhere() {
    let data = tempfile::tempdir().unwrap();
    let store = format!("postgres://relay:{PASSWORD}@127.0.0.1:1/kuvert");
    let output = clean(crate::PROGRAM)
        .args(["serve", "--listen", "127.0.0.1:0", "--store", &store, "--data"])
        .arg(data.path())
        .output();
    let output = within(output).await.unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && err.contains("warning: the password") && err.contains("cannot reach"), "{err}");
    assert!(!err.contains(PASSWORD), "{err}");
}

#[tokio::test]
async fn a_directory_with_mail_of_its_own_is_not_passed_over() {
    let data = tempfile::tempdir().unwrap();
    let relay = Process::start(data.path(), &[]).await;
    relay.stop("-TERM").await;
    let output = clean(crate::PROGRAM)
        .args(["serve", "--store", "postgres://relay@127.0.0.1:1/kuvert", "--data"])
        .arg(data.path())
        .output();
    let err = String::from_utf8(within(output).await.unwrap().stderr).unwrap();
    assert!(err.contains("another directory with --data"), "{err}");
}
