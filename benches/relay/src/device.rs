//! Devices from a seed: seed and number give the device's keys.

use bytes::Bytes;
use ed25519_dalek::{Signer, SigningKey};
use kuvert_types::authentication::{CHALLENGE_LEN, statement};
use kuvert_types::certificate::CertificateBody;
use kuvert_types::device_list::{DeviceEntry, DeviceListBody};
use kuvert_types::{
    AccountId, AccountKey, Address, DeviceCertificate, DeviceId, DeviceList, DeviceSigningKey, IdentityKey, Signature,
};
use kuvert_wire::checked::to_wire;
use kuvert_wire::v1;
use sha2::{Digest, Sha256};

use crate::Outcome;

/// An account with one device.
#[derive(Clone)]
pub struct Device {
    account: SigningKey,
    signing: SigningKey,
    /// Where it is written to.
    pub address: Address,
}

impl std::fmt::Debug for Device {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Device").field("address", &self.address).finish_non_exhaustive()
    }
}

/// The address of the device with this number.
pub fn address(seed: u64, number: usize) -> Address {
    let mut account = [0; 16];
    account.copy_from_slice(&derive(seed, number, b"address")[..16]);
    Address { account: AccountId::from_bytes(account), device: DeviceId::PRIMARY }
}

/// Keys that every reader can compute: they protect nothing.
fn derive(seed: u64, number: usize, what: &[u8]) -> [u8; 32] {
    let digest = Sha256::new().chain_update(what).chain_update(seed.to_be_bytes()).chain_update(number.to_be_bytes());
    digest.finalize().into()
}

impl Device {
    /// The one with this number.
    pub fn new(seed: u64, number: usize) -> Self {
        Self {
            account: SigningKey::from_bytes(&derive(seed, number, b"account")),
            signing: SigningKey::from_bytes(&derive(seed, number, b"device")),
            address: address(seed, number),
        }
    }

    /// Makes an account of it.
    ///
    /// # Errors
    /// The signatures do not fit: a bug.
    pub fn register(&self, proof: &Proof) -> Outcome<v1::Register> {
        let account_key = AccountKey::from_bytes(self.account.verifying_key().to_bytes());
        let body = CertificateBody {
            address: self.address,
            account_key,
            signing_key: DeviceSigningKey::from_bytes(self.signing.verifying_key().to_bytes()),
            // The relay keeps it and does no more with it.
            identity_key: IdentityKey::from_bytes([9; 32]),
        };
        let (by_account, by_device) =
            (sign(&self.account, &body.account_statement()), sign(&self.signing, &body.device_statement()));
        let certificate = DeviceCertificate::assemble(body, by_account, by_device)?;
        let entry = DeviceEntry { device: self.address.device, certificate_hash: certificate.hash() };
        let list = DeviceListBody { account: self.address.account, number: 1, devices: vec![entry] };
        let by_account = sign(&self.account, &list.statement());
        let list = DeviceList::assemble(list, by_account, &account_key)?;
        Ok(v1::Register {
            certificate: certificate.encode().to_vec().into(),
            device_list: list.encode().into(),
            name: None,
            phone: None,
            invitation: None,
            signature: self.answer(proof),
        })
    }

    /// Proves that this is it.
    pub fn authenticate(&self, proof: &Proof) -> v1::Authenticate {
        v1::Authenticate { address: Some(to_wire(&self.address)), signature: self.answer(proof) }
    }

    fn answer(&self, proof: &Proof) -> Bytes {
        let statement = statement(&self.address, &proof.challenge, &proof.exporter);
        Bytes::copy_from_slice(sign(&self.signing, &statement).as_bytes())
    }
}

fn sign(key: &SigningKey, message: &[u8]) -> Signature {
    Signature::from_bytes(key.sign(message).to_bytes())
}

/// A relay's challenge and the connection's exporter.
#[derive(Clone, Debug)]
pub struct Proof {
    /// Drawn by the relay.
    pub challenge: [u8; CHALLENGE_LEN],
    /// Taken from the TLS connection.
    pub exporter: [u8; CHALLENGE_LEN],
}

#[cfg(test)]
mod tests {
    use super::address;

    #[test]
    fn every_number_and_seed_has_an_address_of_its_own() {
        assert_ne!(address(1, 1), address(1, 2));
        assert_ne!(address(1, 1), address(2, 1));
    }
}
