//! The state of the Double Ratchet with header encryption.
//!
//! ```text
//!                 first chain of the other side        next chain of the other side
//! initiator:  sending ───────────────► sending + receiving ───────────┐
//! recipient:  nothing ───────────────► sending + receiving ◄──────────┘
//! ```
//! Names in the specification: `root` RK, `ours` DHs, `theirs` DHr, `sending` CKs + HKs + Ns, `receiving` CKr + HKr + Nr,
//! `next_sending_header` NHKs, `next_receiving_header` NHKr, `previous_chain_length` PN; MKSKIPPED lies beside the chain
//! that it belongs to.
//!
//! A received message is *staged* first: [`DoubleRatchet::stage`] changes nothing and gives the message's key.
//! Once the body has authenticated, [`DoubleRatchet::commit`] makes the change. The half of a step that begins our own new
//! chain needs randomness and is done then: a forged message costs one Diffie–Hellman, not two.

use alloc::vec::Vec;

use kuvert_types::{DecodeError, Reader};
use rand_core::CryptoRng;

use super::header::{DecryptedHeader, ENCRYPTED_HEADER_LEN, Header};
use super::keys::{HeaderKey, InitialKeys, MessageKey, NextHeaderKey, ReceivingChainKey, RootKey, SendingChainKey};
use super::skipped::{MAX_SKIPPED_KEYS, RetainedChain, SkippedMessageKeys};
use crate::primitives::x25519::{InvalidX25519Key, X25519Public, X25519Secret};
use crate::stored::{optional, secret};

/// Messages that one message may be ahead of the last one, in the old and the new chain together. A relay keeps a mailbox
/// in order, so gaps come from loss only; 1,000 keys take less than a millisecond to derive.
pub const MAX_SKIP: u32 = 1_000;

/// Chains of the other side kept after it has gone on to a newer one. Each costs one trial decryption of a header.
pub const MAX_RETAINED_HEADER_KEYS: usize = 5;

struct RatchetKeyPair {
    secret: X25519Secret,
    // Kept because making it anew is a multiplication, and every header carries it.
    public: X25519Public,
}

impl RatchetKeyPair {
    fn generate(rng: &mut (impl CryptoRng + ?Sized)) -> Self {
        let secret = X25519Secret::generate(rng);
        let public = secret.public();
        Self { secret, public }
    }
}

struct SendingChain {
    header_key: HeaderKey,
    chain_key: SendingChainKey,
    next: u32,
}

struct ReceivingChain {
    header_key: HeaderKey,
    chain_key: ReceivingChainKey,
    next: u32,
    skipped: SkippedMessageKeys,
}

/// See the module's head.
pub(crate) struct DoubleRatchet {
    root: RootKey,
    ours: RatchetKeyPair,
    theirs: Option<X25519Public>,
    sending: Option<SendingChain>,
    receiving: Option<ReceivingChain>,
    next_sending_header: NextHeaderKey,
    next_receiving_header: NextHeaderKey,
    previous_chain_length: u32,
    /// Oldest first.
    retained: Vec<RetainedChain>,
    /// Messages received in the session, the clock of skipped keys.
    received: u64,
}

/// Why there is no next message to send.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum SendError {
    /// The recipient writes before it has read. Never happens: its session begins with a message.
    NoChain,
    /// The chain has given 2^32 − 1 keys.
    Exhausted,
}

/// What one message to send needs of the curve ratchet.
pub(crate) struct Sending<'a> {
    pub(crate) header_key: &'a HeaderKey,
    pub(crate) message_key: MessageKey,
    pub(crate) ratchet_key: X25519Public,
    pub(crate) previous_chain_length: u32,
    pub(crate) message_number: u32,
}

/// Which chain a header belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum ChainPosition {
    Current,
    Next,
    Retained(usize),
}

/// A header that opened, and where.
pub(crate) struct LocatedHeader {
    pub(crate) header: Header,
    position: ChainPosition,
}

/// What came of trying every header key.
pub(crate) enum Located {
    /// None fits.
    Nowhere,
    /// One fits, and what it opened is no header.
    Invalid,
    /// The header.
    Header(LocatedHeader),
}

