//! Links between nodes: who gets one, what is said on it, and what becomes of it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bytes::{Bytes, BytesMut};
use common::{PATIENCE, device, introduce, key, keys, linked, node, peer, start, until};
use kuvert_relay::store::pending::Reply;
use kuvert_relay::store::{Pending, StoreError, Unavailable};
use kuvert_relay_cluster::mesh::tls::{Identity, VERSIONS};
use kuvert_relay_cluster::mesh::{Frame, Handler, MAX_HINTS, MAX_REQUESTS, MAX_STRANGERS, Mesh, Node};
use kuvert_types::{AccountId, Address};
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Endpoint};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, SignatureScheme};
use tokio::time::timeout;

/// Writes down what it hears, and answers requests with themselves, or keeps them.
#[derive(Debug, Default)]
struct Ear {
    heard: Mutex<Vec<String>>,
    served: Mutex<Vec<Bytes>>,
    keeps: AtomicBool,
    kept: Mutex<Vec<Reply<Bytes, StoreError>>>,
    here: Mutex<Vec<(Address, u64)>>,
    summary: Mutex<Vec<Bytes>>,
}

impl Ear {
    fn note(&self, what: String) {
        self.heard.lock().unwrap().push(what);
    }

    fn has(&self, what: &str) -> bool {
        self.heard.lock().unwrap().iter().any(|heard| heard == what)
    }
}

impl Handler for Ear {
    fn attached(&self, at: Node, device: Address, number: u64) {
        self.note(format!("attached {} {} {number}", at.id, device.account.as_bytes()[0]));
    }
    fn detached(&self, at: Node, device: &Address, number: u64) {
        self.note(format!("detached {} {} {number}", at.id, device.account.as_bytes()[0]));
    }
    fn mail(&self, device: &Address) {
        self.note(format!("mail {}", device.account.as_bytes()[0]));
    }
    fn displaced(&self, device: &Address, number: u64) {
        self.note(format!("displaced {} {number}", device.account.as_bytes()[0]));
    }
    fn ended(&self, account: &AccountId) {
        self.note(format!("ended {}", account.as_bytes()[0]));
    }
    fn dropped(&self, device: &Address) {
        self.note(format!("dropped {}", device.account.as_bytes()[0]));
    }
    fn look(&self) {
        self.note("look".into());
    }
    fn told(&self, words: Bytes) {
        self.note(format!("told {}", String::from_utf8_lossy(&words)));
    }
    fn gone(&self, at: Node) {
        self.note(format!("gone {}", at.id));
    }
    fn serve(&self, slot: u16, request: Bytes) -> Pending<Bytes, StoreError> {
        self.served.lock().unwrap().push(request.clone());
        if self.keeps.load(Ordering::SeqCst) {
            let (reply, pending) = Pending::channel();
            self.kept.lock().unwrap().push(reply);
            return pending;
        }
        match slot {
            7 => Pending::ready(Err(Unavailable::DiskFull.into())),
            _ => Pending::ready(Ok(request)),
        }
    }
    fn here(&self) -> Vec<(Address, u64)> {
        self.here.lock().unwrap().clone()
    }
    fn summary(&self) -> Vec<Bytes> {
        self.summary.lock().unwrap().clone()
    }
}

fn ear() -> Arc<Ear> {
    Arc::new(Ear::default())
}

async fn pair() -> ((Mesh, Arc<Ear>), (Mesh, Arc<Ear>)) {
    let (one, two) = (ear(), ear());
    let (a, b) = (start(node(1), &keys(1), one.clone()), start(node(2), &keys(1), two.clone()));
    introduce(&[&a, &b]);
    linked(&[&a, &b]).await;
    ((a, one), (b, two))
}

