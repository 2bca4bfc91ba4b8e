//! Presence over all nodes of a cluster.
//!
//! Where a device is attached is a fact that the store keeps ([`Registry`]): whichever node attaches it last has it, and the one that
//! had it before is told, and tells its connection. What nodes tell one another beside that are hints: each knows, for as long as
//! its links stand, which devices are attached at the others, and wakes them there. A hint that is lost costs time and no mail:
//! each attached device also reads its mailbox once a minute, and when a link comes up again, both nodes say what is attached at
//! theirs, and where both have the same device, the store decides.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use kuvert_relay::others::{Listener, Others};
use kuvert_relay::presence::{Attachment, LocalPresence, Login, Presence, Signal};
use kuvert_relay::store::{Pending, StoreError, Unavailable};
use kuvert_types::{AccountId, Address};
use tokio::runtime::Handle;
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, sleep};

use crate::mesh::{Frame, Handler, Mesh, Node};

/// Devices that are attached at other nodes, as many as are remembered. For more, wake-ups wait for the poll.
pub const MAX_REMOTE: usize = 4 << 20;

/// Mailboxes that got mail lately and were attached nowhere, in two parts of this size.
pub const MAX_RECENT: usize = 32_768;

/// How long each of them is remembered at least: longer than the word that a device attached takes from node to node.
const RECENT: Duration = Duration::from_secs(5);

/// Bytes that other nodes say of limits before the relay has started.
const MAX_EARLY: usize = 8 * 1024 * 1024;

/// Between two tries to write down where a device is attached: at first, and at most.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// Where devices are attached, in the store.
pub trait Registry: fmt::Debug + Send + Sync + 'static {
    /// This device is attached at this node from now on, under this number. Says where it was before, unless that node is gone.
    fn attach(&self, device: Address, number: u64) -> Pending<Option<(Node, u64)>, StoreError>;

    /// It is no more, unless it is attached elsewhere by now.
    fn detach(&self, device: Address, number: u64) -> Pending<(), StoreError>;

    /// Where it is attached.
    fn attached(&self, device: Address) -> Pending<Option<(Node, u64)>, StoreError>;
}

/// What answers requests of other nodes.
pub trait Serve: fmt::Debug + Send + Sync + 'static {
    /// Answers one. See [`Handler::serve`].
    fn serve(&self, slot: u16, request: Bytes) -> Pending<Bytes, StoreError>;
}

/// Presence over all nodes. Cheap to clone.
#[derive(Clone)]
pub struct ClusterPresence(Arc<Inner>);

impl fmt::Debug for ClusterPresence {
    // What it knows are addresses.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClusterPresence").finish_non_exhaustive()
    }
}

struct Inner {
    me: Node,
    registry: Arc<dyn Registry>,
    logins: LocalPresence,
    here: Mutex<HashMap<Address, Here>>,
    elsewhere: Mutex<HashMap<Address, (Node, u64)>>,
    recent: Mutex<Recent>,
    next: AtomicU64,
    runtime: Handle,
    mesh: Mutex<Option<Mesh>>,
    serve: Mutex<Option<Arc<dyn Serve>>>,
    look: Notify,
    hearing: Mutex<Hearing>,
}

/// Who hears what other nodes say of limits.
enum Hearing {
    /// Not yet: the relay starts. What was said meanwhile, at most [`MAX_EARLY`] bytes of it.
    Early(Vec<Bytes>),
    By(Weak<dyn Listener>),
}

/// A device that is attached at this node.
struct Here {
    number: u64,
    signal: Arc<Signal>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What they guard is whole after every statement, so a panic elsewhere does not spoil it.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl ClusterPresence {
    /// Of one node. Within the runtime that is to write down who is attached.
    pub fn new(me: Node, registry: Arc<dyn Registry>) -> Self {
        Self(Arc::new(Inner {
            me,
            registry,
            logins: LocalPresence::default(),
            here: Mutex::default(),
            elsewhere: Mutex::default(),
            recent: Mutex::new(Recent::new(Instant::now())),
            next: AtomicU64::new(1),
            runtime: Handle::current(),
            mesh: Mutex::default(),
            serve: Mutex::default(),
            look: Notify::new(),
            hearing: Mutex::new(Hearing::Early(vec![])),
        }))
    }

    /// Speaks to the other nodes through these links from now on; `None`: no more.
    pub fn set_mesh(&self, mesh: Option<Mesh>) {
        *lock(&self.0.mesh) = mesh;
    }

    /// Has requests of other nodes answered by this from now on; `None`: they are refused.
    pub fn set_serve(&self, serve: Option<Arc<dyn Serve>>) {
        *lock(&self.0.serve) = serve;
    }

    /// Waits until another node says that slots changed hands.
    pub async fn look(&self) {
        self.0.look.notified().await;
    }

    /// Devices that are attached at this node.
    pub fn count(&self) -> usize {
        lock(&self.0.here).len()
    }
}

impl Inner {
    fn mesh(&self) -> Option<Mesh> {
        lock(&self.mesh).clone()
    }

