//! Who agreed with whom on what: 5, 6, 10, 11, 26, 34.

use kuvert_protocol::hazmat::primitives::ed25519::Ed25519Secret;
use kuvert_protocol::prekey::BundleError;
use kuvert_protocol::prelude::*;
use kuvert_types::certificate::CertificateBody;
use kuvert_types::{DeviceCertificate, UnverifiedDeviceCertificate, label};

use crate::support::forger::{Forger, Tricks, pad};
use crate::support::{Party, TestRng, established, exchange};

#[test]
fn attack_05_a_key_certified_by_somebody_else_opens_nothing() {
    let (mut alice, mut bob, mallory) = (Party::new(1, 5), Party::new(2, 5), Party::new(3, 5));
    let mut bundle = bob.bundle(KemPrekeyKind::OneTime, true);
    // Mallory claims Bob's X25519 key and prekeys. She can sign all of that: certificates and prekeys are signed with
    // Ed25519 keys that are her own.
    let account = Ed25519Secret::from_bytes(&mallory.account.to_bytes());
    let signing = Ed25519Secret::from_bytes(mallory.local.secrets().to_bytes()[..32].try_into().unwrap());
    let identity = bob.local.certificate().identity_key();
    let body = CertificateBody {
        address: mallory.address(),
        account_key: mallory.account_key(),
        signing_key: mallory.local.certificate().signing_key(),
        identity_key: identity,
    };
    let (by_account, by_device) = (account.sign(&body.account_statement()), signing.sign(&body.device_statement()));
    let certificate = DeviceCertificate::assemble(body, by_account, by_device).unwrap();
    bundle.certificate = UnverifiedDeviceCertificate::decode(&certificate.encode()).unwrap();
    let sign = |text: &str, id: u32, key: &[u8]| {
        signing.sign(&[&label(text)[..], identity.as_bytes(), &id.to_be_bytes(), key].concat())
    };
    let (signed, kem) = (bundle.signed_prekey, bundle.kem_prekey.clone());
    bundle.signed_prekey.signature = sign("Kuvert/1 signed prekey", signed.id, &signed.public_key);
    bundle.kem_prekey.signature = sign("Kuvert/1 one-time KEM prekey", kem.id, &*kem.public_key);

    // Alice believes that she writes to Mallory, who passes the message on to Bob.
    let bundle = bundle.verify(mallory.address(), &mallory.account_key()).unwrap();
    alice.record.initiate(&alice.local, &bundle, alice.now, &mut alice.rng).unwrap();
    let message = alice.encrypt(b"for Mallory");
    assert_eq!(bob.try_decrypt(alice.address(), &message).unwrap_err(), DecryptError::Undecryptable);
}

#[test]
fn attack_05_the_sender_must_be_who_the_certificate_names() {
    let (mut alice, mut bob, mallory) = (Party::new(1, 6), Party::new(2, 6), Party::new(3, 6));
    alice.initiate(&mut bob);
    let message = alice.encrypt(b"from Alice");
    // The relay says that it came from Mallory.
    assert_eq!(bob.try_decrypt(mallory.address(), &message).unwrap_err(), DecryptError::AccountMismatch);
    // Alice's own first message comes back to her.
    let own = alice.address();
    let mut fresh = Party::new(1, 6);
    assert_eq!(fresh.try_decrypt(own, &message).unwrap_err(), DecryptError::AccountMismatch);
    assert_eq!(bob.decrypt(alice.address(), &message), b"from Alice");
    assert_eq!(bob.try_decrypt(mallory.address(), &message).unwrap_err(), DecryptError::AccountMismatch);
}

