//! Which place an operator means.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kuvert_relay::config::BlobPlace;

use super::Objects;
use super::directory::SharedDirectory;

/// Why there is no such place. Every message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum AddressError {
    /// It is no path.
    #[error(
        "blobs.store = \"{0}\" is no place for files: give the path of a directory that all relays share (/srv/kuvert-files), or a \
         bucket (s3://BUCKET/PREFIX)"
    )]
    Unknown(String),
    /// The directory.
    #[error(
        "cannot use the directory for files {}: {error}. It must be there, mounted where the relay runs, and be the relay's to write",
        path.display()
    )]
    Directory {
        /// Which.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// A bucket, and this program knows none.
    #[error(
        "blobs.store names a bucket, and this relay was built without S3. Build it with \
         `cargo build --profile dist -p kuvert-relay-server --features s3`, or name a directory that all relays share"
    )]
    NoBuckets,
    /// The bucket.
    #[cfg(feature = "s3")]
    #[error(transparent)]
    Bucket(#[from] super::s3::BucketError),
}

/// How the address of a bucket begins.
const BUCKET: &str = "s3://";

/// Opens the place that a configuration names. `None`: it names none. Blocks for a moment.
///
/// # Errors
/// See [`AddressError`].
pub fn open(place: &BlobPlace) -> Result<Option<Arc<dyn Objects>>, AddressError> {
    let store = &place.store[..];
    if store.is_empty() {
        return Ok(None);
    }
    if store.starts_with(BUCKET) {
        return bucket(store).map(Some);
    }
    let path = Path::new(store);
    if !path.is_absolute() {
        return Err(AddressError::Unknown(store.to_owned()));
    }
    let directory =
        SharedDirectory::open(path).map_err(|error| AddressError::Directory { path: path.to_owned(), error })?;
    Ok(Some(Arc::new(directory)))
}

#[cfg(feature = "s3")]
fn bucket(address: &str) -> Result<Arc<dyn Objects>, AddressError> {
    Ok(Arc::new(super::s3::Bucket::open(address, std::env::vars())?))
}

#[cfg(not(feature = "s3"))]
fn bucket(_: &str) -> Result<Arc<dyn Objects>, AddressError> {
    Err(AddressError::NoBuckets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_directory_that_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let of = |store: &str| BlobPlace { store: store.to_owned() };
        let there = folder.path().display().to_string();
        assert!(open(&BlobPlace::default()).unwrap().is_none());
        assert!(open(&of(&there)).unwrap().is_some());
        assert!(matches!(open(&of(&format!("{there}/not"))), Err(AddressError::Directory { .. })));
        for wrong in ["files", "https://s3.example.org/files"] {
            assert!(matches!(open(&of(wrong)), Err(AddressError::Unknown(_))), "{wrong}");
        }
        // Without the feature it is not mistaken for a path.
        #[cfg(not(feature = "s3"))]
        assert!(matches!(open(&of("s3://files")), Err(AddressError::NoBuckets)));
    }
}
