//! The chat's connection: a task that connects, receives, comes back after a break, and sends what is queued. It tells
//! what happens; deciding what to show is not its concern.
//!
//! Of the processes of one home that stay, one leads: it receives. The others read from the store what it received, and one of
//! them leads when it ends.
//!
//! ```text
//!            another one leads                        it is gone
//! start ─────────────────────────► reads along ─────────────────────┐
//!   │ no other leads                                                 ▼
//!   └────────────────────────────────────────────────────────────► leads: receives
//! ```

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kuvert_client::{Accepted, Client, Connection, Error, Event, EventSink, Lead, NotSent, ReceiveOptions, Turn};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use crate::commands::along::Along;

/// First pause after a failed connection; doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// Longest pause between two tries: long enough to spare the relay, short enough to be back when one looks again.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// Files of contacts up to so many bytes are fetched.
const MAX_FILE: u64 = 16 * 1024 * 1024;

/// How long leaving may take to send the last receipts.
const FAREWELL: Duration = Duration::from_secs(2);

/// Events that wait for the chat. Beyond that the link waits, and so does the mail behind it: a terminal that pauses makes
/// nothing heap up.
const EVENTS_AHEAD: usize = 256;
/// After another process came, its end is not looked for before this: it takes over what this one lets go of.
const SETTLE: Duration = Duration::from_secs(3);

/// A chat that came back undisturbed for this long may come back again from what it did not see going.
const UNDISTURBED: Duration = Duration::from_secs(600);

/// What the link tells.
#[derive(Debug)]
pub enum LinkEvent {
    /// The connection stands.
    Connected,
    /// The connection is gone or could not be made; it is tried again.
    Offline {
        /// What happened.
        error: Error,
    },
    /// Another process of this home receives, and this one tells what it stores.
    Along,
    /// Something else receives for this account, such as a copy of this home; sending still works.
    Displaced {
        /// What happened.
        error: Error,
    },
    /// Receiving here, after one of the two. What was received meanwhile is in the store.
    Back,
    /// The end: nothing that trying again would mend.
    Failed {
        /// What happened.
        error: Error,
    },
    /// The relay has a text on disk.
    Accepted(Accepted),
    /// A text could not be sent.
    NotSent(NotSent),
    /// A pass over the outbox ended.
    Flushed {
        /// Why it did not come to its end. It is tried again.
        error: Option<Error>,
    },
    /// Something was received.
    Received(Event),
}

/// The running task.
#[derive(Debug)]
pub struct Link {
    events: mpsc::Receiver<LinkEvent>,
    due: Arc<Notify>,
    take_over: Arc<Notify>,
    leave: Arc<Notify>,
    task: JoinHandle<()>,
}

impl Link {
    /// Starts the task, with a connection if there is one already.
    pub fn start(client: Client, connection: Option<Connection>) -> Self {
        let (tell, events) = mpsc::channel(EVENTS_AHEAD);
        let [due, take_over, leave] = [(); 3].map(|()| Arc::new(Notify::new()));
        let worker = Worker { client, tell, due: Arc::clone(&due), take_over: Arc::clone(&take_over) };
        let leaving = Arc::clone(&leave);
        let task = tokio::spawn(async move { worker.run(connection, &leaving).await });
        Self { events, due, take_over, leave, task }
    }

    /// Something waits in the outbox.
    pub fn flush(&self) {
        self.due.notify_one();
    }

    /// Receives here again at once, and displaces what displaced this chat.
    pub fn take_over(&self) {
        self.take_over.notify_one();
    }

    /// The next event; none once the link has ended.
    pub async fn next(&mut self) -> Option<LinkEvent> {
        self.events.recv().await
    }

    /// Sends the last receipts and closes the connection.
    pub async fn close(self) {
        // Nothing listens any more: the link must not wait to tell.
        drop(self.events);
        self.leave.notify_one();
        let abort = self.task.abort_handle();
        if tokio::time::timeout(FAREWELL, self.task).await.is_err() {
            abort.abort();
        }
    }
}

struct Worker {
    client: Client,
    tell: mpsc::Sender<LinkEvent>,
    due: Arc<Notify>,
    take_over: Arc<Notify>,
}