/// Why a message whose header opened has no key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum StageError {
    /// Its key was used, or expired.
    KeyGone,
    /// It is too far ahead.
    TooManySkipped,
    /// The header contradicts the state: a sender that follows the protocol never sends it.
    Invalid,
}

/// The key of a received message, and what the ratchet becomes once the message has authenticated.
pub(crate) struct RatchetStep {
    pub(crate) message_key: MessageKey,
    change: Change,
}

enum Change {
    /// Takes a skipped key.
    Claim { position: ChainPosition, number: u32 },
    /// Moves the current chain on.
    Forward(Forward),
    /// Begins a new chain.
    Step {
        closed: Option<(u32, Vec<MessageKey>)>,
        theirs: X25519Public,
        root: RootKey,
        chain: Forward,
        next: NextHeaderKey,
    },
}

/// A receiving chain moved on, and the keys that were passed.
struct Forward {
    chain_key: ReceivingChainKey,
    next: u32,
    skipped: Vec<MessageKey>,
}

impl Forward {
    /// Moves `chain_key`, whose next message is `from`, past message `number`.
    fn derive(chain_key: &ReceivingChainKey, from: u32, number: u32) -> Option<(MessageKey, Self)> {
        let mut chain_key = chain_key.clone();
        let skipped = derive_skipped(&mut chain_key, number.checked_sub(from)?);
        let message_key = chain_key.advance();
        Some((message_key, Self { chain_key, next: number.checked_add(1)?, skipped }))
    }
}

/// `count` is bounded by the caller.
fn derive_skipped(chain_key: &mut ReceivingChainKey, count: u32) -> Vec<MessageKey> {
    // At its full size at once: a vector that grows leaves copies of keys behind.
    let mut skipped = Vec::with_capacity(count as usize);
    for _ in 0..count {
        skipped.push(chain_key.advance());
    }
    skipped
}

impl DoubleRatchet {
    /// RatchetInitAliceHE [KV-031]. `theirs` is the recipient's signed prekey.
    pub(crate) fn new_initiator(
        keys: InitialKeys,
        theirs: X25519Public,
        rng: &mut (impl CryptoRng + ?Sized),
    ) -> Result<Self, InvalidX25519Key> {
        let ours = RatchetKeyPair::generate(rng);
        let (root, chain_key, next_sending_header) = keys.root.step_sending(&ours.secret.agree(&theirs)?);
        Ok(Self {
            root,
            ours,
            theirs: Some(theirs),
            sending: Some(SendingChain { header_key: keys.initiator_header, chain_key, next: 0 }),
            receiving: None,
            next_sending_header,
            next_receiving_header: keys.recipient_header,
            previous_chain_length: 0,
            retained: Vec::new(),
            received: 0,
        })
    }

    /// RatchetInitBobHE [KV-031]. `ours` and `public` are the signed prekey that the initiator used.
    pub(crate) fn new_recipient(keys: InitialKeys, ours: &X25519Secret, public: X25519Public) -> Self {
        Self {
            root: keys.root,
            ours: RatchetKeyPair { secret: ours.clone(), public },
            theirs: None,
            sending: None,
            receiving: None,
            next_sending_header: keys.recipient_header,
            next_receiving_header: NextHeaderKey::from_bytes(keys.initiator_header.as_bytes()),
            previous_chain_length: 0,
            retained: Vec::new(),
            received: 0,
        }
    }

    /// Whether [`send`](Self::send) would succeed: message number 2^32 − 1 is never sent [KV-033].
    pub(crate) fn check_send(&self) -> Result<(), SendError> {
        match &self.sending {
            None => Err(SendError::NoChain),
            Some(chain) if chain.next == u32::MAX => Err(SendError::Exhausted),
            Some(_) => Ok(()),
        }
    }

