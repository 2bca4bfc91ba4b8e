//! Files between two homes over a real relay: killed at both ends and in the middle, refused where they cannot be sent, clean of what pictures tell.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;
use support::photos::photo;
use support::{Home, Random, Relay, alice_and_bob, all, contains, eventually, find, objects};

/// Bytes that are no other file's: each 8 of them say where they stand.
fn content(bytes: usize) -> Vec<u8> {
    let mut content: Vec<u8> =
        (0..bytes.div_ceil(8) as u64).flat_map(|at| (at.wrapping_mul(0x9E37_79B9_7F4A_7C15)).to_le_bytes()).collect();
    content.truncate(bytes);
    content
}

fn write(directory: &Path, name: &str, content: &[u8]) -> PathBuf {
    let path = directory.join(name);
    fs::write(&path, content).unwrap();
    path
}

fn word(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// The files of the only message of a list.
fn attachments(objects: &[Value]) -> Vec<Value> {
    find(objects, "message")["attachments"].as_array().unwrap().clone()
}

/// Bytes of files at the relay.
fn at_relay(relay: &Relay) -> usize {
    relay
        .files()
        .iter()
        .filter(|(path, _)| path.to_string_lossy().contains("/blobs/"))
        .map(|(_, bytes)| bytes.len())
        .sum()
}

/// A hundred mebibytes, while the relay is killed three times and the homes' processes ten times.
#[test]
fn one_file_arrives_however_often_its_ends_and_the_relay_are_killed() {
    let directory = tempfile::tempdir().unwrap();
    // On its first day an account may send 32 MiB, unless the relay says otherwise.
    let settings =
        write(directory.path(), "relay.toml", b"[limits]\nyoung_account_mib = 1000\nblob_disk_percent = 100\n");
    let serve = ["--config", word(&settings)];
    let mut relay = Relay::start_with(&serve);
    let (alice, bob) = alice_and_bob(&relay);
    let content = content(100 << 20);
    let path = write(directory.path(), "film.mp4", &content);
    let mut random = Random::seeded("files");
    alice.ok(&["send", "bob", "look", "--file", word(&path), "--offline"]);
    let (mut kills, mut relay_kills) = (0, 0);
    // Each life sees some of the file pass, and ends in the middle of the next piece.
    let mut live = |home: &Home, arguments: &[&str], relay: &mut Relay| -> bool {
        let mut running = home.start(arguments);
        let mut left = 3 + random.number() % 12;
        while left > 0 && !running.has_ended() {
            if running.next_within(Duration::from_millis(50)).is_ok_and(|object| object["type"] == "progress") {
                left -= 1;
            }
        }
        if running.has_ended() {
            return running.wait().0 == Some(0);
        }
        running.kill();
        kills += 1;
        if kills % 3 == 0 && relay_kills < 3 {
            relay_kills += 1;
            relay.start_again(&serve);
        }
        false
    };
    while !live(&alice, &["receive", "--max", "0"], &mut relay) || find(&alice.ok(&["whoami"]), "whoami")["queued"] != 0
    {
    }
    // A command that comes to its end may have left the file to the next one: to the relay the transfers of killed processes are under way
    // until it misses them, and more than four at once have to wait.
    let is_here = || {
        let history = bob.ok(&["history", "alice"]);
        !all(&history, "message").is_empty() && attachments(&history)[0]["state"] == "here"
    };
    while !live(&bob, &["receive", "--max-file", "1G"], &mut relay) || !is_here() {}
    assert!(kills >= 10 && relay_kills == 3, "{kills} {relay_kills}");
    let files = attachments(&bob.ok(&["history", "alice"]));
    assert_eq!((files.len(), &files[0]["state"]), (1, &Value::from("here")));
    let here = fs::read(files[0]["path"].as_str().unwrap()).unwrap();
    assert!(here == content, "the right bytes");
    assert_eq!(fs::read_dir(bob.path().join("files")).unwrap().count(), 1, "one file");
    assert_eq!(at_relay(&relay), 0, "not one byte is left");
}

/// Smaller files, and kills at any moment: before a file has a name at the relay, between its last byte and the message, between the last byte here and the
/// word to the relay. `KUVERT_KILLS=100 cargo test -p kuvert-e2e --test files kills -- --nocapture` kills 100 times instead of 12.
#[test]
fn small_files_arrive_once_each_whatever_moment_their_ends_are_killed_at() {
    let wanted = std::env::var("KUVERT_KILLS").map_or(12, |kills| kills.parse().unwrap());
    let directory = tempfile::tempdir().unwrap();
    let settings = write(
        directory.path(),
        "relay.toml",
        b"[limits]\nyoung_account_mib = 1000\nblob_transfers_per_account = 100\nblob_disk_percent = 100\n",
    );
    let relay = Relay::start_with(&["--config", word(&settings)]);
    let (alice, bob) = alice_and_bob(&relay);
    let content = content(700_000);
    let path = write(directory.path(), "note.bin", &content);
    let mut random = Random::seeded("files-small");
    // Lives for a while; whether it was killed, and did not come to its end.
    let mut live = |home: &Home, arguments: &[&str]| {
        let mut running = home.start(arguments);
        let life = Instant::now() + random.millis(5, 600);
        while Instant::now() < life && !running.has_ended() {
            std::thread::sleep(Duration::from_millis(2));
        }
        let killed = !running.has_ended();
        if killed {
            drop(running.kill())
        } else {
            drop(running.wait())
        }
        usize::from(killed)
    };
    let (mut kills, mut sent) = (0, 0);
    while kills < wanted {
        alice.ok(&["send", "bob", "--file", word(&path), "--offline"]);
        sent += 1;
        for _ in 0..4 {
            kills += live(&alice, &["receive", "--max", "0"]);
            kills += live(&bob, &["receive"]);
        }
    }
    eventually("all is sent", || {
        alice.run(&["receive", "--max", "0"]);
        find(&alice.ok(&["whoami"]), "whoami")["queued"] == 0
    });
    let files = || -> Vec<Value> {
        let history = bob.ok(&["history", "alice"]);
        all(&history, "message").iter().map(|message| message["attachments"][0].clone()).collect()
    };
    eventually("all is here", || {
        bob.run(&["receive"]);
        files().len() == sent && files().iter().all(|file| file["state"] == "here")
    });
    let places: BTreeSet<String> = files().iter().map(|file| file["path"].as_str().unwrap().to_owned()).collect();
    assert_eq!(places.len(), sent, "a place each");
    assert!(places.iter().all(|place| fs::read(place).unwrap() == content), "the right bytes");
    assert_eq!(fs::read_dir(bob.path().join("files")).unwrap().count(), sent, "and no other");
    assert_eq!(at_relay(&relay), 0, "not one byte is left");
    println!("{kills} kills, {sent} files");
}

#[test]
fn what_cannot_be_sent_is_refused_with_a_clear_word_and_nothing_is_half_sent() {
    let relay = Relay::start();
    let (alice, bob) = alice_and_bob(&relay);
    let directory = tempfile::tempdir().unwrap();
    let good = write(directory.path(), "good.txt", b"hello");
    let pipe = directory.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    for bad in [directory.path(), &pipe, &directory.path().join("none")] {
        alice.run(&["send", "bob", "hi", "--file", word(&good), word(bad)]).fails_with("file-unusable");
    }
    let torn = write(directory.path(), "torn.png", b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR");
    alice.run(&["send", "bob", "--file", word(&torn)]).fails_with("picture-unreadable");
    let noise = write(directory.path(), "noise.ogg", b"noise");
    alice.run(&["send", "bob", "--voice", word(&noise)]).fails_with("voice-unreadable");
    let eleven: Vec<&str> = ["send", "bob", "--file"].into_iter().chain([word(&good); 11]).collect();
    alice.run(&eleven).fails_with("too-many-files");
    assert_eq!(find(&alice.ok(&["whoami"]), "whoami")["queued"], 0);
    assert!(all(&bob.ok(&["receive"]), "message").is_empty());
    assert_eq!(at_relay(&relay), 0);
}

#[test]
fn what_a_picture_tells_of_place_and_time_does_not_arrive_at_any_level() {
    const CANARY: &[u8] = b"GPS-CANARY-52.52-13.405";
    for level in ["L0", "L1", "L2", "L3"] {
        let relay = if level == "L0" { Relay::start_lens(&[]) } else { Relay::start() };
        let (alice, bob) = alice_and_bob(&relay);
        let directory = tempfile::tempdir().unwrap();
        let path = write(directory.path(), "photo.jpg", &photo(CANARY));
        alice.ok(&["--level", level, "send", "bob", "--file", word(&path)]);
        alice.ok(&["send", "bob", "--original", "--file", word(&path)]);
        let came = bob.ok(&["--level", level, "receive"]);
        let files: Vec<Value> = all(&came, "message").iter().map(|message| message["attachments"][0].clone()).collect();
        let read = |file: &Value| fs::read(file["path"].as_str().unwrap()).unwrap();
        assert!(!contains(&read(&files[0]), CANARY), "{level}");
        assert_eq!((&files[0]["width"], &files[0]["height"]), (&Value::from(3), &Value::from(2)));
        assert!(contains(&read(&files[1]), CANARY), "{level}: with --original it does");
        assert!(contains(&fs::read(&path).unwrap(), CANARY), "the sender's own stays as it is");
        assert!(!relay.holds(CANARY) && !relay.holds(b"photo.jpg"), "{level}: the relay has nothing of either");
        assert!(fs::read_dir(alice.path().join("outgoing")).unwrap().next().is_none(), "the copy is gone");
    }
}

#[test]
fn files_are_saved_where_they_are_wanted_and_nothing_is_overwritten() {
    let relay = Relay::start();
    let (alice, bob) = alice_and_bob(&relay);
    let directory = tempfile::tempdir().unwrap();
    let (one, two) = (write(directory.path(), "one.txt", b"first"), write(directory.path(), "two.txt", b"second"));
    let sent = alice.ok(&["send", "bob", "both", "--file", word(&one), word(&two)]);
    assert!(all(&sent, "progress").iter().any(|step| step["what"] == "upload" && step["done"] == step["total"]));
    let came = bob.ok(&["receive", "--max-file", "0"]);
    let (id, files) = (find(&came, "message")["id"].as_str().unwrap(), attachments(&came));
    let told: Vec<_> =
        files.iter().map(|file| (file["name"].as_str().unwrap(), file["state"].as_str().unwrap())).collect();
    assert_eq!(told, [("one.txt", "remote"), ("two.txt", "remote")]);
    let place = directory.path().join("saved");
    bob.ok(&["save", &format!("{id}/2"), "--to", word(&place)]);
    assert_eq!(fs::read(&place).unwrap(), b"second");
    bob.run(&["save", &format!("{id}/2"), "--to", word(&place)]).fails_with("file-exists");
    let saved = bob.ok(&["save", id]);
    assert_eq!(all(&saved, "saved").len(), 2);
    assert_eq!(fs::read(bob.path().join("files/one.txt")).unwrap(), b"first");
    assert_eq!(at_relay(&relay), 0);
    bob.run(&["save", &format!("{id}/3")]).fails_with("no-such-file");
    let found = bob.ok(&["search", "two.txt"]);
    assert_eq!(all(&found, "message").len(), 1);
}

#[test]
fn an_export_has_the_files_that_are_here_under_safe_names_and_none_twice() {
    let relay = Relay::start();
    let (alice, bob) = alice_and_bob(&relay);
    let directory = tempfile::tempdir().unwrap();
    let other = directory.path().join("other");
    fs::create_dir(&other).unwrap();
    let one = write(directory.path(), "a.txt", b"first");
    let two = write(&other, "a.txt", b"second");
    let large = write(directory.path(), "large.bin", &content(200_000));
    let once = write(directory.path(), "once.txt", b"burn");
    alice.ok(&["send", "bob", "three", "--file", word(&one), word(&two), word(&large)]);
    alice.ok(&["send", "bob", "--view-once", "--file", word(&once)]);
    bob.ok(&["receive", "--max-file", "1k"]);
    bob.ok(&["send", "alice", "mine", "--file", word(&one)]);
    let moved = write(directory.path(), "moved.txt", b"not there any more");
    bob.ok(&["send", "alice", "--file", word(&moved)]);
    fs::remove_file(&moved).unwrap();
    let to = directory.path().join("exported");
    let exported = bob.ok(&["export", "alice", "--to", word(&to)]);
    assert_eq!(
        (&find(&exported, "exported")["messages"], &find(&exported, "exported")["files"]),
        (&4.into(), &3.into())
    );
    let messages = objects(&fs::read(to.join("messages.jsonl")).unwrap());
    let paths: Vec<Value> = messages
        .iter()
        .flat_map(|message| message["attachments"].as_array().unwrap())
        .map(|file| file["path"].clone())
        .collect();
    let none = Value::Null;
    let told: [Value; 6] =
        ["files/a.txt".into(), "files/a (2).txt".into(), none.clone(), none.clone(), "files/a (3).txt".into(), none];
    assert_eq!(paths, told);
    assert_eq!(fs::read(to.join("files/a.txt")).unwrap(), b"first");
    assert_eq!(fs::read(to.join("files/a (2).txt")).unwrap(), b"second");
    assert_eq!(fs::read_dir(to.join("files")).unwrap().count(), 3);
    assert!(fs::read_to_string(to.join("messages.txt")).unwrap().contains("files/a (2).txt"));
    // Without files there is no folder of them.
    let bare = directory.path().join("bare");
    let carol = Home::registered(&relay, "carol");
    carol.ok(&["contact", "add", "bob"]);
    carol.ok(&["send", "bob", "hi"]);
    carol.ok(&["export", "bob", "--to", word(&bare)]);
    assert!(!bare.join("files").exists());
}

/// A relay that gives out few bytes in an hour: what it keeps back is no success.
#[test]
fn a_file_that_the_relay_keeps_back_for_now_is_told_with_the_exit_code() {
    let directory = tempfile::tempdir().unwrap();
    let limits = b"[limits]\nblob_disk_percent = 100\nblob_read_kib_per_account = { burst = 300, per_hour = 1 }\n";
    let settings = write(directory.path(), "relay.toml", limits);
    let relay = Relay::start_with(&["--config", word(&settings)]);
    let (alice, bob) = alice_and_bob(&relay);
    let path = write(directory.path(), "large.bin", &content(600_000));
    alice.ok(&["send", "bob", "look", "--file", word(&path)]);
    let told = bob.run(&["receive"]).fails_with("limited");
    assert_eq!(find(&told, "message")["text"], "look", "the text is shown all the same");
    let words = find(&told, "error")["message"].as_str().unwrap();
    assert!(words.contains("large.bin stays at the relay") && words.contains("kuvert save"), "{words}");
    // Nothing else waits, and the text is not told again.
    assert!(all(&bob.run(&["receive"]).fails_with("limited"), "message").is_empty());
}

#[test]
fn a_picture_comes_with_its_size_and_a_thumbnail_of_what_is_seen_and_of_nothing_else() {
    let relay = Relay::start();
    let (alice, bob) = alice_and_bob(&relay);
    let directory = tempfile::tempdir().unwrap();
    // 3 × 2 pixels, as an encoder writes them.
    let png = data_encoding::BASE64
        .decode(b"iVBORw0KGgoAAAANSUhEUgAAAAMAAAACCAIAAAASFvFNAAAAEElEQVR4nGM4wcAAQQxwFgAzpASxbX470AAAAABJRU5ErkJggg==")
        .unwrap();
    let path = write(directory.path(), "small.png", &png);
    alice.ok(&["send", "bob", "--original", "--file", word(&path)]);
    let file = attachments(&bob.ok(&["receive"]))[0].clone();
    assert_eq!((&file["width"], &file["height"]), (&3.into(), &2.into()), "also where nothing was taken out");
}
