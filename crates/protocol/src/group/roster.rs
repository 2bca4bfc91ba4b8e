//! From a set of operations to a roster: pure, so that all who have the same operations have the same group (PROTOCOL.md, Groups).
//!
//! There is no order of arrival, no clock and no server in it. The words:
//!
//! - A **stint** is one grant of one role to one account, named by the operation that made it. An account may hold several.
//! - The **key** of a stint is (rank of the role, length of the chain of grants, lamport, id); smaller is *senior*. A grant's key is
//!   greater than its author's, so whatever decides about a stint has been decided before it.
//! - Each operation is issued **under** a stint: its author's own, in its own past.
//! - A **sealer** is a removal, demotion, leave, resignation or device cut. It ends stints or devices, and of what they did only
//!   what lies in its own past counts: to date an operation back is to make it concurrent, which wins nothing.
//!
//! Signatures, device lists and encodings are checked before: an [`Operation`] here is one that its author signed.
//!
//! Cost: n operations with p parents take n·p steps over sets of n bits, and for each stint its operations × the sealers that aim
//! at it × the checkpoints that overrule them. n is bounded by the caller ([`MAX_OPERATIONS`]).

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

use kuvert_types::{AccountId, AccountKey, DeviceId};

/// Parents of one operation.
pub const MAX_PARENTS: usize = 16;
/// Operations that one device has in effect under one stint; those that need no stint have as many of their own.
pub const MAX_EFFECTIVE: usize = 512;
/// Operations of one group: their pasts take n² bits, 32 MiB for these.
pub const MAX_OPERATIONS: usize = 16_384;

/// The SHA-256 of a signed operation. That of the creation names the group.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OperationId([u8; 32]);

impl OperationId {
    /// Takes the hash.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for OperationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, ..] = self.0;
        write!(f, "OperationId({a:02x}{b:02x}{c:02x}{d:02x}…)")
    }
}

/// What an account may do. Senior roles come first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Role {
    /// Everything; only an owner makes owners and closes the group.
    Owner,
    /// Grants, removes, demotes, changes settings.
    Admin,
    /// Writes.
    Member,
}

/// What an operation does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Makes the group; its author is an owner.
    Create {
        /// The author's.
        key: AccountKey,
    },
    /// Gives an account a role.
    Grant {
        /// Whom.
        account: AccountId,
        /// The key that this account signs its devices with.
        key: AccountKey,
        /// Which.
        role: Role,
    },
    /// Ends an account's stints.
    Remove {
        /// Whose.
        account: AccountId,
    },
    /// Ends an account's stints as owner and admin; it stays a member.
    Demote {
        /// Whose.
        account: AccountId,
    },
    /// The author goes.
    Leave,
    /// The author is a member from now on.
    Resign,
    /// Devices that the author's new list no longer names. Signed by the account key.
    Cut {
        /// Their numbers.
        devices: Vec<DeviceId>,
    },
    /// Sets a field: title, description, picture.
    Info {
        /// Which.
        field: u8,
        /// To what.
        value: Vec<u8>,
    },
    /// Keeps what it knows from removals that it does not know.
    Checkpoint,
    /// Ends the group.
    Close,
}

impl Kind {
    /// Leave, resignation, cut: an account's own, which need no stint.
    const fn is_own(&self) -> bool {
        matches!(self, Self::Leave | Self::Resign | Self::Cut { .. })
    }

    /// Makes a stint, or may leave one behind.
    const fn makes_stint(&self) -> bool {
        matches!(self, Self::Create { .. } | Self::Grant { .. } | Self::Demote { .. } | Self::Resign)
    }
}

/// One signed operation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Operation {
    /// Its name.
    pub id: OperationId,
    /// What its author knew: 1 to [`MAX_PARENTS`], none for a creation.
    pub parents: Vec<OperationId>,
    /// 1 + the greatest of its parents'; 0 for a creation.
    pub lamport: u64,
    /// The account.
    pub author: AccountId,
    /// The device that signed; none where the account key did, for a cut.
    pub device: Option<DeviceId>,
    /// The grant acted under; none for a creation and for an account's own operations.
    pub stint: Option<OperationId>,
    /// What it does.
    pub kind: Kind,
}

