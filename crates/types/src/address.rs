//! Addresses: an account, and one of its devices.

use alloc::string::String;
use core::fmt;
use core::num::NonZeroU32;
use core::str::FromStr;

use data_encoding::BASE32_NOPAD;

use crate::reader::{DecodeError, Reader, decimal};

macro_rules! random_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 16]);

        impl $name {
            /// Length in bytes.
            pub const LEN: usize = 16;

            /// Takes 16 bytes drawn at random.
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(bytes)
            }

            /// The 16 bytes.
            pub const fn as_bytes(&self) -> &[u8; 16] {
                &self.0
            }
        }

        impl TryFrom<&[u8]> for $name {
            type Error = DecodeError;

            fn try_from(bytes: &[u8]) -> Result<Self, DecodeError> {
                bytes.try_into().map(Self).map_err(|_| DecodeError::Length)
            }
        }

        /// Lower-case base 32 (RFC 4648, no padding): 26 characters.
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut text = BASE32_NOPAD.encode(&self.0);
                text.make_ascii_lowercase();
                f.write_str(&text)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }

        impl FromStr for $name {
            type Err = DecodeError;

            /// [KV-011]
            fn from_str(text: &str) -> Result<Self, DecodeError> {
                let upper: String = text.to_ascii_uppercase();
                let bytes = BASE32_NOPAD.decode(upper.as_bytes()).map_err(|_| DecodeError::Value)?;
                Self::try_from(bytes.as_slice())
            }
        }
    };
}

random_id! {
    /// Names an account. 16 random bytes that its first device drew: they say nothing about the person, and the relay
    /// cannot enumerate them.
    AccountId
}

random_id! {
    /// Names one envelope, drawn at random by its sender. Submitting the same envelope twice is the same as once.
    EnvelopeId
}

random_id! {
    /// Names a blob at a relay, drawn at random by the relay: a file that its sender encrypted.
    BlobId
}

/// Names a device of an account, counted from 1 in the order of linking.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct DeviceId(NonZeroU32);

impl DeviceId {
    /// The device on which the account was made.
    pub const PRIMARY: Self = Self(NonZeroU32::MIN);

    /// A device number.
    ///
    /// # Errors
    /// [`DecodeError::Value`]: the number is zero.
    pub fn new(number: u32) -> Result<Self, DecodeError> {
        NonZeroU32::new(number).map(Self).ok_or(DecodeError::Value)
    }

    /// The number, at least 1.
    pub const fn get(self) -> u32 {
        self.0.get()
    }
}

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One device of one account: where an envelope goes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    /// The account.
    pub account: AccountId,
    /// The device.
    pub device: DeviceId,
}

impl Address {
    /// Length of the encoding in bytes.
    pub const LEN: usize = AccountId::LEN + 4;

    /// Account id, then the device number as u32 big-endian.
    pub fn to_bytes(&self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        let (account, device) = bytes.split_at_mut(AccountId::LEN);
        account.copy_from_slice(self.account.as_bytes());
        device.copy_from_slice(&self.device.get().to_be_bytes());
        bytes
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            account: AccountId::from_bytes(reader.array()?),
            device: DeviceId::new(u32::from_be_bytes(reader.array()?))?,
        })
    }
}

impl TryFrom<&[u8]> for Address {
    type Error = DecodeError;

    fn try_from(bytes: &[u8]) -> Result<Self, DecodeError> {
        Reader::whole(bytes, Self::read)
    }
}

/// `account.device`
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.account, self.device)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({self})")
    }
}

impl FromStr for Address {
    type Err = DecodeError;

    fn from_str(text: &str) -> Result<Self, DecodeError> {
        let (account, device) = text.split_once('.').ok_or(DecodeError::Value)?;
        let device = DeviceId::new(decimal(device).ok_or(DecodeError::Value)?)?;
        Ok(Self { account: account.parse()?, device })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn text_and_bytes_round_trip() {
        let address = Address { account: AccountId::from_bytes([0xA5; 16]), device: DeviceId::new(7).unwrap() };
        assert_eq!(address.to_string().parse(), Ok(address));
        assert_eq!(Address::try_from(address.to_bytes().as_slice()), Ok(address));
    }

    #[test]
    fn refuses_device_zero_and_wrong_lengths() {
        assert_eq!(DeviceId::new(0), Err(DecodeError::Value));
        let mut bytes = Address { account: AccountId::from_bytes([1; 16]), device: DeviceId::PRIMARY }.to_bytes();
        assert_eq!(Address::try_from(&bytes[..19]), Err(DecodeError::Length));
        bytes[19] = 0;
        assert_eq!(Address::try_from(bytes.as_slice()), Err(DecodeError::Value));
        assert!("abc.1".parse::<Address>().is_err());
        let account = AccountId::from_bytes([1; 16]);
        for device in ["", "0", "01", "+1", "1 "] {
            assert!(alloc::format!("{account}.{device}").parse::<Address>().is_err(), "{device}");
        }
    }
}
