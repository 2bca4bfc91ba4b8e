//! A database for each test: a schema of its own on the server that `KUVERT_POSTGRES` names. Without, tests say that they were
//! skipped; `.ci/run` installs a server and sets the variable.

#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::env;
use std::future::Future;
use std::io::Write as _;
use std::sync::atomic::{AtomicU32, Ordering};

use kuvert_relay::store::{Pending, StoreError, Unavailable};
use kuvert_relay_postgres::cluster::NodeId;
use kuvert_relay_postgres::link::{Door, Link};
use kuvert_relay_postgres::settings::Settings;
use kuvert_relay_postgres::slot::Slot;
use kuvert_relay_postgres::{Peers, Postgres, migrate};

/// Where the server is.
pub const VARIABLE: &str = "KUVERT_POSTGRES";

/// The server, or the word that there is none. Not through `eprintln!`, which the test harness swallows.
pub fn server() -> Option<Settings> {
    match env::var(VARIABLE) {
        Ok(address) => Some(address.parse().expect("KUVERT_POSTGRES")),
        Err(_) => {
            let _ = writeln!(std::io::stderr(), "skipped: no PostgreSQL ({VARIABLE} is not set)");
            None
        }
    }
}

/// A schema that is there until dropped.
pub struct Database {
    /// How it is reached.
    pub settings: Settings,
    server: Settings,
    name: String,
}

/// Waits for a future, outside of any runtime.
pub fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

impl Database {
    /// An empty schema. `None`: there is no server.
    pub fn empty() -> Option<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let server = server()?;
        let name = format!("test_{}_{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let settings = server.clone().in_schema(&name);
        let database = Self { settings, server, name };
        database.run(&format!("DROP SCHEMA IF EXISTS {0} CASCADE; CREATE SCHEMA {0}", database.name));
        Some(database)
    }

    /// One with a store's tables.
    pub fn migrated() -> Option<Self> {
        let database = Self::empty()?;
        assert_eq!(wait(migrate(&database.settings)).unwrap(), 0);
        Some(database)
    }

    /// Runs statements outside of the schema.
    fn run(&self, sql: &str) {
        let door = Door::new(self.server.clone()).unwrap();
        wait(async { door.open().await?.batch(sql).await }).unwrap();
    }

    /// A connection of its own.
    pub async fn link(&self) -> Link {
        Door::new(self.settings.clone()).unwrap().open().await.unwrap()
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // After a failure it is left for a look.
        if !std::thread::panicking() {
            self.run(&format!("SET client_min_messages = error; DROP SCHEMA {} CASCADE", self.name));
        }
    }
}

/// Nodes of one process that hand each other's commands over by a call.
#[derive(Debug, Default)]
pub struct InProcess(std::sync::Mutex<std::collections::HashMap<NodeId, Postgres>>);

impl InProcess {
    /// A node that takes part.
    pub fn add(self: &std::sync::Arc<Self>, node: NodeId, store: &Postgres) {
        store.set_peers(std::sync::Arc::clone(self) as std::sync::Arc<dyn Peers>);
        self.0.lock().unwrap().insert(node, store.clone());
    }

    /// One that takes part no more.
    pub fn remove(&self, node: NodeId) {
        drop(self.0.lock().unwrap().remove(&node));
    }
}

impl Peers for InProcess {
    fn forward(&self, node: NodeId, _: Slot, request: bytes::Bytes) -> Pending<bytes::Bytes, StoreError> {
        match self.0.lock().unwrap().get(&node) {
            Some(store) => store.serve_peer(&request),
            None => Pending::ready(Err(Unavailable::Io("not there".into()).into())),
        }
    }
}
