//! The full-screen chat in a pseudo-terminal: two windows and a relay.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};

use rustix::fs::OFlags;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use support::{Home, PATIENCE, Relay, acquainted, alice_and_bob, eventually, texts};

/// A terminal window with a program in it. What the program draws is looked at as it comes: only cells that change are drawn,
/// so the words below have no blanks, and share no letter with the word that stood in their place before.
struct Window {
    child: Child,
    keys: File,
    drawn: Receiver<Vec<u8>>,
    seen: String,
}

impl Window {
    fn open(home: &Home, arguments: &[&str]) -> Self {
        let (child, keys) = start(home, arguments);
        let mut screen = keys.try_clone().unwrap();
        let (send, drawn) = channel();
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            // Ends with an error once the program and its terminal are gone.
            while let Ok(count @ 1..) = screen.read(&mut bytes) {
                if send.send(bytes[..count].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self { child, keys, drawn, seen: String::new() }
    }

    fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits until something is drawn, and forgets what came before.
    fn until(&mut self, wanted: &str) {
        loop {
            if let Some(at) = self.seen.find(wanted) {
                self.seen.drain(..at + wanted.len());
                return;
            }
            match self.drawn.recv_timeout(PATIENCE) {
                // A character that a read cut in two is none that is waited for.
                Ok(bytes) => self.seen.push_str(&String::from_utf8_lossy(&bytes)),
                Err(error) => panic!("no {wanted:?} ({error}): {:?}", self.seen),
            }
        }
    }

    /// Leaves with the escape key.
    fn leave(mut self) {
        self.press("\u{1b}");
        // Back from the alternate screen: the terminal is as it was.
        self.until("\u{1b}[?1049l");
        let terminal = self.drawn;
        std::thread::spawn(move || terminal.iter().for_each(drop));
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
    }
}

/// A program in a terminal, and the terminal's other side.
fn start(home: &Home, arguments: &[&str]) -> (Child, File) {
    let controller = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&controller).unwrap();
    unlockpt(&controller).unwrap();
    let name = ptsname(&controller, Vec::new()).unwrap().into_string().unwrap();
    let no_control = i32::try_from(OFlags::NOCTTY.bits()).unwrap();
    let terminal = OpenOptions::new().read(true).write(true).custom_flags(no_control).open(name).unwrap();
    tcsetwinsize(&terminal, Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
    let side = || Stdio::from(terminal.try_clone().unwrap());
    let mut command = home.typed(arguments);
    let child = command.env("TERM", "xterm").stdin(side()).stdout(side()).stderr(side()).spawn().unwrap();
    let keys = File::from(controller);
    (child, keys)
}

#[test]
fn a_terminal_that_pauses_keeps_no_other_command_from_working() {
    let relay = Relay::start();
    let (alice, bob) = acquainted(&relay);
    let (mut chatting, screen) = start(&bob, &["chat", "alice"]);
    // More than a terminal holds that nothing reads.
    let many: String = (0..400).map(|number| format!("{number} {}\n", "z".repeat(200))).collect();
    alice.feed(&["send", "bob", "--lines"], many.as_bytes()).ok();
    let mut before = 0;
    eventually("the terminal is full", || {
        std::thread::sleep(std::time::Duration::from_millis(300));
        let now = rustix::io::ioctl_fionread(&screen).unwrap();
        let full = now > 0 && now == before;
        before = now;
        full
    });
    bob.ok(&["send", "alice", "while-my-terminal-pauses"]);
    assert_eq!(alice.receive(), ["while-my-terminal-pauses"]);
    chatting.kill().unwrap();
    chatting.wait().unwrap();
    // What the chat did not come to show is still there.
    bob.receive();
    assert_eq!(texts(&bob.ok(&["history", "alice"])).len(), 403);
}

#[test]
fn two_people_talk_in_two_windows() {
    let mut relay = Relay::start();
    let (alice, bob) = alice_and_bob(&relay);
    bob.ok(&["send", "alice", "waiting"]);
    let mut at_alice = Window::open(&alice, &["chat", "bob"]);
    at_alice.until("waiting");
    let mut at_bob = Window::open(&bob, &["chat", "alice"]);
    // Delivered to Alice, and Bob sees it.
    at_bob.until("✓");
    at_alice.press("Grüße-aus-dem-Garten\r");
    at_alice.until("Grüße-aus-dem-Garten");
    at_bob.until("Grüße-aus-dem-Garten");
    at_alice.until("✓");
    at_bob.press("typo");
    at_bob.press("\u{7f}\u{7f}\u{7f}\u{7f}merci!\r");
    at_alice.until("merci!");

    // The relay goes away and comes back: what was written meanwhile arrives.
    relay.stop();
    at_alice.until("reconnecting");
    at_alice.press("oh-such-patience\r");
    at_alice.until("oh-such-patience");
    relay.start_again(&[]);
    at_bob.until("oh-such-patience");
    at_alice.leave();
    at_bob.leave();

    let expected = ["waiting", "Grüße-aus-dem-Garten", "merci!", "oh-such-patience"];
    for (home, who) in [(&alice, "bob"), (&bob, "alice")] {
        assert_eq!(texts(&home.ok(&["history", who])), expected);
        assert!(home.receive().is_empty(), "all was read on the screen");
    }
}
