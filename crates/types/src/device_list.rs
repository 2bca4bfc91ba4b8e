//! A device list: signed by the account key, numbered upwards. A relay cannot add a ghost device to it, and a client
//! refuses one that is unsigned, older than what it knows, or different under the same number.
//!
//! ```text
//! version u8 = 1 ‖ account id 16 ‖ number u64 ‖ count u16 ‖ count × (device id u32 ‖ certificate hash 32)   the body
//! ‖ signature 64: account key over  label "Kuvert/1 device list" ‖ body
//! ```
//! Integers are big-endian; devices ascend strictly by id; the count is 1 to [`MAX_DEVICES`].

use alloc::vec::Vec;

use sha2::{Digest, Sha256};

use crate::address::{AccountId, DeviceId};
use crate::certificate::DeviceCertificate;
use crate::keys::AccountKey;
use crate::label::DEVICE_LIST;
use crate::limits::MAX_DEVICES;
use crate::reader::{DecodeError, Reader};
use crate::signature::{Signature, SignatureError};

const VERSION: u8 = 1;

/// One device as the list names it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DeviceEntry {
    /// The device's number.
    pub device: DeviceId,
    /// [`DeviceCertificate::hash`].
    pub certificate_hash: [u8; 32],
}

/// What a list says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeviceListBody {
    /// The account that the devices belong to.
    pub account: AccountId,
    /// Counts up by at least one with every change.
    pub number: u64,
    /// Ascending by device id, 1 to [`MAX_DEVICES`] of them.
    pub devices: Vec<DeviceEntry>,
}

impl DeviceListBody {
    fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(27 + 36 * self.devices.len());
        bytes.push(VERSION);
        bytes.extend_from_slice(self.account.as_bytes());
        bytes.extend_from_slice(&self.number.to_be_bytes());
        // A decoded list has at most MAX_DEVICES entries; `assemble` checks the same for a new one.
        bytes.extend_from_slice(&u16::try_from(self.devices.len()).unwrap_or(u16::MAX).to_be_bytes());
        for entry in &self.devices {
            bytes.extend_from_slice(&entry.device.get().to_be_bytes());
            bytes.extend_from_slice(&entry.certificate_hash);
        }
        bytes
    }

    /// What the account key signs.
    pub fn statement(&self) -> Vec<u8> {
        [DEVICE_LIST.as_slice(), &self.to_bytes()].concat()
    }

    /// [KV-014] 1 to [`MAX_DEVICES`] devices, strictly ascending.
    fn is_well_formed(&self) -> bool {
        (1..=MAX_DEVICES).contains(&self.devices.len()) && self.devices.is_sorted_by(|a, b| a.device < b.device)
    }
}

/// A list as received. Nothing in it may be used before [`verify`](Self::verify).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UnverifiedDeviceList {
    body: DeviceListBody,
    signature: Signature,
}

impl UnverifiedDeviceList {
    /// Reads a whole list.
    ///
    /// # Errors
    /// [`DecodeError::Length`], [`DecodeError::Version`]; [`DecodeError::Value`] for no or too many devices, or devices out of
    /// order.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        Reader::whole(bytes, |reader| {
            if reader.u8()? != VERSION {
                return Err(DecodeError::Version);
            }
            let account = AccountId::from_bytes(reader.array()?);
            let number = reader.u64()?;
            let count = usize::from(reader.u16()?);
            if !(1..=MAX_DEVICES).contains(&count) {
                return Err(DecodeError::Value);
            }
            let mut devices = Vec::with_capacity(count);
            for _ in 0..count {
                devices.push(DeviceEntry { device: DeviceId::new(reader.u32()?)?, certificate_hash: reader.array()? });
            }
            let body = DeviceListBody { account, number, devices };
            if !body.is_well_formed() {
                return Err(DecodeError::Value);
            }
            Ok(Self { body, signature: Signature::from_bytes(reader.array()?) })
        })
    }

    /// Checks the signature with the key that the caller trusts for the account.
    ///
    /// # Errors
    /// [`SignatureError`]: the signature does not verify.
    pub fn verify(self, account_key: &AccountKey) -> Result<DeviceList, SignatureError> {
        self.signature.verify(account_key.as_bytes(), &self.body.statement())?;
        Ok(DeviceList(self))
    }
}

/// Number and hash of a list: what every encrypted content carries, so that a relay that shows different lists to
/// different people is found out by the next message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DeviceListState {
    /// [`DeviceListBody::number`].
    pub number: u64,
    /// [`DeviceList::hash`].
    pub hash: [u8; 32],
}

/// Why a list that is properly signed is still refused.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DeviceListConflict {
    /// Another account's list.
    #[error("the device list belongs to another account")]
    OtherAccount,
    /// A lower number than the one known: the list was replaced by an older one.
    #[error("the device list is older than the one already known")]
    Older,
    /// The number known, with other content: different lists are shown to different people.
    #[error("two different device lists carry the same number")]
    Forked,
}

/// A list whose signature verified.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeviceList(UnverifiedDeviceList);

impl DeviceList {
    /// Puts a list together and checks it as a stranger would.
    ///
    /// # Errors
    /// [`SignatureError`]: the signature does not verify, or the body breaks the rules in the module's head.
    pub fn assemble(body: DeviceListBody, signature: Signature, key: &AccountKey) -> Result<Self, SignatureError> {
        if !body.is_well_formed() {
            return Err(SignatureError);
        }
        UnverifiedDeviceList { body, signature }.verify(key)
    }

    /// What it says.
    pub const fn body(&self) -> &DeviceListBody {
        &self.0.body
    }

    /// SHA-256 of the body.
    pub fn hash(&self) -> [u8; 32] {
        Sha256::digest(self.0.body.to_bytes()).into()
    }

    /// Number and hash.
    pub fn state(&self) -> DeviceListState {
        DeviceListState { number: self.0.body.number, hash: self.hash() }
    }

    /// Whether the list names this device with these keys [KV-016].
    pub fn names(&self, certificate: &DeviceCertificate) -> bool {
        certificate.address().account == self.0.body.account
            && self.0.body.devices.iter().any(|entry| {
                entry.device == certificate.address().device && entry.certificate_hash == certificate.hash()
            })
    }

    /// Whether this list may take the place of `known` [KV-015]. Equal lists may.
    ///
    /// # Errors
    /// See [`DeviceListConflict`].
    pub fn may_replace(&self, known: &Self) -> Result<(), DeviceListConflict> {
        let (new, old) = (self.body(), known.body());
        if new.account != old.account {
            Err(DeviceListConflict::OtherAccount)
        } else if new.number < old.number {
            Err(DeviceListConflict::Older)
        } else if new.number == old.number && new != old {
            Err(DeviceListConflict::Forked)
        } else {
            Ok(())
        }
    }

    /// The encoding.
    pub fn encode(&self) -> Vec<u8> {
        [self.0.body.to_bytes().as_slice(), self.0.signature.as_bytes()].concat()
    }
}
