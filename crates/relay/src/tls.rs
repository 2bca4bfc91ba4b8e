//! Who the relay is to its clients: a certificate, its key, and the fingerprint that clients pin.
//!
//! Clients trust the SHA-256 of the certificate's SubjectPublicKeyInfo, which stands in the relay's address, and no
//! certificate authority. So a self-made certificate is as good as a bought one; an operator may still bring his own.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{self, kx_group};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::ParsedCertificate;
use sha2::{Digest, Sha256};

use crate::config::Config;
use crate::whole_file;

/// The relay's certificate chain and key.
#[derive(Debug)]
pub struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    fingerprint: [u8; 32],
}

/// Why the relay has no identity.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read or written.
    #[error("cannot {action} {}: {source}. Check that the file exists and that the relay's user may {action} it.", path.display())]
    File {
        /// "read" or "write".
        action: &'static str,
        /// Which.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A file is not what it should be.
    #[error("{} holds no {what} in PEM form. Name another file, or delete both files in tls/ to have new ones made; clients then need the relay's new address.", path.display())]
    NotPem {
        /// Which.
        path: PathBuf,
        /// "certificate" or "private key".
        what: &'static str,
    },
    /// Others may read the key.
    #[error("the key in {} can be read by others. Run: chmod {} {}", path.display(), mode, path.display())]
    Permissions {
        /// Which.
        path: PathBuf,
        /// What it should be.
        mode: &'static str,
    },
    /// The self-made certificate is there and its key is not.
    #[error("{} is missing. Restore it from a backup, or delete the certificate beside it too to have new ones made; clients then need the relay's new address.", path.display())]
    KeyMissing {
        /// Where it should be.
        path: PathBuf,
    },
    /// Clients would take the relay for another one.
    #[error(
        "the certificate is for another key than the one that clients of this relay pin: they would refuse it. Renew it for the same key ({hint})"
    )]
    OtherKey {
        /// How, or what else can be done.
        hint: &'static str,
    },
    /// The TLS library refuses certificate or key.
    #[error("the TLS library refuses the certificate or its key ({0}). Check that the two belong together.")]
    Refused(#[from] rustls::Error),
    /// A certificate could not be made.
    #[error("cannot make a certificate: {0}")]
    Make(#[from] rcgen::Error),
}

impl Identity {
    /// The operator's own files where the configuration names some, else the self-made identity.
    ///
    /// # Errors
    /// See [`TlsError`].
    pub fn of(config: &Config) -> Result<Self, TlsError> {
        match &config.tls {
            Some(files) => Self::from_files(&files.certificate, &files.key),
            None => Self::load_or_make(&config.data),
        }
    }

    /// Refuses a key that clients do not know.
    ///
    /// # Errors
    /// [`TlsError::OtherKey`]
    pub fn must_be(&self, fingerprint: &[u8; 32]) -> Result<(), TlsError> {
        if self.fingerprint == *fingerprint {
            return Ok(());
        }
        Err(TlsError::OtherKey { hint: "certbot: --reuse-key; docs/OPERATING.md, \"Certificates\"" })
    }

    /// The self-made identity in `DATA/tls/`, made now if there is none.
    ///
    /// # Errors
    /// See [`TlsError`].
    pub fn load_or_make(data: &Path) -> Result<Self, TlsError> {
        let folder = data.join("tls");
        let (certificate, key) = (folder.join("certificate.pem"), folder.join("key.pem"));
        match (certificate.exists(), key.exists()) {
            (true, true) => {}
            (true, false) => return Err(TlsError::KeyMissing { path: key }),
            // The key is the identity. A certificate around it is made again, for instance after a crash in between.
            (false, _) => make(&folder, &certificate, &key)?,
        }
        Self::load(&certificate, &key, Secrecy::OwnerOnly)
    }

    /// An identity from the operator's own PEM files. A group may read the key (as certificate tools set it up), others not.
    ///
    /// # Errors
    /// See [`TlsError`].
    pub fn from_files(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        Self::load(certificate, key, Secrecy::OwnerAndGroup)
    }

    fn load(certificate: &Path, key: &Path, secrecy: Secrecy) -> Result<Self, TlsError> {
        secrecy.check(key)?;
        let pem = read(certificate)?;
        let not_certificate = || TlsError::NotPem { path: certificate.into(), what: "certificate" };
        let chain: Vec<_> =
            CertificateDer::pem_slice_iter(&pem).collect::<Result<_, _>>().map_err(|_| not_certificate())?;
        let first = chain.first().ok_or_else(not_certificate)?;
        let spki = ParsedCertificate::try_from(first)?.subject_public_key_info();
        let fingerprint = Sha256::digest(&spki).into();
        let key = PrivateKeyDer::from_pem_slice(&read(key)?)
            .map_err(|_| TlsError::NotPem { path: key.into(), what: "private key" })?;
        Ok(Self { chain, key, fingerprint })
    }

    /// SHA-256 over the certificate's SubjectPublicKeyInfo: what clients pin.
    pub const fn fingerprint(&self) -> [u8; 32] {
        self.fingerprint
    }

    /// What the QUIC endpoint needs: TLS 1.3 only, post-quantum key exchange preferred, Kuvert's ALPN, no tickets.
    ///
    /// # Errors
    /// Certificate and key do not belong together.
    pub fn server_config(&self) -> Result<rustls::ServerConfig, TlsError> {
        let mut config = rustls::ServerConfig::builder_with_provider(Arc::new(provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_no_client_auth()
            .with_single_cert(self.chain.clone(), self.key.clone_key())?;
        config.alpn_protocols = vec![kuvert_wire::ALPN.to_vec()];
        // A ticket would let the relay link a device's connections before it authenticates, and costs memory.
        config.send_tls13_tickets = 0;
        Ok(config)
    }
}

/// aws-lc-rs with the key exchanges that a relay accepts, in its order of preference. Set explicitly: quinn switches
/// rustls's default features off, and what that leaves as the default has been plain X25519.
pub fn provider() -> CryptoProvider {
    CryptoProvider { kx_groups: vec![kx_group::X25519MLKEM768, kx_group::X25519], ..aws_lc_rs::default_provider() }
}

/// Who may read a key.
enum Secrecy {
    OwnerOnly,
    OwnerAndGroup,
}

impl Secrecy {
    fn check(&self, key: &Path) -> Result<(), TlsError> {
        let (forbidden, mode) = match self {
            Self::OwnerOnly => (0o077, "600"),
            Self::OwnerAndGroup => (0o007, "640"),
        };
        let metadata =
            fs::metadata(key).map_err(|source| TlsError::File { action: "read", path: key.into(), source })?;
        if metadata.permissions().mode() & forbidden != 0 {
            return Err(TlsError::Permissions { path: key.into(), mode });
        }
        Ok(())
    }
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    fs::read(path).map_err(|source| TlsError::File { action: "read", path: path.into(), source })
}

fn make(folder: &Path, certificate: &Path, key: &Path) -> Result<(), TlsError> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(|source| TlsError::File {
        action: "write",
        path: folder.into(),
        source,
    })?;
    let pair = if key.exists() {
        let pem = String::from_utf8(read(key)?).unwrap_or_default();
        rcgen::KeyPair::from_pem(&pem).map_err(|_| TlsError::NotPem { path: key.into(), what: "private key" })?
    } else {
        let pair = rcgen::KeyPair::generate()?;
        write_new(key, pair.serialize_pem().as_bytes())?;
        pair
    };
    // The name is not checked by anybody: clients look at the key alone.
    let made = rcgen::CertificateParams::new(vec!["kuvert-relay".to_owned()])?.self_signed(&pair)?;
    write_new(certificate, made.pem().as_bytes())
}

fn write_new(path: &Path, content: &[u8]) -> Result<(), TlsError> {
    let written = whole_file::write(path, content, whole_file::PRIVATE);
    written.map_err(|source| TlsError::File { action: "write", path: path.into(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn makes_an_identity_once_and_keeps_it() {
        let data = tempfile::tempdir().unwrap();
        let first = Identity::load_or_make(data.path()).unwrap();
        assert_eq!(Identity::load_or_make(data.path()).unwrap().fingerprint(), first.fingerprint());
        let key = data.path().join("tls/key.pem");
        assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);

        fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(Identity::load_or_make(data.path()), Err(TlsError::Permissions { .. })));
        assert!(Identity::from_files(&data.path().join("tls/certificate.pem"), &key).is_ok());
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
        fs::remove_file(data.path().join("tls/certificate.pem")).unwrap();
        assert_eq!(Identity::load_or_make(data.path()).unwrap().fingerprint(), first.fingerprint());
        fs::remove_file(&key).unwrap();
        assert!(matches!(Identity::load_or_make(data.path()), Err(TlsError::KeyMissing { .. })));
        fs::write(&key, "nonsense").unwrap();
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
        assert!(matches!(Identity::load_or_make(data.path()), Err(TlsError::NotPem { .. })));
    }

    #[test]
    fn refuses_a_key_that_belongs_to_another_certificate() {
        let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        Identity::load_or_make(a.path()).unwrap();
        Identity::load_or_make(b.path()).unwrap();
        let mixed = Identity::from_files(&a.path().join("tls/certificate.pem"), &b.path().join("tls/key.pem")).unwrap();
        assert!(matches!(mixed.server_config(), Err(TlsError::Refused(_))));
    }
}
