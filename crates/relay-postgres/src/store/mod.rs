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
mod link_slots;
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
    NewDevice, NewEnvelope, NewInvitation, NewPrekeys, NumberedDeviceList, Page, Pending, PrekeyCounts,
    PublishPrekeysError, RegisterError, Session, SetBlockedError, Stats, Store, StoreError, StoreFiles,
    StoredAccessKey, SubmitError, Submitted, TakeBundleError, Times, Unavailable, UpdateAccountError,
    UpdateDevicesError, Waiting,
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
use self::lane::{Cursors, Lane};
use crate::answering::Answering;
use crate::cluster::{Node, NodeId};
use crate::groups::{Group, GroupId, Groups, soon};
use crate::link::{Lent, Pool};
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

/// How often it is looked for moves whose mover ended.
const MEND_EVERY: Duration = Duration::from_secs(5);

/// How long mail is looked for that is between two groups. The last step of a move takes less than a second, and one whose mover died
/// is undone within half a minute.
const MOVE_PATIENCE: Duration = Duration::from_secs(40);

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

/// What is known of a slot.
#[derive(Clone, Copy, Debug)]
struct Known {
    /// Where it is written.
    route: Route,
    /// The place of the group that had it when that was looked for last. Who reads there looks whether it still has.
    group: usize,
}

/// What lanes and sessions share.
pub struct Core {
    pub groups: Groups,
    /// Of the first group.
    pub pool: Pool,
    pub spawn: Spawn,
    pub cursors: Cursors,
    node: Mutex<Node>,
    lanes: i16,
    slots: RwLock<Vec<Known>>,
    /// Of the lanes of the first group, then of those of the next, as the caches are.
    queues: RwLock<Option<Vec<UnboundedSender<Command>>>>,
    caches: Vec<SharedCache>,
    /// Lanes that were told to begin anew for slots that came to them.
    told: Vec<AtomicBool>,
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
    newest: Mutex<Option<u64>>,
    size: AtomicU64,
    sums: Mutex<Option<(Gauges, Instant)>>,
}

impl fmt::Debug for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Core").field("groups", &self.groups).finish_non_exhaustive()
    }
}

