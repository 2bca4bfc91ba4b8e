//! How the servers are reached: an address such as `postgres://relay@10.0.0.1,10.0.0.2/kuvert?sslrootcert=/etc/kuvert/ca.pem`.
//!
//! | part | meaning |
//! |---|---|
//! | several hosts | a group; the one that takes writes is used, whichever it is at the moment |
//! | `sslrootcert=FILE` | PEM: who may have signed the servers' certificates. Needed wherever the network is used |
//! | `sslmode=disable` | no encryption, for a network that nothing else is in; never the default but on this machine |
//! | `passfile=FILE` | as libpq's: lines `host:port:database:user:password`, readable by its owner only |
//!
//! The password comes from the address, else from `PGPASSWORD`, else from `passfile`, `PGPASSFILE`, or `~/.pgpass`. Nothing here is
//! printed with it: [`Settings`] shows hosts and the database's name alone.

use std::env;
use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};

/// How long reaching a server may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(4);

/// How long what was sent may stay without the other side's sign that it came.
const TCP_TIMEOUT: Duration = Duration::from_secs(8);

/// How long a connection may be silent before the system asks whether the other side is there.
const KEEPALIVE: Duration = Duration::from_secs(5);

/// The port where the address names none.
const DEFAULT_PORT: u16 = 5432;

/// Bits of a file's mode that let others than its owner use it.
const OTHERS: u32 = 0o077;

/// Why an address cannot be used. Every message says what to do, and none holds the address, which may hold a password.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// It is not the address of a store.
    #[error("the store's address is not understood ({0}): write it as postgres://USER@HOST:PORT/DATABASE")]
    Syntax(String),
    /// The network is used without encryption.
    #[error(
        "{host} is reached over the network: name who signed its certificate with ?sslrootcert=FILE, or say ?sslmode=disable \
         where nothing else is in that network"
    )]
    Unencrypted {
        /// Where.
        host: String,
    },
    /// A file that the address or the environment names cannot be read.
    #[error("cannot read {}: {error}. Check its permissions", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The file of passwords is open to others.
    #[error("{} can be read by other users: run `chmod 600` on it", .0.display())]
    Passwords(PathBuf),
    /// There is no certificate in the file, or one that cannot be used.
    #[error("{} holds no certificate that can be used, in PEM", .0.display())]
    Roots(PathBuf),
}

/// Where the servers are, and as which user.
#[derive(Clone)]
pub struct Settings {
    config: Config,
    roots: Option<PathBuf>,
    password_in_address: bool,
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Hosts and database, never a user or a password.
impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hosts: Vec<String> = self.config.get_hosts().iter().map(host_name).collect();
        write!(f, "postgres://{}/{}", hosts.join(","), self.config.get_dbname().unwrap_or_default())
    }
}

impl FromStr for Settings {
    type Err = SettingsError;

    fn from_str(address: &str) -> Result<Self, SettingsError> {
        Self::with(address, |name| env::var_os(name))
    }
}

impl Settings {
    /// Whether an address is one of this backend's.
    pub fn is_address(text: &str) -> bool {
        text.starts_with("postgres://") || text.starts_with("postgresql://")
    }

    /// Reads an address, with these environment variables.
    ///
    /// # Errors
    /// See [`SettingsError`].
    pub fn with(address: &str, variable: impl Fn(&str) -> Option<OsString>) -> Result<Self, SettingsError> {
        if !Self::is_address(address) {
            return Err(SettingsError::Syntax("it does not begin with postgres://".into()));
        }
        let (address, [roots, passfile]) = take_parameters(address, ["sslrootcert", "passfile"]);
        // The error names what it does not know, never a value.
        let mut config = Config::from_str(&address).map_err(|error| SettingsError::Syntax(error.to_string()))?;
        if config.get_hosts().is_empty() {
            return Err(SettingsError::Syntax("it names no host".into()));
        }
        let password_in_address = config.get_password().is_some();
        if !password_in_address {
            let named = passfile.map(PathBuf::from).or_else(|| variable("PGPASSFILE").map(PathBuf::from));
            if let Some(password) = variable("PGPASSWORD") {
                config.password(std::os::unix::ffi::OsStrExt::as_bytes(password.as_os_str()));
            } else if let Some(path) = named {
                find_password(&mut config, &path)?;
            } else if let Some(home) = variable("HOME") {
                let path = Path::new(&home).join(".pgpass");
                if path.exists() {
                    find_password(&mut config, &path)?;
                }
            }
        }
        let remote = config.get_hosts().iter().find(|host| !is_here(host)).map(host_name);
        let encrypted = roots.is_some();
        if let (Some(host), false) = (remote, encrypted || config.get_ssl_mode() == SslMode::Disable) {
            return Err(SettingsError::Unencrypted { host });
        }
        config
            .ssl_mode(if encrypted { SslMode::Require } else { SslMode::Disable })
            .target_session_attrs(TargetSessionAttrs::ReadWrite)
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_user_timeout(TCP_TIMEOUT)
            .keepalives_idle(KEEPALIVE);
        if config.get_application_name().is_none() {
            config.application_name("kuvert-relay");
        }
        Ok(Self { config, roots: roots.map(PathBuf::from), password_in_address })
    }

