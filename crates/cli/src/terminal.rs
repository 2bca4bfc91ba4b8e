//! The terminal, while a command changes how it works. Whatever happens then, it is put back: at the command's end, at a
//! signal, at a panic of any thread, and while the command is suspended.
//!
//! | what happens | what is done |
//! |---|---|
//! | the command ends, in whatever way a destructor sees | [`Taken`]'s destructor puts the terminal back |
//! | a panic, of any thread | a hook puts it back before the panic's words are printed |
//! | SIGTSTP, or Ctrl-Z | put back, then stopped; taken anew when the process goes on |
//! | SIGSTOP, which no process hears of, then SIGCONT | taken anew: the shell has set its own modes meanwhile |
//! | the terminal is gone | [`Wake::Gone`]; nothing can be put back |
//!
//! The signals that end a program are [`crate::signals::Stop`]'s.

use std::future::poll_fn;
use std::io::{self, IsTerminal};
use std::pin::Pin;
use std::sync::Once;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use crossterm::cursor::Show;
use crossterm::event::{
    DisableBracketedPaste, DisableFocusChange, DisableMouseCapture, EnableBracketedPaste, EnableFocusChange, Event,
    EventStream,
};
use crossterm::terminal::{Clear, ClearType, EnterAlternateScreen, LeaveAlternateScreen};
use futures_core::Stream as _;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Signal as Kill, getpid, kill_current_process_group, kill_process};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::error::Failure;

/// How often a terminal is asked whether it is still there: one that is not the process's own sends no SIGHUP.
const LOOK: Duration = Duration::from_secs(1);

/// How long a terminal is waited for that takes nothing, when the command ends.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// What is taken now, as a [`Kind`]; [`NOTHING`] when the terminal is as it was.
static TAKEN: AtomicU8 = AtomicU8::new(NOTHING);

const NOTHING: u8 = 0;

/// How much of the terminal a command takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Raw mode: keys one by one, and no echo.
    Keys = 1,
    /// Also the alternate screen, bracketed paste, and word of whether the window has the keyboard.
    Screen = 2,
}

/// Why [`Taken::wake`] returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wake {
    /// SIGTSTP: the process is to be stopped.
    Suspend,
    /// SIGCONT: it was stopped, and goes on.
    Resume,
    /// The terminal is gone: its window was closed, or the connection broke.
    Gone,
}

/// The terminal, taken until this is dropped.
#[derive(Debug)]
pub struct Taken {
    kind: Kind,
    suspend: Signal,
    resume: Signal,
}

impl Taken {
    /// Takes the terminal.
    ///
    /// # Errors
    /// There is none, or the system refuses a handler.
    pub fn take(kind: Kind) -> Result<Self, Failure> {
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            let before = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |panic| {
                put_back();
                before(panic);
            }));
        });
        let handler = |kind| signal(kind).map_err(|error| Failure::io("listen for signals", &error));
        let suspend = handler(SignalKind::from_raw(Kill::TSTP.as_raw()))?;
        let taken = Self { kind, suspend, resume: handler(SignalKind::from_raw(Kill::CONT.as_raw()))? };
        enter(kind).map_err(|error| Failure::io("use the terminal", &error))?;
        Ok(taken)
    }

    /// Waits until something is to be done about the terminal. Can be dropped at any point.
    pub async fn wake(&mut self) -> Wake {
        let gone = async {
            while !is_gone() {
                tokio::time::sleep(LOOK).await;
            }
        };
        tokio::select! {
            _ = self.suspend.recv() => Wake::Suspend,
            _ = self.resume.recv() => Wake::Resume,
            () = gone => Wake::Gone,
        }
    }

    /// Puts the terminal back and stops the process until it is told to go on; then takes the terminal again. What stood on it
    /// has to be drawn anew.
    ///
    /// # Errors
    /// The terminal can no longer be used.
    pub async fn suspend(&mut self) -> Result<(), Failure> {
        put_back();
        // Not SIGTSTP, which is caught. It may take a moment to stop all threads: this one waits for the signal that ends it.
        kill_process(getpid(), Kill::STOP).map_err(|error| Failure::io("suspend", &error.into()))?;
        let _ = self.resume.recv().await;
        self.resume()
    }

    /// Ctrl-Z, which in raw mode is a key: suspends the whole job, as the terminal would. Where no shell could bring it back,
    /// nothing happens.
    ///
    /// # Errors
    /// The terminal can no longer be used.
    pub async fn suspend_job(&mut self) -> Result<(), Failure> {
        if leads_its_session() {
            return Ok(());
        }
        // First of all: the shell may go on as soon as another process of the job is stopped.
        put_back();
        kill_current_process_group(Kill::TSTP).map_err(|error| Failure::io("suspend", &error.into()))?;
        // This process is of the group.
        let _ = self.suspend.recv().await;
        self.suspend().await
    }

    /// Puts the terminal back for now; [`resume`](Self::resume) takes it again. Meanwhile Ctrl-C is a signal, and Ctrl-Z is
    /// obeyed at the next [`wake`](Self::wake).
    pub fn release(&self) {
        put_back();
    }

    /// Takes the terminal again, after whatever others did to it.
    ///
    /// # Errors
    /// The terminal can no longer be used.
    pub fn resume(&self) -> Result<(), Failure> {
        // Raw mode is entered only from a mode that was put back.
        put_back();
        enter(self.kind).map_err(|error| Failure::io("use the terminal", &error))
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        // On another thread: a terminal that takes nothing must not keep the program from ending.
        let (done, is_done) = std::sync::mpsc::channel();
        let helper = std::thread::Builder::new().spawn(move || {
            put_back();
            // The receiver may have given up.
            let _ = done.send(());
        });
        if helper.is_err() {
            put_back();
        } else if is_done.recv_timeout(LAST_WORDS).is_err() {
            // This needs no room in the terminal.
            let _ = crossterm::terminal::disable_raw_mode();
        }
    }
}

