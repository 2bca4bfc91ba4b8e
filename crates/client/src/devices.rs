//! Device lists: which devices a contact has, as its account key says. A relay only carries them, and may try to show an
//! old one, a false one, or different ones to different people.
//!
//! A list is taken if it is signed by the pinned key, not older than the one known, and in line with what the contact itself
//! said: every content carries number and hash of both sides' lists.

use kuvert_types::device_list::DeviceListConflict;
use kuvert_types::{AccountId, AccountKey, DeviceCertificate, DeviceList, DeviceListState, UnverifiedDeviceList};

use crate::error::Error;
use crate::event::ListConflict;
use crate::state::{ContactRow, damaged};

impl ListConflict {
    /// In words, as in "a device list that is …".
    pub const fn words(self) -> &'static str {
        match self {
            Self::Unsigned => "not signed by their account key",
            Self::Older => "older than one already known",
            Self::Forked => "different from one with the same number",
        }
    }
}

/// A list that was stored after it verified.
pub fn stored(bytes: &[u8], key: &AccountKey) -> Result<DeviceList, Error> {
    let list = UnverifiedDeviceList::decode(bytes).map_err(|_| damaged("device lists"))?;
    list.verify(key).map_err(|_| damaged("device lists"))
}

/// The contact's list, if one is known.
pub fn of(contact: &ContactRow) -> Result<Option<DeviceList>, Error> {
    let key = contact.key()?;
    contact.device_list.as_deref().map(|bytes| stored(bytes, &key)).transpose()
}

/// [KV-016] Whether the newest list known of a contact names the device of a certificate. With none known there is nothing to
/// compare.
pub fn lists(contact: &ContactRow, certificate: &DeviceCertificate) -> Result<bool, Error> {
    Ok(of(contact)?.is_none_or(|list| list.names(certificate)))
}

/// Whether the contact has named a newer list of its own than the one known.
pub fn is_behind(contact: &ContactRow) -> Result<bool, Error> {
    Ok(of(contact)?.is_none_or(|list| list.body().number < contact.claimed_number))
}

/// Decodes a list that a relay shows and checks that it is signed, and this account's.
///
/// # Errors
/// [`ListConflict::Unsigned`].
pub fn signed(bytes: &[u8], account: &AccountId, key: &AccountKey) -> Result<DeviceList, ListConflict> {
    let list = UnverifiedDeviceList::decode(bytes).map_err(|_| ListConflict::Unsigned)?;
    let list = list.verify(key).map_err(|_| ListConflict::Unsigned)?;
    if list.body().account == *account { Ok(list) } else { Err(ListConflict::Unsigned) }
}

/// Takes a list that a relay shows for a contact, if nothing known contradicts it.
pub fn take(contact: &mut ContactRow, fresh: &DeviceList) -> Result<Result<(), ListConflict>, Error> {
    if let Some(known) = of(contact)? {
        match fresh.may_replace(&known) {
            Ok(()) => {}
            Err(DeviceListConflict::Older) => return Ok(Err(ListConflict::Older)),
            Err(DeviceListConflict::Forked) => return Ok(Err(ListConflict::Forked)),
            // Another account's; and whatever else a later version refuses for.
            Err(_) => return Ok(Err(ListConflict::Unsigned)),
        }
    }
    let state = fresh.state();
    if let Err(conflict) = compare(state, claimed(contact)) {
        return Ok(Err(conflict));
    }
    contact.device_list = Some(fresh.encode());
    Ok(Ok(()))
}

/// What the contact last said about its own list.
fn claimed(contact: &ContactRow) -> Option<DeviceListState> {
    let hash = contact.claimed_hash.as_slice().try_into().ok()?;
    Some(DeviceListState { number: contact.claimed_number, hash })
}

/// Whether `shown` can stand beside what its owner claims.
fn compare(shown: DeviceListState, claimed: Option<DeviceListState>) -> Result<(), ListConflict> {
    match claimed {
        Some(claimed) if shown.number < claimed.number => Err(ListConflict::Older),
        Some(claimed) if shown.number == claimed.number && shown.hash != claimed.hash => Err(ListConflict::Forked),
        _ => Ok(()),
    }
}

/// Notes what a contact says about its own list in a message. `true`: the list known here is behind and should be looked
/// up again.
///
/// # Errors
/// The relay showed this home another list than the contact has under the same number.
pub fn note_claim(contact: &mut ContactRow, claim: DeviceListState) -> Result<Result<bool, ListConflict>, Error> {
    let known = of(contact)?.map(|list| list.state());
    if let Some(known) = known
        && known.number == claim.number
        && known.hash != claim.hash
    {
        return Ok(Err(ListConflict::Forked));
    }
    // Messages may arrive late: a lower claim than an earlier one is no conflict.
    if claimed(contact).is_none_or(|earlier| earlier.number < claim.number) {
        contact.claimed_number = claim.number;
        contact.claimed_hash = claim.hash.to_vec();
    }
    Ok(Ok(known.is_none_or(|known| known.number < claim.number)))
}

