//! What must never happen. The judge is told of everything at the moment it becomes durable, keeps its own books, and
//! trusts no peer's. It knows nothing of keys: it compares bytes.
//!
//! A device that is restored from a backup forgets what it did since: its history in these books is cut as well.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use kuvert_protocol::replay::{STRANGER_ENTRIES, STRANGERS_PER_PREKEY};
use kuvert_protocol::session::MAX_INACTIVE_SESSIONS;
use kuvert_types::{AccountId, Address};
use sha2::{Digest, Sha256};

use crate::content::TextId;
use crate::peer::{EARLY_ROTATION_MS, Kept, MAX_TEXT_BYTES_OF_REQUEST, MAX_TEXTS_OF_REQUEST};
use crate::relay::{Attack, Request};

/// Milliseconds between two resets of one device for another, at least.
pub const RESET_INTERVAL_MS: u64 = 60 * 60 * 1000;

/// Changes of direction after which a late message may have lost its header key: the protocol keeps five chains that the
/// other side has left, and each takes two changes. Two fewer, because a change may be under way.
const OVERTAKEN_TURNS: u64 = 8;

/// Other sessions used since, after which one may be gone: so many are kept besides the active one. Where two crossed, the
/// order in a record is another than in these books by one place.
const EVICTING_SESSIONS: usize = MAX_INACTIVE_SESSIONS;

/// Bytes that a device keeps of one account that its owner has not accepted, at most: one session record of this world's size,
/// its texts, and the ids of their envelopes.
pub const MAX_BYTES_PER_REQUEST: usize = crate::world::MAX_RECORD_BYTES + MAX_TEXT_BYTES_OF_REQUEST + 64 * 36;

/// Bytes of an entry in a replay record: payer, account, tag.
const REPLAY_ENTRY_BYTES: usize = 49;

/// Where the encrypted header of a message begins, after the handshake if it has one (PROTOCOL.md, Messages).
const HEADER_AT: [usize; 2] = [2 + kuvert_protocol::message::HANDSHAKE_LEN, 2];
const HEADER_LEN: usize = 232;

/// The handshake's KEM prekey: kind u8, id u32.
const KEM_PREKEY_AT: usize = 2 + 245 + 32 + 4;

/// A rule that was broken.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Rule {
    /// A session message was opened that no device encrypted for this one.
    ForgeryOpened,
    /// A message opened as another plaintext, under another sender or at another device than it was encrypted for.
    AlteredOrMisdelivered,
    /// One session message was opened twice by a device that remembers the first time.
    OpenedTwice,
    /// A text was shown twice.
    ShownTwice,
    /// A genuine message, opened for the first time, was refused, and nothing that happened explains it.
    RefusedWithoutReason,
    /// Two contents under one encrypted header, hence under one key and nonce.
    KeyReuse,
    /// The link is well, nothing took the text away, and it did not arrive.
    NotDelivered,
    /// A text is gone, and its sender believes that it arrived.
    LossUnnoticed,
    /// After a round trip over a healthy link two devices still use different sessions.
    NotConverged,
    /// A session record outgrew its bound.
    Unbounded,
    /// A device began fresh sessions faster than it may.
    ResetSpam,
    /// What a relay made up was taken as genuine.
    AttackSucceeded,
    /// What an account that is new to the recipient wrote did not arrive within an hour.
    NewcomerShutOut,
    /// Something left a device towards, or because of, an account that its owner has not accepted.
    NotSilent,
    /// A device keeps more because of accounts that its owner has not accepted than it may.
    Hoarding,
    /// Nothing became of an attack that reached a device: neither refused, nor reported, nor without effect.
    AttackUnaccounted,
}

/// A broken rule, and how.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Violation {
    /// Which rule was broken.
    pub rule: Rule,
    /// What happened.
    pub detail: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.rule, self.detail)
    }
}

/// What came to pass in a world, or in many.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Tally {
    /// How many worlds were run.
    pub worlds: u64,
    /// Things counted by name: messages encrypted, opened, …
    pub counts: BTreeMap<&'static str, u64>,
    /// Attacks by name and by what came of them.
    pub attacks: BTreeMap<(Attack, String), u64>,
    /// Genuine messages that were refused, by the reason that explains it.
    pub explained: BTreeMap<&'static str, u64>,
    /// Bytes of the largest session record.
    pub largest_record: usize,
    /// Bytes that one device kept because of accounts that its owner had not accepted, at most.
    pub kept_for_strangers: usize,
}

