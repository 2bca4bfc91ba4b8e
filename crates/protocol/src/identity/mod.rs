//! Identities: the account key that people compare, and the two keys of each device (PROTOCOL.md, Identities).

mod account;
mod device;
mod safety_number;

pub use account::AccountSecret;
pub use device::{DeviceSecrets, LocalDevice, LocalDeviceError};
pub use safety_number::{SafetyNumber, account_key_fingerprint, safety_number};
