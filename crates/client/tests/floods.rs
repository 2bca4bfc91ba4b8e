//! Strangers over the wire, while their target is away and while it follows: each has one account, public data and a client
//! of its own making, and does at full speed what an account can do. What the rules make of it over an hour, `strangers.rs`
//! checks.
//!
//! ```text
//! KUVERT_STRANGERS=1000 cargo test -p kuvert-client --test client floods -- --nocapture    so many, not 60
//! ```

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use kuvert_client::internal::{draft, finish_content, prekey_bundle, receipts, session_reset, text};
use kuvert_client::transport::{Link, dial};
use kuvert_client::{AccountId, Address, Client, EnvelopeId, Event, ReceiveEnd, ReceiveOptions};
use kuvert_protocol::SessionRecord;
use kuvert_protocol::prekey::VerifiedBundle;
use kuvert_protocol::replay::STRANGER_ENTRIES;
use kuvert_relay::store::{AccountBy, Store};
use kuvert_types::authentication::statement;
use kuvert_types::{AccountKey, DeviceListState, label};
use kuvert_wire::checked::to_wire;
use kuvert_wire::v1::client_frame::Body as Request;
use kuvert_wire::v1::error::Code;
use kuvert_wire::v1::server_frame::Body as Response;
use kuvert_wire::v1::{self, content};

use crate::common::lying::LyingStore;
use crate::common::{
    World, add, address, fetch, messages, named, now, numbers, refusals, say, stranger, texts, within,
};

/// Bytes that a home grows by for each stranger that did its worst here, at most: its row, its sessions (7 KB in all), the
/// texts that it wrote, in pages that are half full, once in the store and once in its log.
const BYTES_PER_STRANGER: u64 = 64 * 1024;

/// Bytes that a home grows by anyhow: the log of a store that was just written to, prekeys, mail of contacts.
const BYTES_ANYHOW: u64 = 8 << 20;

/// What became of envelopes that strangers submitted.
#[derive(Clone, Copy, Default, Debug)]
struct Submitted {
    accepted: u64,
    full: u64,
}

/// A registered account with one bundle for all that it is going to do.
struct Flooder {
    keys: stranger::Stranger,
    bundle: Option<VerifiedBundle>,
    /// The session that it began first.
    session: SessionRecord,
    /// What it sent first.
    first: Vec<u8>,
}

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).unwrap();
    bytes
}

fn fresh_id() -> EnvelopeId {
    EnvelopeId::from_bytes(random())
}

impl Flooder {
    /// Registers behind the relay's door: a thousand registrations of one address would take an hour.
    async fn register(store: &LyingStore) -> Self {
        let keys = stranger::Stranger::with_id(random());
        keys.register(store).await;
        Self { keys, bundle: None, session: SessionRecord::new(), first: Vec::new() }
    }

    fn address(&self) -> Address {
        self.keys.address()
    }

    async fn connect(&self, world: &World) -> Link {
        let link = dial(&world.url, &world.options()).await.unwrap();
        let hello = link.request(Request::Hello(v1::Hello { version: kuvert_wire::VERSION })).await.unwrap();
        let Ok(Response::Challenge(challenge)) = hello else { panic!("{hello:?}") };
        let challenge: [u8; 32] = challenge.challenge.as_ref().try_into().unwrap();
        let exporter = link.exporter(label::TLS_EXPORTER, &challenge).unwrap();
        let statement = statement(&self.address(), &challenge, &exporter);
        let signature = self.keys.device.secrets().sign_authentication(&statement);
        let request = Request::Authenticate(v1::Authenticate {
            address: Some(to_wire(&self.address())),
            signature: Bytes::copy_from_slice(signature.as_bytes()),
        });
        let answer = link.request(request).await.unwrap();
        assert!(matches!(answer, Ok(Response::Authenticated(_))), "{answer:?}");
        link
    }

    async fn take_bundle(&mut self, link: &Link, of: Address, key: &AccountKey) {
        if self.bundle.is_some() {
            return;
        }
        let account = Bytes::copy_from_slice(of.account.as_bytes());
        let answer = link.request(Request::TakeBundles(v1::TakeBundles { account, devices: vec![] })).await.unwrap();
        let Ok(Response::Bundles(bundles)) = answer else { panic!("{answer:?}") };
        self.bundle = Some(prekey_bundle(&bundles.bundles[0]).unwrap().verify(of, key).unwrap());
    }

    /// In the session that it began first.
    fn seal(&mut self, id: EnvelopeId, body: content::Body) -> Vec<u8> {
        if !self.session.has_active() {
            self.session = self.begin();
        }
        Self::seal_in(&mut self.session, self.keys.list_state(1), id, body)
    }

    fn begin(&self) -> SessionRecord {
        let (mut session, mut rng) = (SessionRecord::new(), rand_core::UnwrapErr(getrandom::SysRng));
        session.initiate(&self.keys.device, self.bundle.as_ref().unwrap(), 1, &mut rng).unwrap();
        session
    }

