//! TLS 1.3 between nodes. Both ends show a certificate, and take the other's only if its key is derived from a key of the
//! cluster. Names, dates and authorities count for nothing.
//!
//! A host that has no key of the cluster's fails in the handshake: no byte of what it sends is looked at by more than the TLS library.
//! The key exchange is the post-quantum hybrid alone: all nodes are of one make.

use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs::{self, kx_group};
use rustls::crypto::{CryptoProvider, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};

use crate::key::{ClusterKey, KeyError, Keys};

/// Versions of what nodes say to each other, in the order of preference. Both ends name theirs in the handshake and take the first
/// that both have; without one there is no link. A newer version is added in front and the old one stays for one release, so
/// that nodes are upgraded one after the other.
pub const VERSIONS: [&[u8]; 1] = [b"kuvert-node/1"];

/// The name in the certificates. Nothing looks at it.
pub const NAME: &str = "kuvert-node";

/// What a node shows and takes.
#[derive(Clone, Debug)]
pub struct Identity {
    certificate: CertificateDer<'static>,
    key: Arc<PrivateKeyDer<'static>>,
    pins: Arc<Pins>,
}

/// Why there is no identity.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The keys.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The certificate.
    #[error("cannot make the certificate of the cluster's links: {0}")]
    Certificate(#[from] rcgen::Error),
    /// TLS.
    #[error("the TLS library refuses the cluster's links: {0}")]
    Tls(#[from] Error),
}

impl Identity {
    /// From the cluster's keys.
    ///
    /// # Errors
    /// The libraries refuse: a bug.
    pub fn of(keys: &Keys) -> Result<Self, IdentityError> {
        let (certificate, key) = certificate(keys.shown())?;
        let taken =
            keys.taken().map(|key| public_key(&certificate_only(key)?)).collect::<Result<_, IdentityError>>()?;
        let pins = Arc::new(Pins { taken, provider: Arc::new(provider()) });
        Ok(Self { certificate, key: Arc::new(key), pins })
    }

    /// For those that connect.
    ///
    /// # Errors
    /// A bug.
    pub fn server(&self) -> Result<rustls::ServerConfig, IdentityError> {
        let mut config = rustls::ServerConfig::builder_with_provider(Arc::clone(&self.pins.provider))
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_client_cert_verifier(Arc::<Pins>::clone(&self.pins))
            .with_single_cert(vec![self.certificate.clone()], self.key.clone_key())?;
        config.alpn_protocols = VERSIONS.map(<[u8]>::to_vec).into();
        config.send_tls13_tickets = 0;
        Ok(config)
    }

    /// For connecting.
    ///
    /// # Errors
    /// A bug.
    pub fn client(&self) -> Result<rustls::ClientConfig, IdentityError> {
        let mut config = rustls::ClientConfig::builder_with_provider(Arc::clone(&self.pins.provider))
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .dangerous() // the pin is stricter than a name
            .with_custom_certificate_verifier(Arc::<Pins>::clone(&self.pins))
            .with_client_auth_cert(vec![self.certificate.clone()], self.key.clone_key())?;
        config.alpn_protocols = VERSIONS.map(<[u8]>::to_vec).into();
        config.resumption = rustls::client::Resumption::disabled();
        config.enable_sni = false;
        Ok(config)
    }

    /// Whether a node that showed this certificate would still be taken.
    pub fn takes(&self, certificate: &CertificateDer<'_>) -> bool {
        self.pins.check(certificate).is_ok()
    }
}

fn provider() -> CryptoProvider {
    CryptoProvider { kx_groups: vec![kx_group::X25519MLKEM768], ..aws_lc_rs::default_provider() }
}

fn certificate(key: &ClusterKey) -> Result<(CertificateDer<'static>, PrivateKeyDer<'static>), IdentityError> {
    let der = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.link_key()?));
    let pair = KeyPair::try_from(&der)?;
    let made = CertificateParams::new(vec![NAME.to_owned()])?.self_signed(&pair)?;
    Ok((made.der().clone(), der))
}

fn certificate_only(key: &ClusterKey) -> Result<CertificateDer<'static>, IdentityError> {
    certificate(key).map(|(certificate, _)| certificate)
}

fn public_key(certificate: &CertificateDer<'_>) -> Result<Vec<u8>, IdentityError> {
    Ok(ParsedCertificate::try_from(certificate)?.subject_public_key_info().as_ref().to_vec())
}

/// The public keys that are taken.
#[derive(Debug)]
struct Pins {
    taken: Vec<Vec<u8>>,
    provider: Arc<CryptoProvider>,
}

impl Pins {
    fn check(&self, certificate: &CertificateDer<'_>) -> Result<(), Error> {
        let shown = ParsedCertificate::try_from(certificate)?.subject_public_key_info();
        // Public keys: what time the comparison takes tells nothing.
        if self.taken.iter().any(|taken| taken == shown.as_ref()) {
            return Ok(());
        }
        Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure))
    }

    fn signed(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }
}

fn no_tls12() -> Error {
    Error::General("TLS 1.2 is not spoken here".to_owned())
}

impl ServerCertVerifier for Pins {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.check(certificate).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(no_tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signed(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}

impl ClientCertVerifier for Pins {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.check(certificate).map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(no_tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signed(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}