#[test]
fn attack_06_signatures_of_one_purpose_fail_for_every_other() {
    let mut bob = Party::new(2, 7);
    let signing = Ed25519Secret::from_bytes(bob.local.secrets().to_bytes()[..32].try_into().unwrap());
    let identity = bob.local.certificate().identity_key();
    let (address, account_key) = (bob.address(), bob.account_key());

    // A last-resort key served as a one-time key, and the other way round.
    for (made, served) in
        [(KemPrekeyKind::OneTime, KemPrekeyKind::LastResort), (KemPrekeyKind::LastResort, KemPrekeyKind::OneTime)]
    {
        let mut bundle = bob.bundle(made, true);
        bundle.kem_kind = served;
        assert_eq!(bundle.verify(address, &account_key).unwrap_err(), BundleError::KemPrekeySignature);
    }
    // A KEM key signed as a curve key.
    let mut bundle = bob.bundle(KemPrekeyKind::OneTime, true);
    let kem = &mut bundle.kem_prekey;
    let statement =
        [&label("Kuvert/1 signed prekey")[..], identity.as_bytes(), &kem.id.to_be_bytes(), &*kem.public_key].concat();
    kem.signature = signing.sign(&statement);
    assert_eq!(bundle.verify(address, &account_key).unwrap_err(), BundleError::KemPrekeySignature);
    // A curve key signed as a KEM key.
    let mut bundle = bob.bundle(KemPrekeyKind::OneTime, true);
    let signed = bundle.signed_prekey;
    for text in ["Kuvert/1 one-time KEM prekey", "Kuvert/1 last-resort KEM prekey"] {
        let statement = [&label(text)[..], identity.as_bytes(), &signed.id.to_be_bytes(), &signed.public_key].concat();
        bundle.signed_prekey.signature = signing.sign(&statement);
        assert_eq!(bundle.clone().verify(address, &account_key).unwrap_err(), BundleError::SignedPrekeySignature);
    }
}

#[test]
fn attack_06_another_number_or_key_than_signed_is_refused() {
    let mut bob = Party::new(2, 8);
    let (address, account_key) = (bob.address(), bob.account_key());
    let (one, two) = (bob.bundle(KemPrekeyKind::OneTime, true), bob.bundle(KemPrekeyKind::OneTime, true));
    let error = |bundle: PrekeyBundle| bundle.verify(address, &account_key).unwrap_err();
    let mut bundle = one.clone();
    bundle.kem_prekey.id = two.kem_prekey.id;
    assert_eq!(error(bundle), BundleError::KemPrekeySignature);
    let mut bundle = one.clone();
    bundle.kem_prekey.public_key = two.kem_prekey.public_key.clone();
    assert_eq!(error(bundle), BundleError::KemPrekeySignature);
    let mut bundle = one.clone();
    bundle.signed_prekey.id = two.signed_prekey.id;
    assert_eq!(error(bundle), BundleError::SignedPrekeySignature);
    let mut bundle = one.clone();
    bundle.signed_prekey.public_key = two.signed_prekey.public_key;
    assert_eq!(error(bundle), BundleError::SignedPrekeySignature);
    // Another account, another device, another account key.
    let (mallory, other) = (Party::new(3, 8), Party::new(4, 8));
    assert_eq!(one.clone().verify(mallory.address(), &account_key).unwrap_err(), BundleError::Address);
    assert_eq!(one.clone().verify(address, &other.account_key()).unwrap_err(), BundleError::AccountKey);
    let mut bundle = one;
    bundle.certificate = mallory.certificate();
    assert_eq!(
        bundle.verify(mallory.address(), &mallory.account_key()).unwrap_err(),
        BundleError::SignedPrekeySignature
    );
}

