//! A bad network between client and relay: loss, delay, disorder, duplicates, a new address, a hole. Mail flows again without
//! a user's help, on the same connection.
//!
//! The network is a forwarder of datagrams in this process, so that the tests need no rights and run everywhere.

use std::sync::atomic::Ordering;

use kuvert_wire::v1::server_frame::Body as Response;

use crate::common::network::{Network, mail_flows};
use crate::common::*;

#[tokio::test]
async fn mail_flows_through_loss_delay_disorder_and_duplicates() {
    let data = tempfile::tempdir().unwrap();
    let relay = start(data.path()).await;
    let (network, url) = Network::before(relay.address()).await;
    let device = Device::new();
    network.weather.loss.store(10, Ordering::Relaxed);
    network.weather.twice.store(5, Ordering::Relaxed);
    network.weather.delay_ms.store(8, Ordering::Relaxed);
    let mut client = Client::register(&url, &device).await;
    client.attach().await;
    mail_flows(&mut client, &device, 60).await;
    assert!(client.connection.stats().path.lost_packets > 0, "the network was bad");
    drop(client);
    relay.shutdown().await;
}

#[tokio::test]
async fn a_client_with_a_new_address_keeps_its_connection() {
    let data = tempfile::tempdir().unwrap();
    let relay = start(data.path()).await;
    let (mut network, url) = Network::before(relay.address()).await;
    let device = Device::new();
    let mut client = Client::register(&url, &device).await;
    client.attach().await;
    for _ in 0..3 {
        mail_flows(&mut client, &device, 5).await;
        network.rebind().await;
    }
    mail_flows(&mut client, &device, 5).await;
    assert_eq!(relay.connections(), 1);
    drop(client);
    relay.shutdown().await;
}

#[tokio::test]
async fn what_was_under_way_when_the_network_went_arrives_when_it_is_back() {
    let data = tempfile::tempdir().unwrap();
    let relay = start(data.path()).await;
    let (network, url) = Network::before(relay.address()).await;
    let device = Device::new();
    let mut client = Client::register(&url, &device).await;
    network.weather.hole.store(true, Ordering::Relaxed);
    let request = client.send(submit(envelope_from(&device, &device, "into the hole"))).await;
    // Both ends have tried again before it is back.
    within(async {
        while network.weather.swallowed.load(Ordering::Relaxed) < 6 {
            network.weather.fell.notified().await;
        }
    })
    .await;
    network.weather.hole.store(false, Ordering::Relaxed);
    let answer = client.answer(request).await;
    assert!(matches!(answer, Response::Accepted(_)), "{answer:?}");
    client.attach().await;
    assert_eq!(client.delivery().await.envelope.unwrap().ciphertext, "into the hole".as_bytes());
    drop(client);
    relay.shutdown().await;
}
