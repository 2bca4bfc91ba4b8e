//! A relay cannot decrypt what it has no code for: what it is built from, by cargo's own account.

use std::process::Command;

#[test]
fn the_relay_has_no_code_that_could_open_a_message() {
    let output = Command::new(env!("CARGO"))
        .args([
            "tree",
            "--offline",
            "--locked",
            "-p",
            "kuvert-relay",
            "-e",
            "normal",
            "--prefix",
            "none",
            "--format",
            "{p}",
        ])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let tree = String::from_utf8(output.stdout).unwrap();
    let crates: Vec<&str> = tree.lines().filter_map(|line| line.split_whitespace().next()).collect();
    // The list is what we think it is.
    for present in ["kuvert-relay", "kuvert-wire", "kuvert-types", "quinn", "rusqlite"] {
        assert!(crates.contains(&present), "{present} is missing");
    }
    for absent in [
        "kuvert-protocol",
        "kuvert-client",
        "chacha20poly1305",
        "poly1305",
        "x25519-dalek",
        "hkdf",
        "hmac",
        "libcrux-ml-kem",
        "ml-kem",
    ] {
        assert!(!crates.contains(&absent), "{absent} is part of the relay");
    }
}