impl Core {
    /// Starts the lanes of a node. They are not ready yet.
    pub fn start(groups: Groups, spawn: Spawn, node: Node, lanes: i16) -> Arc<Self> {
        let all = groups.all().len() * usize::from(lanes.unsigned_abs());
        let (queues, receivers): (Vec<_>, Vec<_>) = (0..all).map(|_| unbounded_channel()).unzip();
        let caches: Vec<SharedCache> = (0..all).map(|_| SharedCache::default()).collect();
        let pool = groups.home().pool.clone();
        let core = Arc::new(Self {
            groups,
            pool,
            spawn: spawn.clone(),
            cursors: Cursors::default(),
            node: Mutex::new(node),
            lanes,
            slots: RwLock::new(vec![Known { route: Route::None, group: 0 }; SLOTS.into()]),
            queues: RwLock::new(Some(queues)),
            caches: caches.clone(),
            told: (0..all).map(|_| AtomicBool::new(false)).collect(),
            running: Mutex::default(),
            stopping: tokio::sync::Mutex::default(),
            queued: Arc::default(),
            full: Mutex::default(),
            superseded: AtomicBool::new(false),
            peers: RwLock::default(),
            looked: tokio::sync::Mutex::default(),
            newest: Mutex::default(),
            size: AtomicU64::new(0),
            sums: Mutex::default(),
        });
        let places = core.groups.all().iter().flat_map(|group| (0..lanes).map(move |number| (group, number)));
        let running = places.zip(caches.into_iter().zip(receivers)).map(|((group, number), (cache, receiver))| {
            let writer = node.id.writer(number);
            spawn.start(Lane::new(Arc::clone(&core), Arc::clone(group), writer, cache, receiver).run())
        });
        let running = running.collect();
        *core.running.lock().unwrap_or_else(PoisonError::into_inner) = running;
        spawn.start(keep_house(Arc::downgrade(&core)));
        if !core.groups.others().is_empty() {
            spawn.start(keep_moves(Arc::downgrade(&core)));
        }
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

    /// Among the lanes, the one of a slot in the group of this place.
    fn lane_of(&self, group: usize, slot: Slot) -> usize {
        group * usize::from(self.lanes.unsigned_abs()) + lane::of(slot, self.lanes)
    }

    /// A lane of a group holds these slots, and no others of those that it would write.
    pub fn holds(&self, id: GroupId, writer: i16, slots: &[Slot]) {
        let Some(group) = self.groups.place(id) else { return };
        let number = writer % crate::cluster::MAX_LANES;
        let mut known = self.slots.write().unwrap_or_else(PoisonError::into_inner);
        for (slot, known) in slot::all().zip(known.iter_mut()) {
            if lane::of(slot, self.lanes) == usize::from(number.unsigned_abs())
                && known.route == Route::Here
                && known.group == group
            {
                known.route = Route::None;
            }
        }
        for slot in slots {
            if let Some(known) = known.get_mut(usize::from(*slot)) {
                *known = Known { route: Route::Here, group };
            }
        }
        drop(known);
        self.untold(id, writer);
    }

    /// A lane did, or could not do, what it was told for slots that came to it.
    pub fn untold(&self, group: GroupId, writer: i16) {
        let Some(group) = self.groups.place(group) else { return };
        let number = (writer % crate::cluster::MAX_LANES).unsigned_abs();
        if let Some(told) = self.told.get(self.lane_of(group, number)) {
            told.store(false, Ordering::Release);
        }
    }

    /// Other nodes hold what this one does not. What it is to hold and does not know of, because it came from another group, its lanes
    /// begin with.
    pub fn others(&self, leases: &[crate::cluster::Lease]) {
        let here = self.node().id;
        let mut begin = std::collections::BTreeSet::new();
        let mut known = self.slots.write().unwrap_or_else(PoisonError::into_inner);
        for lease in leases {
            let Some(known) = known.get_mut(usize::from(lease.slot)) else { continue };
            let Some(group) = lease.group.and_then(|group| self.groups.place(group)) else { continue };
            match lease.node {
                Some(node) if node == here && (known.route != Route::Here || known.group != group) => {
                    begin.insert(self.lane_of(group, lease.slot));
                }
                _ if known.route == Route::Here && known.group == group => {}
                node => {
                    let there = node.filter(|node| *node != here);
                    *known = Known { route: there.map_or(Route::None, Route::There), group };
                }
            }
        }
        drop(known);
        for lane in begin {
            if self.told.get(lane).is_some_and(|told| !told.swap(true, Ordering::AcqRel)) {
                self.to_lane(lane, Command::Renew(oneshot::channel().0));
            }
        }
    }

    fn known(&self, slot: Slot) -> Known {
        let slots = self.slots.read().unwrap_or_else(PoisonError::into_inner);
        slots.get(usize::from(slot)).copied().unwrap_or(Known { route: Route::None, group: 0 })
    }

    /// Whether this node writes a slot, in this group.
    pub fn is_here(&self, slot: Slot, group: GroupId) -> bool {
        let known = self.known(slot);
        known.route == Route::Here && self.groups.all().get(known.group).is_some_and(|there| there.id == group)
    }

    /// Where a slot's mail was when that was looked for last.
    pub fn group_of(&self, slot: Slot) -> Arc<Group> {
        let group = self.known(slot).group;
        Arc::clone(self.groups.all().get(group).unwrap_or_else(|| self.groups.home()))
    }

    /// Room in the queues.
    fn room(&self, bytes: usize) -> Result<Tries, StoreError> {
        Room::take(&self.queued, bytes).map(Tries::new).ok_or_else(|| Unavailable::Overloaded.into())
    }

    /// Hands a command on to where it is done.
    pub fn send(self: &Arc<Self>, command: Command) {
        let Some(account) = command.account() else { return };
        let slot = slot::of(&account);
        let Known { route, group } = self.known(slot);
        if route == Route::Here {
            return self.to_lane(self.lane_of(group, slot), command);
        }
        // Handed over here, so that the order is that of the calls. What no node holds now comes to one in a moment.
        let Route::There(node) = route else {
            return self.send_again(command, Unavailable::Io("no node holds the mailbox for now".into()).into());
        };
        let peers = self.peers.read().unwrap_or_else(PoisonError::into_inner).clone();
        let (Some(peers), Some(request)) = (peers, peer::encode(&command)) else {
            return command.fail(Unavailable::Io("the mailbox is written by another node".into()).into());
        };
        let core = Arc::clone(self);
        peers.forward(node, slot, request, Answering::with(move |answer| core.hear_peer(command, answer)));
    }

    /// Gives a command the answer that came from another node, or sends it again where that leads somewhere.
    fn hear_peer(self: &Arc<Self>, command: Command, answer: Result<bytes::Bytes, StoreError>) {
        let error = match answer {
            Ok(answer) => match peer::Answer::decode(answer) {
                // That nothing happened now says nothing about the time before.
                Ok(answer) if answer.is_unavailable() && command.is_doubtful() => return command.fail_doubtful(),
                Ok(answer) if !answer.is_moved() => return peer::deliver(command, &answer),
                Ok(_) => Unavailable::Io("the mailbox moves to another node".into()).into(),
                Err(_) => StoreError::Unknown("another node's answer makes no sense".into()),
            },
            Err(error) => error,
        };
        self.send_again(command, error);
    }

    /// Sends a command again in a moment, to the node that holds its slot then; or tells that it failed.
    fn send_again(self: &Arc<Self>, mut command: Command, error: StoreError) {
        let again = command.again_after(&error) && !self.gives_up();
        if !again {
            return if command.is_doubtful() { command.fail_doubtful() } else { command.fail(error) };
        }
        let core = Arc::clone(self);
        self.spawn.start(async move {
            sleep(PEER_PAUSE).await;
            core.look_at_leases().await;
            core.send(command);
        });
    }

    /// Looks who holds what, unless that was done a moment ago.
    pub async fn look_at_leases(&self) {
        let mut looked = self.looked.lock().await;
        if looked.is_some_and(|looked| looked.elapsed() < PEER_PAUSE) {
            return;
        }
        if let Ok(leases) = crate::cluster::leases(&self.groups).await {
            self.others(&leases);
        }
        *looked = Some(Instant::now());
    }

    /// Says who the other nodes are.
    pub fn set_peers(&self, peers: Arc<dyn Peers>) {
        *self.peers.write().unwrap_or_else(PoisonError::into_inner) = Some(peers);
    }

    /// Does what another node asks for a slot of this one's.
    pub fn serve_peer(&self, request: bytes::Bytes, answering: Answering<bytes::Bytes, StoreError>) {
        let Ok(tries) = self.room(request.len()) else {
            return answering.send(Ok(peer::Answer::overloaded().to_bytes()));
        };
        let mut answering = Some(answering);
        let asked = peer::Request::read(request).and_then(|request| Some((slot::of(&request.account()?), request)));
        let command = match asked {
            Some((slot, request)) => {
                let Known { route, group } = self.known(slot);
                if route != Route::Here || self.gives_up() {
                    return answer_peer(answering, Ok(peer::Answer::moved().to_bytes()));
                }
                let command = peer::command(request, tries, &mut answering);
                command.map(|(command, coming)| (self.lane_of(group, slot), command, coming))
            }
            None => None,
        };
        let Some((lane, command, coming)) = command else {
            let error = Unavailable::Io("another node's request cannot be read".into());
            return answer_peer(answering, Err(error.into()));
        };
        self.to_lane(lane, command);
        if let Some(coming) = coming {
            self.spawn.start(async move { answer_peer(answering, Ok(coming.await.to_bytes())) });
        }
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

    /// Asks every lane to begin anew, and waits until all have; for those of another group than the first for a moment only.
    pub async fn renew(&self) {
        let (mut home, mut others) = (Vec::new(), Vec::new());
        let lanes = usize::from(self.lanes.unsigned_abs());
        for lane in 0..self.caches.len() {
            let (done, begun) = oneshot::channel();
            self.to_lane(lane, Command::Renew(done));
            if lane < lanes {
                home.push(begun)
            } else {
                others.push(begun)
            };
        }
        for begun in home {
            // A lane that ended says so, too.
            let _ = begun.await;
        }
        let others = async {
            for begun in others {
                let _ = begun.await;
            }
            Ok(())
        };
        if soon(others).await.is_err() {
            tracing::warn!("a group of servers does not answer: its lanes begin when it does");
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

    /// What is kept as the time of the youngest mail when the store was opened.
    pub fn set_newest(&self, newest: Option<u64>) {
        *self.newest.lock().unwrap_or_else(PoisonError::into_inner) = newest;
    }

    /// Drops the keys of what was deleted, if anything was. A group that is not the first keeps none of the others from it.
    async fn erase(&self) -> Result<(), Fault> {
        let mut done = Ok(());
        for group in self.groups.all() {
            if let Err(fault) = erase(group).await {
                done = Err(fault);
            }
        }
        done
    }

    /// Deletes mail of devices that are no more, which was in another group when they were deleted and could not be reached.
    async fn delete_dropped(&self) -> Result<(), Fault> {
        let rows = {
            // Those of slots that move are the mover's until it is done.
            let some = "SELECT mailbox, slot FROM dropped WHERE slot NOT IN (SELECT slot FROM slot_move) LIMIT 1000";
            self.pool.lend().await?.query(some, &[]).await?
        };
        for row in &rows {
            let (mailbox, slot): (i64, i16) = (row.get(0), row.get(1));
            let group = self.group_of(slot.unsigned_abs());
            let link = group.pool.lend().await?;
            link.begin().await?;
            let here = whole::keeps(&link, slot).await?;
            if here {
                whole::delete_mail(&link, &[mailbox]).await?;
                group.dirty.store(true, Ordering::Release);
            }
            link.commit().await?;
            drop(link);
            if here {
                let gone = "DELETE FROM dropped WHERE mailbox = $1";
                self.pool.lend().await?.execute(gone, &[&mailbox]).await?;
            }
        }
        Ok(())
    }

    /// Deletes at most so many envelopes of this node's slots in a group that are due. Says how many.
    async fn expire(&self, place: usize, group: &Group, older_than: u64, budget: usize) -> Result<usize, Fault> {
        let gone = whole::expire(&*group.pool.lend().await?, self.node().id.get(), older_than, budget).await?;
        let count = gone.len();
        if count > 0 {
            group.dirty.store(true, Ordering::Release);
        }
        let mut of_lanes = std::collections::BTreeMap::<usize, Vec<_>>::new();
        for (slot, mailbox, cursor) in gone {
            of_lanes.entry(self.lane_of(place, slot)).or_default().push((mailbox, cursor));
        }
        for (lane, gone) in of_lanes {
            self.to_lane(lane, Command::Expired(gone));
        }
        if count < budget && days::drop_empty(&group.pool, days::of(older_than)).await.unwrap_or(false) {
            group.days.forget();
        }
        Ok(count)
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
        self.groups.finish().await;
    }

    /// Refuses from now on.
    pub fn close(&self) -> bool {
        self.queues.write().unwrap_or_else(PoisonError::into_inner).take().is_some()
    }
}

async fn erase(group: &Group) -> Result<(), Fault> {
    let link = group.pool.lend().await?;
    if group.pretended.swap(false, Ordering::AcqRel) {
        group.dirty.store(true, Ordering::Release);
        whole::delete_pretended(&link).await.inspect_err(|_| group.pretended.store(true, Ordering::Release))?;
    }
    if group.dirty.swap(false, Ordering::AcqRel) {
        whole::rewrite_keys(&link).await.inspect_err(|_| group.dirty.store(true, Ordering::Release))?;
        whole::checkpoint(&link).await?;
    }
    Ok(())
}

/// Ends what a move left behind whose mover ended, until the store is gone.
async fn keep_moves(core: std::sync::Weak<Core>) {
    let mut looks = interval(MEND_EVERY);
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        let Some(core) = core.upgrade().filter(|core| !core.is_closed()) else { return };
        match crate::moves::mend(&core.groups).await {
            Ok(0) => {}
            Ok(slots) => {
                tracing::warn!(
                    slots,
                    "a move of slots to another group had ended on its way: it was undone or finished"
                );
                core.look_at_leases().await;
            }
            Err(fault) => tracing::warn!(error = fault.words, "a move of slots that had ended is not undone yet"),
        }
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
        if let Err(fault) = core.delete_dropped().await {
            tracing::warn!(error = fault.words, "mail of deleted devices is still there; it is deleted in a minute");
        }
        if let Err(fault) = core.erase().await {
            tracing::warn!(error = fault.words, "keys of deleted mail are still there; they are dropped in a minute");
        }
        let took = begun.elapsed();
        let measured = async {
            let mut size = 0;
            for group in core.groups.all() {
                size += whole::size(&*group.pool.lend().await?).await?;
            }
            Ok::<u64, Fault>(size)
        };
        if let Ok(size) = measured.await {
            core.size.store(size, Ordering::Relaxed);
        }
        drop(core);
        sleep((took * REWRITE_PART).saturating_sub(REWRITE_EVERY)).await;
    }
}

fn answer_peer(answering: Option<Answering<bytes::Bytes, StoreError>>, answer: Result<bytes::Bytes, StoreError>) {
    if let Some(answering) = answering {
        answering.send(answer);
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
                let (reply, pending) = Answering::channel();
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

    /// Does something in all groups that can be done again.
    fn summed<T, F>(&self, work: impl FnOnce() -> F) -> Pending<T, StoreError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Fault>> + Send + 'static,
    {
        if self.core().is_closed() {
            return Pending::ready(Err(Unavailable::Stopped.into()));
        }
        let work = work();
        self.core().spawn.pending(async move { work.await.map_err(|fault| fault.store_error()) })
    }

    /// Does something on one of the first group's connections.
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

impl Postgres {
    /// Does something with a mailbox's mail, in the group that has it. `None` of the work itself says that this one does not.
    fn mailed<T, F>(
        &self,
        asked: Asked,
        mailbox: Address,
        work: impl Fn(Arc<Group>, Lent, Mailbox) -> F + Send + Sync + 'static,
    ) -> Pending<T, StoreError>
    where
        T: Default + Send + 'static,
        F: Future<Output = Result<Option<T>, Fault>> + Send,
    {
        if self.core().is_closed() {
            return Pending::ready(Err(Unavailable::Stopped.into()));
        }
        let core = Arc::clone(self.core());
        let slot = slot::of(&mailbox.account);
        self.core().spawn.pending(async move {
            let begun = Instant::now();
            loop {
                let group = core.group_of(slot);
                let done = async {
                    let mut of = Mailbox { address: mailbox, slot: slot.cast_signed(), number: None };
                    if !group.is_home() {
                        of.number = accounts::find_mailbox(&*core.pool.lend().await?, mailbox).await?;
                        if of.number.is_none() {
                            return Ok(Some(T::default()));
                        }
                    }
                    let link = group.pool.lend().await.map_err(|fault| Fault::not(fault.words))?;
                    work(Arc::clone(&group), link, of).await
                };
                match (done.await, asked) {
                    (Ok(Some(done)), _) => return Ok(done),
                    (Ok(None), _) if begun.elapsed() > MOVE_PATIENCE || core.gives_up() => {
                        return Err(Unavailable::Io("the mailbox moves to other servers".into()).into());
                    }
                    (Ok(None), _) => {
                        core.look_at_leases().await;
                        sleep(PEER_PAUSE / 2).await;
                    }
                    (Err(fault), Asked::Read) => return Err(fault.reading()),
                    (Err(fault), Asked::Write) => return Err(fault.store_error()),
                }
            }
        })
    }
}

/// A mailbox, for statements about its mail.
#[derive(Clone, Copy, Debug)]
pub struct Mailbox {
    /// Whose.
    pub address: Address,
    /// Where it belongs.
    pub slot: i16,
    /// Its number, where the table of devices is not next to the mail.
    pub number: Option<cache::MailboxNumber>,
}

impl Store for Postgres {
    fn session(&self) -> Box<dyn Session> {
        Box::new(PostgresSession(Arc::clone(self.core())))
    }

    fn read(&self, mailbox: Address, after: Cursor, limit: usize, max_bytes: usize) -> Pending<Page, StoreError> {
        // What it gives up is gone for good or not: a page is asked for again after a fault.
        self.mailed(Asked::Read, mailbox, move |group, link, of| async move {
            let Some((page, gave_up)) = whole::read(&link, of, after, limit, max_bytes).await? else { return Ok(None) };
            if gave_up {
                group.dirty.store(true, Ordering::Release);
            }
            Ok(Some(page))
        })
    }

    fn acknowledge(&self, mailbox: Address, up_to: Cursor) -> Pending<u64, StoreError> {
        self.lane(|reply, tries| Command::Acknowledge(Acknowledge { mailbox, up_to, reply: reply.into(), tries }))
    }

    fn waiting(&self, mailbox: Address) -> Pending<Waiting, StoreError> {
        self.mailed(Asked::Read, mailbox, |_, link, of| async move { whole::waiting(&link, of).await })
    }

    fn take_full(&self, mailbox: Address) -> Pending<Option<FullMailbox>, StoreError> {
        self.lane(|reply, tries| Command::TakeFull { mailbox, reply, tries })
    }

    fn expire(&self, older_than: u64, budget: usize) -> Pending<u64, StoreError> {
        if self.core().is_closed() {
            return Pending::ready(Err(Unavailable::Stopped.into()));
        }
        let core = Arc::clone(self.core());
        self.core().spawn.pending(async move {
            let (mut sum, mut fault) = (0, None);
            for (place, group) in core.groups.all().iter().enumerate() {
                match core.expire(place, group, older_than, budget.saturating_sub(sum)).await {
                    Ok(count) => sum += count,
                    Err(fault) if group.is_home() => return Err(fault.store_error()),
                    Err(other) => fault = Some(other),
                }
            }
            match fault {
                // What is due there is asked for again: nothing more than that is to be known.
                Some(fault) if sum == 0 => Err(fault.store_error()),
                _ => Ok(sum as u64),
            }
        })
    }

    fn acknowledge_expired(&self, mailbox: Address, count: u64) -> Pending<(), StoreError> {
        self.mailed(Asked::Write, mailbox, move |_, link, of| async move {
            whole::acknowledge_expired(&link, of, count).await
        })
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

    fn update_devices(
        &self,
        account: AccountId,
        expected: u64,
        list: NumberedDeviceList,
        kept: Vec<DeviceId>,
        added: Vec<NewDevice>,
    ) -> Pending<Vec<DeviceId>, UpdateDevicesError> {
        self.lane(|reply, tries| {
            Command::Change(Change::UpdateDevices { account, expected, list, kept, added, reply }, tries)
        })
    }

    fn set_access_key(&self, account: AccountId, key: Option<StoredAccessKey>) -> Pending<(), StoreError> {
        self.lane(|reply, tries| Command::Change(Change::SetAccessKey { account, key, reply }, tries))
    }

    fn access_key(&self, mailbox: Address) -> Pending<Option<StoredAccessKey>, StoreError> {
        let slot = slot::of(&mailbox.account);
        let Known { route, group } = self.core().known(slot);
        // Known from memory where mail came before: no need to queue up behind others.
        if route == Route::Here
            && !self.core().is_closed()
            && let Some(cache) = self.core().caches.get(self.core().lane_of(group, slot))
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
        self.summed(move || async move {
            let sums = *core.sums.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((gauges, until)) = sums
                && until > Instant::now()
            {
                return Ok(gauges);
            }
            let begun = Instant::now();
            let gauges = whole::gauges(&core.groups).await?;
            let took = begun.elapsed();
            let again = if took < SUMS_SOON { Duration::ZERO } else { took * SUMS_FOR };
            *core.sums.lock().unwrap_or_else(PoisonError::into_inner) =
                Instant::now().checked_add(again).map(|until| (gauges, until));
            Ok(gauges)
        })
    }

    fn stats(&self) -> Pending<Stats, StoreError> {
        let groups = self.core().groups.clone();
        self.summed(move || async move { whole::stats(&groups, true).await })
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
        let groups = self.core().groups.clone();
        self.summed(move || async move { whole::restamp(&groups, now).await })
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
