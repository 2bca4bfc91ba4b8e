//! Which relay may write what, and where devices are attached: the tables `node`, `writer`, `lease`, `slot_group` and `presence`.
//!
//! | table | one row for | changed by |
//! |---|---|---|
//! | `node` | a relay: its name, address, epoch, last sign of life | [`Cluster::join`], [`Cluster::beat`], [`Cluster::declare_dead`], [`Cluster::drain`] |
//! | `writer` | a writing connection of a node: its epoch | whenever a connection begins or is doubted, and by [`Cluster::take`] |
//! | `lease` | a slot: its writer and the first cursor that was never given out | [`Cluster::take`], [`Cluster::give_up`] |
//! | `slot_group` | a slot: the group of servers that has its mail, as it was when that was written down | [`crate::moves`] |
//! | `presence` | an attached device: its node, that node's epoch, the attachment's number | [`Cluster::attach`], [`Cluster::detach`] |
//!
//! # Taking slots over
//! The old writer's epoch is raised *first*, and the new writer's, if it writes already. That waits for what they have in flight, which
//! holds the row `FOR SHARE`, and after that none of their statements writes anything: each looks for the epoch that it knows. Then the
//! slots' leases go to the new writer, each with a new block of cursors: it begins anew before it writes to them, so above all that the
//! old one gave out. [`Cluster::take`] does this in one transaction, from whichever node: it is safe even if that
//! node is alive, which then finds out with its next statement, forgets what it has in memory, and asks for what is left to it.
//!
//! # Groups
//! `writer` and `lease` are in each group of servers for the slots that are there, so that a statement that writes mail finds them next
//! to it; all else is in the first group. Slots of several groups are taken by one transaction in each.
//!
//! # Time
//! Signs of life are compared by the server's clock alone, so clocks of relays do not matter.
//!
//! Everything here is a single transaction. An [`Fault`] with [`Outcome::Unknown`](crate::outcome::Outcome::Unknown) may have
//! happened; doing it again is safe.

use std::time::Duration;

use kuvert_types::Address;
use tokio_postgres::Row;

use crate::groups::{Group, GroupId, Groups, soon};
use crate::link::{Door, Pool};
use crate::outcome::Fault;
use crate::schema::OpenError;
use crate::settings::Settings;
use crate::slot::{self, SLOTS, Slot};
use crate::threads::Spawn;

/// Writing connections that a node may have at most. `writer.id` is `node * MAX_LANES + lane`; writer 0 is none.
pub const MAX_LANES: i16 = 8;

/// Nodes that a store may ever have had.
pub const MAX_NODES: i16 = 4_000;

/// How many cursors a slot sets aside whenever its writer begins anew.
pub const CURSOR_BLOCK: i64 = 1 << 32;

/// A relay's number in this store, from 1 on.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct NodeId(i16);

impl NodeId {
    /// From its number.
    pub const fn new(number: i16) -> Option<Self> {
        if number >= 1 && number <= MAX_NODES { Some(Self(number)) } else { None }
    }

    /// Its number.
    pub const fn get(self) -> i16 {
        self.0
    }

    /// The row in `writer` of one of its connections.
    pub const fn writer(self, lane: i16) -> i16 {
        self.0 * MAX_LANES + lane % MAX_LANES
    }

    /// The node of a row in `writer`; `None`: writer 0.
    pub const fn of_writer(writer: i16) -> Option<Self> {
        Self::new(writer / MAX_LANES)
    }
}

/// A relay, and which start of it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Node {
    /// Which.
    pub id: NodeId,
    /// Rises with every start, and when it is declared dead.
    pub epoch: i64,
}

/// A row of `node`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KnownNode {
    /// Which relay, and which start of it.
    pub node: Node,
    /// Its name.
    pub name: String,
    /// Where other relays reach it; empty for one that serves alone.
    pub address: String,
    /// How long ago it gave a sign of life.
    pub silent: Duration,
    /// It is to hold no slots any more.
    pub draining: bool,
    /// The groups that it can write, a bit for each; 0: its program knows of none but the first.
    pub groups: i64,
}

impl KnownNode {
    /// Whether it can write what is in a group.
    pub const fn knows(&self, group: GroupId) -> bool {
        self.groups & group.bit() != 0
    }
}