    /// It claims that its target has device lists that do not exist.
    fn seal_in(session: &mut SessionRecord, own: DeviceListState, id: EnvelopeId, body: content::Body) -> Vec<u8> {
        let invented = DeviceListState { number: 9, hash: [9; 32] };
        let content = finish_content(&draft(id, 1, body), own, invented, None).unwrap();
        session.encrypt(&content, 1, &mut rand_core::UnwrapErr(getrandom::SysRng)).unwrap()
    }

    /// Contents that ask for an answer, ids and texts that repeat, the id of another's envelope; first messages from one
    /// bundle, more than it may have, as it made them, again and broken; garbage in every shape.
    fn arsenal(&mut self, seen: EnvelopeId) -> Vec<(EnvelopeId, Vec<u8>)> {
        let hello = self.seal(fresh_id(), text("hello"));
        if self.first.is_empty() {
            self.first.clone_from(&hello);
        }
        let mut all = vec![(fresh_id(), hello.clone())];
        let repeated = fresh_id();
        for _ in 0..2 {
            all.push((fresh_id(), self.seal(repeated, text("once more"))));
            all.push((fresh_id(), self.seal(fresh_id(), session_reset())));
        }
        all.push((fresh_id(), self.seal(fresh_id(), receipts(&[seen], &[seen]))));
        all.push((seen, self.seal(seen, text("under an id that is not its own"))));
        for number in 0..=STRANGER_ENTRIES {
            let (mut session, own) = (self.begin(), self.keys.list_state(1));
            let again = Self::seal_in(&mut session, own, fresh_id(), text(&format!("hello again {number}")));
            all.push((fresh_id(), again));
        }
        all.push((all[0].0, hello));
        all.push((fresh_id(), self.first.clone()));
        let mut broken = self.first.clone();
        broken[1_900] ^= 1;
        all.push((fresh_id(), broken));
        all.push((fresh_id(), [&[1, 1][..], &random::<2_500>()].concat()));
        all.push((fresh_id(), [&[1, 2][..], &random::<1_000>()].concat()));
        all.push((fresh_id(), random::<700>().to_vec()));
        all
    }

    async fn flood(&mut self, world: &World, to: Address, key: &AccountKey, seen: EnvelopeId, sum: &mut Submitted) {
        let link = self.connect(world).await;
        self.take_bundle(&link, to, key).await;
        let mut tickets = Vec::new();
        for (id, ciphertext) in self.arsenal(seen) {
            let envelope = v1::Envelope {
                id: Bytes::copy_from_slice(id.as_bytes()),
                recipient: Some(to_wire(&to)),
                source: Some(to_wire(&self.address())),
                ciphertext: ciphertext.into(),
            };
            let submit = v1::Submit { envelope: Some(envelope), access_key: None };
            tickets.push(link.send(Request::Submit(submit)).await.unwrap());
        }
        for ticket in tickets {
            match ticket.answer().await.unwrap() {
                Ok(Response::Accepted(_)) => sum.accepted += 1,
                Err(refusal) if refusal.code == Code::MailboxFull => sum.full += 1,
                other => panic!("{other:?}"),
            }
        }
    }
}

fn size(home: &Path) -> u64 {
    std::fs::read_dir(home).unwrap().map(|file| file.unwrap().metadata().unwrap().len()).sum()
}

fn how_many() -> usize {
    std::env::var("KUVERT_STRANGERS").map_or(60, |count| count.parse().expect("KUVERT_STRANGERS is a number"))
}