/// Whose business receiving is, across reconnects: a chat that was displaced does not displace in turn.
///
/// From other processes of its home it has the lead. What else displaces it did so before it had that, or is a copy of the home: it
/// comes back when the other process was seen receiving, and is gone. What was not seen, because it was too quick or has a
/// copy of this home, is followed once within [`UNDISTURBED`]: of two copies each comes back once, and not for ever.
#[derive(Debug, Default)]
struct Standing {
    /// This process receives for all of this home.
    lead: Option<Lead>,
    /// What was told while another one did.
    along: Option<Along>,
    /// Another process came, and this chat did not come back yet.
    displaced: bool,
    /// When this chat came back from what it did not see.
    unseen: Option<Instant>,
}

impl Standing {
    /// Whether to come back now that nothing receives in this home; `seen`: something did meanwhile.
    fn may_come_back(&mut self, seen: bool, now: Instant) -> bool {
        if seen {
            return true;
        }
        let may = self.unseen.is_none_or(|before| now.duration_since(before) >= UNDISTURBED);
        if may {
            self.unseen = Some(now);
        }
        may
    }
}

impl Worker {
    async fn run(&self, mut connection: Option<Connection>, leave: &Notify) {
        let mut pause = FIRST_PAUSE;
        let mut standing = Standing::default();
        loop {
            let connected = match connection.take() {
                Some(connection) => Ok(connection),
                None => tokio::select! {
                    connected = self.client.connect() => connected,
                    () = leave.notified() => return,
                },
            };
            let error = match connected {
                Ok(connection) => {
                    pause = FIRST_PAUSE;
                    self.tell(LinkEvent::Connected).await;
                    tokio::select! {
                        error = self.stay(&connection, &mut standing) => error,
                        () = leave.notified() => {
                            // What is left stays queued.
                            let _ = self.flush(&connection).await;
                            connection.close().await;
                            return;
                        }
                    }
                }
                Err(error) => error,
            };
            if !error.passes() {
                self.tell(LinkEvent::Failed { error }).await;
                return;
            }
            let asked = match error {
                Error::Limited { seconds } => Duration::from_secs(seconds),
                _ => Duration::ZERO,
            };
            self.tell(LinkEvent::Offline { error }).await;
            tokio::select! {
                () = tokio::time::sleep(pause.max(asked)) => pause = (pause * 2).min(LONGEST_PAUSE),
                () = leave.notified() => return,
            }
        }
    }

    /// Receives and sends until the connection is of no more use.
    async fn stay(&self, connection: &Connection, standing: &mut Standing) -> Error {
        self.due.notify_one();
        let displaced = AtomicBool::new(standing.displaced);
        let sending = async {
            let mut again = None;
            loop {
                tokio::select! {
                    () = self.due.notified() => {}
                    () = sleep_until(again.unwrap_or_else(Instant::now)), if again.is_some() => {}
                }
                match self.flush(connection).await {
                    // While another process receives, there is no receiving loop here to notice.
                    Err(error) if error.is_connection() && displaced.load(Ordering::SeqCst) => return error,
                    ended => {
                        again = ended.err().and_then(|error| again_after(&error)).map(|pause| Instant::now() + pause)
                    }
                }
            }
        };
        let receiving = async {
            let follow = ReceiveOptions { follow: true, max_file: MAX_FILE, ..ReceiveOptions::default() };
            loop {
                let turn = match self.turn(standing, &displaced).await {
                    Ok(turn) => turn,
                    Err(error) => return error,
                };
                let ended = match turn {
                    Some(turn) => connection.receive_in_turn(turn, follow, self).await,
                    None => connection.receive_into(follow, self).await,
                };
                match ended {
                    Err(error @ Error::Displaced) => {
                        // Receiving is another process's business now; sending is still ours.
                        standing.displaced = true;
                        displaced.store(true, Ordering::SeqCst);
                        self.tell(LinkEvent::Displaced { error }).await;
                    }
                    Err(error) => return error,
                    Ok(_) => {}
                }
            }
        };
        tokio::select! {
            error = receiving => error,
            error = sending => error,
        }
    }

