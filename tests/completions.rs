//! Names of contacts, completed by real shells: as they are called, as one word, and as nothing but a word.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::{Path, PathBuf};
use std::process::Command;

use support::window::Window;
use support::{Home, Relay, alice_and_bob, kuvert, texts};

/// What a shell would obey if it were not quoted.
const HOSTILE: &str = "$(touch made) `touch made`; touch made # 'it's' \"B\" \\ *";

fn names(home: &Home) -> Vec<String> {
    let output = Command::new(kuvert()).arg("__contacts").env("KUVERT_HOME", home.path()).output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty());
    let named = Command::new(kuvert()).arg("__contacts").arg(home.path()).env_remove("KUVERT_HOME").output().unwrap();
    assert_eq!(output.stdout, named.stdout);
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn names_come_out_of_the_home_alone_and_wait_for_no_other_process() {
    let mut relay = Relay::start();
    let (alice, bob) = alice_and_bob(&relay);
    let stranger = Home::registered(&relay, "unheard-of");
    stranger.ok(&["contact", "add", "alice"]);
    stranger.ok(&["send", "alice", "hello"]);
    alice.ok(&["receive"]);
    alice.ok(&["contact", "rename", "bob", "Bob from work"]);
    let request = alice.ok(&["contact", "requests"])[0]["alias"].as_str().unwrap().to_owned();
    // No relay, and a process that is writing.
    relay.kill();
    let writing = rusqlite::Connection::open(alice.path().join("store.db")).unwrap();
    writing.execute_batch("BEGIN IMMEDIATE").unwrap();
    assert_eq!(names(&alice), ["Bob from work", request.as_str()]);
    writing.execute_batch("COMMIT").unwrap();
    assert_eq!(names(&bob), ["alice"]);
    assert!(names(&Home::empty()).is_empty(), "nothing is said of a home that is not there");
}

/// A shell in a window of its own, which knows the completions.
struct Shell {
    window: Window,
    directory: tempfile::TempDir,
}

impl Shell {
    fn start(name: &str, arguments: &[&str], home: &Path, set_up: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = format!("{}:{}", kuvert().parent().unwrap().display(), std::env::var("PATH").unwrap());
        // A shell of its own session: fish starts no job without a terminal that is its own.
        let mut command = Command::new("setsid");
        command
            .args(["--ctty", "--wait", name])
            .args(arguments)
            .env_clear()
            .env("PATH", path)
            .env("KUVERT_HOME", home)
            .env("LC_ALL", "C.UTF-8");
        command.env("HOME", directory.path()).env("TERM", "dumb").current_dir(directory.path());
        let mut window = Window::open(command, 200);
        // What is typed is echoed: what is waited for must not stand in it.
        window.press(&format!("{set_up}; echo re''ady\n"));
        window.until("ready");
        Self { window, directory }
    }

    fn made(&self) -> PathBuf {
        self.directory.path().join("made")
    }
}

fn is_there(shell: &str) -> bool {
    let started = Command::new("setsid").args(["--wait", shell, "-c", "true"]).output();
    started.is_ok_and(|output| output.status.success())
}

#[test]
fn a_shell_completes_a_contact_and_obeys_no_name() {
    let shells = [
        (
            "bash",
            &["--norc", "--noprofile", "-i"][..],
            "bind 'set enable-bracketed-paste off'; . <(kuvert completions bash)",
        ),
        ("zsh", &["-f", "-i"], "autoload -Uz compinit; compinit -u -D; . <(kuvert completions zsh)"),
        ("fish", &["--no-config", "-i"], "kuvert completions fish | source"),
    ];
    for (shell, arguments, set_up) in shells.into_iter().filter(|(shell, ..)| is_there(shell)) {
        for alias in [HOSTILE, "Bob from work"] {
            let (alice, _) = alice_and_bob(&Relay::start());
            alice.ok(&["contact", "rename", "bob", alias]);
            let mut shell_window = Shell::start(shell, arguments, &alice.path(), set_up);
            shell_window.window.press("kuvert send \t");
            // The shell says that it is done by what it draws of the next word.
            shell_window.window.press(" hi-there --offline\n");
            shell_window.window.until("reaches the relay sends it");
            let history = alice.ok(&["history", alias]);
            assert_eq!(texts(&history), ["hi-there"], "{shell}");
            assert!(!shell_window.made().exists(), "{shell} obeyed {alias}");
        }
    }
}

#[test]
fn bash_completes_commands_options_and_names_where_they_belong() {
    let relay = Relay::start();
    let (alice, _) = alice_and_bob(&relay);
    alice.ok(&["contact", "rename", "bob", "Bob $(touch made)"]);
    let directory = tempfile::tempdir().unwrap();
    let complete = |home: Option<&Path>, words: &[&str]| -> Vec<String> {
        let (line, count) = (words.join(" "), words.len());
        let script = ". <(kuvert completions bash); COMP_LINE=$1; COMP_POINT=${#1}; COMP_CWORD=$2; shift 2; \
                      COMP_WORDS=(\"$@\"); _kuvert_or_contacts kuvert \"${COMP_WORDS[COMP_CWORD]}\" \
                      \"${COMP_WORDS[COMP_CWORD-1]}\"; printf '%s\\n' \"${COMPREPLY[@]}\"";
        let path = format!("{}:{}", kuvert().parent().unwrap().display(), std::env::var("PATH").unwrap());
        let mut command = Command::new("bash");
        command.args(["--norc", "-c", script, "bash", &line, &(count - 1).to_string()]).args(words).env("PATH", path);
        command.current_dir(directory.path()).env_remove("KUVERT_HOME").env("HOME", directory.path());
        command.envs(home.map(|home| ("KUVERT_HOME", home)));
        let output = command.output().unwrap();
        assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
    };
    let home = alice.path();
    let bob = [r"Bob\ \$\(touch\ made\)"];
    for words in [
        &["kuvert", "chat", ""][..],
        &["kuvert", "--json", "send", "Bob"],
        &["kuvert", "contact", "rename", ""],
        &["kuvert", "-v", "--level", "L1", "history", r"Bob\ $"],
        &["kuvert", "search", "text", "--with", ""],
    ] {
        assert_eq!(complete(Some(&home), words), bob, "{words:?}");
    }
    let named = home.to_str().unwrap();
    assert_eq!(complete(None, &["kuvert", "--home", named, "chat", ""]), bob);
    assert_eq!(complete(None, &["kuvert", "--home", "=", named, "chat", ""]), bob);
    for (words, expected) in [
        (&["kuvert", "disc"][..], "disclosure"),
        (&["kuvert", "contact", "ren"], "rename"),
        (&["kuvert", "send", "bob", "--off"], "--offline"),
        (&["kuvert", "chat", "--he"], "--help"),
    ] {
        assert!(complete(Some(&home), words).contains(&expected.to_owned()), "{words:?}");
    }
    for words in [
        &["kuvert", "chat", "carol"][..],
        &["kuvert", "send", "bob", ""],
        &["kuvert", "contact", "add", ""],
        &["kuvert", "chat", "\"Bo"],
        &["kuvert", "chat", "$(Bo"],
    ] {
        let found = complete(Some(&home), words);
        assert!(!found.iter().any(|word| word.contains("Bob")), "{words:?}: {found:?}");
    }
    assert!(!directory.path().join("made").exists());
}