async fn answer(pending: Pending<Bytes, StoreError>) -> Result<Bytes, StoreError> {
    timeout(PATIENCE, pending).await.expect("no answer")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_is_heard_and_requests_are_served_in_their_order() {
    let ((a, _), (b, two)) = pair().await;
    for frame in [
        Frame::Mail(device(1)),
        Frame::Attached(device(2), 5),
        Frame::Detached(device(2), 5),
        Frame::Displaced(device(3), 6),
        Frame::Ended(device(4).account),
        Frame::Dropped(device(5)),
        Frame::Look,
        Frame::Told(Bytes::from_static(b"words")),
    ] {
        a.hint(2, frame);
    }
    until("all are heard", || two.heard.lock().unwrap().len() == 8).await;
    let heard = two.heard.lock().unwrap().clone();
    let all =
        ["mail 1", "attached 1 2 5", "detached 1 2 5", "displaced 3 6", "ended 4", "dropped 5", "look", "told words"];
    assert_eq!(heard, all);

    let body = |n: u32| Bytes::from(n.to_be_bytes().to_vec());
    let answers: Vec<_> = (0..2_000).map(|n| a.request(2, 3, body(n))).collect();
    for (n, pending) in (0..).zip(answers) {
        assert_eq!(answer(pending).await, Ok(body(n)));
    }
    assert!((0..).zip(two.served.lock().unwrap().iter()).all(|(n, served)| *served == body(n)), "not in order");
    // Errors keep their meaning.
    assert_eq!(answer(a.request(2, 7, body(0))).await, Err(Unavailable::DiskFull.into()));
    // To itself, and to a node that is not known, nothing is sent.
    for id in [1, 3] {
        assert!(matches!(answer(a.request(id, 0, body(0))).await, Err(StoreError::Unavailable(_))), "{id}");
    }
    a.close().await;
    b.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_reached_hears_first_what_is_attached() {
    let (one, two) = (ear(), ear());
    one.here.lock().unwrap().extend((1..=200).map(|n| (device(n), u64::from(n))));
    one.summary.lock().unwrap().extend([Bytes::from(vec![b'x'; 32 * 1024]), Bytes::from_static(b"last")]);
    let (a, b) = (start(node(1), &keys(1), one.clone()), start(node(2), &keys(1), two.clone()));
    introduce(&[&a, &b]);
    until("all are heard", || two.heard.lock().unwrap().len() == 202).await;
    assert!(two.has("attached 1 200 200") && two.has("told last"));
    a.close().await;
    until("it is gone", || two.has("gone 1")).await;
    b.close().await;
}

/// A stranger that has nodes tell each other much about limits breaks no link by it.
#[tokio::test]
async fn what_limits_count_is_dropped_where_a_link_is_full_and_breaks_none() {
    let ((a, _), (b, two)) = pair().await;
    // In one go: on this runtime nothing is sent meanwhile.
    for _ in 0..MAX_HINTS + 1_000 {
        a.hint(2, Frame::Told(Bytes::from_static(b"words")));
    }
    assert!(a.figures().dropped.load(Ordering::SeqCst) >= 1_000);
    assert_eq!(answer(a.request(2, 0, Bytes::from_static(b"request"))).await, Ok(Bytes::from_static(b"request")));
    assert!(!two.has("gone 1"), "the link was opened anew");
    // The end of what two nodes believe of each other is not dropped: there the link is opened anew, and all is said again.
    for _ in 0..MAX_HINTS + 1_000 {
        a.hint(2, Frame::Ended(device(1).account));
    }
    until("the link was opened anew", || two.has("gone 1")).await;
    a.close().await;
    b.close().await;
}

/// Takes every server: what a stranger does.
#[derive(Debug)]
struct Anyone(Arc<rustls::crypto::CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }
    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }
    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// Speaks the nodes' version, or another one, with a certificate of its own or without; takes every server.
fn stranger(version: &[u8], certificate: Option<&Identity>) -> ClientConfig {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anyone(provider)));
    let mut config = match certificate {
        Some(identity) => {
            let mut shows = identity.client().unwrap();
            shows
                .dangerous()
                .set_certificate_verifier(Arc::new(Anyone(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))));
            shows
        }
        None => config.with_no_client_auth(),
    };
    config.alpn_protocols = vec![version.to_vec()];
    ClientConfig::new(Arc::new(QuicClientConfig::try_from(config).unwrap()))
}