    /// Moves the sending chain on by one message [KV-033].
    pub(crate) fn send(&mut self) -> Result<Sending<'_>, SendError> {
        self.check_send()?;
        let chain = self.sending.as_mut().ok_or(SendError::NoChain)?;
        let message_number = chain.next;
        chain.next += 1;
        Ok(Sending {
            message_key: chain.chain_key.advance(),
            header_key: &chain.header_key,
            ratchet_key: self.ours.public,
            previous_chain_length: self.previous_chain_length,
            message_number,
        })
    }

    /// Tries the header keys [KV-034]. At most 2 + [`MAX_RETAINED_HEADER_KEYS`] trials, whatever the bytes are.
    pub(crate) fn locate(&self, encrypted: &[u8; ENCRYPTED_HEADER_LEN]) -> Located {
        for (position, key) in self.header_keys() {
            match Header::decrypt(key, encrypted) {
                DecryptedHeader::OtherKey => {}
                DecryptedHeader::Invalid => return Located::Invalid,
                DecryptedHeader::Header(header) => return Located::Header(LocatedHeader { header, position }),
            }
        }
        Located::Nowhere
    }

    /// The likeliest first [KV-034]: current chain, next chain, then chains left behind, newest first.
    fn header_keys(&self) -> impl Iterator<Item = (ChainPosition, &[u8; 32])> {
        let current = self.receiving.iter().map(|chain| (ChainPosition::Current, chain.header_key.as_bytes()));
        let next = core::iter::once((ChainPosition::Next, self.next_receiving_header.as_bytes()));
        let retained = self.retained.iter().enumerate().rev();
        let retained = retained.map(|(at, chain)| (ChainPosition::Retained(at), chain.header_key.as_bytes()));
        current.chain(next).chain(retained)
    }

    /// The key of the message with this header, and what the message does to the state [KV-035]. Changes nothing.
    pub(crate) fn stage(&self, located: &LocatedHeader) -> Result<RatchetStep, StageError> {
        let LocatedHeader { header, position } = located;
        match *position {
            ChainPosition::Retained(at) => {
                let chain = self.retained.get(at).ok_or(StageError::Invalid)?;
                if header.message_number >= chain.length {
                    return Err(StageError::Invalid);
                }
                Self::claim(&chain.skipped, *position, header.message_number)
            }
            ChainPosition::Current => {
                let chain = self.receiving.as_ref().ok_or(StageError::Invalid)?;
                // One chain, one ratchet key.
                if self.theirs != Some(header.ratchet_key) {
                    return Err(StageError::Invalid);
                }
                let Some(ahead) = header.message_number.checked_sub(chain.next) else {
                    return Self::claim(&chain.skipped, *position, header.message_number);
                };
                // Before any derivation, so that a wild number costs nothing.
                if ahead > MAX_SKIP {
                    return Err(StageError::TooManySkipped);
                }
                let (message_key, forward) =
                    Forward::derive(&chain.chain_key, chain.next, header.message_number).ok_or(StageError::Invalid)?;
                Ok(RatchetStep { message_key, change: Change::Forward(forward) })
            }
            ChainPosition::Next => self.stage_step(header),
        }
    }

    fn claim(keys: &SkippedMessageKeys, position: ChainPosition, number: u32) -> Result<RatchetStep, StageError> {
        let message_key = keys.get(number).ok_or(StageError::KeyGone)?.clone();
        Ok(RatchetStep { message_key, change: Change::Claim { position, number } })
    }

    /// The receiving half of DHRatchetHE [KV-035].
    fn stage_step(&self, header: &Header) -> Result<RatchetStep, StageError> {
        // A new chain has a new key, and never one of ours.
        if self.theirs == Some(header.ratchet_key) || self.ours.public == header.ratchet_key {
            return Err(StageError::Invalid);
        }
        let missing = match &self.receiving {
            Some(chain) => header.previous_chain_length.checked_sub(chain.next).ok_or(StageError::Invalid)?,
            // Nothing came before the first chain.
            None if header.previous_chain_length != 0 => return Err(StageError::Invalid),
            None => 0,
        };
        if missing.checked_add(header.message_number).is_none_or(|skip| skip > MAX_SKIP) {
            return Err(StageError::TooManySkipped);
        }
        let closed = self
            .receiving
            .as_ref()
            .map(|chain| (header.previous_chain_length, derive_skipped(&mut chain.chain_key.clone(), missing)));
        let shared = self.ours.secret.agree(&header.ratchet_key).map_err(|_| StageError::Invalid)?;
        let (root, chain_key, next) = self.root.step_receiving(&shared);
        let (message_key, chain) = Forward::derive(&chain_key, 0, header.message_number).ok_or(StageError::Invalid)?;
        let change = Change::Step { closed, theirs: header.ratchet_key, root, chain, next };
        Ok(RatchetStep { message_key, change })
    }

    /// Takes in a message that authenticated under the key of `step`, which was staged on this very state [KV-036].
    ///
    /// # Errors
    /// Our side of a Diffie–Hellman step fails; nothing has changed then. Cannot happen after staging succeeded.
    pub(crate) fn commit(
        &mut self,
        step: RatchetStep,
        rng: &mut (impl CryptoRng + ?Sized),
    ) -> Result<(), InvalidX25519Key> {
        let since = self.received;
        match step.change {
            Change::Claim { position, number } => {
                let keys = match position {
                    ChainPosition::Retained(at) => self.retained.get_mut(at).map(|chain| &mut chain.skipped),
                    _ => self.receiving.as_mut().map(|chain| &mut chain.skipped),
                };
                if let Some(keys) = keys {
                    keys.remove(number);
                }
            }
            Change::Forward(Forward { chain_key, next, skipped }) => {
                if let Some(chain) = &mut self.receiving {
                    chain.skipped.append(chain.next, &skipped, since);
                    chain.chain_key = chain_key;
                    chain.next = next;
                }
            }
            Change::Step { closed, theirs, root, chain, next } => {
                let ours = RatchetKeyPair::generate(rng);
                let shared = ours.secret.agree(&theirs)?;
                self.begin_receiving(closed, theirs, chain, next, since);
                self.begin_sending(ours, root.step_sending(&shared));
            }
        }
        self.received = self.received.saturating_add(1);
        self.drop_excess_keys();
        Ok(())
    }

    fn begin_receiving(
        &mut self,
        closed: Option<(u32, Vec<MessageKey>)>,
        theirs: X25519Public,
        chain: Forward,
        next: NextHeaderKey,
        since: u64,
    ) {
        let header_key = core::mem::replace(&mut self.next_receiving_header, next).into_header_key();
        let mut skipped = SkippedMessageKeys::default();
        skipped.append(0, &chain.skipped, since);
        let new = ReceivingChain { header_key, chain_key: chain.chain_key, next: chain.next, skipped };
        self.theirs = Some(theirs);
        if let (Some(mut old), Some((length, keys))) = (self.receiving.replace(new), closed) {
            old.skipped.append(old.next, &keys, since);
            self.retain(RetainedChain { header_key: old.header_key, length, skipped: old.skipped });
        }
    }

    fn begin_sending(&mut self, ours: RatchetKeyPair, step: (RootKey, SendingChainKey, NextHeaderKey)) {
        let (root, chain_key, next) = step;
        self.root = root;
        self.ours = ours;
        self.previous_chain_length = self.sending.as_ref().map_or(0, |chain| chain.next);
        let header_key = core::mem::replace(&mut self.next_sending_header, next).into_header_key();
        self.sending = Some(SendingChain { header_key, chain_key, next: 0 });
    }

    /// Keeps a chain that the other side left behind. Chains that miss nothing are kept only to tell a duplicate from
    /// garbage, so they make room first.
    fn retain(&mut self, chain: RetainedChain) {
        if self.retained.len() >= MAX_RETAINED_HEADER_KEYS {
            let leaving = self.retained.iter().position(|chain| chain.skipped.is_empty()).unwrap_or(0);
            self.retained[leaving..].rotate_left(1);
            self.retained.truncate(MAX_RETAINED_HEADER_KEYS - 1);
        }
        if self.retained.capacity() == 0 {
            self.retained.reserve_exact(MAX_RETAINED_HEADER_KEYS);
        }
        self.retained.push(chain);
    }

    /// [KV-037] At most [`MAX_SKIPPED_KEYS`], the oldest go; none outlives its time.
    fn drop_excess_keys(&mut self) {
        let chains = || {
            self.retained.iter().map(|chain| &chain.skipped).chain(self.receiving.iter().map(|chain| &chain.skipped))
        };
        let mut excess = chains().map(SkippedMessageKeys::len).sum::<usize>().saturating_sub(MAX_SKIPPED_KEYS);
        let received = self.received;
        let retained = self.retained.iter_mut().map(|chain| &mut chain.skipped);
        for keys in retained.chain(self.receiving.iter_mut().map(|chain| &mut chain.skipped)) {
            excess -= keys.drop_oldest(excess);
            keys.expire(received);
        }
    }
}

