//! Where settings come from: the environment wins over the file, the file over the defaults. (Flags, which win over all
//! of them, are the program's business.)
//!
//! The default file names every key once and so is the list of what there is: a key `limits.connections` of the file is
//! the variable `KUVERT_RELAY_LIMITS_CONNECTIONS`.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::edition::Edition;
use kuvert_relay::config::{Config, ConfigError};
use toml::Value;

/// The file that `kuvert-relay config` prints: every key with its default, explained.
pub const DEFAULT_FILE: &str = include_str!("default.toml");

/// Keys that only `kuvert-relay-lens` offers. Files that say no to them are read by every program.
const ELSEWHERE: &str = "observe = false\ndemonstration = false\n";

/// What every variable begins with.
pub const PREFIX: &str = "KUVERT_RELAY_";

/// Variables that are no keys of the file: the program's own.
const OTHER_VARIABLES: [&str; 2] = ["KUVERT_RELAY_CONFIG", "KUVERT_RELAY_CLOCK_OFFSET"];

/// Why there is no configuration. Every message says what to change.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
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
    #[error("{origin}: unknown key `{key}`{}", suggestion.as_deref().map(|s| format!("; did you mean `{s}`?")).unwrap_or_default())]
    UnknownKey {
        /// Which file, or the environment.
        origin: String,
        /// The key with its table before it, or the variable.
        key: String,
        /// The known one that looks most like it.
        suggestion: Option<String>,
    },
    /// A variable's value cannot be read.
    #[error("{variable}: {reason}")]
    Variable {
        /// Its name.
        variable: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The settings break a rule.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

/// The file that a program's `config` prints: its own keys stand before those that all have.
pub fn default_file(edition: &dyn Edition) -> String {
    match (edition.keys(), DEFAULT_FILE.split_once("\n\n")) {
        ("", _) | (_, None) => DEFAULT_FILE.to_owned(),
        (keys, Some((head, rest))) => format!("{head}\n\n{}\n\n{rest}", keys.trim_end()),
    }
}

/// Reads the settings: the file if there is one, and `environment` over it.
///
/// # Errors
/// The file cannot be read, is not TOML, holds an unknown key or a value of the wrong kind; a variable that begins with
/// [`PREFIX`] has an unknown name or a value that cannot be read. Values are not judged yet: see [`Config::check`].
pub fn read(
    file: Option<&Path>,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Config, SourceError> {
    let text = match file {
        Some(path) => fs::read_to_string(path).map_err(|source| SourceError::Read { path: path.into(), source })?,
        None => String::new(),
    };
    let path = file.unwrap_or(Path::new(""));
    let config = parse(&text, path)?;
    let settings = settings(environment)?;
    if settings.is_empty() {
        return Ok(config);
    }
    let syntax = |error: toml::de::Error| SourceError::Syntax { path: path.into(), reason: error.to_string() };
    let mut table: toml::Table = toml::from_str(&text).map_err(syntax)?;
    let defaults: toml::Table = toml::from_str(DEFAULT_FILE).map_err(syntax)?;
    for (key, value) in settings {
        insert(&mut table, Some(&defaults), &key, value);
    }
    table.try_into().map_err(|error: toml::de::Error| SourceError::Variable {
        variable: format!("{PREFIX}…"),
        reason: error.message().to_owned(),
    })
}

fn parse(text: &str, path: &Path) -> Result<Config, SourceError> {
    let syntax = |error: toml::de::Error| SourceError::Syntax { path: path.into(), reason: error.to_string() };
    let table: toml::Table = toml::from_str(text).map_err(syntax)?;
    let mut keys = BTreeMap::new();
    collect_keys(&table, "", &mut keys);
    let known = known_keys();
    if let Some(key) = keys.into_keys().find(|key| !known.contains_key(key)) {
        let suggestion = nearest(&key, known.keys(), '.');
        return Err(SourceError::UnknownKey { origin: path.display().to_string(), key, suggestion });
    }
    // From the text once more, so that errors name line and column.
    toml::from_str(text).map_err(syntax)
}

/// The variables that are set, each looked at alone: key and value.
fn settings(environment: impl IntoIterator<Item = (OsString, OsString)>) -> Result<Vec<(String, Value)>, SourceError> {
    let known = known_keys();
    let variables: BTreeMap<String, (&String, &Value)> =
        known.iter().filter(|(_, value)| !value.is_table()).map(|(key, value)| (variable(key), (key, value))).collect();
    let mut found = Vec::new();
    for (name, value) in environment {
        let name = name.to_string_lossy().into_owned();
        // An empty variable is how a compose file or a unit says "not set".
        if !name.starts_with(PREFIX)
            || OTHER_VARIABLES.contains(&name.as_str())
            || value.is_empty()
            || (!variables.contains_key(&name) && is_of_a_service(&name, &value.to_string_lossy()))
        {
            continue;
        }
        let Some((key, example)) = variables.get(&name) else {
            let names = variables.keys().map(String::as_str).chain(OTHER_VARIABLES).map(str::to_owned);
            let suggestion = nearest(&name, &names.collect::<Vec<_>>(), '_');
            return Err(SourceError::UnknownKey { origin: "environment".into(), key: name, suggestion });
        };
        let refuse = |reason: String| SourceError::Variable { variable: name.clone(), reason };
        let text = value.into_string().map_err(|_| refuse("the value is not UTF-8".into()))?;
        let value = read_like(example, text).map_err(refuse)?;
        try_alone(key, value.clone()).map_err(refuse)?;
        found.push(((*key).clone(), value));
    }
    Ok(found)
}

/// Whether an orchestrator has made this variable: Kubernetes puts `KUVERT_RELAY_SERVICE_HOST`, `KUVERT_RELAY_PORT` and
/// others into every pod beside a Service named `kuvert-relay` or `kuvert-relay-metrics`, Docker does so for a link.
fn is_of_a_service(name: &str, value: &str) -> bool {
    /// `PORT_4433_UDP`, `PORT_4433_UDP_ADDR`
    fn is_port(name: &str) -> bool {
        let Some((_, port)) = name.split_once("_PORT_") else { return false };
        let mut words = port.split('_');
        let number = words.next().is_some_and(|word| word.parse::<u16>().is_ok());
        let protocol = words.next().is_some_and(|word| ["TCP", "UDP", "SCTP"].contains(&word));
        let what = words.next().is_none_or(|word| ["ADDR", "PORT", "PROTO", "START", "END"].contains(&word));
        number && protocol && what
    }
    // `kuvert-relay` itself has no word of its own between the prefix and these.
    name.ends_with("_SERVICE_HOST")
        || name.ends_with("_SERVICE_PORT")
        || name.contains("_SERVICE_PORT_")
        || is_port(name)
        || (name.ends_with("_PORT") && value.contains("://"))
        || (name.ends_with("_NAME") && value.starts_with('/'))
        || name.starts_with("KUVERT_RELAY_ENV_")
}

/// The variable of a key.
fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.replace('.', "_").to_uppercase())
}

