//! An authenticated connection to the relay: how it is made, and what is known on it.

use std::collections::HashSet;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use kuvert_types::authentication::{CHALLENGE_LEN, statement};
use kuvert_types::{AccountId, RelayUrl, label};
use kuvert_wire::v1::error::Code;
use kuvert_wire::v1::{self, client_frame, server_frame};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::disclosure;
use crate::engine::Engine;
use crate::error::Error;
use crate::event::Event;
use crate::identity::Identity;
use crate::patience::{BACKOFF, LONGEST_PATIENCE, jittered, millis};
use crate::people;
use crate::records::ReceiveEnd;
use crate::state::change_own;
use crate::transport::{Link, RelayError, dial};

/// An authenticated connection of one home to its relay. Cheap to clone; closed when the last clone is dropped.
///
/// It may be used for sending and receiving at the same time. When it breaks, requests fail with `connection-lost`. In
/// follow mode [`receive`](Self::receive) reconnects; all clones of this handle then use the new connection.
pub struct Connection {
    state: Arc<State>,
    /// What [`next_event`](Self::next_event) pulls from. Each handle has its own.
    pub(crate) pull: Option<Pull>,
}

/// A receiving loop that a handle pulls from. It ends with the handle.
pub(crate) struct Pull {
    /// What happened, one at a time: the next thing happens once the last one was taken.
    pub events: mpsc::Receiver<Event>,
    /// How it ended.
    pub task: JoinHandle<Result<ReceiveEnd, Error>>,
}

impl Drop for Pull {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Clone for Connection {
    fn clone(&self) -> Self {
        Self { state: Arc::clone(&self.state), pull: None }
    }
}

struct State {
    engine: Engine,
    /// Replaced as a whole by a reconnect.
    link: RwLock<Arc<AuthenticatedLink>>,
    /// Whose device list was compared with the relay's on this connection. Once is enough: a relay that wants to lie can
    /// wait.
    compared: Mutex<HashSet<AccountId>>,
    /// Closed on this side: it is not made anew.
    closed: AtomicBool,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let home = self.engine().home().directory();
        f.debug_struct("Connection").field("home", &home).field("waiting", &self.waiting()).finish_non_exhaustive()
    }
}

/// A link on which the relay knows this device.
#[derive(Debug)]
pub(crate) struct AuthenticatedLink {
    /// The stream.
    pub link: Link,
    /// What the relay said waits.
    pub waiting: u64,
    /// What the relay said expired, less what the user was told.
    pub expired: AtomicU64,
    /// What the relay said about mail that did not fit, until the user is told.
    pub full: Mutex<Option<v1::FullMailbox>>,
    /// Where the delivery of mail stands.
    pub inbox: Mutex<Inbox>,
    relay_time: u64,
    since: Instant,
}

/// How far the delivery of mail on one link has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Inbox {
    /// Nothing was asked for; or another connection took over.
    Detached,
    /// The relay delivers. Whether it said that nothing is left.
    Attached {
        /// See the variant.
        caught_up: bool,
    },
    /// Attaching is under way, or deliveries were taken from the queue and are not committed yet. A call that finds it like this
    /// (the one before was dropped) must not acknowledge anything on this link: that would delete what is stored nowhere.
    InDoubt,
}

impl AuthenticatedLink {
    /// Sends a request and waits for its answer.
    ///
    /// # Errors
    /// The link is broken, or the relay takes too long. The inner error: the relay says no.
    pub async fn request(&self, body: client_frame::Body) -> Result<Result<server_frame::Body, RelayError>, Error> {
        self.link.request(body).await
    }

    pub fn inbox(&self) -> Inbox {
        *self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn set_inbox(&self, state: Inbox) {
        *self.inbox.lock().unwrap_or_else(PoisonError::into_inner) = state;
    }

    /// The relay's clock, as far as is known.
    pub fn relay_now(&self) -> u64 {
        self.relay_time.saturating_add(u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX))
    }
}

impl Connection {
    pub(crate) fn new(engine: Engine, link: AuthenticatedLink) -> Self {
        let (link, compared) = (RwLock::new(Arc::new(link)), Mutex::default());
        Self { state: Arc::new(State { engine, link, compared, closed: AtomicBool::new(false) }), pull: None }
    }

    /// The home that it belongs to.
    pub(crate) fn engine(&self) -> &Engine {
        &self.state.engine
    }