impl Tally {
    /// Adds what happened elsewhere.
    pub fn add(&mut self, other: &Self) {
        self.worlds += other.worlds;
        for (name, count) in &other.counts {
            *self.counts.entry(name).or_default() += count;
        }
        for (name, count) in &other.attacks {
            *self.attacks.entry(name.clone()).or_default() += count;
        }
        for (name, count) in &other.explained {
            *self.explained.entry(name).or_default() += count;
        }
        self.largest_record = self.largest_record.max(other.largest_record);
        self.kept_for_strangers = self.kept_for_strangers.max(other.kept_for_strangers);
    }

    /// How often this attack came to this end.
    pub fn attack(&self, attack: Attack) -> u64 {
        self.attacks.iter().filter(|((name, _), _)| *name == attack).map(|(_, count)| count).sum()
    }

    /// How often the thing counted by this name happened.
    pub fn count(&self, name: &str) -> u64 {
        self.counts.get(name).copied().unwrap_or(0)
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} worlds, largest session record {} bytes", self.worlds, self.largest_record)?;
        if self.kept_for_strangers > 0 {
            writeln!(f, "  {:>9} bytes kept by one device because of strangers, at most", self.kept_for_strangers)?;
        }
        for (name, count) in &self.counts {
            writeln!(f, "  {count:>9} {name}")?;
        }
        for ((attack, outcome), count) in &self.attacks {
            writeln!(f, "  {count:>9} attack {attack:?}: {outcome}")?;
        }
        for (reason, count) in &self.explained {
            writeln!(f, "  {count:>9} genuine messages refused: {reason}")?;
        }
        Ok(())
    }
}

/// One attack of the relay.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct AttackId(usize);

/// How much of a device's history was durable at some moment.
#[derive(Clone, Copy, Default, Debug)]
pub struct Mark {
    opened: usize,
    shown: usize,
}

/// What identifies a session message: a digest of its bytes.
type MessageHash = [u8; 32];

/// What both sides know a session by: the hash of its transcript.
pub type SessionId = [u8; 32];

/// The active session of a record in its stored form: `version u8 ‖ active u8 ‖ transcript hash 32 ‖ …`.
pub fn active_session(record: &[u8]) -> SessionId {
    *record[2..].first_chunk().unwrap()
}

struct TextCopy {
    from: Address,
    text: Vec<u8>,
    /// The sender's restorations when it was written: a text written before one may be gone with it.
    restorations: u64,
    shown: bool,
    /// Refused for a reason: it depends on a reset.
    refused: bool,
    confirmed: bool,
    rolled_back: bool,
    /// Attacks that took a message with it away.
    taken_by: Vec<AttackId>,
}

struct Encrypted {
    from: Address,
    to: Address,
    text: Option<TextId>,
    plaintext: Vec<u8>,
    turn: u64,
    session: SessionId,
}

#[derive(Default)]
struct History {
    opened: Vec<MessageHash>,
    shown: Vec<TextId>,
    restorations: u64,
}

#[derive(Clone, Copy, Default)]
struct Pair {
    last_opener: Option<Address>,
    turns: u64,
}

/// See the module's head.
#[derive(Default)]
pub struct Judge {
    copies: BTreeMap<(TextId, Address), TextCopy>,
    encrypted: BTreeMap<MessageHash, Encrypted>,
    headers: BTreeMap<Vec<u8>, MessageHash>,
    histories: BTreeMap<Address, History>,
    pairs: BTreeMap<(Address, Address), Pair>,
    /// The sessions of one device with another, the one that it began or heard on last comes first.
    used: BTreeMap<(Address, Address), Vec<SessionId>>,
    resets: BTreeMap<(Address, Address), (u64, u64)>,
    /// Accounts that attack, and that are never accepted.
    strangers: BTreeSet<AccountId>,
    /// Honest accounts that a device does not know yet.
    newcomers: BTreeSet<(Address, AccountId)>,
    /// Link and relay are well for the whole of the world, so that nothing but a stranger could be the reason of a reset.
    calm: bool,
    tainted: BTreeMap<(Address, [u8; 5]), AttackId>,
    attacks: Vec<(Attack, Option<String>)>,
    tally: Tally,
    violation: Option<Violation>,
    /// Whether everything is printed as it happens.
    pub verbose: bool,
}

fn digest(bytes: &[u8]) -> MessageHash {
    Sha256::digest(bytes).into()
}

fn pair(a: Address, b: Address) -> (Address, Address) {
    (a.min(b), a.max(b))
}

