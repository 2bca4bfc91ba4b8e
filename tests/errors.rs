//! Bad input gets a clear error with a stable code, and nothing is lost.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use support::{Home, Relay, acquainted, alice_and_bob, find, objects, texts};

#[test]
fn registration() {
    let relay = Relay::start();
    let alice = Home::registered(&relay, "alice");
    alice.run(&["register", "--relay", &relay.address]).fails_with("already-registered");
    let home = Home::empty();
    home.run(&["register", "--relay", &relay.address, "--name", "alice"]).fails_with("name-taken");
    home.run(&["register", "--relay", &relay.address, "--name", "Alice!"]).fails_with("name-invalid");
    home.run(&["register", "--relay", &relay.address, "--phone", "12"]).fails_with("phone-invalid");
    home.run(&["register", "--relay", "https://example.org"]).fails_with("relay-url-invalid");
    // Another fingerprint is another relay, or somebody in between.
    let (host, fingerprint) = relay.address.split_once('#').unwrap();
    let first = if fingerprint.starts_with('A') { 'B' } else { 'A' };
    let other = format!("{host}#{first}{}", &fingerprint[1..]);
    home.run(&["register", "--relay", &other]).fails_with("relay-fingerprint");
    // After all that the home is still good.
    home.ok(&["register", "--relay", &relay.address, "--name", "bob", "--phone", "+4930123456"]);
    assert_eq!(find(&home.ok(&["whoami"]), "whoami")["name"], "bob");
}

#[test]
fn without_an_account() {
    let home = Home::empty();
    for arguments in [
        &["whoami"] as &[&str],
        &["invite"],
        &["contact", "list"],
        &["send", "bob", "hi"],
        &["receive"],
        &["history", "bob"],
        &["chat", "bob"],
    ] {
        home.run(arguments).fails_with("not-registered");
    }
}