    /// Waits until receiving is this chat's: no other process of the home leads, and nothing displaced this one, or that is gone.
    async fn turn(&self, standing: &mut Standing, displaced: &AtomicBool) -> Result<Option<Turn>, Error> {
        let mut back = false;
        if standing.lead.is_none() {
            standing.lead = self.client.try_lead().await?;
        }
        if standing.lead.is_none() {
            displaced.store(true, Ordering::SeqCst);
            self.tell(LinkEvent::Along).await;
            let along = match &mut standing.along {
                Some(along) => along,
                none => none.insert(Along::start(&self.client).await?),
            };
            standing.lead = Some(self.along(along).await?);
            back = true;
        }
        let turn = if standing.displaced {
            back = true;
            self.turn_after(standing).await?
        } else {
            // A process that receives once and ends is waited for.
            Some(self.client.wait_for_turn().await?)
        };
        if let Some(along) = &mut standing.along {
            self.tell_new(along).await?;
        }
        standing.displaced = false;
        displaced.store(false, Ordering::SeqCst);
        if back {
            self.tell(LinkEvent::Back).await;
        }
        Ok(turn)
    }

    /// Tells what another process receives, until that one is gone.
    async fn along(&self, along: &mut Along) -> Result<Lead, Error> {
        loop {
            self.tell_new(along).await?;
            if let Some(lead) = along.wait().await? {
                return Ok(lead);
            }
        }
    }

    async fn tell_new(&self, along: &mut Along) -> Result<(), Error> {
        while let Some(message) = along.next().await? {
            self.tell(LinkEvent::Received(Event::Message(message))).await;
        }
        Ok(())
    }

    /// Waits until what displaced this chat is gone, or until the user says so: then it is displaced in turn.
    async fn turn_after(&self, standing: &mut Standing) -> Result<Option<Turn>, Error> {
        let when_it_is_gone = async {
            tokio::time::sleep(SETTLE).await;
            let turn = self.client.wait_for_turn().await?;
            if standing.may_come_back(turn.waited(), Instant::now()) {
                return Ok(Some(turn));
            }
            drop(turn);
            // From here on only the user says when.
            std::future::pending().await
        };
        tokio::select! {
            turn = when_it_is_gone => turn,
            () = self.take_over.notified() => Ok(None),
        }
    }

    /// A pass over the outbox; what kept it from coming to its end.
    async fn flush(&self, connection: &Connection) -> Result<(), Error> {
        // Told behind the pass: it holds the outbox, and must not wait for the chat.
        let passed = match connection.flush(|_| {}).await {
            Ok(report) => {
                for accepted in report.accepted {
                    self.tell(LinkEvent::Accepted(accepted)).await;
                }
                for not_sent in report.not_sent {
                    self.tell(LinkEvent::NotSent(not_sent)).await;
                }
                Ok(())
            }
            // An error of the connection is the receiving loop's to mend; the outbox keeps everything.
            Err(error) => Err(error),
        };
        self.tell(LinkEvent::Flushed { error: passed.as_ref().err().cloned() }).await;
        passed
    }

    async fn tell(&self, event: LinkEvent) {
        // Nobody listens any more while the chat is being left.
        let _ = self.tell.send(event).await;
    }
}

/// When another pass is worth while, though nothing new is queued: the relay asks for patience, or another process of this home
/// sends for a long time.
fn again_after(error: &Error) -> Option<Duration> {
    match error {
        Error::Limited { seconds } => Some(Duration::from_secs(*seconds).max(FIRST_PAUSE)),
        Error::StoreLocked { .. } => Some(FIRST_PAUSE),
        _ => None,
    }
}

impl EventSink for &Worker {
    async fn event(&mut self, event: Event) -> ControlFlow<()> {
        if matches!(event, Event::Reconnected) {
            self.due.notify_one();
        }
        let event = match event {
            // What is queued goes out with receipts, too.
            Event::Accepted(accepted) => LinkEvent::Accepted(accepted),
            event => LinkEvent::Received(event),
        };
        self.tell(event).await;
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_copies_of_a_home_do_not_displace_each_other_for_ever() {
        let (mut standing, now) = (Standing::default(), Instant::now());
        assert!(standing.may_come_back(false, now), "once");
        assert!(!standing.may_come_back(false, now + SETTLE), "and not again at once");
        assert!(standing.may_come_back(true, now + SETTLE), "what was seen, and is gone, may be followed");
        assert!(!standing.may_come_back(false, now + SETTLE));
        assert!(standing.may_come_back(false, now + UNDISTURBED));
    }
}