/// A row of `lease`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Lease {
    /// Which slot.
    pub slot: Slot,
    /// Who holds it.
    pub node: Option<NodeId>,
    /// Rises whenever the writer changes.
    pub epoch: i64,
    /// The group that has it. `None`: it is between two, or its group does not answer; none can take it now.
    pub group: Option<GroupId>,
}

/// A row of `presence`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Attached {
    /// Where.
    pub node: Node,
    /// The node's own number of the attachment.
    pub attachment: i64,
}

/// The tables. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Cluster {
    pool: Pool,
    groups: Groups,
    spawn: Spawn,
}

impl Cluster {
    pub(crate) fn new(groups: Groups, spawn: Spawn) -> Self {
        Self { pool: groups.home().pool.clone(), groups, spawn }
    }

    /// The groups of servers that the store lies on.
    pub const fn groups(&self) -> &Groups {
        &self.groups
    }

    /// The tables, before a store is opened: a relay [joins](Self::join) to know as which node. Within the runtime that all of it is to
    /// run on.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub async fn connect(settings: Settings) -> Result<Self, OpenError> {
        Ok(Self::new(Groups::read(Door::new(settings)?).await?, Spawn::here()))
    }

    // ---- nodes

    /// Takes part from now on, under a name that is the operator's to choose. A relay that starts again under its name is the same
    /// node with a higher epoch, and still holds the slots that it held unless others took them.
    ///
    /// # Errors
    /// See the module's head.
    pub async fn join(&self, name: &str, address: &str) -> Result<Node, Fault> {
        let (pool, name, address) = (self.pool.clone(), name.to_owned(), address.to_owned());
        let groups = self.groups.bits();
        self.spawn
            .run(async move {
                let link = pool.lend().await?;
                link.begin().await?;
                // One after the other: two must not get the same number.
                link.batch("LOCK TABLE node IN SHARE ROW EXCLUSIVE MODE").await?;
                let sql = "INSERT INTO node(id, name, address, epoch, seen, groups)
                        VALUES ((SELECT coalesce(max(id), 0)::int2 + 1::int2 FROM node), $1, $2, 1, now(), $3)
                    ON CONFLICT (name) DO UPDATE SET address = excluded.address, epoch = node.epoch + 1, seen = now(),
                        draining = false, groups = excluded.groups
                    RETURNING id, epoch";
                let row = link.query_one(sql, &[&name, &address, &groups]).await?;
                let id = NodeId::new(row.get(0)).ok_or_else(|| Fault::not("too many nodes"))?;
                let sql =
                    "INSERT INTO writer SELECT $1::int2 + lane::int2, 0 FROM generate_series(0, $2::int4 - 1) AS lane
                    ON CONFLICT (id) DO NOTHING";
                if link.execute(sql, &[&id.writer(0), &i32::from(MAX_LANES)]).await? > 0 {
                    link.batch("ANALYZE writer").await?;
                }
                link.commit().await?;
                Ok(Node { id, epoch: row.get(1) })
            })
            .await
    }

    /// A sign of life. `false`: others declared this node dead, or it was started a second time. It must serve nothing any more
    /// until it has [joined](Self::join) again.
    ///
    /// # Errors
    /// See the module's head.
    pub async fn beat(&self, node: Node) -> Result<bool, Fault> {
        let pool = self.pool.clone();
        self.spawn
            .run(async move {
                let sql = "UPDATE node SET seen = now() WHERE id = $1 AND epoch = $2";
                Ok(pool.lend().await?.execute(sql, &[&node.id.get(), &node.epoch]).await? == 1)
            })
            .await
    }

    /// All nodes that ever joined and did not leave, by number.
    ///
    /// # Errors
    /// See the module's head.
    pub async fn nodes(&self) -> Result<Vec<KnownNode>, Fault> {
        let pool = self.pool.clone();
        self.spawn
            .run(async move {
                let sql = "SELECT id, epoch, name, address,
                        (extract(epoch FROM clock_timestamp() - seen) * 1000)::int8, draining, groups FROM node ORDER BY id";
                pool.lend().await?.query(sql, &[]).await?.iter().map(known_node).collect()
            })
            .await
    }

    /// Ends a node's epoch, so that its next [`beat`](Self::beat) fails. `false`: it has another epoch by now, hence lives.
    ///
    /// # Errors
    /// See the module's head.
    pub async fn declare_dead(&self, node: Node) -> Result<bool, Fault> {
        let pool = self.pool.clone();
        self.spawn
            .run(async move {
                let sql = "UPDATE node SET epoch = epoch + 1 WHERE id = $1 AND epoch = $2";
                Ok(pool.lend().await?.execute(sql, &[&node.id.get(), &node.epoch]).await? == 1)
            })
            .await
    }

    /// Says whether a node is to hold slots. Others take those of one that drains.
    ///
    /// # Errors
    /// See the module's head.
    pub async fn drain(&self, node: NodeId, draining: bool) -> Result<(), Fault> {
        let pool = self.pool.clone();
        self.spawn
            .run(async move {
                let sql = "UPDATE node SET draining = $2 WHERE id = $1";
                pool.lend().await?.execute(sql, &[&node.get(), &draining]).await.map(drop)
            })
            .await
    }

    /// Takes a node out that holds no slot, with what it knew of attached devices. `false`: it holds some.
    ///
    /// # Errors
    /// See the module's head.
    pub async fn leave(&self, node: NodeId) -> Result<bool, Fault> {
        let (pool, groups) = (self.pool.clone(), self.groups.clone());
        self.spawn
            .run(async move {
                for group in groups.others() {
                    let held = "SELECT EXISTS (SELECT FROM lease WHERE writer / $2 = $1)";
                    let there = group.pool.lend().await?;
                    if there.query_one(held, &[&node.get(), &MAX_LANES]).await?.get(0) {
                        return Ok(false);
                    }
                }
                let link = pool.lend().await?;
                link.begin().await?;
                let sql = "DELETE FROM node WHERE id = $1 AND NOT EXISTS (SELECT FROM lease WHERE writer / $2 = $1)";
                let gone = link.execute(sql, &[&node.get(), &MAX_LANES]).await? == 1;
                if gone {
                    link.execute("DELETE FROM presence WHERE node = $1", &[&node.get()]).await?;
                }
                link.commit().await?;
                Ok(gone)
            })
            .await
    }

    // ---- slots

    /// Who holds which slot, by number.
    ///
    /// # Errors
    /// See the module's head.
    pub async fn leases(&self) -> Result<Vec<Lease>, Fault> {
        let groups = self.groups.clone();
        self.spawn.run(async move { leases(&groups).await }).await
    }

    /// Gives slots to a node that has so many writing connections, whichever node holds them now; see the module's head. Says which changed
    /// hands. The node then begins anew with what it holds ([`Postgres::renew`](crate::Postgres::renew)).
    ///
    /// # Errors
    /// See the module's head.
    pub async fn take(&self, node: NodeId, lanes: i16, slots: Vec<Slot>) -> Result<Vec<Slot>, Fault> {
        let (groups, lanes) = (self.groups.clone(), lanes.clamp(1, MAX_LANES));
        let slots: Vec<i16> = slots.into_iter().filter_map(column).collect();
        self.spawn
            .run(async move {
                let mut taken = take_in(groups.home(), node, lanes, &slots).await?;
                for group in groups.others() {
                    match soon(take_in(group, node, lanes, &slots)).await {
                        Ok(more) => taken.extend(more),
                        Err(fault) => away(group, &fault),
                    }
                }
                Ok(taken)
            })
            .await
    }

    /// Slots of a node's go to none, to be taken by others.
    ///
    /// # Errors
    /// See the module's head.
    pub async fn give_up(&self, node: NodeId, slots: Vec<Slot>) -> Result<(), Fault> {
        let groups = self.groups.clone();
        let slots: Vec<i16> = slots.into_iter().filter_map(column).collect();
        self.spawn
            .run(async move {
                give_up_in(groups.home(), node, &slots).await?;
                for group in groups.others() {
                    if let Err(fault) = soon(give_up_in(group, node, &slots)).await {
                        away(group, &fault);
                    }
                }
                Ok(())
            })
            .await
    }

    // ---- attached devices

    /// Notes that a device is attached here from now on. Says where it was attached before, which is displaced; not if that node
    /// ended or was declared dead since. `Err` with [`Outcome::Not`](crate::outcome::Outcome::Not) also if this node was.
    ///
    /// # Errors
    /// See the module's head.
    pub async fn attach(&self, mailbox: Address, node: Node, attachment: i64) -> Result<Option<Attached>, Fault> {
        let pool = self.pool.clone();
        self.spawn
            .run(async move {
                let mailbox = mailbox.to_bytes();
                let mailbox = &mailbox[..];
                let link = pool.lend().await?;
                link.begin().await?;
                let alive = "SELECT FROM node WHERE id = $1 AND epoch = $2 FOR KEY SHARE";
                if link.query_opt(alive, &[&node.id.get(), &node.epoch]).await?.is_none() {
                    link.commit().await?;
                    return Err(Fault::not("this node was declared dead"));
                }
                // The row is locked by the first statement, so that two that attach at once see each other.
                let insert = "INSERT INTO presence(mailbox, node, epoch, attachment) VALUES ($1, 0, 0, 0)
                    ON CONFLICT (mailbox) DO UPDATE SET mailbox = excluded.mailbox RETURNING node, epoch, attachment";
                let row = link.query_one(insert, &[&mailbox]).await?;
                let update = "UPDATE presence SET node = $2, epoch = $3, attachment = $4 WHERE mailbox = $1";
                link.execute(update, &[&mailbox, &node.id.get(), &node.epoch, &attachment]).await?;
                let before = attached(&row);
                let lives = match before {
                    Some(before) => {
                        let sql = "SELECT FROM node WHERE id = $1 AND epoch = $2";
                        link.query_opt(sql, &[&before.node.id.get(), &before.node.epoch]).await?.is_some()
                    }
                    None => false,
                };
                link.commit().await?;
                Ok(before.filter(|_| lives))
            })
            .await
    }

    /// Notes that a device is attached no more, unless it is attached elsewhere by now.
    ///
    /// # Errors
    /// See the module's head.
    pub async fn detach(&self, mailbox: Address, node: Node, attachment: i64) -> Result<(), Fault> {
        let pool = self.pool.clone();
        self.spawn
            .run(async move {
                let sql = "DELETE FROM presence WHERE mailbox = $1 AND node = $2 AND epoch = $3 AND attachment = $4";
                let mailbox = mailbox.to_bytes();
                let link = pool.lend().await?;
                link.execute(sql, &[&&mailbox[..], &node.id.get(), &node.epoch, &attachment]).await.map(drop)
            })
            .await
    }

    /// Where a device is attached, if it is anywhere that lives.
    ///
    /// # Errors
    /// See the module's head.
    pub async fn attached(&self, mailbox: Address) -> Result<Option<Attached>, Fault> {
        let pool = self.pool.clone();
        self.spawn
            .run(async move {
                let sql = "SELECT p.node, p.epoch, p.attachment FROM presence p
                    JOIN node n ON n.id = p.node AND n.epoch = p.epoch WHERE p.mailbox = $1";
                let mailbox = mailbox.to_bytes();
                let row = pool.lend().await?.query_opt(sql, &[&&mailbox[..]]).await?;
                Ok(row.as_ref().and_then(attached))
            })
            .await
    }

    /// Forgets what was attached to starts of nodes that are over. Says how many that were.
    ///
    /// # Errors
    /// See the module's head.
    pub async fn sweep(&self) -> Result<u64, Fault> {
        let pool = self.pool.clone();
        self.spawn
            .run(async move {
                let sql = "DELETE FROM presence p WHERE NOT EXISTS
                    (SELECT FROM node n WHERE n.id = p.node AND n.epoch = p.epoch)";
                pool.lend().await?.execute(sql, &[]).await
            })
            .await
    }
}

