//! A bad network between client and relay: loss, delay, disorder, duplicates, a new address, a hole. Mail flows again without
//! anybody's help, on the same connection.
//!
//! The network is a forwarder of datagrams in this process, so that the tests need no rights and run everywhere.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kuvert_types::RelayUrl;
use kuvert_wire::v1::server_frame::Body as Response;
use tokio::net::UdpSocket;
use tokio::sync::Notify;
use tokio::task::{AbortHandle, JoinSet};

use crate::common::*;

/// What the network does to each datagram.
#[derive(Default)]
struct Weather {
    /// Of 100, lost.
    loss: AtomicU32,
    /// Of 100, twice.
    twice: AtomicU32,
    /// Each is delayed by up to so many milliseconds, and overtaken by others.
    delay_ms: AtomicU32,
    /// Everything is lost.
    hole: AtomicBool,
    /// How many datagrams the hole has swallowed.
    swallowed: AtomicU64,
    fell: Notify,
    random: AtomicU64,
}

impl Weather {
    fn below(&self, bound: u32) -> u32 {
        // Xorshift; two threads at once only make the sequence another one.
        let mut x = self.random.load(Ordering::Relaxed) | 1;
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        self.random.store(x, Ordering::Relaxed);
        (x >> 11) as u32 % bound.max(1)
    }

    /// Sends a datagram on, as the weather is.
    async fn send(self: Arc<Self>, socket: Arc<UdpSocket>, to: SocketAddr, datagram: Vec<u8>) {
        if self.hole.load(Ordering::Relaxed) {
            self.swallowed.fetch_add(1, Ordering::Relaxed);
            self.fell.notify_one();
            return;
        }
        if self.below(100) < self.loss.load(Ordering::Relaxed) {
            return;
        }
        let copies = 1 + u32::from(self.below(100) < self.twice.load(Ordering::Relaxed));
        for _ in 0..copies {
            let delay = self.below(1 + self.delay_ms.load(Ordering::Relaxed));
            if delay > 0 {
                tokio::time::sleep(Duration::from_millis(delay.into())).await;
            }
            // A datagram that cannot be sent is lost, as they are.
            let _ = socket.send_to(&datagram, to).await;
        }
    }
}

/// Between one client and the relay.
struct Network {
    front: Arc<UdpSocket>,
    relay: SocketAddr,
    client: Arc<Mutex<Option<SocketAddr>>>,
    back: Arc<Mutex<Arc<UdpSocket>>>,
    weather: Arc<Weather>,
    tasks: JoinSet<()>,
    returning: AbortHandle,
}

impl Network {
    async fn before(relay: &RelayUrl) -> (Self, RelayUrl) {
        let front = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
        let url = RelayUrl { port: front.local_addr().unwrap().port(), ..relay.clone() };
        let to: SocketAddr = relay.host_port().parse().unwrap();
        let weather = Arc::new(Weather { random: AtomicU64::new(20_261_121), ..Weather::default() });
        let back = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
        let client = Arc::new(Mutex::new(None));
        let mut tasks = JoinSet::new();
        let returning =
            tasks.spawn(there_and_back(Arc::clone(&back), Arc::clone(&front), client.clone(), weather.clone()));
        let back = Arc::new(Mutex::new(back));
        {
            let (front, back, client, weather) = (front.clone(), back.clone(), client.clone(), weather.clone());
            tasks.spawn(async move {
                let mut buffer = vec![0; 65_536];
                while let Ok((len, from)) = front.recv_from(&mut buffer).await {
                    *client.lock().unwrap() = Some(from);
                    let back = back.lock().unwrap().clone();
                    tokio::spawn(weather.clone().send(back, to, buffer[..len].to_vec()));
                }
            });
        }
        (Self { front, relay: to, client, back, weather, tasks, returning }, url)
    }

    /// The client's router has forgotten it, or it has changed networks: from now on it comes from another address.
    async fn rebind(&mut self) {
        let back = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
        assert_ne!(back.local_addr().unwrap(), self.relay);
        self.returning.abort();
        let forward = there_and_back(Arc::clone(&back), self.front.clone(), self.client.clone(), self.weather.clone());
        self.returning = self.tasks.spawn(forward);
        *self.back.lock().unwrap() = back;
    }
}

/// What the relay sends, to the client.
async fn there_and_back(
    back: Arc<UdpSocket>,
    front: Arc<UdpSocket>,
    client: Arc<Mutex<Option<SocketAddr>>>,
    weather: Arc<Weather>,
) {
    let mut buffer = vec![0; 65_536];
    while let Ok((len, _)) = back.recv_from(&mut buffer).await {
        let Some(client) = *client.lock().unwrap() else { continue };
        tokio::spawn(weather.clone().send(front.clone(), client, buffer[..len].to_vec()));
    }
}

/// Submits to itself, and takes what comes, in order.
async fn mail_flows(client: &mut Client, device: &Device, count: usize) {
    let mut requests = Vec::new();
    let mut sent = Vec::new();
    for _ in 0..count {
        let envelope = envelope(device, vec![7; 512]);
        sent.push(envelope.id.clone());
        requests.push(client.send(submit(envelope)).await);
    }
    for request in requests {
        let answer = client.answer(request).await;
        assert!(matches!(answer, Response::Accepted(_)), "{answer:?}");
    }
    let mut delivered = Vec::new();
    while delivered.len() < count {
        match client.unasked().await {
            Response::Delivery(delivery) => {
                delivered.push(delivery.envelope.unwrap().id);
                client.acknowledge(delivery.cursor).await;
            }
            Response::CaughtUp(_) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(delivered, sent);
}

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
    let request = client.send(submit(envelope(&device, "into the hole"))).await;
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
