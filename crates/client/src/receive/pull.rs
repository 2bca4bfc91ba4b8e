//! Events that are pulled, one at a time, by the holder of a connection.

use std::ops::ControlFlow;

use tokio::sync::mpsc;

use crate::connection::{Connection, Pull};
use crate::error::Error;
use crate::event::{Event, EventSink};
use crate::options::ReceiveOptions;

/// Hands events over. One waits to be taken, and the next is awaited only then: a reader that pauses makes the whole way back
/// to the relay pause.
struct Handing(mpsc::Sender<Event>);

impl EventSink for Handing {
    async fn event(&mut self, event: Event) -> ControlFlow<()> {
        match self.0.send(event).await {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    }
}

impl Connection {
    /// The next thing that happens: texts that were stored and never marked as shown, then mail that waits, then mail that
    /// comes; receipts, requests, and the rest of [`Event`]. The first call begins to receive in follow mode: the connection is
    /// made anew when the relay goes away. Receipts are sent, and the outbox is flushed with them.
    ///
    /// An [`Event::Message`] counts as not shown until [`mark_read`](crate::Client::mark_read) or
    /// [`mark_shown`](crate::Client::mark_shown) says so, and comes again with the next connection. Can be dropped at any point
    /// without loss. Gives `None` once a clone of this handle was closed.
    ///
    /// # Errors
    /// [`Error::Displaced`] when another process of this account receives; those of the store. The next call begins anew.
    pub async fn next_event(&mut self) -> Result<Option<Event>, Error> {
        if self.pull.is_none() && self.is_closed() {
            return Ok(None);
        }
        let begun = self.pull.take().unwrap_or_else(|| self.begin_to_pull());
        // It stays there while this waits: the call may be dropped.
        let pull = self.pull.insert(begun);
        if let Some(event) = pull.events.recv().await {
            return Ok(Some(event));
        }
        let ended = (&mut pull.task).await;
        self.pull = None;
        match ended {
            Ok(Err(_)) if self.is_closed() => Ok(None),
            Ok(Err(error)) => Err(error),
            Ok(Ok(_)) => Ok(None),
            Err(_) => Err(Error::Internal { what: "receiving panicked" }),
        }
    }

    fn begin_to_pull(&self) -> Pull {
        let (hand, events) = mpsc::channel(1);
        let connection = self.clone();
        let follow = ReceiveOptions { follow: true, ..ReceiveOptions::default() };
        let task = tokio::spawn(async move { connection.receive_into(follow, Handing(hand)).await });
        Pull { events, task }
    }
}