/// A group that is not the first may be away: what was to be done there is left.
fn away(group: &Group, fault: &Fault) {
    tracing::warn!(group = group.name, error = fault.words, "a group of servers does not answer");
}

async fn take_in(group: &Group, node: NodeId, lanes: i16, slots: &[i16]) -> Result<Vec<Slot>, Fault> {
    let link = group.pool.lend().await?;
    link.begin().await?;
    // Those who take are in a row: so the writers that are asked for now are those that are fenced.
    link.batch("LOCK TABLE lease IN SHARE ROW EXCLUSIVE MODE").await?;
    // Those of the node that takes, too: what it has drawn before may lie below what the other one gave out.
    let sql = "UPDATE writer SET epoch = epoch + 1 WHERE id IN
        (SELECT unnest(ARRAY[writer, $2::int2 * $3::int2 + slot % $4::int2]) FROM lease
            WHERE slot = ANY($1) AND writer / $3 <> $2)";
    link.execute(sql, &[&slots, &node.get(), &MAX_LANES, &lanes]).await?;
    let sql = "UPDATE lease SET writer = $2 * $3 + slot % $4, epoch = epoch + 1, next_cursor = next_cursor + $5
        WHERE slot = ANY($1) AND writer / $3 <> $2 RETURNING slot";
    let rows = link.query(sql, &[&slots, &node.get(), &MAX_LANES, &lanes, &CURSOR_BLOCK]).await?;
    link.commit().await?;
    Ok(rows.iter().map(|row| row.get::<_, i16>(0).unsigned_abs()).collect())
}

