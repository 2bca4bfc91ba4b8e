//! The post-quantum ratchet alone, in the same turns as a session: what of a message's cost is its share.

use kuvert_protocol::hazmat::pq_ratchet::{PQ_HEADER_LEN, PostQuantumRatchet};

use rand_core::CryptoRng;

use crate::conversation::{Conversation, Side};
use crate::{Outcome, system_rng};

/// Both sides of it.
pub struct PostQuantum {
    rng: Box<dyn CryptoRng>,
    /// Of the side that began.
    pub alice: PostQuantumRatchet,
    /// Of the other.
    pub bob: PostQuantumRatchet,
}

impl PostQuantum {
    /// Nothing sent yet.
    pub fn fresh() -> Self {
        Self::fresh_with(Box::new(system_rng()))
    }

    /// Nothing sent yet; everything is drawn from `rng`.
    pub fn fresh_with(rng: Box<dyn CryptoRng>) -> Self {
        let shared = [7; 32];
        Self { rng, alice: PostQuantumRatchet::new_initiator(&shared), bob: PostQuantumRatchet::new_recipient(&shared) }
    }
}

impl Conversation for PostQuantum {
    /// The header's part, and how long the content is that it would travel with.
    type Message = ([u8; PQ_HEADER_LEN], usize);

    fn begin() -> Outcome<Self> {
        let mut pair = Self::fresh();
        pair.exchange()?;
        Ok(pair)
    }

    fn send(&mut self, from: Side, content: &[u8]) -> Outcome<Self::Message> {
        let ratchet = match from {
            Side::Alice => &mut self.alice,
            Side::Bob => &mut self.bob,
        };
        let (header, key) = ratchet.send(&mut &mut *self.rng)?;
        std::hint::black_box(key);
        Ok((header, content.len()))
    }

    fn receive(&mut self, to: Side, message: &Self::Message) -> Outcome<usize> {
        let ratchet = match to {
            Side::Alice => &mut self.alice,
            Side::Bob => &mut self.bob,
        };
        let step = ratchet.open(&message.0)?;
        std::hint::black_box(&step.key);
        ratchet.apply(step);
        Ok(message.1)
    }
}

/// Messages that alternate until both sides have held a key pair once: two epochs.
///
/// # Errors
/// A message was refused.
pub fn messages_in_two_epochs() -> Outcome<usize> {
    let mut pair = PostQuantum::begin()?;
    // From one beginning of an epoch to the same one two epochs on.
    let mut beginnings = Vec::new();
    for exchange in 0.. {
        let before = pair.alice.epoch();
        pair.exchange()?;
        if pair.alice.epoch() > before {
            beginnings.push(exchange);
            if let [.., first, _, last] = beginnings[..] {
                return Ok(2 * (last - first));
            }
        }
    }
    Err("no epoch ever ended".into())
}
