//! The store: operations to lanes, to the few connections for what is in no order, or to another node.
//!
//! | module | holds |
//! |---|---|
//! | [`lane`] | one connection that writes mailboxes, with its queue |
//! | [`command`] | what a lane is asked |
//! | [`cache`] | what a lane keeps in memory to judge with |
//! | [`submit`] | envelopes: submit, acknowledge |
//! | [`accounts`] | accounts and devices |
//! | [`prekeys`] | the prekey directory |
//! | [`peer`] | commands for other nodes, and theirs for this one |
//! | [`whole`] | reading, expiry, sums, the time, rewriting the keys |
//! | [`days`] | the parts of the table of envelopes |
//! | [`mod@column`] | columns to and from the types of the store |

pub mod accounts;
pub mod cache;
pub mod column;
pub mod command;
pub mod days;
pub mod lane;
pub mod peer;
pub mod prekeys;
pub mod submit;
pub mod whole;

use std::fmt;
use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use kuvert_relay::store::{
    AccountBy, AccountChange, AccountRecord, Bundle, Cursor, DeviceRecord, FullMailbox, Gauges, KnownTime, NewAccount,
    NewEnvelope, NewInvitation, NewPrekeys, NumberedDeviceList, Page, Pending, PrekeyCounts, PublishPrekeysError,
    RegisterError, ReplaceDeviceListError, Session, SetBlockedError, Stats, Store, StoreError, StoreFiles,
    StoredAccessKey, SubmitError, Submitted, TakeBundleError, Times, Unavailable, UpdateAccountError, Waiting,
};
use kuvert_types::limits::MAX_CIPHERTEXT_BYTES;
use kuvert_types::{AccessKeyHash, AccountId, Address, DeviceId};
use prost::Message as _;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{interval, sleep};

use self::cache::SharedCache;
use self::command::{Acknowledge, Change, Command, Room, Submit, Tries};
use self::days::Days;
use self::lane::{Cursors, Lane};
use crate::cluster::{Node, NodeId};
use crate::link::{Door, Lent, Pool};
use crate::outcome::Fault;
use crate::slot::{self, SLOTS, Slot};
use crate::threads::Spawn;
use crate::{Peers, Postgres};

/// How long a full disk is believed without looking again.
const FULL_FOR: Duration = Duration::from_secs(5);

/// How often the keys of deleted mail are dropped, at most.
const REWRITE_EVERY: Duration = Duration::from_secs(60);

/// And at most one part in so many of the time is spent with that: those who write wait for it.
const REWRITE_PART: u32 = 20;

/// How long sums are told again that took long to add up, in multiples of that.
const SUMS_FOR: u32 = 100;

/// Sums that took less are added up anew.
const SUMS_SOON: Duration = Duration::from_millis(50);

/// How long a command waits for another node before it is sent again.
const PEER_PAUSE: Duration = Duration::from_millis(100);

/// Where a slot is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Route {
    /// By a lane of this node.
    Here,
    /// By another node.
    There(NodeId),
    /// By none that is known.
    None,
}

/// What lanes and sessions share.
pub struct Core {
    pub door: Door,
    pub pool: Pool,
    pub spawn: Spawn,
    pub cursors: Cursors,
    pub days: Days,
    node: Mutex<Node>,
    lanes: i16,
    routes: RwLock<Vec<Route>>,
    queues: RwLock<Option<Vec<UnboundedSender<Command>>>>,
    caches: Vec<SharedCache>,
    running: Mutex<Vec<JoinHandle<()>>>,
    stopping: tokio::sync::Mutex<()>,
    queued: Arc<AtomicU64>,
    /// Until when new mail is refused for want of room.
    full: Mutex<Option<Instant>>,
    /// Another relay took this one's place.
    superseded: AtomicBool,
    peers: RwLock<Option<Arc<dyn Peers>>>,
    /// When it was last looked who holds what.
    looked: tokio::sync::Mutex<Option<Instant>>,
    /// Rows were deleted whose keys are still in the file.
    dirty: AtomicBool,
    /// Rows were written that are not kept.
    pretended: AtomicBool,
    newest: Mutex<Option<u64>>,
    size: AtomicU64,
    sums: Mutex<Option<(Gauges, Instant)>>,
}