async fn give_up_in(group: &Group, node: NodeId, slots: &[i16]) -> Result<(), Fault> {
    let link = group.pool.lend().await?;
    link.begin().await?;
    link.batch("LOCK TABLE lease IN SHARE ROW EXCLUSIVE MODE").await?;
    let sql = "UPDATE writer SET epoch = epoch + 1 WHERE id IN
        (SELECT writer FROM lease WHERE slot = ANY($1) AND writer / $3 = $2)";
    link.execute(sql, &[&slots, &node.get(), &MAX_LANES]).await?;
    let sql = "UPDATE lease SET writer = 0, epoch = epoch + 1 WHERE slot = ANY($1) AND writer / $3 = $2";
    link.execute(sql, &[&slots, &node.get(), &MAX_LANES]).await?;
    link.commit().await
}

async fn leases_in(group: &Group) -> Result<Vec<Row>, Fault> {
    let link = group.pool.lend().await?;
    // What is at the address of another group has no slots of this one.
    let sql = "SELECT slot, writer, epoch FROM lease WHERE EXISTS (SELECT FROM store_group WHERE id = $1)";
    link.query(sql, &[&group.id.get()]).await
}

/// Who holds which slot, by number, each once.
pub(crate) async fn leases(groups: &Groups) -> Result<Vec<Lease>, Fault> {
    let mut all: Vec<Lease> = slot::all().map(|slot| Lease { slot, node: None, epoch: 0, group: None }).collect();
    let home = leases_in(groups.home()).await?;
    let others = groups.others().iter().map(|group| soon(leases_in(group)));
    let others = futures_util::future::join_all(others).await;
    let others = others
        .into_iter()
        .zip(groups.others())
        .map(|(rows, group)| (rows.inspect_err(|fault| away(group, fault)).unwrap_or_default(), group.id));
    for (rows, group) in std::iter::once((home, GroupId::HOME)).chain(others) {
        for row in &rows {
            let slot = row.get::<_, i16>(0).unsigned_abs();
            if let Some(lease) = all.get_mut(usize::from(slot)) {
                *lease = Lease { slot, node: NodeId::of_writer(row.get(1)), epoch: row.get(2), group: Some(group) };
            }
        }
    }
    Ok(all)
}

/// As the table has it. `None`: there is no such slot.
fn column(slot: Slot) -> Option<i16> {
    i16::try_from(slot).ok().filter(|_| slot < SLOTS)
}

fn known_node(row: &Row) -> Result<KnownNode, Fault> {
    let id = NodeId::new(row.get(0)).ok_or_else(|| Fault::not("the table of nodes is damaged"))?;
    Ok(KnownNode {
        node: Node { id, epoch: row.get(1) },
        name: row.get(2),
        address: row.get(3),
        // A clock of the server's that was set back makes it negative.
        silent: Duration::from_millis(row.get::<_, i64>(4).max(0).unsigned_abs()),
        draining: row.get(5),
        groups: row.get(6),
    })
}

fn attached(row: &Row) -> Option<Attached> {
    let id = NodeId::new(row.get(0))?;
    Some(Attached { node: Node { id, epoch: row.get(1) }, attachment: row.get(2) })
}
