//! What an operator may set, with its defaults: read from a file, the environment and flags by the program, or filled in by
//! another program that embeds the relay.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use kuvert_privacy::retention::MAX_DELAY_DAYS;
use kuvert_types::limits::{MAX_RETENTION_DAYS, is_valid_line};
use serde::Deserialize;

/// The port that a relay listens on unless told otherwise.
pub const DEFAULT_PORT: u16 = 4433;

/// Bytes of the label that says where a relay stands.
pub const MAX_REGION_BYTES: usize = 64;

/// Bytes of a relay's name among those that serve one store.
pub const MAX_NODE_NAME_BYTES: usize = 64;

/// The name that a relay has which serves a store alone.
pub const RESERVED_NODE_NAME: &str = "alone";

/// MiB of the largest file that the protocol has.
const MAX_FILE_MIB: u32 = 2048;

/// The address of a store that is not the data directory. It can hold a password, so it is never printed.
#[derive(Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(transparent)]
pub struct StoreAddress(String);

impl StoreAddress {
    /// From what the operator wrote. An empty one is none.
    pub const fn new(address: String) -> Self {
        Self(address)
    }

    /// The address, if there is one.
    pub fn get(&self) -> Option<&str> {
        Some(&self.0[..]).filter(|address| !address.is_empty())
    }
}

impl fmt::Debug for StoreAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "StoreAddress()" } else { "StoreAddress(…)" })
    }
}

/// Everything about one relay.
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// UDP address to listen on; port 0 picks a free one.
    pub listen: SocketAddr,
    /// Host name or IP address that clients should use, where it is not the one to listen on.
    pub public_host: Option<String>,
    /// The directory that holds all that the relay keeps.
    pub data: PathBuf,
    /// Where accounts and mail are kept instead of the directory.
    pub store: StoreAddress,
    /// Serving that store together with other relays.
    pub cluster: Option<Cluster>,
    /// Where files on their way are, of a relay whose store is not the directory.
    pub blobs: BlobPlace,
    /// Where to write the relay's address once it is ready.
    pub ready_file: Option<PathBuf>,
    /// Days that undelivered envelopes are kept, 1 to 30.
    pub retention_days: u32,
    /// Whether to record everything that the relay learns in `DATA/observe.db`.
    pub observe: bool,
    /// Who may register.
    pub registration: Registration,
    /// Whether to run the demonstration: terms to accept, and exports of what a parent company would get.
    pub demonstration: bool,
    /// Where the relay stands, in words for people: nothing checks it.
    pub region: Option<String>,
    /// Hours from asking for a report to having it, at most 720.
    pub report_delay_hours: u32,
    /// Seconds that clients get to finish when the relay shuts down.
    pub drain_seconds: u32,
    /// The operator's own certificate, instead of a self-made one.
    pub tls: Option<TlsFiles>,
    /// What is logged.
    pub log: Log,
    /// Metrics and health.
    pub monitoring: Monitoring,
    /// What clients may ask for.
    pub limits: Limits,
    /// That the clock is right, however far it is from the time at which the relay was last used: for one start, so it
    /// stands in no file.
    #[serde(skip)]
    pub trust_clock: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, DEFAULT_PORT)),
            public_host: None,
            data: PathBuf::new(),
            store: StoreAddress::default(),
            cluster: None,
            blobs: BlobPlace::default(),
            ready_file: None,
            retention_days: MAX_RETENTION_DAYS,
            observe: false,
            registration: Registration::Open,
            demonstration: false,
            region: None,
            report_delay_hours: 0,
            drain_seconds: 5,
            tls: None,
            log: Log::default(),
            monitoring: Monitoring::default(),
            limits: Limits::default(),
            trust_clock: false,
        }
    }
}

