//! The chat's connection: a task that connects, receives, comes back after a break, and sends what is queued. It tells
//! what happens; deciding what to show is not its concern.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use kuvert_client::{Accepted, Client, Connection, Error, Event, NotSent, ReceiveOptions};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;

/// First pause after a failed connection; doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// Longest pause between two tries: long enough to spare the relay, short enough to be back when one looks again.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// How long leaving may take to send the last receipts.
const FAREWELL: Duration = Duration::from_secs(2);

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
    Flushed,
    /// Something was received.
    Received(Event),
}

/// The running task.
#[derive(Debug)]
pub struct Link {
    events: mpsc::UnboundedReceiver<LinkEvent>,
    due: Arc<Notify>,
    leave: Arc<Notify>,
    task: JoinHandle<()>,
}

impl Link {
    /// Starts the task, with a connection if there is one already.
    pub fn start(client: Client, connection: Option<Connection>) -> Self {
        // Unbounded: every event is a row of the store already, and the reader is a screen that keeps up.
        let (tell, events) = mpsc::unbounded_channel();
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
        self.leave.notify_one();
        let abort = self.task.abort_handle();
        if tokio::time::timeout(FAREWELL, self.task).await.is_err() {
            abort.abort();
        }
    }
}

struct Worker {
    client: Client,
    tell: mpsc::UnboundedSender<LinkEvent>,
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
                    self.tell(LinkEvent::Connected);
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
            if !error.is_connection() {
                self.tell(LinkEvent::Failed { error });
                return;
            }
            self.tell(LinkEvent::Offline { error });
            tokio::select! {
                () = tokio::time::sleep(pause) => pause = (pause * 2).min(LONGEST_PAUSE),
                () = leave.notified() => return,
            }
        }
    }

    /// Receives and sends until the connection is of no more use.
    async fn stay(&self, connection: &Connection) -> Error {
        self.due.notify_one();
        let sending = async {
            loop {
                self.due.notified().await;
                self.flush(connection).await;
            }
        };
        let receiving = async {
            let follow = ReceiveOptions { follow: true, ..ReceiveOptions::default() };
            loop {
                let ended = self.client.receive(connection, follow, |event| {
                    if matches!(event, Event::Reconnected) {
                        self.due.notify_one();
                    }
                    self.tell(LinkEvent::Received(event));
                    ControlFlow::Continue(())
                });
                match ended.await {
                    Err(error @ Error::Displaced) => {
                        self.tell(LinkEvent::Displaced { error });
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

    async fn flush(&self, connection: &Connection) {
        let report = self.client.flush(connection, |accepted| self.tell(LinkEvent::Accepted(accepted.clone()))).await;
        // An error of the connection is the receiving loop's to notice; the outbox keeps everything.
        if let Ok(report) = report {
            report.not_sent.into_iter().for_each(|not_sent| self.tell(LinkEvent::NotSent(not_sent)));
        }
        self.tell(LinkEvent::Flushed);
    }

    fn tell(&self, event: LinkEvent) {
        // Nobody listens any more while the chat is being left.
        let _ = self.tell.send(event);
    }
}

/// The sending loop has no end.
fn unreachable_error() -> Error {
    Error::Internal { what: "the sending loop ended" }
}
