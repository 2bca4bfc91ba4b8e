//! The side that encapsulates in an epoch: six states, from nothing to a ciphertext that the other side has taken. The
//! diagram is in the parent module.

use alloc::boxed::Box;

use rand_core::CryptoRng;

use super::erasure::{Decoder, Encoder};
use super::holder::{KeysUnsampled, chunk_of, exactly};
use super::message::{Kind, Message};
use super::{CIPHERTEXT2_PAYLOAD_LEN, Common, HEADER_PAYLOAD_LEN, Next, State};
use crate::primitives::kem768::{CIPHERTEXT2_LEN, EncapsulationSeed, HEADER_LEN, VECTOR_LEN};
use crate::scka::{OutputKey, SckaFailure};

/// What is sent as [`Kind::Ciphertext2`]: `c₂ ‖ MAC`.
type Ciphertext2Payload = [u8; CIPHERTEXT2_PAYLOAD_LEN];

/// Waits for the header.
pub(super) struct NoHeaderReceived {
    pub(super) common: Common,
    pub(super) header: Decoder,
}

impl NoHeaderReceived {
    pub(super) const fn new(common: Common) -> Self {
        Self { common, header: Decoder::new(HEADER_PAYLOAD_LEN) }
    }

    pub(super) fn receive(mut self, message: &Message) -> Next {
        if message.kind != Kind::Header {
            return Ok((State::NoHeaderReceived(self), None));
        }
        let Some(payload) = self.header.add(message.index, &message.chunk)? else {
            return Ok((State::NoHeaderReceived(self), None));
        };
        let (header, mac) = payload.split_first_chunk::<HEADER_LEN>().ok_or(SckaFailure::Authentication)?;
        let Self { common, header: _ } = self;
        common.authenticator.verify_header(common.epoch, header, mac)?;
        Ok((State::HeaderReceived(HeaderReceived { common, header: *header }), None))
    }
}

/// Has the header; the next send encapsulates.
pub(super) struct HeaderReceived {
    pub(super) common: Common,
    pub(super) header: [u8; HEADER_LEN],
}

impl HeaderReceived {
    pub(super) fn send(self, rng: &mut impl CryptoRng) -> Result<(Ct1Sampled, Message, OutputKey), SckaFailure> {
        let Self { mut common, header } = self;
        let seed = EncapsulationSeed::generate(rng);
        let (ciphertext1, secret) = seed.encapsulate1(&header)?;
        let output = common.output(&secret);
        let ciphertext1 = Encoder::new(&*ciphertext1);
        let mut next = Ct1Sampled { common, header, seed, ciphertext1, vector: Decoder::new(VECTOR_LEN) };
        let message = next.send();
        Ok((next, message, output))
    }
}

/// Sends the first part of the ciphertext while the vector comes in.
pub(super) struct Ct1Sampled {
    pub(super) common: Common,
    pub(super) header: [u8; HEADER_LEN],
    pub(super) seed: EncapsulationSeed,
    pub(super) ciphertext1: Encoder,
    pub(super) vector: Decoder,
}

impl Ct1Sampled {
    pub(super) fn send(&mut self) -> Message {
        chunk_of(Kind::Ciphertext1, &self.common, &mut self.ciphertext1)
    }

    pub(super) fn receive(mut self, message: &Message) -> Next {
        let acknowledged = match message.kind {
            Kind::Vector => false,
            Kind::VectorAndAcknowledgement => true,
            _ => return Ok((State::Ct1Sampled(self), None)),
        };
        let vector = self.vector.add(message.index, &message.chunk)?;
        let Self { common, header, seed, ciphertext1, vector: decoder } = self;
        let next = match (vector, acknowledged) {
            (None, false) => State::Ct1Sampled(Self { common, header, seed, ciphertext1, vector: decoder }),
            (None, true) => {
                State::Ct1Acknowledged(Ct1Acknowledged { common, header, seed, ciphertext1, vector: decoder })
            }
            (Some(vector), false) => {
                let ciphertext2 = finish(&common, &header, seed, &ciphertext1, vector)?;
                State::EkReceivedCt1Sampled(EkReceivedCt1Sampled { common, ciphertext1, ciphertext2 })
            }
            (Some(vector), true) => {
                let ciphertext2 = Encoder::new(&*finish(&common, &header, seed, &ciphertext1, vector)?);
                State::Ct2Sampled(Ct2Sampled { common, ciphertext2 })
            }
        };
        Ok((next, None))
    }
}

