//! `kuvert demo`: what it claims, and that it leaves nothing behind.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::process::Command;
use std::time::Instant;

use support::{Home, Random, eventually, objects};

fn demo(arguments: &[&str], temporary: &std::path::Path) -> Command {
    let mut command = Command::new(support::kuvert_with("demo"));
    command.args(arguments).env("TMPDIR", temporary).env("KUVERT_HOME", "/nonexistent/kuvert");
    command
}

#[test]
fn every_claim_of_the_demo_holds() {
    let temporary = tempfile::tempdir().unwrap();
    let begun = Instant::now();
    let output = demo(&["--json", "demo"], temporary.path()).output().unwrap();
    eprintln!("the demo took {:?}", begun.elapsed());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let documents = objects(&output.stdout);
    let [facts] = documents.as_slice() else { panic!("one document: {documents:?}") };
    assert_eq!(facts["type"], "demo");
    assert_eq!(facts["sent"], 14);
    assert_eq!(facts["read"], 14);
    assert_eq!(facts["read_receipts"], 14);
    assert_eq!(facts["texts_found_on_relay"], 0);
    assert_eq!(facts["bytes_left_after_delivery"], 0);
    assert_eq!(facts["waiting_at_end"], 0);
    assert_eq!(facts["safety_numbers_equal"], true);
    assert_eq!(facts["aliases_found_on_relay"], 0);
    assert_eq!(facts["keys_found_on_relay"], 0);
    // The search finds what is there, or finding nothing would mean nothing.
    assert!(facts["bytes_found_while_waiting"].as_u64().unwrap() > 256, "{facts}");
    assert!(facts["control_found_on_relay"].as_u64().unwrap() > 0);
    assert!(facts["out_of_order"].as_u64().unwrap() >= 4, "{facts}");
    assert!(facts["envelopes"].as_u64().unwrap() > 14, "receipts are envelopes, too");
    let saw = facts["relay_saw"].as_array().unwrap();
    let sees = |words: &str| saw.iter().any(|seen| seen["seen"].as_str().unwrap().contains(words));
    for words in ["alice → bob", "bob → alice", "127.1.1.1 (Alder Town, simulated)", "alice, bob"] {
        assert!(sees(words), "{words}: {saw:?}");
    }
    assert!(saw.iter().all(|seen| seen["row"].as_str().unwrap().starts_with("M-")));
    assert_eq!(std::fs::read_dir(temporary.path()).unwrap().count(), 0, "the directories are gone");
}

#[test]
fn without_a_terminal_the_same_facts_are_told_in_sequence() {
    let temporary = tempfile::tempdir().unwrap();
    let kept = temporary.path().join("kept");
    let output = demo(&["demo", "--keep", kept.to_str().unwrap()], temporary.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(!told.contains('\u{1b}'), "no colours without a terminal");
    for words in ["Bob is away. Alice writes.", "0000  ", "What stayed private", "What the relay saw all the same"] {
        assert!(told.contains(words), "{words}: {told}");
    }
    assert!(!told.contains('✗'), "{told}");
    for directory in ["alice", "bob", "relay"] {
        assert!(kept.join(directory).is_dir(), "{directory} is kept");
    }
    // A second run does not mix with the first.
    let output = demo(&["--json", "demo", "--keep", kept.to_str().unwrap()], temporary.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(objects(&output.stdout)[0]["code"], "directory-not-empty");
}

#[test]
fn interrupted_it_leaves_no_process_and_no_directory() {
    let temporary = tempfile::tempdir().unwrap();
    let mut random = Random::seeded("interrupted_it_leaves");
    let home = Home::empty();
    for _ in 0..3 {
        let mut command = home.command(&["demo"]);
        command.env("TMPDIR", temporary.path());
        let mut child = command.stdout(std::process::Stdio::null()).spawn().unwrap();
        eventually("the demo has begun", || {
            std::fs::read_dir(temporary.path()).unwrap().count() > 0 || child.try_wait().unwrap().is_some()
        });
        std::thread::sleep(random.millis(0, 900));
        let pid = rustix::process::Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::INT);
        assert_eq!(child.wait().unwrap().code(), Some(130));
        assert_eq!(std::fs::read_dir(temporary.path()).unwrap().count(), 0, "the directories are gone");
        let orphans = processes_that_mention(temporary.path().to_str().unwrap());
        assert!(orphans.is_empty(), "{orphans:?}");
    }
}

/// Command lines of running processes that name a path.
fn processes_that_mention(path: &str) -> Vec<String> {
    let Ok(processes) = std::fs::read_dir("/proc") else { return Vec::new() };
    processes
        .filter_map(|process| std::fs::read(process.ok()?.path().join("cmdline")).ok())
        .map(|line| String::from_utf8_lossy(&line).replace('\0', " "))
        .filter(|line| line.contains(path))
        .collect()
}