impl fmt::Debug for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Core").field("door", &self.door).finish_non_exhaustive()
    }
}

impl Core {
    /// Starts the lanes of a node. They are not ready yet.
    pub fn start(door: Door, pool: Pool, spawn: Spawn, node: Node, lanes: i16) -> Arc<Self> {
        let (queues, receivers): (Vec<_>, Vec<_>) = (0..lanes).map(|_| unbounded_channel()).unzip();
        let caches: Vec<SharedCache> = (0..lanes).map(|_| SharedCache::default()).collect();
        let core = Arc::new(Self {
            door,
            pool,
            spawn: spawn.clone(),
            cursors: Cursors::default(),
            days: Days::default(),
            node: Mutex::new(node),
            lanes,
            routes: RwLock::new(vec![Route::None; SLOTS.into()]),
            queues: RwLock::new(Some(queues)),
            caches: caches.clone(),
            running: Mutex::default(),
            stopping: tokio::sync::Mutex::default(),
            queued: Arc::default(),
            full: Mutex::default(),
            superseded: AtomicBool::new(false),
            peers: RwLock::default(),
            looked: tokio::sync::Mutex::default(),
            dirty: AtomicBool::new(true),
            pretended: AtomicBool::new(true),
            newest: Mutex::default(),
            size: AtomicU64::new(0),
            sums: Mutex::default(),
        });
        let lane = |(number, (cache, receiver))| {
            spawn.start(Lane::new(Arc::clone(&core), node.id.writer(number), cache, receiver).run())
        };
        let running = (0..lanes).zip(caches.into_iter().zip(receivers)).map(lane).collect();
        *core.running.lock().unwrap_or_else(PoisonError::into_inner) = running;
        spawn.start(keep_house(Arc::downgrade(&core)));
        core
    }

