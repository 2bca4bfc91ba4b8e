//! Bytes: of a session as it is stored, and of a message around its content.

use kuvert_protocol::message::{PREKEY_MESSAGE_OVERHEAD, RATCHET_MESSAGE_OVERHEAD};
use kuvert_protocol::padding::padded_len;
use serde::Serialize;

use crate::Outcome;
use crate::conversation::{Conversation, Side, content};
use crate::kuvert::Kuvert;
use crate::olm::Olm;
use crate::post_quantum::PostQuantum;
use crate::rows::SIZE;

/// What takes how many bytes.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Sizes {
    /// A session record after one message each way.
    pub state: usize,
    /// The same without what the Braid holds of keys and ciphertexts under way.
    pub state_without_braid_buffers: usize,
    /// The largest that it becomes in a conversation in turns.
    pub state_largest: usize,
    /// vodozemac's, as JSON.
    pub state_vodozemac: usize,
    /// What a message adds to its padded content.
    pub wire_overhead: usize,
    /// What the first messages of a session add.
    pub wire_overhead_first: usize,
    /// What the padding adds to 256 bytes.
    pub padding_256: usize,
    /// What vodozemac adds to 256 bytes, its own padding included.
    pub wire_overhead_vodozemac: usize,
}

impl Sizes {
    /// Counts them.
    ///
    /// # Errors
    /// A workload failed.
    pub fn measure() -> Outcome<Self> {
        let mut pair = Kuvert::begin()?;
        let state = pair.bob.record.encode().len();
        // The post-quantum ratchet at the same point, and at its very start, when the Braid holds nothing yet.
        let post_quantum = encoded(&PostQuantum::begin()?.bob);
        let empty = encoded(&PostQuantum::fresh().alice);
        let mut largest = state;
        for _ in 0..100 {
            pair.exchange()?;
            largest = largest.max(pair.alice.record.encode().len()).max(pair.bob.record.encode().len());
        }
        let mut olm = Olm::begin()?;
        let state_vodozemac = olm.state_len()?;
        let (_, message) = olm.send(Side::Alice, &content(SIZE))?;
        Ok(Self {
            state,
            state_without_braid_buffers: state - post_quantum + empty,
            state_largest: largest,
            state_vodozemac,
            wire_overhead: RATCHET_MESSAGE_OVERHEAD,
            wire_overhead_first: PREKEY_MESSAGE_OVERHEAD,
            padding_256: padded_len(SIZE) - SIZE,
            wire_overhead_vodozemac: message.len() - SIZE,
        })
    }
}

fn encoded(ratchet: &kuvert_protocol::hazmat::pq_ratchet::PostQuantumRatchet) -> usize {
    let mut bytes = Vec::new().into();
    ratchet.encode(&mut bytes);
    bytes.len()
}
