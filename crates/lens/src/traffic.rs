//! The conversations: who writes what to whom, when devices are connected, when receipts go.
//!
//! People begin conversations at a rate that follows the day; the reader of a text may answer, or the writer adds another.
//! What people write follows from the seed alone, the same at every level; a policy changes what their devices send beside.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};
use std::net::{Ipv4Addr, SocketAddr};

use kuvert_relay::observe::{ConnectionNumber, Event, Observer};
use kuvert_types::{BlobId, EnvelopeId};

use crate::Setup;
use crate::envelope::{Kind, Sizes};
use crate::policy::{JITTER_MS, Policy, Receipts};
use crate::population::{DAY, Population, User, ordered};
use crate::random::Random;
use crate::relay::{Relay, Submission};

/// Midnight, Tuesday 2023-11-14, in Unix milliseconds. Any other would do.
pub const START_MS: u64 = 1_699_920_000_000;

const HOUR_MS: u64 = 3_600_000;

/// A reader answers with this probability, after a time with this median and spread.
const ANSWER: f64 = 0.5;
const ANSWER_MS: (f64, f64) = (45_000.0, 1.2);

/// A writer adds another text with this probability, within so many milliseconds.
const ANOTHER: f64 = 0.2;
const ANOTHER_MS: (u64, u64) = (3_000, 30_000);

/// Conversations that begin in a group, for those who are in one; each reader answers with this probability.
const TO_GROUP: f64 = 0.15;
const ANSWER_GROUP: f64 = 0.05;

/// Mean times for which a device is connected, and not.
const ONLINE_MS: f64 = 4.0 * 3_600_000.0;
const OFFLINE_MS: f64 = 40.0 * 60_000.0;

/// From the relay to a device that is connected; a device that connects takes as long to ask.
const DELIVERY_MS: u64 = 80;

/// A device needs this long to open a text and send its receipt.
const RECEIPT_MS: (u64, u64) = (50, 800);

/// Bytes of a text: the median and spread of chat corpora.
const TEXT_BYTES: (f64, f64) = (35.0, 1.1);
const MAX_TEXT: f64 = 16_000.0;

/// The share of texts to a single person that a file goes with.
const WITH_FILE: f64 = 0.05;

/// Bytes of a file: a photograph in the median, now and then a film.
const FILE_BYTES: (f64, f64) = (800_000.0, 1.3);
const MAX_FILE: f64 = 100_000_000.0;

/// Bytes that a line carries in a millisecond.
const BYTES_A_MS: u64 = 1_000;

/// From the end of an upload to the letter that tells of it.
const LETTER_AFTER_MS: (u64, u64) = (20, 200);

/// A device that got such a letter begins to read within this time.
const READING_MS: (u64, u64) = (50, 800);

/// What really happened. The attacker does not get it.
#[derive(Debug, Default)]
pub struct Truth {
    /// Who wrote to whom, each pair once.
    pub edges: BTreeSet<(User, User)>,
    /// Of each file, in the order of their uploads, who gave it to whom; `None`: its letter did not get through.
    pub files: Vec<Option<(User, User)>>,
    /// When each person got texts, in order.
    pub received: Vec<Vec<u64>>,
    /// How many envelopes of each kind had each size.
    pub sizes: BTreeMap<(Kind, usize), u64>,
    /// Texts, a text to a group once for each member.
    pub texts: u64,
    /// Bytes on the way to the relay.
    pub bytes: u64,
    /// How many receipts, and from the arrival of the text to that of the receipt at the relay, milliseconds in sum.
    pub receipts: (u64, u64),
}

/// Lets people talk under a policy, and writes what the relay sees to `observer`.
pub fn run(setup: &Setup, population: &Population, policy: Policy, observer: &dyn Observer) -> Truth {
    let mut world = World::new(setup, population, policy, observer);
    world.register();
    while let Some(Reverse((now, _, action))) = world.queue.pop() {
        if now >= world.end {
            break;
        }
        world.act(now, action);
    }
    world.truth
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Action {
    /// A person may begin a conversation.
    Begin,
    /// A device connects or goes.
    Toggle(User),
    /// A text to a contact, by place.
    Write(User, u32),
    /// A text to a group.
    WriteGroup(User, u32),
    /// A device gets its mail up to a cursor.
    Fetch(User, u64),
    /// A device sends receipts: from, to, how many texts, when they came.
    Confirm(User, User, u32, u64),
    /// A device reads a file, by its number.
    Read(User, u32),
    /// The relay purges.
    Purge,
}

/// What a recipient reads.
#[derive(Clone, Copy, Debug)]
struct Letter {
    cursor: u64,
    from: User,
    kind: Kind,
    group: Option<u32>,
    file: Option<u32>,
}

struct World<'a> {
    population: &'a Population,
    policy: Policy,
    observer: &'a dyn Observer,
    relay: Relay<'a>,
    sizes: Sizes,
    queue: BinaryHeap<Reverse<(u64, u64, Action)>>,
    ordinal: u64,
    end: u64,
    /// What people do: it must not depend on the policy.
    life: Random,
    /// What devices do.
    devices: Random,
    /// What has to do with files: all else is the same with them as without.
    files: Random,
    /// Name and bytes of each.
    uploads: Vec<(BlobId, u64)>,
    /// Mean milliseconds between tries to begin a conversation.
    pause: f64,
    online: Vec<Option<ConnectionNumber>>,
    next_toggle: Vec<u64>,
    letters: Vec<VecDeque<Letter>>,
    begun: BTreeSet<(User, User)>,
    truth: Truth,
}