/// A member, as the operations have it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Member {
    /// The highest of its stints.
    pub role: Role,
    /// The key that the most senior of those who granted it gave.
    pub key: AccountKey,
}

/// What a set of operations comes to.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Roster {
    /// Who belongs to the group.
    pub members: BTreeMap<AccountId, Member>,
    /// What was set.
    pub info: BTreeMap<u8, Vec<u8>>,
    /// Accounts that live grants name with two keys: the most senior granter's counts, and people are told.
    pub conflicts: BTreeSet<AccountId>,
    /// Whether an owner closed the group.
    pub closed: bool,
    /// Operations under a stint that have no effect.
    pub void: BTreeSet<OperationId>,
    /// Operations whose parents are missing, or held themselves: they may come to count.
    pub held: BTreeSet<OperationId>,
    /// Operations that break a rule, or rest on one that does. They never count.
    pub rejected: BTreeSet<OperationId>,
    /// Operations that all others of their effect rest on and that no effective one knows: what the next one names.
    pub heads: BTreeSet<OperationId>,
}

/// The roster of the group `group`, from a set of operations in any order. Two with one id are one: the id is a hash.
///
/// Of more than [`MAX_OPERATIONS`] none is looked at: the caller keeps fewer.
pub fn resolve(group: &OperationId, operations: &[Operation]) -> Roster {
    if operations.len() > MAX_OPERATIONS {
        return Roster::default();
    }
    let mut admitted = Admitted::of(group, operations);
    let (held, rejected) = (core::mem::take(&mut admitted.held), core::mem::take(&mut admitted.rejected));
    let mut evaluation = Evaluation::new(&admitted);
    evaluation.run();
    Roster { held, rejected, ..evaluation.roster() }
}

/// An admitted operation, by its place in [`Admitted`].
type Index = usize;

/// A set of admitted operations.
#[derive(Clone, Default)]
struct Set(Vec<u64>);

impl Set {
    fn with_room_for(n: usize) -> Self {
        Self(vec![0; n.div_ceil(64)])
    }

    fn insert(&mut self, i: Index) {
        self.0[i / 64] |= 1 << (i % 64);
    }

    fn has(&self, i: Index) -> bool {
        self.0[i / 64] & 1 << (i % 64) != 0
    }

    fn extend(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(word, more)| *word |= more);
    }
}

/// Seniority: (rank, length of the chain of grants, lamport, id).
type Key = (Role, u32, u64, OperationId);

/// Which operations share one quota: those of a device under a stint, or an account's own of a device.
type Writer = (AccountId, Option<DeviceId>, Option<Index>, bool);

/// The operations that are well formed, each behind its parents. What is judged here of an operation depends on its own past
/// only, so no verdict ever changes (R1 to R4).
struct Admitted<'a> {
    operations: Vec<&'a Operation>,
    index: BTreeMap<OperationId, Index>,
    depth: Vec<u32>,
    past: Vec<Set>,
    /// The stint acted under.
    under: Vec<Option<Index>>,
    writers: BTreeMap<Writer, Vec<Index>>,
    /// Creations and grants, of each account.
    stints: BTreeMap<AccountId, Vec<Index>>,
    held: BTreeSet<OperationId>,
    rejected: BTreeSet<OperationId>,
}

