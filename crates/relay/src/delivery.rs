//! Delivery: sends a mailbox to the device that attached, in the order of arrival, and never more than
//! [`DELIVERY_WINDOW`] envelopes ahead of the acknowledgements.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kuvert_types::limits::DELIVERY_WINDOW;
use kuvert_wire::checked::Envelope;
use kuvert_wire::v1;
use kuvert_wire::v1::server_frame::Body as Response;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::device::AuthenticatedDevice;
use crate::observe::Event;
use crate::presence::{Attachment, WakeUp};
use crate::store::{Cursor, Page, StoredEnvelope};

/// Wake-ups are hints and may be lost: the mailbox is also read this often.
const POLL: Duration = Duration::from_secs(60);

/// Pause after the store could not be read.
const STORE_PAUSE: Duration = Duration::from_secs(5);

/// Bytes of ciphertext read from the store at once. With the one page that waits for the writer and the writer's own
/// buffer this bounds what a slow reader holds in memory.
const PAGE_BYTES: usize = 64 * 1024;

/// A connection's delivery, before, while and after it runs.
#[derive(Debug)]
pub struct Delivery {
    outbox: mpsc::Sender<Vec<Response>>,
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    window: Arc<Window>,
    task: JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// This connection is attached already.
#[derive(Debug)]
pub struct AlreadyAttached;

impl Delivery {
    /// Not attached.
    pub fn new(outbox: mpsc::Sender<Vec<Response>>) -> Self {
        Self { outbox, running: None }
    }

    /// Attaches to the caller's mailbox. Nothing is delivered before something is sent on what is returned.
    ///
    /// # Errors
    /// It is attached, and was not displaced since.
    pub fn start(&mut self, caller: &AuthenticatedDevice) -> Result<oneshot::Sender<()>, AlreadyAttached> {
        if self.running.as_ref().is_some_and(|running| !running.task.is_finished()) {
            return Err(AlreadyAttached);
        }
        let (go, start) = oneshot::channel();
        let window = Arc::new(Window::default());
        let deliver = Deliver {
            attachment: caller.service.presence.attach(caller.device),
            caller: caller.clone(),
            window: Arc::clone(&window),
            outbox: self.outbox.clone(),
        };
        caller.service.observe(Event::Attached { connection: caller.connection, device: caller.device });
        let task = tokio::spawn(async move {
            if start.await.is_ok() {
                deliver.run().await;
            }
        });
        self.running = Some(Running { window, task });
        Ok(go)
    }