/// Whether a node answers a greeting.
async fn is_greeted(config: ClientConfig, mesh: &Mesh, hello: &Frame) -> bool {
    let endpoint = Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    let talk = async {
        let connection = endpoint.connect_with(config, mesh.address().unwrap(), "x").ok()?.await.ok()?;
        let (mut send, mut receive) = connection.open_bi().await.ok()?;
        let mut bytes = BytesMut::new();
        hello.encode(&mut bytes).ok()?;
        send.write_all(&bytes).await.ok()?;
        receive.read_exact(&mut [0; 15]).await.ok()
    };
    timeout(PATIENCE, talk).await.expect("neither taken nor refused").is_some()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_without_the_clusters_key_gets_no_link() {
    let ((a, one), (b, _)) = pair().await;
    // A node of another cluster: neither takes the other.
    let other = start(node(3), &keys(9), ear());
    other.set_peers([peer(&a)]);
    a.set_peers([peer(&b), peer(&other)]);
    let (ours, theirs) = (Identity::of(&keys(1)).unwrap(), Identity::of(&keys(9)).unwrap());
    let hello = Frame::Hello(node(3));
    assert!(is_greeted(stranger(VERSIONS[0], Some(&ours)), &a, &hello).await, "the test greets as a node does");
    until("the test's own node is gone", || one.has("gone 3")).await;
    let before = one.heard.lock().unwrap().len();
    assert!(!is_greeted(stranger(VERSIONS[0], Some(&theirs)), &a, &hello).await, "another cluster's key");
    assert!(!is_greeted(stranger(VERSIONS[0], None), &a, &hello).await, "no certificate");
    assert!(!is_greeted(stranger(b"kuvert-node/0", Some(&ours)), &a, &hello).await, "no common version");
    assert!(!is_greeted(stranger(VERSIONS[0], Some(&ours)), &a, &Frame::Look).await, "not a greeting");
    assert!(!is_greeted(stranger(VERSIONS[0], Some(&ours)), &a, &Frame::Hello(node(1))).await, "the node itself");
    assert_eq!(other.reached(), []);
    assert_eq!(a.reached(), [node(2)]);
    assert_eq!(one.heard.lock().unwrap().len(), before, "a word of a stranger's was looked at");
    for mesh in [a, b, other] {
        mesh.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn noise_and_a_crowd_of_strangers_keep_no_node_out() {
    let ((a, _), (b, _)) = pair().await;
    let noise = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut datagram = [0_u8; 1200];
    for n in 0..2_000_u32 {
        getrandom::fill(&mut datagram).unwrap();
        let length = 1 + n as usize % datagram.len();
        noise.send_to(&datagram[..length], a.address().unwrap()).unwrap();
    }
    // More handshakes at once than strangers have places; none of them ends well.
    let theirs = Identity::of(&keys(9)).unwrap();
    let crowd: Vec<_> = (0..MAX_STRANGERS * 8)
        .map(|_| {
            let (config, mesh) = (stranger(VERSIONS[0], Some(&theirs)), a.clone());
            tokio::spawn(async move { timeout(PATIENCE, is_greeted(config, &mesh, &Frame::Hello(node(9)))).await })
        })
        .collect();
    let c = start(node(3), &keys(1), ear());
    introduce(&[&a, &b, &c]);
    linked(&[&a, &b, &c]).await;
    for one in crowd {
        assert!(!matches!(one.await, Ok(Ok(true))), "a stranger was taken");
    }
    assert_eq!(answer(a.request(2, 0, Bytes::from_static(b"x"))).await, Ok(Bytes::from_static(b"x")));
    for mesh in [a, b, c] {
        mesh.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_key_is_replaced_while_requests_flow() {
    let ((a, _), (b, _)) = pair().await;
    let stop = Arc::new(AtomicBool::new(false));
    // In each direction: a link with the old key would carry no more of them than were under way.
    let done = Arc::new([AtomicU64::new(0), AtomicU64::new(0)]);
    let asking: Vec<_> = [(a.clone(), 2), (b.clone(), 1)]
        .into_iter()
        .enumerate()
        .map(|(direction, (mesh, to))| {
            let (stop, done) = (Arc::clone(&stop), Arc::clone(&done));
            tokio::spawn(async move {
                while !stop.load(Ordering::SeqCst) {
                    let asked: Vec<_> = (0..16).map(|_| mesh.request(to, 0, Bytes::from_static(b"x"))).collect();
                    for pending in asked {
                        assert!(answer(pending).await.is_ok(), "lost while the key was replaced");
                        done[direction].fetch_add(1, Ordering::SeqCst);
                    }
                }
            })
        })
        .collect();
    let both = [keys(1).and(key(2)), keys(2).and(key(1)), keys(2)];
    for keys in &both {
        for mesh in [&a, &b] {
            mesh.set_keys(keys).unwrap();
            let count = || done.each_ref().map(|done| done.load(Ordering::SeqCst));
            let before = count();
            until("requests flow both ways", || count().iter().zip(before).all(|(now, before)| *now > before + 250))
                .await;
        }
    }
    stop.store(true, Ordering::SeqCst);
    for task in asking {
        task.await.unwrap();
    }
    // A node that has the old key alone is none any more.
    let old = start(node(3), &keys(1), ear());
    old.set_peers([peer(&a)]);
    let identity = Identity::of(&keys(1)).unwrap();
    assert!(!is_greeted(stranger(VERSIONS[0], Some(&identity)), &a, &Frame::Hello(node(3))).await);
    assert_eq!(old.reached(), []);
    for mesh in [a, b, old] {
        mesh.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_not_taken_any_more_closes_links() {
    let ((a, one), (b, two)) = pair().await;
    a.set_keys(&keys(2)).unwrap();
    until("b is not heard any more", || one.has("gone 2")).await;
    until("a is not heard any more", || two.has("gone 1")).await;
    until("neither reaches the other", || a.reached().is_empty() && b.reached().is_empty()).await;
    b.set_keys(&keys(2)).unwrap();
    linked(&[&a, &b]).await;
    a.close().await;
    b.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_lost_is_not_known_and_what_was_not_sent_is_known_not_to_have_happened() {
    let ((a, _), (b, two)) = pair().await;
    two.keeps.store(true, Ordering::SeqCst);
    let asked: Vec<_> = (0..100).map(|_| a.request(2, 0, Bytes::from_static(b"x"))).collect();
    until("all are there", || two.served.lock().unwrap().len() == 100).await;
    b.close().await;
    for pending in asked {
        assert!(matches!(answer(pending).await, Err(StoreError::Unknown(_))));
    }
    until("the link is down", || a.reached().is_empty()).await;
    assert!(matches!(answer(a.request(2, 0, Bytes::new())).await, Err(StoreError::Unavailable(_))));
    // The same node, started anew.
    let three = ear();
    let again = start(Node { id: 2, epoch: 2 }, &keys(1), three.clone());
    introduce(&[&a, &again]);
    linked(&[&a, &again]).await;
    assert_eq!(answer(a.request(2, 0, Bytes::from_static(b"y"))).await, Ok(Bytes::from_static(b"y")));
    a.close().await;
    again.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_than_a_link_takes_is_refused_at_once() {
    let ((a, _), (b, two)) = pair().await;
    two.keeps.store(true, Ordering::SeqCst);
    let mut asked: Vec<_> = (0..MAX_REQUESTS).map(|_| a.request(2, 0, Bytes::from_static(b"x"))).collect();
    assert_eq!(answer(a.request(2, 0, Bytes::from_static(b"x"))).await, Err(Unavailable::Overloaded.into()));
    until("all are there", || two.served.lock().unwrap().len() == MAX_REQUESTS).await;
    let first = two.kept.lock().unwrap().remove(0);
    first.send(Ok(Bytes::new())).unwrap();
    assert_eq!(answer(asked.remove(0)).await, Ok(Bytes::new()));
    drop(a.request(2, 0, Bytes::from_static(b"x")));
    until("there is room again", || two.served.lock().unwrap().len() == MAX_REQUESTS + 1).await;
    // Too long for a frame: known not to have happened.
    for pending in asked.drain(..MAX_REQUESTS / 2) {
        drop(pending);
    }
    two.kept.lock().unwrap().clear();
    let large = Bytes::from(vec![0; kuvert_relay_cluster::mesh::frame::MAX_FRAME_BYTES]);
    assert!(matches!(answer(a.request(2, 0, large)).await, Err(StoreError::Unavailable(_))));
    a.close().await;
    b.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_is_over_does_not_come_back() {
    let ((a, one), (b, _)) = pair().await;
    let later = start(Node { id: 2, epoch: 2 }, &keys(1), ear());
    a.set_peers([peer(&later)]);
    later.set_peers([peer(&a)]);
    linked(&[&a, &later]).await;
    until("the later one is heard", || {
        later.hint(1, Frame::Mail(device(9)));
        one.has("mail 9")
    })
    .await;
    // What the earlier start opens is refused.
    let ours = Identity::of(&keys(1)).unwrap();
    assert!(!is_greeted(stranger(VERSIONS[0], Some(&ours)), &a, &Frame::Hello(node(2))).await);
    b.close().await;
    later.hint(1, Frame::Mail(device(8)));
    until("the later one is heard still", || one.has("mail 8")).await;
    a.close().await;
    later.close().await;
}
