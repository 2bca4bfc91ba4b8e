//! What people tell beyond what delivering mail needs: who may tell, who sees it, how much, and that it goes again.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use kuvert_relay::store::memory::MemoryStore;
use kuvert_relay::{Config, ManualClock, RunningRelay};
use kuvert_relay_lens::LensOffer;
use kuvert_relay_lens::codes::{Code as PhoneCode, CodeSender, NotSent, Sending};
use kuvert_relay_lens::phone::{CODE_ATTEMPTS, CODE_LIFE};
use kuvert_relay_sqlite::Embedded;
use kuvert_relay_sqlite::backup::{self, BackupError};
use kuvert_relay_sqlite::people::PEOPLE_FILE;
use kuvert_types::limits::{
    MAX_ABOUT_BYTES, MAX_ADDRESS_BOOK, MAX_DEVICE_DETAIL_BYTES, MAX_EMAIL_BYTES, MAX_PEOPLE_PER_UPLOAD,
    MAX_PICTURE_BYTES, MAX_SIMULATED_DETAILS,
};
use kuvert_wire::v1::client_frame::Body as Request;
use kuvert_wire::v1::demonstration::{self, answer::Body as Told};
use kuvert_wire::v1::error::Code;
use kuvert_wire::v1::server_frame::Body as Response;

use crate::common::*;

const NUMBER: &str = "+4915550000001";

/// All phones there are.
#[derive(Debug, Default)]
struct Phones(Mutex<Vec<(String, String)>>);

impl Phones {
    /// The code that came last.
    fn last(&self, number: &str) -> String {
        let codes = self.0.lock().unwrap();
        codes.iter().rev().find(|(to, _)| to == number).expect("a code came").1.clone()
    }
}

impl CodeSender for Phones {
    fn send<'a>(&'a self, number: &'a str, code: &'a PhoneCode) -> Sending<'a> {
        self.0.lock().unwrap().push((number.to_owned(), code.digits().to_owned()));
        Box::pin(std::future::ready(Ok(())))
    }
}

/// A gateway that is down.
#[derive(Debug)]
struct NoGateway;

impl CodeSender for NoGateway {
    fn send<'a>(&'a self, _: &'a str, _: &'a PhoneCode) -> Sending<'a> {
        Box::pin(std::future::ready(Err(NotSent("the gateway is down"))))
    }
}

struct World {
    data: tempfile::TempDir,
    relay: RunningRelay,
    clock: Arc<ManualClock>,
    phones: Arc<Phones>,
}

impl World {
    async fn new() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let data = tempfile::tempdir().unwrap();
        let (clock, phones) = (Arc::new(ManualClock::new(NOON)), Arc::new(Phones::default()));
        let mut config = config(data.path());
        change(&mut config);
        let relay = start_on_memory(config, &clock, phones.clone()).await;
        Self { data, relay, clock, phones }
    }

    async fn client(&self) -> (Device, Client) {
        let device = Device::new();
        let client = Client::register(self.relay.address(), &device).await;
        (device, client)
    }

    /// A client that has shown that a number is its own.
    async fn verified(&self, number: &str) -> (Device, Client) {
        let (device, mut client) = self.client().await;
        self.verify(&mut client, number).await;
        (device, client)
    }

    async fn verify(&self, client: &mut Client, number: &str) -> demonstration::PhoneVerified {
        assert_done(client.ask(request_code(number)).await);
        match told(client.ask(verify(&self.phones.last(number))).await) {
            Told::PhoneVerified(verified) => verified,
            other => panic!("{other:?}"),
        }
    }

    fn file_holds(&self, needle: &str) -> bool {
        holds(self.data.path(), needle.as_bytes())
    }
}

async fn start_on_memory(config: Config, clock: &Arc<ManualClock>, codes: Arc<dyn CodeSender>) -> RunningRelay {
    let relay = Embedded::new(Arc::clone(clock) as _).with_store(Arc::new(MemoryStore::new()));
    relay.with_offer(Arc::new(LensOffer::with_codes(codes))).start(config).await.unwrap()
}

/// Whether any file in a directory holds these bytes.
fn holds(directory: &Path, needle: &[u8]) -> bool {
    std::fs::read_dir(directory).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        if path.is_dir() {
            return holds(&path, needle);
        }
        std::fs::read(&path).unwrap().windows(needle.len()).any(|window| window == needle)
    })
}

fn request_code(number: &str) -> Request {
    tell(demonstration::RequestPhoneCode { phone: number.into() })
}

