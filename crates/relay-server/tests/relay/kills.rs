//! SIGKILL under load: clients submit and fetch all the while, the process is killed at random moments and started again.
//! Every envelope that it accepted is delivered exactly once; of those without an answer none is delivered twice.
//!
//! `KUVERT_KILLS=300 cargo test -p kuvert-relay --test relay kills -- --nocapture` kills 300 times instead of 4.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use bytes::Bytes;
use kuvert_types::RelayUrl;
use kuvert_wire::v1::client_frame::Body as Request;
use kuvert_wire::v1::server_frame::Body as Response;
use kuvert_wire::v1::{self, Envelope};

use crate::common::process::Process;
use crate::common::*;

/// Enough to see the machinery work in every test run.
const KILLS: usize = 4;

const RECIPIENTS: usize = 3;

/// Requests under way when the process dies, at most: more than fit into one transaction's time.
const UNDER_WAY: usize = 48;

/// What the clients know.
#[derive(Default)]
struct Known {
    /// Envelopes without an answer, to be sent again with the same ids.
    unanswered: Vec<Envelope>,
    /// All that ever were: one that had been fetched before it was sent again comes a second time.
    sent_again: HashSet<Bytes>,
    /// Recipient of each envelope that was accepted.
    accepted: HashMap<Bytes, usize>,
    /// Envelopes that a recipient acknowledged, and the relay said done.
    fetched: HashMap<Bytes, usize>,
    /// Acknowledged without an answer: gone, or delivered once more.
    perhaps_fetched: HashMap<Bytes, usize>,
}

struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % bound
    }
}

async fn start(data: &Path, port: u16) -> Process {
    Process::start(data, &["--listen", &format!("127.0.0.1:{port}")]).await
}

#[tokio::test]
async fn nothing_accepted_is_lost_or_delivered_twice_when_the_relay_is_killed() {
    let kills = std::env::var("KUVERT_KILLS").map_or(KILLS, |kills| kills.parse().unwrap());
    let data = tempfile::tempdir().unwrap();
    let relay = Process::start(data.path(), &[]).await;
    let url = relay.url.clone();
    let sender = Device::new();
    let recipients: Vec<Device> = (0..RECIPIENTS).map(|_| Device::new()).collect();
    drop(Client::register(&url, &sender).await);
    for recipient in &recipients {
        Client::register(&url, recipient).await.welcome_contacts().await;
    }
    relay.stop("-KILL").await;

    let mut random = Random(20_261_121);
    let mut known = Known::default();
    for _ in 0..kills {
        let relay = start(data.path(), url.port).await;
        let die_after = 1 + random.below(150);
        submit_until_killed(relay, &url, &sender, &recipients, &mut known, &mut random, die_after).await;
    }

    // What had no answer is sent again, with the ids that it had.
    let relay = start(data.path(), url.port).await;
    let (mut client, _) = Client::authenticate(&url, &sender).await;
    for envelope in std::mem::take(&mut known.unanswered) {
        let to = recipient_of(&envelope, &recipients);
        let answer = client.ask(submit_as_contact(envelope.clone())).await;
        assert!(matches!(answer, Response::Accepted(_)), "{answer:?}");
        known.accepted.insert(envelope.id, to);
    }
    for (number, recipient) in recipients.iter().enumerate() {
        let (mut client, _) = Client::authenticate(&url, recipient).await;
        client.attach().await;
        loop {
            match client.unasked().await {
                Response::Delivery(delivery) => {
                    take(&mut known, number, &delivery);
                    client.acknowledge(delivery.cursor).await;
                    known.fetched.insert(delivery.envelope.unwrap().id, number);
                }
                Response::CaughtUp(_) => break,
                other => panic!("{other:?}"),
            }
        }
    }
    for (id, recipient) in &known.accepted {
        let fetched = known.fetched.get(id).or_else(|| known.perhaps_fetched.get(id));
        assert_eq!(fetched, Some(recipient), "an accepted envelope is lost");
    }
    relay.stop("-TERM").await;
    println!("{kills} kills, {} envelopes accepted and delivered, 0 lost", known.accepted.len());
    assert!(known.accepted.len() > kills);
}

fn recipient_of(envelope: &Envelope, recipients: &[Device]) -> usize {
    let to = envelope.recipient.as_ref().unwrap();
    recipients.iter().position(|device| to.account == device.address.account.as_bytes()[..]).unwrap()
}