impl<'a> World<'a> {
    fn new(setup: &Setup, population: &'a Population, policy: Policy, observer: &'a dyn Observer) -> Self {
        let people = population.people.len();
        let addresses = population.people.iter().map(|person| person.address).collect();
        let peak = DAY.iter().copied().fold(1.0, f64::max);
        let tries = setup.rate / texts_per_conversation(population) * peak * (ONLINE_MS + OFFLINE_MS) / ONLINE_MS;
        Self {
            population,
            policy,
            observer,
            relay: Relay::new(addresses, observer),
            sizes: Sizes::new(policy),
            queue: BinaryHeap::new(),
            ordinal: 0,
            end: START_MS + u64::from(setup.days) * 24 * HOUR_MS,
            life: Random::new(setup.seed, 2),
            devices: Random::new(setup.seed, 3),
            files: Random::new(setup.seed, 6),
            uploads: Vec::new(),
            pause: 1000.0 / tries,
            online: vec![None; people],
            next_toggle: vec![0; people],
            letters: vec![VecDeque::new(); people],
            begun: BTreeSet::new(),
            truth: Truth { received: vec![Vec::new(); people], ..Truth::default() },
        }
    }

    /// All people have an account when the log begins, and most are connected.
    fn register(&mut self) {
        let population = self.population;
        for (user, person) in (0..).zip(&population.people) {
            let (connection, device) = (ConnectionNumber::new(self.devices.word()), person.address);
            let phone = Some(format!("+49170{user:07}"));
            self.observer.see(START_MS, Event::Registered { connection, device, name: None, phone });
            let offline = self.life.chance(OFFLINE_MS / (ONLINE_MS + OFFLINE_MS));
            let first = if offline { self.life.exponential(OFFLINE_MS) } else { 0.0 };
            self.toggle_in(user, START_MS, first);
        }
        self.after(START_MS, HOUR_MS, Action::Purge);
        self.after(START_MS, 0, Action::Begin);
    }

    fn after(&mut self, now: u64, milliseconds: u64, action: Action) {
        self.ordinal += 1;
        self.queue.push(Reverse((now + milliseconds, self.ordinal, action)));
    }

    fn toggle_in(&mut self, user: User, now: u64, milliseconds: f64) {
        self.next_toggle[user as usize] = now + milliseconds as u64;
        self.after(now, milliseconds as u64, Action::Toggle(user));
    }

    fn act(&mut self, now: u64, action: Action) {
        match action {
            Action::Begin => self.begin(now),
            Action::Toggle(user) => self.toggle(now, user),
            Action::Write(from, place) => self.write(now, from, place as usize),
            Action::WriteGroup(from, group) => self.write_group(now, from, group),
            Action::Fetch(user, up_to) => self.fetch(now, user, up_to),
            Action::Confirm(from, to, count, came_at) => self.confirm(now, from, to, count, came_at),
            Action::Read(user, file) => self.read_file(now, user, file),
            Action::Purge => {
                self.relay.expire(now);
                self.after(now, HOUR_MS, Action::Purge);
            }
        }
    }

    fn begin(&mut self, now: u64) {
        let pause = self.life.exponential(self.pause) as u64;
        self.after(now, pause.max(1), Action::Begin);
        let Some(user) = self.population.activity.draw(&mut self.life) else { return };
        let person = &self.population.people[user];
        let hour = (now - START_MS + person.ahead_ms) / HOUR_MS % 24;
        let peak = DAY.iter().copied().fold(1.0, f64::max);
        if !self.life.chance(DAY[hour as usize] / peak) {
            return;
        }
        let to_group = self.life.chance(TO_GROUP) && !person.groups.is_empty();
        let action = if to_group {
            let group = person.groups[self.life.below(person.groups.len() as u64) as usize];
            Action::WriteGroup(user as User, group)
        } else {
            let Some(place) = person.ties.draw(&mut self.life) else { return };
            Action::Write(user as User, place as u32)
        };
        // Who is not connected lets it be; what is begun later goes out later.
        if self.online[user].is_some() {
            self.act(now, action);
        }
    }

