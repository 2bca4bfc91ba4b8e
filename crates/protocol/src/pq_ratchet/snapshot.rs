//! The stored form of the ratchet. The version is the surrounding session's.
//!
//! ```text
//! agreement (see its own module)
//! and unless the agreement has failed:
//! role (1): 0 initiator, 1 recipient ‖ root (32) ‖ number of epochs (1) ‖ epochs, oldest first, the newest one last
//!
//! epoch:     flags (1): bit 0 a sending chain ‖ [sending key (32) ‖ next (4)] ‖ receiving key (32) ‖ next (4)
//!            ‖ number of skipped keys (2) ‖ (n (4) ‖ key (32))…, by n
//! ```
//!
//! At most 2,552 bytes without skipped keys, at most 74,552 with [`MAX_SKIPPED_KEYS`] of them: 2,251 for the agreement, 34
//! for role, root and number, 39 for each of five epochs, 36 for each of two sending chains, 36 for each skipped key.
//!
//! The epochs' numbers follow from the agreement. Decoding refuses everything that encoding could not have written.

use alloc::vec::Vec;

use kuvert_types::{DecodeError, Reader};
use zeroize::Zeroizing;

use super::chain::{Chain, EpochChains, SkippedKey};
use super::{MAX_OLD_EPOCHS, MAX_SKIPPED_KEYS, PostQuantumRatchet, Role, copied};
use crate::scka::{Epoch, Scka};
use crate::stored::reserve;
use crate::wiped::Wiped;

impl<S: Scka> PostQuantumRatchet<S> {
    /// Appends the whole state, secrets included.
    pub fn encode(&self, out: &mut Zeroizing<Vec<u8>>) {
        let Self { role, root, epochs, agreement } = self;
        // Room for everything at once: a vector that grows leaves copies of keys behind.
        reserve(out, self.encoded_len());
        agreement.encode(out);
        if agreement.failure().is_some() {
            return;
        }
        out.push(match role {
            Role::Initiator => 0,
            Role::Recipient => 1,
        });
        out.extend_from_slice(&**root);
        out.push(u8::try_from(epochs.len()).unwrap_or(u8::MAX)); // at most MAX_OLD_EPOCHS + 1
        for chains in epochs {
            encode_chains(chains, out);
        }
    }

    /// Bytes that [`encode`](Self::encode) appends, at most.
    pub(super) fn encoded_len(&self) -> usize {
        let skipped: usize = self.epochs.iter().map(|chains| chains.skipped_len()).sum();
        2_500 + self.epochs.len() * 80 + skipped * 36
    }

    /// Reads what [`Self::encode`] wrote.
    pub fn decode_with(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let agreement = S::decode(reader)?;
        if agreement.failure().is_some() {
            let root = Zeroizing::new([0; 32]);
            return Ok(Self { role: Role::Initiator, root, epochs: Vec::new(), agreement });
        }
        let role = match reader.u8()? {
            0 => Role::Initiator,
            1 => Role::Recipient,
            _ => return Err(DecodeError::Value),
        };
        let root = copied(reader.bytes(32)?);

        let newest = agreement.newest_epoch();
        let count = u64::from(reader.u8()?);
        if count != newest.min(MAX_OLD_EPOCHS) + 1 {
            return Err(DecodeError::Value);
        }
        let mut epochs = Vec::new();
        for epoch in newest + 1 - count..=newest {
            let chains = decode_chains(epoch, reader)?;
            // This side can send under its sending epoch and later ones, and no others.
            if chains.sending.is_some() != (epoch >= agreement.sending_epoch()) {
                return Err(DecodeError::Value);
            }
            epochs.push(Wiped::new(chains));
        }
        if epochs.iter().map(|chains| chains.skipped_len()).sum::<usize>() > MAX_SKIPPED_KEYS {
            return Err(DecodeError::Value);
        }
        Ok(Self { role, root, epochs, agreement })
    }
}

impl PostQuantumRatchet {
    /// Reads what [`Self::encode`] wrote. Leaves the reader behind it.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Self::decode_with(reader)
    }
}

fn encode_chains(chains: &EpochChains, out: &mut Zeroizing<Vec<u8>>) {
    let EpochChains { epoch: _, sending, receiving, skipped } = chains;
    out.push(u8::from(sending.is_some()));
    if let Some(chain) = sending {
        encode_chain(chain, out);
    }
    encode_chain(receiving, out);
    out.extend_from_slice(&u16::try_from(skipped.len()).unwrap_or(u16::MAX).to_be_bytes()); // at most MAX_SKIPPED_KEYS
    for SkippedKey { n, key } in skipped {
        out.extend_from_slice(&n.to_be_bytes());
        out.extend_from_slice(key);
    }
}

fn decode_chains(epoch: Epoch, reader: &mut Reader<'_>) -> Result<EpochChains, DecodeError> {
    let sending = match reader.u8()? {
        0 => None,
        1 => Some(decode_chain(reader)?),
        _ => return Err(DecodeError::Value),
    };
    let receiving = decode_chain(reader)?;
    let count = usize::from(reader.u16()?);
    if count > MAX_SKIPPED_KEYS {
        return Err(DecodeError::Value);
    }
    let mut skipped: Vec<SkippedKey> = Vec::with_capacity(count);
    for _ in 0..count {
        let n = reader.u32()?;
        if n >= receiving.next || skipped.last().is_some_and(|last| last.n >= n) {
            return Err(DecodeError::Value);
        }
        skipped.push(SkippedKey { n, key: reader.array()? });
    }
    Ok(EpochChains { epoch, sending, receiving, skipped })
}

fn encode_chain(Chain { key, next }: &Chain, out: &mut Zeroizing<Vec<u8>>) {
    out.extend_from_slice(key);
    out.extend_from_slice(&next.to_be_bytes());
}

fn decode_chain(reader: &mut Reader<'_>) -> Result<Chain, DecodeError> {
    Ok(Chain { key: reader.array()?, next: reader.u32()? })
}