#[test]
fn attack_06_re_encapsulation_and_swapped_prekeys_in_a_message_open_nothing() {
    let (mut alice, mut bob) = (Party::new(1, 9), Party::new(2, 9));
    let other = bob.bundle(KemPrekeyKind::OneTime, true);
    alice.initiate(&mut bob);
    let message = alice.encrypt(b"x");
    let kem_id_at = 2 + 245 + 32 + 4 + 1;
    let ciphertext_at = kem_id_at + 4;

    // Another KEM prekey of Bob's, with the ciphertext as it is and with one made for that key.
    let mut swapped = message.clone();
    swapped[kem_id_at..ciphertext_at].copy_from_slice(&other.kem_prekey.id.to_be_bytes());
    assert_eq!(bob.try_decrypt(alice.address(), &swapped).unwrap_err(), DecryptError::Undecryptable);
    let key = kuvert_protocol::hazmat::primitives::kem1024::KemPublic::decode(&other.kem_prekey.public_key).unwrap();
    let (ciphertext, _) = key.encapsulate(&mut TestRng::new(9));
    swapped[ciphertext_at..ciphertext_at + 1568].copy_from_slice(&ciphertext);
    assert_eq!(bob.try_decrypt(alice.address(), &swapped).unwrap_err(), DecryptError::Undecryptable);

    // The same secret under another number or kind: an initiator who lies consistently.
    let bundle = bob.bundle(KemPrekeyKind::OneTime, true);
    for tricks in [
        Tricks { kem_id: Some(other.kem_prekey.id), ..Tricks::default() },
        Tricks { kem_kind: Some(2), ..Tricks::default() },
    ] {
        let message = Forger::new(&alice, &bundle, tricks, TestRng::new(9)).message(b"x");
        let error = bob.try_decrypt(alice.address(), &message).unwrap_err();
        assert!(matches!(error, DecryptError::Undecryptable | DecryptError::UnknownPrekey), "{error}");
    }
}

#[test]
fn attack_10_a_forged_first_message_burns_no_prekey() {
    let (mut alice, mut bob) = (Party::new(1, 10), Party::new(2, 10));
    for kind in [KemPrekeyKind::OneTime, KemPrekeyKind::LastResort] {
        let bundle = bob.verified_bundle(kind, true);
        let mut record = SessionRecord::new();
        record.initiate(&alice.local, &bundle, alice.now, &mut alice.rng).unwrap();
        let message = record.encrypt(b"x", alice.now, &mut alice.rng).unwrap();
        let mut forged = message.clone();
        *forged.last_mut().unwrap() ^= 1;
        let before = bob.state();
        assert_eq!(bob.try_decrypt(alice.address(), &forged).unwrap_err(), DecryptError::Undecryptable);
        assert!(bob.state() == before);
        // The true message still finds its prekeys.
        assert_eq!(bob.decrypt(alice.address(), &message), b"x");
    }
}

#[test]
fn attack_26_the_post_quantum_parts_cannot_be_left_out() {
    let (alice, mut bob) = (Party::new(1, 26), Party::new(2, 26));
    let bundle = bob.bundle(KemPrekeyKind::OneTime, true);
    let forger = |tricks| Forger::new(&alice, &bundle, tricks, TestRng::new(26));

    // No KEM secret in SK.
    let message = forger(Tricks { without_kem: true, ..Tricks::default() }).message(b"x");
    assert_eq!(bob.try_decrypt(alice.address(), &message).unwrap_err(), DecryptError::Undecryptable);
    // The KEM ciphertext cut out of the handshake.
    let mut cut = forger(Tricks::default());
    cut.handshake.drain(288..288 + 1568);
    let message = cut.message(b"x");
    assert_eq!(bob.try_decrypt(alice.address(), &message).unwrap_err(), DecryptError::Malformed);
    // No post-quantum header, and one of another length of chain.
    let mut stripped = forger(Tricks::default());
    let message = stripped.message_with(&pad(b"x"), |header| header.pq.fill(0));
    assert!(bob.try_decrypt(alice.address(), &message).is_err());
    let message = forger(Tricks::default()).message_with(&pad(b"x"), |header| *header.pq.last_mut().unwrap() ^= 1);
    assert!(bob.try_decrypt(alice.address(), &message).is_err());
    // Other versions, authenticated by an initiator who speaks them.
    for version in [0, 2, 255] {
        let mut other = forger(Tricks::default());
        other.version = version;
        let message = other.message(b"x");
        assert_eq!(bob.try_decrypt(alice.address(), &message).unwrap_err(), DecryptError::Malformed);
    }
    // None of that burnt anything.
    let message = forger(Tricks::default()).message(b"x");
    assert_eq!(bob.decrypt(alice.address(), &message), b"x");
}