impl<'a> Admitted<'a> {
    fn of(group: &OperationId, operations: &'a [Operation]) -> Self {
        let all: BTreeMap<OperationId, &Operation> = operations.iter().map(|op| (op.id, op)).collect();
        let mut waiting: BTreeMap<OperationId, usize> = BTreeMap::new();
        let mut children: BTreeMap<OperationId, Vec<OperationId>> = BTreeMap::new();
        for (id, op) in &all {
            let parents: BTreeSet<_> = op.parents.iter().filter(|parent| all.contains_key(parent)).collect();
            waiting.insert(*id, parents.len());
            parents.into_iter().for_each(|parent| children.entry(*parent).or_default().push(*id));
        }
        let mut admitted = Self {
            operations: Vec::new(),
            index: BTreeMap::new(),
            depth: Vec::new(),
            past: Vec::new(),
            under: Vec::new(),
            writers: BTreeMap::new(),
            stints: BTreeMap::new(),
            held: BTreeSet::new(),
            rejected: BTreeSet::new(),
        };
        let mut ready: Vec<OperationId> = waiting.iter().filter(|(_, n)| **n == 0).map(|(id, _)| *id).collect();
        while let Some(id) = ready.pop() {
            let op = all[&id];
            // A parent that is not here may come; one that broke a rule never counts, and nothing that rests on it does.
            if op.parents.iter().any(|parent| admitted.rejected.contains(parent)) {
                admitted.rejected.insert(id);
            } else if !op.parents.iter().all(|parent| admitted.index.contains_key(parent)) {
                admitted.held.insert(id);
            } else if !admitted.admit(group, op, all.len()) {
                admitted.rejected.insert(id);
            }
            for child in children.get(&id).into_iter().flatten() {
                if let Some(left) = waiting.get_mut(child) {
                    *left -= 1;
                    if *left == 0 {
                        ready.push(*child);
                    }
                }
            }
        }
        admitted
    }

    /// Whether it is well formed [KV-119]; then it has a place.
    fn admit(&mut self, group: &OperationId, op: &'a Operation, room: usize) -> bool {
        let Some(past) = self.past_of(group, op, room) else { return false };
        let under = match op.stint {
            Some(stint) => match self.index.get(&stint) {
                // R3: the author's own, and in its past.
                Some(v) if past.has(*v) && self.holder(*v) == Some(op.author) => Some(*v),
                _ => return false,
            },
            None => None,
        };
        let writer = (op.author, op.device, under, op.kind.is_own());
        let earlier = self.writers.get(&writer).into_iter().flatten().filter(|other| past.has(**other)).count();
        // R2
        if earlier >= MAX_EFFECTIVE || !self.may(op, under, &past) {
            return false;
        }
        let i = self.operations.len();
        self.depth.push(match op.kind {
            Kind::Create { .. } => 0,
            _ => under.map_or(0, |v| self.depth[v]) + 1,
        });
        self.operations.push(op);
        self.index.insert(op.id, i);
        self.past.push(past);
        self.under.push(under);
        self.writers.entry(writer).or_default().push(i);
        if let (Kind::Create { .. } | Kind::Grant { .. }, Some(holder)) = (&op.kind, self.holder(i)) {
            self.stints.entry(holder).or_default().push(i);
        }
        true
    }

    /// R1, R2: the one creation, or 1 to 16 different parents and the one right lamport.
    fn past_of(&self, group: &OperationId, op: &Operation, room: usize) -> Option<Set> {
        let mut past = Set::with_room_for(room);
        if matches!(op.kind, Kind::Create { .. }) {
            return (op.id == *group && op.parents.is_empty() && op.lamport == 0).then_some(past);
        }
        let different: BTreeSet<_> = op.parents.iter().collect();
        if !(1..=MAX_PARENTS).contains(&op.parents.len()) || different.len() != op.parents.len() {
            return None;
        }
        let mut lamport = 0;
        for parent in &op.parents {
            let parent = *self.index.get(parent)?;
            lamport = lamport.max(self.operations[parent].lamport);
            past.extend(&self.past[parent]);
            past.insert(parent);
        }
        (op.lamport == lamport + 1).then_some(past)
    }

    /// R4: who may what. Nothing that can be changed decides about it.
    fn may(&self, op: &Operation, under: Option<Index>, past: &Set) -> bool {
        // The account key signs cuts and nothing else.
        if matches!(op.kind, Kind::Cut { .. }) != op.device.is_none() {
            return false;
        }
        if matches!(op.kind, Kind::Create { .. }) {
            return under.is_none();
        }
        if op.kind.is_own() {
            let mut stints = self.stints.get(&op.author).into_iter().flatten();
            return under.is_none() && stints.any(|v| past.has(*v));
        }
        let Some(rank) = under.map(|v| self.rank(v)) else { return false };
        match &op.kind {
            Kind::Grant { role, .. } => rank <= Role::Admin && *role >= rank,
            Kind::Remove { account } | Kind::Demote { account } => rank <= Role::Admin && *account != op.author,
            Kind::Info { .. } | Kind::Checkpoint => rank <= Role::Admin,
            Kind::Close => rank == Role::Owner,
            Kind::Create { .. } | Kind::Leave | Kind::Resign | Kind::Cut { .. } => false,
        }
    }