    /// Whether the address holds the password: then command lines and lists of processes would show it.
    pub const fn password_in_address(&self) -> bool {
        self.password_in_address
    }

    /// What a connection needs.
    #[cfg(test)]
    pub(crate) const fn config(&self) -> &Config {
        &self.config
    }

    /// What a connection to each of the servers needs, one at a time.
    pub(crate) fn each(&self) -> Vec<Config> {
        let (hosts, ports) = (self.config.get_hosts(), self.config.get_ports());
        let one = |(place, host): (usize, &Host)| {
            let mut config = Config::new();
            match host {
                Host::Tcp(name) => config.host(name),
                Host::Unix(path) => config.host_path(path),
            };
            config.port(ports.get(place).or(ports.first()).copied().unwrap_or(DEFAULT_PORT));
            if let Some(user) = self.config.get_user() {
                config.user(user);
            }
            if let Some(password) = self.config.get_password() {
                config.password(password);
            }
            if let Some(database) = self.config.get_dbname() {
                config.dbname(database);
            }
            if let Some(options) = self.config.get_options() {
                config.options(options);
            }
            if let Some(name) = self.config.get_application_name() {
                config.application_name(name);
            }
            config
                .ssl_mode(self.config.get_ssl_mode())
                .target_session_attrs(self.config.get_target_session_attrs())
                .connect_timeout(self.config.get_connect_timeout().copied().unwrap_or(CONNECT_TIMEOUT))
                .tcp_user_timeout(TCP_TIMEOUT)
                .keepalives_idle(KEEPALIVE);
            config
        };
        hosts.iter().enumerate().map(one).collect()
    }

    /// Who may have signed the servers' certificates. `None`: connections are not encrypted.
    pub(crate) fn roots(&self) -> Option<&Path> {
        self.roots.as_deref()
    }

    /// Its name in the server's list of connections.
    pub(crate) fn name(&self) -> &str {
        self.config.get_application_name().unwrap_or_default()
    }

    /// The same, under another name in the server's list of connections.
    #[must_use]
    pub fn named(mut self, name: &str) -> Self {
        self.config.application_name(name);
        self
    }

    /// The same, where tables without a schema's name are in this schema.
    #[must_use]
    pub fn in_schema(mut self, schema: &str) -> Self {
        let before = self.config.get_options().unwrap_or_default();
        let options = format!("{before} -c search_path={schema}");
        self.config.options(options.trim());
        self
    }
}

/// Takes parameters out of an address that the library would not know.
fn take_parameters<const N: usize>(address: &str, names: [&str; N]) -> (String, [Option<String>; N]) {
    let mut taken = [const { None }; N];
    let Some((base, query)) = address.split_once('?') else { return (address.to_owned(), taken) };
    let mut left = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        match names.iter().position(|known| *known == name).and_then(|place| taken.get_mut(place)) {
            Some(place) => *place = Some(plain(value)),
            None => left.push(pair),
        }
    }
    let query = left.join("&");
    (if query.is_empty() { base.to_owned() } else { format!("{base}?{query}") }, taken)
}