/// `account.device`, short, for people.
pub fn name(address: Address) -> String {
    format!("{}.{}", address.account.as_bytes()[0], address.device)
}

/// A message, short, for people: a first message with the beginning of its digest and that of its handshake, or a later
/// message.
fn label(message: &[u8]) -> String {
    let short = |bytes: &[u8]| {
        let hash = digest(bytes);
        format!("{:02x}{:02x}", hash[0], hash[1])
    };
    match message.get(1) {
        Some(1) if message.len() > HEADER_AT[0] => {
            format!("{} (beginning session {})", short(message), short(&message[2..HEADER_AT[0]]))
        }
        _ => short(message),
    }
}

fn kem_prekey(message: &[u8]) -> Option<[u8; 5]> {
    (message.get(1) == Some(&1)).then(|| message.get(KEM_PREKEY_AT..)?.first_chunk().copied()).flatten()
}

/// The form in which a handshake names a one-time KEM prekey.
pub fn one_time_kem(id: u32) -> [u8; 5] {
    let mut bytes = [1; 5];
    bytes[1..].copy_from_slice(&id.to_be_bytes());
    bytes
}

impl Judge {
    /// Notes a broken rule. The first one counts.
    pub fn violate(&mut self, rule: Rule, detail: impl Into<String>) {
        let detail = detail.into();
        self.say(|| format!("VIOLATION {rule:?}: {detail}"));
        self.violation.get_or_insert(Violation { rule, detail });
    }

    /// What was broken first, if anything.
    pub fn violation(&self) -> Option<&Violation> {
        self.violation.as_ref()
    }

    /// Prints a line of the trace.
    pub fn say(&self, line: impl FnOnce() -> String) {
        if self.verbose {
            println!("{}", line());
        }
    }

    /// Counts something by name.
    pub fn count(&mut self, name: &'static str) {
        *self.tally.counts.entry(name).or_default() += 1;
    }

    /// A device told its user of something.
    pub fn reported(&mut self, device: Address, what: &'static str) {
        self.say(|| format!("{} tells its user: {what}", name(device)));
        self.count(what);
    }

    // ---- what peers do

    /// A person wrote a text; this is the copy for one device.
    pub fn wrote(&mut self, id: TextId, from: Address, to: Address, text: &[u8]) {
        self.count("texts written, a copy for each device");
        let restorations = self.histories.entry(from).or_default().restorations;
        let copy = TextCopy {
            from,
            text: text.to_vec(),
            restorations,
            shown: false,
            refused: false,
            confirmed: false,
            rolled_back: false,
            taken_by: Vec::new(),
        };
        self.copies.insert((id, to), copy);
    }

    /// A device encrypted a content.
    pub fn encrypted(
        &mut self,
        from: Address,
        to: Address,
        text: Option<TextId>,
        plaintext: &[u8],
        message: &[u8],
        session: SessionId,
    ) {
        self.count("messages encrypted");
        let hash = digest(message);
        let at = HEADER_AT[usize::from(message[1] == 2)];
        self.say(|| format!("{} encrypts {text:?} for {} as {}", name(from), name(to), label(message)));
        if let Some(other) = self.headers.insert(message[at..at + HEADER_LEN].to_vec(), hash)
            && other != hash
        {
            self.violate(Rule::KeyReuse, format!("{} encrypted two contents under one header", name(from)));
        }
        let turn = self.pairs.entry(pair(from, to)).or_default().turns;
        self.encrypted.insert(hash, Encrypted { from, to, text, plaintext: plaintext.to_vec(), turn, session });
    }

    /// A device began a session.
    pub fn initiated(&mut self, from: Address, to: Address, session: SessionId) {
        self.count("sessions begun");
        self.say(|| format!("{} begins a session with {}", name(from), name(to)));
        self.used(from, to, session);
    }

    fn used(&mut self, device: Address, remote: Address, session: SessionId) {
        let used = self.used.entry((device, remote)).or_default();
        used.retain(|other| *other != session);
        used.insert(0, session);
    }

    /// A device queued a fresh session because it could not open something.
    pub fn reset(&mut self, from: Address, to: Address, now: u64) {
        self.count("resets");
        self.say(|| format!("{} resets its session with {}", name(from), name(to)));
        if self.calm {
            self.violate(Rule::NotSilent, format!("{} resets its session with {}", name(from), name(to)));
        }
        let restorations = self.histories.entry(from).or_default().restorations;
        if let Some((last, then)) = self.resets.insert((from, to), (now, restorations))
            && then == restorations
            && now.saturating_sub(last) < RESET_INTERVAL_MS
        {
            self.violate(Rule::ResetSpam, format!("{} reset {} again after {} ms", name(from), name(to), now - last));
        }
    }