/// Stored form, all integers big-endian:
/// ```text
/// RK 32 ‖ DHs secret 32 ‖ DHs public 32 ‖ optional(DHr 32) ‖ optional(HKs 32 ‖ CKs 32 ‖ Ns u32)
/// ‖ optional(HKr 32 ‖ CKr 32 ‖ Nr u32 ‖ skipped keys) ‖ NHKs 32 ‖ NHKr 32 ‖ PN u32
/// ‖ count u8 ‖ count × (header key 32 ‖ length u32 ‖ skipped keys) ‖ received u64
/// optional(x) = 0x00, or 0x01 ‖ x
/// ```
impl DoubleRatchet {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let Self {
            root,
            ours,
            theirs,
            sending,
            receiving,
            next_sending_header,
            next_receiving_header,
            previous_chain_length,
            retained,
            received,
        } = self;
        out.extend_from_slice(root.as_bytes());
        out.extend_from_slice(ours.secret.as_bytes());
        out.extend_from_slice(ours.public.as_bytes());
        out.push(u8::from(theirs.is_some()));
        if let Some(theirs) = theirs {
            out.extend_from_slice(theirs.as_bytes());
        }
        out.push(u8::from(sending.is_some()));
        if let Some(SendingChain { header_key, chain_key, next }) = sending {
            out.extend_from_slice(header_key.as_bytes());
            out.extend_from_slice(chain_key.as_bytes());
            out.extend_from_slice(&next.to_be_bytes());
        }
        out.push(u8::from(receiving.is_some()));
        if let Some(ReceivingChain { header_key, chain_key, next, skipped }) = receiving {
            out.extend_from_slice(header_key.as_bytes());
            out.extend_from_slice(chain_key.as_bytes());
            out.extend_from_slice(&next.to_be_bytes());
            skipped.encode(out);
        }
        out.extend_from_slice(next_sending_header.as_bytes());
        out.extend_from_slice(next_receiving_header.as_bytes());
        out.extend_from_slice(&previous_chain_length.to_be_bytes());
        // At most MAX_RETAINED_HEADER_KEYS.
        out.push(u8::try_from(retained.len()).unwrap_or(u8::MAX));
        for RetainedChain { header_key, length, skipped } in retained {
            out.extend_from_slice(header_key.as_bytes());
            out.extend_from_slice(&length.to_be_bytes());
            skipped.encode(out);
        }
        out.extend_from_slice(&received.to_be_bytes());
    }

    /// Bytes that [`encode`](Self::encode) appends, at most.
    pub(crate) fn encoded_len(&self) -> usize {
        let receiving = self.receiving.as_ref().map_or(0, |chain| chain.skipped.encoded_len());
        let retained: usize = self.retained.iter().map(|chain| 36 + chain.skipped.encoded_len()).sum();
        512 + receiving + retained
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let root = RootKey::from_bytes(&*secret(reader)?);
        let ours = X25519Secret::from_bytes(&*secret(reader)?);
        let public = public_key(reader)?;
        let theirs = optional(reader, public_key)?;
        let sending = optional(reader, |reader| {
            Ok(SendingChain {
                header_key: HeaderKey::from_bytes(&*secret(reader)?),
                chain_key: SendingChainKey::from_bytes(&*secret(reader)?),
                next: reader.u32()?,
            })
        })?;
        let receiving = optional(reader, |reader| {
            Ok(ReceivingChain {
                header_key: HeaderKey::from_bytes(&*secret(reader)?),
                chain_key: ReceivingChainKey::from_bytes(&*secret(reader)?),
                next: reader.u32()?,
                skipped: SkippedMessageKeys::decode(reader)?,
            })
        })?;
        let next_sending_header = NextHeaderKey::from_bytes(&*secret(reader)?);
        let next_receiving_header = NextHeaderKey::from_bytes(&*secret(reader)?);
        let previous_chain_length = reader.u32()?;
        let count = usize::from(reader.u8()?);
        if count > MAX_RETAINED_HEADER_KEYS {
            return Err(DecodeError::Value);
        }
        let mut retained = Vec::with_capacity(MAX_RETAINED_HEADER_KEYS);
        for _ in 0..count {
            retained.push(RetainedChain {
                header_key: HeaderKey::from_bytes(&*secret(reader)?),
                length: reader.u32()?,
                skipped: SkippedMessageKeys::decode(reader)?,
            });
        }
        Ok(Self {
            root,
            ours: RatchetKeyPair { secret: ours, public },
            theirs,
            sending,
            receiving,
            next_sending_header,
            next_receiving_header,
            previous_chain_length,
            retained,
            received: reader.u64()?,
        })
    }
}