#[test]
fn attack_11_an_initiator_sees_that_a_bundle_has_no_one_time_prekeys() {
    let (mut alice, mut bob) = (Party::new(1, 11), Party::new(2, 11));
    let seen = |bundle: &VerifiedBundle| (bundle.kem_kind(), bundle.has_one_time_prekey());
    for (kind, with_one_time) in [
        (KemPrekeyKind::OneTime, true),
        (KemPrekeyKind::OneTime, false),
        (KemPrekeyKind::LastResort, true),
        (KemPrekeyKind::LastResort, false),
    ] {
        assert_eq!(seen(&bob.verified_bundle(kind, with_one_time)), (kind, with_one_time));
    }
    // A relay cannot make a bundle of last resort look like more: the kind is signed with the key.
    let (address, key) = (bob.address(), bob.account_key());
    let drained = bob.bundle(KemPrekeyKind::LastResort, false);
    let dressed_up = PrekeyBundle { kem_kind: KemPrekeyKind::OneTime, ..drained.clone() };
    assert_eq!(dressed_up.verify(address, &key).unwrap_err(), BundleError::KemPrekeySignature);
    // What the drain leaves still begins sessions for a contact, also after a hundred strangers began theirs with it.
    let bundle = drained.verify(address, &key).unwrap();
    bob.trust = Trust::Stranger;
    for stranger in 3..103 {
        let mut stranger = Party::new(stranger, 11);
        stranger.record.initiate(&stranger.local, &bundle, stranger.now, &mut stranger.rng).unwrap();
        let message = stranger.encrypt(b"x");
        bob.record = SessionRecord::new();
        bob.decrypt(stranger.address(), &message);
    }
    bob.trust = Trust::Contact;
    bob.record = SessionRecord::new();
    alice.record.initiate(&alice.local, &bundle, alice.now, &mut alice.rng).unwrap();
    exchange(&mut alice, &mut bob);
}

#[test]
fn attack_34_a_misdelivered_message_opens_nowhere_else() {
    // Bob's second device, and a stranger, get what was meant for Bob's first.
    let (mut alice, mut bob) = (Party::new(1, 34), Party::new(2, 34));
    let account = AccountSecret::from_bytes(&bob.account.to_bytes());
    let mut second = Party::device_of(account, bob.address().account, 2, TestRng::new(340));
    let mut stranger = Party::new(5, 34);
    alice.initiate(&mut bob);
    let first = alice.encrypt(b"first");
    for other in [&mut second, &mut stranger] {
        assert_eq!(other.try_decrypt(alice.address(), &first).unwrap_err(), DecryptError::UnknownPrekey);
        // Even with prekeys of the same numbers.
        other.bundle(KemPrekeyKind::OneTime, true);
        assert_eq!(other.try_decrypt(alice.address(), &first).unwrap_err(), DecryptError::Undecryptable);
        // Even if Bob's prekeys themselves were there: the transcript names Bob's first device.
        let own = std::mem::replace(&mut other.store, bob.store.clone());
        assert_eq!(other.try_decrypt(alice.address(), &first).unwrap_err(), DecryptError::Undecryptable);
        other.store = own;
    }
    bob.decrypt(alice.address(), &first);

    let (mut alice, mut bob) = established(35);
    let message = alice.encrypt(b"later");
    let (_, mut stranger) = established(36);
    assert_eq!(stranger.try_decrypt(alice.address(), &message).unwrap_err(), DecryptError::Undecryptable);
    assert_eq!(second.try_decrypt(alice.address(), &message).unwrap_err(), DecryptError::NoSession);
    // Back to the sender.
    let own = bob.address();
    assert_eq!(alice.try_decrypt(own, &message).unwrap_err(), DecryptError::Undecryptable);
    assert_eq!(bob.decrypt(alice.address(), &message), b"later");
}