/// Without percent signs.
fn plain(value: &str) -> String {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let code = after.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        match code.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) if *first == b'%' => {
                bytes.push(byte);
                rest = after.get(2..).unwrap_or_default();
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Whether it is on this machine.
fn is_here(host: &Host) -> bool {
    match host {
        Host::Tcp(name) => {
            name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
        }
        Host::Unix(_) => true,
    }
}

fn host_name(host: &Host) -> String {
    match host {
        Host::Tcp(name) => name.clone(),
        Host::Unix(path) => path.display().to_string(),
    }
}

/// Sets the password that stands in a file for one of the hosts, if one does.
fn find_password(config: &mut Config, path: &Path) -> Result<(), SettingsError> {
    let read = |error| SettingsError::Read { path: path.to_owned(), error };
    if path.metadata().map_err(read)?.mode() & OTHERS != 0 {
        return Err(SettingsError::Passwords(path.to_owned()));
    }
    let text = fs::read_to_string(path).map_err(read)?;
    let user = config.get_user().unwrap_or_default().to_owned();
    let database = config.get_dbname().unwrap_or(&user).to_owned();
    let ports = config.get_ports().to_vec();
    let port = |place: usize| ports.get(place).or(ports.first()).copied().unwrap_or(DEFAULT_PORT).to_string();
    let hosts: Vec<(String, String)> =
        config.get_hosts().iter().enumerate().map(|(place, host)| (host_name(host), port(place))).collect();
    let matches = |pattern: &str, value: &str| pattern == "*" || pattern == value;
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let fields = fields(line);
        let [host, port, of_database, of_user, password] = &fields[..] else { continue };
        let fits = hosts.iter().any(|(name, at)| matches(host, name) && matches(port, at));
        if fits && matches(of_database, &database) && matches(of_user, &user) {
            config.password(password);
            break;
        }
    }
    Ok(())
}

/// What stands between the colons of a line; a backslash takes the next character as it is.
fn fields(line: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        match (character, fields.last_mut()) {
            (':', _) => fields.push(String::new()),
            ('\\', Some(last)) => last.extend(characters.next()),
            (other, Some(last)) => last.push(other),
            (_, None) => {}
        }
    }
    fields
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn settings(address: &str) -> Result<Settings, SettingsError> {
        Settings::with(address, |_| None)
    }

    #[test]
    fn what_is_shown_holds_no_password() {
        let settings = settings("postgres://relay:geheim@127.0.0.1:5433,localhost:5434/kuvert").unwrap();
        assert!(settings.password_in_address());
        for shown in [format!("{settings}"), format!("{settings:?}")] {
            assert_eq!(shown, "postgres://127.0.0.1,localhost/kuvert");
        }
        let wrong = Settings::with("postgres://relay:geheim@h/kuvert?nonsense=geheim", |_| None).unwrap_err();
        assert!(!wrong.to_string().contains("geheim"), "{wrong}");
    }

    #[test]
    fn the_network_is_used_with_encryption_or_on_request_without() {
        let refused = settings("postgres://relay@10.0.0.1/kuvert").unwrap_err();
        assert!(matches!(refused, SettingsError::Unencrypted { host } if host == "10.0.0.1"));
        assert!(settings("postgres://relay@127.0.0.1,10.0.0.1/kuvert").is_err(), "each of them");
        // A mode that would do without is no answer.
        assert!(settings("postgres://relay@10.0.0.1/kuvert?sslmode=prefer").is_err());
        assert!(settings("postgres://relay@10.0.0.1/kuvert?sslmode=require").is_err(), "signed by whom?");
        assert!(settings("postgres://relay@10.0.0.1/kuvert?sslmode=disable").is_ok());
        let encrypted = settings("postgres://relay@10.0.0.1/kuvert?sslrootcert=/a%20b.pem").unwrap();
        assert_eq!(encrypted.roots(), Some(Path::new("/a b.pem")));
        assert_eq!(encrypted.config().get_ssl_mode(), SslMode::Require);
        for here in ["127.0.0.1", "localhost", "[::1]", "%2Frun%2Fpostgresql"] {
            assert!(settings(&format!("postgres://relay@{here}/kuvert")).is_ok(), "{here}");
        }
    }

    #[test]
    fn the_password_comes_from_a_private_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("passwords");
        let mut file = fs::File::create(&path).unwrap();
        writeln!(file, "# a comment\n127.0.0.1:5432:other:*:wrong\n127.0.0.1:*:kuvert:relay:a\\:b\\\\c\n*:*:*:*:last")
            .unwrap();
        let read = |address: &str| {
            settings(&format!("{address}?passfile={}", path.display()))
                .map(|settings| settings.config().get_password().map(<[u8]>::to_vec))
        };
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(read("postgres://relay@127.0.0.1/kuvert"), Err(SettingsError::Passwords(_))));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(read("postgres://relay@127.0.0.1:7/kuvert").unwrap().unwrap(), b"a:b\\c");
        assert_eq!(read("postgres://relay@localhost/kuvert").unwrap().unwrap(), b"last");
        let variable = |name: &str| (name == "PGPASSWORD").then(|| OsString::from("env"));
        let settings = Settings::with("postgres://relay@127.0.0.1/kuvert", variable).unwrap();
        assert_eq!(settings.config().get_password(), Some(&b"env"[..]));
        assert!(!settings.password_in_address());
    }
}