/// How a relay serves a store together with others.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cluster {
    /// Its name among them: no other relay of that store has it, and it keeps it.
    pub name: String,
    /// UDP address to listen on for the others.
    pub listen: SocketAddr,
    /// Host and port where the others reach it, if that is not the address to listen on.
    pub address: Option<String>,
    /// The file with the cluster's key, the same for all of them.
    pub key: PathBuf,
}

/// Where files on their way are: a place that all relays of a store reach. Holds no secret.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BlobPlace {
    /// A directory's path, or a bucket's address, such as `s3://files/kuvert`. Empty: none, and the relay takes no files.
    pub store: String,
}

/// Who may register.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Registration {
    /// Every peer.
    Open,
    /// A peer that has an invitation of the operator's.
    Invitation,
    /// No peer: there are no new accounts.
    Closed,
}

/// PEM files of the operator's.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsFiles {
    /// The certificate, and those that lead up to its authority if any.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// What is logged. Names, numbers, addresses and keys never are.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// From which level on.
    pub level: LogLevel,
    /// JSON lines instead of text.
    pub json: bool,
}

/// How much is logged.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Nothing.
    Off,
    /// What the operator must repair.
    Error,
    /// And what he should know.
    Warn,
    /// And the relay's own life: start, stop, expiry.
    #[default]
    Info,
    /// And every connection, by a random number.
    Debug,
    /// And every command.
    Trace,
}

/// Metrics and health, over HTTP without any protection of its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Monitoring {
    /// TCP address to listen on; none: no monitoring. Port 0 picks a free one.
    pub listen: Option<SocketAddr>,
    /// Whether that may be an address that other machines reach.
    pub any_address: bool,
    /// Below so many MiB of free disk space the relay says that it is not ready.
    pub ready_free_mib: u32,
}

impl Default for Monitoring {
    fn default() -> Self {
        Self { listen: None, any_address: false, ready_free_mib: 256 }
    }
}

