//! The chat's connection: a task that connects, receives, comes back after a break, and sends what is queued. It tells
//! what happens; deciding what to show is not its concern.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use kuvert_client::{Accepted, Client, Connection, Error, Event, EventSink, NotSent, ReceiveOptions};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

/// First pause after a failed connection; doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// Longest pause between two tries: long enough to spare the relay, short enough to be back when one looks again.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// How long leaving may take to send the last receipts.
const FAREWELL: Duration = Duration::from_secs(2);

/// Events that wait for the chat. Beyond that the link waits, and so does the mail behind it: a terminal that pauses makes
/// nothing heap up.
const EVENTS_AHEAD: usize = 256;

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
    /// Another process receives for this account; sending still works.
    Displaced {
        /// What happened.
        error: Error,
    },
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
    leave: Arc<Notify>,
    task: JoinHandle<()>,
}

impl Link {
    /// Starts the task, with a connection if there is one already.
    pub fn start(client: Client, connection: Option<Connection>) -> Self {
        let (tell, events) = mpsc::channel(EVENTS_AHEAD);
        let (due, leave) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let worker = Worker { client, tell, due: Arc::clone(&due) };
        let leaving = Arc::clone(&leave);
        let task = tokio::spawn(async move { worker.run(connection, &leaving).await });
        Self { events, due, leave, task }
    }

    /// Something waits in the outbox.
    pub fn flush(&self) {
        self.due.notify_one();
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
}

impl Worker {
    async fn run(&self, mut connection: Option<Connection>, leave: &Notify) {
        let mut pause = FIRST_PAUSE;
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
                        error = self.stay(&connection) => error,
                        () = leave.notified() => {
                            self.flush(&connection).await;
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
    async fn stay(&self, connection: &Connection) -> Error {
        self.due.notify_one();
        let sending = async {
            let mut again = None;
            loop {
                tokio::select! {
                    () = self.due.notified() => {}
                    () = sleep_until(again.unwrap_or_else(Instant::now)), if again.is_some() => {}
                }
                again = self.flush(connection).await.map(|pause| Instant::now() + pause);
            }
        };
        let receiving = async {
            let follow = ReceiveOptions { follow: true, ..ReceiveOptions::default() };
            loop {
                match self.client.receive_into(connection, follow, self).await {
                    Err(error @ Error::Displaced) => {
                        self.tell(LinkEvent::Displaced { error }).await;
                        // Receiving is another process's business now; sending is still ours.
                        std::future::pending::<()>().await;
                    }
                    Err(error) => return error,
                    Ok(_) => {}
                }
            }
        };
        tokio::select! {
            error = receiving => error,
            () = sending => unreachable_error(),
        }
    }

    /// A pass over the outbox. Some: when to make another one, though nothing new is queued.
    async fn flush(&self, connection: &Connection) -> Option<Duration> {
        // Told behind the pass: it holds the outbox, and must not wait for the chat.
        let (error, again) = match self.client.flush(connection, |_| {}).await {
            Ok(report) => {
                for accepted in report.accepted {
                    self.tell(LinkEvent::Accepted(accepted)).await;
                }
                for not_sent in report.not_sent {
                    self.tell(LinkEvent::NotSent(not_sent)).await;
                }
                (None, None)
            }
            // The relay asks for patience, or another process of this home sends for a long time.
            Err(Error::Limited { seconds }) => {
                let pause = Duration::from_secs(seconds).max(FIRST_PAUSE);
                (Some(Error::Limited { seconds }), Some(pause))
            }
            Err(error @ Error::StoreLocked { .. }) => (Some(error), Some(FIRST_PAUSE)),
            // An error of the connection is the receiving loop's to mend; the outbox keeps everything.
            Err(error) => (Some(error), None),
        };
        self.tell(LinkEvent::Flushed { error }).await;
        again
    }

    async fn tell(&self, event: LinkEvent) {
        // Nobody listens any more while the chat is being left.
        let _ = self.tell.send(event).await;
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

/// The sending loop has no end.
fn unreachable_error() -> Error {
    Error::Internal { what: "the sending loop ended" }
}
