//! A lane: one connection that writes the mailboxes of its slots, in the order in which it was asked, one batch at a time.
//!
//! What a batch holds is judged in memory ([`Cache`](super::cache::Cache)), written with one statement that also looks whether
//! this lane may still write ([`submit`](super::submit)), and answered when that is durable. After an answer that cannot be
//! relied on the lane begins anew: another connection, a higher epoch, which waits until nothing of the old one is under way any
//! more, new cursors, an empty cache; and then the same envelopes again, of which those that were stored after all are found.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use kuvert_relay::store::{StoreError, Unavailable};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::sleep;

use super::Core;
use super::accounts;
use super::cache::SharedCache;
use super::command::{Acknowledge, Command, Submit, Tries};
use super::submit::{self, Written};
use crate::cluster::CURSOR_BLOCK;
use crate::groups::Group;
use crate::link::Link;
use crate::outcome::{Fault, Outcome};
use crate::slot::{self, SLOTS, Slot};

/// Envelopes in a batch.
pub const MAX_BATCH: usize = 256;

/// Bytes of ciphertext in a batch, after the first envelope.
const MAX_BATCH_BYTES: usize = 2 * 1024 * 1024;

/// Acknowledgements in a batch.
const MAX_ACKNOWLEDGED: usize = 64;

/// Fewer commands than this wait for others that may come: a batch of one costs ten times what a full one does for each.
const FEW: usize = 16;

/// For so long.
const GATHER: Duration = Duration::from_millis(1);

/// Between two tries of reaching a server.
const PAUSE: Duration = Duration::from_millis(100);

/// Commands that are looked at together.
const MAX_BACKLOG: usize = 2048;

/// What a lane has while its epoch lasts.
pub struct Tenure {
    pub link: Link,
    /// `writer.id`
    pub writer: i16,
    pub epoch: i64,
    /// The first cursor that is not this lane's any more.
    pub limit: i64,
    /// In another group than the first: `slot_group.epoch` of the slots, for changes of accounts.
    pub epochs: HashMap<Slot, i64>,
}

/// See the module's head.
pub struct Lane {
    pub core: Arc<Core>,
    /// The group of servers whose mail it writes.
    pub group: Arc<Group>,
    /// `writer.id`
    pub writer: i16,
    pub cache: SharedCache,
    pub receiver: UnboundedReceiver<Command>,
    tenure: Option<Tenure>,
    backlog: VecDeque<Command>,
}

/// The next cursor of all lanes together: so envelopes of different mailboxes have an order, too.
#[derive(Debug, Default)]
pub struct Cursors(AtomicU64);

impl Cursors {
    /// So many in a row.
    pub fn draw(&self, count: usize) -> i64 {
        let first = self.0.fetch_add(count as u64, Ordering::Relaxed);
        i64::try_from(first).unwrap_or(i64::MAX)
    }

    /// None below this one from now on.
    fn begin(&self, first: i64) {
        self.0.fetch_max(first.max(1).unsigned_abs(), Ordering::Relaxed);
    }
}

impl Lane {
    pub fn new(
        core: Arc<Core>,
        group: Arc<Group>,
        writer: i16,
        cache: SharedCache,
        receiver: UnboundedReceiver<Command>,
    ) -> Self {
        Self { core, group, writer, cache, receiver, tenure: None, backlog: VecDeque::new() }
    }

    /// Runs until the queue is closed and empty.
    pub async fn run(mut self) {
        while self.fill().await {
            if !self.begin().await {
                continue;
            }
            self.work().await;
        }
    }

    /// Waits for something to do. `false`: nothing will come any more.
    async fn fill(&mut self) -> bool {
        if self.backlog.is_empty() {
            match self.receiver.recv().await {
                Some(command) => self.backlog.push_back(command),
                None => return false,
            }
        }
        self.drain();
        let waits =
            self.backlog.front().is_some_and(|first| matches!(first, Command::Submit(_) | Command::Acknowledge(_)));
        if waits && self.backlog.len() < FEW {
            sleep(GATHER).await;
            self.drain();
        }
        true
    }

    fn drain(&mut self) {
        while self.backlog.len() < MAX_BACKLOG {
            match self.receiver.try_recv() {
                Ok(command) => self.backlog.push_back(command),
                Err(_) => break,
            }
        }
    }

