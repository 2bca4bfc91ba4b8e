//! A terminal window with a program in it, on a pseudo-terminal.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, OptionalActions, Termios, Winsize, tcgetattr, tcsetattr, tcsetwinsize};

/// Nothing takes longer than this on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// Back from the alternate screen.
pub const MAIN_SCREEN: &str = "\u{1b}[?1049l";

/// A window. What the program draws is looked at as it comes: only cells that change are drawn, so words that are waited for
/// have no blanks, and share no letter with the word that stood in their place before.
pub struct Window {
    child: Child,
    keys: File,
    /// The program's end, open also when the program has gone: what mode it is in can be asked.
    terminal: File,
    /// How the terminal was before the program began.
    before: Termios,
    drawn: Receiver<Vec<u8>>,
    closed: Arc<AtomicBool>,
    reader: Option<JoinHandle<()>>,
    /// What a person sees.
    screen: vt100::Parser,
    /// Bells that rang.
    pub bells: usize,
    /// What was drawn so far.
    pub seen: String,
}

impl Window {
    /// Starts a program in a window of 24 rows.
    pub fn open(command: Command, columns: u16) -> Self {
        Self::open_with(command, columns, 24)
    }

    /// Starts a program in a window of so many columns and rows.
    pub fn open_with(mut command: Command, columns: u16, rows: u16) -> Self {
        let controller = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&controller).unwrap();
        unlockpt(&controller).unwrap();
        let name = ptsname(&controller, Vec::new()).unwrap().into_string().unwrap();
        let no_control = i32::try_from(OFlags::NOCTTY.bits()).unwrap();
        let terminal = OpenOptions::new().read(true).write(true).custom_flags(no_control).open(name).unwrap();
        tcsetwinsize(&terminal, Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
        let before = tcgetattr(&terminal).unwrap();
        let side = || Stdio::from(terminal.try_clone().unwrap());
        command.stdin(side()).stdout(side()).stderr(side());
        for (name, value) in [("TERM", "xterm")] {
            if !command.get_envs().any(|(set, _)| set == name) {
                command.env(name, value);
            }
        }
        for name in ["COLUMNS", "NO_COLOR", "TMUX"] {
            if !command.get_envs().any(|(set, _)| set == name) {
                command.env_remove(name);
            }
        }
        let child = command.spawn().unwrap();
        let keys = File::from(controller);
        let mut screen = keys.try_clone().unwrap();
        let (send, drawn) = channel();
        let closed = Arc::new(AtomicBool::new(false));
        let close = Arc::clone(&closed);
        let reader = std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while !close.load(Ordering::SeqCst) {
                let moment = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
                if poll(&mut [PollFd::new(&screen, PollFlags::IN)], Some(&moment)) == Ok(0) {
                    continue;
                }
                // Ends with an error once the program and its terminal are gone.
                let Ok(count @ 1..) = screen.read(&mut bytes) else { return };
                if send.send(bytes[..count].to_vec()).is_err() {
                    return;
                }
            }
        });
        let screen = vt100::Parser::new(rows, columns, 0);
        Self {
            child,
            keys,
            terminal,
            before,
            drawn,
            closed,
            reader: Some(reader),
            screen,
            bells: 0,
            seen: String::new(),
        }
    }

    /// Types keys.
    pub fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits until something is drawn, and forgets what came before. Returns that, without what was waited for.
    pub fn until(&mut self, wanted: &str) -> String {
        loop {
            if let Some(at) = self.seen.find(wanted) {
                let mut seen: String = self.seen.drain(..at + wanted.len()).collect();
                seen.truncate(at);
                return seen;
            }
            match self.drawn.recv_timeout(PATIENCE) {
                Ok(bytes) => self.take(&bytes),
                Err(error) => panic!("no {wanted:?} ({error}): {:?}", self.seen),
            }
        }
    }

    fn take(&mut self, bytes: &[u8]) {
        self.screen.process(bytes);
        self.bells += bytes.iter().filter(|byte| **byte == 7).count();
        // A character that a read cut in two is none that is waited for.
        self.seen.push_str(&String::from_utf8_lossy(bytes));
    }

    /// What stands on the screen, as a terminal shows it, row by row, without blanks at the ends.
    pub fn rows(&mut self) -> Vec<String> {
        while let Ok(bytes) = self.drawn.try_recv() {
            self.take(&bytes);
        }
        let (_, columns) = self.screen.screen().size();
        let seen = |c: &char| !matches!(c, '\u{200E}' | '\u{2066}'..='\u{2069}');
        let rows = self.screen.screen().rows(0, columns);
        rows.map(|row| row.trim_end().chars().filter(seen).collect()).collect()
    }

    /// The terminal's own idea of the screen: colours and cells.
    pub fn screen(&mut self) -> &vt100::Screen {
        self.rows();
        self.screen.screen()
    }

    /// Waits until the screen looks as `holds` says, and returns its rows.
    pub fn until_rows(&mut self, what: &str, holds: impl Fn(&[String]) -> bool) -> Vec<String> {
        let begun = Instant::now();
        loop {
            let rows = self.rows();
            if holds(&rows) {
                // What comes now is no answer to what was there.
                self.seen.clear();
                return rows;
            }
            // A screen is drawn now and then without a reason: each of them is no reason to wait longer.
            match self.drawn.recv_timeout(PATIENCE.saturating_sub(begun.elapsed())) {
                Ok(bytes) => self.take(&bytes),
                Err(error) => panic!("no {what} ({error}):\n{}", rows.join("\n")),
            }
        }
    }

    /// Waits until this stands in a row of the screen.
    pub fn until_shown(&mut self, wanted: &str) -> Vec<String> {
        self.until_rows(wanted, |rows| rows.iter().any(|row| row.contains(wanted)))
    }

    /// Waits until so many bells rang.
    pub fn until_bells(&mut self, count: usize) {
        let begun = Instant::now();
        while self.bells < count {
            match self.drawn.recv_timeout(PATIENCE.saturating_sub(begun.elapsed())) {
                Ok(bytes) => self.take(&bytes),
                Err(error) => panic!("{} bells of {count} ({error})", self.bells),
            }
        }
    }

    /// Waits until this stands in no row of the screen.
    pub fn until_gone(&mut self, wanted: &str) -> Vec<String> {
        self.until_rows(&format!("screen without {wanted}"), |rows| !rows.iter().any(|row| row.contains(wanted)))
    }

    /// The window gets another size, and the program hears of it.
    pub fn resize(&mut self, columns: u16, rows: u16) {
        tcsetwinsize(&self.terminal, Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
        self.rows();
        self.screen.screen_mut().set_size(rows, columns);
        self.signal(Signal::WINCH);
    }

    /// Sends a signal to the program.
    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap()
    }

    /// Waits until the process is stopped.
    pub fn wait_until_stopped(&mut self) {
        let stopped = waitpid(Some(self.pid()), WaitOptions::UNTRACED).unwrap();
        if !stopped.is_some_and(|(_, status)| status.stopped()) {
            self.read_the_rest();
            panic!("{stopped:?}: {:?}", self.seen);
        }
    }

    /// Whether the terminal gives keys one by one, without echo.
    pub fn is_raw(&self) -> bool {
        !tcgetattr(&self.terminal).unwrap().local_modes.intersects(LocalModes::ICANON | LocalModes::ECHO)
    }

    /// Whether the terminal is as it was.
    pub fn is_as_before(&self) -> bool {
        let now = tcgetattr(&self.terminal).unwrap();
        (now.local_modes, now.input_modes, now.output_modes)
            == (self.before.local_modes, self.before.input_modes, self.before.output_modes)
    }

    /// What a shell does when a job stops.
    pub fn put_modes_back(&self) {
        tcsetattr(&self.terminal, OptionalActions::Now, &self.before).unwrap();
    }

    /// Whether the program has not ended.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// The end of the program, and all that it drew and that was not waited for.
    pub fn wait(mut self) -> (ExitStatus, String) {
        let status = self.ended();
        self.read_the_rest();
        (status, std::mem::take(&mut self.seen))
    }

    /// Nothing comes any more: what is there is read within one look.
    fn read_the_rest(&mut self) {
        while let Ok(bytes) = self.drawn.recv_timeout(Duration::from_millis(200)) {
            self.take(&bytes);
        }
    }

    fn ended(&mut self) -> ExitStatus {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(begun.elapsed() < PATIENCE, "the program does not end: {:?}", self.seen);
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The window is closed: the terminal is gone. Waits for the program's end.
    pub fn vanish(mut self) -> ExitStatus {
        self.stop_reading();
        // The last of the controller's two descriptors.
        self.keys = File::open("/dev/null").unwrap();
        self.ended()
    }

    /// From now on nothing takes what the program draws.
    pub fn stop_reading(&mut self) {
        self.closed.store(true, Ordering::SeqCst);
        if let Some(reader) = self.reader.take() {
            reader.join().unwrap();
        }
    }

    /// Bytes that the program drew and nothing took.
    pub fn unread(&self) -> u64 {
        rustix::io::ioctl_fionread(&self.keys).unwrap()
    }

    /// Leaves with Ctrl-C.
    pub fn leave(mut self) {
        self.press("\u{3}");
        self.until(MAIN_SCREEN);
        assert_eq!(self.wait().0.code(), Some(0));
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.closed.store(true, Ordering::SeqCst);
    }
}
