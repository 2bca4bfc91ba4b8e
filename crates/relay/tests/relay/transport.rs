//! TLS and QUIC: what is negotiated, and who gets in.

use std::sync::Arc;

use kuvert_relay::SystemClock;
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