    fn listener(&self) -> Option<Arc<dyn Listener>> {
        match &*lock(&self.hearing) {
            Hearing::Early(_) => None,
            Hearing::By(listener) => listener.upgrade(),
        }
    }

    fn tell_all(&self, frame: &Frame) {
        if let Some(mesh) = self.mesh() {
            mesh.hint_all(frame);
        }
    }

    fn tell(&self, node: u16, frame: Frame) {
        if let Some(mesh) = self.mesh() {
            mesh.hint(node, frame);
        }
    }

    fn detach(&self, device: &Address, number: u64) {
        let mut here = lock(&self.here);
        // An attachment that displaced this one stays.
        if here.get(device).is_some_and(|current| current.number == number) {
            here.remove(device);
            drop(here);
            self.tell_all(&Frame::Detached(*device, number));
        }
    }

    /// Displaces an attachment, unless it is newer than this number.
    fn displace(&self, device: &Address, up_to: u64) {
        if let Some(current) = lock(&self.here).get(device).filter(|current| current.number <= up_to) {
            current.signal.displace();
        }
    }

    fn is_here(&self, device: &Address, number: u64) -> bool {
        lock(&self.here).get(device).is_some_and(|current| current.number == number)
    }

    /// Writes down that a device is attached here, and when it has left, that it is no more. One after the other, so that the second
    /// does not overtake the first.
    async fn write_down(self: Arc<Self>, device: Address, number: u64, left: oneshot::Receiver<()>) {
        let mut pause = PAUSE.0;
        loop {
            match self.registry.attach(device, number).await {
                // This process has displaced its own already.
                Ok(Some((before, _))) if before == self.me => break,
                Ok(Some((before, theirs))) => {
                    self.tell(before.id, Frame::Displaced(device, theirs));
                    break;
                }
                Ok(None) => break,
                Err(error) => {
                    tracing::warn!(error = error.kind(), "where a device is attached could not be written down yet");
                    sleep(pause).await;
                    pause = (pause * 2).min(PAUSE.1);
                    if !self.is_here(&device, number) {
                        return;
                    }
                }
            }
        }
        // Both mean that it has left.
        let _ = left.await;
        // What stays is an old number of this node's: whoever attaches next displaces nothing by it.
        if let Err(error) = self.registry.detach(device, number).await {
            tracing::debug!(error = error.kind(), "that a device is attached no more could not be written down");
        }
    }

    /// Asks the store who has a device that two nodes believe to have.
    async fn decide(self: Arc<Self>, device: Address, number: u64) {
        match self.registry.attached(device).await {
            Ok(Some((node, _))) if node == self.me => {}
            Ok(Some(_)) => self.displace(&device, number),
            // It is not written down yet, by either: the later one will tell the other.
            Ok(None) => {}
            Err(error) => tracing::debug!(error = error.kind(), "who has a device could not be asked"),
        }
    }
}

impl Presence for ClusterPresence {
    fn attach(&self, mailbox: Address) -> Attachment {
        let inner = &self.0;
        let number = inner.next.fetch_add(1, Ordering::Relaxed);
        let signal = Arc::new(Signal::default());
        let new = Here { number, signal: Arc::clone(&signal) };
        if let Some(before) = lock(&inner.here).insert(mailbox, new) {
            before.signal.displace();
        }
        inner.tell_all(&Frame::Attached(mailbox, number));
        let (leave, left) = oneshot::channel();
        inner.runtime.spawn(Arc::clone(inner).write_down(mailbox, number, left));
        let inner = Arc::clone(inner);
        Attachment::new(signal, move || {
            inner.detach(&mailbox, number);
            drop(leave);
        })
    }

    fn notify(&self, mailbox: &Address) {
        let here = lock(&self.0.here).get(mailbox).map(|here| Arc::clone(&here.signal));
        let elsewhere = lock(&self.0.elsewhere).get(mailbox).copied();
        match (&here, elsewhere) {
            // The word that it has just attached somewhere may be on its way.
            (None, None) => lock(&self.0.recent).note(*mailbox, Instant::now()),
            (_, Some((node, _))) => self.0.tell(node.id, Frame::Mail(*mailbox)),
            (Some(_), None) => {}
        }
        if let Some(signal) = here {
            signal.mail();
        }
    }

    fn enter(&self, device: Address) -> Login {
        self.0.logins.enter(device)
    }

    fn ended(&self) -> u64 {
        self.0.logins.ended()
    }

    fn end(&self, account: &AccountId) {
        self.0.logins.end(account);
        self.0.tell_all(&Frame::Ended(*account));
    }

