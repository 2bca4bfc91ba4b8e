//! Where the bytes of blobs are: objects that are written once, under names that are never used again.
//!
//! | module | holds |
//! |---|---|
//! | [`directory`] | a directory that all relays share |
//! | `s3` | a bucket, where this crate is built with the feature of that name |
//! | [`place`] | which place an operator means |
//! | [`name`] | how objects are called |

pub mod directory;
pub mod name;
pub mod place;
#[cfg(feature = "s3")]
pub mod s3;

use std::fmt;
use std::future::Future;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use kuvert_relay::young::{Disk, Space};

/// An operation on objects.
pub type Work<T> = Pin<Box<dyn Future<Output = Result<T, ObjectError>> + Send>>;

/// Bytes of room where there is no end of it.
pub const ENDLESS: u64 = 1 << 62;

/// Room without end.
#[derive(Debug)]
pub struct Endless;

impl Disk for Endless {
    fn space(&self) -> std::io::Result<Space> {
        Ok(Space { free: ENDLESS, total: ENDLESS })
    }
}

/// Why an operation is not done. The words name no object.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ObjectError {
    /// There is no such object.
    #[error("an object is missing")]
    Missing,
    /// The place is there and does not let this relay do it, or is no place for objects: trying again leads nowhere.
    #[error("the place for files refuses: {0}")]
    Refused(String),
    /// There is no room.
    #[error("the place for files is full")]
    Full,
    /// The place is away, or answers too late: it may have been done.
    #[error("the place for files does not answer: {0}")]
    Away(String),
}

/// What keeps objects. An operation is under way when its future is first polled; one that is dropped may be done or not.
///
/// Each bounds its own time: an outage is an error, and no wait without end.
pub trait Objects: Send + Sync + fmt::Debug + 'static {
    /// Writes an object, durably. One of that name is replaced: it had the same bytes, or fewer of them.
    fn put(&self, name: &str, bytes: Bytes) -> Work<()>;

    /// Bytes of an object: all of those in the range, or an error.
    fn get(&self, name: &str, range: Range<u64>) -> Work<Bytes>;

    /// Deletes an object. One that is not there is no error.
    fn delete(&self, name: &str) -> Work<()>;

    /// The objects of a folder, which is the part of their names before the slash, with their sizes.
    fn list(&self, folder: &str) -> Work<Vec<(String, u64)>>;

    /// How much room there is.
    fn disk(&self) -> Arc<dyn Disk>;

    /// Where that is, without secrets.
    fn place(&self) -> String;
}