    /// Sees to it that there is a connection with an epoch. `false`: there is none for now.
    async fn begin(&mut self) -> bool {
        if self.tenure.as_ref().is_some_and(|tenure| tenure.link.is_healthy()) {
            return true;
        }
        self.end_tenure();
        match self.acquire().await {
            Ok(tenure) => {
                self.tenure = Some(tenure);
                self.hand_on();
                true
            }
            Err(fault) => {
                tracing::warn!(error = fault.words, "the store cannot be written");
                // Should that have been for slots that came to this lane, it is told again.
                self.core.untold(self.group.id, self.writer);
                let (over, left): (VecDeque<_>, VecDeque<_>) = std::mem::take(&mut self.backlog)
                    .into_iter()
                    .partition(|command| self.core.gives_up() || command.tries().is_none_or(Tries::is_over));
                self.backlog = left;
                for command in over {
                    let error = command.tries().map_or_else(|| fault.store_error(), Tries::error);
                    command.fail(error);
                }
                sleep(PAUSE).await;
                false
            }
        }
    }

    /// What is asked for slots that this lane does not hold goes to where they are.
    fn hand_on(&mut self) {
        for command in std::mem::take(&mut self.backlog) {
            if command.account().is_none_or(|account| self.core.is_here(slot::of(&account), self.group.id)) {
                self.backlog.push_back(command);
            } else {
                self.core.send(command);
            }
        }
    }

    /// Nothing that is in memory holds good any more.
    fn end_tenure(&mut self) {
        self.tenure = None;
        self.cache.lock().clear();
    }

    /// A new epoch, and a new block of cursors in each slot that is this lane's.
    async fn acquire(&self) -> Result<Tenure, Fault> {
        let link = self.group.door.open().await?;
        self.core.groups.check(&self.group, &link).await?;
        link.prepare(submit::STATEMENTS).await?;
        // A node that was declared dead, or was started a second time, takes nothing back.
        if !self.group.is_home() {
            self.look_alive(&*self.core.pool.lend().await?).await?;
        }
        link.begin().await?;
        if self.group.is_home() {
            self.look_alive(&link).await?;
        }
        // In the order in which slots are taken: first the leases, then the writers. Else the two could wait for each other.
        link.batch("LOCK TABLE lease IN ROW EXCLUSIVE MODE").await?;
        // It waits until nothing of the epoch before is under way any more.
        let raise =
            "INSERT INTO writer(id, epoch) VALUES ($1, 1) ON CONFLICT (id) DO UPDATE SET epoch = writer.epoch + 1
            RETURNING epoch";
        let epoch = link.query_one(raise, &[&self.writer]).await?.get(0);
        let block = "UPDATE lease SET next_cursor = (SELECT max(next_cursor) FROM lease WHERE writer = $1) + $2
            WHERE writer = $1 RETURNING slot, next_cursor";
        let rows = link.query(block, &[&self.writer, &CURSOR_BLOCK]).await?;
        link.commit().await?;
        let slots: Vec<Slot> = rows.iter().map(|row| row.get::<_, i16>(0).unsigned_abs()).collect();
        let limit = rows.first().map_or(0, |row| row.get(1));
        let epochs = if self.group.is_home() { HashMap::new() } else { self.fence_accounts(&slots).await? };
        self.core.cursors.begin(limit - CURSOR_BLOCK);
        self.core.holds(self.group.id, self.writer, &slots);
        tracing::debug!(group = self.group.name, writer = self.writer, epoch, slots = slots.len(), "a lane begins");
        Ok(Tenure { link, writer: self.writer, epoch, limit, epochs })
    }

    /// Whether this node is still the one that it was when it started. Within a transaction it stays so until its end.
    async fn look_alive(&self, home: &Link) -> Result<(), Fault> {
        let node = self.core.node();
        let alive = "SELECT FROM node WHERE id = $1 AND epoch = $2 FOR KEY SHARE";
        if home.query_opt(alive, &[&node.id.get(), &node.epoch]).await?.is_none() {
            self.core.superseded(node);
            return Err(Fault::not("another relay took this one's place"));
        }
        Ok(())
    }

