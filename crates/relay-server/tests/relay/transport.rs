//! TLS and QUIC: what is negotiated, and who gets in.

use std::sync::Arc;

use kuvert_relay::tls::TlsError;
use kuvert_relay::{StartError, SystemClock};
use kuvert_wire::ALPN;
use rustls::NamedGroup;
use rustls::crypto::aws_lc_rs::kx_group;
use rustls::crypto::{CryptoProvider, SupportedKxGroup};

use crate::common::*;

#[tokio::test]
async fn the_key_exchange_is_post_quantum() {
    let data = tempfile::tempdir().unwrap();
    let relay = start(data.path()).await;
    let offers: [(&[&'static dyn SupportedKxGroup], NamedGroup); 3] = [
        (&[kx_group::X25519MLKEM768, kx_group::X25519], NamedGroup::X25519MLKEM768),
        (&[kx_group::X25519MLKEM768], NamedGroup::X25519MLKEM768),
        // A client without it is still served.
        (&[kx_group::X25519], NamedGroup::X25519),
    ];
    for (offered, negotiated) in offers {
        let provider = CryptoProvider { kx_groups: offered.to_vec(), ..kuvert_relay::tls::provider() };
        let (provider, completed) = kx::watched(provider);
        let config = client_config(relay.address(), provider, &[ALPN]);
        let mut client = Client::connect_with(relay.address(), config).await.unwrap();
        client.hello().await;
        assert_eq!(*completed.lock().unwrap(), [negotiated]);
    }
    relay.shutdown().await;
}

#[tokio::test]
async fn another_fingerprint_or_protocol_is_refused() {
    let data = tempfile::tempdir().unwrap();
    let relay = start(data.path()).await;
    let mut wrong = relay.address().clone();
    wrong.fingerprint[0] ^= 1;
    let config = client_config(&wrong, kuvert_relay::tls::provider(), &[ALPN]);
    assert!(Client::connect_with(&wrong, config).await.is_err());
    let config = client_config(relay.address(), kuvert_relay::tls::provider(), &[b"h3"]);
    assert!(Client::connect_with(relay.address(), config).await.is_err());
    relay.shutdown().await;
}

#[tokio::test]
async fn connections_are_counted_in_all_and_per_address() {
    let data = tempfile::tempdir().unwrap();
    let mut config = config(data.path());
    config.limits.connections_per_address = 2;
    let relay = start_with(config, Arc::new(SystemClock::new())).await;
    let mut first = Client::connect(relay.address()).await;
    let mut second = Client::connect(relay.address()).await;
    first.hello().await;
    second.hello().await;
    let third = Client::connect(relay.address()).await;
    let (error, reason) = third.closed().await;
    assert!(error.is_none() && reason.contains("too many connections"), "{reason}");
    // Nobody is harmed, and a place that is left is free again.
    first.connection.close(0u32.into(), b"");
    within(async {
        loop {
            let mut next = Client::connect(relay.address()).await;
            let hello =
                next.send(kuvert_wire::v1::client_frame::Body::Hello(kuvert_wire::v1::Hello { version: 1 })).await;
            assert_eq!(hello, 1);
            if next.frame().await.is_some() {
                break;
            }
        }
    })
    .await;
    relay.shutdown().await;
}

/// Writes a certificate for `key` and the key as an operator's tools would.
fn write_certificate(folder: &std::path::Path, key: &rcgen::KeyPair, name: &str) {
    use std::os::unix::fs::PermissionsExt;
    let certificate = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap().self_signed(key).unwrap();
    std::fs::write(folder.join("certificate.pem"), certificate.pem()).unwrap();
    std::fs::write(folder.join("key.pem"), key.serialize_pem()).unwrap();
    std::fs::set_permissions(folder.join("key.pem"), std::fs::Permissions::from_mode(0o640)).unwrap();
}

/// The certificate that a relay shows now.
async fn shown(relay: &kuvert_relay::RunningRelay) -> Vec<u8> {
    let client = Client::connect(relay.address()).await;
    let chain = client.connection.peer_identity().unwrap();
    chain.downcast::<Vec<rustls::pki_types::CertificateDer<'static>>>().unwrap()[0].to_vec()
}

#[tokio::test]
async fn a_renewed_certificate_is_shown_after_a_reload_and_another_key_never_is() {
    let (data, files) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let key = rcgen::KeyPair::generate().unwrap();
    write_certificate(files.path(), &key, "old.example");
    let mut config = config(data.path());
    config.tls = Some(kuvert_relay::config::TlsFiles {
        certificate: files.path().join("certificate.pem"),
        key: files.path().join("key.pem"),
    });
    let relay = start_with(config, Arc::new(SystemClock::new())).await;
    let mut open = Client::register(relay.address(), &Device::new()).await;
    let old = shown(&relay).await;
    assert!(old.windows(11).any(|window| window == b"old.example"));

    write_certificate(files.path(), &key, "new.example");
    relay.reload_certificate().unwrap();
    let new = shown(&relay).await;
    assert!(new.windows(11).any(|window| window == b"new.example"));
    open.ask(kuvert_wire::v1::client_frame::Body::CountPrekeys(Default::default())).await;

    // Clients pin the key: with another one nobody would come in any more.
    write_certificate(files.path(), &rcgen::KeyPair::generate().unwrap(), "other.example");
    let error = relay.reload_certificate().unwrap_err();
    assert!(matches!(error, StartError::Tls(TlsError::OtherKey { .. })), "{error}");
    std::fs::write(files.path().join("certificate.pem"), "half a fi").unwrap();
    assert!(relay.reload_certificate().is_err());
    assert_eq!(shown(&relay).await, new);
    open.ask(kuvert_wire::v1::client_frame::Body::CountPrekeys(Default::default())).await;
    relay.shutdown().await;
}
