//! What an operator may set, with its defaults: read from a TOML file, changed by flags and environment in
//! [`crate::program`], or filled in by a program that embeds the relay.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use kuvert_types::limits::MAX_RETENTION_DAYS;
use serde::Deserialize;

/// The file that `kuvert-relay config` prints: every key with its default, explained.
pub const DEFAULT_FILE: &str = include_str!("config/default.toml");

/// The port that a relay listens on unless told otherwise.
pub const DEFAULT_PORT: u16 = 4433;

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
    /// Where to write the relay's address once it is ready.
    pub ready_file: Option<PathBuf>,
    /// Days that undelivered envelopes are kept, 1 to 30.
    pub retention_days: u32,
    /// Whether to record everything that the relay learns in `DATA/observe.db`.
    pub observe: bool,
    /// Who may register.
    pub registration: Registration,
    /// Seconds that clients get to finish when the relay shuts down.
    pub drain_seconds: u32,
    /// The operator's own certificate, instead of a self-made one.
    pub tls: Option<TlsFiles>,
    /// What is logged.
    pub log: Log,
    /// What clients may ask for.
    pub limits: Limits,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, DEFAULT_PORT)),
            public_host: None,
            data: PathBuf::new(),
            ready_file: None,
            retention_days: MAX_RETENTION_DAYS,
            observe: false,
            registration: Registration::Open,
            drain_seconds: 5,
            tls: None,
            log: Log::default(),
            limits: Limits::default(),
        }
    }
}

/// Who may register.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Registration {
    /// Everybody.
    Open,
    /// Nobody new.
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

/// Bounds on what clients may ask for. Each is enforced with an error that says so.
#[derive(Clone, Copy, PartialEq, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Connections in all. An idle one takes some 34 KiB.
    pub connections: u32,
    /// Connections from one IPv4 address or IPv6 /64: a household, an office behind one address.
    pub connections_per_address: u32,
    /// Requests of one device. Over it, the relay reads more slowly instead of refusing: order is kept.
    pub requests_per_device: Rate,
    /// Registrations from one address.
    pub registrations_per_address: Rate,
    /// Account lookups of one device.
    pub lookups_per_device: Rate,
    /// Prekey bundles that one device takes.
    pub bundles_per_device: Rate,
    /// Bundles with one-time prekeys handed out for one account, whoever asks; over it they come without. 100 one-time
    /// prekeys must outlast somebody who tries to drain them until their owner refills.
    pub one_time_prekeys_per_account: Rate,
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
            one_time_prekeys_per_account: Rate { burst: 20, per_hour: 2 },
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
    /// The file cannot be read.
    #[error("cannot read the configuration file {}: {source}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Not TOML, or a value of the wrong kind.
    #[error("{}: {reason}", path.display())]
    Syntax {
        /// Which file.
        path: PathBuf,
        /// Where and what.
        reason: String,
    },
    /// A key that means nothing.
    #[error("{}: unknown key `{key}`{}", path.display(), suggestion.as_deref().map(|s| format!("; did you mean `{s}`?")).unwrap_or_default())]
    UnknownKey {
        /// Which file.
        path: PathBuf,
        /// The key, with its table before it.
        key: String,
        /// The known key that looks most like it.
        suggestion: Option<String>,
    },
    /// Longer than the relay promises anybody.
    #[error(
        "a retention of {0} days is not possible: undelivered mail is kept for 1 to {MAX_RETENTION_DAYS} days, never longer"
    )]
    Retention(u32),
    /// A rate of nothing.
    #[error("limits.{0}: burst and per_hour are at least 1")]
    Rate(&'static str),
    /// No connections at all.
    #[error("limits.{0} is at least 1")]
    Zero(&'static str),
}

impl Config {
    /// The defaults, with a data directory.
    pub fn new(data: impl Into<PathBuf>) -> Self {
        Self { data: data.into(), ..Self::default() }
    }

    /// Reads a file. Keys that it does not name have their defaults.
    ///
    /// # Errors
    /// The file cannot be read, is not TOML, holds an unknown key or a value of the wrong kind. Values are not judged
    /// yet: see [`check`](Self::check).
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.into(), source })?;
        Self::parse(&text, path)
    }

    fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let syntax = |error: toml::de::Error| ConfigError::Syntax { path: path.into(), reason: error.to_string() };
        let table: toml::Table = toml::from_str(text).map_err(syntax)?;
        let mut keys = BTreeSet::new();
        collect_keys(&table, "", &mut keys);
        let known = known_keys();
        if let Some(key) = keys.into_iter().find(|key| !known.contains(key)) {
            let suggestion = nearest(&key, &known);
            return Err(ConfigError::UnknownKey { path: path.into(), key, suggestion });
        }
        // From the text once more, so that errors name line and column.
        toml::from_str(text).map_err(syntax)
    }

    /// Refuses values that break a rule.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn check(&self) -> Result<(), ConfigError> {
        if !(1..=MAX_RETENTION_DAYS).contains(&self.retention_days) {
            return Err(ConfigError::Retention(self.retention_days));
        }
        let limits = &self.limits;
        for (name, rate) in [
            ("requests_per_device", limits.requests_per_device),
            ("registrations_per_address", limits.registrations_per_address),
            ("lookups_per_device", limits.lookups_per_device),
            ("bundles_per_device", limits.bundles_per_device),
            ("one_time_prekeys_per_account", limits.one_time_prekeys_per_account),
        ] {
            if rate.burst == 0 || rate.per_hour == 0 {
                return Err(ConfigError::Rate(name));
            }
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

/// `table.key` for every key, tables included.
fn collect_keys(table: &toml::Table, prefix: &str, into: &mut BTreeSet<String>) {
    for (key, value) in table {
        let name = format!("{prefix}{key}");
        if let toml::Value::Table(inner) = value {
            collect_keys(inner, &format!("{name}."), into);
        }
        into.insert(name);
    }
}

/// The default file names every key, the optional ones behind a `#` that has no space after it.
fn known_keys() -> BTreeSet<String> {
    let uncommented: String = DEFAULT_FILE
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(key) if !key.starts_with(' ') => key,
            _ => line,
        })
        .flat_map(|line| [line, "\n"])
        .collect();
    let mut keys = BTreeSet::new();
    // A default file that is not TOML would know no keys; a test reads it.
    collect_keys(&toml::from_str(&uncommented).unwrap_or_default(), "", &mut keys);
    keys
}

