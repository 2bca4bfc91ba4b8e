//! Attacks on linking a device: 51. The relay holds the slot, and can read, hold back and exchange what stands in it.

use getrandom::SysRng;
use getrandom::rand_core::UnwrapErr;
use kuvert_protocol::linking::{Digits, LinkError, Linking, NewDevice, Offer};
use kuvert_protocol::prelude::*;
use kuvert_types::{AccountId, Address, DeviceId};

use crate::support::TestRng;

fn rng() -> UnwrapErr<SysRng> {
    UnwrapErr(SysRng)
}

fn second(account: u8) -> Address {
    Address { account: AccountId::from_bytes([account; 16]), device: DeviceId::new(2).unwrap() }
}

fn answer(offer: &Offer, account: &AccountSecret) -> Linking {
    Linking::answer(offer, second(1), account.public(), &mut rng()).unwrap()
}

#[test]
fn a_device_is_linked_and_both_sides_have_one_secret() {
    let account = AccountSecret::generate(&mut rng());
    let device = NewDevice::generate("laptop", &mut rng()).unwrap();
    let offer = Offer::decode(&device.offer().encode(), &device.offer().hash()).unwrap();
    assert_eq!(offer.name(), "laptop");
    let linking = answer(&offer, &account);
    let accepted = device.accept(linking.message()).unwrap();
    assert_eq!((accepted.address(), accepted.account_key()), (second(1), account.public()));
    assert_eq!(accepted.sync_key(), linking.sync_key());
    let digits = accepted.digits().to_string();
    assert_eq!(digits.len(), 6);
    let typed = Digits::parse(&format!("{} {}\n", &digits[..3], &digits[3..])).unwrap();
    let certificate = linking.confirm(&typed, accepted.consent(), &account).unwrap();
    assert_eq!(accepted.finish(certificate).unwrap().address(), second(1));
}

#[test]
fn attack_51_an_offer_that_the_relay_exchanged_is_not_answered() {
    let device = NewDevice::generate("laptop", &mut rng()).unwrap();
    let of_the_relay = NewDevice::generate("laptop", &mut rng()).unwrap();
    let refused = Offer::decode(&of_the_relay.offer().encode(), &device.offer().hash());
    assert_eq!(refused.unwrap_err(), LinkError::OtherOffer);
}

/// The relay answers the new device itself, and offers itself to the existing one.
#[test]
fn attack_51_an_answer_that_the_relay_exchanged_gives_other_digits() {
    let (account, of_the_relay) = (AccountSecret::generate(&mut rng()), AccountSecret::generate(&mut rng()));
    // The chance that they are the same by accident is one in a million for each of these.
    let same = (0..16).filter(|_| {
        let device = NewDevice::generate("laptop", &mut rng()).unwrap();
        let offer = device.offer().clone();
        let (honest, false_) = (answer(&offer, &account), answer(&offer, &of_the_relay));
        let accepted = device.accept(false_.message()).unwrap();
        honest.confirm(&accepted.digits(), accepted.consent(), &account).is_ok()
    });
    assert_eq!(same.count(), 0);
}

#[test]
fn attack_51_parts_of_two_answers_do_not_fit_and_a_code_serves_once() {
    let account = AccountSecret::generate(&mut rng());
    let make = || NewDevice::generate("laptop", &mut rng()).unwrap();
    for cut in [33, 33 + 1568] {
        let device = make();
        let (one, other) = (answer(device.offer(), &account), answer(device.offer(), &account));
        let mixed = [&one.message()[..cut], &other.message()[cut..]].concat();
        assert_eq!(device.accept(&mixed).unwrap_err(), LinkError::Undecryptable, "{cut}");
    }
    // An answer to an earlier offer of the same device. (Taking one uses the offer up: `accept` takes the device itself.)
    let (first, second) = (make(), make());
    let late = answer(first.offer(), &account);
    assert_eq!(second.accept(late.message()).unwrap_err(), LinkError::Undecryptable);
}

#[test]
fn attack_51_guessing_digits_has_one_try_and_a_consent_is_for_one_linking() {
    let account = AccountSecret::generate(&mut rng());
    let make = || NewDevice::generate("laptop", &mut rng()).unwrap();
    let device = make();
    let linking = answer(device.offer(), &account);
    let accepted = device.accept(linking.message()).unwrap();
    let digits: u32 = accepted.digits().to_string().parse().unwrap();
    let wrong = Digits::parse(&format!("{:06}", (digits + 1) % 1_000_000)).unwrap();
    // `confirm` takes the linking itself: what is left cannot be tried again.
    assert_eq!(linking.confirm(&wrong, accepted.consent(), &account).unwrap_err(), LinkError::Digits);

    let device = make();
    let (one, other) = (answer(device.offer(), &account), answer(device.offer(), &account));
    let (message, accepted) = (*one.message(), device.accept(one.message()).unwrap());
    assert_ne!(message, *other.message());
    let digits = accepted.digits();
    assert!(other.confirm(&digits, accepted.consent(), &account).is_err());
    assert!(one.confirm(&digits, accepted.consent(), &account).is_ok());
}

#[test]
fn attack_51_a_certificate_of_other_keys_or_of_another_account_ends_the_new_device() {
    let account = AccountSecret::generate(&mut rng());
    let device = NewDevice::generate("laptop", &mut rng()).unwrap();
    let linking = answer(device.offer(), &account);
    let accepted = device.accept(linking.message()).unwrap();
    // What the relay's directory shows in its place: another device under the same number.
    let ghost = DeviceSecrets::generate(&mut rng()).certify(&account, second(1));
    assert_eq!(accepted.finish(ghost).unwrap_err(), LinkError::Consent);
    // Or its own keys, as another device or in another account: a device that was linked twice has signed such a thing.
    let other = AccountSecret::generate(&mut rng());
    for (by, address, fits) in [(&account, second(2), false), (&other, second(1), false), (&account, second(1), true)] {
        let seeded = || TestRng::new(5);
        let device = NewDevice::generate("laptop", &mut seeded()).unwrap();
        let linking = answer(device.offer(), &account);
        let accepted = device.accept(linking.message()).unwrap();
        // The keys of the device are its first draws.
        let certificate = DeviceSecrets::generate(&mut seeded()).certify(by, address);
        assert_eq!(accepted.finish(certificate).map(|_| ()), if fits { Ok(()) } else { Err(LinkError::Consent) });
    }
}

#[test]
fn digits_are_six_and_nothing_else() {
    for good in ["000000", "123456", "123 456", " 123-456 \n"] {
        assert!(Digits::parse(good).is_some(), "{good:?}");
    }
    for bad in ["", "12345", "1234567", "12345a", "１２３４５６", "+12345", "123.456"] {
        assert!(Digits::parse(bad).is_none(), "{bad:?}");
    }
    assert_eq!(format!("{:?}", Digits::parse("123456").unwrap()), "Digits(…)");
}