    /// This node, in its present start.
    pub fn node(&self) -> Node {
        *self.node.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It joined again.
    pub fn set_node(&self, node: Node) {
        *self.node.lock().unwrap_or_else(PoisonError::into_inner) = node;
        self.superseded.store(false, Ordering::Release);
    }

    /// Another relay took the place of this start.
    pub fn superseded(&self, node: Node) {
        if self.node() == node && !self.superseded.swap(true, Ordering::AcqRel) {
            tracing::error!("another relay took this one's place in the store; it writes nothing any more");
        }
    }

    /// Whether trying again leads nowhere.
    pub fn gives_up(&self) -> bool {
        self.superseded.load(Ordering::Acquire) || self.is_closed()
    }

    fn is_closed(&self) -> bool {
        self.queues.read().unwrap_or_else(PoisonError::into_inner).is_none()
    }

    /// A lane holds these slots, and no others of those that it would write.
    pub fn holds(&self, writer: i16, slots: &[Slot]) {
        let number = writer % crate::cluster::MAX_LANES;
        let mut routes = self.routes.write().unwrap_or_else(PoisonError::into_inner);
        for (slot, route) in slot::all().zip(routes.iter_mut()) {
            if lane::of(slot, self.lanes) == usize::from(number.unsigned_abs()) && *route == Route::Here {
                *route = Route::None;
            }
        }
        for slot in slots {
            if let Some(route) = routes.get_mut(usize::from(*slot)) {
                *route = Route::Here;
            }
        }
    }

    /// Other nodes hold what this one does not.
    pub fn others(&self, leases: &[crate::cluster::Lease]) {
        let here = self.node().id;
        let mut routes = self.routes.write().unwrap_or_else(PoisonError::into_inner);
        for lease in leases {
            if let Some(route) = routes.get_mut(usize::from(lease.slot)).filter(|route| **route != Route::Here) {
                *route = lease.node.filter(|node| *node != here).map_or(Route::None, Route::There);
            }
        }
    }

    fn route(&self, slot: Slot) -> Route {
        let routes = self.routes.read().unwrap_or_else(PoisonError::into_inner);
        routes.get(usize::from(slot)).copied().unwrap_or(Route::None)
    }

    /// Whether this node writes a slot.
    pub fn is_here(&self, slot: Slot) -> bool {
        self.route(slot) == Route::Here
    }

    /// Room in the queues.
    fn room(&self, bytes: usize) -> Result<Tries, StoreError> {
        Room::take(&self.queued, bytes).map(Tries::new).ok_or_else(|| Unavailable::Overloaded.into())
    }

    /// Hands a command on to where it is done.
    pub fn send(self: &Arc<Self>, command: Command) {
        let Some(account) = command.account() else { return };
        let slot = slot::of(&account);
        let route = self.route(slot);
        if route == Route::Here {
            return self.to_lane(lane::of(slot, self.lanes), command);
        }
        let peers = self.peers.read().unwrap_or_else(PoisonError::into_inner).clone();
        let (Some(peers), Some(request)) = (peers, peer::encode(&command)) else {
            return command.fail(Unavailable::Io("the mailbox is written by another node".into()).into());
        };
        // Handed over here, so that the order is that of the calls; waited for elsewhere.
        let coming = match route {
            Route::There(node) => Some(peers.forward(node, slot, request)),
            Route::Here | Route::None => None,
        };
        let core = Arc::clone(self);
        self.spawn.start(async move { core.await_peer(command, coming).await });
    }

    /// Gives a command the answer that comes from another node, or sends it again where that leads somewhere.
    async fn await_peer(self: Arc<Self>, mut command: Command, coming: Option<Pending<bytes::Bytes, StoreError>>) {
        let error = match coming {
            None => Unavailable::Io("no node holds the mailbox for now".into()).into(),
            Some(coming) => match coming.await {
                Ok(answer) => match peer::Answer::decode(answer) {
                    Ok(answer) if !answer.is_moved() => return peer::deliver(command, &answer),
                    Ok(_) => Unavailable::Io("the mailbox moves to another node".into()).into(),
                    Err(_) => StoreError::Unknown("another node's answer makes no sense".into()),
                },
                Err(error) => error,
            },
        };
        let again = command.again_after(&error) && !self.gives_up();
        if !again {
            return command.fail(error);
        }
        sleep(PEER_PAUSE).await;
        self.look_at_leases().await;
        self.send(command);
    }

    /// Looks who holds what, unless that was done a moment ago.
    async fn look_at_leases(&self) {
        let mut looked = self.looked.lock().await;
        if looked.is_some_and(|looked| looked.elapsed() < PEER_PAUSE) {
            return;
        }
        let read = async { crate::cluster::leases(&*self.pool.lend().await?).await };
        if let Ok(leases) = read.await {
            self.others(&leases);
        }
        *looked = Some(Instant::now());
    }

    /// Says who the other nodes are.
    pub fn set_peers(&self, peers: Arc<dyn Peers>) {
        *self.peers.write().unwrap_or_else(PoisonError::into_inner) = Some(peers);
    }

    /// Does what another node asks for a slot of this one's. `None`: the request cannot be read.
    pub fn serve_peer(self: &Arc<Self>, request: &[u8]) -> Option<peer::Coming> {
        let Ok(tries) = self.room(request.len()) else {
            return Some(Box::pin(std::future::ready(peer::Answer::overloaded())));
        };
        let (command, coming) = peer::decode(request, tries)?;
        let slot = slot::of(&command.account()?);
        if !self.is_here(slot) || self.gives_up() {
            return Some(Box::pin(std::future::ready(peer::Answer::moved())));
        }
        self.to_lane(lane::of(slot, self.lanes), command);
        Some(coming)
    }

    fn to_lane(&self, lane: usize, command: Command) {
        let queues = self.queues.read().unwrap_or_else(PoisonError::into_inner);
        match queues.as_ref().and_then(|queues| queues.get(lane)) {
            Some(queue) => {
                if let Err(lost) = queue.send(command) {
                    lost.0.fail(Unavailable::Stopped.into());
                }
            }
            None => command.fail(Unavailable::Stopped.into()),
        }
    }

    /// Asks every lane to begin anew, and waits until all have.
    pub async fn renew(&self) {
        let mut all = Vec::new();
        for lane in 0..usize::from(self.lanes.unsigned_abs()) {
            let (done, begun) = oneshot::channel();
            self.to_lane(lane, Command::Renew(done));
            all.push(begun);
        }
        for begun in all {
            // A lane that ended says so, too.
            let _ = begun.await;
        }
    }

    /// Something was written.
    pub fn wrote(&self) {
        let mut full = self.full.lock().unwrap_or_else(PoisonError::into_inner);
        if full.is_some() {
            *full = None;
        }
    }

    /// Something surely was not.
    pub fn failed(&self, error: &StoreError) {
        if matches!(error, StoreError::Unavailable(Unavailable::DiskFull)) {
            *self.full.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now().checked_add(FULL_FOR);
        }
    }

    /// Rows were deleted.
    pub fn deleted(&self) {
        self.dirty.store(true, Ordering::Release);
    }

    /// Whether a batch held rows that are not kept.
    pub fn pretended(&self, some: bool) {
        if some {
            self.pretended.store(true, Ordering::Release);
        }
    }

    /// What is kept as the time of the youngest mail when the store was opened.
    pub fn set_newest(&self, newest: Option<u64>) {
        *self.newest.lock().unwrap_or_else(PoisonError::into_inner) = newest;
    }

    /// Drops the keys of what was deleted, if anything was.
    async fn erase(&self) -> Result<(), Fault> {
        let link = self.pool.lend().await?;
        if self.pretended.swap(false, Ordering::AcqRel) {
            self.dirty.store(true, Ordering::Release);
            whole::delete_pretended(&link).await.inspect_err(|_| self.pretended.store(true, Ordering::Release))?;
        }
        if self.dirty.swap(false, Ordering::AcqRel) {
            whole::rewrite_keys(&link).await.inspect_err(|_| self.dirty.store(true, Ordering::Release))?;
            whole::checkpoint(&link).await?;
        }
        Ok(())
    }

    /// Stops taking commands, waits for what was asked before, and gives the connections back.
    pub async fn stop(&self) {
        // Two that stop it wait for the same.
        let _stopping = self.stopping.lock().await;
        let running = std::mem::take(&mut *self.running.lock().unwrap_or_else(PoisonError::into_inner));
        for lane in running {
            // One that panicked has been printed, and its callers know that their answers are unknown.
            let _ = lane.await;
        }
        self.pool.finish().await;
    }

    /// Refuses from now on.
    pub fn close(&self) -> bool {
        self.queues.write().unwrap_or_else(PoisonError::into_inner).take().is_some()
    }
}

/// What is done from time to time, until the store is gone.
async fn keep_house(core: std::sync::Weak<Core>) {
    let mut minutes = interval(REWRITE_EVERY);
    minutes.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    // The first one is now.
    minutes.tick().await;
    loop {
        minutes.tick().await;
        let Some(core) = core.upgrade().filter(|core| !core.is_closed()) else { return };
        let begun = Instant::now();
        if let Err(fault) = core.erase().await {
            tracing::warn!(error = fault.words, "keys of deleted mail are still there; they are dropped in a minute");
        }
        let took = begun.elapsed();
        let measured = async { whole::size(&*core.pool.lend().await?).await };
        if let Ok(size) = measured.await {
            core.size.store(size, Ordering::Relaxed);
        }
        drop(core);
        sleep((took * REWRITE_PART).saturating_sub(REWRITE_EVERY)).await;
    }
}

/// The submits of one connection.
struct PostgresSession(Arc<Core>);

impl Session for PostgresSession {
    fn submit(
        &mut self,
        mailbox: Address,
        envelope: NewEnvelope,
        key: Option<AccessKeyHash>,
        accepted_at: u64,
    ) -> Pending<Submitted, SubmitError> {
        if envelope.ciphertext.len() > MAX_CIPHERTEXT_BYTES {
            return Pending::ready(Err(SubmitError::TooLarge));
        }
        if self.0.is_closed() {
            return Pending::ready(Err(StoreError::from(Unavailable::Stopped).into()));
        }
        match self.0.room(envelope.ciphertext.len()) {
            Ok(tries) => {
                let (reply, pending) = Pending::channel();
                self.0.send(Command::Submit(Submit { mailbox, envelope, key, accepted_at, reply, tries }));
                pending
            }
            Err(error) => Pending::ready(Err(error.into())),
        }
    }
}

/// What a fault means for what was asked of the pool.
#[derive(Clone, Copy)]
enum Asked {
    /// It changes nothing.
    Read,
    /// It may have happened.
    Write,
}

impl Postgres {
    fn core(&self) -> &Arc<Core> {
        &self.inner.core
    }

