//! A bad network: a forwarder of datagrams that loses, delays, reorders and repeats them, as it is told.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kuvert_types::RelayUrl;
use kuvert_wire::v1::server_frame::Body as Response;
use tokio::net::UdpSocket;
use tokio::sync::Notify;
use tokio::task::{AbortHandle, JoinSet};

use super::*;

/// Whence datagrams reach the relay: the system chooses.
const BACK: &str = "0.0.0.0:0";

/// What the network does to each datagram.
#[derive(Default)]
pub struct Weather {
    /// Of 100, lost.
    pub loss: AtomicU32,
    /// Of 100, twice.
    pub twice: AtomicU32,
    /// Each is delayed by up to so many milliseconds, and overtaken by others.
    pub delay_ms: AtomicU32,
    /// Everything is lost.
    pub hole: AtomicBool,
    /// How many datagrams the hole has swallowed.
    pub swallowed: AtomicU64,
    pub fell: Notify,
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
            // Not a wait for something: this is the fault.
            if delay > 0 {
                tokio::time::sleep(Duration::from_millis(delay.into())).await;
            }
            // A datagram that cannot be sent is lost, as they are.
            let _ = socket.send_to(&datagram, to).await;
        }
    }
}

/// Between one client and the relay.
pub struct Network {
    front: Arc<UdpSocket>,
    relay: SocketAddr,
    client: Arc<Mutex<Option<SocketAddr>>>,
    back: Arc<Mutex<Arc<UdpSocket>>>,
    pub weather: Arc<Weather>,
    tasks: JoinSet<()>,
    returning: AbortHandle,
}

impl Network {
    /// Within this host. Clients use the address that comes back.
    pub async fn before(relay: &RelayUrl) -> (Self, RelayUrl) {
        let network = Self::between("127.0.0.1:0", relay.host_port().parse().unwrap()).await;
        let url = RelayUrl { port: network.front.local_addr().unwrap().port(), ..relay.clone() };
        (network, url)
    }

    /// What comes to `front` goes to the relay, and the answers back.
    pub async fn between(front: &str, relay: SocketAddr) -> Self {
        let front = Arc::new(UdpSocket::bind(front).await.unwrap());
        let weather = Arc::new(Weather { random: AtomicU64::new(20_261_121), ..Weather::default() });
        let back = Arc::new(UdpSocket::bind(BACK).await.unwrap());
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
                    tokio::spawn(weather.clone().send(back, relay, buffer[..len].to_vec()));
                }
            });
        }
        Self { front, relay, client, back, weather, tasks, returning }
    }

    /// The client's router has forgotten it, or it has changed networks: from now on it comes from another address.
    pub async fn rebind(&mut self) {
        let back = Arc::new(UdpSocket::bind(BACK).await.unwrap());
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
pub async fn mail_flows(client: &mut Client, device: &Device, count: usize) {
    let mut requests = Vec::new();
    let mut sent = Vec::new();
    for _ in 0..count {
        let envelope = envelope_from(device, device, vec![7; 512]);
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