/// The known key that looks most like `key`, if any does.
fn nearest(key: &str, known: &BTreeSet<String>) -> Option<String> {
    let last = |key: &str| key.rsplit('.').next().map(str::to_owned).unwrap_or_default();
    known
        .iter()
        .map(|candidate| {
            let whole = strsim::normalized_damerau_levenshtein(key, candidate);
            // A key in the wrong table is still the same word.
            let word = strsim::normalized_damerau_levenshtein(&last(key), &last(candidate)) * 0.95;
            (whole.max(word), candidate)
        })
        .filter(|(likeness, _)| *likeness > 0.6)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Config, ConfigError> {
        Config::parse(text, Path::new("relay.toml"))
    }

    #[test]
    fn the_default_file_says_what_the_defaults_are() {
        assert_eq!(parse(DEFAULT_FILE).unwrap(), Config::default());
        assert_eq!(parse("").unwrap(), Config::default());
        for key in ["public_host", "tls.certificate", "tls.key", "limits.bundles_per_device.burst", "ready_file"] {
            assert!(known_keys().contains(key), "{key}");
        }
    }

    #[test]
    fn every_key_of_the_default_file_is_read() {
        let all: String = DEFAULT_FILE
            .lines()
            .map(|l| l.strip_prefix("#").filter(|k| !k.starts_with(' ')).unwrap_or(l))
            .flat_map(|l| [l, "\n"])
            .collect();
        let config = parse(&all).unwrap();
        assert!(config.tls.is_some() && config.public_host.is_some() && config.ready_file.is_some());
    }

    #[test]
    fn an_unknown_key_is_refused_with_the_nearest_name() {
        for (text, meant) in [
            ("retention = 3", Some("retention_days")),
            ("[limits]\nconections = 3", Some("limits.connections")),
            ("connections_per_adress = 3", Some("limits.connections_per_address")),
            ("[log]\njsno = true", Some("log.json")),
            ("zzzzqqq = 1", None),
        ] {
            match parse(text) {
                Err(ConfigError::UnknownKey { suggestion, .. }) => assert_eq!(suggestion.as_deref(), meant, "{text}"),
                other => panic!("{text}: {other:?}"),
            }
        }
    }

    #[test]
    fn values_of_the_wrong_kind_are_refused_with_their_place() {
        let error = parse("observe = true\nlisten = 7").unwrap_err().to_string();
        assert!(error.contains("line 2"), "{error}");
        assert!(parse("registration = \"maybe\"").unwrap_err().to_string().contains("open"));
    }

    #[test]
    fn retention_is_at_most_thirty_days() {
        for (days, good) in [(0, false), (1, true), (30, true), (31, false)] {
            let config = Config { retention_days: days, ..Config::new("data") };
            assert_eq!(config.check().is_ok(), good, "{days}");
        }
        let mut config = Config::new("data");
        config.limits.lookups_per_device.burst = 0;
        assert!(matches!(config.check(), Err(ConfigError::Rate("lookups_per_device"))));
    }
}
