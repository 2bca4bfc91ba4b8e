//! A database for each test: a schema of its own on the server that `KUVERT_POSTGRES` names. Without, tests say that they were
//! skipped; `.ci/run` installs a server and sets the variable.

#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::env;
use std::future::Future;
use std::io::Write as _;
use std::sync::atomic::{AtomicU32, Ordering};

use kuvert_relay::store::{NewAccount, NewDevice, NumberedDeviceList, StoreError, Unavailable};
use kuvert_relay_postgres::cluster::NodeId;
use kuvert_relay_postgres::link::{Door, Link};
use kuvert_relay_postgres::settings::Settings;
use kuvert_relay_postgres::slot::Slot;
use kuvert_relay_postgres::{Answering, Peers, Postgres, migrate};
use kuvert_types::{AccountId, AccountKey, DeviceId, DeviceSigningKey};

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

/// A connection that has another name than those of relays. A backend that ended before it was told to is nothing to warn of here.
pub async fn apart(settings: &Settings) -> Link {
    let link = Door::new(settings.clone().named("apart")).unwrap().open().await.unwrap();
    link.batch("SET client_min_messages = error").await.unwrap();
    link
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
        let settings = server.clone().in_schema(&name).named(&name);
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

    /// Its address, as an operator writes it.
    pub fn address(&self) -> String {
        format!("{}?options=-c%20search_path%3D{}", env::var(VARIABLE).unwrap(), self.name)
    }

    /// Ends every connection of relays to it, as a server that goes down would. Says how many there were.
    pub async fn end_connections(&self, by: &Link) -> i64 {
        let sql = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
            WHERE application_name = $1 AND pid <> pg_backend_pid()";
        by.query_one(sql, &[&self.name]).await.unwrap().get(0)
    }

    /// A connection that [`end_connections`](Self::end_connections) leaves alone.
    pub async fn apart(&self) -> Link {
        apart(&self.settings).await
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
    fn forward(&self, node: NodeId, _: Slot, request: bytes::Bytes, answering: Answering<bytes::Bytes, StoreError>) {
        let store = self.0.lock().unwrap().get(&node).cloned();
        match store {
            Some(store) => store.answer_peer(request, answering),
            None => answering.send(Err(Unavailable::Io("not there".into()).into())),
        }
    }
}

/// A server of a test's own, which may be told anything.
pub struct OwnServer {
    directory: tempfile::TempDir,
    bin: std::path::PathBuf,
    port: u16,
    /// How it is reached.
    pub settings: Settings,
}

/// A server's certificate and its private key, in PEM.
pub struct Certificate {
    pub certificate: String,
    pub key: String,
}

impl OwnServer {
    /// Starts one. `None`, with a word: none is installed.
    pub fn start() -> Option<Self> {
        Self::start_with(None)
    }

    /// Starts one that takes encrypted connections alone, with this certificate.
    pub fn encrypted(certificate: &Certificate) -> Option<Self> {
        Self::start_with(Some(certificate))
    }

    fn start_with(certificate: Option<&Certificate>) -> Option<Self> {
        // The same word: where there is a server for the others, this is not left out either.
        server()?;
        let found = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
        let bin = found.map(|version| version.path().join("bin")).filter(|bin| bin.join("initdb").exists()).max()?;
        let directory = tempfile::tempdir().unwrap();
        let port = {
            let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            free.local_addr().unwrap().port()
        };
        let settings = format!("postgres://postgres@127.0.0.1:{port}/postgres").parse().unwrap();
        let server = Self { directory, bin, port, settings };
        let path = server.directory.path().display().to_string();
        server.own("");
        server.run("initdb", &["-U", "postgres", "--auth=trust", "-E", "UTF8", "--locale=C"]);
        let mut options =
            format!("-c listen_addresses=127.0.0.1 -c port={port} -c unix_socket_directories={path} -c fsync=off");
        if let Some(Certificate { certificate, key }) = certificate {
            let rule = "local all all trust\nhostssl all all 127.0.0.1/32 trust\n";
            for (file, content) in [("server.pem", &certificate[..]), ("server.key", key), ("hba.conf", rule)] {
                std::fs::write(server.directory.path().join(file), content).unwrap();
                server.own(file);
            }
            options += &format!(
                " -c ssl=on -c ssl_cert_file={path}/server.pem -c ssl_key_file={path}/server.key -c hba_file={path}/hba.conf"
            );
        }
        server.run("pg_ctl", &["-w", "-l", &server.log(), "-o", &options, "start"]);
        Some(server)
    }

    /// Makes a file of its directory, or that, its user's alone.
    fn own(&self, file: &str) {
        let path = self.directory.path().join(file);
        let mode = if file.is_empty() { 0o700 } else { 0o600 };
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
        if is_root() {
            assert!(std::process::Command::new("chown").arg("postgres:").arg(path).status().unwrap().success());
        }
    }

    /// Its port on 127.0.0.1, and the folder of its socket.
    pub fn place(&self) -> (u16, &std::path::Path) {
        (self.port, self.directory.path())
    }

    fn log(&self) -> String {
        self.directory.path().join("log").display().to_string()
    }

    fn run(&self, program: &str, arguments: &[&str]) {
        let mut command = if is_root() {
            let mut command = std::process::Command::new("setpriv");
            command.args(["--reuid", "postgres", "--regid", "postgres", "--clear-groups"]).arg(self.bin.join(program));
            command
        } else {
            std::process::Command::new(self.bin.join(program))
        };
        command.arg("-D").arg(self.directory.path().join("data")).args(arguments).current_dir(self.directory.path());
        let quiet = command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).status();
        assert!(quiet.unwrap().success(), "{program}");
    }

    /// Kills it as a crash would, and starts it again.
    pub fn crash(&self) {
        self.run("pg_ctl", &["-w", "-m", "immediate", "-l", &self.log(), "restart"]);
    }
}

impl Drop for OwnServer {
    fn drop(&mut self) {
        self.run("pg_ctl", &["-w", "-m", "immediate", "stop"]);
    }
}

fn is_root() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    status.lines().any(|line| line.starts_with("Uid:") && line.split_whitespace().nth(2) == Some("0"))
}

/// An account with its first device, made of one number.
pub fn account(n: u8) -> NewAccount {
    NewAccount {
        account: AccountId::from_bytes([n; 16]),
        account_key: AccountKey::from_bytes([n; 32]),
        device_list: NumberedDeviceList { number: 1, bytes: vec![n; 9].into() },
        name: None,
        phone: None,
        registered_at: 1,
        device: NewDevice {
            device: DeviceId::PRIMARY,
            signing_key: DeviceSigningKey::from_bytes([n; 32]),
            certificate: vec![n; 9].into(),
        },
        invitation: None,
    }
}