#[test]
fn an_empty_variable_is_one_that_is_not_set() {
    let home = Home::empty();
    let user = tempfile::tempdir().unwrap();
    for (program, arguments, variables) in [
        (support::kuvert(), &["whoami"] as &[&str], &["KUVERT_HOME", "KUVERT_STORE_KEY_FILE", "RUST_LOG"] as &[&str]),
        (
            support::kuvert_relay(),
            &["inspect"],
            &["KUVERT_RELAY_DATA", "KUVERT_RELAY_CONFIG", "KUVERT_RELAY_CLOCK_OFFSET", "KUVERT_RELAY_LISTEN"],
        ),
    ] {
        let mut command = Command::new(program);
        command.arg("--json").args(arguments).env("HOME", user.path()).env_remove("XDG_DATA_HOME");
        command.envs(variables.iter().map(|name| (name, "")));
        let output = command.output().unwrap();
        let error = objects(&output.stdout);
        // The default place, where there is nothing.
        assert_eq!(output.status.code(), Some(1), "{error:?} {}", String::from_utf8_lossy(&output.stderr));
        let error = find(&error, "error")["message"].as_str().unwrap().to_owned();
        assert!(error.contains(user.path().to_str().unwrap()), "{error}");
    }
    // What is given is meant.
    let output = home.command(&["--home", "", "whoami"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn a_home_that_cannot_be_written_can_be_read() {
    let relay = Relay::start();
    let (alice, bob) = acquainted(&relay);
    alice.ok(&["send", "bob", "before"]);
    bob.receive();
    let number = alice.ok(&["safety-number", "bob"]);
    let mode = |bits: u32| {
        for file in fs::read_dir(alice.path()).unwrap() {
            fs::set_permissions(file.unwrap().path(), fs::Permissions::from_mode(bits & 0o600)).unwrap();
        }
        fs::set_permissions(alice.path(), fs::Permissions::from_mode(bits)).unwrap();
    };
    mode(0o500);
    // Permissions mean nothing to a superuser with all of its capabilities.
    let run = |arguments: &[&str]| {
        let command = alice.command(arguments);
        if !rustix::process::geteuid().is_root() {
            return Command::new(command.get_program()).args(command.get_args()).output().unwrap();
        }
        let mut bare = Command::new("setpriv");
        bare.arg("--bounding-set=-all").arg(command.get_program()).args(command.get_args()).output().unwrap()
    };
    let printed = |arguments: &[&str]| {
        let output = run(arguments);
        (output.status.code(), objects(&output.stdout))
    };
    let (code, history) = printed(&["history", "bob"]);
    assert_eq!(code, Some(0), "{history:?}");
    assert!(texts(&history).contains(&"before".to_owned()));
    for reading in [&["whoami"] as &[&str], &["contact", "list"], &["contact", "requests"], &["invite"]] {
        assert_eq!(printed(reading).0, Some(0), "{reading:?}");
    }
    assert_eq!(printed(&["safety-number", "bob"]).1, number);
    for writing in [&["send", "bob", "x"] as &[&str], &["receive"], &["contact", "verify", "bob"]] {
        let (code, told) = printed(writing);
        let error = find(&told, "error");
        assert_eq!((code, error["code"].as_str().unwrap()), (Some(1), "home-read-only"), "{writing:?} {error}");
        assert!(error["message"].as_str().unwrap().contains("read-only"), "{error}");
    }
    mode(0o700);
    alice.ok(&["send", "bob", "after"]);
    assert_eq!(bob.receive(), ["after"]);
}

#[test]
fn a_home_that_is_a_file_is_told_to_be_one() {
    let home = Home::empty();
    fs::write(home.path(), b"").unwrap();
    for arguments in [&["whoami"] as &[&str], &["receive"]] {
        let failed = home.run(arguments).fails_with("home-unusable");
        let message = find(&failed, "error")["message"].as_str().unwrap().to_owned();
        assert!(message.contains("it is a file") && !message.contains("chmod"), "{message}");
    }
}

#[test]
fn contacts_and_links() {
    let relay = Relay::start();
    let (alice, bob) = alice_and_bob(&relay);
    alice.run(&["contact", "add", "nobody"]).fails_with("unknown-recipient");
    alice.run(&["contact", "add", "alice"]).fails_with("own-address");
    let own = find(&alice.ok(&["invite"]), "invite")["link"].as_str().unwrap().to_owned();
    alice.run(&["contact", "add", &own]).fails_with("own-address");
    alice.run(&["contact", "add", "bob", "--as", " x\n"]).fails_with("alias-invalid");
    let carol = Home::registered(&relay, "carol");
    alice.run(&["contact", "add", "carol", "--as", "bob"]).fails_with("alias-taken");
    for command in ["verify", "accept", "block"] {
        alice.run(&["contact", command, "nobody"]).fails_with("contact-unknown");
    }
    alice.run(&["safety-number", "nobody"]).fails_with("contact-unknown");
    alice.run(&["history", "nobody"]).fails_with("contact-unknown");
    // A link that was cut off anywhere before its fingerprints end.
    let link = find(&bob.ok(&["invite"]), "invite")["link"].as_str().unwrap().to_owned();
    for length in ["kuvert://".len(), link.len() / 3, link.len() / 2, link.len() - 10, link.len() - 1] {
        carol.run(&["contact", "add", &link[..length]]).fails_with("link-invalid");
    }
    // A link with the fingerprint of another key.
    let at = link.find("/contact/").unwrap() + "/contact/".len() + 27;
    let other = if &link[at..=at] == "a" { "b" } else { "a" };
    let forged = format!("{}{other}{}", &link[..at], &link[at + 1..]);
    carol.run(&["contact", "add", &forged]).fails_with("invite-mismatch");
    assert!(carol.ok(&["contact", "list"]).is_empty());
}

#[test]
fn texts_that_cannot_be_sent() {
    let relay = Relay::start();
    let (alice, bob) = alice_and_bob(&relay);
    alice.run(&["send", "bob", ""]).fails_with("text-empty");
    alice.feed(&["send", "bob"], b"").fails_with("text-empty");
    alice.feed(&["send", "bob", "-"], &[b'x'; 64 * 1024 + 1]).fails_with("text-too-long");
    alice.feed(&["send", "bob", "-"], b"caf\xe9").fails_with("text-not-utf8");
    alice.feed(&["send", "bob", "--lines"], b"good\ncaf\xe9\n").fails_with("text-not-utf8");
    let mut command = alice.command(&["send", "bob"]);
    let output = command.arg(OsStr::from_bytes(b"caf\xe9")).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(find(&objects(&output.stdout), "error")["code"], "text-not-utf8");
    alice.run(&["send", "nobody", "hi"]).fails_with("contact-unknown");
    alice.run(&["send", "alice", "hi"]).fails_with("own-address");
    // The longest text that may be sent arrives whole.
    let long = "ä".repeat(32 * 1024);
    alice.feed(&["send", "bob", "-"], long.as_bytes()).ok();
    // "good" was read in the same moment as what came behind it: it may have been sent or not, but nothing else was.
    let received: Vec<String> = bob.receive().into_iter().filter(|text| text != "good").collect();
    assert_eq!(received, [long]);
}

#[test]
fn stores_that_cannot_be_used() {
    let relay = Relay::start();
    let (alice, bob) = alice_and_bob(&relay);
    bob.ok(&["send", "alice", "still here"]);
    let home = alice.path();
    let (store, key) = (home.join("store.db"), home.join("store.key"));
    let mode = |path: &std::path::Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();

    mode(&key, 0o644);
    let failed = alice.run(&["whoami"]).fails_with("permissions");
    assert!(find(&failed, "error")["message"].as_str().unwrap().contains("chmod 600"), "{failed:?}");
    mode(&key, 0o600);
    mode(&home, 0o755);
    alice.run(&["whoami"]).fails_with("permissions");
    mode(&home, 0o700);

    let key_bytes = fs::read(&key).unwrap();
    fs::rename(&key, home.join("elsewhere")).unwrap();
    alice.run(&["whoami"]).fails_with("store-key-missing");
    let mut command = alice.command(&["whoami"]);
    let output = command.env("KUVERT_STORE_KEY_FILE", home.join("elsewhere")).output().unwrap();
    assert!(output.status.success(), "the key may lie elsewhere: {output:?}");
    fs::copy(bob.path().join("store.key"), &key).unwrap();
    alice.run(&["whoami"]).fails_with("store-key-wrong");
    fs::write(&key, &key_bytes).unwrap();

    let good = fs::read(&store).unwrap();
    fs::write(&store, b"this is a shopping list, not a database: tomatoes, strawberries, cat food").unwrap();
    alice.run(&["whoami"]).fails_with("store-foreign");
    fs::remove_file(&store).unwrap();
    rusqlite::Connection::open(&store).unwrap().execute_batch("CREATE TABLE recipes(name TEXT)").unwrap();
    mode(&store, 0o600);
    alice.run(&["whoami"]).fails_with("store-foreign");

    // Put back, everything is as it was.
    fs::write(&store, good).unwrap();
    assert_eq!(texts(&alice.ok(&["receive"])), ["still here"]);
}

#[test]
fn a_damaged_store_is_refused_and_not_made_worse() {
    let relay = Relay::start();
    let (alice, bob) = alice_and_bob(&relay);
    bob.ok(&["send", "alice", "hello"]);
    assert_eq!(alice.receive(), ["hello"]);
    let store = alice.path().join("store.db");
    let good = fs::read(&store).unwrap();
    let mut refused = 0;
    for page in 1..good.len() / 4096 {
        let mut bad = good.clone();
        bad[page * 4096 + 8..page * 4096 + 4000].fill(0xA5);
        fs::write(&store, &bad).unwrap();
        let done = alice.run(&["history", "bob"]);
        match done.code {
            // A page that this command does not need.
            Some(0) => {}
            Some(1) => {
                let code = find(&done.objects, "error")["code"].as_str().unwrap().to_owned();
                assert!(code.starts_with("store-") || code == "contact-unknown", "page {page}: {code}");
                refused += 1;
            }
            other => panic!("page {page}: {other:?} {}", done.stderr),
        }
    }
    assert!(refused > 0, "damage is noticed");
    fs::write(&store, &good).unwrap();
    assert_eq!(texts(&alice.ok(&["history", "bob"])), ["hello"]);
}

#[test]
fn a_relay_that_is_down() {
    let mut relay = Relay::start();
    let (alice, bob) = alice_and_bob(&relay);
    alice.ok(&["send", "bob", "before"]);
    relay.stop();
    bob.run(&["receive", "--timeout", "1"]).fails_with("relay-unreachable");
    relay.start_again(&[]);
    assert_eq!(bob.receive(), ["before"], "nothing was lost");
}

#[test]
fn command_lines_that_make_no_sense_exit_with_2() {
    let home = Home::empty();
    for arguments in [
        &["send"] as &[&str],
        &["no-such-command"],
        &["receive", "--timeout", "soon"],
        &["receive", "--timeout", "-1"],
        &["receive", "--max", "many"],
        &["register"],
        &["send", "bob", "--lines", "--offline"],
    ] {
        let done = home.run(arguments);
        assert_eq!(done.code, Some(2), "{arguments:?}");
        assert_eq!(find(&done.objects, "error")["code"], "usage");
        assert!(!done.stderr.is_empty(), "and in words on stderr");
    }
    let output = Command::new(support::kuvert()).arg("--help").output().unwrap();
    assert!(output.status.success() && output.stdout.starts_with(b"End-to-end"));
}

#[test]
fn a_reader_that_leaves_is_no_failure() {
    let relay = Relay::start();
    let (alice, bob) = acquainted(&relay);
    let many: String = (0..200).map(|number| format!("{number}\n")).collect();
    alice.feed(&["send", "bob", "--lines"], many.as_bytes()).ok();
    let mut child = bob.command(&["receive"]).stdout(std::process::Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
    // What could not be shown comes again.
    let rest = bob.receive();
    assert_eq!(rest.last().unwrap(), "199");
    assert_eq!(rest.len(), 200, "the first was not shown either");
}

#[test]
fn completions_and_manual_pages_are_generated() {
    let home = Home::empty();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = Command::new(support::kuvert()).args(["completions", shell]).output().unwrap();
        assert!(output.status.success());
        assert!(String::from_utf8(output.stdout).unwrap().contains("safety-number"), "{shell}");
    }
    let directory = home.path().join("man");
    home.ok(&["man", directory.to_str().unwrap()]);
    for page in ["kuvert.1", "kuvert-send.1", "kuvert-contact-add.1", "kuvert-relay.1", "kuvert-relay-serve.1"] {
        let text = fs::read_to_string(directory.join(page)).unwrap_or_else(|error| panic!("{page}: {error}"));
        assert!(text.contains(".SH"), "{page}");
    }
}