/// A delivery is one that was sent to this recipient, whole, and not fetched before.
fn take(known: &mut Known, recipient: usize, delivery: &v1::Delivery) {
    let envelope = delivery.envelope.as_ref().unwrap();
    assert_eq!(envelope.ciphertext, envelope.id, "changed");
    let first = !known.fetched.contains_key(&envelope.id);
    assert!(first || known.sent_again.contains(&envelope.id), "delivered again after it was acknowledged");
    if let Some(to) = known.accepted.get(&envelope.id) {
        assert_eq!(*to, recipient);
    }
}

/// An envelope that can be told from all others.
fn fresh(from: &Device, to: &Device) -> Envelope {
    let envelope = envelope_from(from, to, Bytes::new());
    Envelope { ciphertext: envelope.id.clone(), ..envelope }
}

/// One life of the relay. It ends once so many envelopes were accepted, with more under way.
async fn submit_until_killed(
    relay: Process,
    url: &RelayUrl,
    sender: &Device,
    recipients: &[Device],
    known: &mut Known,
    random: &mut Random,
    die_after: usize,
) {
    let (mut client, _) = Client::authenticate(url, sender).await;
    let reader = random.below(RECIPIENTS);
    let (mut receiving, _) = Client::authenticate(url, &recipients[reader]).await;
    receiving.attach().await;
    let mut under_way: HashMap<u64, Envelope> = HashMap::new();
    let mut again = std::mem::take(&mut known.unanswered);
    let mut accepted = 0;
    while accepted < die_after {
        while under_way.len() < UNDER_WAY {
            let envelope = again.pop().unwrap_or_else(|| fresh(sender, &recipients[random.below(RECIPIENTS)]));
            let number = client.send(submit_as_contact(envelope.clone())).await;
            under_way.insert(number, envelope);
        }
        accepted += note(client.frame().await.expect("the relay runs"), &mut under_way, recipients, known);
        if random.below(20) == 0 {
            // So that there is something to fetch.
            let envelope = fresh(sender, &recipients[reader]);
            let number = client.send(submit_as_contact(envelope.clone())).await;
            under_way.insert(number, envelope);
            fetch(&mut receiving, reader, known).await;
        }
    }
    relay.stop("-KILL").await;
    // What it had said before it died counts. Then the connection is of no use; a new relay says so.
    client.connection.close(0u32.into(), b"");
    while let Some(frame) = client.frame().await {
        note(frame, &mut under_way, recipients, known);
    }
    known.unanswered = again;
    known.unanswered.extend(under_way.into_values());
    known.sent_again.extend(known.unanswered.iter().map(|envelope| envelope.id.clone()));
}

/// An answer. Says how many envelopes were accepted: 1.
fn note(
    frame: v1::ServerFrame,
    under_way: &mut HashMap<u64, Envelope>,
    recipients: &[Device],
    known: &mut Known,
) -> usize {
    let envelope = under_way.remove(&frame.request).expect("an answer to nothing");
    assert!(matches!(frame.body, Some(Response::Accepted(_))), "{:?}", frame.body);
    let to = recipient_of(&envelope, recipients);
    known.accepted.insert(envelope.id, to);
    1
}

/// Takes some deliveries and acknowledges the last of them.
async fn fetch(client: &mut Client, recipient: usize, known: &mut Known) {
    let mut taken = Vec::new();
    let mut up_to = None;
    // Enough that a contact's share is not full after many lives.
    while taken.len() < 25 {
        match client.unasked().await {
            Response::Delivery(delivery) => {
                take(known, recipient, &delivery);
                up_to = Some(delivery.cursor);
                taken.push(delivery.envelope.unwrap().id);
            }
            Response::CaughtUp(_) if up_to.is_some() => break,
            Response::CaughtUp(_) => {}
            other => panic!("{other:?}"),
        }
    }
    if let Some(up_to) = up_to {
        known.perhaps_fetched.extend(taken.iter().map(|id| (id.clone(), recipient)));
        let answer = client.ask(Request::Acknowledge(v1::Acknowledge { up_to })).await;
        assert!(matches!(answer, Response::Done(_)), "{answer:?}");
        known.fetched.extend(taken.into_iter().map(|id| (id, recipient)));
    }
}
