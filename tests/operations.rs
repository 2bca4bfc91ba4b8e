//! What an operator does to a relay, with real clients on it: invitations, stopping and starting, backup and restore.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use support::*;

/// Runs a command of `kuvert-relay` that has to succeed.
fn relay_command(arguments: &[&str]) -> Vec<Value> {
    let output = Command::new(kuvert_relay()).arg("--json").args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    objects(&output.stdout)
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn whoever_is_invited_registers_and_nobody_else() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("relay.toml");
    fs::write(&config, "registration = \"invitation\"").unwrap();
    let relay = Relay::start_with(&["--config", path(&config)]);
    let code =
        relay_command(&["invite", "create", "--data", path(&relay.data())])[0]["code"].as_str().unwrap().to_owned();
    let (alice, bob) = (Home::empty(), Home::empty());
    let register = ["register", "--relay", &relay.address];
    alice.run(&register).fails_with("invitation-needed");
    let wrong = "aaaaa-aaaaa-aaaaa-aaaaa-aaaaa-a";
    alice.run(&[&register[..], &["--invitation", wrong]].concat()).fails_with("invitation-refused");
    // The home is still good.
    alice.ok(&[&register[..], &["--invitation", &code]].concat());
    bob.run(&[&register[..], &["--invitation", &code]].concat()).fails_with("invitation-refused");
}

/// Sends all texts; begins again behind the last one that is in the store when the relay was away for too long.
fn send_all(home: &Home, to: &str, texts: &[String]) {
    loop {
        let queued = all(&home.ok(&["history", to]), "message").len();
        let mut sending = home.start(&["send", to, "--lines"]);
        let lines: String = texts[queued..].iter().map(|text| format!("{text}\n")).collect();
        sending.write(&lines);
        sending.close_stdin();
        sending.wait();
        if all(&home.ok(&["history", to]), "message").len() == texts.len()
            && find(&home.ok(&["whoami"]), "whoami")["queued"] == 0
        {
            return;
        }
    }
}

/// SIGTERM under traffic: clients are told to go, come back to the next process, and no message is lost or shown twice.
#[test]
fn a_relay_that_is_stopped_and_started_again_loses_and_repeats_nothing() {
    const MESSAGES: usize = 300;
    const RESTARTS: usize = 3;
    let mut relay = Relay::start();
    let (alice, bob) = alice_and_bob(&relay);
    let sent: Vec<String> = (0..MESSAGES).map(|number| format!("message {number:04}")).collect();
    let mut following = bob.start(&["receive", "--follow", "--max", &MESSAGES.to_string()]);
    following.until("caught_up");
    std::thread::scope(|scope| {
        let sender = scope.spawn(|| send_all(&alice, "bob", &sent));
        for _ in 0..RESTARTS {
            following.until("message");
            relay.stop();
            relay.start_again(&[]);
        }
        sender.join().unwrap();
    });
    let (code, seen) = following.wait();
    assert_eq!((code, texts(&seen)), (Some(0), sent));
}

fn history(home: &Home, with: &str) -> Vec<String> {
    texts(&home.ok(&["history", with]))
}

fn one_time_prekeys(relay: &Relay, name: &str) -> Vec<u64> {
    let held = relay.inspect();
    let account = all(&held, "account").into_iter().find(|account| account["name"] == name).unwrap()["account"].clone();
    let device = all(&held, "device").into_iter().find(|device| device["account"] == account).unwrap();
    ["one_time_prekeys", "one_time_kem_prekeys"].map(|field| device[field].as_u64().unwrap()).to_vec()
}