    /// A device opened a message and stored what it did.
    pub fn opened(
        &mut self,
        device: Address,
        source: Address,
        message: &[u8],
        plaintext: &[u8],
        attack: Option<AttackId>,
    ) {
        if self.strangers.contains(&source.account) {
            return self.count("strangers: envelopes opened");
        }
        self.count("messages opened");
        self.outcome(attack, || "no effect: was genuine, and opened once".to_owned());
        self.say(|| format!("{} opens {} from {}", name(device), label(message), name(source)));
        let hash = digest(message);
        let Some(encrypted) = self.encrypted.get(&hash) else {
            return self.violate(Rule::ForgeryOpened, format!("{} opened what nobody encrypted", name(device)));
        };
        if encrypted.to != device || encrypted.from != source || encrypted.plaintext != plaintext {
            let detail = format!(
                "{} opened as from {} what {} encrypted for {}",
                name(device),
                name(source),
                name(encrypted.from),
                name(encrypted.to)
            );
            return self.violate(Rule::AlteredOrMisdelivered, detail);
        }
        let history = self.histories.entry(device).or_default();
        if history.opened.contains(&hash) {
            return self.violate(Rule::OpenedTwice, format!("{} opened a message twice", name(device)));
        }
        history.opened.push(hash);
        let session = encrypted.session;
        self.used(device, source, session);
        let pair = self.pairs.entry(pair(device, source)).or_default();
        if pair.last_opener.replace(device) != Some(device) {
            pair.turns += 1;
        }
    }

    /// A device stored a text for its user.
    pub fn shown(&mut self, device: Address, from: Address, id: TextId, text: &[u8]) {
        if self.strangers.contains(&from.account) {
            return self.count("strangers: texts kept");
        }
        self.count("texts shown");
        self.say(|| format!("{} shows text {id} from {}", name(device), name(from)));
        let history = self.histories.entry(device).or_default();
        let again = history.shown.contains(&id);
        history.shown.push(id);
        match self.copies.get_mut(&(id, device)) {
            Some(copy) if copy.from == from && copy.text == text => copy.shown = true,
            _ => self.violate(Rule::AlteredOrMisdelivered, format!("{} shows a text nobody wrote so", name(device))),
        }
        if again {
            self.violate(Rule::ShownTwice, format!("{} shows text {id} twice", name(device)));
        }
    }

    /// A receipt came.
    pub fn confirmed(&mut self, id: TextId, by: Address) {
        if let Some(copy) = self.copies.get_mut(&(id, by)) {
            copy.confirmed = true;
        }
    }

    /// A device refused a message, for a reason with a name.
    pub fn refused(&mut self, device: Address, source: Address, message: &[u8], why: &str, attack: Option<AttackId>) {
        if self.strangers.contains(&source.account) {
            return self.count("strangers: envelopes dropped by the device");
        }
        if self.is_stranger(device, source.account) {
            // That it arrives in time is another rule.
            return self.count("newcomers: envelopes dropped by the device");
        }
        self.count("messages refused");
        self.say(|| format!("{} refuses {} from {}: {why}", name(device), label(message), name(source)));
        self.outcome(attack, || format!("refused: {why}"));
        let hash = digest(message);
        let encrypted =
            self.encrypted.get(&hash).filter(|encrypted| encrypted.to == device && encrypted.from == source);
        let Some((turn, session, text)) =
            encrypted.map(|encrypted| (encrypted.turn, encrypted.session, encrypted.text))
        else {
            return; // forged, altered or misdelivered: to refuse it is right
        };
        if self.histories.get(&device).is_some_and(|history| history.opened.contains(&hash)) {
            return; // a repetition
        }
        let tainted = kem_prekey(message).and_then(|prekey| self.tainted.get(&(device, prekey)).copied());
        self.outcome(tainted, || format!("refused: {why}, by the recipient"));
        let now = self.pairs.get(&pair(device, source));
        let turns = now.map_or(0, |pair| pair.turns);
        let used = self.used.get(&(device, source));
        let used_since = used.and_then(|used| used.iter().position(|other| *other == session)).unwrap_or(0);
        let restored = [device, source].iter().any(|side| self.histories.get(side).is_some_and(|h| h.restorations > 0));
        let reason = if tainted.is_some() {
            "its prekeys were swapped or served twice"
        } else if restored {
            "a side was restored from a backup"
        } else if turns - turn >= OVERTAKEN_TURNS {
            "overtaken by too many chains"
        } else if used_since >= EVICTING_SESSIONS {
            "its session made room for newer ones"
        } else {
            let detail = format!(
                "{} refuses a genuine message from {}: {why} (turns {turn} → {turns}, {used_since} sessions used since)",
                name(device),
                name(source)
            );
            return self.violate(Rule::RefusedWithoutReason, detail);
        };
        *self.tally.explained.entry(reason).or_default() += 1;
        if let Some(copy) = text.and_then(|text| self.copies.get_mut(&(text, device))) {
            copy.refused = true;
        }
    }