    /// Whose stint it makes, or may leave behind.
    fn holder(&self, v: Index) -> Option<AccountId> {
        let op = self.operations[v];
        match &op.kind {
            Kind::Create { .. } | Kind::Resign => Some(op.author),
            Kind::Grant { account, .. } | Kind::Demote { account } | Kind::Remove { account } => Some(*account),
            _ => None,
        }
    }

    fn rank(&self, v: Index) -> Role {
        match self.operations[v].kind {
            Kind::Create { .. } => Role::Owner,
            Kind::Grant { role, .. } => role,
            _ => Role::Member,
        }
    }

    fn key(&self, v: Index) -> Key {
        let op = self.operations[v];
        (self.rank(v), self.depth[v], op.lamport, op.id)
    }

    /// Whether `x` lies in the past of `y`.
    fn before(&self, x: Index, y: Index) -> bool {
        self.past[y].has(x)
    }

    fn writer(&self, i: Index) -> Writer {
        let op = self.operations[i];
        (op.author, op.device, self.under[i], op.kind.is_own())
    }

    /// R12: of each writer the lowest by (lamport, id). What goes beyond is void, whatever order it came in.
    fn lowest(&self, mut of: Vec<Index>) -> Vec<Index> {
        of.sort_by_key(|i| (self.operations[*i].lamport, self.operations[*i].id));
        let mut counts: BTreeMap<Writer, usize> = BTreeMap::new();
        of.retain(|i| {
            let count = counts.entry(self.writer(*i)).or_default();
            *count += 1;
            *count <= MAX_EFFECTIVE
        });
        of
    }
}

/// What ended or sealed a stint that came to be.
#[derive(Default)]
struct Ends {
    /// Removals and demotions.
    hit: Vec<Index>,
    /// The holder's own leaves and resignations.
    left: Vec<Index>,
    /// The holder's device cuts: they seal devices, and end no stint.
    cut: Vec<Index>,
}

impl Ends {
    fn sealers(&self) -> impl Iterator<Item = Index> {
        self.hit.iter().chain(&self.left).copied()
    }

    const fn is_live(&self) -> bool {
        self.hit.is_empty() && self.left.is_empty()
    }
}

/// One pass over the stints, the most senior first [KV-120].
struct Evaluation<'a> {
    of: &'a Admitted<'a>,
    /// Operations issued under a stint.
    under: BTreeMap<Index, Vec<Index>>,
    /// Removals and demotions of an account.
    aimed: BTreeMap<AccountId, Vec<Index>>,
    /// An account's leaves, resignations and cuts.
    own: BTreeMap<AccountId, Vec<Index>>,
    effective: Set,
    /// Effective ones, with the key of their stint.
    checkpoints: Vec<(Key, Index)>,
    /// Void by their own doing: bad faith, or beyond the quota.
    bad: Set,
    /// Of each stint that came to be.
    ends: BTreeMap<Index, Ends>,
    /// Stints that came to be, of each account.
    stints: BTreeMap<AccountId, Vec<Index>>,
}

impl<'a> Evaluation<'a> {
    fn new(of: &'a Admitted<'a>) -> Self {
        let n = of.operations.len();
        let (mut under, mut aimed, mut own): (BTreeMap<_, Vec<_>>, BTreeMap<_, Vec<_>>, BTreeMap<_, Vec<_>>) =
            Default::default();
        for (i, op) in of.operations.iter().enumerate() {
            if let Some(v) = of.under[i] {
                under.entry(v).or_default().push(i);
            }
            match &op.kind {
                Kind::Remove { account } | Kind::Demote { account } => aimed.entry(*account).or_default().push(i),
                kind if kind.is_own() => own.entry(op.author).or_default().push(i),
                _ => {}
            }
        }
        Self {
            of,
            under,
            aimed,
            own,
            effective: Set::with_room_for(n),
            checkpoints: Vec::new(),
            bad: Set::with_room_for(n),
            ends: BTreeMap::new(),
            stints: BTreeMap::new(),
        }
    }

