//! What went wrong: a code for programs, and a message that says what to do next.

use std::io;
use std::path::Path;

use kuvert_relay::config::ConfigError;
use kuvert_relay::endpoint::ListenError;
use kuvert_relay::relay;
use kuvert_relay::store::{StoreError, Unavailable};
use kuvert_relay::tls::TlsError;
use kuvert_relay_sqlite::BlobsError;
use kuvert_relay_sqlite::admin::AdminError;
use kuvert_relay_sqlite::embedded::StartError;
use kuvert_relay_sqlite::people::PeopleError;
use kuvert_relay_sqlite::store::OpenError;
use serde_json::json;

use crate::source::SourceError;

/// Why the program ends with 1 or 2.
#[derive(Debug)]
pub struct Failure {
    /// Stable.
    code: &'static str,
    message: String,
    usage: bool,
    /// The reader of the output has seen enough: nothing went wrong.
    left: bool,
}

impl Failure {
    /// Something failed.
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), usage: false, left: false }
    }

    /// The command line, the environment or the configuration is to blame.
    pub fn usage(code: &'static str, message: impl Into<String>) -> Self {
        Self { usage: true, ..Self::new(code, message) }
    }

    /// Stdout cannot be written.
    pub fn output(error: &io::Error) -> Self {
        let left = error.kind() == io::ErrorKind::BrokenPipe;
        Self { left, ..Self::new("output", format!("cannot write the output: {error}")) }
    }

    /// A file cannot be written.
    pub fn write(path: &Path, error: &io::Error) -> Self {
        Self::new(
            "io",
            format!("cannot write {}: {error}. Check that its directory exists and may be written.", path.display()),
        )
    }

    /// It was not said where the data are, and there is no home directory to guess from.
    pub fn no_data_directory() -> Self {
        Self::new("no-data-directory", "there is no home directory to keep data in: name a directory with --data")
    }

    /// Whether the command line, the environment or the configuration is to blame.
    pub const fn is_usage(&self) -> bool {
        self.usage
    }

    /// Whether nothing failed but the output is not read any more, as behind `| head`.
    pub const fn reader_left(&self) -> bool {
        self.left
    }

    /// What went wrong and what to do.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Tells.
    pub fn report(&self, json: bool) {
        if json {
            // Stderr says it, too.
            let _ =
                super::print(&format!("{}\n", json!({"type": "error", "code": self.code, "message": self.message})));
        }
        super::say(&format!("error: {}", self.message));
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        let code = match error {
            ConfigError::Retention(_) => "retention-too-long",
            ConfigError::Monitoring(_) => "monitoring-exposed",
            ConfigError::Rate(_)
            | ConfigError::Zero(_)
            | ConfigError::FileSize(_)
            | ConfigError::Percent(_)
            | ConfigError::ReportDelay(_)
            | ConfigError::Region
            | ConfigError::ClusterWithoutStore
            | ConfigError::BlobsWithoutStore
            | ConfigError::ClusterName => "config-value",
        };
        Self::usage(code, error.to_string())
    }
}

impl From<SourceError> for Failure {
    fn from(error: SourceError) -> Self {
        let code = match error {
            SourceError::Read { .. } => "config-file",
            SourceError::Syntax { .. } => "config-syntax",
            SourceError::UnknownKey { .. } => "config-unknown-key",
            SourceError::Variable { .. } => "config-value",
            SourceError::Config(error) => return error.into(),
        };
        Self::usage(code, error.to_string())
    }
}

impl From<AdminError> for Failure {
    fn from(error: AdminError) -> Self {
        match error {
            AdminError::Open(error) => error.into(),
            AdminError::People(error) => error.into(),
            AdminError::Store(error) => error.into(),
            AdminError::Backup(error) => error.into(),
        }
    }
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        let code = match &error {
            OpenError::Locked(_) => "data-locked",
            OpenError::Foreign(_) => "data-foreign",
            OpenError::Newer { .. } => "data-newer",
            OpenError::Unregistered { .. } => "data-unregistered",
            OpenError::Older { .. } => "data-older",
            OpenError::Permissions { .. } => "data-permissions",
            OpenError::Owner { .. } | OpenError::FileOwner { .. } => "data-of-another",
            OpenError::Missing(_) => "data-missing",
            OpenError::Io { .. } => "data-io",
            OpenError::Store(error) => return error.clone().into(),
        };
        let hint = match &error {
            OpenError::Io { error, .. } if error.kind() == io::ErrorKind::PermissionDenied => {
                ": run the relay as the user who owns the directory, or choose another one with --data"
            }
            OpenError::Io { error, .. } if error.kind() == io::ErrorKind::ReadOnlyFilesystem => {
                ": mount it so that it can be written to, or choose another directory with --data"
            }
            OpenError::Io { error, .. }
                if matches!(error.kind(), io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory) =>
            {
                ": it is a file, and data are kept in a directory: choose one with --data"
            }
            OpenError::Io { .. } => ": check the directory, or choose another one with --data",
            _ => "",
        };
        Self::new(code, format!("{error}{hint}"))
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let (code, hint) = match &error {
            StoreError::Unavailable(Unavailable::DiskFull) => ("disk-full", ": make room and start again"),
            StoreError::Unavailable(_) | StoreError::Unknown(_) => ("data-io", ": check the disk and start again"),
            StoreError::Corrupt(_) => (
                "data-corrupt",
                ": restore the directory from a backup, or start with an empty one; keep this one for a look",
            ),
        };
        Self::new(code, format!("{error}{hint}"))
    }
}