    // ---- strangers

    /// An account that attacks.
    pub fn stranger(&mut self, account: AccountId) {
        self.strangers.insert(account);
    }

    /// An honest account that a device does not know yet.
    pub fn newcomer(&mut self, device: Address, account: AccountId) {
        self.newcomers.insert((device, account));
    }

    /// The owner of a device accepted an account.
    pub fn accepted(&mut self, device: Address, account: AccountId) {
        self.count("newcomers: accepted");
        self.newcomers.remove(&(device, account));
    }

    /// Nothing but strangers is wrong with this world.
    pub fn expect_calm(&mut self) {
        self.calm = true;
    }

    fn is_stranger(&self, device: Address, account: AccountId) -> bool {
        self.strangers.contains(&account) || self.newcomers.contains(&(device, account))
    }

    /// A request leaves a device.
    pub fn leaves(&mut self, device: Address, request: &Request) {
        let about = match request {
            Request::Submit(envelope) => envelope.recipient.account,
            Request::Bundle(of, _) => of.account,
            Request::List(account) => *account,
            Request::Fetch | Request::Acknowledge(_) => return,
        };
        if self.is_stranger(device, about) {
            self.violate(Rule::NotSilent, format!("{} asks or writes about an account not accepted", name(device)));
        }
    }

    /// The relay refused an envelope that did not fit into its sender's share.
    pub fn refused_by_shares(&mut self, sender: AccountId) {
        let whose = if self.strangers.contains(&sender) {
            "strangers: envelopes refused by the relay's shares"
        } else {
            "others' envelopes refused by the relay's shares"
        };
        self.count(whose);
    }

    /// What a device keeps because of accounts that its owner has not accepted, so many milliseconds after the beginning.
    pub fn kept(&mut self, device: Address, kept: &Kept, elapsed: u64) {
        self.tally.kept_for_strangers = self.tally.kept_for_strangers.max(kept.bytes);
        let prekeys = (2 + elapsed / EARLY_ROTATION_MS) as usize;
        let bytes =
            kept.requests * MAX_BYTES_PER_REQUEST + kept.last_resort * STRANGERS_PER_PREKEY * REPLAY_ENTRY_BYTES;
        let broken = [
            ("texts of one account", kept.texts_of_one, MAX_TEXTS_OF_REQUEST),
            ("bytes of texts of one account", kept.text_bytes_of_one, MAX_TEXT_BYTES_OF_REQUEST),
            ("envelope ids", kept.ids, kept.texts),
            ("entries of one account in a replay record", kept.entries_of_one, STRANGER_ENTRIES),
            ("last-resort prekeys", kept.last_resort, prekeys),
            ("bytes", kept.bytes, bytes),
        ];
        for (what, has, bound) in broken {
            if has > bound {
                self.violate(
                    Rule::Hoarding,
                    format!("{} keeps {has} {what} for strangers, over {bound}", name(device)),
                );
            }
        }
    }

    /// A text's time is up.
    pub fn time_is_up(&mut self, id: TextId, to: AccountId) {
        let late = self.copies.iter().find(|((text, device), copy)| *text == id && device.account == to && !copy.shown);
        let Some(((_, device), copy)) = late else { return };
        let is_new = self.newcomers.contains(&(*device, copy.from.account));
        let rule = if is_new { Rule::NewcomerShutOut } else { Rule::NotDelivered };
        let detail = format!("text {id} from {} to {} within its time", name(copy.from), name(*device));
        self.violate(rule, detail);
    }

    /// How much of a device's history a backup made now holds.
    pub fn mark(&self, device: Address) -> Mark {
        let history = self.histories.get(&device);
        history.map_or(Mark::default(), |history| Mark { opened: history.opened.len(), shown: history.shown.len() })
    }