    /// The link as it is now: a reconnect replaces it.
    pub(crate) fn link(&self) -> Arc<AuthenticatedLink> {
        Arc::clone(&self.state.link.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Sends a request and waits for its answer: [`AuthenticatedLink::request`].
    pub(crate) async fn request(
        &self,
        body: client_frame::Body,
    ) -> Result<Result<server_frame::Body, RelayError>, Error> {
        self.link().request(body).await
    }

    pub(crate) fn replace(&self, link: AuthenticatedLink) {
        *self.state.link.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(link);
        self.compared().clear();
    }

    /// See the field.
    pub(crate) fn compared(&self) -> MutexGuard<'_, HashSet<AccountId>> {
        self.state.compared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Envelopes that waited for this device when the connection was made.
    pub fn waiting(&self) -> u64 {
        self.link().waiting
    }

    /// Waits until the connection is of no use any more; why. For those that only send over it now and then: receiving notices by
    /// itself, and makes it anew in follow mode. Can be dropped at any point.
    pub async fn lost(&self) -> Error {
        self.link().link.end().await
    }

    /// Says goodbye to the relay and waits until it was heard, at most a second. Dropping works too, less politely.
    pub async fn close(self) {
        self.state.closed.store(true, Ordering::Release);
        self.link().link.close().await;
    }

    /// Whether it was closed on this side.
    pub(crate) fn is_closed(&self) -> bool {
        self.state.closed.load(Ordering::Acquire)
    }
}

/// Connects, checks the relay's fingerprint, authenticates.
///
/// # Errors
/// `account-deleted`, `relay-unreachable`, `relay-fingerprint`, `authentication-failed`, …
pub(crate) async fn establish(engine: &Engine) -> Result<AuthenticatedLink, Error> {
    let own = engine.identity().await?;
    own.must_exist()?;
    establish_at(engine, &own, &own.relay).await
}

/// As [`establish`], after an error that passes: a fresh link, and the pause that a next break begins with.
///
/// # Errors
/// What time does not heal.
pub(crate) async fn establish_patiently(
    engine: &Engine,
    mut pause: Duration,
    after: &Error,
) -> Result<(AuthenticatedLink, Duration), Error> {
    let mut asked = after.patience();
    loop {
        let wait = jittered(pause).max(asked.min(LONGEST_PATIENCE));
        tracing::info!(code = after.code(), milliseconds = millis(wait), "trying again after a pause");
        sleep(wait).await;
        pause = (pause * 2).min(BACKOFF.1);
        match establish(engine).await {
            Ok(link) => return Ok((link, pause)),
            Err(error) if error.passes() => asked = error.patience(),
            Err(error) => return Err(error),
        }
    }
}

/// As [`establish`], at an address of the relay's that is not stored yet.
///
/// # Errors
/// As [`establish`].
pub(crate) async fn establish_at(
    engine: &Engine,
    own: &Identity,
    relay: &RelayUrl,
) -> Result<AuthenticatedLink, Error> {
    let begun = Instant::now();
    let link = greet(engine, own, relay).await?;
    disclosure::settle(engine).await?;
    people::settle(engine, &link.link).await?;
    tracing::info!(waiting = link.waiting, milliseconds = millis(begun.elapsed()), "connected, and known to the relay");
    Ok(link)
}

/// Connects, checks the relay's fingerprint, authenticates, and tells the relay nothing beyond.
///
/// # Errors
/// As [`establish`].
pub(crate) async fn greet(engine: &Engine, own: &Identity, relay: &RelayUrl) -> Result<AuthenticatedLink, Error> {
    let link = dial(relay, engine.options()).await?;
    let signature = sign_challenge(own, &link).await?;
    let body = client_frame::Body::Authenticate(v1::Authenticate {
        address: Some(kuvert_wire::checked::to_wire(&own.address)),
        signature,
    });
    let link = match link.request(body).await? {
        Ok(body) => authenticated(link, body)?,
        // The relay did what it was asked, and its answer got lost.
        Err(refusal) if refusal.code == Code::AuthenticationFailed && own.deletion_asked_at != 0 => {
            note_deletion(engine).await?;
            return Err(Error::AccountDeleted);
        }
        Err(refusal) => return Err(refusal.into_error()),
    };
    engine.relay_clock().heard(link.relay_now());
    Ok(link)
}

/// Notes that the account is no more.
///
/// # Errors
/// Those of the store.
pub(crate) async fn note_deletion(engine: &Engine) -> Result<(), Error> {
    engine
        .write(|tx| {
            let now = tx.now().max(1);
            change_own(tx, |row| row.deleted_at = now)
        })
        .await
}

/// Says Hello, and notes what the relay offers.
pub(crate) async fn challenge(link: &Link) -> Result<[u8; CHALLENGE_LEN], Error> {
    let hello = client_frame::Body::Hello(v1::Hello { version: kuvert_wire::VERSION });
    let v1::Challenge { challenge, extensions, max_blob_bytes } = match link.request(hello).await? {
        Ok(server_frame::Body::Challenge(challenge)) => challenge,
        Ok(_) => return Err(Error::RelayProtocol { what: "no challenge" }),
        Err(refusal) => return Err(refusal.into_error()),
    };
    link.note_extensions(extensions);
    link.note_max_blob_bytes(max_blob_bytes);
    challenge.as_ref().try_into().map_err(|_| Error::RelayProtocol { what: "challenge of another length" })
}

/// Asks for the challenge and signs it for this connection.
pub(crate) async fn sign_challenge(own: &Identity, link: &Link) -> Result<bytes::Bytes, Error> {
    let challenge = challenge(link).await?;
    let exporter = link.exporter(label::TLS_EXPORTER, &challenge)?;
    let statement = statement(&own.address, &challenge, &exporter);
    let signature = own.device.secrets().sign_authentication(&statement);
    Ok(bytes::Bytes::copy_from_slice(signature.as_bytes()))
}

/// The link, as the relay welcomes this device.
pub(crate) fn authenticated(link: Link, body: server_frame::Body) -> Result<AuthenticatedLink, Error> {
    let server_frame::Body::Authenticated(v1::Authenticated { waiting, waiting_bytes: _, expired, relay_time, full }) =
        body
    else {
        return Err(Error::RelayProtocol { what: "no welcome" });
    };
    Ok(AuthenticatedLink {
        link,
        waiting,
        expired: AtomicU64::new(expired),
        full: Mutex::new(full),
        inbox: Mutex::new(Inbox::Detached),
        relay_time,
        since: Instant::now(),
    })
}

impl AuthenticatedLink {
    /// What the relay said about mail that did not fit; `None` from now on.
    pub fn take_full(&self) -> Option<v1::FullMailbox> {
        self.full.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// How many envelopes expired that the user was not told of; 0 from now on.
    pub fn take_expired(&self) -> u64 {
        self.expired.swap(0, Ordering::Relaxed)
    }
}
