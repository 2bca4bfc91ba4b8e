//! TLS 1.3 towards a relay whose key is known by its fingerprint. No certificate authority, name or date counts: the
//! relay's address says which key it must prove to hold, and the handshake's signature proves it.

use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs::{self, kx_group};
use rustls::crypto::{CryptoProvider, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, SignatureScheme};
use sha2::{Digest as _, Sha256};

/// The fingerprint that a relay showed, if it was the wrong one.
pub type WrongFingerprint = Arc<Mutex<Option<[u8; 32]>>>;

/// aws-lc-rs, the post-quantum hybrid first. Set explicitly: quinn switches rustls's default features off.
fn provider() -> CryptoProvider {
    CryptoProvider { kx_groups: vec![kx_group::X25519MLKEM768, kx_group::X25519], ..aws_lc_rs::default_provider() }
}

/// The TLS configuration for one relay.
///
/// # Errors
/// The TLS library has no TLS 1.3.
pub fn config(fingerprint: [u8; 32], wrong: WrongFingerprint) -> Result<rustls::ClientConfig, Error> {
    config_with(provider(), fingerprint, wrong)
}

fn config_with(
    provider: CryptoProvider,
    fingerprint: [u8; 32],
    wrong: WrongFingerprint,
) -> Result<rustls::ClientConfig, Error> {
    let provider = Arc::new(provider);
    let pin = Arc::new(Pin { fingerprint, wrong, provider: Arc::clone(&provider) });
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous() // the pin is stricter than a name
        .with_custom_certificate_verifier(pin)
        .with_no_client_auth();
    config.alpn_protocols = vec![kuvert_wire::ALPN.to_vec()];
    // A ticket would let onlookers link this device's connections.
    config.resumption = rustls::client::Resumption::disabled();
    config.enable_sni = false;
    Ok(config)
}

#[derive(Debug)]
struct Pin {
    fingerprint: [u8; 32],
    wrong: WrongFingerprint,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pin {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let seen: [u8; 32] = Sha256::digest(ParsedCertificate::try_from(end_entity)?.subject_public_key_info()).into();
        if seen == self.fingerprint {
            return Ok(ServerCertVerified::assertion());
        }
        *self.wrong.lock().unwrap_or_else(PoisonError::into_inner) = Some(seen);
        Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure))
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.2 is not spoken here".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

    struct Server {
        config: Arc<rustls::ServerConfig>,
        fingerprint: [u8; 32],
    }

    /// A server with key `key` and a certificate for key `certified` (an impostor has its own key only).
    fn server(impostor: bool) -> Server {
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = rcgen::CertificateParams::new(vec!["x".to_owned()]).unwrap().self_signed(&key).unwrap();
        let spki = ParsedCertificate::try_from(certificate.der()).unwrap().subject_public_key_info();
        let held = if impostor { rcgen::KeyPair::generate().unwrap() } else { key };
        let der = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(held.serialize_der()));
        let signer = aws_lc_rs::sign::any_supported_type(&der).unwrap();
        let chain = vec![certificate.der().clone()];
        let certified = rustls::sign::CertifiedKey::new(chain, signer);
        let mut config = rustls::ServerConfig::builder_with_provider(Arc::new(provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(certified)));
        config.alpn_protocols = vec![kuvert_wire::ALPN.to_vec()];
        Server { config: Arc::new(config), fingerprint: Sha256::digest(spki).into() }
    }

    /// Runs a handshake in memory; both connections, or the error of either side.
    fn handshake(
        server: &Server,
        client: rustls::ClientConfig,
    ) -> Result<(rustls::ClientConnection, rustls::ServerConnection), Error> {
        let name = ServerName::try_from("x").unwrap();
        let mut client = rustls::ClientConnection::new(Arc::new(client), name).unwrap();
        let mut server = rustls::ServerConnection::new(Arc::clone(&server.config)).unwrap();
        let mut bytes = Vec::new();
        while client.is_handshaking() || server.is_handshaking() {
            bytes.clear();
            client.write_tls(&mut bytes).unwrap();
            server.read_tls(&mut bytes.as_slice()).unwrap();
            server.process_new_packets()?;
            bytes.clear();
            server.write_tls(&mut bytes).unwrap();
            client.read_tls(&mut bytes.as_slice()).unwrap();
            client.process_new_packets()?;
        }
        Ok((client, server))
    }

    #[test]
    fn the_right_key_is_accepted_and_the_key_exchange_is_post_quantum() {
        let server = server(false);
        let config = config(server.fingerprint, WrongFingerprint::default()).unwrap();
        let (client, server) = handshake(&server, config).unwrap();
        let group = client.negotiated_key_exchange_group().unwrap().name();
        assert_eq!(group, rustls::NamedGroup::X25519MLKEM768);
        assert_eq!(server.server_name(), None, "onlookers read no name");
    }

    #[test]
    fn another_key_is_refused_and_reported() {
        let server = server(false);
        let wrong = WrongFingerprint::default();
        assert!(handshake(&server, config([1; 32], Arc::clone(&wrong)).unwrap()).is_err());
        assert_eq!(*wrong.lock().unwrap(), Some(server.fingerprint));
    }

    #[test]
    fn a_copied_certificate_without_its_key_is_refused() {
        let server = server(true);
        let wrong = WrongFingerprint::default();
        assert!(handshake(&server, config(server.fingerprint, Arc::clone(&wrong)).unwrap()).is_err());
        assert_eq!(*wrong.lock().unwrap(), None, "the fingerprint is right, the proof is missing");
    }
}