    /// Hands something to a lane.
    fn lane<T, E: From<StoreError>>(
        &self,
        command: impl FnOnce(kuvert_relay::store::pending::Reply<T, E>, Tries) -> Command,
    ) -> Pending<T, E> {
        if self.core().is_closed() {
            return Pending::ready(Err(StoreError::from(Unavailable::Stopped).into()));
        }
        match self.core().room(0) {
            Ok(tries) => {
                let (reply, pending) = Pending::channel();
                self.core().send(command(reply, tries));
                pending
            }
            Err(error) => Pending::ready(Err(error.into())),
        }
    }

    /// Does something on one of the pool's connections.
    fn pooled<T, E, F>(&self, asked: Asked, work: impl FnOnce(Lent) -> F + Send + 'static) -> Pending<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
        F: Future<Output = Result<Result<T, E>, Fault>> + Send,
    {
        if self.core().is_closed() {
            return Pending::ready(Err(StoreError::from(Unavailable::Stopped).into()));
        }
        let pool = self.core().pool.clone();
        self.core().spawn.pending(async move {
            let link = pool.lend().await.map_err(|fault| fault.reading())?;
            match (work(link).await, asked) {
                (Ok(answer), _) => answer,
                (Err(fault), Asked::Read) => Err(fault.reading().into()),
                (Err(fault), Asked::Write) => Err(fault.store_error().into()),
            }
        })
    }
}

impl Store for Postgres {
    fn session(&self) -> Box<dyn Session> {
        Box::new(PostgresSession(Arc::clone(self.core())))
    }

