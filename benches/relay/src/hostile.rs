//! Clients that misbehave, in five kinds by turns. Each goes on until the run ends; one that is turned away comes back.
//!
//! They come from many loopback addresses, as an attacker's machines would: the limits per address hold for each. An
//! attacker's machines are not the relay's either: here they get the CPU time that is left over.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use kuvert_types::RelayUrl;
use kuvert_wire::checked::to_wire;
use kuvert_wire::v1;
use kuvert_wire::v1::client_frame::Body as Request;
use tokio::net::UdpSocket;
use tokio::task::JoinSet;

use crate::Outcome;
use crate::device::Device;
use crate::job::{Done, Range, Target};
use crate::link::{Dialer, submit};
use crate::load::Parent;
use crate::plan::Random;

/// The lowest priority that there is.
const NICE: i32 = 19;

/// Clients behind one address.
const PER_ADDRESS: usize = 250;

/// Between one deed of a client and its next: 10,000 clients of which each does ten a second fill a core by themselves, and
/// on one machine it is the attacker's CPU that the honest would miss.
const PAUSE: Duration = Duration::from_secs(1);

/// Bytes of one datagram of a flood: the smallest that a server looks at as the beginning of a connection.
const INITIAL_BYTES: usize = 1_200;

/// What was tried and how often the relay turned it away.
#[derive(Default)]
struct Tally {
    attempts: AtomicU64,
    turned_away: AtomicU64,
}

/// Lets them loose, a few hundred a second, and says so when all of them are.
///
/// # Errors
/// The system has no more sockets.
pub async fn run(target: &Target, seed: u64, devices: Range, parent: &mut Parent) -> Outcome<Done> {
    rustix::process::nice(NICE)?;
    let tally = Arc::new(Tally::default());
    let mut clients = JoinSet::new();
    let mut dialer = Dialer::new(target)?;
    for (at, number) in devices.iter().enumerate() {
        if at % PER_ADDRESS == 0 {
            let [_, _, high, low] = (2 + (at / PER_ADDRESS) as u32).to_be_bytes();
            dialer = Dialer::from(target, Ipv4Addr::new(127, 0, high, low))?;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let client = Client {
            kind: at % 5,
            device: Device::new(seed, number),
            dialer: dialer.clone(),
            random: Random::new(seed, number as u64),
            tally: Arc::clone(&tally),
        };
        clients.spawn(client.run(target.clone()));
    }
    parent.go().await?;
    parent.leaves().await;
    clients.shutdown().await;
    let [count, turned_away] = [&tally.attempts, &tally.turned_away].map(|counter| counter.load(Ordering::Relaxed));
    Ok(Done { count, turned_away, ..Done::default() })
}

struct Client {
    kind: usize,
    device: Device,
    dialer: Dialer,
    random: Random,
    tally: Arc<Tally>,
}

impl Client {
    async fn run(mut self, target: Target) {
        loop {
            self.tally.attempts.fetch_add(1, Ordering::Relaxed);
            // Whatever ends an attempt, the relay's limits are behind it, or its deadlines.
            let ended = match self.kind {
                0 => self.never_read().await,
                1 => self.byte_by_byte().await,
                2 => self.streams().await,
                3 => self.random_bytes().await,
                _ => self.flood(&target).await,
            };
            if ended.is_err() {
                self.tally.turned_away.fetch_add(1, Ordering::Relaxed);
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Registers, submits to itself, attaches, and takes nothing.
    async fn never_read(&mut self) -> Outcome<()> {
        let mut link = match self.dialer.link(self.dialer.connect().await?, &self.device, true).await {
            Ok(link) => link,
            Err(_) => self.dialer.link(self.dialer.connect().await?, &self.device, false).await?,
        };
        let own = to_wire(&self.device.address);
        link.writer.send([Request::Attach(v1::Attach {})]).await?;
        loop {
            let mut id = [0; 16];
            self.random.fill(&mut id);
            link.writer.send([submit(id, &own, own.clone(), vec![0; 4_096].into())]).await?;
            tokio::time::sleep(PAUSE / 4).await;
        }
    }

    /// Begins a frame and sends one byte a second.
    async fn byte_by_byte(&mut self) -> Outcome<()> {
        let connection = self.dialer.connect().await?;
        let (mut send, _receive) = connection.open_bi().await?;
        // A frame of 1 KiB.
        send.write_all(&[0x80, 0x08]).await?;
        loop {
            send.write_all(&[0]).await?;
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    /// Opens as many streams as the relay lets it.
    async fn streams(&mut self) -> Outcome<()> {
        let connection = self.dialer.connect().await?;
        loop {
            let (mut send, receive) = connection.open_bi().await?;
            send.write_all(&[0]).await?;
            tokio::time::sleep(PAUSE / 4).await;
            drop((send, receive));
        }
    }

    /// Sends what is no frame.
    async fn random_bytes(&mut self) -> Outcome<()> {
        let connection = self.dialer.connect().await?;
        let (mut send, _receive) = connection.open_bi().await?;
        let mut bytes = vec![0; 2_048];
        loop {
            self.random.fill(&mut bytes);
            send.write_all(&bytes).await?;
            tokio::time::sleep(PAUSE / 4).await;
        }
    }

    /// Sends beginnings of handshakes that it never goes on with, from a socket that does not answer.
    async fn flood(&mut self, target: &Target) -> Outcome<()> {
        let url: RelayUrl = target.url.parse()?;
        let to: SocketAddr = url.host_port().parse()?;
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let mut packet = vec![0; INITIAL_BYTES];
        loop {
            self.random.fill(&mut packet);
            // A long header of version 1 with connection ids of 8 bytes: it gets as far as being decrypted.
            packet[..6].copy_from_slice(&[0xC3, 0, 0, 0, 1, 8]);
            packet[14] = 8;
            packet[23] = 0;
            packet[24..26].copy_from_slice(&(0x4000 | (INITIAL_BYTES as u16 - 26)).to_be_bytes());
            for _ in 0..4 {
                socket.send_to(&packet, to).await?;
            }
            // And one that is real, and left alone.
            let begun = self.dialer.connect();
            let _ = tokio::time::timeout(PAUSE / 50, begun).await;
            tokio::time::sleep(PAUSE / 2).await;
        }
    }
}
