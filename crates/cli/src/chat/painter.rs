//! The thread that draws. A terminal that takes nothing (a paused one, a line that hangs) keeps this thread waiting and nothing
//! else: the chat goes on, and what is drawn when the terminal takes something again is the newest screen.

use std::io::{self, Stdout, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use crate::chat::canvas::{Canvas, Screen};
use crate::terminal;

/// Bells and the like that wait; a terminal that pauses is not told of every text afterwards.
const MAX_SIGNALS: usize = 4;

/// What is to be drawn, and how far that is.
#[derive(Debug, Default)]
struct Slot {
    /// The newest screen, and its number.
    next: Option<(Canvas, u64)>,
    /// Sequences that are no part of a screen.
    signals: Vec<String>,
    /// Nothing is known of what stands on the terminal.
    renew: bool,
    /// It is being drawn.
    busy: bool,
    /// The end.
    ended: bool,
}

#[derive(Debug, Default)]
struct Shared {
    slot: Mutex<Slot>,
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Slot> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The thread that draws, from the side of the chat.
#[derive(Debug)]
pub struct Painter {
    shared: Arc<Shared>,
    drawn: mpsc::UnboundedReceiver<io::Result<u64>>,
    number: u64,
}

impl Painter {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system gives none.
    pub fn start() -> io::Result<Self> {
        // Unbounded, and no more than one for each screen that was drawn.
        let (tell, drawn) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        std::thread::Builder::new().name("painter".into()).spawn(move || paint(&theirs, &tell))?;
        Ok(Self { shared, drawn, number: 0 })
    }

    /// Has a screen drawn, in place of one that was not drawn yet. Its number.
    pub fn draw(&mut self, canvas: Canvas) -> u64 {
        self.number += 1;
        self.shared.lock().next = Some((canvas, self.number));
        self.shared.changed.notify_all();
        self.number
    }

    /// Has a sequence written that is no part of a screen.
    pub fn signal(&self, sequence: String) {
        let mut slot = self.shared.lock();
        if slot.signals.len() < MAX_SIGNALS {
            slot.signals.push(sequence);
        }
        drop(slot);
        self.shared.changed.notify_all();
    }

    /// The terminal was given to others meanwhile: everything is drawn again.
    pub fn renew(&self) {
        self.shared.lock().renew = true;
    }

    /// The number of the screen that was drawn last. Can be dropped at any point.
    ///
    /// # Errors
    /// The terminal cannot be written.
    pub async fn drawn(&mut self) -> io::Result<u64> {
        self.drawn.recv().await.unwrap_or_else(|| Err(io::Error::other("the painter ended")))
    }

    /// Waits until everything is drawn, for so long at most; whether it is.
    pub fn settle(&self, patience: Duration) -> bool {
        let until = Instant::now() + patience;
        let mut slot = self.shared.lock();
        loop {
            if !slot.busy && slot.next.is_none() && slot.signals.is_empty() {
                return true;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            slot = self.shared.changed.wait_timeout(slot, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Drop for Painter {
    fn drop(&mut self) {
        let mut slot = self.shared.lock();
        slot.ended = true;
        slot.next = None;
        slot.signals.clear();
        drop(slot);
        self.shared.changed.notify_all();
    }
}

fn paint(shared: &Shared, tell: &mpsc::UnboundedSender<io::Result<u64>>) {
    let mut screen = blank();
    loop {
        let mut slot = shared.lock();
        while slot.next.is_none() && slot.signals.is_empty() && !slot.ended {
            slot = shared.changed.wait(slot).unwrap_or_else(PoisonError::into_inner);
        }
        if slot.ended {
            return;
        }
        let (next, signals) = (slot.next.take(), std::mem::take(&mut slot.signals));
        if std::mem::take(&mut slot.renew) {
            screen = blank();
        }
        slot.busy = true;
        drop(slot);
        // After a panic of another thread the terminal is no longer this program's to draw on.
        let drawn = if terminal::is_taken() { put(&mut screen, next, &signals) } else { Ok(None) };
        shared.lock().busy = false;
        shared.changed.notify_all();
        let told = match drawn {
            Ok(None) => Ok(()),
            Ok(Some(number)) => tell.send(Ok(number)),
            Err(error) => tell.send(Err(error)),
        };
        if told.is_err() {
            return;
        }
    }
}

fn put(
    screen: &mut Screen<io::BufWriter<Stdout>>,
    next: Option<(Canvas, u64)>,
    signals: &[String],
) -> io::Result<Option<u64>> {
    let mut number = None;
    if let Some((canvas, of_it)) = next {
        screen.draw(canvas)?;
        number = Some(of_it);
    }
    if !signals.is_empty() {
        let mut out = io::stdout();
        signals.iter().try_for_each(|signal| out.write_all(signal.as_bytes()))?;
        out.flush()?;
    }
    Ok(number)
}

/// A screen on which nothing is known to stand.
fn blank() -> Screen<io::BufWriter<Stdout>> {
    Screen::new(io::BufWriter::new(io::stdout()))
}