    fn end_device(&self, device: &Address) {
        self.0.logins.end_device(device);
        self.0.tell_all(&Frame::Dropped(*device));
    }
}

impl Handler for ClusterPresence {
    fn attached(&self, at: Node, device: Address, number: u64) {
        let inner = &self.0;
        let mut elsewhere = lock(&inner.elsewhere);
        if elsewhere.len() < MAX_REMOTE || elsewhere.contains_key(&device) {
            elsewhere.insert(device, (at, number));
        }
        drop(elsewhere);
        if lock(&inner.recent).has(&device, Instant::now()) {
            inner.tell(at.id, Frame::Mail(device));
        }
        let ours = lock(&inner.here).get(&device).map(|here| here.number);
        if let Some(ours) = ours {
            inner.runtime.spawn(Arc::clone(inner).decide(device, ours));
        }
    }

    fn detached(&self, at: Node, device: &Address, number: u64) {
        let mut elsewhere = lock(&self.0.elsewhere);
        if elsewhere.get(device) == Some(&(at, number)) {
            elsewhere.remove(device);
        }
    }

    fn mail(&self, device: &Address) {
        let here = lock(&self.0.here).get(device).map(|here| Arc::clone(&here.signal));
        if let Some(signal) = here {
            signal.mail();
        }
    }

    fn displaced(&self, device: &Address, number: u64) {
        self.0.displace(device, number);
    }

    fn ended(&self, account: &AccountId) {
        self.0.logins.end(account);
    }

    fn dropped(&self, device: &Address) {
        self.0.logins.end_device(device);
    }

    fn look(&self) {
        self.0.look.notify_one();
    }

    fn told(&self, words: Bytes) {
        if let Hearing::Early(early) = &mut *lock(&self.0.hearing) {
            if early.iter().map(Bytes::len).sum::<usize>() + words.len() <= MAX_EARLY {
                early.push(words);
            }
            return;
        }
        if let Some(listener) = self.0.listener() {
            listener.hear(&words);
        }
    }

    fn gone(&self, at: Node) {
        lock(&self.0.elsewhere).retain(|_, (node, _)| *node != at);
    }

    fn serve(&self, slot: u16, request: Bytes) -> Pending<Bytes, StoreError> {
        let serve = lock(&self.0.serve).clone();
        match serve {
            Some(serve) => serve.serve(slot, request),
            None => Pending::ready(Err(Unavailable::Stopped.into())),
        }
    }

    fn here(&self) -> Vec<(Address, u64)> {
        lock(&self.0.here).iter().map(|(device, here)| (*device, here.number)).collect()
    }

    fn summary(&self) -> Vec<Bytes> {
        self.0.listener().map(|listener| listener.summary()).unwrap_or_default()
    }
}

/// Limits over all nodes go over the same links.
impl Others for ClusterPresence {
    fn tell(&self, words: Bytes) {
        self.0.tell_all(&Frame::Told(words));
    }

    fn listen(&self, listener: Weak<dyn Listener>) {
        let before = std::mem::replace(&mut *lock(&self.0.hearing), Hearing::By(listener));
        let Some(listener) = self.0.listener() else { return };
        if let Hearing::Early(early) = before {
            early.iter().for_each(|words| listener.hear(words));
        }
        // Those that were reached before have had none.
        listener.summary().into_iter().for_each(|words| self.tell(words));
    }
}

/// Mailboxes that got mail lately and were attached nowhere.
struct Recent {
    since: Instant,
    now: HashSet<Address>,
    before: HashSet<Address>,
}

impl Recent {
    fn new(now: Instant) -> Self {
        Self { since: now, now: HashSet::new(), before: HashSet::new() }
    }

    fn turn(&mut self, now: Instant) {
        let old = now.saturating_duration_since(self.since);
        if old >= RECENT {
            self.before = if old < RECENT * 2 { std::mem::take(&mut self.now) } else { HashSet::new() };
            self.now.clear();
            self.since = now;
        }
    }

    fn note(&mut self, mailbox: Address, now: Instant) {
        self.turn(now);
        if self.now.len() < MAX_RECENT {
            self.now.insert(mailbox);
        }
    }

    fn has(&mut self, mailbox: &Address, now: Instant) -> bool {
        self.turn(now);
        self.now.contains(mailbox) || self.before.contains(mailbox)
    }
}

#[cfg(test)]
mod tests {
    use kuvert_types::DeviceId;

    use super::*;

    #[test]
    fn what_is_recent_is_forgotten_and_bounded() {
        let device = |n: u32| {
            let mut id = [0; 16];
            id[..4].copy_from_slice(&n.to_be_bytes());
            Address { account: AccountId::from_bytes(id), device: DeviceId::PRIMARY }
        };
        let start = Instant::now();
        let mut recent = Recent::new(start);
        recent.note(device(1), start);
        assert!(recent.has(&device(1), start + RECENT - Duration::from_millis(1)));
        assert!(recent.has(&device(1), start + RECENT), "at least so long");
        assert!(!recent.has(&device(1), start + RECENT * 3));
        let later = start + RECENT * 3;
        for n in 0..u32::try_from(MAX_RECENT).unwrap() + 10 {
            recent.note(device(n), later);
        }
        assert_eq!(recent.now.len(), MAX_RECENT);
        recent.note(device(7), later + RECENT * 9);
        assert_eq!((recent.now.len(), recent.before.len()), (1, 0));
    }
}