impl From<PeopleError> for Failure {
    fn from(error: PeopleError) -> Self {
        let code = match &error {
            PeopleError::Newer { .. } => "data-newer",
            PeopleError::Older { .. } => "data-older",
            PeopleError::Unregistered { .. } => "data-unregistered",
            PeopleError::Disclosures { .. } => "data-disclosures",
            PeopleError::Database { .. } | PeopleError::Io { .. } => "people",
        };
        Self::new(code, error.to_string())
    }
}

impl From<BlobsError> for Failure {
    fn from(error: BlobsError) -> Self {
        let code = match &error {
            BlobsError::Newer { .. } => "data-newer",
            BlobsError::Foreign(_) => "data-foreign",
            BlobsError::Unregistered { .. } => "data-unregistered",
            BlobsError::Database { .. } | BlobsError::Io { .. } => "blobs",
        };
        Self::new(code, error.to_string())
    }
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        match error {
            StartError::Open(error) => error.into(),
            StartError::Blobs(error) => error.into(),
            StartError::People(error) => error.into(),
            StartError::Observations { .. } => Self::new("data-observations", error.to_string()),
            StartError::Observer(error) => Self::new("observe", error.to_string()),
            StartError::Relay(error) => error.into(),
        }
    }
}

impl From<relay::StartError> for Failure {
    fn from(error: relay::StartError) -> Self {
        let code = match error {
            relay::StartError::Config(error) => return error.into(),
            relay::StartError::Store(error) => return error.into(),
            relay::StartError::Tls(TlsError::OtherKey { .. }) => "tls-other-key",
            relay::StartError::Tls(TlsError::Permissions { .. }) => "tls-permissions",
            relay::StartError::Tls(_) => "tls",
            relay::StartError::Listen(ListenError::InUse(_)) => "port-in-use",
            relay::StartError::Listen(_) => "listen",
            relay::StartError::Monitoring { .. } => "monitoring",
            relay::StartError::Clock(_) => "clock",
            relay::StartError::PublicHost(_) => {
                return Self::usage("public-host", error.to_string());
            }
        };
        Self::new(code, error.to_string())
    }
}

#[cfg(feature = "postgres")]
mod postgres {
    use kuvert_relay_cluster::key::KeyError;
    use kuvert_relay_cluster::member::JoinError;
    use kuvert_relay_postgres::admin::AdminError;
    use kuvert_relay_postgres::blobs::objects::place::AddressError;
    use kuvert_relay_postgres::blobs::{OpenBlobsError, PlaceError};
    use kuvert_relay_postgres::groups::AddError;
    use kuvert_relay_postgres::moves::MoveError;
    use kuvert_relay_postgres::outcome::Fault;
    use kuvert_relay_postgres::schema::OpenError;

    use super::Failure;

    impl From<OpenError> for Failure {
        fn from(error: OpenError) -> Self {
            let code = match &error {
                OpenError::Settings(error) => return Self::usage("store-address", error.to_string()),
                OpenError::Unreachable(_) => "store-unreachable",
                OpenError::Empty => "store-empty",
                OpenError::Older { .. } => "data-older",
                OpenError::Newer { .. } => "data-newer",
                OpenError::Foreign => "data-foreign",
                OpenError::Unregistered(_) => "data-unregistered",
                OpenError::Server(_) => "store-server",
                OpenError::Served => "data-locked",
                OpenError::NotHome => return Self::usage("store-not-first", error.to_string()),
                OpenError::Threads(_) => "runtime",
            };
            Self::new(code, error.to_string())
        }
    }

    impl From<AddressError> for Failure {
        fn from(error: AddressError) -> Self {
            Self::usage("blobs-place", error.to_string())
        }
    }

    impl From<OpenBlobsError> for Failure {
        fn from(error: OpenBlobsError) -> Self {
            let code = match error {
                OpenBlobsError::Rows(error) => return error.into(),
                OpenBlobsError::Place(PlaceError::Refused { .. }) => "blobs-refused",
                OpenBlobsError::Place(PlaceError::OfAnother(_)) => "blobs-of-another",
                OpenBlobsError::Place(PlaceError::Empty { .. }) => "blobs-empty",
            };
            Self::new(code, error.to_string())
        }
    }

    impl From<AdminError> for Failure {
        fn from(error: AdminError) -> Self {
            match error {
                AdminError::Open(error) => error.into(),
                AdminError::Store(error) => error.into(),
                AdminError::Backup => Self::usage("backup-elsewhere", error.to_string()),
            }
        }
    }

    impl From<Fault> for Failure {
        fn from(fault: Fault) -> Self {
            Self::new("store-unreachable", format!("the store did not do that: {}. Try again", fault.words))
        }
    }

    impl From<AddError> for Failure {
        fn from(error: AddError) -> Self {
            match error {
                AddError::Open(error) => error.into(),
                AddError::Used => Self::new("group-used", error.to_string()),
                AddError::Password | AddError::Name | AddError::Taken(_) | AddError::TooMany => {
                    Self::usage("group-value", error.to_string())
                }
            }
        }
    }

    impl From<MoveError> for Failure {
        fn from(error: MoveError) -> Self {
            let code = match &error {
                MoveError::Busy => "move-busy",
                MoveError::Unprepared(_) => "move-unprepared",
                MoveError::Servers(_) | MoveError::Stopped => "move-stopped",
            };
            Self::new(code, error.to_string())
        }
    }

    impl From<KeyError> for Failure {
        fn from(error: KeyError) -> Self {
            Self::new("cluster-key", error.to_string())
        }
    }

    impl From<JoinError> for Failure {
        fn from(error: JoinError) -> Self {
            match error {
                JoinError::Open(error) => error.into(),
                JoinError::Address(_) => Self::usage("config-value", error.to_string()),
                JoinError::Mesh(_) | JoinError::Join(_) => Self::new("cluster", error.to_string()),
            }
        }
    }
}
