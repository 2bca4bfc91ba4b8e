//! The stored form of a side of the Braid.
//!
//! ```text
//! tag (1) ‖ epoch (8), then for every state but Failed: authenticator root (32) ‖ MAC key (32), then
//!
//!  0 KeysUnsampled         –
//!  1 KeysSampled           seed (64) ‖ vector (1152) ‖ header payload (96) ‖ next index (2)
//!  2 HeaderSent            seed (64) ‖ vector (1152) ‖ next index (2) ‖ chunks of c₁
//!  3 Ct1Received           seed (64) ‖ vector (1152) ‖ next index (2) ‖ c₁ (960)
//!  4 EkSentCt1Received     seed (64) ‖ c₁ (960) ‖ chunks of c₂ and MAC
//!  5 NoHeaderReceived      chunks of header and MAC
//!  6 HeaderReceived        header (64)
//!  7 Ct1Sampled            header (64) ‖ m (32) ‖ c₁ (960) ‖ next index (2) ‖ chunks of vector
//!  8 EkReceivedCt1Sampled  c₁ (960) ‖ next index (2) ‖ c₂ and MAC (160)
//!  9 Ct1Acknowledged       header (64) ‖ m (32) ‖ c₁ (960) ‖ chunks of vector
//! 10 Ct2Sampled            c₂ and MAC (160) ‖ next index (2)
//! 11 Failed                reason (1): 1 a MAC, 2 an encapsulation key
//!
//! chunks: count (1) ‖ (index (2) ‖ chunk (128))…, by index, fewer than would complete the payload
//! ```
//!
//! The version is the surrounding session's. The longest is `Ct1Received`, 2,251 bytes.

use alloc::boxed::Box;
use alloc::vec::Vec;

use kuvert_types::{DecodeError, Reader};
use zeroize::Zeroizing;

use super::authenticator::Authenticator;
use super::encapsulator::{
    Ct1Acknowledged, Ct1Sampled, Ct2Sampled, EkReceivedCt1Sampled, HeaderReceived, NoHeaderReceived,
};
use super::erasure::{Decoder, Encoder};
use super::holder::{Ct1Received, EkSentCt1Received, HeaderSent, KeysSampled, KeysUnsampled};
use super::{CIPHERTEXT2_PAYLOAD_LEN, Common, Failed, HEADER_PAYLOAD_LEN, State};
use crate::primitives::kem768::{CIPHERTEXT1_LEN, EncapsulationSeed, KeyPairSeed, VECTOR_LEN};
use crate::scka::SckaFailure;

pub(super) fn encode(state: &State, out: &mut Zeroizing<Vec<u8>>) {
    match state {
        State::KeysUnsampled(KeysUnsampled { common }) => begin(0, common, out),
        State::KeysSampled(KeysSampled { common, pair, vector, header }) => {
            begin(1, common, out);
            out.extend_from_slice(pair.as_bytes());
            out.extend_from_slice(&**vector);
            put_encoder(header, out);
        }
        State::HeaderSent(HeaderSent { common, pair, vector, ciphertext1 }) => {
            begin(2, common, out);
            out.extend_from_slice(pair.as_bytes());
            put_encoder(vector, out);
            ciphertext1.encode(out);
        }
        State::Ct1Received(Ct1Received { common, pair, vector, ciphertext1 }) => {
            begin(3, common, out);
            out.extend_from_slice(pair.as_bytes());
            put_encoder(vector, out);
            out.extend_from_slice(&**ciphertext1);
        }
        State::EkSentCt1Received(EkSentCt1Received { common, pair, ciphertext1, ciphertext2 }) => {
            begin(4, common, out);
            out.extend_from_slice(pair.as_bytes());
            out.extend_from_slice(&**ciphertext1);
            ciphertext2.encode(out);
        }
        State::NoHeaderReceived(NoHeaderReceived { common, header }) => {
            begin(5, common, out);
            header.encode(out);
        }
        State::HeaderReceived(HeaderReceived { common, header }) => {
            begin(6, common, out);
            out.extend_from_slice(header);
        }
        State::Ct1Sampled(Ct1Sampled { common, header, seed, ciphertext1, vector }) => {
            begin(7, common, out);
            out.extend_from_slice(header);
            out.extend_from_slice(seed.as_bytes());
            put_encoder(ciphertext1, out);
            vector.encode(out);
        }
        State::EkReceivedCt1Sampled(EkReceivedCt1Sampled { common, ciphertext1, ciphertext2 }) => {
            begin(8, common, out);
            put_encoder(ciphertext1, out);
            out.extend_from_slice(&**ciphertext2);
        }
        State::Ct1Acknowledged(Ct1Acknowledged { common, header, seed, ciphertext1, vector }) => {
            begin(9, common, out);
            out.extend_from_slice(header);
            out.extend_from_slice(seed.as_bytes());
            out.extend_from_slice(ciphertext1.payload());
            vector.encode(out);
        }
        State::Ct2Sampled(Ct2Sampled { common, ciphertext2 }) => {
            begin(10, common, out);
            put_encoder(ciphertext2, out);
        }
        State::Failed(Failed { epoch, failure }) => {
            out.push(11);
            out.extend_from_slice(&epoch.to_be_bytes());
            out.push(match failure {
                SckaFailure::Authentication => 1,
                SckaFailure::EncapsulationKey => 2,
            });
        }
    }
}