/// A backup is taken while mail flows, the relay is lost, and the backup takes its place.
#[test]
fn a_restored_backup_delivers_nothing_twice_and_hands_out_no_prekey_again() {
    let mut relay = Relay::start();
    let (alice, bob) = alice_and_bob(&relay);
    alice.ok(&["send", "bob", "before the backup"]);
    let folder = tempfile::tempdir().unwrap();
    let backup = folder.path().join("backup");
    let made = relay_command(&["backup", "--data", path(&relay.data()), "--to", path(&backup)]);
    assert_eq!((&made[0]["accounts"], &made[0]["waiting"], &made[0]["key"]), (&2.into(), &1.into(), &true.into()));
    for file in ["relay.db", "tls/key.pem", "serving.toml", "backup.toml"] {
        let mode = fs::metadata(backup.join(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    assert_eq!(fs::metadata(&backup).unwrap().permissions().mode() & 0o777, 0o700);

    // Life goes on: the letter is delivered, another one is written, somebody new takes a one-time prekey of Bob's.
    assert_eq!(bob.receive(), ["before the backup"]);
    alice.ok(&["send", "bob", "after the backup"]);
    let carol = Home::registered(&relay, "carol");
    carol.ok(&["contact", "add", "bob"]);
    carol.ok(&["send", "bob", "who will be forgotten"]);

    relay.kill();
    fs::rename(relay.data(), folder.path().join("lost")).unwrap();
    let restored = relay_command(&["restore", "--from", path(&backup), "--data", path(&relay.data())]);
    assert_eq!((&restored[0]["accounts"], &restored[0]["waiting"]), (&2.into(), &1.into()));
    assert_eq!(restored[0]["dropped_one_time_prekeys"], 400 - 2, "Alice took one of each kind of Bob's");
    // The same address: `start_again` looks.
    relay.start_again(&[]);
    assert_eq!(one_time_prekeys(&relay, "bob"), [0, 0]);
    assert_eq!(relay.waiting(), 1);

    // Somebody writes to Bob before he has been there: the last-resort prekey serves.
    let dave = Home::registered(&relay, "dave");
    dave.ok(&["contact", "add", "bob"]);
    dave.ok(&["send", "bob", "hello from Dave"]);
    // The old letter comes again and is not shown again; Bob's device fills up.
    assert_eq!(bob.receive(), ["hello from Dave"]);
    assert_eq!(history(&bob, "alice"), ["before the backup"]);
    assert_eq!(one_time_prekeys(&relay, "bob"), [100, 100]);
    // What was accepted between backup and loss is gone, and the conversation goes on over the gap.
    alice.ok(&["send", "bob", "once more"]);
    assert_eq!(bob.receive(), ["once more"]);
    bob.ok(&["send", "alice", "got it"]);
    assert_eq!(alice.receive(), ["got it"]);
    assert_eq!(history(&bob, "alice"), ["before the backup", "once more", "got it"]);
    // Whoever registered since is not known any more.
    carol.run(&["receive"]).fails_with("authentication-failed");
}

#[test]
fn backups_are_refused_when_they_are_damaged_or_in_the_way() {
    let relay = Relay::start();
    let folder = tempfile::tempdir().unwrap();
    let (backup, data) = (folder.path().join("backup"), folder.path().join("data"));
    relay_command(&["backup", "--data", path(&relay.data()), "--to", path(&backup)]);
    let refused = |arguments: &[&str]| {
        let output = Command::new(kuvert_relay()).arg("--json").args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        find(&objects(&output.stdout), "error")["code"].as_str().unwrap().to_owned()
    };
    let restore = ["restore", "--from", path(&backup), "--data", path(&data)];
    assert_eq!(refused(&["backup", "--data", path(&relay.data()), "--to", path(&backup)]), "backup-exists");
    assert_eq!(refused(&["backup", "--data", path(&data), "--to", path(&folder.path().join("b"))]), "data-missing");
    assert_eq!(refused(&["restore", "--from", path(folder.path()), "--data", path(&data)]), "backup-missing");
    assert_eq!(
        refused(&["restore", "--from", path(&backup), "--data", path(&relay.data())]),
        "backup-exists",
        "a relay's directory is not overwritten"
    );
    let good = fs::read(backup.join("relay.db")).unwrap();
    let mut bad = good.clone();
    bad[5_000] ^= 1;
    fs::write(backup.join("relay.db"), bad).unwrap();
    assert_eq!(refused(&restore), "backup-damaged");
    fs::write(backup.join("relay.db"), good).unwrap();
    let manifest = fs::read_to_string(backup.join("backup.toml")).unwrap();
    fs::write(backup.join("backup.toml"), manifest.replace("format = 2", "format = 3")).unwrap();
    assert_eq!(refused(&restore), "backup-newer");
    fs::write(backup.join("backup.toml"), manifest.replace("tls/key.pem", "../escape")).unwrap();
    assert_eq!(refused(&restore), "backup-missing");
    fs::write(backup.join("backup.toml"), &manifest).unwrap();
    // Nothing was left behind, and now it works.
    assert!(!data.exists());
    relay_command(&restore);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "no unfinished backup");
    // So does one of the format before.
    fs::write(backup.join("backup.toml"), manifest.replace("format = 2", "format = 1")).unwrap();
    relay_command(&["restore", "--from", path(&backup), "--data", path(&folder.path().join("again"))]);
}
