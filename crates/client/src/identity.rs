//! This home's account and device. Read again in each transaction: another process of the home may have changed its name,
//! its relay's address or its device list, and what was right a minute ago would accuse the relay of a fork.

use std::sync::Arc;

use kuvert_protocol::identity::{DeviceSecrets, LocalDevice};
use kuvert_types::{AccountId, AccountKey, Address, DeviceList, RelayUrl, UnverifiedDeviceCertificate};

use crate::devices;
use crate::error::Error;
use crate::fold::fold;
use crate::state::{self, OwnRow, damaged, own};
use crate::store::{Table, Transaction};

/// The account and this device of it.
pub(crate) struct Identity {
    /// Account and device.
    pub address: Address,
    /// The account's key.
    pub key: AccountKey,
    /// The account's device list.
    pub list: DeviceList,
    /// Where the relay is, as it was told last. Its fingerprint is pinned.
    pub relay: RelayUrl,
    /// The name at the relay.
    pub name: Option<String>,
    /// Whether the relay confirmed the registration.
    pub registered: bool,
    /// When the relay was asked to delete the account, Unix milliseconds; 0: it was not.
    pub deletion_asked_at: u64,
    /// When the account was known to be deleted, Unix milliseconds; 0: it is not.
    pub deleted_at: u64,
    /// The device with its secrets.
    pub device: LocalDevice,
}

impl Identity {
    fn load(tx: &dyn Transaction, row: &OwnRow) -> Result<Self, Error> {
        let secrets = tx.get(Table::Own, own::DEVICE_SECRETS)?.ok_or_else(|| damaged("device secrets"))?;
        let secrets: &[u8; 64] = secrets.as_slice().try_into().map_err(|_| damaged("device secrets"))?;
        let certificate = UnverifiedDeviceCertificate::decode(&row.certificate).map_err(|_| damaged("own account"))?;
        let certificate = certificate.verify().map_err(|_| damaged("own account"))?;
        let device = LocalDevice::new(DeviceSecrets::from_bytes(secrets), certificate);
        let key = certificate.account_key();
        Ok(Self {
            address: certificate.address(),
            key,
            list: devices::stored(&row.device_list, &key)?,
            relay: row.relay.parse().map_err(|_| damaged("own account"))?,
            name: row.name.clone(),
            registered: row.registered,
            deletion_asked_at: row.deletion_asked_at,
            deleted_at: row.deleted_at,
            device: device.map_err(|_| damaged("own account"))?,
        })
    }

    /// The account.
    pub const fn account(&self) -> AccountId {
        self.address.account
    }

    /// Refuses what needs an account at the relay.
    ///
    /// # Errors
    /// `account-deleted`.
    pub const fn must_exist(&self) -> Result<(), Error> {
        if self.deleted_at == 0 { Ok(()) } else { Err(Error::AccountDeleted) }
    }

    /// Whether a text, as a person types it, means this account.
    pub fn is_called(&self, who: &str) -> bool {
        self.name.as_deref().is_some_and(|name| fold(name) == fold(who)) || self.account().to_string() == who
    }
}

/// What the last transaction read, and the row that it was made of: verifying the same signatures again shows nothing new.
#[derive(Default)]
pub(crate) struct Cached(Option<(OwnRow, Arc<Identity>)>);

impl Cached {
    /// The identity that `tx` sees.
    ///
    /// # Errors
    /// `none`, where there is no account; those of the store.
    pub fn get(&mut self, tx: &dyn Transaction, none: impl FnOnce() -> Error) -> Result<Arc<Identity>, Error> {
        let row: OwnRow = state::get(tx, Table::Own, own::ACCOUNT)?.ok_or_else(none)?;
        if let Some((known, identity)) = &self.0
            && *known == row
        {
            return Ok(Arc::clone(identity));
        }
        let identity = Arc::new(Identity::load(tx, &row)?);
        self.0 = Some((row, Arc::clone(&identity)));
        Ok(identity)
    }
}