/// Bounds on what clients may ask for. Each is enforced with an error that says so.
#[derive(Clone, Copy, PartialEq, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Connections in all. An idle one takes some 34 KiB.
    pub connections: u32,
    /// Connections from one IPv4 address or IPv6 /64: a household, an office behind one address. Wider networks have some
    /// times that ([`place`](crate::limits::place)), as with every limit on an address.
    pub connections_per_address: u32,
    /// Requests of one device. Over it, the relay reads more slowly instead of refusing: order is kept.
    pub requests_per_device: Rate,
    /// Registrations from one address.
    pub registrations_per_address: Rate,
    /// Account lookups of one device.
    pub lookups_per_device: Rate,
    /// Prekey bundles that one device takes.
    pub bundles_per_device: Rate,
    /// Prekey bundles of one account that another one takes, with all its devices.
    pub bundles_per_taker: Rate,
    /// Sealed envelopes from one address: they name no account whose requests could be counted.
    pub sealed_per_address: Rate,
    /// KiB of requests of all devices of one account, those of at most 1 KiB left out: over it, they are refused.
    pub kib_per_account: Rate,
    /// KiB of sealed envelopes from one address.
    pub sealed_kib_per_address: Rate,
    /// Bundles with one-time prekeys handed out for one account, to all takers together; over it they come without. 100 one-time
    /// prekeys must outlast an attacker that tries to drain them until their owner refills.
    pub one_time_prekeys_per_account: Rate,
    /// The same for one account, handed out to one other: no stranger has more than these.
    pub one_time_prekeys_per_taker: Rate,
    /// MiB that an account submits in its first 24 hours, each envelope with 256 B more than its ciphertext.
    pub young_account_mib: u32,
    /// Below so many MiB of free disk space no account registers, and nothing is stored for accounts younger than 24 hours; on a
    /// small file system below a twentieth of it. 0: never.
    pub low_water_mib: u32,
    /// Reports that one account asks for.
    pub reports_per_account: Rate,
    /// Codes that one account asks for.
    pub phone_codes_per_account: Rate,
    /// Codes that are sent to one number, whichever accounts ask: no phone is flooded with them.
    pub phone_codes_per_number: Rate,
    /// Numbers of address books that one account has compared with verified ones: what finding out who is here costs.
    pub numbers_checked_per_account: Rate,
    /// MiB of the largest file, 1 to 2,048; 0: this relay takes none.
    pub max_file_mib: u32,
    /// Percent of the disk up to which files are taken: the rest is left to mail.
    pub blob_disk_percent: u8,
    /// MiB of files of one account that wait for their readers.
    pub blob_mib_per_account: u32,
    /// Their number.
    pub blobs_per_account: u32,
    /// Transfers of one account at once, up and down.
    pub blob_transfers_per_account: u32,
    /// Transfers at once of those that name no account, from one address.
    pub blob_transfers_per_address: u32,
    /// Files that one account uploads.
    pub uploads_per_account: Rate,
    /// KiB of them.
    pub upload_kib_per_account: Rate,
    /// KiB of files that one account reads.
    pub blob_read_kib_per_account: Rate,
    /// KiB of files that are read from one address without a name.
    pub blob_read_kib_per_address: Rate,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 20_000,
            connections_per_address: 512,
            requests_per_device: Rate { burst: 4_000, per_hour: 1_800_000 },
            registrations_per_address: Rate { burst: 200, per_hour: 1_200 },
            lookups_per_device: Rate { burst: 100, per_hour: 1_800 },
            bundles_per_device: Rate { burst: 100, per_hour: 600 },
            bundles_per_taker: Rate { burst: 10, per_hour: 20 },
            sealed_per_address: Rate { burst: 4_000, per_hour: 36_000 },
            kib_per_account: Rate { burst: 128 * 1024, per_hour: 1024 * 1024 },
            sealed_kib_per_address: Rate { burst: 64 * 1024, per_hour: 512 * 1024 },
            one_time_prekeys_per_account: Rate { burst: 20, per_hour: 2 },
            one_time_prekeys_per_taker: Rate { burst: 2, per_hour: 1 },
            young_account_mib: 32,
            low_water_mib: 1024,
            reports_per_account: Rate { burst: 3, per_hour: 1 },
            phone_codes_per_account: Rate { burst: 5, per_hour: 5 },
            phone_codes_per_number: Rate { burst: 3, per_hour: 2 },
            numbers_checked_per_account: Rate { burst: 20_000, per_hour: 200 },
            max_file_mib: 100,
            blob_disk_percent: 80,
            blob_mib_per_account: 1024,
            blobs_per_account: 2_000,
            blob_transfers_per_account: 4,
            blob_transfers_per_address: 16,
            uploads_per_account: Rate { burst: 200, per_hour: 1_000 },
            upload_kib_per_account: Rate { burst: 5 * 1024 * 1024, per_hour: 218_453 },
            blob_read_kib_per_account: Rate { burst: 20 * 1024 * 1024, per_hour: 2 * 1024 * 1024 },
            blob_read_kib_per_address: Rate { burst: 20 * 1024 * 1024, per_hour: 2 * 1024 * 1024 },
        }
    }
}

/// So many at once, and so many more each hour.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// At once, after a rest. At least 1.
    pub burst: u32,
    /// Regained in an hour, spread evenly. At least 1.
    pub per_hour: u32,
}

