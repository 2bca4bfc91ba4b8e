//! What the relay says about accounts: looking one up, and checking what comes.

use kuvert_protocol::identity::account_key_fingerprint;
use kuvert_types::limits::is_valid_name;
use kuvert_types::{AccountId, AccountKey, DeviceList, UnverifiedDeviceCertificate};
use kuvert_wire::v1::{self, client_frame, server_frame};

use crate::devices;
use crate::error::Error;
use crate::transport::{Link, RelayError};

/// What a relay says about an account, after everything that can be checked without trust was checked: it is
/// all of one piece under *some* account key.
#[derive(Clone, PartialEq, Debug)]
pub struct Account {
    /// The account.
    pub id: AccountId,
    /// The key that the relay shows.
    pub key: AccountKey,
    /// The list under that key.
    pub list: DeviceList,
    /// The name at the relay.
    pub name: Option<String>,
}

impl Account {
    /// Checks a record.
    ///
    /// # Errors
    /// What does not fit.
    pub fn check(record: &v1::AccountRecord) -> Result<Self, &'static str> {
        let id = AccountId::try_from(record.account.as_ref()).map_err(|_| "account id")?;
        let key = record.account_key.as_ref().try_into().map_err(|_| "account key")?;
        let key = AccountKey::from_bytes(key);
        let list = devices::signed(&record.device_list, &id, &key).map_err(|_| "device list")?;
        for bytes in &record.certificates {
            let certificate = UnverifiedDeviceCertificate::decode(bytes).map_err(|_| "device certificate")?;
            let certificate = certificate.verify().map_err(|_| "device certificate")?;
            // [KV-016] One that the list leaves out is a device that was removed: it plays no part. Another key or account
            // is a mistake or a lie.
            if certificate.account_key() != key || certificate.address().account != id {
                return Err("device certificate");
            }
        }
        let name = record.name.clone().filter(|name| is_valid_name(name));
        Ok(Self { id, key, list, name })
    }

    /// As in invite links.
    pub fn fingerprint(&self) -> [u8; 32] {
        account_key_fingerprint(&self.id, &self.key)
    }
}

/// Looks an account up at the relay.
///
/// # Errors
/// Those of the connection; `Ok(Err)`: the relay says no.
pub(crate) async fn look_up(
    link: &Link,
    by: v1::get_account::By,
) -> Result<Result<v1::AccountRecord, RelayError>, Error> {
    match link.request(client_frame::Body::GetAccount(v1::GetAccount { by: Some(by) })).await? {
        Ok(server_frame::Body::Account(record)) => Ok(Ok(record)),
        Ok(_) => Err(Error::RelayProtocol { what: "no account record" }),
        Err(refusal) => Ok(Err(refusal)),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use kuvert_protocol::identity::{AccountSecret, DeviceSecrets};
    use kuvert_types::device_list::{DeviceEntry, DeviceListBody};
    use kuvert_types::{Address, DeviceId};

    pub(crate) const ID: AccountId = AccountId::from_bytes([1; 16]);

    /// What an honest relay shows of a new account with this id.
    pub(crate) fn record(number: u64) -> v1::AccountRecord {
        let mut rng = crate::rng::system_rng();
        let (secret, device) = (AccountSecret::generate(&mut rng), DeviceSecrets::generate(&mut rng));
        let certificate = device.certify(&secret, Address { account: ID, device: DeviceId::PRIMARY });
        let devices = vec![DeviceEntry { device: DeviceId::PRIMARY, certificate_hash: certificate.hash() }];
        let list = secret.sign_device_list(&DeviceListBody { account: ID, number, devices }).unwrap();
        v1::AccountRecord {
            account: ID.as_bytes().to_vec().into(),
            account_key: secret.public().as_bytes().to_vec().into(),
            device_list: list.encode().into(),
            certificates: vec![certificate.encode().to_vec().into()],
            name: Some("bob".into()),
            last_seen: Vec::new(),
        }
    }

    #[test]
    fn records_have_to_be_of_one_piece() {
        let (good, other) = (record(1), record(1));
        assert!(Account::check(&good).is_ok());
        for mixed in [
            v1::AccountRecord { account_key: other.account_key, ..good.clone() },
            v1::AccountRecord { device_list: other.device_list, ..good.clone() },
            v1::AccountRecord { certificates: other.certificates, ..good.clone() },
            v1::AccountRecord { account: vec![2; 16].into(), ..good.clone() },
        ] {
            assert!(Account::check(&mixed).is_err());
        }
        let unnamed = v1::AccountRecord { name: Some("\x1b[2J".into()), ..good };
        assert_eq!(Account::check(&unnamed).unwrap().name, None);
    }
}
