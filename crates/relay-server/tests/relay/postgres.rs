//! A relay whose accounts and mail are on PostgreSQL, as an operator runs it. Skipped, with a word, where `KUVERT_POSTGRES` names no
//! server: `.ci/run` starts one.

use std::io::Write as _;

use kuvert_relay_postgres::link::Door;
use kuvert_relay_postgres::settings::Settings;
use serde_json::Value;
use tokio::process::Command;

use crate::common::process::{Process, clean};
use crate::common::*;

/// What stands in a store's address and must not stand anywhere else.
const PASSWORD: &str = "geheim-1848";

/// An empty database of its own, and its address with a password, which the server does not ask for.
async fn database() -> Option<(String, Settings, String)> {
    let Ok(address) = std::env::var("KUVERT_POSTGRES") else {
        // Not through `eprintln!`, which the test harness swallows.
        let _ = writeln!(std::io::stderr(), "skipped: no PostgreSQL (KUVERT_POSTGRES is not set)");
        return None;
    };
    let settings: Settings = address.parse().unwrap();
    let name = format!("relay_{}", std::process::id());
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
    let Some((store, server, name)) = database().await else { return };
    let data = tempfile::tempdir().unwrap();
    let not_yet = lines(&store, &["--json", "inspect"]).await.unwrap_err();
    assert!(not_yet.contains("kuvert-relay migrate"), "{not_yet}");
    let made = lines(&store, &["--json", "migrate"]).await.unwrap();
    assert_eq!((&made[0]["from"], &made[0]["to"]), (&0.into(), &2.into()));

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
