//! The embedded backend of the Kuvert relay: SQLite in one directory, used by one process.
//!
//! | module | holds |
//! |---|---|
//! | [`store`] | mail, accounts, prekeys: `DATA/relay.db` |
//! | [`people`] | rights, limits that were run into, and an extension's rows: `DATA/people.db` |
//! | [`blobs`] | files on their way: `DATA/blobs.db` and `DATA/blobs/` |
//! | [`rights`] | what accounts have a right to, from these two |
//! | [`report`] | reading what a report holds |
//! | [`serving`] | how a directory was served last |
//! | [`admin`] | what an operator's program does, also while the relay runs |
//! | [`backup`] | all of it as a directory, and back |
//! | [`embedded`] | a relay on this backend, from start to stop |

// `println!` and `eprintln!` panic where nothing can be written.
#![deny(clippy::print_stdout, clippy::print_stderr)]

pub mod admin;
pub mod backup;
pub mod blobs;
pub mod embedded;
pub mod people;
pub mod report;
pub mod rights;
pub mod serving;
pub mod store;

pub use admin::SqliteAdmin;
pub use blobs::{BlobsError, DirectoryBlobs};
pub use embedded::Embedded;
pub use people::{People, PeopleError};
pub use rights::SqliteRights;
pub use store::{Inspector, OpenError, SqliteStore};

/// Name of the observation database within the data directory: an extension writes it.
pub const OBSERVE_FILE: &str = "observe.db";

/// Name of the file within the data directory that tells how it was served last.
pub const SERVING_FILE: &str = "serving.toml";