    /// A device went back to a backup.
    pub fn restored(&mut self, device: Address, mark: Mark) {
        self.count("restorations");
        self.say(|| format!("{} is restored from a backup", name(device)));
        let history = self.histories.entry(device).or_default();
        history.restorations += 1;
        history.opened.truncate(mark.opened);
        for id in history.shown.drain(mark.shown..) {
            if let Some(copy) = self.copies.get_mut(&(id, device)) {
                (copy.shown, copy.rolled_back) = (false, true);
            }
        }
        // It has forgotten that it could not open these, and that it was going to ask for them.
        for ((_, to), copy) in &mut self.copies {
            copy.rolled_back |= *to == device && copy.refused && !copy.shown;
        }
    }

    /// A session record's size after a change.
    pub fn record_size(&mut self, device: Address, inactive: usize, bytes: usize) {
        self.tally.largest_record = self.tally.largest_record.max(bytes);
        if inactive > MAX_INACTIVE_SESSIONS || bytes > crate::world::MAX_RECORD_BYTES {
            self.violate(
                Rule::Unbounded,
                format!("{} keeps {inactive} inactive sessions, {bytes} bytes", name(device)),
            );
        }
    }

    // ---- what the relay does

    /// The relay makes an attack.
    pub fn attack(&mut self, attack: Attack) -> AttackId {
        self.say(|| format!("the relay attacks: {attack:?}"));
        self.attacks.push((attack, None));
        AttackId(self.attacks.len() - 1)
    }

    /// What came of an attack. The first outcome counts; those after it are of repetitions.
    pub fn outcome(&mut self, attack: Option<AttackId>, outcome: impl FnOnce() -> String) {
        if let Some(AttackId(at)) = attack {
            self.attacks[at].1.get_or_insert_with(outcome);
        }
    }

    /// The relay took a message away for good.
    pub fn taken(&mut self, message: &[u8], attack: AttackId) {
        let Some(encrypted) = self.encrypted.get(&digest(message)) else { return };
        match encrypted.text.and_then(|text| self.copies.get_mut(&(text, encrypted.to))) {
            Some(copy) => copy.taken_by.push(attack),
            None if self.attacks[attack.0].0 == Attack::Drop => {
                self.outcome(Some(attack), || "no effect: not a text".to_owned());
            }
            None => {} // what was delivered in its place has an outcome of its own
        }
    }

    /// The relay served a one-time KEM prekey of a device twice, or beside a false curve key: a first message with it is refused.
    pub fn taint(&mut self, device: Address, kem_prekey: [u8; 5], attack: AttackId) {
        self.tainted.entry((device, kem_prekey)).or_insert(attack);
    }

    /// A device took prekeys as genuine.
    pub fn bundle_taken(&mut self, attack: Option<AttackId>) {
        let Some(kind) = attack.map(|AttackId(at)| self.attacks[at].0) else { return };
        if !matches!(kind, Attack::ServeTwice | Attack::SwapOneTimePrekey) {
            self.violate(Rule::AttackSucceeded, format!("{kind:?}: the prekeys were taken"));
        }
    }

    /// A device took a device list as genuine.
    pub fn list_taken(&mut self, attack: Option<AttackId>, unchanged: bool) {
        let Some(kind) = attack.map(|AttackId(at)| self.attacks[at].0) else { return };
        if kind == Attack::OlderList && unchanged {
            self.outcome(attack, || "no effect: nothing newer was known".to_owned());
        } else {
            self.violate(Rule::AttackSucceeded, format!("{kind:?}: the list was taken"));
        }
    }

    // ---- the end

    /// Texts that have neither arrived nor a reason not to.
    pub fn missing(&self) -> Vec<(TextId, Address)> {
        let missing = self.copies.iter().filter(|(_, copy)| {
            let forgotten = self.histories.get(&copy.from).is_some_and(|from| from.restorations > copy.restorations);
            !copy.shown && !copy.rolled_back && !forgotten && copy.taken_by.is_empty()
        });
        missing.map(|(key, _)| *key).collect()
    }