    fn read(&self, mailbox: Address, after: Cursor, limit: usize, max_bytes: usize) -> Pending<Page, StoreError> {
        let core = Arc::clone(self.core());
        // What it gives up is gone for good or not: a page is asked for again after a fault.
        self.pooled(Asked::Read, move |link| async move {
            let (page, gave_up) = whole::read(&link, mailbox, after, limit, max_bytes).await?;
            if gave_up {
                core.deleted();
            }
            Ok(Ok(page))
        })
    }

    fn acknowledge(&self, mailbox: Address, up_to: Cursor) -> Pending<u64, StoreError> {
        self.lane(|reply, tries| Command::Acknowledge(Acknowledge { mailbox, up_to, reply, tries }))
    }

    fn waiting(&self, mailbox: Address) -> Pending<Waiting, StoreError> {
        self.pooled(Asked::Read, move |link| async move { whole::waiting(&link, mailbox).await.map(Ok) })
    }

    fn take_full(&self, mailbox: Address) -> Pending<Option<FullMailbox>, StoreError> {
        self.lane(|reply, tries| Command::TakeFull { mailbox, reply, tries })
    }

    fn expire(&self, older_than: u64, budget: usize) -> Pending<u64, StoreError> {
        let core = Arc::clone(self.core());
        self.pooled(Asked::Write, move |link| async move {
            let gone = whole::expire(&link, core.node().id.get(), older_than, budget).await?;
            let count = gone.len();
            if count > 0 {
                core.deleted();
            }
            for number in 0..usize::from(core.lanes.unsigned_abs()) {
                let of_lane = gone.iter().filter(|(slot, ..)| lane::of(*slot, core.lanes) == number);
                let of_lane: Vec<_> = of_lane.map(|(_, mailbox, cursor)| (*mailbox, *cursor)).collect();
                if !of_lane.is_empty() {
                    core.to_lane(number, Command::Expired(of_lane));
                }
            }
            drop(link);
            if count < budget && days::drop_empty(&core.pool, days::of(older_than)).await.unwrap_or(false) {
                core.days.forget();
            }
            Ok(Ok(count as u64))
        })
    }