pub(super) fn decode(reader: &mut Reader<'_>) -> Result<State, DecodeError> {
    let tag = reader.u8()?;
    let epoch = reader.u64()?;
    if epoch == 0 {
        return Err(DecodeError::Value);
    }
    if tag == 11 {
        let failure = match reader.u8()? {
            1 => SckaFailure::Authentication,
            2 => SckaFailure::EncapsulationKey,
            _ => return Err(DecodeError::Value),
        };
        return Ok(State::Failed(Failed { epoch, failure }));
    }
    let common = Common { epoch, authenticator: Authenticator::decode(reader)? };
    Ok(match tag {
        0 => State::KeysUnsampled(KeysUnsampled { common }),
        1 => State::KeysSampled(KeysSampled {
            common,
            pair: pair(reader)?,
            vector: boxed(reader)?,
            header: encoder(HEADER_PAYLOAD_LEN, reader)?,
        }),
        2 => State::HeaderSent(HeaderSent {
            common,
            pair: pair(reader)?,
            vector: encoder(VECTOR_LEN, reader)?,
            ciphertext1: Decoder::decode(CIPHERTEXT1_LEN, reader)?,
        }),
        3 => State::Ct1Received(Ct1Received {
            common,
            pair: pair(reader)?,
            vector: encoder(VECTOR_LEN, reader)?,
            ciphertext1: boxed(reader)?,
        }),
        4 => State::EkSentCt1Received(EkSentCt1Received {
            common,
            pair: pair(reader)?,
            ciphertext1: boxed(reader)?,
            ciphertext2: Decoder::decode(CIPHERTEXT2_PAYLOAD_LEN, reader)?,
        }),
        5 => State::NoHeaderReceived(NoHeaderReceived { common, header: Decoder::decode(HEADER_PAYLOAD_LEN, reader)? }),
        6 => State::HeaderReceived(HeaderReceived { common, header: reader.array()? }),
        7 => State::Ct1Sampled(Ct1Sampled {
            common,
            header: reader.array()?,
            seed: seed(reader)?,
            ciphertext1: encoder(CIPHERTEXT1_LEN, reader)?,
            vector: Decoder::decode(VECTOR_LEN, reader)?,
        }),
        8 => State::EkReceivedCt1Sampled(EkReceivedCt1Sampled {
            common,
            ciphertext1: encoder(CIPHERTEXT1_LEN, reader)?,
            ciphertext2: boxed(reader)?,
        }),
        9 => State::Ct1Acknowledged(Ct1Acknowledged {
            common,
            header: reader.array()?,
            seed: seed(reader)?,
            ciphertext1: Encoder::new(reader.bytes(CIPHERTEXT1_LEN)?),
            vector: Decoder::decode(VECTOR_LEN, reader)?,
        }),
        10 => State::Ct2Sampled(Ct2Sampled { common, ciphertext2: encoder(CIPHERTEXT2_PAYLOAD_LEN, reader)? }),
        _ => return Err(DecodeError::Value),
    })
}

fn begin(tag: u8, common: &Common, out: &mut Zeroizing<Vec<u8>>) {
    let Common { epoch, authenticator } = common;
    out.push(tag);
    out.extend_from_slice(&epoch.to_be_bytes());
    authenticator.encode(out);
}

/// `payload ‖ next index (2)`
fn put_encoder(encoder: &Encoder, out: &mut Zeroizing<Vec<u8>>) {
    out.extend_from_slice(encoder.payload());
    out.extend_from_slice(&encoder.next_index().to_be_bytes());
}

fn encoder(len: usize, reader: &mut Reader<'_>) -> Result<Encoder, DecodeError> {
    let payload = reader.bytes(len)?;
    Ok(Encoder::resume(payload, reader.u16()?))
}

fn pair(reader: &mut Reader<'_>) -> Result<KeyPairSeed, DecodeError> {
    reader.bytes(64)?.try_into().map(KeyPairSeed::from_bytes).map_err(|_| DecodeError::Length)
}

fn seed(reader: &mut Reader<'_>) -> Result<EncapsulationSeed, DecodeError> {
    reader.bytes(32)?.try_into().map(EncapsulationSeed::from_bytes).map_err(|_| DecodeError::Length)
}

fn boxed<const N: usize>(reader: &mut Reader<'_>) -> Result<Box<[u8; N]>, DecodeError> {
    Box::<[u8]>::from(reader.bytes(N)?).try_into().map_err(|_| DecodeError::Length)
}
