//! `kuvert backup` and `kuvert restore`: a home that is lost, and goes on.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use support::window::Window;
use support::{Home, Random, Relay, Running, alice_and_bob, all, eventually, find, texts};

/// A directory with a passphrase in a file, and places for backups.
struct Aside(tempfile::TempDir);

impl Aside {
    fn new() -> Self {
        let aside = Self(tempfile::tempdir().unwrap());
        std::fs::write(aside.passphrase(), "correct horse\nbattery\n").unwrap();
        aside
    }

    fn passphrase(&self) -> PathBuf {
        self.0.path().join("passphrase")
    }

    fn place(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.0.path()).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }
}

fn word(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn back_up(home: &Home, aside: &Aside) -> PathBuf {
    let file = aside.place("backup.age");
    let made = home.ok(&["backup", word(&file), "--passphrase-file", word(&aside.passphrase())]);
    let made = find(&made, "backup");
    assert_eq!(made["file"], word(&file));
    assert_eq!(made["bytes"].as_u64().unwrap(), std::fs::metadata(&file).unwrap().len());
    file
}

fn restore(home: &Home, file: &Path, aside: &Aside) {
    let restored = home.ok(&["restore", word(file), "--passphrase-file", word(&aside.passphrase())]);
    let restored = find(&restored, "restored").clone();
    let whoami = home.ok(&["whoami"]);
    let whoami = find(&whoami, "whoami");
    assert_eq!((&restored["account"], &restored["device"]), (&whoami["account"], &whoami["device"]));
    assert_eq!(restored["home"], word(&home.path()));
}

/// Everything that was shown, and the codes of what was told.
#[derive(Default)]
struct Seen {
    texts: Vec<String>,
    told: Vec<String>,
}

impl Seen {
    fn take(&mut self, objects: &[serde_json::Value]) {
        self.texts.extend(texts(objects));
        self.told.extend(all(objects, "notice").iter().map(|notice| notice["code"].as_str().unwrap().to_owned()));
    }
}

/// Alice writes and is written to, has a backup made in the midst of it, goes on, and loses her home.
fn alice_loses_her_home(alice: &Home, bob: &Home, aside: &Aside, seen: &mut Seen) -> PathBuf {
    for round in 0..3 {
        alice.ok(&["send", "bob", &format!("a before {round}")]);
        seen.take(&bob.ok(&["receive"]));
        bob.ok(&["send", "alice", &format!("b before {round}")]);
        alice.receive();
    }
    // Waits for the relay while the backup is made; the home that goes on sends it.
    alice.ok(&["send", "bob", "a queued", "--offline"]);
    let file = back_up(alice, aside);
    for round in 0..3 {
        alice.ok(&["send", "bob", &format!("a lost {round}")]);
        seen.take(&bob.ok(&["receive"]));
        bob.ok(&["send", "alice", &format!("b lost {round}")]);
        alice.receive();
    }
    // On their way when the home goes.
    alice.ok(&["send", "bob", "a on its way"]);
    bob.ok(&["send", "alice", "b on its way"]);
    std::fs::remove_dir_all(alice.path()).unwrap();
    file
}

fn numbered(head: &str, count: usize) -> Vec<String> {
    (0..count).map(|number| format!("{head} {number}")).collect()
}

#[test]
fn a_home_that_was_lost_comes_back_and_everything_from_then_on_arrives_in_both_directions() {
    for alice_is_first in [true, false] {
        let (relay, aside) = (Relay::start(), Aside::new());
        let (alice, bob) = alice_and_bob(&relay);
        let (mut at_alice, mut at_bob) = (Seen::default(), Seen::default());
        let file = alice_loses_her_home(&alice, &bob, &aside, &mut at_bob);
        restore(&alice, &file, &aside);
        let history = texts(&alice.ok(&["history", "bob"]));
        assert!(history.contains(&"b before 2".to_owned()) && !history.iter().any(|text| text.contains("lost")));
        for number in 0..4 {
            let texts = [format!("a after {number}"), format!("b after {number}")];
            let mut both = [(&alice, ["send", "bob", &texts[0]]), (&bob, ["send", "alice", &texts[1]])];
            if !alice_is_first {
                both.reverse();
            }
            for (home, command) in both {
                let objects = home.ok(&command);
                if std::ptr::eq(home, &alice) { at_alice.take(&objects) } else { at_bob.take(&objects) }
            }
            at_alice.take(&alice.ok(&["receive"]));
            at_bob.take(&bob.ok(&["receive"]));
        }
        eventually("all came through", || {
            at_alice.take(&alice.ok(&["receive"]));
            at_bob.take(&bob.ok(&["receive"]));
            at_alice.texts.contains(&"b on its way".to_owned()) && at_alice.texts.contains(&"b after 3".to_owned())
        });
        let only = |seen: &Seen, head: &str| {
            let mut texts: Vec<_> = seen.texts.iter().filter(|text| text.starts_with(head)).cloned().collect();
            texts.sort();
            texts
        };
        assert_eq!(only(&at_bob, "a after"), numbered("a after", 4));
        assert_eq!(only(&at_alice, "b after"), numbered("b after", 4));
        // The text that both homes sent is shown once, as is what was on its way.
        for text in ["a queued", "a on its way"] {
            assert_eq!(only(&at_bob, text), [text]);
        }
        assert_eq!(only(&at_bob, "a lost"), numbered("a lost", 3));
        // Bob hears of a session that begins anew, and of no attack.
        at_bob.told.sort();
        at_bob.told.dedup();
        assert_eq!(at_bob.told, ["session-reset"], "alice first: {alice_is_first}");
        for alarm in ["identity-changed", "device-list-conflict", "dishonest"] {
            assert!(!at_alice.told.iter().any(|code| code.contains(alarm)), "{:?}", at_alice.told);
        }
        // And once all is said, nothing more is told.
        at_bob.told.clear();
        alice.ok(&["send", "bob", "the end"]);
        at_bob.take(&bob.ok(&["receive"]));
        assert_eq!((at_bob.texts.last().unwrap().as_str(), at_bob.told.len()), ("the end", 0));
    }
}

#[test]
fn a_stranger_s_letter_and_a_new_contact_s_reach_the_restored_home() {
    let (relay, aside) = (Relay::start(), Aside::new());
    let (alice, bob) = alice_and_bob(&relay);
    let carol = Home::registered(&relay, "carol");
    let file = back_up(&alice, &aside);
    // The home goes on, and becomes a contact's.
    carol.ok(&["contact", "add", "alice"]);
    carol.ok(&["send", "alice", "c before"]);
    alice.receive();
    alice.ok(&["contact", "add", "carol"]);
    alice.ok(&["send", "carol", "hello carol"]);
    carol.receive();
    std::fs::remove_dir_all(alice.path()).unwrap();
    // A stranger's first letter waits already, made with the keys that were there.
    let dave = Home::registered(&relay, "dave");
    dave.ok(&["contact", "add", "alice"]);
    dave.ok(&["send", "alice", "d first"]);
    restore(&alice, &file, &aside);
    let seen = alice.receive();
    assert!(seen.contains(&"d first".to_owned()), "{seen:?}");
    // Carol is a stranger again, until she is added: from then on all arrives.
    alice.ok(&["contact", "add", "carol"]);
    alice.ok(&["send", "carol", "me again"]);
    let (mut at_alice, mut at_carol) = (Vec::new(), Vec::new());
    eventually("it came through", || {
        at_carol.extend(carol.receive());
        at_carol.contains(&"me again".to_owned())
    });
    carol.ok(&["send", "alice", "c after"]);
    eventually("the answer came through", || {
        at_alice.extend(alice.receive());
        at_alice.contains(&"c after".to_owned())
    });
    drop(bob);
}

#[test]
fn a_backup_is_made_beside_a_receiver_and_a_copy_in_use_is_told_of() {
    let (relay, aside) = (Relay::start(), Aside::new());
    let (alice, bob) = alice_and_bob(&relay);
    let mut following = alice.start(&["receive", "--follow"]);
    following.until("caught_up");
    let file = back_up(&alice, &aside);
    bob.ok(&["send", "alice", "meanwhile"]);
    assert_eq!(following.until("message")["text"], "meanwhile");
    // The home that the backup was made of goes on beside the restored one.
    let other = Home::empty();
    restore(&other, &file, &aside);
    let mut beside = Running::start(other.command(&["receive", "--follow"]));
    beside.until("caught_up");
    let (code, seen) = following.wait();
    assert_eq!((code, &find(&seen, "error")["code"]), (Some(1), &"displaced".into()));
    eventually("it is noted", || find(&alice.ok(&["status"]), "status")["next"] == "copy");
}

#[test]
fn what_is_wrong_is_said_and_nothing_is_left() {
    let (relay, aside) = (Relay::start(), Aside::new());
    let alice = Home::registered(&relay, "alice");
    let file = back_up(&alice, &aside);
    let (wrong, key, other) = (aside.place("wrong"), aside.place("key"), aside.place("other.age"));
    std::fs::write(&wrong, "another\n").unwrap();
    let new = Home::empty();
    let from = |file: &Path, how: &[&str]| new.run(&[&["restore", word(file)], how].concat());
    from(&file, &["--passphrase-file", word(&wrong)]).fails_with("backup-passphrase-wrong");
    from(&wrong, &["--passphrase-file", word(&wrong)]).fails_with("backup-foreign");
    from(&aside.place("none"), &["--passphrase-file", word(&wrong)]).fails_with("backup-unusable");
    from(&file, &["--passphrase-file", word(&aside.place("none"))]).fails_with("io");
    from(&file, &["--key-file", word(&key)]).fails_with("backup-key-unusable");
    from(&file, &[]).fails_with("passphrase-needed");
    let (whole, cut) = (std::fs::read(&file).unwrap(), aside.place("cut"));
    std::fs::write(&cut, &whole[..whole.len() / 2]).unwrap();
    from(&cut, &["--passphrase-file", word(&aside.passphrase())]).fails_with("backup-damaged");
    assert!(!new.path().exists());
    assert_eq!(std::fs::read_dir(new.path().parent().unwrap()).unwrap().count(), 0);
    // With a key in place of a passphrase.
    alice.run(&["backup", word(&file), "--new-key-file", word(&key)]).fails_with("file-exists");
    assert!(!key.exists());
    alice.ok(&["backup", word(&other), "--new-key-file", word(&key)]);
    alice.run(&["backup", word(&aside.place("x")), "--new-key-file", word(&key)]).fails_with("file-exists");
    alice.ok(&["backup", word(&aside.place("third.age")), "--key-file", word(&key)]);
    from(&file, &["--key-file", word(&key)]).fails_with("backup-key-wrong");
    from(&other, &["--passphrase-file", word(&aside.passphrase())]).fails_with("backup-key-wrong");
    new.ok(&["restore", word(&other), "--key-file", word(&key)]);
    from(&other, &["--key-file", word(&key)]).fails_with("home-exists");
    assert_eq!(aside.names(), ["backup.age", "cut", "key", "other.age", "passphrase", "third.age", "wrong"]);
}

#[test]
fn a_passphrase_is_typed_twice_and_never_shown() {
    let (relay, aside) = (Relay::start(), Aside::new());
    let alice = Home::registered(&relay, "alice");
    let file = aside.place("backup.age");
    let answer = |command: Command, typed: &[(&str, &str)]| {
        let mut window = Window::open(command, 120);
        let mut drawn = String::new();
        for (question, text) in typed {
            drawn += &window.until(question);
            eventually("keys are taken", || window.is_raw());
            window.press(&format!("{text}\r"));
        }
        let (status, rest) = window.wait();
        drawn += &rest;
        assert!(!typed.iter().any(|(_, text)| drawn.contains(text)), "{drawn}");
        (status.code(), drawn)
    };
    let backup = || alice.typed(&["backup", word(&file)]);
    let (code, words) = answer(backup(), &[("Passphrase for", "zwölf Boxkämpfer"), ("once more", "zwolf Boxkampfer")]);
    assert!(code == Some(1) && words.contains("differ") && !file.exists(), "{words}");
    let (code, words) = answer(backup(), &[("Passphrase for", "zwölf Boxkämpfer"), ("once more", "zwölf Boxkämpfer")]);
    assert!(code == Some(0) && words.contains("encrypted"), "{words}");
    let mut left = Window::open(backup(), 120);
    left.until("already");
    assert_eq!(left.wait().0.code(), Some(1));
    let new = Home::empty();
    let (code, words) = answer(new.typed(&["restore", word(&file)]), &[("Passphrase of", "zwölf Boxkämpfer")]);
    assert!(code == Some(0) && words.contains("kuvert receive"), "{words}");
}

/// How long a command takes at most that is broken off at a random moment of it.
fn broken_off(command: Command, after: Duration) -> bool {
    let mut running = Running::start(command);
    let begun = Instant::now();
    while begun.elapsed() < after {
        if running.has_ended() {
            running.wait();
            return false;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    running.kill();
    true
}

#[test]
fn a_kill_at_any_moment_leaves_no_half_backup_and_no_half_home() {
    let (relay, aside) = (Relay::start(), Aside::new());
    let alice = Home::registered(&relay, "alice");
    let files = alice.path().join("files");
    std::fs::create_dir(&files).unwrap();
    for number in 0..20 {
        std::fs::write(files.join(format!("file {number}")), vec![number; 1 << 20]).unwrap();
    }
    let key = aside.place("key");
    alice.ok(&["backup", word(&aside.place("first.age")), "--new-key-file", word(&key)]);
    let kills: usize = std::env::var("KUVERT_KILLS").map_or(12, |kills| kills.parse().unwrap());
    let mut random = Random::seeded("backups");
    let (file, new) = (aside.place("killed.age"), Home::empty());
    // As long as they take is where the kills are.
    let begun = Instant::now();
    alice.ok(&["backup", word(&aside.place("second.age")), "--key-file", word(&key)]);
    let whole = u64::try_from(begun.elapsed().as_millis()).unwrap();
    let mut killed = 0;
    for _ in 0..kills {
        let command = alice.command(&["backup", word(&file), "--key-file", word(&key)]);
        killed += usize::from(broken_off(command, random.millis(0, whole)));
        if file.exists() {
            // It was whole by then.
            new.ok(&["restore", word(&file), "--key-file", word(&key)]);
            std::fs::remove_dir_all(new.path()).unwrap();
            std::fs::remove_file(&file).unwrap();
        }
    }
    alice.ok(&["backup", word(&file), "--key-file", word(&key)]);
    assert_eq!(aside.names(), ["first.age", "key", "killed.age", "passphrase", "second.age"]);
    let begun = Instant::now();
    new.ok(&["restore", word(&file), "--key-file", word(&key)]);
    let whole = u64::try_from(begun.elapsed().as_millis()).unwrap();
    for _ in 0..kills {
        if new.path().exists() {
            assert_eq!(find(&new.ok(&["whoami"]), "whoami")["name"], "alice");
            assert_eq!(std::fs::read_dir(new.path().join("files")).unwrap().count(), 20);
            std::fs::remove_dir_all(new.path()).unwrap();
        }
        let command = new.command(&["restore", word(&file), "--key-file", word(&key)]);
        killed += usize::from(broken_off(command, random.millis(0, whole)));
    }
    if !new.path().exists() {
        new.ok(&["restore", word(&file), "--key-file", word(&key)]);
    }
    assert_eq!(std::fs::read_dir(new.path().parent().unwrap()).unwrap().count(), 1, "nothing is left beside it");
    assert!(killed > 0);
    println!("{killed} kills");
}