    fn acknowledge_expired(&self, mailbox: Address, count: u64) -> Pending<(), StoreError> {
        self.pooled(
            Asked::Write,
            move |link| async move { whole::acknowledge_expired(&link, mailbox, count).await.map(Ok) },
        )
    }

    fn register(&self, account: NewAccount) -> Pending<(), RegisterError> {
        self.lane(|reply, tries| Command::Change(Change::Register { account: Box::new(account), reply }, tries))
    }

    fn add_invitation(&self, invitation: NewInvitation) -> Pending<(), StoreError> {
        self.pooled(Asked::Write, move |link| async move { whole::add_invitation(&link, &invitation).await.map(Ok) })
    }

    fn account(&self, by: AccountBy) -> Pending<Option<AccountRecord>, StoreError> {
        self.pooled(Asked::Read, move |link| async move { accounts::find(&link, &by).await })
    }

    fn registered_since(&self, time: u64) -> Pending<Vec<(AccountId, u64)>, StoreError> {
        self.pooled(Asked::Read, move |link| async move { accounts::registered_since(&link, time).await })
    }

    fn device(&self, address: Address) -> Pending<Option<DeviceRecord>, StoreError> {
        self.pooled(Asked::Read, move |link| async move { accounts::find_device(&link, address).await })
    }

    fn update_account(&self, account: AccountId, change: AccountChange) -> Pending<(), UpdateAccountError> {
        self.pooled(Asked::Write, move |link| async move { accounts::update(&link, &account, &change).await })
    }

    fn delete_account(&self, account: AccountId) -> Pending<bool, StoreError> {
        self.lane(|reply, tries| Command::Change(Change::Delete { account, reply }, tries))
    }

    fn replace_device_list(
        &self,
        account: AccountId,
        expected: u64,
        list: NumberedDeviceList,
        listed: Vec<DeviceId>,
    ) -> Pending<Vec<DeviceId>, ReplaceDeviceListError> {
        self.lane(|reply, tries| {
            Command::Change(Change::ReplaceDeviceList { account, expected, list, listed, reply }, tries)
        })
    }

    fn set_access_key(&self, account: AccountId, key: Option<StoredAccessKey>) -> Pending<(), StoreError> {
        self.lane(|reply, tries| Command::Change(Change::SetAccessKey { account, key, reply }, tries))
    }

    fn access_key(&self, mailbox: Address) -> Pending<Option<StoredAccessKey>, StoreError> {
        let slot = slot::of(&mailbox.account);
        // Known from memory where mail came before: no need to queue up behind others.
        if self.core().is_here(slot)
            && !self.core().is_closed()
            && let Some(cache) = self.core().caches.get(lane::of(slot, self.core().lanes))
            && let Some(facts) = cache.lock().facts(&mailbox.account)
        {
            let device = facts.devices.contains_key(&mailbox.device);
            return Pending::ready(Ok(facts.key.filter(|_| device)));
        }
        self.lane(|reply, tries| Command::AccessKey { mailbox, reply, tries })
    }