    fn run(&mut self) {
        let of = self.of;
        let mut order: Vec<Index> = (0..of.operations.len()).filter(|i| of.operations[*i].kind.makes_stint()).collect();
        order.sort_by_key(|v| of.key(*v));
        for v in order {
            if matches!(of.operations[v].kind, Kind::Create { .. }) {
                self.effective.insert(v);
            }
            let Some(account) = of.holder(v) else { continue };
            if !self.came_to_be(v, account) {
                continue;
            }
            let hit = self.hits(v, account);
            self.ends.insert(v, Ends { hit, ..Ends::default() });
            self.own_ends(v, account);
            self.stints.entry(account).or_default().push(v);
            self.take_effect(v);
        }
    }

    /// What counts of what was done under the stint `v`.
    fn take_effect(&mut self, v: Index) {
        let unsealed = |x: &Index| {
            let sealers = self.ends.get(&v).into_iter().flat_map(Ends::sealers);
            sealers.into_iter().all(|y| self.keeps(y, v, None, *x)) && self.device_counts(*x, v)
        };
        let mine: Vec<Index> = self.under.get(&v).into_iter().flatten().copied().filter(unsealed).collect();
        // Before good faith is judged: an operation beside them may rest on that.
        mine.iter().for_each(|x| self.bad.insert(*x));
        let honest: Vec<Index> = mine.into_iter().filter(|x| self.in_good_faith(*x)).collect();
        for x in self.of.lowest(honest) {
            self.bad.0[x / 64] &= !(1 << (x % 64));
            self.effective.insert(x);
            if self.of.operations[x].kind == Kind::Checkpoint {
                self.checkpoints.push((self.of.key(v), x));
            }
        }
    }

    fn came_to_be(&self, v: Index, account: AccountId) -> bool {
        let of = self.of;
        let resigns = match of.operations[v].kind {
            Kind::Create { .. } | Kind::Grant { .. } => return self.effective.has(v),
            Kind::Resign => true,
            _ => false,
        };
        // R8: a demotion or resignation leaves a member behind, if it ended a stint that nothing it knew had ended before.
        let left_before = |t: Index| {
            self.own.get(&account).into_iter().flatten().any(|y| {
                let leaves = matches!(of.operations[*y].kind, Kind::Leave);
                leaves && of.before(*y, v) && self.device_counts(*y, t) && !of.before(*y, t)
            })
        };
        self.stints.get(&account).into_iter().flatten().any(|t| {
            let Some(ends) = self.ends.get(t) else { return false };
            let ended = if resigns { &ends.left } else { &ends.hit };
            of.rank(*t) < Role::Member
                && ended.contains(&v)
                && !ends.sealers().any(|y| of.before(y, v))
                && !left_before(*t)
        })
    }

    /// R6: effective removals and demotions by strictly seniors, which the grant did not know.
    fn hits(&self, v: Index, account: AccountId) -> Vec<Index> {
        let aimed = self.aimed.get(&account).into_iter().flatten().copied();
        aimed.filter(|r| self.effective.has(*r) && self.aims_at(*r, v, None)).collect()
    }

    /// R9, R10: the holder's own, as far as no senior's removal sealed them out.
    fn own_ends(&mut self, v: Index, account: AccountId) {
        let of = self.of;
        let hit = self.ends.get(&v).map(|ends| ends.hit.clone()).unwrap_or_default();
        let own = self.own.get(&account).into_iter().flatten().copied();
        let mine = of.lowest(own.filter(|y| hit.iter().all(|r| self.keeps(*r, v, None, *y))).collect());
        let is_cut = |y: &Index| matches!(of.operations[*y].kind, Kind::Cut { .. });
        let (cut, others): (Vec<Index>, Vec<Index>) = mine.into_iter().partition(is_cut);
        self.ends.entry(v).or_default().cut = cut;
        let left = others.into_iter().filter(|y| self.aims_at(*y, v, None) && self.device_counts(*y, v)).collect();
        self.ends.entry(v).or_default().left = left;
    }