fn verify(code: &str) -> Request {
    tell(demonstration::VerifyPhone { code: code.into() })
}

/// Another code than this one.
fn wrong(code: &str) -> String {
    let first = if code.starts_with('0') { '1' } else { '0' };
    format!("{first}{}", &code[1..])
}

fn profile_of(device: &Device) -> Request {
    tell(demonstration::GetProfile { account: account(device) })
}

fn account(device: &Device) -> Bytes {
    Bytes::copy_from_slice(device.address.account.as_bytes())
}

fn person(phone: &str, name: &str) -> demonstration::Person {
    demonstration::Person { phone: phone.into(), name: Some(name.into()), ..demonstration::Person::default() }
}

fn upload(people: Vec<demonstration::Person>, replace: bool) -> Request {
    tell(demonstration::UploadAddressBook { people, replace })
}

fn numbers(range: std::ops::Range<usize>) -> Vec<demonstration::Person> {
    range.map(|n| person(&format!("+49155501{n:05}"), "x")).collect()
}

fn assert_done(answer: Response) {
    let answer = told(answer);
    assert!(matches!(answer, Told::Done(_)), "{answer:?}");
}

async fn stored(client: &mut Client, request: Request) -> demonstration::AddressBookStored {
    match told(client.ask(request).await) {
        Told::AddressBookStored(stored) => stored,
        other => panic!("{other:?}"),
    }
}

