//! Many texts and one outcome, readers that pause, a relay that is not there yet: what goes on nevertheless.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use support::{Home, Relay, alice_and_bob, all, eventually, find, objects, texts};

/// The commands that take a line of stdin for a text.
const STREAMS: [&[&str]; 2] = [&["send", "bob", "--lines"], &["chat", "bob"]];

/// More than a pipe holds.
fn more_than_a_pipe_holds() -> String {
    (0..100).map(|number| format!("{number} {}\n", "z".repeat(2000))).collect()
}

/// A command whose output is a pipe that is not read.
fn with_a_paused_reader(home: &Home, arguments: &[&str]) -> Child {
    let mut command = home.command(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    command.spawn().unwrap()
}

/// How much waits in a pipe. It is full when that no longer grows.
fn until_it_stands_still(child: &Child) {
    let stdout = child.stdout.as_ref().unwrap();
    let mut before = 0;
    eventually("the pipe is full", || {
        std::thread::sleep(std::time::Duration::from_millis(300));
        let now = rustix::io::ioctl_fionread(stdout).unwrap();
        let full = now > 0 && now == before;
        before = now;
        full
    });
}

fn terminate(child: &Child) {
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
}

/// The exit code, once it has ended.
fn code(child: &mut Child) -> Option<i32> {
    let mut status = None;
    eventually("it ends", || {
        status = child.try_wait().unwrap();
        status.is_some()
    });
    status.unwrap().code()
}

fn lines_of(errors: &[Value]) -> Vec<(u64, String)> {
    let line = |error: &Value| Some((error["line"].as_u64()?, error["code"].as_str()?.to_owned()));
    errors.iter().filter(|object| object["type"] == "error").filter_map(line).collect()
}

#[test]
fn a_stream_goes_on_when_the_relay_restarts() {
    for stream in STREAMS {
        let mut relay = Relay::start();
        let (alice, bob) = alice_and_bob(&relay);
        let mut sending = alice.start(stream);
        assert!(sending.write("one\n"));
        sending.until("accepted");
        relay.stop();
        assert!(sending.write("two\nthree\n"));
        assert_eq!(sending.until("notice")["code"], "disconnected");
        relay.start_again(&[]);
        sending.until("accepted");
        sending.until("accepted");
        assert!(sending.write("four\n"));
        sending.close_stdin();
        let (code, seen) = sending.wait();
        assert_eq!(code, Some(0), "{stream:?} {seen:?}");
        assert_eq!(all(&seen, "accepted").len(), 4);
        assert_eq!(bob.receive(), ["one", "two", "three", "four"]);
    }
}

#[test]
fn a_stream_to_a_relay_that_is_away_is_queued() {
    for stream in STREAMS {
        let mut relay = Relay::start();
        let (alice, bob) = alice_and_bob(&relay);
        relay.stop();
        let seen = alice.feed(stream, b"one\ntwo\n").fails_with("relay-unreachable");
        assert_eq!(all(&seen, "queued").len(), 2, "{stream:?} {seen:?}");
        assert_eq!(find(&alice.ok(&["whoami"]), "whoami")["queued"], 2);
        relay.start_again(&[]);
        assert_eq!(all(&alice.ok(&["receive", "--max", "0"]), "accepted").len(), 2);
        assert_eq!(bob.receive(), ["one", "two"]);
    }
}

#[test]
fn a_line_that_is_no_text_is_named_and_the_others_are_sent() {
    let relay = Relay::start();
    let (alice, bob) = alice_and_bob(&relay);
    let mut lines = b"first\n".to_vec();
    lines.extend(vec![b'x'; 3 * 1024 * 1024]);
    lines.extend(b"\ncaf\xe9\n\n \t \nlast");
    let bad = [(2, "text-too-long"), (3, "text-not-utf8"), (5, "text-empty")].map(|(line, code)| (line, code.into()));
    for stream in STREAMS {
        let done = alice.feed(stream, &lines);
        assert_eq!(done.code, Some(1), "{stream:?}");
        assert_eq!(lines_of(&done.objects), bad);
        assert_eq!(all(&done.objects, "accepted").len(), 2, "one object for each line");
        let last = done.objects.last().unwrap();
        assert_eq!((&last["code"], &last["line"]), (&"text-too-long".into(), &Value::Null));
        assert!(last["message"].as_str().unwrap().contains("line 2"), "{last}");
        assert_eq!(bob.receive(), ["first", "last"]);
    }
}

#[test]
fn a_full_mailbox_queues_lines_and_holds_up_no_other_contact() {
    let relay = Relay::start();
    let (alice, bob) = (Home::registered(&relay, "alice"), Home::registered(&relay, "bob"));
    let carol = Home::registered(&relay, "carol");
    alice.ok(&["contact", "add", "bob"]);
    alice.ok(&["contact", "add", "carol"]);
    // Bob does not know Alice: a stranger's part of a mailbox is small.
    let large: String = (0..60).map(|number| format!("{number} {}\n", "z".repeat(60_000))).collect();
    let seen = alice.feed(&["send", "bob", "--lines"], large.as_bytes()).fails_with("mailbox-full");
    let (accepted, queued) = (all(&seen, "accepted").len(), all(&seen, "queued").len());
    assert!(accepted > 0 && queued > 0 && accepted + queued == 60, "{accepted} {queued}");
    alice.ok(&["send", "carol", "nothing is in your way"]);
    assert_eq!(carol.receive(), ["nothing is in your way"]);
    // Room is made, and all comes in order.
    bob.ok(&["contact", "add", "alice"]);
    let mut received = Vec::new();
    eventually("all is there", || {
        received.extend(bob.receive());
        alice.ok(&["receive"]);
        received.len() >= 60
    });
    let numbers = received.iter().map(|text| text.split(' ').next().unwrap().parse().unwrap());
    assert_eq!(numbers.collect::<Vec<usize>>(), (0..60).collect::<Vec<_>>());
}

#[test]
fn a_key_that_changes_under_a_stream_ends_it_and_the_line_is_named() {
    let relay = Relay::start();
    let (alice, _bob) = alice_and_bob(&relay);
    let mut sending = alice.start(&["send", "bob", "--lines"]);
    assert!(sending.write("one\n"));
    sending.until("accepted");
    alice.ok(&["contact", "block", "bob"]);
    assert!(sending.write("two\nthree\n"));
    let (code, seen) = sending.wait();
    assert_eq!(code, Some(1));
    let error = find(&seen, "error");
    assert_eq!(error["code"], "contact-blocked");
    assert!(error["message"].as_str().unwrap().contains("Line 2"), "{error}");
}

#[test]
fn what_goes_out_beside_received_mail_is_told() {
    let relay = Relay::start();
    let (alice, bob) = alice_and_bob(&relay);
    for command in [&["receive", "--follow"] as &[&str], &["chat", "bob"]] {
        let mut running = alice.start(command);
        bob.ok(&["send", "alice", "ping"]);
        running.until("message");
        // The flush that sends the receipts of the next message sends this, too.
        let queued = alice.ok(&["send", "bob", "--offline", "pong"]);
        bob.ok(&["send", "alice", "ping"]);
        assert_eq!(running.until("accepted")["id"], find(&queued, "queued")["id"]);
        running.interrupt();
        assert_eq!(running.wait().0, Some(0));
    }
}

#[test]
fn a_follower_whose_reader_pauses_keeps_no_other_command_from_working() {
    let relay = Relay::start();
    let (alice, bob) = alice_and_bob(&relay);
    bob.ok(&["send", "alice", "hello"]);
    assert_eq!(alice.receive(), ["hello"]);
    for command in [&["receive", "--follow"] as &[&str], &["chat", "alice"]] {
        let mut following = with_a_paused_reader(&bob, command);
        alice.feed(&["send", "bob", "--lines"], more_than_a_pipe_holds().as_bytes()).ok();
        until_it_stands_still(&following);
        bob.ok(&["send", "alice", "while my reader pauses"]);
        assert_eq!(alice.receive(), ["while my reader pauses"]);
        assert!(texts(&bob.ok(&["history", "alice", "--last", "1"]))[0].starts_with("while"));
        // It goes on, and nothing is missing.
        let stdout = BufReader::new(following.stdout.take().unwrap());
        let mut shown = Vec::new();
        for line in stdout.lines() {
            shown.extend(texts(&objects(line.unwrap().as_bytes())));
            if shown.len() == 100 {
                terminate(&following);
            }
        }
        assert_eq!(code(&mut following), Some(0));
        let numbers = shown.iter().map(|text| text.split(' ').next().unwrap().parse().unwrap());
        assert_eq!(numbers.collect::<Vec<usize>>(), (0..100).collect::<Vec<_>>(), "{command:?}");
        assert!(bob.receive().is_empty());
    }
}

#[test]
fn a_follower_whose_reader_pauses_ends_when_it_is_told_to() {
    let relay = Relay::start();
    let (alice, bob) = alice_and_bob(&relay);
    bob.ok(&["send", "alice", "hello"]);
    assert_eq!(alice.receive(), ["hello"]);
    let mut following = with_a_paused_reader(&bob, &["receive", "--follow"]);
    alice.feed(&["send", "bob", "--lines"], more_than_a_pipe_holds().as_bytes()).ok();
    until_it_stands_still(&following);
    terminate(&following);
    assert_eq!(code(&mut following), Some(0));
    // What was printed was noted, what was not comes now: every text once.
    let stdout = BufReader::new(following.stdout.take().unwrap());
    let whole = stdout.lines().filter_map(|line| serde_json::from_str::<Value>(&line.unwrap()).ok());
    let mut shown: Vec<String> = texts(&whole.collect::<Vec<_>>());
    shown.extend(bob.receive());
    assert_eq!(shown.len(), 100);
}

#[test]
fn a_sender_whose_reader_pauses_keeps_no_other_command_from_sending() {
    let relay = Relay::start();
    let (alice, bob) = alice_and_bob(&relay);
    bob.ok(&["send", "alice", "hello"]);
    assert_eq!(alice.receive(), ["hello"]);
    // A thousand objects fill a pipe.
    let many: String = (0..1000).map(|number| format!("{number}\n")).collect();
    for line in many.lines().collect::<Vec<_>>().chunks(1000) {
        alice.feed(&["send", "bob", "--lines"], line.join("\n").as_bytes()).ok();
    }
    let mut sending = with_a_paused_reader(&alice, &["send", "bob", "--lines"]);
    let mut stdin = sending.stdin.take().unwrap();
    let feeder = std::thread::spawn(move || drop(std::io::Write::write_all(&mut stdin, many.as_bytes())));
    until_it_stands_still(&sending);
    alice.ok(&["send", "bob", "past the one that waits"]);
    let read = BufReader::new(sending.stdout.take().unwrap()).lines().map(Result::unwrap).collect::<Vec<_>>();
    assert_eq!(code(&mut sending), Some(0));
    feeder.join().unwrap();
    assert!(read.len() >= 999, "one for each line, and perhaps one that the other command sent: {}", read.len());
    let received = bob.receive();
    assert_eq!(received.len(), 2001);
    assert!(received.contains(&"past the one that waits".to_owned()));
}

#[test]
fn no_time_to_wait_means_what_waits_now() {
    let mut relay = Relay::start();
    let (alice, bob) = alice_and_bob(&relay);
    for arguments in [&["receive", "--timeout", "0"] as &[&str], &["receive", "--follow", "--timeout", "0"]] {
        assert!(texts(&bob.ok(arguments)).is_empty());
        let many: String = (0..300).map(|number| format!("{number}\n")).collect();
        alice.feed(&["send", "bob", "--lines"], many.as_bytes()).ok();
        assert_eq!(texts(&bob.ok(arguments)).len(), 300, "more than a window of deliveries");
    }
    assert!(texts(&bob.ok(&["history", "alice", "--last", "0"])).is_empty());
    relay.stop();
    bob.run(&["receive", "--timeout", "0"]).fails_with("relay-unreachable");
}

#[test]
fn a_follower_waits_for_a_relay_that_is_not_there_yet() {
    let mut relay = Relay::start();
    let (alice, bob) = alice_and_bob(&relay);
    alice.ok(&["send", "bob", "for later"]);
    relay.stop();
    for command in [&["receive", "--follow"] as &[&str], &["chat", "alice"]] {
        let mut following = bob.start(command);
        assert_eq!(following.until("notice")["code"], "disconnected");
        relay.start_again(&[]);
        following.until("message");
        following.interrupt();
        let (code, seen) = following.wait();
        assert_eq!(code, Some(0));
        assert_eq!(all(&seen, "notice").len(), 1, "said once: {seen:?}");
        alice.ok(&["send", "bob", "once more"]);
        relay.stop();
    }
    // With a limit it ends then.
    bob.run(&["receive", "--follow", "--timeout", "1"]).fails_with("relay-unreachable");
    relay.start_again(&[]);
    // What time does not heal ends it at once.
    bob.ok(&["account", "delete", "--yes"]);
    bob.run(&["receive", "--follow"]).fails_with("account-deleted");
}

#[test]
fn a_mistyped_option_is_refused_and_nothing_is_sent() {
    let relay = Relay::start();
    let (alice, bob) = alice_and_bob(&relay);
    for arguments in
        [&["send", "bob", "--offlin"] as &[&str], &["send", "bob", "hi", "--offlin"], &["send", "bob", "-x"]]
    {
        let done = alice.run(arguments);
        assert_eq!(done.code, Some(2), "{arguments:?}");
        assert_eq!(find(&done.objects, "error")["code"], "usage");
    }
    let done = alice.run(&["send", "bob", "--offlin"]);
    assert!(find(&done.objects, "error")["message"].as_str().unwrap().contains("'--offline'"), "{done:?}");
    alice.ok(&["send", "bob", "--", "--offlin"]);
    alice.ok(&["send", "bob", "--", "-5 °C"]);
    assert_eq!(bob.receive(), ["--offlin", "-5 °C"]);
}

#[test]
fn verbose_says_what_happens_and_nothing_that_it_must_not() {
    let relay = Relay::start();
    let (alice, bob) = alice_and_bob(&relay);
    let (host, fingerprint) = relay.address.trim_start_matches("kuvert://").split_once('#').unwrap();
    let account = |home: &Home| find(&home.ok(&["whoami"]), "whoami")["account"].as_str().unwrap().to_owned();
    let (a, b) = (account(&alice), account(&bob));
    for (level, words) in [("-v", "submitted"), ("-vv", "trying an address"), ("-vvv", "handshake done")] {
        let sent = alice.run(&[level, "send", "bob", "Geheimnis"]);
        let got = bob.run(&["receive", level]);
        assert_eq!(texts(&got.objects), ["Geheimnis"]);
        let id = find(&sent.objects, "accepted")["id"].as_str().unwrap();
        // The whole way, and how long each part of it took.
        for (said, attached) in [(&sent.stderr, false), (&got.stderr, true)] {
            let way = [
                "resolved addresses=1",
                "UDP passes",
                "handshake done",
                "connected, and known",
                "attached: the relay delivers",
            ];
            for step in &way[..way.len() - usize::from(!attached)] {
                let line = said.lines().find(|line| line.contains(step));
                assert!(line.is_some_and(|line| line.contains(" milliseconds=")), "{level}: {step} in {said}");
            }
        }
        assert!(got.stderr.contains("waiting="), "{}", got.stderr);
        for (said, word) in [(&sent.stderr, words), (&got.stderr, "received and stored")] {
            for wanted in [host, "connected", word] {
                assert!(said.contains(wanted), "{level}: no {wanted} in {said}");
            }
            for unwanted in ["Geheimnis", "bob", "alice", &a, &b, &a[..8], &b[..8], id, &id[..8], fingerprint] {
                assert!(!said.contains(unwanted), "{level}: {unwanted} in {said}");
            }
        }
    }
    let help = std::process::Command::new(support::kuvert()).arg("--help").output().unwrap();
    // Help is as wide as the terminal: a line may end anywhere.
    let help = String::from_utf8(help.stdout).unwrap().split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(help.contains("kuvert -v receive"), "{help}");
    assert!(alice.run(&["send", "bob", "quiet"]).stderr.is_empty());
}
