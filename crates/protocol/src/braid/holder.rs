//! The side that holds the key pair of an epoch: five states, from nothing to the decapsulated secret. The diagram is in
//! the parent module.

use alloc::boxed::Box;

use rand_core::CryptoRng;

use super::encapsulator::NoHeaderReceived;
use super::erasure::{Decoder, Encoder};
use super::message::{Kind, Message};
use super::{CIPHERTEXT2_PAYLOAD_LEN, Common, HEADER_PAYLOAD_LEN, Next, State};
use crate::primitives::kem768::{CIPHERTEXT1_LEN, CIPHERTEXT2_LEN, InvalidKey, KeyPairSeed, VECTOR_LEN};
use crate::scka::SckaFailure;

/// No key pair yet; the next send makes one.
pub(super) struct KeysUnsampled {
    pub(super) common: Common,
}

impl KeysUnsampled {
    pub(super) fn send(self, rng: &mut impl CryptoRng) -> Result<(KeysSampled, Message), SckaFailure> {
        let Self { common } = self;
        let pair = KeyPairSeed::generate(rng);
        let (header, vector) = pair.encapsulation_key()?;
        let mac = common.authenticator.header_mac(common.epoch, &header);
        let mut payload = [0; HEADER_PAYLOAD_LEN];
        payload[..header.len()].copy_from_slice(&header);
        payload[header.len()..].copy_from_slice(&*mac);
        let mut next = KeysSampled { common, pair, vector, header: Encoder::new(&payload) };
        let message = next.send();
        Ok((next, message))
    }
}

/// Sends the header until the other side shows that it has it.
pub(super) struct KeysSampled {
    pub(super) common: Common,
    pub(super) pair: KeyPairSeed,
    pub(super) vector: Box<[u8; VECTOR_LEN]>,
    pub(super) header: Encoder,
}

impl KeysSampled {
    pub(super) fn send(&mut self) -> Message {
        chunk_of(Kind::Header, &self.common, &mut self.header)
    }

    pub(super) fn receive(self, message: &Message) -> Next {
        if message.kind != Kind::Ciphertext1 {
            return Ok((State::KeysSampled(self), None));
        }
        // The other side has the header: on to the vector. The same message already brings a chunk.
        let Self { common, pair, vector, header: _ } = self;
        let vector = Encoder::new(&*vector);
        HeaderSent { common, pair, vector, ciphertext1: Decoder::new(CIPHERTEXT1_LEN) }.receive(message)
    }
}

/// Sends the vector while the first part of the ciphertext comes in.
pub(super) struct HeaderSent {
    pub(super) common: Common,
    pub(super) pair: KeyPairSeed,
    pub(super) vector: Encoder,
    pub(super) ciphertext1: Decoder,
}

impl HeaderSent {
    pub(super) fn send(&mut self) -> Message {
        chunk_of(Kind::Vector, &self.common, &mut self.vector)
    }

    pub(super) fn receive(mut self, message: &Message) -> Next {
        if message.kind != Kind::Ciphertext1 {
            return Ok((State::HeaderSent(self), None));
        }
        let Some(ciphertext1) = self.ciphertext1.add(message.index, &message.chunk)? else {
            return Ok((State::HeaderSent(self), None));
        };
        let ciphertext1 = exactly(ciphertext1)?;
        let Self { common, pair, vector, ciphertext1: _ } = self;
        Ok((State::Ct1Received(Ct1Received { common, pair, vector, ciphertext1 }), None))
    }
}

/// Has the first part of the ciphertext; sends the vector and says so.
pub(super) struct Ct1Received {
    pub(super) common: Common,
    pub(super) pair: KeyPairSeed,
    pub(super) vector: Encoder,
    pub(super) ciphertext1: Box<[u8; CIPHERTEXT1_LEN]>,
}

impl Ct1Received {
    pub(super) fn send(&mut self) -> Message {
        chunk_of(Kind::VectorAndAcknowledgement, &self.common, &mut self.vector)
    }

    pub(super) fn receive(self, message: &Message) -> Next {
        if message.kind != Kind::Ciphertext2 {
            return Ok((State::Ct1Received(self), None));
        }
        // The other side has the vector: nothing left to send. The same message already brings a chunk.
        let Self { common, pair, vector: _, ciphertext1 } = self;
        let ciphertext2 = Decoder::new(CIPHERTEXT2_PAYLOAD_LEN);
        EkSentCt1Received { common, pair, ciphertext1, ciphertext2 }.receive(message)
    }
}

/// Waits for the rest of the ciphertext.
pub(super) struct EkSentCt1Received {
    pub(super) common: Common,
    pub(super) pair: KeyPairSeed,
    pub(super) ciphertext1: Box<[u8; CIPHERTEXT1_LEN]>,
    pub(super) ciphertext2: Decoder,
}

impl EkSentCt1Received {
    pub(super) fn receive(mut self, message: &Message) -> Next {
        if message.kind != Kind::Ciphertext2 {
            return Ok((State::EkSentCt1Received(self), None));
        }
        let Some(payload) = self.ciphertext2.add(message.index, &message.chunk)? else {
            return Ok((State::EkSentCt1Received(self), None));
        };
        let Self { mut common, pair, ciphertext1, ciphertext2: _ } = self;
        let (ciphertext2, mac) = payload.split_first_chunk::<CIPHERTEXT2_LEN>().ok_or(SckaFailure::Authentication)?;
        let output = common.output(&pair.decapsulate(&ciphertext1, ciphertext2)?);
        // Under the key of this epoch, so a ciphertext that is wrong in any part gives another key and fails here.
        common.authenticator.verify_ciphertext(common.epoch, &*ciphertext1, ciphertext2, mac)?;
        Ok((State::NoHeaderReceived(NoHeaderReceived::new(common.next())), Some(output)))
    }
}

/// The next chunk of a payload, as a message.
pub(super) fn chunk_of(kind: Kind, common: &Common, encoder: &mut Encoder) -> Message {
    let (index, chunk) = encoder.next_chunk();
    Message { kind, epoch: common.epoch, index, chunk }
}

/// A decoded payload as an array. Decoders give exactly the length they were made for.
pub(super) fn exactly<const N: usize>(payload: alloc::vec::Vec<u8>) -> Result<Box<[u8; N]>, SckaFailure> {
    payload.into_boxed_slice().try_into().map_err(|_| SckaFailure::Authentication)
}

impl From<InvalidKey> for SckaFailure {
    fn from(InvalidKey: InvalidKey) -> Self {
        Self::EncapsulationKey
    }
}

impl From<super::erasure::PaddingError> for SckaFailure {
    fn from(_: super::erasure::PaddingError) -> Self {
        Self::Authentication
    }
}