    fn set_blocked(&self, account: AccountId, other: AccountId, blocked: bool) -> Pending<(), SetBlockedError> {
        self.lane(|reply, tries| Command::Change(Change::SetBlocked { account, other, blocked, reply }, tries))
    }

    fn note_seen(&self, device: Address, day: u32) -> Pending<(), StoreError> {
        self.pooled(Asked::Write, move |link| async move { accounts::note_seen(&link, device, day).await.map(Ok) })
    }

    fn publish_prekeys(&self, device: Address, new: NewPrekeys) -> Pending<(), PublishPrekeysError> {
        self.pooled(Asked::Write, move |link| async move { prekeys::publish(&link, device, &new).await })
    }

    fn take_bundle_sparing(&self, device: Address, reserve: u64) -> Pending<Bundle, TakeBundleError> {
        self.pooled(Asked::Write, move |link| async move { prekeys::take(&link, device, reserve).await })
    }

    fn count_prekeys(&self, device: Address) -> Pending<PrekeyCounts, StoreError> {
        self.pooled(Asked::Read, move |link| async move { prekeys::count(&link, device).await.map(Ok) })
    }

    fn room(&self) -> Pending<(), StoreError> {
        if self.core().is_closed() {
            return Pending::ready(Err(Unavailable::Stopped.into()));
        }
        let until = *self.core().full.lock().unwrap_or_else(PoisonError::into_inner);
        let full = until.is_some_and(|until| until > Instant::now());
        Pending::ready(if full { Err(Unavailable::DiskFull.into()) } else { Ok(()) })
    }

    fn reusable(&self) -> u64 {
        0
    }

    fn files(&self) -> StoreFiles {
        StoreFiles { database_bytes: self.core().size.load(Ordering::Relaxed), ..StoreFiles::default() }
    }

    fn gauges(&self) -> Pending<Gauges, StoreError> {
        let core = Arc::clone(self.core());
        self.pooled(Asked::Read, move |link| async move {
            let sums = *core.sums.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((gauges, until)) = sums
                && until > Instant::now()
            {
                return Ok(Ok(gauges));
            }
            let begun = Instant::now();
            let gauges = whole::gauges(&link).await?;
            let took = begun.elapsed();
            let again = if took < SUMS_SOON { Duration::ZERO } else { took * SUMS_FOR };
            *core.sums.lock().unwrap_or_else(PoisonError::into_inner) =
                Instant::now().checked_add(again).map(|until| (gauges, until));
            Ok(Ok(gauges))
        })
    }

    fn stats(&self) -> Pending<Stats, StoreError> {
        self.pooled(Asked::Read, move |link| async move { whole::stats(&link, true).await.map(Ok) })
    }

    fn times(&self) -> Pending<Times, StoreError> {
        let waiting = *self.core().newest.lock().unwrap_or_else(PoisonError::into_inner);
        self.pooled(Asked::Read, move |link| async move {
            let times = whole::times(&link).await?;
            Ok(Ok(Times { newest: times.newest.max(waiting), ..times }))
        })
    }

    fn note_time(&self, known: KnownTime) -> Pending<(), StoreError> {
        self.pooled(Asked::Write, move |link| async move { whole::note_time(&link, &known).await.map(Ok) })
    }

    fn restamp(&self, now: u64) -> Pending<u64, StoreError> {
        self.pooled(Asked::Write, move |link| async move { whole::restamp(&link, now).await.map(Ok) })
    }

    fn checkpoint(&self) -> Pending<(), StoreError> {
        if self.core().is_closed() {
            return Pending::ready(Err(Unavailable::Stopped.into()));
        }
        let core = Arc::clone(self.core());
        self.core().spawn.pending(async move { core.erase().await.map_err(|fault| fault.store_error()) })
    }

    fn close(&self) -> Pending<(), StoreError> {
        if !self.core().close() {
            return Pending::ready(Err(Unavailable::Stopped.into()));
        }
        let core = Arc::clone(self.core());
        self.core().spawn.pending(async move {
            core.stop().await;
            Ok(())
        })
    }
}
