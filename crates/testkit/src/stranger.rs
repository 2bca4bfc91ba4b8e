//! Strangers: registered accounts that were not accepted, with a client of their own making and a budget. Each acts alone:
//! it has public data, its own keys, and the ids of envelopes that it saw go by.

use std::collections::BTreeMap;

use kuvert_protocol::message::HANDSHAKE_LEN;
use kuvert_protocol::prekey::VerifiedBundle;
use kuvert_protocol::prelude::*;
use kuvert_types::{AccountId, AccountKey, Address, DeviceId, DeviceListState, EnvelopeId};

use crate::content::{Body, Content, TextId};
use crate::relay::{Envelope, Request};
use crate::rng::TestRng;

/// The first byte of a stranger's account id: accounts of the world have numbers far below it.
const MARK: u8 = 0xF0;

/// Envelopes of its own that a stranger keeps for sending them again.
const KEPT: usize = 8;

/// Where the numbers of strangers' texts begin: far above those of others, below those of resets.
const TEXT_IDS: TextId = 1 << 62;

/// What it knows of one target.
struct Target {
    bundle: VerifiedBundle,
    /// The session that it began last.
    session: SessionRecord,
    /// The text that it repeats.
    text: TextId,
}

/// An account that attacks with what every account has.
pub(crate) struct Stranger {
    local: LocalDevice,
    targets: BTreeMap<Address, Target>,
    sent: Vec<Envelope>,
    requests: u64,
    bytes: u64,
    asked: u64,
    /// Stays in the first session, rather than beginning others.
    patient: bool,
    rng: TestRng,
}

impl Stranger {
    /// The stranger of this number with a budget for its whole life: requests, and bytes of ciphertext.
    pub(crate) fn new(number: u64, requests: u64, bytes: u64, mut rng: TestRng) -> Self {
        let mut id = [MARK; 16];
        id[8..].copy_from_slice(&number.to_be_bytes());
        let address = Address { account: AccountId::from_bytes(id), device: DeviceId::PRIMARY };
        let account = AccountSecret::generate(&mut rng);
        let secrets = DeviceSecrets::generate(&mut rng);
        let certificate = secrets.certify(&account, address);
        let local = LocalDevice::new(secrets, certificate).unwrap();
        Self {
            local,
            targets: BTreeMap::new(),
            sent: Vec::new(),
            requests,
            bytes,
            asked: 0,
            patient: number % 2 == 1,
            rng,
        }
    }

    pub(crate) fn address(&self) -> Address {
        self.local.address()
    }

    /// One request against a device, while its budget lasts. `seen`: the id of another account's envelope that is on its way.
    pub(crate) fn act(&mut self, to: Address, seen: Option<EnvelopeId>, now: u64) -> Option<Request> {
        self.requests = self.requests.checked_sub(1)?;
        let (us, fresh_id) = (self.address(), EnvelopeId::from_bytes(self.rng.id()));
        if !self.targets.contains_key(&to) || self.rng.chance(20) {
            self.asked += 1;
            return Some(Request::Bundle(to, self.asked));
        }
        let known = self.sent.iter().filter(|envelope| envelope.recipient == to).cloned().collect::<Vec<_>>();
        if seen.is_none() && !known.is_empty() && self.rng.chance(150) {
            // Again what it sent before, as it was or under a new id.
            let again = self.rng.pick(&known).clone();
            let id = if self.rng.chance(500) { again.id } else { fresh_id };
            return self.spend(Envelope { id, ..again });
        }
        let ciphertext = if seen.is_some() { self.text(to, now) } else { self.make(to, now) };
        // An id that it used, one that it saw, or one of its own.
        let used = known.first().map(|envelope| envelope.id).filter(|_| self.rng.chance(100));
        let id = seen.or(used).unwrap_or(fresh_id);
        let envelope = Envelope { id, source: us, recipient: to, ciphertext };
        if self.sent.len() < KEPT {
            self.sent.push(envelope.clone());
        }
        self.spend(envelope)
    }

    fn spend(&mut self, envelope: Envelope) -> Option<Request> {
        self.bytes = self.bytes.checked_sub(envelope.ciphertext.len() as u64)?;
        Some(Request::Submit(envelope))
    }

    /// Takes a bundle, and begins with it again and again. A newer one it takes for the next sessions, or leaves it.
    pub(crate) fn take(&mut self, of: Address, bundle: PrekeyBundle, key: &AccountKey) {
        if let Ok(bundle) = bundle.verify(of, key) {
            let text = TEXT_IDS | self.rng.below(TEXT_IDS);
            match self.targets.get_mut(&of) {
                Some(target) if self.rng.chance(500) => target.bundle = bundle,
                Some(_) => {}
                None => {
                    self.targets.insert(of, Target { bundle, session: SessionRecord::new(), text });
                }
            }
        }
    }

    fn make(&mut self, to: Address, now: u64) -> Vec<u8> {
        match self.rng.below(100) {
            0..35 => self.first(to, now),
            35..60 => self.text(to, now),
            60..67 => self.say(to, Body::Reset(now), now),
            67..72 => self.say(to, Body::Receipts((1..20).collect()), now),
            72..80 => {
                let text = self.targets.get(&to).map_or(1, |target| target.text);
                self.say(to, Body::Text(text, b"once more".to_vec()), now)
            }
            // Shaped like a first message, with a bit of it turned.
            80..87 => {
                let mut message = self.text(to, now);
                let at = 2 + self.rng.below(message.len() as u64 - 2) as usize;
                message[at] ^= 1;
                message
            }
            // Shaped like a first message, of random bytes.
            87..90 => {
                let len = HANDSHAKE_LEN + 900;
                [vec![1, 1], self.rng.bytes(len)].concat()
            }
            // Shaped like a later message.
            90..95 => [vec![1, 2], self.rng.bytes(1_000)].concat(),
            _ => {
                let len = self.rng.below(3_000) as usize;
                self.rng.bytes(len)
            }
        }
    }

    /// The first message of a fresh session from the one bundle.
    fn first(&mut self, to: Address, now: u64) -> Vec<u8> {
        if !self.patient
            && let Some(target) = self.targets.get_mut(&to)
        {
            target.session = SessionRecord::new();
        }
        self.text(to, now)
    }

    fn text(&mut self, to: Address, now: u64) -> Vec<u8> {
        let (id, len) = (TEXT_IDS | self.rng.below(TEXT_IDS), *self.rng.pick(&[1, 30, 300]));
        let text = self.rng.bytes(len);
        self.say(to, Body::Text(id, text), now)
    }

    /// In the session that it began last, or in a fresh one.
    fn say(&mut self, to: Address, body: Body, now: u64) -> Vec<u8> {
        let Some(target) = self.targets.get_mut(&to) else { return Vec::new() };
        if !target.session.has_active() {
            target.session.initiate(&self.local, &target.bundle, now, &mut self.rng).unwrap();
        }
        // It says of lists what it likes.
        let list = DeviceListState { number: 7, hash: [7; 32] };
        let content = Content { sender_list: list, recipient_list: list, body };
        target.session.encrypt(&content.encode(), now, &mut self.rng).unwrap()
    }
}