/// Why a configuration is refused. Every message says what to change.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Others could read the metrics.
    #[error(
        "monitoring.listen = \"{0}\" can be reached from other machines, and nothing protects it: listen on 127.0.0.1, or set monitoring.any_address = true if a firewall does"
    )]
    Monitoring(SocketAddr),
    /// Longer than the relay promises.
    #[error(
        "a retention of {0} days is not possible: undelivered mail is kept for 1 to {MAX_RETENTION_DAYS} days, never longer"
    )]
    Retention(u32),
    /// Longer than the law allows.
    #[error("a delay of {0} hours is not possible: a report is due within {MAX_DELAY_DAYS} days (Art. 12(3) GDPR)")]
    ReportDelay(u32),
    /// No label.
    #[error("region is a label of 1 to {MAX_REGION_BYTES} bytes on one line")]
    Region,
    /// A rate of nothing.
    #[error("limits.{0}: burst and per_hour are at least 1")]
    Rate(&'static str),
    /// Larger than the protocol has.
    #[error("limits.max_file_mib = {0} is not possible: a file has at most {MAX_FILE_MIB} MiB; 0 takes none")]
    FileSize(u32),
    /// More than all.
    #[error("limits.blob_disk_percent = {0} is more than all: 100 at most")]
    Percent(u8),
    /// No connections at all.
    #[error("limits.{0} is at least 1")]
    Zero(&'static str),
    /// Several relays on what only one can open.
    #[error("[cluster] is for relays that serve one store together: say with `store` where it is (postgres://…)")]
    ClusterWithoutStore,
    /// A place for what has one.
    #[error(
        "[blobs] is for relays whose accounts and mail are in PostgreSQL (`store`): a relay in a directory keeps files there, too. Leave it out"
    )]
    BlobsWithoutStore,
    /// No name.
    #[error(
        "cluster.name is 1 to {MAX_NODE_NAME_BYTES} letters, digits, dots and hyphens, and not `{RESERVED_NODE_NAME}`"
    )]
    ClusterName,
}

impl Config {
    /// The defaults, with a data directory.
    pub fn new(data: impl Into<PathBuf>) -> Self {
        Self { data: data.into(), ..Self::default() }
    }

    /// Refuses values that break a rule.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn check(&self) -> Result<(), ConfigError> {
        if !(1..=MAX_RETENTION_DAYS).contains(&self.retention_days) {
            return Err(ConfigError::Retention(self.retention_days));
        }
        if self.report_delay_hours > MAX_DELAY_DAYS * 24 {
            return Err(ConfigError::ReportDelay(self.report_delay_hours));
        }
        if self.region.as_deref().is_some_and(|region| !is_valid_line(region, MAX_REGION_BYTES)) {
            return Err(ConfigError::Region);
        }
        if let Some(cluster) = &self.cluster {
            if self.store.get().is_none() {
                return Err(ConfigError::ClusterWithoutStore);
            }
            if !is_node_name(&cluster.name) {
                return Err(ConfigError::ClusterName);
            }
        }
        if self.blobs != BlobPlace::default() && self.store.get().is_none() {
            return Err(ConfigError::BlobsWithoutStore);
        }
        let limits = &self.limits;
        for (name, rate) in [
            ("requests_per_device", limits.requests_per_device),
            ("registrations_per_address", limits.registrations_per_address),
            ("lookups_per_device", limits.lookups_per_device),
            ("bundles_per_device", limits.bundles_per_device),
            ("bundles_per_taker", limits.bundles_per_taker),
            ("sealed_per_address", limits.sealed_per_address),
            ("kib_per_account", limits.kib_per_account),
            ("sealed_kib_per_address", limits.sealed_kib_per_address),
            ("one_time_prekeys_per_account", limits.one_time_prekeys_per_account),
            ("one_time_prekeys_per_taker", limits.one_time_prekeys_per_taker),
            ("reports_per_account", limits.reports_per_account),
            ("phone_codes_per_account", limits.phone_codes_per_account),
            ("phone_codes_per_number", limits.phone_codes_per_number),
            ("numbers_checked_per_account", limits.numbers_checked_per_account),
            ("uploads_per_account", limits.uploads_per_account),
            ("upload_kib_per_account", limits.upload_kib_per_account),
            ("blob_read_kib_per_account", limits.blob_read_kib_per_account),
            ("blob_read_kib_per_address", limits.blob_read_kib_per_address),
        ] {
            if rate.burst == 0 || rate.per_hour == 0 {
                return Err(ConfigError::Rate(name));
            }
        }
        if limits.max_file_mib > MAX_FILE_MIB {
            return Err(ConfigError::FileSize(limits.max_file_mib));
        }
        if limits.blob_disk_percent > 100 {
            return Err(ConfigError::Percent(limits.blob_disk_percent));
        }
        if let Some(listen) = self.monitoring.listen
            && !listen.ip().is_loopback()
            && !self.monitoring.any_address
        {
            return Err(ConfigError::Monitoring(listen));
        }
        for (name, value) in
            [("connections", limits.connections), ("connections_per_address", limits.connections_per_address)]
        {
            if value == 0 {
                return Err(ConfigError::Zero(name));
            }
        }
        Ok(())
    }

    /// How long undelivered envelopes are kept.
    pub const fn retention(&self) -> Duration {
        Duration::from_secs(self.retention_days as u64 * 86_400)
    }
}