async fn profile(client: &mut Client, of: &Device) -> demonstration::Profile {
    match told(client.ask(profile_of(of)).await) {
        Told::Profile(profile) => profile,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_number_is_whose_code_came_back() {
    let world = World::new().await;
    let (alice, mut alice_there) = world.client().await;
    assert_eq!(alice_there.refused(request_code("0301234567")).await, Code::Invalid);
    let nothing = alice_there.refused(verify("123456")).await;
    assert_done(alice_there.ask(request_code(NUMBER)).await);
    let code = world.phones.last(NUMBER);
    assert_eq!((code.len(), nothing), (6, Code::PhoneCodeWrong));
    assert_eq!(alice_there.refused(verify(&wrong(&code))).await, nothing, "a wrong code and none look alike");
    // Somebody else cannot use it.
    let (_, mut mallory_there) = world.client().await;
    assert_eq!(mallory_there.refused(verify(&code)).await, Code::PhoneCodeWrong);
    assert_eq!(profile(&mut alice_there, &alice).await.phone, None);
    let verified = told(alice_there.ask(verify(&code)).await);
    assert_eq!(verified, Told::PhoneVerified(demonstration::PhoneVerified { phone: NUMBER.into(), moved: false }));
    let own = profile(&mut alice_there, &alice).await;
    assert_eq!((own.phone.as_deref(), own.phone_at), (Some(NUMBER), Some(NOON)));
    assert_eq!(alice_there.refused(verify(&code)).await, Code::PhoneCodeWrong, "good once");

    // The number is given to somebody else, who shows that he has it now.
    let (bob, mut bob_there) = world.client().await;
    assert!(world.verify(&mut bob_there, NUMBER).await.moved);
    assert_eq!(profile(&mut alice_there, &alice).await.phone, None);
    assert_eq!(profile(&mut bob_there, &bob).await.phone.as_deref(), Some(NUMBER));
    world.relay.shutdown().await;
}

#[tokio::test]
async fn a_code_can_be_neither_guessed_nor_kept() {
    let world = World::new().await;
    let (_, mut client) = world.client().await;
    client.ask(request_code(NUMBER)).await;
    let code = world.phones.last(NUMBER);
    for _ in 0..CODE_ATTEMPTS {
        assert_eq!(client.refused(verify(&wrong(&code))).await, Code::PhoneCodeWrong);
    }
    assert_eq!(client.refused(verify(&code)).await, Code::PhoneCodeWrong, "too often");
    client.ask(request_code(NUMBER)).await;
    world.clock.advance(CODE_LIFE);
    assert_eq!(client.refused(verify(&world.phones.last(NUMBER))).await, Code::PhoneCodeExpired);
    // Neither stands in the file, and what nobody gave is gone within the hour.
    client.ask(request_code(NUMBER)).await;
    assert!(world.file_holds(NUMBER) && !world.file_holds(&world.phones.last(NUMBER)));
    world.clock.advance(Duration::from_secs(3600));
    assert_eq!(world.relay.prune_extension().await.unwrap(), 1);
    assert!(!world.file_holds(NUMBER));
    world.relay.shutdown().await;
}

#[tokio::test]
async fn nobody_is_flooded_with_codes() {
    let world = World::new().await;
    let limits = kuvert_relay::config::Limits::default();
    let (_, mut client) = world.client().await;
    // One account, many numbers.
    for n in 0..limits.phone_codes_per_account.burst {
        assert_done(client.ask(request_code(&format!("+4915550001{n:03}"))).await);
    }
    assert_eq!(client.refused(request_code("+4915550002000")).await, Code::Limited);
    // Many accounts, one number.
    for _ in 0..limits.phone_codes_per_number.burst {
        let (_, mut other) = world.client().await;
        assert_done(other.ask(request_code(NUMBER)).await);
    }
    let (_, mut another) = world.client().await;
    assert_eq!(another.refused(request_code(NUMBER)).await, Code::Limited);
    world.clock.advance(DAY);
    assert_done(another.ask(request_code(NUMBER)).await);
    world.relay.shutdown().await;
}

#[tokio::test]
async fn a_gateway_that_is_down_is_said_so() {
    let data = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::new(NOON));
    let relay = start_on_memory(config(data.path()), &clock, Arc::new(NoGateway)).await;
    let mut client = Client::register(relay.address(), &Device::new()).await;
    assert_eq!(client.refused(request_code(NUMBER)).await, Code::Unavailable);
    relay.shutdown().await;
}

#[tokio::test]
async fn others_see_of_a_profile_what_was_made_public() {
    let world = World::new().await;
    let (alice, mut alice_there) = world.verified(NUMBER).await;
    let (bob, mut bob_there) = world.client().await;
    let change = demonstration::SetProfile {
        display_name: Some("Alice".into()),
        email: Some("alice@example.org".into()),
        about: Some("busy".into()),
        picture: Some(vec![7; MAX_PICTURE_BYTES].into()),
        public: None,
    };
    assert_done(alice_there.ask(tell(change)).await);
    let nobody = Device::new();
    let unknown = profile(&mut bob_there, &nobody).await;
    assert_eq!(profile(&mut bob_there, &alice).await, unknown, "not public looks like not there");
    assert_eq!(profile(&mut bob_there, &bob).await, unknown);
    let own = profile(&mut alice_there, &alice).await;
    assert_eq!((own.email.as_deref(), own.email_at), (Some("alice@example.org"), Some(NOON)));

    world.clock.advance(DAY);
    let publish = demonstration::SetProfile {
        about: Some(String::new()),
        public: Some(true),
        ..demonstration::SetProfile::default()
    };
    assert_done(alice_there.ask(tell(publish)).await);
    let seen = demonstration::Profile {
        display_name: Some("Alice".into()),
        picture: Some(vec![7; MAX_PICTURE_BYTES].into()),
        public: true,
        ..demonstration::Profile::default()
    };
    assert_eq!(profile(&mut bob_there, &alice).await, seen, "neither e-mail, number nor dates");
    let own = profile(&mut alice_there, &alice).await;
    assert_eq!((own.about, own.display_name_at), (None, Some(NOON)), "each part has its own date");
    world.relay.shutdown().await;
}

/// A device that makes so many things up.
fn simulating(count: usize, value: &str) -> Request {
    let detail = |n| demonstration::SimulatedDetail { what: format!("thing-{n}"), value: value.to_owned() };
    tell(demonstration::ReportDevice {
        simulated: (0..count).map(detail).collect(),
        ..demonstration::ReportDevice::default()
    })
}

#[tokio::test]
async fn what_no_profile_book_or_device_can_hold_is_refused() {
    let world = World::new().await;
    let (alice, mut client) = world.client().await;
    let profile_with = |change: fn(&mut demonstration::SetProfile)| {
        let mut request = demonstration::SetProfile::default();
        change(&mut request);
        tell(request)
    };
    let person_with = |change: fn(&mut demonstration::Person)| {
        let mut person = person(NUMBER, "x");
        change(&mut person);
        upload(vec![person], false)
    };
    for bad in [
        profile_with(|p| p.display_name = Some("a\nb".into())),
        profile_with(|p| p.email = Some("nobody".into())),
        profile_with(|p| p.about = Some("x".repeat(MAX_ABOUT_BYTES + 1))),
        profile_with(|p| p.picture = Some(vec![0; MAX_PICTURE_BYTES + 1].into())),
        person_with(|p| p.phone = "0301234567".into()),
        person_with(|p| p.name = Some(String::new())),
        person_with(|p| p.email = Some("x".repeat(MAX_EMAIL_BYTES + 1))),
        upload(numbers(0..MAX_PEOPLE_PER_UPLOAD + 1), true),
        tell(demonstration::ReportDevice {
            model: Some("x".repeat(MAX_DEVICE_DETAIL_BYTES + 1)),
            ..demonstration::ReportDevice::default()
        }),
        simulating(1, "two\nlines"),
        simulating(MAX_SIMULATED_DETAILS + 1, "x"),
    ] {
        let shown = format!("{bad:.120?}");
        assert_eq!(client.refused(bad).await, Code::Invalid, "{shown}");
    }
    assert_eq!(profile(&mut client, &alice).await, demonstration::Profile::default());
    let short = tell(demonstration::GetProfile { account: Bytes::from_static(b"short") });
    assert_eq!(client.refused(short).await, Code::Malformed);
    world.relay.shutdown().await;
}

#[tokio::test]
async fn an_address_book_tells_who_is_here_and_keeps_who_is_not() {
    let world = World::new().await;
    let (bob, mut bob_there) = world.verified("+4915550000002").await;
    let (_, mut alice_there) = world.verified(NUMBER).await;
    let book = || {
        vec![person("+4915550000002", "Bob"), person("+4915550000003", "Carla-never-asked"), person(NUMBER, "myself")]
    };
    let answer = stored(&mut alice_there, upload(book(), true)).await;
    let matched = demonstration::Match { phone: "+4915550000002".into(), account: account(&bob) };
    assert_eq!(answer, demonstration::AddressBookStored { matches: vec![matched], stored: 3, without_account: 1 });
    assert!(world.file_holds("Carla-never-asked"));
    // Bob's book is another one: he neither sees nor deletes hers.
    assert_eq!(stored(&mut bob_there, upload(vec![], true)).await, demonstration::AddressBookStored::default());
    assert!(world.file_holds("Carla-never-asked"));
    assert_eq!(stored(&mut alice_there, upload(vec![], true)).await.stored, 0);
    assert!(!world.file_holds("Carla-never-asked"), "not a byte is left");
    world.relay.shutdown().await;
}

#[tokio::test]
async fn asking_for_every_number_there_is_has_its_price() {
    let world = World::with(|config| config.limits.numbers_checked_per_account.burst = 700).await;
    let (_, mut client) = world.client().await;
    assert_eq!(stored(&mut client, upload(numbers(0..500), true)).await.stored, 500);
    assert_eq!(client.refused(upload(numbers(500..1_000), false)).await, Code::Limited);
    assert_eq!(stored(&mut client, upload(numbers(500..700), false)).await.stored, 700);
    assert_eq!(client.refused(upload(numbers(0..1), false)).await, Code::Limited, "also for numbers known already");
    world.clock.advance(Duration::from_secs(3600));
    assert_eq!(stored(&mut client, upload(numbers(700..900), false)).await.stored, 900, "200 more each hour");
    world.relay.shutdown().await;
}

#[tokio::test]
async fn an_address_book_has_an_end() {
    let world = World::with(|config| config.limits.numbers_checked_per_account.burst = 100_000).await;
    let (_, mut client) = world.client().await;
    for first in (0..MAX_ADDRESS_BOOK).step_by(MAX_PEOPLE_PER_UPLOAD) {
        stored(&mut client, upload(numbers(first..first + MAX_PEOPLE_PER_UPLOAD), false)).await;
    }
    let more = upload(numbers(MAX_ADDRESS_BOOK..MAX_ADDRESS_BOOK + 1), false);
    assert_eq!(client.refused(more).await, Code::AddressBookFull);
    assert_eq!(
        stored(&mut client, upload(numbers(0..1), false)).await.stored,
        u32::try_from(MAX_ADDRESS_BOOK).unwrap()
    );
    world.relay.shutdown().await;
}

#[tokio::test]
async fn what_was_told_can_be_taken_back_and_leaves_no_byte() {
    let world = World::new().await;
    let (alice, mut client) = world.verified(NUMBER).await;
    let (bob, mut bob_there) = world.verified("+4915550000002").await;
    let change = demonstration::SetProfile {
        display_name: Some("Alice-in-the-profile".into()),
        email: Some("alice@example.org".into()),
        picture: Some(b"picture-of-alice".repeat(4_000).into()),
        public: Some(true),
        ..demonstration::SetProfile::default()
    };
    client.ask(tell(change)).await;
    assert_done(client.ask(simulating(MAX_SIMULATED_DETAILS, "battery-of-alice")).await);
    assert!(world.file_holds("battery-of-alice"));
    // Another report takes its place.
    let made_up = demonstration::SimulatedDetail { what: "provider".into(), value: "provider-of-alice".into() };
    let details = demonstration::ReportDevice {
        model: Some("model-of-alice".into()),
        simulated: vec![made_up],
        ..demonstration::ReportDevice::default()
    };
    assert_done(client.ask(tell(details)).await);
    // Enough people that their rows move between pages.
    for first in (0..5_000).step_by(500) {
        let people = numbers(first..first + 500)
            .into_iter()
            .map(|person| demonstration::Person { name: Some(format!("friend-of-alice {}", person.phone)), ..person });
        stored(&mut client, upload(people.rev().collect(), false)).await;
    }
    client.ask(request_code("+4915550000009")).await;
    let told = [
        NUMBER,
        "Alice-in-the-profile",
        "alice@example.org",
        "picture-of-alice",
        "model-of-alice",
        "provider-of-alice",
        "friend-of-alice",
        "+4915550000009",
    ];
    for what in told {
        assert!(world.file_holds(what), "{what}");
    }
    // In somebody else's book she stays: that is his.
    stored(&mut bob_there, upload(vec![person(NUMBER, "known-to-bob")], true)).await;
    for _ in 0..2 {
        assert_done(client.ask(tell(demonstration::WithdrawDisclosure {})).await);
    }
    for what in told[1..].iter().chain(&["battery-of-alice"]) {
        assert!(!world.file_holds(what), "{what} is left");
    }
    assert_eq!(profile(&mut client, &alice).await, demonstration::Profile::default());
    assert_eq!(profile(&mut bob_there, &bob).await.phone.as_deref(), Some("+4915550000002"), "his own is untouched");
    assert!(world.file_holds("known-to-bob"));
    let now = stored(&mut bob_there, upload(vec![person(NUMBER, "known-to-bob")], true)).await;
    assert_eq!((now.matches.len(), now.without_account), (0, 1), "she is a shadow now");
    world.relay.shutdown().await;
}

#[tokio::test]
async fn what_people_tell_outlives_a_restart() {
    let data = tempfile::tempdir().unwrap();
    let relay = start(data.path()).await;
    let alice = Device::new();
    let mut client = Client::register(relay.address(), &alice).await;
    let change =
        demonstration::SetProfile { display_name: Some("Alice".into()), ..demonstration::SetProfile::default() };
    assert_done(client.ask(tell(change)).await);
    relay.shutdown().await;
    let relay = start(data.path()).await;
    let (mut client, _) = Client::authenticate(relay.address(), &alice).await;
    assert_eq!(profile(&mut client, &alice).await.display_name.as_deref(), Some("Alice"));
    relay.shutdown().await;
}

#[tokio::test]
async fn backups_carry_what_people_tell_and_those_without_it_are_restored() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let relay = start(&path("data")).await;
    let alice = Device::new();
    let mut client = Client::register(relay.address(), &alice).await;
    let change =
        demonstration::SetProfile { display_name: Some("Alice".into()), ..demonstration::SetProfile::default() };
    assert_done(client.ask(tell(change)).await);
    backup::create(&path("data"), &path("backup"), NOON).unwrap();
    relay.shutdown().await;
    backup::restore(&path("backup"), &path("restored")).unwrap();
    let relay = start(&path("restored")).await;
    let (mut client, _) = Client::authenticate(relay.address(), &alice).await;
    assert_eq!(profile(&mut client, &alice).await.display_name.as_deref(), Some("Alice"));
    relay.shutdown().await;

    let damaged = path("backup").join(PEOPLE_FILE);
    std::fs::write(&damaged, "something else").unwrap();
    let refused = backup::restore(&path("backup"), &path("again")).unwrap_err();
    assert!(matches!(refused, BackupError::Damaged(file) if file == damaged));

    // As an older relay left it.
    std::fs::remove_file(path("data").join(PEOPLE_FILE)).unwrap();
    backup::create(&path("data"), &path("old"), NOON).unwrap();
    backup::restore(&path("old"), &path("again")).unwrap();
    let relay = start(&path("again")).await;
    let (mut client, _) = Client::authenticate(relay.address(), &alice).await;
    assert_eq!(profile(&mut client, &alice).await, demonstration::Profile::default());
    relay.shutdown().await;
}