/// Has the vector; sends the first part of the ciphertext until the other side has it. The second part is ready, so that
/// the randomness could be wiped.
pub(super) struct EkReceivedCt1Sampled {
    pub(super) common: Common,
    pub(super) ciphertext1: Encoder,
    pub(super) ciphertext2: Box<Ciphertext2Payload>,
}

impl EkReceivedCt1Sampled {
    pub(super) fn send(&mut self) -> Message {
        chunk_of(Kind::Ciphertext1, &self.common, &mut self.ciphertext1)
    }

    pub(super) fn receive(self, message: &Message) -> State {
        if message.kind != Kind::VectorAndAcknowledgement {
            return State::EkReceivedCt1Sampled(self);
        }
        let Self { common, ciphertext1: _, ciphertext2 } = self;
        State::Ct2Sampled(Ct2Sampled { common, ciphertext2: Encoder::new(&*ciphertext2) })
    }
}

/// The other side has the first part of the ciphertext; waits for the rest of the vector.
pub(super) struct Ct1Acknowledged {
    pub(super) common: Common,
    pub(super) header: [u8; HEADER_LEN],
    pub(super) seed: EncapsulationSeed,
    /// Nothing of it is sent any more, but the MAC covers it.
    pub(super) ciphertext1: Encoder,
    pub(super) vector: Decoder,
}

impl Ct1Acknowledged {
    pub(super) fn receive(mut self, message: &Message) -> Next {
        if message.kind != Kind::VectorAndAcknowledgement {
            return Ok((State::Ct1Acknowledged(self), None));
        }
        let Some(vector) = self.vector.add(message.index, &message.chunk)? else {
            return Ok((State::Ct1Acknowledged(self), None));
        };
        let Self { common, header, seed, ciphertext1, vector: _ } = self;
        let ciphertext2 = Encoder::new(&*finish(&common, &header, seed, &ciphertext1, vector)?);
        Ok((State::Ct2Sampled(Ct2Sampled { common, ciphertext2 }), None))
    }
}

/// Sends the second part of the ciphertext until the other side shows by its epoch that it has it.
pub(super) struct Ct2Sampled {
    pub(super) common: Common,
    pub(super) ciphertext2: Encoder,
}

impl Ct2Sampled {
    pub(super) fn send(&mut self) -> Message {
        chunk_of(Kind::Ciphertext2, &self.common, &mut self.ciphertext2)
    }

    pub(super) fn receive(self, message: &Message) -> State {
        if message.epoch.checked_sub(1) != Some(self.common.epoch) {
            return State::Ct2Sampled(self);
        }
        let Self { common, ciphertext2: _ } = self;
        State::KeysUnsampled(KeysUnsampled { common: common.next() })
    }
}

/// The second part of the ciphertext with the MAC over both. Checks the vector first.
fn finish(
    common: &Common,
    header: &[u8; HEADER_LEN],
    seed: EncapsulationSeed,
    ciphertext1: &Encoder,
    vector: alloc::vec::Vec<u8>,
) -> Result<Box<Ciphertext2Payload>, SckaFailure> {
    let vector = exactly::<VECTOR_LEN>(vector)?;
    let ciphertext2 = seed.encapsulate2(header, &vector)?;
    let mac = common.authenticator.ciphertext_mac(common.epoch, ciphertext1.payload(), &ciphertext2);
    let mut payload = Box::new([0; CIPHERTEXT2_PAYLOAD_LEN]);
    payload[..CIPHERTEXT2_LEN].copy_from_slice(&ciphertext2);
    payload[CIPHERTEXT2_LEN..].copy_from_slice(&*mac);
    Ok(payload)
}