    /// Accounts are in the first group, also those whose mail is in this one. From here on nothing that knows an earlier epoch of these
    /// slots changes them, and what did is done: so what is read of them next is what they are.
    async fn fence_accounts(&self, slots: &[Slot]) -> Result<HashMap<Slot, i64>, Fault> {
        if slots.is_empty() {
            return Ok(HashMap::new());
        }
        let slots: Vec<i16> = slots.iter().map(|slot| slot.cast_signed()).collect();
        let home = self.core.pool.lend().await?;
        let raise =
            "WITH s AS MATERIALIZED (SELECT slot FROM slot_group WHERE slot = ANY($1) ORDER BY slot FOR NO KEY UPDATE)
            UPDATE slot_group SET epoch = epoch + 1 WHERE slot IN (SELECT slot FROM s) RETURNING slot, epoch";
        let rows = home.query(raise, &[&slots]).await?;
        Ok(rows.iter().map(|row| (row.get::<_, i16>(0).unsigned_abs(), row.get(1))).collect())
    }

    /// Does what comes first in the queue, as much of it as goes together.
    async fn work(&mut self) {
        let Some(first) = self.backlog.pop_front() else { return };
        match first {
            Command::Submit(_) | Command::Acknowledge(_) => {
                self.backlog.push_front(first);
                self.batch().await;
            }
            Command::Change(change, tries) => {
                let Some(tenure) = &self.tenure else { return };
                match accounts::apply(&self.core, &self.group, tenure, &self.cache, change).await {
                    Ok(()) => {}
                    // It belongs to another node by now.
                    Err(accounts::Refused::Fenced(change)) => {
                        self.end_tenure();
                        self.core.send(Command::Change(change, tries));
                    }
                    Err(accounts::Refused::Broken) => self.end_tenure(),
                }
            }
            Command::AccessKey { mailbox, reply, tries } => match self.read_facts(&[mailbox.account]).await {
                Ok(()) => {
                    let mut cache = self.cache.lock();
                    let facts = cache.facts(&mailbox.account);
                    let key = facts.filter(|facts| facts.devices.contains_key(&mailbox.device));
                    let _ = reply.send(Ok(key.and_then(|facts| facts.key)));
                }
                Err(fault) => self.read_failed(Command::AccessKey { mailbox, reply, tries }, &fault),
            },
            Command::TakeFull { mailbox, reply, tries } => match self.largest(mailbox).await {
                Ok(full) => drop(reply.send(Ok(full))),
                Err(fault) => self.read_failed(Command::TakeFull { mailbox, reply, tries }, &fault),
            },
            Command::Expired(gone) => {
                let mut cache = self.cache.lock();
                for (mailbox, cursor) in gone {
                    cache.expire(mailbox, cursor);
                }
            }
            Command::Renew(done) => {
                self.end_tenure();
                if self.begin().await {
                    let _ = done.send(());
                } else {
                    self.backlog.push_front(Command::Renew(done));
                }
            }
        }
    }

    fn read_failed(&mut self, command: Command, fault: &Fault) {
        self.end_tenure();
        if command.tries().is_none_or(Tries::is_over) {
            command.fail(fault.reading());
        } else {
            self.backlog.push_front(command);
        }
    }

    /// Envelopes and acknowledgements up to the next command of another kind.
    async fn batch(&mut self) {
        let (mut submits, mut acknowledged, mut bytes) = (Vec::new(), Vec::new(), 0);
        // Envelopes that may have been stored keep their place before acknowledgements: one that deletes them would hide that they
        // were stored, and they would be stored again.
        let mut doubtful = false;
        while submits.len() < MAX_BATCH && acknowledged.len() < MAX_ACKNOWLEDGED {
            match self.backlog.pop_front() {
                Some(acknowledge @ Command::Acknowledge(_)) if doubtful => {
                    self.backlog.push_front(acknowledge);
                    break;
                }
                Some(Command::Submit(submit)) => {
                    let size = submit.envelope.ciphertext.len();
                    if bytes + size > MAX_BATCH_BYTES && !submits.is_empty() {
                        self.backlog.push_front(Command::Submit(submit));
                        break;
                    }
                    bytes += size;
                    doubtful |= submit.tries.doubtful;
                    submits.push(submit);
                }
                Some(Command::Acknowledge(acknowledge)) => acknowledged.push(acknowledge),
                Some(other) => {
                    self.backlog.push_front(other);
                    break;
                }
                None => break,
            }
        }
        self.cache.lock().make_room();
        // Room is made first.
        if !acknowledged.is_empty() && !self.acknowledge(acknowledged).await {
            return self.again(submits, false);
        }
        if !submits.is_empty() {
            self.submit(submits).await;
        }
    }