    /// R5: if `x` knew a sealer that, for all it knew, voided it or a grant that it rests on, it also knew why that one is void.
    fn in_good_faith(&self, x: Index) -> bool {
        let of = self.of;
        let mut z = x;
        while let Some(v) = of.under[z] {
            let Some(account) = of.holder(v) else { return false };
            let aimed = self.aimed.get(&account).into_iter().chain(self.own.get(&account)).flatten();
            for y in aimed.copied().filter(|y| of.before(*y, x)) {
                if self.aims_at(y, v, Some(z)) && !self.keeps(y, v, Some(x), z) && !self.known_void(y, v, x) {
                    return false;
                }
            }
            z = v;
        }
        true
    }

    /// Whether the sealer `y`, were it effective, would bear on the operation `z` of the stint `v`, or on the stint itself.
    fn aims_at(&self, y: Index, v: Index, z: Option<Index>) -> bool {
        let of = self.of;
        let kind = &of.operations[y].kind;
        if let Kind::Cut { devices } = kind {
            return z.is_some_and(|z| of.operations[z].device.is_some_and(|device| devices.contains(&device)));
        }
        let senior = of.under[y].is_none_or(|stint| of.key(stint) < of.key(v));
        let reaches = of.rank(v) < Role::Member || matches!(kind, Kind::Remove { .. } | Kind::Leave);
        senior && reaches && !of.before(y, v)
    }

    fn known_void(&self, y: Index, v: Index, x: Index) -> bool {
        let of = self.of;
        if of.operations[y].kind.is_own() {
            // Sealed out by a removal, or by a cut, that x knew.
            let counts = self.ends.get(&v).is_some_and(|ends| ends.left.contains(&y) || ends.cut.contains(&y));
            return !counts && self.known_reason(y, v, x);
        }
        let mut y = y;
        while !self.effective.has(y) {
            let Some(stint) = of.under[y] else { return false };
            if self.bad.has(y) || self.known_reason(y, stint, x) {
                return true;
            }
            // Or because its author's grant was void.
            y = stint;
        }
        false
    }

    /// Whether `x` knew a sealer of the stint `v` that does not let `y` stand.
    fn known_reason(&self, y: Index, v: Index, x: Index) -> bool {
        let Some(ends) = self.ends.get(&v) else { return false };
        let cuts = ends.cut.iter().copied().filter(|cut| self.cuts(*cut, y));
        ends.sealers().chain(cuts).any(|sealer| self.of.before(sealer, x) && !self.keeps(sealer, v, None, y))
    }

    /// Whether the cut names the device that signed `x`.
    fn cuts(&self, cut: Index, x: Index) -> bool {
        match (&self.of.operations[cut].kind, self.of.operations[x].device) {
            (Kind::Cut { devices }, Some(device)) => devices.contains(&device),
            _ => false,
        }
    }

    /// R10: whether no cut of the stint's holder seals `x` out.
    fn device_counts(&self, x: Index, v: Index) -> bool {
        let cuts = self.ends.get(&v).into_iter().flat_map(|ends| &ends.cut);
        cuts.into_iter().all(|cut| !self.cuts(*cut, x) || self.keeps(*cut, v, None, x))
    }

    /// R7: whether the sealer `y` lets `x`, of the stint `v`, stand: it knew it, or (R11) a checkpoint covers it that did not know `y`
    /// and whose author may overrule `y`: as senior as the author of a removal, or, for the holder's own, strictly senior to `v`.
    /// `known_to`: only by checkpoints that this operation knew.
    fn keeps(&self, y: Index, v: Index, known_to: Option<Index>, x: Index) -> bool {
        let of = self.of;
        let overrules = |key: &Key| match of.under[y] {
            Some(stint) => *key <= of.key(stint),
            None => *key < of.key(v),
        };
        of.before(x, y)
            || self.checkpoints.iter().any(|(key, k)| {
                of.before(x, *k)
                    && !of.before(y, *k)
                    && known_to.is_none_or(|knower| of.before(*k, knower))
                    && overrules(key)
            })
    }