/// Compares what a contact believes about *our* list with the truth. A lower number is only old.
pub fn check_belief(own: DeviceListState, belief: DeviceListState) -> Result<(), ListConflict> {
    if belief.number > own.number || (belief.number == own.number && belief.hash != own.hash) {
        Err(ListConflict::Forked)
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kuvert_protocol::identity::AccountSecret;
    use kuvert_types::DeviceId;
    use kuvert_types::device_list::{DeviceEntry, DeviceListBody};

    const ACCOUNT: AccountId = AccountId::from_bytes([1; 16]);

    fn list(secret: &AccountSecret, number: u64, hash: u8) -> DeviceList {
        let devices = vec![DeviceEntry { device: DeviceId::PRIMARY, certificate_hash: [hash; 32] }];
        secret.sign_device_list(&DeviceListBody { account: ACCOUNT, number, devices }).unwrap()
    }

    fn contact(secret: &AccountSecret) -> ContactRow {
        ContactRow { account_key: secret.public().as_bytes().to_vec(), ..ContactRow::default() }
    }

    #[test]
    fn newer_and_equal_lists_are_taken_older_and_forked_ones_are_not() {
        let secret = AccountSecret::generate(&mut crate::rng::system_rng());
        let mut row = contact(&secret);
        assert_eq!(take(&mut row, &list(&secret, 2, 7)).unwrap(), Ok(()));
        assert_eq!(take(&mut row, &list(&secret, 2, 7)).unwrap(), Ok(()));
        let before = row.clone();
        assert_eq!(take(&mut row, &list(&secret, 1, 7)).unwrap(), Err(ListConflict::Older));
        assert_eq!(take(&mut row, &list(&secret, 2, 8)).unwrap(), Err(ListConflict::Forked));
        assert_eq!(row, before);
        assert_eq!(take(&mut row, &list(&secret, 3, 8)).unwrap(), Ok(()));
        assert_eq!(of(&row).unwrap().unwrap().body().number, 3);
    }

    #[test]
    fn another_keys_signature_and_another_accounts_list_are_refused() {
        let (ours, other) = [(); 2].map(|()| AccountSecret::generate(&mut crate::rng::system_rng())).into();
        let key = ours.public();
        let good = list(&ours, 1, 7).encode();
        assert!(signed(&good, &ACCOUNT, &key).is_ok());
        assert_eq!(signed(&list(&other, 1, 7).encode(), &ACCOUNT, &key), Err(ListConflict::Unsigned));
        assert_eq!(signed(&good, &AccountId::from_bytes([2; 16]), &key), Err(ListConflict::Unsigned));
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            assert_eq!(signed(&bad, &ACCOUNT, &key), Err(ListConflict::Unsigned), "byte {at}");
        }
    }

    #[test]
    fn the_contacts_own_word_catches_a_relay_that_shows_an_old_or_false_list() {
        let secret = AccountSecret::generate(&mut crate::rng::system_rng());
        let mut row = contact(&secret);
        let (one, two, two_too) = (list(&secret, 1, 7), list(&secret, 2, 8), list(&secret, 2, 9));
        assert_eq!(take(&mut row, &one).unwrap(), Ok(()));
        assert_eq!(note_claim(&mut row, one.state()).unwrap(), Ok(false));
        assert_eq!(note_claim(&mut row, two.state()).unwrap(), Ok(true), "look it up");
        assert_eq!(take(&mut row, &one).unwrap(), Err(ListConflict::Older));
        assert_eq!(take(&mut row, &two_too).unwrap(), Err(ListConflict::Forked));
        assert_eq!(note_claim(&mut row, two_too.state()).unwrap(), Ok(true));
        assert_eq!(take(&mut row, &two).unwrap(), Ok(()), "the first word about a number counts");
        assert_eq!(note_claim(&mut row, one.state()).unwrap(), Ok(false), "a late message");
        assert_eq!(note_claim(&mut row, two_too.state()).unwrap(), Err(ListConflict::Forked));
    }

    #[test]
    fn beliefs_about_our_list_may_be_old_but_not_false() {
        let state = |number, hash| DeviceListState { number, hash: [hash; 32] };
        assert_eq!(check_belief(state(2, 7), state(2, 7)), Ok(()));
        assert_eq!(check_belief(state(2, 7), state(1, 9)), Ok(()));
        assert_eq!(check_belief(state(2, 7), state(2, 9)), Err(ListConflict::Forked));
        assert_eq!(check_belief(state(2, 7), state(3, 7)), Err(ListConflict::Forked));
    }
}
