//! A file between two homes, each at a relay of its own: both relays serve one store on PostgreSQL, and share a directory for files. On the
//! server that `KUVERT_POSTGRES` names; without, the test says that it was skipped.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use support::{Home, Relay, all, contains, eventually, find, kuvert_relay};

/// A database of the test's own on that server, and its address.
fn database(server: &str) -> (String, String) {
    let name = format!("files_{}", std::process::id());
    psql(server, &format!("CREATE DATABASE {name}"));
    let (base, _) = server.rsplit_once('/').unwrap();
    (format!("{base}/{name}"), name)
}

fn psql(server: &str, sql: &str) {
    let done = Command::new("psql").args(["--quiet", "--no-psqlrc", server, "--command", sql]).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

fn relay(arguments: &[&str]) -> String {
    let done = Command::new(kuvert_relay()).args(arguments).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap()
}

/// The objects that hold bytes of files, as they lie there.
fn objects(directory: &Path) -> Vec<Vec<u8>> {
    let entries = |path: PathBuf| fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
    let folders = entries(directory.to_owned()).filter(|path| path.is_dir());
    // One that goes meanwhile is gone.
    folders.flat_map(|folder| entries(folder).collect::<Vec<_>>()).filter_map(|file| fs::read(file).ok()).collect()
}

#[test]
fn a_file_goes_from_a_home_at_one_relay_to_a_home_at_another() {
    let Ok(server) = std::env::var("KUVERT_POSTGRES") else {
        // Not through `eprintln!`, which the test harness swallows.
        let _ = writeln!(std::io::stderr(), "skipped: no PostgreSQL (KUVERT_POSTGRES is not set)");
        return;
    };
    let (store, name) = database(&server);
    relay(&["migrate", "--store", &store]);
    let directory = tempfile::tempdir().unwrap();
    let (outside, key) = (directory.path().join("outside"), directory.path().join("cluster.key"));
    fs::create_dir(&outside).unwrap();
    fs::write(&key, relay(&["cluster", "key"])).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    let start = |which: &str, more: &str| {
        let path = directory.path().join(which);
        let settings = format!(
            "store = \"{store}\"\n[cluster]\nname = \"{which}\"\nlisten = \"127.0.0.1:0\"\nkey = \"{}\"\n\
             [blobs]\nstore = \"{}\"\n[limits]\nblob_disk_percent = 100\n{more}",
            key.display(),
            outside.display()
        );
        fs::write(&path, settings).unwrap();
        Relay::start_with(&["--config", path.to_str().unwrap()])
    };
    let mut first = start("first", "");
    // Both show one key.
    let tls = first.data().join("tls");
    let (certificate, private) = (tls.join("certificate.pem"), tls.join("key.pem"));
    let tls = format!("[tls]\ncertificate = \"{}\"\nkey = \"{}\"\n", certificate.display(), private.display());
    let mut second = start("second", &tls);

    let (alice, bob) = (Home::registered(&first, "alice"), Home::registered(&second, "bob"));
    alice.ok(&["contact", "add", "bob"]);
    bob.ok(&["contact", "add", "alice"]);
    // Bytes that are no other file's, of some pieces.
    let mut content: Vec<u8> =
        (0..400_000_u64).flat_map(|at| at.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_le_bytes()).collect();
    content.truncate(3_100_007);
    let path = directory.path().join("film.mp4");
    fs::write(&path, &content).unwrap();
    alice.ok(&["send", "bob", "look", "--file", path.to_str().unwrap()]);
    let there = objects(&outside);
    assert!(there.iter().map(Vec::len).sum::<usize>() > content.len() && there.len() >= 3);
    assert!(there.iter().all(|object| !contains(object, &content[..64])), "it is encrypted");

    let is_here = || {
        bob.ok(&["receive"]);
        let history = bob.ok(&["history", "alice"]);
        let messages = all(&history, "message");
        messages.first().is_some_and(|message| message["attachments"][0]["state"] == "here")
    };
    eventually("it is here", is_here);
    let history = bob.ok(&["history", "alice"]);
    let file: &Value = &find(&history, "message")["attachments"][0];
    assert!(fs::read(file["path"].as_str().unwrap()).unwrap() == content, "the right bytes");
    eventually("not one byte is left", || objects(&outside).is_empty());
    first.stop();
    second.stop();
    psql(&server, &format!("DROP DATABASE {name} WITH (FORCE)"));
}
