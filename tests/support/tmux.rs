//! tmux with a program in it: a terminal within a terminal, with ideas of its own of how wide characters are, how large the screen
//! is, and whether a person looks at it.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Instant;

use super::PATIENCE;
use super::window::Window;

/// Ctrl-B: what follows is for tmux.
const PREFIX: &str = "\u{2}";

/// What it is set up with: no line of its own, and programs are told whether a person looks at them.
const SETTINGS: &str =
    "set -g status off\nset -g focus-events on\nset -g escape-time 0\nset -g default-terminal screen-256color\n";

/// A tmux of its own, with one session. It ends with this value.
pub struct Tmux {
    directory: tempfile::TempDir,
}

impl Tmux {
    /// One with nothing in it. None where tmux is not installed; that is said. Not through `eprintln!`, which the test harness
    /// swallows.
    pub fn installed() -> Option<Self> {
        let version = Command::new("tmux").arg("-V").stdout(Stdio::null()).stderr(Stdio::null()).status();
        if version.is_ok_and(|status| status.success()) {
            let directory = tempfile::tempdir().unwrap();
            std::fs::write(directory.path().join("settings"), SETTINGS).unwrap();
            return Some(Self { directory });
        }
        let _ = writeln!(std::io::stderr(), "skipped: no tmux");
        None
    }

    fn command(&self) -> Command {
        let mut command = Command::new("tmux");
        let path = |name| self.directory.path().join(name);
        command.arg("-S").arg(path("socket")).arg("-f").arg(path("settings")).arg("-u");
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("KUVERT_") || name == "RUST_LOG" {
                command.env_remove(name);
            }
        }
        command.env_remove("TMUX").env_remove("NO_COLOR").env("LC_ALL", "C.UTF-8").env("TERM", "xterm-256color");
        command
    }

    /// Starts a program in it, and shows it in a window of this size.
    pub fn open(&self, program: &Command, columns: u16, rows: u16) -> Window {
        let mut command = self.command();
        command.arg("new-session").arg(program.get_program()).args(program.get_args());
        Window::open_with(command, columns, rows)
    }

    /// Shows it in another window.
    pub fn attach(&self, columns: u16, rows: u16) -> Window {
        let mut command = self.command();
        command.arg("attach-session");
        Window::open_with(command, columns, rows)
    }

    /// Takes the window away. The program goes on.
    pub fn detach(mut window: Window) {
        window.press(PREFIX);
        window.press("d");
        assert!(window.wait().0.success());
    }

    fn ask(&self, arguments: &[&str]) -> String {
        let output = self.command().args(arguments).stdin(Stdio::null()).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    /// What it knows of the program's screen, by the name of a variable of its own.
    pub fn knows(&self, variable: &str) -> String {
        self.ask(&["display-message", "-p", &format!("#{{{variable}}}")]).trim().to_owned()
    }

    /// The program's screen as tmux has it, row by row, without what is as wide as nothing and without blanks at the ends.
    pub fn rows(&self) -> Vec<String> {
        let seen = |c: &char| !matches!(c, '\u{200E}' | '\u{2066}'..='\u{2069}');
        let screen = self.ask(&["capture-pane", "-p"]);
        screen.lines().map(|row| row.trim_end().chars().filter(seen).collect()).collect()
    }

    /// Waits until the program's screen looks as `holds` says, and returns its rows. The window is read meanwhile: tmux waits for a
    /// terminal that takes nothing.
    pub fn until(&self, window: &mut Window, what: &str, holds: impl Fn(&[String]) -> bool) -> Vec<String> {
        let begun = Instant::now();
        loop {
            let shown = window.rows();
            let rows = self.rows();
            if holds(&rows) {
                return rows;
            }
            assert!(
                begun.elapsed() < PATIENCE,
                "no {what}:\n{}\n--- in the window:\n{}",
                rows.join("\n"),
                shown.join("\n")
            );
            std::thread::sleep(super::LOOK_AGAIN);
        }
    }
}

impl Drop for Tmux {
    fn drop(&mut self) {
        // It may have ended with its session.
        let _ = self.command().arg("kill-server").stdout(Stdio::null()).stderr(Stdio::null()).status();
    }
}