/// Follows until a text arrives; all events.
fn follow(client: Client, until: &'static str) -> tokio::task::JoinHandle<Vec<Event>> {
    tokio::spawn(async move {
        let connection = client.connect().await.unwrap();
        let events = Mutex::new(Vec::new());
        let options = ReceiveOptions { follow: true, ..ReceiveOptions::default() };
        let end = connection.receive(options, |event| {
            let mut is_last = false;
            if let Event::Message(message) = &event {
                now(client.mark_read(&[message.message])).unwrap();
                is_last = message.text == until;
            }
            events.lock().unwrap().push(event);
            if is_last { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        assert_eq!(within(end).await.unwrap(), ReceiveEnd::Stopped);
        events.into_inner().unwrap()
    })
}

fn of<'a>(events: &'a [Event], who: &str) -> Vec<&'a str> {
    let theirs = messages(events).into_iter().filter(|message| message.alias == who);
    theirs.map(|message| message.text.as_str()).collect()
}

/// All of them, one after another; half-way, Alice writes.
async fn flood_all(
    world: &World,
    strangers: &mut [Flooder],
    alice: &Client,
    bob: (Address, AccountKey),
    store: &LyingStore,
    texts: &[String],
) -> Submitted {
    let mut sum = Submitted::default();
    let half = strangers.len() / 2;
    for (number, stranger) in strangers.iter_mut().enumerate() {
        if number == half {
            for text in texts {
                say(alice, "bob", text).await;
            }
        }
        let seen = {
            let by = address(alice).await;
            let seen = store.seen.lock().unwrap();
            seen.iter()
                .rev()
                .find(|(_, envelope)| envelope.source == Some(by))
                .map(|(_, envelope)| envelope.id)
                .unwrap()
        };
        within(stranger.flood(world, bob.0, &bob.1, seen, &mut sum)).await;
    }
    sum
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_over_the_wire_stop_neither_contacts_nor_a_newcomer_and_end_no_receiving() {
    let (count, started) = (how_many(), Instant::now());
    let store = LyingStore::new();
    let world = World::on(Arc::clone(&store) as _).await;
    let (alice, bob) = world.alice_and_bob().await;
    // Of long standing: there is a session, and each knows the other's access key.
    for (from, to, name) in [(&alice, &bob, "bob"), (&bob, &alice, "alice")] {
        say(from, name, "long ago").await;
        assert_eq!(texts(&fetch(to).await), ["long ago"]);
    }
    fetch(&alice).await;
    world.clock.advance(Duration::from_secs(2 * 60 * 60));
    let target = (address(&bob).await, world.certificate(&bob).await.account_key());
    let before = size(&world.home("bob"));
    let mut strangers = Vec::new();
    for _ in 0..count {
        strangers.push(Flooder::register(&store).await);
    }

    // While Bob is away.
    let written = numbers("while you are away", 5);
    let away = flood_all(&world, &mut strangers, &alice, target, &store, &written).await;
    let (offered_in, opening) = (started.elapsed(), Instant::now());
    let mut events = fetch(&bob).await;
    let opened_in = opening.elapsed();
    assert_eq!(of(&events, "alice"), written);

    // While Bob follows: he goes on to follow.
    let following = follow(world.open("bob").await, "good night");
    let written = numbers("while you are there", 5);
    let there = flood_all(&world, &mut strangers, &alice, target, &store, &written).await;
    let carol = world.register("carol").await;
    add(&carol, "bob").await;
    say(&carol, "bob", "we do not know each other").await;
    say(&alice, "bob", "good night").await;
    let followed = within(following).await.unwrap();
    assert_eq!(of(&followed, "alice"), [written, vec!["good night".to_owned()]].concat());
    events.extend(followed);
    for text in numbers("back", 5) {
        say(&bob, "alice", &text).await;
    }
    assert_eq!(texts(&fetch(&alice).await), numbers("back", 5));
    events.extend(fetch(&bob).await);

    // The newcomer.
    let letters = messages(&events).into_iter().filter(|message| message.text == "we do not know each other").count();
    let requests = bob.contacts().requests().await.unwrap();
    let newcomer = requests.iter().find(|request| request.account == now(address(&carol)).account).unwrap();
    assert_eq!((letters, bob.contacts().list().await.unwrap().len()), (1, 1));
    assert!(requests.len() > count / 2 && refusals(&events).len() > count, "they were there");

    // Silence.
    let mut unaccepted: BTreeSet<AccountId> = strangers.iter().map(|stranger| stranger.address().account).collect();
    unaccepted.insert(newcomer.account);
    let sent = store.seen.lock().unwrap().iter().filter(|(to, _)| unaccepted.contains(&to.account)).count();
    let asked = store.looked_up.lock().unwrap().iter().filter(|by| is_about(by, &unaccepted)).count();
    let taken = store.bundles_of.lock().unwrap().iter().filter(|of| unaccepted.contains(&of.account)).count();
    assert_eq!((sent, asked, taken), (0, 0, 0), "nothing was sent to any of them, and nothing asked about them");
    // Nor was Bob alarmed by what they made up about him or about a contact.
    let alarm = |event: &&Event| match event {
        Event::Receipt { from, .. } => from != "alice",
        Event::DeviceListConflict { .. } | Event::SessionReset { .. } => true,
        Event::Undecryptable { .. } | Event::IdentityChanged { .. } | Event::Disconnected { .. } => true,
        _ => false,
    };
    assert_eq!(events.iter().filter(alarm).take(3).collect::<Vec<_>>(), Vec::<&Event>::new());

    // Memory.
    let grown = size(&world.home("bob")).saturating_sub(before);
    println!(
        "{count} strangers: away {away:?} in {offered_in:?}, opened in {opened_in:?}; there {there:?}; {} requests, {} texts \
         of strangers, {} refusals, {} events; the home grew by {grown} B; {:?} in all",
        requests.len(),
        messages(&events).len() - of(&events, "alice").len(),
        refusals(&events).len(),
        events.iter().filter(|event| **event != Event::CaughtUp).count(),
        started.elapsed(),
    );
    assert!(grown < BYTES_ANYHOW + BYTES_PER_STRANGER * count as u64, "{grown} B");
    assert_eq!(store.waiting(target.0).await.unwrap().count, 0, "all of it was acknowledged");
    // Once Bob accepts, the newcomer is a contact like any other.
    bob.contacts().accept_request(named(&bob, &newcomer.alias).await, Some("carol")).await.unwrap();
    say(&bob, "carol", "now we do").await;
    assert_eq!(texts(&fetch(&carol).await), ["now we do"]);
}

fn is_about(by: &AccountBy, accounts: &BTreeSet<AccountId>) -> bool {
    matches!(by, AccountBy::Id(account) if accounts.contains(account))
}