    /// Notes an acknowledgement. `false` if it is for more than was delivered on this connection.
    pub fn acknowledge(&mut self, up_to: u64) -> bool {
        self.running.as_ref().is_some_and(|running| running.window.acknowledge(up_to))
    }
}

/// What is under way to the client.
#[derive(Debug, Default)]
struct Window {
    sent: Mutex<Sent>,
    freed: Notify,
}

#[derive(Debug, Default)]
struct Sent {
    unacknowledged: VecDeque<u64>,
    last: u64,
}

impl Window {
    fn with<T>(&self, act: impl FnOnce(&mut Sent) -> T) -> T {
        act(&mut self.sent.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn room(&self) -> usize {
        self.with(|sent| DELIVERY_WINDOW.saturating_sub(sent.unacknowledged.len()))
    }

    fn send(&self, cursors: impl Iterator<Item = u64>) {
        self.with(|sent| {
            sent.unacknowledged.extend(cursors);
            sent.last = sent.unacknowledged.back().copied().unwrap_or(sent.last);
        });
    }

    fn acknowledge(&self, up_to: u64) -> bool {
        let known = self.with(|sent| {
            let covered = sent.unacknowledged.partition_point(|cursor| *cursor <= up_to);
            if up_to <= sent.last {
                sent.unacknowledged.drain(..covered);
            }
            up_to <= sent.last
        });
        if known {
            self.freed.notify_one();
        }
        known
    }
}

struct Deliver {
    caller: AuthenticatedDevice,
    attachment: Attachment,
    window: Arc<Window>,
    outbox: mpsc::Sender<Vec<Response>>,
}

/// Why the delivery paused, and what the wait ended with.
enum Next {
    Read,
    Displaced,
}

impl Deliver {
    /// Until displaced, or until the deliveries are not taken any more.
    async fn run(self) {
        let mut after = Cursor::START;
        // The client is told once that nothing is left, and again whenever something came in between.
        let mut caught_up = false;
        loop {
            let room = self.window.room();
            if room == 0 {
                match self.wait_for_room().await {
                    Next::Read => continue,
                    Next::Displaced => return self.displaced().await,
                }
            }
            let page = match self.caller.service.store.read(self.caller.device, after, room, PAGE_BYTES).await {
                Ok(page) => page,
                Err(error) => {
                    tracing::warn!(connection = %self.caller.connection, error = error.kind(), "a mailbox could not be read");
                    match self.wait(STORE_PAUSE).await {
                        Next::Read => continue,
                        Next::Displaced => return self.displaced().await,
                    }
                }
            };
            after = page.envelopes.last().map_or(after, |last| last.cursor);
            caught_up &= page.envelopes.is_empty();
            let more = page.more;
            let mut bodies = self.deliver(page);
            if !more && !caught_up {
                caught_up = true;
                bodies.push(Response::CaughtUp(v1::CaughtUp {}));
            }
            if !bodies.is_empty() && self.outbox.send(bodies).await.is_err() {
                return;
            }
            if !more && matches!(self.wait(POLL).await, Next::Displaced) {
                return self.displaced().await;
            }
        }
    }

    /// Until a wake-up, or at most `limit`.
    async fn wait(&self, limit: Duration) -> Next {
        match timeout(limit, self.attachment.next()).await {
            Ok(WakeUp::Displaced) => Next::Displaced,
            Ok(WakeUp::Mail) | Err(_) => Next::Read,
        }
    }

    async fn wait_for_room(&self) -> Next {
        loop {
            tokio::select! {
                () = self.window.freed.notified() => return Next::Read,
                // Mail can wait: it is read when there is room.
                wakeup = self.attachment.next() => if wakeup == WakeUp::Displaced {
                    return Next::Displaced;
                },
            }
        }
    }

    fn deliver(&self, page: Page) -> Vec<Response> {
        self.window.send(page.envelopes.iter().map(|envelope| envelope.cursor.get()));
        page.envelopes.into_iter().map(|envelope| self.deliver_one(envelope)).collect()
    }

    fn deliver_one(&self, envelope: StoredEnvelope) -> Response {
        let AuthenticatedDevice { service, device, connection } = &self.caller;
        let StoredEnvelope { cursor, id, source, accepted_at, ciphertext } = envelope;
        service.metrics.delivered();
        service.observe(Event::Delivered {
            connection: *connection,
            device: *device,
            id,
            cursor: cursor.get(),
            size: ciphertext.len(),
        });
        let envelope = Envelope { id, recipient: *device, source, ciphertext };
        Response::Delivery(v1::Delivery { cursor: cursor.get(), envelope: Some(envelope.into()), accepted_at })
    }

    async fn displaced(self) {
        let AuthenticatedDevice { service, device, connection } = &self.caller;
        service.observe(Event::Displaced { connection: *connection, device: *device });
        // An error means that the connection has ended: nobody is there to be told.
        let _ = self.outbox.send(vec![Response::Displaced(v1::Displaced {})]).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_counts_what_is_not_acknowledged() {
        let window = Window::default();
        assert!(!window.acknowledge(1), "nothing was delivered");
        window.send((1..=DELIVERY_WINDOW as u64).map(|n| n * 10));
        assert_eq!(window.room(), 0);
        assert!(!window.acknowledge(DELIVERY_WINDOW as u64 * 10 + 1));
        assert_eq!(window.room(), 0);
        assert!(window.acknowledge(25));
        assert_eq!(window.room(), 2);
        assert!(window.acknowledge(25), "a repetition changes nothing");
        assert_eq!(window.room(), 2);
        assert!(window.acknowledge(DELIVERY_WINDOW as u64 * 10));
        assert_eq!(window.room(), DELIVERY_WINDOW);
    }
}