/// Whether a relay can have this name among others.
fn is_node_name(name: &str) -> bool {
    (1..=MAX_NODE_NAME_BYTES).contains(&name.len())
        && name != RESERVED_NODE_NAME
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_break_a_rule_are_refused() {
        for (days, good) in [(0, false), (1, true), (30, true), (31, false)] {
            let config = Config { retention_days: days, ..Config::new("data") };
            assert_eq!(config.check().is_ok(), good, "{days}");
        }
        for (region, good) in [("USA", true), ("", false), ("two\nlines", false), (&"x".repeat(65), false)] {
            let config = Config { region: Some(region.to_owned()), ..Config::new("data") };
            assert_eq!(config.check().is_ok(), good, "{region}");
        }
        let mut config = Config::new("data");
        config.limits.lookups_per_device.burst = 0;
        assert!(matches!(config.check(), Err(ConfigError::Rate("lookups_per_device"))));
    }

    #[test]
    fn a_cluster_has_a_store_and_its_relays_have_names() {
        let cluster = |name: &str| Cluster {
            name: name.to_owned(),
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            address: None,
            key: PathBuf::from("cluster.key"),
        };
        let store = StoreAddress::new("postgres://relay:geheim@localhost/kuvert".to_owned());
        assert!(!format!("{store:?}").contains("geheim"));
        let config = Config { cluster: Some(cluster("relay1")), ..Config::new("data") };
        assert!(matches!(config.check(), Err(ConfigError::ClusterWithoutStore)));
        let long = "x".repeat(MAX_NODE_NAME_BYTES + 1);
        for (name, good) in
            [("relay-1.example", true), ("", false), ("a b", false), ("alone", false), (&long, false), ("ü", false)]
        {
            let config = Config { store: store.clone(), cluster: Some(cluster(name)), ..Config::new("data") };
            assert_eq!(config.check().is_ok(), good, "{name}");
        }
        assert!(Config { store, ..Config::new("data") }.check().is_ok(), "alone");
    }

    #[test]
    fn files_have_a_place_of_their_own_where_the_store_is_elsewhere() {
        let blobs = BlobPlace { store: "/srv/files".to_owned() };
        let config = Config { blobs, ..Config::new("data") };
        assert!(matches!(config.check(), Err(ConfigError::BlobsWithoutStore)));
        let store = StoreAddress::new("postgres://relay@localhost/kuvert".to_owned());
        assert!(Config { store, ..config }.check().is_ok());
    }

    #[test]
    fn only_this_machine_sees_the_metrics_unless_told_otherwise() {
        for (listen, any_address, good) in [
            ("127.0.0.1:9464", false, true),
            ("[::1]:9464", false, true),
            ("0.0.0.0:9464", false, false),
            ("192.0.2.7:9464", false, false),
            ("192.0.2.7:9464", true, true),
        ] {
            let monitoring = Monitoring { listen: Some(listen.parse().unwrap()), any_address, ..Monitoring::default() };
            let config = Config { monitoring, ..Config::new("data") };
            assert_eq!(config.check().is_ok(), good, "{listen}");
        }
    }
}