    fn toggle(&mut self, now: u64, user: User) {
        let device = self.population.people[user as usize].address;
        let next = match self.online[user as usize].take() {
            Some(connection) => {
                self.observer.see(now, Event::Disconnected { connection });
                OFFLINE_MS
            }
            None => {
                let connection = ConnectionNumber::new(self.devices.word());
                let from = SocketAddr::from((Ipv4Addr::from_bits(10 << 24 | user), 4433));
                self.observer.see(now, Event::Connected { connection, from });
                self.observer.see(now, Event::Authenticated { connection, device });
                self.observer.see(now, Event::Attached { connection, device });
                self.online[user as usize] = Some(connection);
                self.after(now, DELIVERY_MS, Action::Fetch(user, u64::MAX));
                ONLINE_MS
            }
        };
        let lasts = self.life.exponential(next).max(1_000.0);
        self.toggle_in(user, now, lasts);
    }

    /// When a device that is not connected sends what its owner wrote: once it is.
    fn wait_for(&mut self, now: u64, user: User, action: Action) -> bool {
        if self.online[user as usize].is_some() {
            return false;
        }
        let wait = self.next_toggle[user as usize].saturating_sub(now) + 1_000;
        self.after(now, wait, action);
        true
    }

    fn write(&mut self, now: u64, from: User, place: usize) {
        if self.wait_for(now, from, Action::Write(from, place as u32)) {
            return;
        }
        let to = self.population.people[from as usize].contacts[place];
        let bytes = self.text_bytes();
        let first = to.new && self.begun.insert(ordered(from, to.user));
        self.text(now, from, to.user, bytes, first, None);
        if self.life.chance(ANOTHER) {
            let pause = ANOTHER_MS.0 + self.life.below(ANOTHER_MS.1 - ANOTHER_MS.0);
            self.after(now, pause, Action::Write(from, place as u32));
        }
    }

    fn write_group(&mut self, now: u64, from: User, group: u32) {
        if self.wait_for(now, from, Action::WriteGroup(from, group)) {
            return;
        }
        let bytes = self.text_bytes();
        let population = self.population;
        for to in population.groups[group as usize].iter().filter(|to| **to != from) {
            self.text(now, from, *to, bytes, false, Some(group));
        }
    }

    fn text_bytes(&mut self) -> usize {
        self.life.log_normal(TEXT_BYTES.0, TEXT_BYTES.1).clamp(1.0, MAX_TEXT) as usize
    }

    fn text(&mut self, now: u64, from: User, to: User, bytes: usize, first: bool, group: Option<u32>) {
        let size = self.sizes.text(bytes, first);
        let kind = if first { Kind::First } else { Kind::Text };
        let file = (group.is_none() && self.files.chance(WITH_FILE)).then(|| self.upload(now, from));
        let submitted = self.submit(now, from, to, size, kind, group);
        if submitted {
            self.truth.texts += 1;
            self.truth.edges.insert(ordered(from, to));
            if let Some(letter) = self.letters[to as usize].back_mut() {
                letter.file = file;
            }
        }
        if file.is_some() {
            self.truth.files.push(submitted.then_some((from, to)));
        }
    }

    /// A file that was uploaded before the letter that goes now. Its number.
    fn upload(&mut self, now: u64, from: User) -> u32 {
        let id = BlobId::from_bytes(self.files.id());
        let bytes = self.files.log_normal(FILE_BYTES.0, FILE_BYTES.1).clamp(1_000.0, MAX_FILE) as u64;
        let complete = now - LETTER_AFTER_MS.0 - self.files.below(LETTER_AFTER_MS.1 - LETTER_AFTER_MS.0);
        let connection = self.online[from as usize].unwrap_or_else(|| ConnectionNumber::new(0));
        let by = self.population.people[from as usize].address;
        // One capability for all readers hides how many there are.
        let readers = (!self.policy.sealed_sender).then_some(1);
        let begun = complete - bytes / BYTES_A_MS;
        self.observer.see(begun, Event::BlobCreated { connection, by, id, size: bytes, readers });
        self.observer.see(complete, Event::BlobUploaded { connection, by, id, size: bytes });
        self.observer.see(complete, Event::BlobCommitted { connection, by, id });
        self.uploads.push((id, bytes));
        (self.uploads.len() - 1) as u32
    }

