//! What lets a relay that was restarted tell clients of the one before that their connections are gone (stateless reset,
//! RFC 9000, section 10.3): the same keys as before. Without them a client hears nothing until its own timeout.
//!
//! An attacker that has the keys can end clients' connections, and no more than that. A file that is missing, damaged or readable
//! for others is replaced: all that is lost is the word to those clients.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use aws_lc_rs::hmac;
use quinn::EndpointConfig;
use quinn_proto::HashedConnectionIdGenerator;

use crate::whole_file;

/// Name of the file in the data directory: `reset key 32 ‖ connection id key 8`.
pub const FILE: &str = "endpoint.key";

const RESET_LEN: usize = 32;
const LEN: usize = RESET_LEN + 8;

/// The keys of an endpoint.
#[derive(Clone)]
pub struct EndpointKey([u8; LEN]);

impl std::fmt::Debug for EndpointKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EndpointKey").finish_non_exhaustive()
    }
}

impl EndpointKey {
    /// Keys that were never used before.
    ///
    /// # Errors
    /// The system has no randomness.
    pub fn random() -> io::Result<Self> {
        let mut key = [0; LEN];
        getrandom::fill(&mut key)?;
        Ok(Self(key))
    }

    /// The keys of this data directory, made if there are none that can be used.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn load_or_make(data: &Path) -> io::Result<Self> {
        let path = data.join(FILE);
        if let Some(key) = load(&path) {
            return Ok(key);
        }
        let key = Self::random()?;
        whole_file::write(&path, &key.0, whole_file::PRIVATE)?;
        Ok(key)
    }

    /// What QUIC needs.
    pub fn config(&self) -> EndpointConfig {
        let (reset, ids) = self.0.split_at(RESET_LEN);
        let mut config = EndpointConfig::new(Arc::new(hmac::Key::new(hmac::HMAC_SHA256, reset)));
        let ids = ids.iter().fold(0, |key, byte| key << 8 | u64::from(*byte));
        config.cid_generator(move || Box::new(HashedConnectionIdGenerator::from_key(ids)));
        config
    }
}

fn load(path: &Path) -> Option<EndpointKey> {
    let mut file = File::open(path).ok()?;
    let metadata = file.metadata().ok()?;
    if metadata.mode() & 0o077 != 0 || metadata.len() != LEN as u64 {
        return None;
    }
    let mut key = [0; LEN];
    file.read_exact(&mut key).ok()?;
    Some(EndpointKey(key))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_keys_stay_unless_they_cannot_be_used() {
        let data = tempfile::tempdir().unwrap();
        let path = data.path().join(FILE);
        let first = EndpointKey::load_or_make(data.path()).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(EndpointKey::load_or_make(data.path()).unwrap().0, first.0);

        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let second = EndpointKey::load_or_make(data.path()).unwrap();
        assert_ne!(second.0, first.0, "others may have read it");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);

        fs::write(&path, [1; LEN - 1]).unwrap();
        assert_ne!(EndpointKey::load_or_make(data.path()).unwrap().0, second.0);
        assert_eq!(fs::metadata(&path).unwrap().len(), LEN as u64);
    }
}
