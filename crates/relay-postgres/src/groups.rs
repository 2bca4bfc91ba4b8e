//! The groups of servers that a store lies on. The first one has everything; another one has mail of the slots that were moved there
//! ([`crate::moves`]), and who may write it.
//!
//! Which groups there are is read once, when a program starts. Where a slot is, no list says for sure: its row in `lease` is in the
//! group that has it, and whatever reads or writes mail looks for that row in the same statement or transaction.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use tokio::time::timeout;

use crate::link::{Door, Link, Pool};
use crate::outcome::Fault;
use crate::schema::{self, OpenError};
use crate::settings::Settings;
use crate::store::days::Days;

/// Groups that a store may have.
pub const MAX_GROUPS: i16 = 16;

/// How long the first group waits for what another one says about its slots: one that is away keeps nothing from going on in the
/// others.
pub(crate) const OTHER_PATIENCE: Duration = Duration::from_millis(1_500);

/// What the counter that tells a store's groups from another store's is called.
const STORE: &str = "store";

/// A group's number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct GroupId(i16);

impl GroupId {
    /// The first: everything but mail is there, and the mail of all slots that were never moved.
    pub const HOME: Self = Self(0);

    /// From its number.
    pub const fn new(number: i16) -> Option<Self> {
        if number >= 0 && number < MAX_GROUPS { Some(Self(number)) } else { None }
    }

    /// Its number.
    pub const fn get(self) -> i16 {
        self.0
    }

    /// Its bit in `node.groups`.
    pub(crate) const fn bit(self) -> i64 {
        1 << self.0
    }
}

/// A group.
pub struct Group {
    /// Its number.
    pub id: GroupId,
    /// Its name, which the operator chose; the first is `home`.
    pub name: String,
    pub(crate) door: Door,
    pub(crate) pool: Pool,
    pub(crate) days: Days,
    /// Rows were deleted whose keys are still in the file.
    pub(crate) dirty: AtomicBool,
    /// Rows were written that are not kept.
    pub(crate) pretended: AtomicBool,
}

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Group").field("id", &self.id).field("name", &self.name).field("door", &self.door).finish()
    }
}

impl Group {
    fn new(id: GroupId, name: String, door: Door) -> Self {
        let (dirty, pretended) = (AtomicBool::new(true), AtomicBool::new(true));
        Self { id, name, pool: Pool::new(door.clone()), door, days: Days::default(), dirty, pretended }
    }

    /// Whether it is the first.
    pub fn is_home(&self) -> bool {
        self.id == GroupId::HOME
    }

    /// Where it is, without a password.
    pub fn place(&self) -> String {
        self.door.settings().to_string()
    }
}

/// All groups of a store, the first one first. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Groups(Arc<Vec<Arc<Group>>>);

impl Groups {
    /// Reads which there are. Connects to none but the first.
    ///
    /// # Errors
    /// The store cannot be used, or a group's address cannot.
    pub(crate) async fn read(door: Door) -> Result<Self, OpenError> {
        let home = Group::new(GroupId::HOME, "home".into(), door.clone());
        let mut groups = Vec::new();
        {
            let link = home.pool.lend().await?;
            schema::check(&link).await?;
            let known = "SELECT id, name, address FROM store_group ORDER BY id";
            let rows = link.query(known, &[]).await?;
            // A group that is not the first has one row: itself.
            if rows.first().is_none_or(|row| row.get::<_, i16>(0) != GroupId::HOME.get()) {
                return Err(OpenError::NotHome);
            }
            for row in &rows {
                let Some(id) = GroupId::new(row.get(0)).filter(|id| *id != GroupId::HOME) else { continue };
                let settings: Settings = row.get::<_, &str>(2).parse()?;
                groups.push(Arc::new(Group::new(id, row.get(1), Door::new(settings.named(door.settings().name()))?)));
            }
        }
        groups.insert(0, Arc::new(home));
        Ok(Self(Arc::new(groups)))
    }

    /// The first.
    #[allow(clippy::expect_used)] // It is put there by `read`, the only way to make one.
    pub fn home(&self) -> &Arc<Group> {
        self.0.first().expect("there is a first group")
    }