    /// What it comes to [KV-121].
    fn roster(&self) -> Roster {
        let of = self.of;
        let mut roster = Roster::default();
        let mut live: Vec<Index> = self.ends.iter().filter(|(_, ends)| ends.is_live()).map(|(v, _)| *v).collect();
        // R13: the most senior granter's key counts.
        live.sort_by_key(|v| (of.under[*v].map(|stint| of.key(stint)), of.key(*v)));
        for v in &live {
            let (Kind::Create { key } | Kind::Grant { key, .. }) = of.operations[*v].kind else { continue };
            let (Some(account), role) = (of.holder(*v), of.rank(*v)) else { continue };
            let member = roster.members.entry(account).or_insert(Member { role, key });
            if member.key == key {
                member.role = member.role.min(role);
            } else {
                roster.conflicts.insert(account);
            }
        }
        // What a demotion or resignation left behind has the key that it had.
        for v in live {
            if let (Some(account), Kind::Demote { .. } | Kind::Resign) = (of.holder(v), &of.operations[v].kind)
                && let Some(key) = self.key_before(v, account)
            {
                roster.members.entry(account).or_insert(Member { role: Role::Member, key });
            }
        }
        roster.info = self.info();
        for (i, op) in of.operations.iter().enumerate() {
            if !self.effective.has(i) {
                if of.under[i].is_some() {
                    roster.void.insert(op.id);
                }
            } else if op.kind == Kind::Close {
                roster.closed = true;
            }
        }
        roster.heads = self.heads();
        roster
    }

    /// The key under which a demoted or resigned account held the stint that ended.
    fn key_before(&self, v: Index, account: AccountId) -> Option<AccountKey> {
        let ended = self
            .stints
            .get(&account)
            .into_iter()
            .flatten()
            .filter(|t| self.ends.get(t).is_some_and(|ends| ends.sealers().any(|y| y == v)));
        let keys = ended.filter_map(|t| match self.of.operations[*t].kind {
            Kind::Create { key } | Kind::Grant { key, .. } => Some(key),
            _ => None,
        });
        keys.into_iter().next()
    }

    /// R14: of each field the writes that no other effective write of it knew, and of these the most senior author's.
    fn info(&self) -> BTreeMap<u8, Vec<u8>> {
        let of = self.of;
        let mut writes: BTreeMap<u8, Vec<Index>> = BTreeMap::new();
        for (i, op) in of.operations.iter().enumerate() {
            if let Kind::Info { field, .. } = &op.kind
                && self.effective.has(i)
            {
                writes.entry(*field).or_default().push(i);
            }
        }
        let best = writes.into_iter().filter_map(|(field, writes)| {
            let newest = writes.iter().filter(|x| !writes.iter().any(|y| of.before(**x, *y)));
            let best = newest.min_by_key(|x| {
                let op = of.operations[**x];
                (of.under[**x].map(|v| of.key(v)), core::cmp::Reverse(op.lamport), op.id)
            })?;
            match &of.operations[*best].kind {
                Kind::Info { value, .. } => Some((field, value.clone())),
                _ => None,
            }
        });
        best.collect()
    }

    /// What is in force and no other such operation knew.
    fn heads(&self) -> BTreeSet<OperationId> {
        let of = self.of;
        let own = self.ends.values().flat_map(|ends| ends.left.iter().chain(&ends.cut)).copied();
        let mut counts = self.effective.clone();
        own.for_each(|y| counts.insert(y));
        let counting: Vec<Index> = (0..of.operations.len()).filter(|i| counts.has(*i)).collect();
        let mut known = Set::with_room_for(of.operations.len());
        counting.iter().for_each(|i| known.extend(&of.past[*i]));
        counting.into_iter().filter(|i| !known.has(*i)).map(|i| of.operations[i].id).collect()
    }
}
