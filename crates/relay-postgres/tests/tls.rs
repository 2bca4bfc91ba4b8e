//! Connections to servers over a network: encrypted, and to the server that was meant. Each against a real PostgreSQL that takes
//! encrypted connections alone.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::{Certificate, OwnServer, account, wait};
use kuvert_relay::store::{AccountBy, Store};
use kuvert_relay_postgres::link::Door;
use kuvert_relay_postgres::schema::OpenError;
use kuvert_relay_postgres::settings::{Settings, SettingsError};
use kuvert_relay_postgres::{Postgres, Role, migrate};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tempfile::TempDir;

/// Who signs servers' certificates: an operator's own authority, and its certificate in a file.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    file: PathBuf,
}

impl Authority {
    fn new(folder: &Path, name: &str) -> Self {
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let file = folder.join(format!("{name}.pem"));
        fs::write(&file, params.self_signed(&key).unwrap().pem()).unwrap();
        Self { issuer: Issuer::new(params, key), file }
    }

    /// A certificate for a server of this name.
    fn sign(&self, name: &str) -> Certificate {
        let (params, key) = (CertificateParams::new(vec![name.to_owned()]).unwrap(), KeyPair::generate().unwrap());
        let certificate = params.signed_by(&key, &self.issuer).unwrap().pem();
        Certificate { certificate, key: key.serialize_pem() }
    }
}

struct World {
    ours: Authority,
    theirs: Authority,
    _folder: TempDir,
}

fn world() -> World {
    let folder = tempfile::tempdir().unwrap();
    let [ours, theirs] = ["ours", "theirs"].map(|name| Authority::new(folder.path(), name));
    World { ours, theirs, _folder: folder }
}

/// An address of a server, with parameters.
fn address(host: &str, server: &OwnServer, parameters: &str) -> Settings {
    let (port, _) = server.place();
    let address = format!("postgres://postgres@{host}:{port}/postgres{parameters}");
    Settings::with(&address, |_| None).unwrap()
}

fn trusting(authority: &Authority) -> String {
    format!("?sslrootcert={}", authority.file.display())
}

/// Why there is no connection.
fn refusal(settings: Settings) -> String {
    wait(async { Door::new(settings).unwrap().open().await.expect_err("it is connected").words })
}

#[test]
fn a_store_is_served_over_tls_to_the_server_that_was_meant() {
    let world = world();
    let Some(server) = OwnServer::encrypted(&world.ours.sign("127.0.0.1")) else { return };
    wait(async {
        let settings = address("127.0.0.1", &server, &trusting(&world.ours));
        let link = Door::new(settings.clone()).unwrap().open().await.unwrap();
        let sql = "SELECT ssl, version FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
        let row = link.query_one(sql, &[]).await.unwrap();
        assert_eq!((row.get(0), row.get(1)), (true, "TLSv1.3"));
        drop(link);
        assert_eq!(migrate(&settings).await.unwrap(), 0);
        let store = Postgres::connect(settings, Role::Alone).await.unwrap();
        store.register(account(1)).await.unwrap();
        assert!(store.account(AccountBy::Id(account(1).account)).await.unwrap().is_some());
        let by = Door::new(address("127.0.0.1", &server, &trusting(&world.ours)).named("apart")).unwrap();
        let plain = "SELECT count(*) FROM pg_stat_activity JOIN pg_stat_ssl USING (pid)
            WHERE application_name = 'kuvert-relay' AND NOT ssl";
        assert_eq!(by.open().await.unwrap().query_one(plain, &[]).await.unwrap().get::<_, i64>(0), 0);
        tokio::task::spawn_blocking(move || drop(store)).await.unwrap();
    });
}

#[test]
fn a_server_that_another_authority_signed_or_that_has_another_name_is_refused() {
    let world = world();
    let Some(server) = OwnServer::encrypted(&world.ours.sign("127.0.0.1")) else { return };
    let words = refusal(address("127.0.0.1", &server, &trusting(&world.theirs)));
    assert!(words.contains("invalid peer certificate: UnknownIssuer"), "{words}");
    // The same server under a name that its certificate does not have: a host that has a certificate of its own is not this one.
    let words = refusal(address("localhost", &server, &trusting(&world.ours)));
    assert!(words.contains("invalid peer certificate: certificate not valid for name"), "{words}");
    // Opening the store says so, too, and nothing was sent.
    let settings = address("127.0.0.1", &server, &trusting(&world.theirs));
    assert!(wait(Postgres::connect(settings, Role::Alone)).is_err());
}

#[test]
fn nothing_is_sent_to_a_server_that_does_not_encrypt_where_encryption_is_asked_for() {
    let world = world();
    let Some(server) = OwnServer::start() else { return };
    let words = refusal(address("127.0.0.1", &server, &trusting(&world.ours)));
    assert!(words.contains("server does not support TLS"), "{words}");
    // `sslmode=disable` beside an authority is no way around it.
    let words = refusal(address("127.0.0.1", &server, &format!("{}&sslmode=disable", trusting(&world.ours))));
    assert!(words.contains("server does not support TLS"), "{words}");
}

#[test]
fn on_this_machine_connections_are_plain_and_a_server_may_refuse_them() {
    let world = world();
    let Some(server) = OwnServer::encrypted(&world.ours.sign("127.0.0.1")) else { return };
    for parameters in ["", "?sslmode=disable"] {
        let words = refusal(address("127.0.0.1", &server, parameters));
        assert!(words.contains("SQLSTATE 28000"), "{words}: its rules ask for encryption");
    }
    // Over its socket.
    let (port, folder) = server.place();
    let folder = folder.display().to_string().replace('/', "%2F");
    let socket = Settings::with(&format!("postgres://postgres@{folder}:{port}/postgres"), |_| None).unwrap();
    wait(async {
        let row = Door::new(socket).unwrap().open().await.unwrap().query_one("SELECT 7", &[]).await.unwrap();
        assert_eq!(row.get::<_, i32>(0), 7);
    });
}

#[test]
fn an_authority_that_cannot_be_read_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let (missing, empty) = (folder.path().join("missing.pem"), folder.path().join("empty.pem"));
    fs::write(&empty, "no certificate").unwrap();
    let open = |file: &Path| {
        let address = format!("postgres://postgres@10.0.0.1/kuvert?sslrootcert={}", file.display());
        Door::new(Settings::with(&address, |_| None).unwrap()).map(drop)
    };
    assert!(matches!(open(&missing), Err(SettingsError::Read { path, .. }) if path == missing));
    assert!(matches!(open(&empty), Err(SettingsError::Roots(path)) if path == empty));
    let told = OpenError::from(open(&empty).unwrap_err()).to_string();
    assert!(told.contains("holds no certificate"), "{told}");
}