    async fn submit(&mut self, submits: Vec<Submit>) {
        let accounts: Vec<_> = submits.iter().map(|submit| submit.mailbox.account).collect();
        if self.read_facts(&accounts).await.is_err() {
            self.end_tenure();
            return self.again(submits, false);
        }
        let Some(tenure) = &mut self.tenure else { return self.again(submits, false) };
        match submit::run(&self.core, &self.group, tenure, &self.cache, submits).await {
            Written::Done => {}
            Written::Refused { left, error } => {
                left.into_iter().for_each(|submit| Command::Submit(submit).fail(error.clone()));
                self.end_tenure();
            }
            Written::Again { left, doubtful } => {
                self.end_tenure();
                self.again(left, doubtful);
            }
        }
    }

    /// `false`: the lane has to begin anew.
    async fn acknowledge(&mut self, all: Vec<Acknowledge>) -> bool {
        let accounts: Vec<_> = all.iter().map(|each| each.mailbox.account).collect();
        let mut done = self.read_facts(&accounts).await;
        if let (Ok(()), Some(tenure)) = (&done, &self.tenure) {
            done = match submit::acknowledge(tenure, &self.cache, &all).await {
                Ok(Some(counts)) => {
                    self.group.dirty.store(true, Ordering::Release);
                    for (each, count) in all.into_iter().zip(counts) {
                        each.reply.send(Ok(count));
                    }
                    return true;
                }
                Ok(None) => Err(Fault::not("the slots are another node's")),
                Err(fault) => Err(fault),
            };
        }
        let doubtful = done.is_err_and(|fault| fault.outcome == Outcome::Unknown);
        self.end_tenure();
        for mut each in all.into_iter().rev() {
            each.tries.doubtful |= doubtful;
            self.put_back(Command::Acknowledge(each));
        }
        false
    }

    /// Puts envelopes back to the front of the queue.
    fn again(&mut self, submits: Vec<Submit>, doubtful: bool) {
        for mut submit in submits.into_iter().rev() {
            submit.tries.doubtful |= doubtful;
            self.put_back(Command::Submit(submit));
        }
    }

    fn put_back(&mut self, command: Command) {
        if command.tries().is_some_and(Tries::is_over) {
            let error = command.tries().map_or(StoreError::Unavailable(Unavailable::Stopped), Tries::error);
            command.fail(error);
        } else if command.account().is_some_and(|account| !self.core.is_here(slot::of(&account), self.group.id)) {
            // It went to another node meanwhile.
            self.core.send(command);
        } else {
            self.backlog.push_front(command);
        }
    }

    /// Sees to it that what is needed of these accounts is in memory.
    async fn read_facts(&self, accounts: &[kuvert_types::AccountId]) -> Result<(), Fault> {
        let Some(tenure) = &self.tenure else { return Err(Fault::not("there is no connection")) };
        if self.group.is_home() {
            return submit::read_facts(&tenure.link, &self.cache, accounts).await;
        }
        if submit::knows(&self.cache, accounts) {
            return Ok(());
        }
        submit::read_facts(&*self.core.pool.lend().await?, &self.cache, accounts).await
    }

    /// Whose mail takes the most room, if any was refused.
    async fn largest(&self, mailbox: kuvert_types::Address) -> Result<Option<kuvert_relay::store::FullMailbox>, Fault> {
        self.read_facts(&[mailbox.account]).await?;
        let (number, refused) = {
            let mut cache = self.cache.lock();
            let facts = cache.facts(&mailbox.account);
            let number = facts.and_then(|facts| facts.devices.get(&mailbox.device).copied());
            (number, cache.take_refused(&mailbox))
        };
        let (Some(number), Some(tenure), true) = (number, &self.tenure, refused > 0) else { return Ok(None) };
        if let Err(fault) = submit::read_boxes(tenure, &self.cache, &[number]).await {
            // To be told later.
            (0..refused).for_each(|_| self.cache.lock().note_refused(mailbox));
            return Err(fault);
        }
        let largest = self.cache.lock().waiting(number).map(|waiting| waiting.mailbox.largest());
        Ok(Some(kuvert_relay::store::FullMailbox { refused, largest: largest.unwrap_or_default() }))
    }
}

/// The lane of a slot, of so many.
pub fn of(slot: Slot, lanes: i16) -> usize {
    debug_assert!(slot < SLOTS);
    usize::from(slot) % usize::from(lanes.max(1).unsigned_abs())
}
