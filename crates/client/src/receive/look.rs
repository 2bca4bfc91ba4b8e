//! A look at what waits, for a home that only sends.
//!
//! A home that was put back to an older state, or that lost a session in another way, writes what its contacts cannot open.
//! They say so (a reset, a receipt for a text that this home does not know), and a job that only runs `kuvert send` never
//! hears it. So before it sends it looks at what waits:
//!
//! ```text
//! deliveries ─► opened in a transaction ─► something that changes what is sent? ─► committed, acknowledged, told
//!                                       └► nothing of the kind ─► undone: all of it waits for the next `receive`
//! ```
//! What comes of it is what [`Connection::receive`] would have done: nothing that has not authenticated changes anything, and a
//! reset counts once an hour for each device. [KV-060]

use std::sync::Arc;
use std::time::Duration;

use kuvert_types::limits::DELIVERY_WINDOW;
use kuvert_wire::v1::{self, client_frame, server_frame};
use tokio::time::{Instant, timeout_at};

use super::incoming::Incoming;
use super::notices::Notices;
use super::open::open_batch;
use crate::connection::{AuthenticatedLink, Connection, Inbox};
use crate::disclosure;
use crate::error::Error;
use crate::event::Event;
use crate::home::Exclusive;
use crate::transport::Push;

/// How long a look keeps what is to be sent waiting, at most.
pub(super) const LOOK: Duration = Duration::from_secs(5);

/// Windows of deliveries that one look goes through. Behind a window that is full more may wait, and it is taken for good, so
/// that the next look sees what stands behind it.
const MAX_WINDOWS: usize = 4;

impl Connection {
    /// Hears what contacts say about sessions with this home (resets, receipts for texts that it does not know) before it
    /// sends; texts that come along are stored and count as not shown. If nothing of the kind waits, nothing changes and all
    /// mail goes on waiting for [`receive`](Self::receive). At once if nothing waits at all, or if another process receives:
    /// that one hears it. Takes five seconds at most. Can be dropped at any point without loss.
    ///
    /// # Errors
    /// Those of the connection and of the store.
    pub async fn look_for_resets(&self, mut on_event: impl FnMut(Event) + Send) -> Result<(), Error> {
        if let Some(ahead_ms) = self.engine().relay_clock().differs(self.engine().now()) {
            on_event(Event::ClocksDiffer { ahead_ms });
        }
        let established = self.link();
        if established.waiting == 0 || established.inbox() != Inbox::Detached {
            return Ok(());
        }
        let held = match self.engine().home().hold(Exclusive::Inbox, Duration::ZERO).await {
            Err(Error::StoreLocked { .. }) => return Ok(()),
            held => Arc::new(held?),
        };
        let deadline = Instant::now() + LOOK;
        // A receiver on this link attaches anew later: what was delivered here and not acknowledged comes again then.
        established.set_inbox(Inbox::InDoubt);
        match established.request(client_frame::Body::Attach(v1::Attach {})).await? {
            Ok(server_frame::Body::Attached(_)) => {}
            Ok(_) => return Err(Error::RelayProtocol { what: "no answer to attaching" }),
            Err(refusal) => return Err(refusal.into_error()),
        }
        let mut notices = Notices::default();
        for _ in 0..MAX_WINDOWS {
            let window = gather(&established, deadline).await?;
            let Some(up_to) = window.iter().map(|delivery| delivery.cursor).max() else { return Ok(()) };
            let full = window.len() >= DELIVERY_WINDOW;
            let until_committed = Arc::clone(&held);
            let opened = self.engine().attempt(move |tx| {
                let _until_committed = until_committed;
                let (own, opens_anonymous) = (tx.identity()?, disclosure::row(tx)?.opens_anonymous(tx.certain_now()));
                let check = |delivery| Incoming::check(&own.device, delivery, opens_anonymous);
                let opened = open_batch(tx, window.into_iter().map(check).collect())?;
                Ok((full || opened.events.iter().any(matters)).then_some(opened))
            });
            let opened = match opened.await {
                // Nothing was acknowledged: it comes again.
                Err(Error::StoreMended) => break,
                opened => opened?,
            };
            let Some(opened) = opened else { return Ok(()) };
            let heard = opened.events.iter().any(matters);
            for event in notices.sum_up(opened.events, Instant::now()) {
                // A text counts as not shown: the next `receive` shows it.
                if !matches!(event, Event::Message(_)) {
                    on_event(event);
                }
            }
            let acknowledge = client_frame::Body::Acknowledge(v1::Acknowledge { up_to });
            established.request(acknowledge).await?.map_err(crate::transport::RelayError::into_error)?;
            if heard || !full {
                break;
            }
        }
        for event in notices.take() {
            on_event(event);
        }
        Ok(())
    }
}

/// What changes how this home sends.
fn matters(event: &Event) -> bool {
    matches!(event, Event::SessionReset { .. } | Event::HomeBehind { .. })
}

/// What waits, up to a window's worth, as far as it comes in time.
async fn gather(established: &AuthenticatedLink, deadline: Instant) -> Result<Vec<v1::Delivery>, Error> {
    let mut window = Vec::new();
    while window.len() < DELIVERY_WINDOW {
        match timeout_at(deadline, established.link.next_push()).await {
            Ok(Ok(Push::Delivery(delivery))) => window.push(delivery),
            Ok(Err(error)) => return Err(error),
            Ok(Ok(Push::CaughtUp)) | Err(_) => break,
            // Another process receives now, and hears it; or the relay goes, and sending says so.
            Ok(Ok(Push::Displaced | Push::GoingAway)) => return Ok(Vec::new()),
        }
    }
    Ok(window)
}