fn public_key(reader: &mut Reader<'_>) -> Result<X25519Public, DecodeError> {
    X25519Public::decode(reader.array()?).map_err(|_| DecodeError::Value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pq_ratchet::PQ_HEADER_LEN;

    /// Counts up; good enough for keys that protect nothing.
    struct Counter(u64);

    impl rand_core::TryRng for Counter {
        type Error = core::convert::Infallible;

        fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
            self.0 += 1;
            Ok(self.0 as u32)
        }

        fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
            self.0 += 1;
            Ok(self.0)
        }

        fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Self::Error> {
            for chunk in out.chunks_mut(8) {
                self.0 += 1;
                chunk.copy_from_slice(&self.0.to_be_bytes()[..chunk.len()]);
            }
            Ok(())
        }
    }

    impl rand_core::TryCryptoRng for Counter {}

    fn pair(rng: &mut Counter) -> (DoubleRatchet, DoubleRatchet) {
        let prekey = X25519Secret::generate(rng);
        let keys = || InitialKeys::derive(&[7; 32]);
        let initiator = DoubleRatchet::new_initiator(keys(), prekey.public(), rng).unwrap();
        (initiator, DoubleRatchet::new_recipient(keys(), &prekey, prekey.public()))
    }

    fn send(from: &mut DoubleRatchet, rng: &mut Counter) -> ([u8; ENCRYPTED_HEADER_LEN], MessageKey) {
        let mut nonce = [0; 24];
        rand_core::Rng::fill_bytes(rng, &mut nonce);
        let sending = from.send().unwrap();
        let header = Header {
            ratchet_key: sending.ratchet_key,
            previous_chain_length: sending.previous_chain_length,
            message_number: sending.message_number,
            pq: [0; PQ_HEADER_LEN],
        };
        (header.encrypt(sending.header_key, &nonce), sending.message_key)
    }

    fn stage(to: &DoubleRatchet, encrypted: &[u8; ENCRYPTED_HEADER_LEN]) -> Result<RatchetStep, StageError> {
        match to.locate(encrypted) {
            Located::Header(located) => to.stage(&located),
            _ => panic!("the header opens"),
        }
    }

    fn deliver(to: &mut DoubleRatchet, (encrypted, key): &([u8; ENCRYPTED_HEADER_LEN], MessageKey), rng: &mut Counter) {
        let step = stage(to, encrypted).unwrap();
        assert_eq!(step.message_key.as_bytes(), key.as_bytes());
        to.commit(step, rng).unwrap();
    }

    #[test]
    fn attack_14_garbage_costs_seven_trials_at_most() {
        let rng = &mut Counter(0);
        let (mut alice, mut bob) = pair(rng);
        let mut most = 0;
        for _ in 0..40 {
            // A message lost in every chain, so that every chain has something to wait for.
            let _lost = send(&mut alice, rng);
            let message = send(&mut alice, rng);
            deliver(&mut bob, &message, rng);
            let back = send(&mut bob, rng);
            deliver(&mut alice, &back, rng);
            most = most.max(bob.header_keys().count());
            assert!(matches!(bob.locate(&[0x55; ENCRYPTED_HEADER_LEN]), Located::Nowhere));
        }
        assert_eq!(most, 2 + MAX_RETAINED_HEADER_KEYS);
        assert_eq!(bob.retained.len(), MAX_RETAINED_HEADER_KEYS);
    }

    #[test]
    fn chains_that_wait_for_something_outlast_those_that_do_not() {
        let rng = &mut Counter(0);
        let (mut alice, mut bob) = pair(rng);
        let late = send(&mut alice, rng);
        for _ in 0..40 {
            let message = send(&mut alice, rng);
            deliver(&mut bob, &message, rng);
            let back = send(&mut bob, rng);
            deliver(&mut alice, &back, rng);
        }
        deliver(&mut bob, &late, rng);
        assert!(matches!(stage(&bob, &late.0), Err(StageError::KeyGone)));
    }

    #[test]
    fn staging_changes_nothing_and_commits_what_it_staged() {
        let rng = &mut Counter(0);
        let (mut alice, mut bob) = pair(rng);
        let encoded = |ratchet: &DoubleRatchet| {
            let mut bytes = Vec::new();
            ratchet.encode(&mut bytes);
            assert!(bytes.len() <= ratchet.encoded_len());
            bytes
        };
        for _ in 0..5 {
            let skipped = send(&mut alice, rng);
            let message = send(&mut alice, rng);
            let before = encoded(&bob);
            drop(stage(&bob, &message.0).unwrap());
            assert_eq!(encoded(&bob), before);
            deliver(&mut bob, &message, rng);
            deliver(&mut bob, &skipped, rng);
            let bytes = encoded(&bob);
            bob = Reader::whole(&bytes, DoubleRatchet::decode).unwrap();
            assert_eq!(encoded(&bob), bytes);
            let back = send(&mut bob, rng);
            deliver(&mut alice, &back, rng);
        }
    }

    #[test]
    fn a_message_beyond_the_announced_end_of_a_chain_is_refused() {
        let rng = &mut Counter(0);
        let (mut alice, mut bob) = pair(rng);
        let first = send(&mut alice, rng);
        deliver(&mut bob, &first, rng);
        // Alice as she was before she turned: she goes on writing on a chain that she has declared ended.
        let mut bytes = Vec::new();
        alice.encode(&mut bytes);
        let mut liar = Reader::whole(&bytes, DoubleRatchet::decode).unwrap();
        let back = send(&mut bob, rng);
        deliver(&mut alice, &back, rng);
        let turn = send(&mut alice, rng);
        deliver(&mut bob, &turn, rng);
        let beyond = send(&mut liar, rng);
        assert!(matches!(stage(&bob, &beyond.0), Err(StageError::Invalid)));
    }

    #[test]
    fn attack_16_the_recipient_has_nothing_to_send_with_before_it_has_read() {
        let rng = &mut Counter(0);
        let (_, mut bob) = pair(rng);
        assert_eq!(bob.check_send(), Err(SendError::NoChain));
        assert!(bob.send().is_err());
        assert!(bob.receiving.is_none() && bob.header_keys().count() == 1);
    }

    #[test]
    fn a_chain_ends_rather_than_wrap() {
        let rng = &mut Counter(0);
        let (mut alice, _) = pair(rng);
        if let Some(chain) = &mut alice.sending {
            chain.next = u32::MAX;
        }
        assert_eq!(alice.check_send(), Err(SendError::Exhausted));
        assert!(matches!(alice.send(), Err(SendError::Exhausted)));
    }
}
