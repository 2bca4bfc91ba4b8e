//! The cluster's key: 32 random bytes that every node has. It proves that a node is one of this cluster's, and nothing else does:
//! both ends of a link show a certificate whose Ed25519 key is derived from it, and take no other.
//!
//! A file holds one key a line, in hexadecimal digits. The first is the one that this node shows, all of them are taken from
//! others; so a key is replaced without a stop, in three steps, each on one node after the other: the new key as the second
//! line, as the first one, and alone.

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use aws_lc_rs::hkdf;
use aws_lc_rs::signature::Ed25519KeyPair;
use data_encoding::HEXLOWER_PERMISSIVE;

/// Bytes of a key.
pub const KEY_LEN: usize = 32;

/// Keys in a file: one, and another one while it is replaced; a third so that a mistake can be undone.
pub const MAX_KEYS: usize = 3;

/// Bytes of a file that is read: three keys with comments.
const MAX_FILE_BYTES: u64 = 4096;

/// Bits of a file's mode that let others than its owner use it.
const OTHERS: u32 = 0o077;

/// What the link's key is derived for. Another version of the links derives another one.
const LINK_LABEL: &[u8] = b"kuvert cluster link 1";

/// Why a file of keys cannot be used. Every message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// It cannot be read.
    #[error("cannot read {}: {error}. Make a key with `kuvert-relay cluster key > FILE`, the same file for all nodes", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// Others may read it.
    #[error("{} can be read by other users: run `chmod 600` on it", .0.display())]
    Open(PathBuf),
    /// It holds something else.
    #[error("{} is to hold 1 to {MAX_KEYS} lines of {} hexadecimal digits, as `kuvert-relay cluster key` prints them", .0.display(), KEY_LEN * 2)]
    Format(PathBuf),
    /// The library for cryptography refuses.
    #[error("no key can be derived from the cluster's key")]
    Derive,
}

/// One key. It is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct ClusterKey([u8; KEY_LEN]);

impl fmt::Debug for ClusterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClusterKey")
    }
}

impl ClusterKey {
    /// From its bytes.
    pub const fn from_bytes(bytes: [u8; KEY_LEN]) -> Self {
        Self(bytes)
    }

    /// A new one.
    ///
    /// # Errors
    /// The system has no randomness.
    pub fn random() -> io::Result<Self> {
        let mut bytes = [0; KEY_LEN];
        getrandom::fill(&mut bytes)?;
        Ok(Self(bytes))
    }

    /// As a file holds it.
    pub fn to_line(&self) -> String {
        HEXLOWER_PERMISSIVE.encode(&self.0)
    }

    fn from_line(line: &str) -> Option<Self> {
        HEXLOWER_PERMISSIVE.decode(line.as_bytes()).ok()?.try_into().ok().map(Self)
    }

    /// The private key of the certificates of this cluster's links, as PKCS#8.
    ///
    /// # Errors
    /// [`KeyError::Derive`]
    pub fn link_key(&self) -> Result<Vec<u8>, KeyError> {
        let mut seed = [0; 32];
        hkdf::Salt::new(hkdf::HKDF_SHA256, &[])
            .extract(&self.0)
            .expand(&[LINK_LABEL], hkdf::HKDF_SHA256)
            .and_then(|okm| okm.fill(&mut seed))
            .map_err(|_| KeyError::Derive)?;
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).map_err(|_| KeyError::Derive)?;
        Ok(pair.to_pkcs8().map_err(|_| KeyError::Derive)?.as_ref().to_vec())
    }
}

/// The key that a node shows, and those that it takes. There is always one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Keys {
    shown: ClusterKey,
    others: Vec<ClusterKey>,
}

impl Keys {
    /// One key.
    pub const fn only(key: ClusterKey) -> Self {
        Self { shown: key, others: Vec::new() }
    }

    /// One that is shown, and another one that is taken, too.
    #[must_use]
    pub fn and(mut self, key: ClusterKey) -> Self {
        self.others.push(key);
        self
    }

    /// Reads a file.
    ///
    /// # Errors
    /// See [`KeyError`].
    pub fn read(path: &Path) -> Result<Self, KeyError> {
        let failed = |error| KeyError::Read { path: path.to_owned(), error };
        let metadata = path.metadata().map_err(failed)?;
        if metadata.mode() & OTHERS != 0 {
            return Err(KeyError::Open(path.to_owned()));
        }
        let format = || KeyError::Format(path.to_owned());
        if metadata.len() > MAX_FILE_BYTES {
            return Err(format());
        }
        // What is no text cannot be such a file either.
        let text = String::from_utf8(fs::read(path).map_err(failed)?).map_err(|_| format())?;
        Self::parse(&text).ok_or_else(format)
    }

    /// Lines that begin with `#` are comments.
    fn parse(text: &str) -> Option<Self> {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let mut keys = lines.map(ClusterKey::from_line).collect::<Option<Vec<_>>>()?;
        if keys.is_empty() || keys.len() > MAX_KEYS {
            return None;
        }
        let others = keys.split_off(1);
        Some(Self { shown: keys.pop()?, others })
    }

    /// The one that this node shows.
    pub const fn shown(&self) -> &ClusterKey {
        &self.shown
    }

    /// All that it takes, the shown one first.
    pub fn taken(&self) -> impl Iterator<Item = &ClusterKey> {
        std::iter::once(&self.shown).chain(&self.others)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_file_holds_the_key_that_is_shown_and_those_that_are_taken() {
        let (a, b) = (ClusterKey::from_bytes([1; 32]), ClusterKey::from_bytes([2; 32]));
        let keys = Keys::parse(&format!("# of 2026\n{}\n\n{}\n", a.to_line(), b.to_line())).unwrap();
        assert_eq!(keys, Keys::only(a.clone()).and(b.clone()));
        assert_eq!(keys.taken().collect::<Vec<_>>(), [&a, &b]);
        let line = a.to_line();
        for wrong in
            ["", "# none\n", "abc", &line[..62], &format!("{line}00"), &format!("{line}\n").repeat(MAX_KEYS + 1)]
        {
            assert_eq!(Keys::parse(wrong), None, "{wrong}");
        }
        assert!(!format!("{keys:?}").contains("01"));
    }

    #[test]
    fn a_file_that_others_can_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cluster.key");
        assert!(matches!(Keys::read(&path), Err(KeyError::Read { .. })));
        let key = ClusterKey::random().unwrap();
        fs::write(&path, key.to_line()).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(Keys::read(&path), Err(KeyError::Open(_))));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(Keys::read(&path).unwrap(), Keys::only(key));
        fs::write(&path, [0xff; 9]).unwrap();
        assert!(matches!(Keys::read(&path), Err(KeyError::Format(_))));
        fs::write(&path, vec![b'#'; 5000]).unwrap();
        assert!(matches!(Keys::read(&path), Err(KeyError::Format(_))));
    }

    #[test]
    fn each_key_has_its_own_link_key() {
        let key = |byte| ClusterKey::from_bytes([byte; 32]).link_key().unwrap();
        assert_eq!(key(1), key(1));
        assert_ne!(key(1), key(2));
    }
}