    /// Closes the books. `unconfirmed` says whether a sender still shows a text as undelivered.
    pub fn finish(mut self, unconfirmed: impl Fn(Address, Address, TextId) -> bool) -> Result<Tally, Violation> {
        if let Some((id, to)) = self.missing().first() {
            let from = self.copies[&(*id, *to)].from;
            self.violate(Rule::NotDelivered, format!("text {id} from {} to {}", name(from), name(*to)));
        }
        let mut silent = BTreeSet::new();
        let mut outcomes = Vec::new();
        for ((id, to), copy) in &self.copies {
            if copy.taken_by.is_empty() {
                continue;
            }
            let outcome = if copy.shown {
                "no effect: sent again"
            } else if unconfirmed(copy.from, *to, *id) {
                "reported: not delivered"
            } else {
                let forgotten = self.histories.get(&copy.from).is_some_and(|h| h.restorations > copy.restorations);
                if !forgotten && !copy.rolled_back {
                    silent.insert((*id, copy.confirmed));
                }
                "no effect: lost with a backup"
            };
            outcomes.extend(copy.taken_by.iter().map(|attack| (*attack, outcome)));
        }
        for (attack, outcome) in outcomes {
            self.outcome(Some(attack), || outcome.to_owned());
        }
        for (id, confirmed) in silent {
            let belief = if confirmed { "has a receipt for it" } else { "does not say so" };
            self.violate(Rule::LossUnnoticed, format!("text {id} is gone, and its sender {belief}"));
        }
        for at in 0..self.attacks.len() {
            let (attack, outcome) = &self.attacks[at];
            let attack = *attack;
            let outcome = outcome.clone().unwrap_or_else(|| match attack.travels_in_an_envelope() {
                true => String::new(),
                false => "no effect: never used".to_owned(),
            });
            if outcome.is_empty() {
                self.violate(Rule::AttackUnaccounted, format!("{attack:?}"));
            }
            *self.tally.attacks.entry((attack, outcome)).or_default() += 1;
        }
        self.tally.worlds = 1;
        self.violation.map_or(Ok(self.tally), Err)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kuvert_types::{AccountId, DeviceId};

    const fn device(account: u8) -> Address {
        Address { account: AccountId::from_bytes([account; 16]), device: DeviceId::PRIMARY }
    }

    /// A ratchet message with this in its header and this in its body.
    fn message(header: u8, body: u8) -> Vec<u8> {
        let mut message = vec![body; 2 + HEADER_LEN + 528];
        message[..2].copy_from_slice(&[1, 2]);
        message[2..2 + HEADER_LEN].fill(header);
        message
    }

    /// Alice wrote text 7 to Bob and encrypted it.
    fn written() -> (Judge, Address, Address) {
        let (mut judge, alice, bob) = (Judge::default(), device(1), device(2));
        judge.wrote(7, alice, bob, b"hello");
        judge.encrypted(alice, bob, Some(7), b"content", &message(1, 1), [0; 32]);
        (judge, alice, bob)
    }

    fn broken(judge: &Judge) -> Option<Rule> {
        judge.violation().map(|violation| violation.rule)
    }

    #[test]
    fn what_goes_well_breaks_no_rule() {
        let (mut judge, alice, bob) = written();
        judge.opened(bob, alice, &message(1, 1), b"content", None);
        judge.shown(bob, alice, 7, b"hello");
        judge.refused(bob, alice, &message(1, 1), "Duplicate", None);
        assert_eq!(judge.finish(|_, _, _| false).unwrap().count("texts shown"), 1);
    }

    #[test]
    fn each_rule_about_messages_can_be_broken() {
        let rule = |act: fn(&mut Judge, Address, Address)| {
            let (mut judge, alice, bob) = written();
            act(&mut judge, alice, bob);
            broken(&judge)
        };
        use Rule::*;
        assert_eq!(rule(|j, a, b| j.opened(b, a, &message(1, 2), b"content", None)), Some(ForgeryOpened));
        assert_eq!(rule(|j, a, b| j.opened(b, a, &message(1, 1), b"other", None)), Some(AlteredOrMisdelivered));
        assert_eq!(
            rule(|j, _, b| j.opened(b, device(3), &message(1, 1), b"content", None)),
            Some(AlteredOrMisdelivered)
        );
        assert_eq!(
            rule(|j, a, _| j.opened(device(3), a, &message(1, 1), b"content", None)),
            Some(AlteredOrMisdelivered)
        );
        assert_eq!(rule(|j, a, b| j.shown(b, a, 7, b"hallo")), Some(AlteredOrMisdelivered));
        assert_eq!(
            rule(|j, a, b| (0..2).for_each(|_| j.opened(b, a, &message(1, 1), b"content", None))),
            Some(OpenedTwice)
        );
        assert_eq!(rule(|j, a, b| (0..2).for_each(|_| j.shown(b, a, 7, b"hello"))), Some(ShownTwice));
        assert_eq!(rule(|j, a, b| j.refused(b, a, &message(1, 1), "NoSession", None)), Some(RefusedWithoutReason));
        assert_eq!(rule(|j, a, b| j.encrypted(a, b, None, b"other", &message(1, 2), [0; 32])), Some(KeyReuse));
        assert_eq!(rule(|j, _, b| j.record_size(b, 6, 100)), Some(Unbounded));
        assert_eq!(rule(|j, _, b| j.record_size(b, 5, crate::world::MAX_RECORD_BYTES + 1)), Some(Unbounded));
        assert_eq!(rule(|j, a, b| [1, RESET_INTERVAL_MS].iter().for_each(|now| j.reset(a, b, *now))), Some(ResetSpam));
    }

    #[test]
    fn each_rule_about_strangers_can_be_broken() {
        let rule = |act: fn(&mut Judge, Address, Address)| {
            let (mut judge, alice, bob) = written();
            act(&mut judge, alice, bob);
            broken(&judge)
        };
        use Rule::*;
        assert_eq!(rule(|j, _, b| j.time_is_up(7, b.account)), Some(NotDelivered));
        let shut_out = |j: &mut Judge, a: Address, b: Address| {
            j.newcomer(b, a.account);
            j.time_is_up(7, b.account);
        };
        assert_eq!(rule(shut_out), Some(NewcomerShutOut));
        let asks = |j: &mut Judge, a: Address, b: Address| {
            j.newcomer(b, a.account);
            j.leaves(a, &Request::Bundle(b, 1));
            assert_eq!(broken(j), None, "a newcomer may ask");
            j.leaves(b, &Request::Fetch);
            j.leaves(b, &Request::List(a.account));
        };
        assert_eq!(rule(asks), Some(NotSilent));
        let resets = |j: &mut Judge, a: Address, b: Address| {
            j.expect_calm();
            j.reset(a, b, 1);
        };
        assert_eq!(rule(resets), Some(NotSilent));
        let kept = Kept {
            requests: 1,
            texts: 3,
            texts_of_one: 3,
            ids: 3,
            entries_of_one: 4,
            last_resort: 2,
            ..Kept::default()
        };
        assert_eq!(rule(|j, _, b| j.kept(b, &Kept { ids: 4, texts: 3, ..Kept::default() }, 0)), Some(Hoarding));
        for (more, expected) in [
            (kept, None),
            (Kept { texts_of_one: 65, ..kept }, Some(Hoarding)),
            (Kept { text_bytes_of_one: 262_145, ..kept }, Some(Hoarding)),
            (Kept { entries_of_one: 5, ..kept }, Some(Hoarding)),
            (Kept { last_resort: 3, ..kept }, Some(Hoarding)),
            (Kept { bytes: MAX_BYTES_PER_REQUEST + 3 * STRANGERS_PER_PREKEY * 49, ..kept }, Some(Hoarding)),
        ] {
            let (mut judge, _, bob) = written();
            judge.kept(bob, &more, EARLY_ROTATION_MS - 1);
            assert_eq!(broken(&judge), expected, "{more:?}");
        }
    }

    #[test]
    fn losses_and_attacks_need_an_end() {
        let rule = |judge: Judge, unconfirmed: bool| judge.finish(|_, _, _| unconfirmed).err().map(|it| it.rule);
        assert_eq!(rule(written().0, true), Some(Rule::NotDelivered));
        let taken = || {
            let mut judge = written().0;
            let attack = judge.attack(Attack::Drop);
            judge.taken(&message(1, 1), attack);
            judge
        };
        assert_eq!(rule(taken(), true), None, "the sender shows it as undelivered");
        assert_eq!(rule(taken(), false), Some(Rule::LossUnnoticed));
        let mut judge = Judge::default();
        judge.attack(Attack::Garbage);
        assert_eq!(rule(judge, true), Some(Rule::AttackUnaccounted));
    }

    #[test]
    fn a_restored_device_may_open_again_what_it_forgot() {
        let (mut judge, alice, bob) = written();
        let mark = judge.mark(bob);
        judge.opened(bob, alice, &message(1, 1), b"content", None);
        judge.shown(bob, alice, 7, b"hello");
        judge.restored(bob, mark);
        judge.opened(bob, alice, &message(1, 1), b"content", None);
        judge.shown(bob, alice, 7, b"hello");
        assert_eq!(broken(&judge), None);
    }
}