    /// The others.
    pub fn others(&self) -> &[Arc<Group>] {
        self.0.get(1..).unwrap_or_default()
    }

    /// All of them.
    pub fn all(&self) -> &[Arc<Group>] {
        &self.0
    }

    /// By its number.
    pub fn get(&self, id: GroupId) -> Option<&Arc<Group>> {
        self.0.iter().find(|group| group.id == id)
    }

    /// Its place among all.
    pub(crate) fn place(&self, id: GroupId) -> Option<usize> {
        self.0.iter().position(|group| group.id == id)
    }

    /// A new connection to a group.
    ///
    /// # Errors
    /// There is no such group, or it cannot be reached.
    pub async fn link(&self, id: GroupId) -> Result<Link, Fault> {
        self.get(id).ok_or_else(|| Fault::not("there is no such group"))?.door.open().await
    }

    /// By its name.
    pub fn named(&self, name: &str) -> Option<&Arc<Group>> {
        self.0.iter().find(|group| group.name == name)
    }

    /// As `node.groups` has them.
    pub(crate) fn bits(&self) -> i64 {
        self.0.iter().fold(0, |bits, group| bits | group.id.bit())
    }

    /// Waits for what is lent of all pools, and lends nothing more.
    pub(crate) async fn finish(&self) {
        for group in self.all() {
            group.pool.finish().await;
        }
    }
}

/// Waits for another group for a moment.
pub(crate) async fn soon<T>(work: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
    timeout(OTHER_PATIENCE, work).await.unwrap_or_else(|_| Err(Fault::unknown("the group did not answer in time")))
}

/// Adds an empty group to a store, from which on slots can be moved there. Relays learn of it when they start next. Does nothing
/// to one that was added before under this name and address.
///
/// # Errors
/// See [`AddError`]. Done again it goes on where it stopped.
pub async fn add(home: &Settings, name: &str, address: &str) -> Result<GroupId, AddError> {
    let settings: Settings = address.parse().map_err(OpenError::from)?;
    if settings.password_in_address() {
        return Err(AddError::Password);
    }
    if name.is_empty() || name.len() > MAX_NAME || name.chars().any(|c| !c.is_ascii_alphanumeric() && c != '-') {
        return Err(AddError::Name);
    }
    let home = Door::new(home.clone()).map_err(OpenError::from)?.open().await?;
    schema::check(&home).await?;
    let door = Door::new(settings).map_err(OpenError::from)?;
    let there = door.open().await?;
    schema::migrate(&there).await?;
    let new = i64::from_be_bytes(random()?);
    let store = "INSERT INTO counter(name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET name = counter.name
        RETURNING value";
    let store: i64 = home.query_one(store, &[&STORE, &new]).await?.get(0);
    // Before anything is locked: it may be the store itself, which has that number now.
    if !is_unused(&there).await? && !is_some_of(&there, store).await? {
        return Err(AddError::Used);
    }
    home.begin().await?;
    home.batch("LOCK TABLE store_group IN SHARE ROW EXCLUSIVE MODE").await?;
    let rows = home.query("SELECT id, name, address FROM store_group ORDER BY id", &[]).await?;
    if rows.first().is_none_or(|row| row.get::<_, i16>(0) != GroupId::HOME.get()) {
        return Err(OpenError::NotHome.into());
    }
    let known = rows.iter().find(|row| row.get::<_, &str>(1) == name || row.get::<_, &str>(2) == address);
    let id = match known {
        Some(row) if row.get::<_, &str>(1) == name && row.get::<_, &str>(2) == address => row.get(0),
        Some(row) => return Err(AddError::Taken(row.get(1))),
        None => rows.last().map_or(0, |row| row.get::<_, i16>(0)) + 1,
    };
    let id = GroupId::new(id).ok_or(AddError::TooMany)?;
    // That one first: until it stands in the first group's list nothing uses it.
    claim(&there, id, name, store).await?;
    let insert = "INSERT INTO store_group(id, name, address) VALUES ($1, $2, $3) ON CONFLICT (id) DO NOTHING";
    home.execute(insert, &[&id.get(), &name, &address]).await?;
    home.commit().await?;
    Ok(id)
}

