//! docs/OPERATING.md as a stranger would follow it: its commands, as they stand there, in an empty directory.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::net::{TcpListener, UdpSocket};
use std::path::Path;
use std::process::{Command, Stdio};

use support::*;

/// All blocks of the first part that are marked as shell commands.
fn commands(guide: &str) -> String {
    let mut commands = String::new();
    let mut within = false;
    for line in guide.lines() {
        match line {
            "```sh" => within = true,
            "```" => within = false,
            line if within => commands.extend([line, "\n"]),
            _ => {}
        }
    }
    commands
}

/// The ports of the guide may be in use here.
fn with_free_ports(commands: &str) -> String {
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    commands.replace(":4433", &format!(":{udp}")).replace(":9464", &format!(":{tcp}"))
}

#[test]
fn the_guide_leads_to_a_monitored_relay_with_a_backup_restored() {
    let guide = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/OPERATING.md")).unwrap();
    let commands = with_free_ports(&commands(&guide));
    for said in
        ["config check", "invite create", "readyz", "/metrics", " backup --data", " restore --from", "kill -TERM"]
    {
        assert!(commands.contains(said), "the guide does not run `{said}`");
    }
    let folder = tempfile::tempdir().unwrap();
    let programs = [kuvert(), kuvert_relay()].map(|program| program.parent().unwrap().display().to_string());
    let path = format!("{}:{}:{}", programs[0], programs[1], std::env::var("PATH").unwrap());
    // A relay that never gets ready would keep the guide waiting for its address.
    let mut shell = Command::new("timeout");
    // A step that fails ends it, and then nothing that it started stays.
    let script =
        format!("trap 'test ! -e relay.pid || kill -KILL \"$(cat relay.pid)\" 2>/dev/null || true' EXIT\n{commands}");
    shell.args(["300", "sh", "-eu", "-c", &script]).current_dir(folder.path()).stdin(Stdio::null());
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("KUVERT_")) {
        shell.env_remove(name);
    }
    let output = shell.env("PATH", path).env("HOME", folder.path()).output().unwrap();
    let (said, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let log = fs::read_to_string(folder.path().join("relay.log")).unwrap_or_default();
    assert!(output.status.success(), "{said}\n{errors}\n{log}");

    assert!(said.contains("good: listens on 127.0.0.1:"), "{said}");
    assert!(said.contains("\nok\nready\nkuvert_relay_envelopes_waiting 1\n"), "{said}");
    assert!(said.contains("backup holds 2 accounts and 1 waiting envelopes, checked"), "{said}");
    // The address before and after; each letter shown once.
    let addresses: Vec<&str> = said.lines().filter(|line| line.starts_with("kuvert://")).collect();
    assert_eq!(addresses.len(), 1, "{said}");
    assert_eq!(fs::read_to_string(folder.path().join("address")).unwrap().trim(), addresses[0]);
    for letter in ["A first letter", "A second letter"] {
        assert_eq!(said.matches(letter).count(), 1, "{letter}: {said}");
    }
    assert!(log.lines().all(|line| line.starts_with('{')), "the log is JSON: {log}");
    assert!(log.contains("\"stopped\""), "{log}");
}