/// A variable's text as a value of the same kind as the default.
fn read_like(example: &Value, text: String) -> Result<Value, String> {
    match example {
        Value::Integer(_) => text.parse().map(Value::Integer).map_err(|_| format!("`{text}` is not a whole number")),
        Value::Boolean(_) => text.parse().map(Value::Boolean).map_err(|_| format!("`{text}` is not true or false")),
        _ => Ok(Value::String(text)),
    }
}

/// Whether this value would do if everything else were right.
fn try_alone(key: &str, value: Value) -> Result<(), String> {
    let mut table: toml::Table = toml::from_str(&uncommented()).map_err(|error| error.message().to_owned())?;
    insert(&mut table, None, key, value);
    table.try_into::<Config>().map(drop).map_err(|error| error.message().to_owned())
}

/// A table that is not there begins as its default: setting one half of a rate keeps the other.
fn insert(table: &mut toml::Table, defaults: Option<&toml::Table>, key: &str, value: Value) {
    match key.split_once('.') {
        None => {
            table.insert(key.to_owned(), value);
        }
        Some((name, rest)) => {
            let defaults = defaults.and_then(|defaults| defaults.get(name)).and_then(Value::as_table);
            let inner = table.entry(name).or_insert_with(|| Value::Table(defaults.cloned().unwrap_or_default()));
            // The file's value was read as a table already, or it would not have been taken.
            if let Value::Table(inner) = inner {
                insert(inner, defaults, rest, value);
            }
        }
    }
}