    /// From L2 on a device reads files on a connection that says nothing of who made it, and nothing of its having them.
    fn read_file(&mut self, now: u64, user: User, file: u32) {
        if self.wait_for(now, user, Action::Read(user, file)) {
            return;
        }
        let nameless = ConnectionNumber::new(self.files.word());
        let (id, size) = self.uploads[file as usize];
        let named = self.online[user as usize].filter(|_| !self.policy.sealed_sender);
        let by = named.map(|_| self.population.people[user as usize].address);
        let connection = named.unwrap_or(nameless);
        self.observer.see(now, Event::BlobRead { connection, by, id, size });
        if by.is_some() {
            self.observer.see(now, Event::BlobDone { connection, by, id, last: true });
        }
    }

    fn submit(&mut self, now: u64, from: User, to: User, size: usize, kind: Kind, group: Option<u32>) -> bool {
        let id = EnvelopeId::from_bytes(self.devices.id());
        // A sealed envelope comes on a connection of its own, which says nothing of who made it.
        let fresh = ConnectionNumber::new(self.devices.word());
        let (connection, by) = match self.online[from as usize] {
            Some(connection) if !self.policy.sealed_sender => {
                (connection, Some(self.population.people[from as usize].address))
            }
            _ => (fresh, None),
        };
        let Some(cursor) = self.relay.submit(now, Submission { connection, by, recipient: to, id, size }) else {
            return false;
        };
        self.letters[to as usize].push_back(Letter { cursor, from, kind, group, file: None });
        *self.truth.sizes.entry((kind, size)).or_default() += 1;
        self.truth.bytes += self.sizes.on_the_wire(size) as u64;
        if self.online[to as usize].is_some() {
            self.after(now, DELIVERY_MS, Action::Fetch(to, cursor));
        }
        true
    }

    fn fetch(&mut self, now: u64, user: User, up_to: u64) {
        let Some(connection) = self.online[user as usize] else { return };
        let mut to_confirm: BTreeMap<User, u32> = BTreeMap::new();
        for cursor in self.relay.fetch(now, connection, user, up_to) {
            let letters = &mut self.letters[user as usize];
            // What expired was never delivered.
            while letters.front().is_some_and(|letter| letter.cursor < cursor) {
                letters.pop_front();
            }
            let Some(letter) = letters.pop_front() else { continue };
            if letter.kind == Kind::Receipt {
                continue;
            }
            self.truth.received[user as usize].push(now);
            *to_confirm.entry(letter.from).or_default() += 1;
            if let Some(file) = letter.file {
                let pause = READING_MS.0 + self.files.below(READING_MS.1 - READING_MS.0);
                self.after(now, pause, Action::Read(user, file));
            }
            self.read(now, user, letter);
        }
        if self.policy.receipts == Receipts::Off {
            return;
        }
        for (from, count) in to_confirm {
            let mut pause = RECEIPT_MS.0 + self.devices.below(RECEIPT_MS.1 - RECEIPT_MS.0);
            if self.policy.receipts == Receipts::Jittered {
                pause += self.devices.below(JITTER_MS);
            }
            self.after(now, pause, Action::Confirm(user, from, count, now));
        }
    }

    fn read(&mut self, now: u64, user: User, letter: Letter) {
        let answers = self.life.chance(if letter.group.is_some() { ANSWER_GROUP } else { ANSWER });
        if !answers {
            return;
        }
        let pause = self.life.log_normal(ANSWER_MS.0, ANSWER_MS.1) as u64 + 1_000;
        match letter.group {
            Some(group) => self.after(now, pause, Action::WriteGroup(user, group)),
            None => {
                let contacts = &self.population.people[user as usize].contacts;
                let place = contacts.iter().position(|contact| contact.user == letter.from);
                if let Some(place) = place {
                    self.after(now, pause, Action::Write(user, place as u32));
                }
            }
        }
    }

    fn confirm(&mut self, now: u64, from: User, to: User, count: u32, came_at: u64) {
        if self.wait_for(now, from, Action::Confirm(from, to, count, came_at)) {
            return;
        }
        let size = self.sizes.receipts(count as usize);
        if self.submit(now, from, to, size, Kind::Receipt, None) {
            self.truth.receipts.0 += 1;
            self.truth.receipts.1 += now - came_at;
        }
    }
}

/// Texts that follow from the beginning of a conversation, itself included: chains of answers, and groups.
fn texts_per_conversation(population: &Population) -> f64 {
    let direct = 1.0 / (1.0 - ANSWER - ANOTHER);
    let members: usize = population.groups.iter().map(Vec::len).sum();
    let share = TO_GROUP * population.people.iter().filter(|person| !person.groups.is_empty()).count() as f64
        / population.people.len().max(1) as f64;
    // A random member's group is larger than a random group.
    let squares: usize = population.groups.iter().map(|group| group.len() * group.len()).sum();
    let others = if members == 0 { 0.0 } else { squares as f64 / members as f64 - 1.0 };
    let group = others / (1.0 - others * ANSWER_GROUP);
    (1.0 - share) * direct + share * group
}