/// What the user types, as it comes.
#[derive(Debug)]
pub struct Keys(EventStream);

impl Keys {
    /// From here on.
    #[expect(clippy::new_without_default, reason = "it takes what is typed from whatever else reads it")]
    pub fn new() -> Self {
        Self(EventStream::new())
    }

    /// The next event; none once the terminal has gone. Can be dropped at any point.
    pub async fn next(&mut self) -> Option<io::Result<Event>> {
        poll_fn(|context| Pin::new(&mut self.0).poll_next(context)).await
    }
}

/// Whether the terminal is taken. After a panic of another thread it is not, and nothing may be drawn.
pub fn is_taken() -> bool {
    TAKEN.load(Ordering::SeqCst) != NOTHING
}

/// Whether the terminal shows whole screens: one that says that it is dumb has no cursor to move.
pub fn has_screen() -> bool {
    let dumb = std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
    !dumb && io::stdin().is_terminal() && io::stdout().is_terminal()
}

fn enter(kind: Kind) -> io::Result<()> {
    // First: what fails half-way is put back, too.
    TAKEN.store(kind as u8, Ordering::SeqCst);
    let entered = crossterm::terminal::enable_raw_mode().and_then(|()| match kind {
        Kind::Keys => Ok(()),
        Kind::Screen => {
            crossterm::execute!(
                io::stdout(),
                EnterAlternateScreen,
                Clear(ClearType::All),
                EnableBracketedPaste,
                EnableFocusChange
            )
        }
    });
    if entered.is_err() {
        put_back();
    }
    entered
}

/// Once, however often it is called. Nothing more can be done for a terminal that does not take this.
fn put_back() {
    let taken = TAKEN.swap(NOTHING, Ordering::SeqCst);
    if taken == Kind::Screen as u8 {
        let _ = crossterm::execute!(
            io::stdout(),
            DisableMouseCapture,
            DisableFocusChange,
            DisableBracketedPaste,
            LeaveAlternateScreen,
            Show
        );
    }
    if taken != NOTHING {
        let _ = crossterm::terminal::disable_raw_mode();
    }
}

/// Whether no shell started this process as a job: it is the first of its session.
#[cfg(target_os = "linux")]
fn leads_its_session() -> bool {
    // Not getsid: a session that was begun outside of a container is number 0 within, which rustix takes for impossible.
    // Without /proc no suspending is better than one that nothing ends.
    std::fs::read_to_string("/proc/self/stat").map_or(true, |stat| session(&stat) == Some(getpid().as_raw_pid()))
}

/// Whether no shell started this process as a job: it is the first of its session.
#[cfg(not(target_os = "linux"))]
fn leads_its_session() -> bool {
    rustix::process::getsid(None).is_ok_and(|session| session == getpid())
}

/// The session in a line of /proc/PID/stat: `PID (NAME) STATE PARENT GROUP SESSION …`, where NAME may hold anything.
#[cfg(target_os = "linux")]
fn session(stat: &str) -> Option<i32> {
    let (_, behind_the_name) = stat.rsplit_once(')')?;
    behind_the_name.split_whitespace().nth(3)?.parse().ok()
}

/// Whether the terminal is gone: its window was closed, or the connection broke.
pub fn is_gone() -> bool {
    let stdin = io::stdin();
    let mut ends = [PollFd::new(&stdin, PollFlags::empty())];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut ends, Some(&now)).is_ok() && ends[0].revents().intersects(PollFlags::HUP | PollFlags::ERR)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use support::window::{MAIN_SCREEN, Window};

    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn a_session_that_was_begun_outside_of_a_container_is_led_by_another() {
        assert_eq!(session("43 (kuvert) S 2 43 0 0 -1 4194304"), Some(0));
        assert_eq!(session("43 (a) b) (c) R 2 43 17 0 -1 4194304"), Some(17));
        assert_eq!(session("43 (kuvert) S 2"), None);
        assert_eq!(session(""), None);
    }

    /// Set where this test runs in a window of its own, to how it panics there.
    const PANICS: &str = "KUVERT_TEST_PANICS";

    /// The words of the panic.
    const WORDS: &str = "a-panic-on-purpose";

    #[test]
    fn a_panic_of_any_thread_puts_the_terminal_back_before_its_words() {
        if let Some(how) = std::env::var_os(PANICS) {
            return panic_in_the_window(how == "beside");
        }
        for how in ["here", "beside"] {
            let mut command = Command::new(std::env::current_exe().unwrap());
            let name = "terminal::tests::a_panic_of_any_thread_puts_the_terminal_back_before_its_words";
            command.args(["--exact", name, "--nocapture", "--test-threads=1"]).env(PANICS, how);
            let mut window = Window::open(command, 80);
            window.until("\u{1b}[?1049h");
            let drawn = window.until(WORDS);
            assert!(drawn.contains(MAIN_SCREEN), "{how}: {drawn:?}");
            assert!(window.is_as_before(), "{how}");
            let (status, rest) = window.wait();
            assert!(!rest.contains(MAIN_SCREEN), "{how}: once, or the cursor goes back over the panic's words");
            assert_eq!(status.success(), how == "beside");
        }
    }

    fn panic_in_the_window(beside: bool) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let _taken = runtime.block_on(async { Taken::take(Kind::Screen) }).unwrap();
        assert!(is_taken());
        if !beside {
            panic!("{WORDS}");
        }
        assert!(std::thread::spawn(|| panic!("{WORDS}")).join().is_err());
        assert!(!is_taken(), "nothing more is drawn");
    }
}