/// Bytes of a group's name.
const MAX_NAME: usize = 32;

/// Why a group is not added. Every message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum AddError {
    /// One of the two stores.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Its address is stored, and read by every relay.
    #[error("the address holds a password, which would be stored: leave it out, and use PGPASSFILE on every relay")]
    Password,
    /// Its name.
    #[error("a group's name has letters, digits and hyphens, {MAX_NAME} at most")]
    Name,
    /// Name or address are another group's.
    #[error("the name or the address is that of the group `{0}`: choose another one")]
    Taken(String),
    /// There is no number left.
    #[error("a store has at most {MAX_GROUPS} groups")]
    TooMany,
    /// It is in use.
    #[error("the database holds another store, or another group: make an empty database for the group")]
    Used,
}

impl From<Fault> for AddError {
    fn from(fault: Fault) -> Self {
        OpenError::from(fault).into()
    }
}

fn random() -> Result<[u8; 8], AddError> {
    let mut bytes = [0; 8];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| Fault::not("the system has no randomness"))?;
    Ok(bytes)
}

/// Makes an empty store a group of another one, with no slots of its own.
async fn claim(link: &Link, id: GroupId, name: &str, store: i64) -> Result<(), AddError> {
    link.begin().await?;
    link.batch("LOCK TABLE store_group, lease IN SHARE ROW EXCLUSIVE MODE").await?;
    if is_of(link, id, store).await? {
        link.commit().await?;
        return Ok(());
    }
    if !is_unused(link).await? {
        return Err(AddError::Used);
    }
    link.batch("DELETE FROM store_group; DELETE FROM lease; DELETE FROM slot_group").await?;
    link.execute("INSERT INTO store_group(id, name, address) VALUES ($1, $2, '')", &[&id.get(), &name]).await?;
    link.execute("INSERT INTO counter(name, value) VALUES ($1, $2)", &[&STORE, &store]).await?;
    link.commit().await?;
    Ok(())
}

/// Whether it is a store that was never used.
async fn is_unused(link: &Link) -> Result<bool, Fault> {
    let unused = "SELECT (SELECT count(*) FROM store_group WHERE id = 0) = 1 AND NOT EXISTS (SELECT FROM node)
        AND NOT EXISTS (SELECT FROM account) AND NOT EXISTS (SELECT FROM envelope_key) AND NOT EXISTS (SELECT FROM counter)";
    Ok(link.query_one(unused, &[]).await?.get(0))
}

/// Whether it is a group of this store, other than the first.
async fn is_some_of(link: &Link, store: i64) -> Result<bool, Fault> {
    let sql = "SELECT EXISTS (SELECT FROM counter WHERE name = $1 AND value = $2) AND NOT EXISTS (SELECT FROM store_group WHERE id = 0)";
    Ok(link.query_one(sql, &[&STORE, &store]).await?.get(0))
}

/// Whether what this connection reaches is that group of that store.
async fn is_of(link: &Link, id: GroupId, store: i64) -> Result<bool, Fault> {
    let sql = "SELECT EXISTS (SELECT FROM store_group WHERE id = $1) AND EXISTS (SELECT FROM counter WHERE name = $2 AND value = $3)
        AND NOT EXISTS (SELECT FROM store_group WHERE id <> $1)";
    Ok(link.query_one(sql, &[&id.get(), &STORE, &store]).await?.get(0))
}

impl Groups {
    /// Looks whether a group is where its address says: two addresses that were exchanged, or another store, are refused.
    pub(crate) async fn check(&self, group: &Group, link: &Link) -> Result<(), Fault> {
        if group.is_home() {
            return Ok(());
        }
        let home = self.home().pool.lend().await?;
        let store = home.query_one("SELECT value FROM counter WHERE name = $1", &[&STORE]).await?.get(0);
        if is_of(link, group.id, store).await? {
            Ok(())
        } else {
            Err(Fault::not(format!("what is at the address of the group {} is not that group", group.name)))
        }
    }
}