/// `table.key` for every key, tables included, with its value.
fn collect_keys(table: &toml::Table, prefix: &str, into: &mut BTreeMap<String, Value>) {
    for (key, value) in table {
        let name = format!("{prefix}{key}");
        if let Value::Table(inner) = value {
            collect_keys(inner, &format!("{name}."), into);
        }
        into.insert(name, value.clone());
    }
}

/// The default file with the optional keys, which stand behind a `#` that has no space after it.
fn uncommented() -> String {
    let line = |line: &'static str| match line.strip_prefix('#') {
        Some(key) if !key.starts_with(' ') => key,
        _ => line,
    };
    ELSEWHERE.lines().chain(DEFAULT_FILE.lines()).flat_map(|each| [line(each), "\n"]).collect()
}

fn known_keys() -> BTreeMap<String, Value> {
    let mut keys = BTreeMap::new();
    // A default file that is not TOML would know no keys; a test reads it.
    collect_keys(&toml::from_str(&uncommented()).unwrap_or_default(), "", &mut keys);
    keys
}

/// The known name that looks most like `name`, if any does.
fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a String>, separator: char) -> Option<String> {
    let last = |name: &str| name.rsplit(separator).next().map(str::to_owned).unwrap_or_default();
    known
        .into_iter()
        .map(|candidate| {
            let whole = strsim::normalized_damerau_levenshtein(name, candidate);
            // A key in the wrong table is still the same word.
            let word = strsim::normalized_damerau_levenshtein(&last(name), &last(candidate)) * 0.95;
            (whole.max(if separator == '.' { word } else { 0.0 }), candidate)
        })
        .filter(|(likeness, _)| *likeness > 0.6)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Config, SourceError> {
        super::parse(text, Path::new("relay.toml"))
    }

    fn with(file: &str, variables: &[(&str, &str)]) -> Result<Config, SourceError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("relay.toml");
        fs::write(&path, file).unwrap();
        read(Some(&path), variables.iter().map(|(name, value)| (OsString::from(name), OsString::from(value))))
    }

    #[test]
    fn the_default_file_says_what_the_defaults_are() {
        assert_eq!(parse(DEFAULT_FILE).unwrap(), Config::default());
        assert_eq!(parse("").unwrap(), Config::default());
    }

    /// Whatever can be set stands in the default file: an optional key that is missing there would be unknown.
    #[test]
    fn every_key_of_the_default_file_is_read() {
        let config = parse(&uncommented()).unwrap();
        assert!(config.tls.is_some() && config.public_host.is_some() && config.ready_file.is_some());
        assert!(config.monitoring.listen.is_some());
        for key in ["public_host", "tls.certificate", "tls.key", "limits.bundles_per_device.burst", "ready_file"] {
            assert!(known_keys().contains_key(key), "{key}");
        }
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
                Err(SourceError::UnknownKey { suggestion, .. }) => assert_eq!(suggestion.as_deref(), meant, "{text}"),
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
    fn every_key_has_a_variable_that_wins_over_the_file() {
        let file = "retention_days = 7\nlisten = \"127.0.0.1:99\"\n[limits]\nconnections = 5";
        let config = with(
            file,
            &[
                ("KUVERT_RELAY_RETENTION_DAYS", "3"),
                ("KUVERT_RELAY_LIMITS_CONNECTIONS_PER_ADDRESS", "9"),
                ("KUVERT_RELAY_LIMITS_LOOKUPS_PER_DEVICE_BURST", "11"),
                ("KUVERT_RELAY_LIMITS_LOOKUPS_PER_DEVICE_PER_HOUR", "12"),
                ("KUVERT_RELAY_LOG_JSON", "true"),
                ("KUVERT_RELAY_PUBLIC_HOST", "7"),
                ("KUVERT_RELAY_REGISTRATION", ""),
                ("KUVERT_RELAY_CONFIG", "elsewhere"),
                ("KUVERT_HOME", "nobody's business"),
            ],
        )
        .unwrap();
        assert_eq!((config.retention_days, config.listen.port(), config.limits.connections), (3, 99, 5));
        assert_eq!(config.limits.connections_per_address, 9);
        assert_eq!(config.limits.lookups_per_device, kuvert_relay::config::Rate { burst: 11, per_hour: 12 });
        assert!(config.log.json);
        assert_eq!(config.public_host.as_deref(), Some("7"));
        // And for each key there is one.
        let tls =
            "[tls]\ncertificate = \"c\"\nkey = \"k\"\n[cluster]\nname = \"n\"\nlisten = \"127.0.0.1:0\"\nkey = \"k\"";
        for (key, value) in known_keys().into_iter().filter(|(_, value)| !value.is_table()) {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            with(tls, &[(&variable(&key), &text)]).unwrap_or_else(|error| panic!("{key}: {error}"));
        }
    }

    #[test]
    fn a_variable_sets_one_key_and_no_other() {
        let config = with("", &[("KUVERT_RELAY_LIMITS_BUNDLES_PER_DEVICE_BURST", "1")]).unwrap();
        let mut expected = Config::default();
        expected.limits.bundles_per_device.burst = 1;
        assert_eq!(config, expected);
        let both = [("KUVERT_RELAY_TLS_CERTIFICATE", "c.pem"), ("KUVERT_RELAY_TLS_KEY", "k.pem")];
        assert_eq!(with("", &both).unwrap().tls.unwrap().key, Path::new("k.pem"));
        assert!(with("", &both[..1]).unwrap_err().to_string().contains("missing field `key`"));
    }

    #[test]
    fn what_an_orchestrator_makes_of_a_service_is_no_setting() {
        let made = [
            ("KUVERT_RELAY_SERVICE_HOST", "10.96.0.12"),
            ("KUVERT_RELAY_SERVICE_PORT", "4433"),
            ("KUVERT_RELAY_SERVICE_PORT_QUIC", "4433"),
            ("KUVERT_RELAY_PORT", "udp://10.96.0.12:4433"),
            ("KUVERT_RELAY_PORT_4433_UDP", "udp://10.96.0.12:4433"),
            ("KUVERT_RELAY_PORT_4433_UDP_PROTO", "udp"),
            ("KUVERT_RELAY_PORT_4433_UDP_PORT", "4433"),
            ("KUVERT_RELAY_PORT_4433_UDP_ADDR", "10.96.0.12"),
            ("KUVERT_RELAY_METRICS_SERVICE_HOST", "10.96.0.13"),
            ("KUVERT_RELAY_METRICS_PORT_9464_TCP_ADDR", "10.96.0.13"),
            ("KUVERT_RELAY_NAME", "/app/kuvert-relay"),
            ("KUVERT_RELAY_ENV_PATH", "/bin"),
        ];
        assert_eq!(with("", &made).unwrap(), Config::default());
        for (name, value) in
            [("KUVERT_RELAY_PORT", "4433"), ("KUVERT_RELAY_PORT_X_UDP", "1"), ("KUVERT_RELAY_NAME", "relay")]
        {
            assert!(matches!(with("", &[(name, value)]), Err(SourceError::UnknownKey { .. })), "{name}");
        }
    }

    #[test]
    fn wrong_variables_are_refused_by_name() {
        for (name, value, says) in [
            ("KUVERT_RELAY_RETENTION_DAY", "3", "did you mean `KUVERT_RELAY_RETENTION_DAYS`?"),
            ("KUVERT_RELAY_RETENTION_DAYS", "three", "`three` is not a whole number"),
            ("KUVERT_RELAY_LOG_JSON", "yes", "`yes` is not true or false"),
            ("KUVERT_RELAY_REGISTRATION", "maybe", "KUVERT_RELAY_REGISTRATION: unknown variant"),
            ("KUVERT_RELAY_LISTEN", "nowhere", "KUVERT_RELAY_LISTEN: "),
        ] {
            let error = with("", &[(name, value)]).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }
}
