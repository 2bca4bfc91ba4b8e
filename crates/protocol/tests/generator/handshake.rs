//! Prekeys, bundles, the key agreement, and the derivations.

use alloc::boxed::Box;
use alloc::vec::Vec;
use alloc::{format, vec};

use kuvert_types::{AccountId, AccountKey, Address, DeviceId, Reader, UnverifiedDeviceCertificate};
use serde_json::{Value, json};

use super::{Case, Draws, bytes, check, hex, with};
use crate::identity::{AccountSecret, DeviceSecrets, LocalDevice};
use crate::labels;
use crate::message::Message;
use crate::pq_ratchet::PostQuantumRatchet;
use crate::pqxdh::{self, PrekeysInUse};
use crate::prekey::{
    BundleError, KemPrekey, KemPrekeyKind, KemPrekeySecret, OneTimePrekeySecret, PrekeyBundle, SignedPrekeySecret,
};
use crate::primitives::aead;
use crate::primitives::kdf::{hkdf_sha256, hmac_sha256};
use crate::primitives::x25519::X25519Secret;
use crate::ratchet::{BodyKey, InitialKeys};

/// A device with everything that a case has to list about it.
pub(super) struct Device {
    pub(super) local: LocalDevice,
    pub(super) account_key: AccountKey,
}

impl Device {
    pub(super) fn new(name: &str, device: u32, draws: &mut Draws) -> Self {
        let account = AccountSecret::generate(draws);
        let secrets = DeviceSecrets::generate(draws);
        let address = Address { account: AccountId::from_bytes(bytes(name)), device: DeviceId::new(device).unwrap() };
        let certificate = secrets.certify(&account, address);
        Self { local: LocalDevice::new(secrets, certificate).unwrap(), account_key: account.public() }
    }

    pub(super) fn listed(&self) -> Value {
        let secrets = self.local.secrets().to_bytes();
        json!({
            "certificate": hex(self.local.certificate().encode()),
            "signing_seed": hex(&secrets[..32]), "identity_secret": hex(&secrets[32..]),
        })
    }

    fn certificate(&self) -> UnverifiedDeviceCertificate {
        UnverifiedDeviceCertificate::decode(&self.local.certificate().encode()).unwrap()
    }
}

/// The secret prekeys of one device that cases use.
pub(super) struct Prekeys {
    pub(super) signed: SignedPrekeySecret,
    pub(super) one_time: OneTimePrekeySecret,
    pub(super) kem: KemPrekeySecret,
    pub(super) last_resort: KemPrekeySecret,
}

impl Prekeys {
    pub(super) fn new(device: &Device, draws: &mut Draws) -> Self {
        let secrets = device.local.secrets();
        Self {
            signed: SignedPrekeySecret::generate(5, secrets, draws),
            one_time: OneTimePrekeySecret::generate(70_000, draws),
            kem: KemPrekeySecret::generate(9, KemPrekeyKind::OneTime, secrets, draws),
            last_resort: KemPrekeySecret::generate(8, KemPrekeyKind::LastResort, secrets, draws),
        }
    }

    pub(super) fn kem(&self, kind: KemPrekeyKind) -> &KemPrekeySecret {
        match kind {
            KemPrekeyKind::OneTime => &self.kem,
            KemPrekeyKind::LastResort => &self.last_resort,
        }
    }

    /// In the order of their draws.
    pub(super) fn listed(&self) -> Value {
        let kem = |secret: &KemPrekeySecret| {
            let public = secret.public();
            json!({
                "id": public.id, "seed": hex(secret.seed().as_bytes()), "public": hex(*public.public_key),
                "signature": hex(public.signature.as_bytes()),
            })
        };
        let (signed, one_time) = (self.signed.public(), self.one_time.public());
        json!({
            "signed": {
                "id": signed.id, "secret": hex(self.signed.secret().as_bytes()), "public": hex(signed.public_key),
                "signature": hex(signed.signature.as_bytes()),
            },
            "one_time": {
                "id": one_time.id, "secret": hex(self.one_time.secret().as_bytes()), "public": hex(one_time.public_key),
            },
            "one_time_kem": kem(&self.kem),
            "last_resort_kem": kem(&self.last_resort),
        })
    }

    pub(super) fn bundle(&self, device: &Device, kind: KemPrekeyKind, one_time: bool) -> PrekeyBundle {
        PrekeyBundle {
            certificate: device.certificate(),
            signed_prekey: self.signed.public(),
            kem_prekey: self.kem(kind).public(),
            kem_kind: kind,
            one_time_prekey: one_time.then(|| self.one_time.public()),
        }
    }
}

pub(super) fn listed_bundle(bundle: &PrekeyBundle, certificate: &[u8]) -> Value {
    json!({
        "certificate": hex(certificate),
        "signed_prekey": {
            "id": bundle.signed_prekey.id, "public": hex(bundle.signed_prekey.public_key),
            "signature": hex(bundle.signed_prekey.signature.as_bytes()),
        },
        "kem_prekey": {
            "id": bundle.kem_prekey.id, "public": hex(*bundle.kem_prekey.public_key),
            "signature": hex(bundle.kem_prekey.signature.as_bytes()),
        },
        "kem_kind": kind_byte(bundle.kem_kind),
        "one_time_prekey": bundle.one_time_prekey.map(|key| json!({ "id": key.id, "public": hex(key.public_key) })),
    })
}

pub(super) const fn kind_byte(kind: KemPrekeyKind) -> u8 {
    kind.to_byte()
}

#[test]
fn vectors_prekeys() {
    let draws = &mut Draws::new("prekeys");
    let bob = Device::new("bob", 2, draws);
    draws.take();
    let prekeys = Prekeys::new(&bob, draws);
    let mut cases = vec![
        Case::new(
            "prekeys",
            "Draws: signed prekey, one-time prekey, one-time KEM prekey, last-resort KEM prekey.",
            json!({
                "device": bob.listed(),
                "ids": { "signed": 5, "one_time": 70_000, "one_time_kem": 9, "last_resort_kem": 8 },
            }),
            prekeys.listed(),
        )
        .drawn(draws),
    ];

    let address = bob.local.address();
    let context = |bundle: &PrekeyBundle, certificate: &[u8]| {
        json!({
            "bundle": listed_bundle(bundle, certificate),
            "address": hex(address.to_bytes()), "account_key": hex(bob.account_key.as_bytes()),
        })
    };
    let own = bob.local.certificate().encode();
    for (name, kind, one_time) in [
        ("full", KemPrekeyKind::OneTime, true),
        ("without one-time prekey", KemPrekeyKind::OneTime, false),
        ("last resort", KemPrekeyKind::LastResort, false),
    ] {
        let bundle = prekeys.bundle(&bob, kind, one_time);
        assert!(bundle.clone().verify(address, &bob.account_key).is_ok());
        let inputs = context(&bundle, &own);
        cases.push(Case::new(format!("bundle {name}"), "A bundle that verifies.", inputs, json!({ "verifies": true })));
    }

    let mallory = Device::new("mallory", 2, draws);
    draws.take();
    let low_order = [0; 32];
    let mut reject =
        |name: &str, error: BundleError, certificate: Option<[u8; 245]>, change: &dyn Fn(&mut PrekeyBundle)| {
            let mut bundle = prekeys.bundle(&bob, KemPrekeyKind::OneTime, true);
            let certificate = certificate.unwrap_or(own);
            bundle.certificate = UnverifiedDeviceCertificate::decode(&certificate).unwrap();
            change(&mut bundle);
            let inputs = context(&bundle, &certificate);
            assert_eq!(bundle.verify(address, &bob.account_key).unwrap_err(), error, "{name}");
            cases.push(Case::reject(
                format!("bundle {name}"),
                "A bundle that must be refused.",
                inputs,
                format!("{error:?}"),
            ));
        };
    let mut forged = own;
    forged[130] ^= 1;
    reject("certificate", BundleError::Certificate, Some(forged), &|_| {});
    reject("of somebody else", BundleError::Address, Some(mallory.local.certificate().encode()), &|_| {});
    let other_account = bob.local.secrets().certify(&AccountSecret::from_bytes(&[9; 32]), address);
    reject("under another account key", BundleError::AccountKey, Some(other_account.encode()), &|_| {});
    reject("signed prekey id", BundleError::SignedPrekeySignature, None, &|b| b.signed_prekey.id += 1);
    reject("signed prekey key", BundleError::SignedPrekeySignature, None, &|b| b.signed_prekey.public_key[3] ^= 1);
    reject("KEM prekey id", BundleError::KemPrekeySignature, None, &|b| b.kem_prekey.id += 1);
    reject("KEM prekey kind", BundleError::KemPrekeySignature, None, &|b| b.kem_kind = KemPrekeyKind::LastResort);
    reject("last-resort key as one-time", BundleError::KemPrekeySignature, None, &|b| {
        b.kem_prekey = prekeys.last_resort.public();
    });
    reject("signature of the other prekey", BundleError::KemPrekeySignature, None, &|b| {
        b.kem_prekey.signature = b.signed_prekey.signature;
    });
    reject("one-time prekey of low order", BundleError::OneTimePrekey, None, &|b| {
        b.one_time_prekey = b.one_time_prekey.map(|key| crate::prekey::OneTimePrekey { public_key: low_order, ..key });
    });
    reject("signed prekey of low order, signed", BundleError::SignedPrekey, None, &|b| {
        let identity = bob.local.secrets().identity_key();
        let statement =
            [&labels::SIGNED_PREKEY[..], identity.as_bytes(), &b.signed_prekey.id.to_be_bytes(), &low_order].concat();
        b.signed_prekey.public_key = low_order;
        b.signed_prekey.signature = bob.local.secrets().sign(&statement);
    });
    reject("KEM prekey not reduced, signed", BundleError::KemPrekey, None, &|b| {
        let identity = bob.local.secrets().identity_key();
        let mut key = b.kem_prekey.public_key.clone();
        (key[0], key[1]) = (0xFF, 0xFF);
        let id = b.kem_prekey.id;
        let statement =
            [&labels::ONE_TIME_KEM_PREKEY[..], identity.as_bytes(), &id.to_be_bytes(), key.as_slice()].concat();
        b.kem_prekey = KemPrekey { id, public_key: key, signature: bob.local.secrets().sign(&statement) };
    });
    check("prekeys", cases);
}

#[test]
fn vectors_pqxdh() {
    let draws = &mut Draws::new("pqxdh");
    let (alice, bob) = (Device::new("alice", 1, draws), Device::new("bob", 2, draws));
    let prekeys = Prekeys::new(&bob, draws);
    draws.take();
    let mut cases = Vec::new();
    for (name, kind, one_time) in [
        ("one-time", KemPrekeyKind::OneTime, true),
        ("one-time KEM without one-time curve", KemPrekeyKind::OneTime, false),
        ("last resort with one-time curve", KemPrekeyKind::LastResort, true),
        ("last resort", KemPrekeyKind::LastResort, false),
    ] {
        let bundle = prekeys.bundle(&bob, kind, one_time);
        let verified = bundle.clone().verify(bob.local.address(), &bob.account_key).unwrap();
        let (agreement, handshake) = pqxdh::initiate(&alice.local, &verified, draws).unwrap();
        let drawn = draws.take();

        // The values in between, worked out here from the description; that they lead to the code's values shows that
        // they are right.
        let draw = |at: usize| data_encoding::HEXLOWER.decode(drawn[at].as_bytes()).unwrap();
        let ephemeral = X25519Secret::from_bytes(&draw(0).try_into().unwrap());
        let identity = alice.local.secrets().identity();
        let agree = |secret: &X25519Secret, public: &_| *secret.agree(public).unwrap().as_bytes();
        let mut dhs = vec![
            agree(identity, &verified.signed_prekey),
            agree(&ephemeral, &verified.identity),
            agree(&ephemeral, &verified.signed_prekey),
        ];
        dhs.extend(verified.one_time.as_ref().map(|(_, key)| agree(&ephemeral, key)));
        let (ciphertext, shared) = verified.kem_prekey.encapsulate_with(&draw(1).try_into().unwrap());
        let ikm = [&[0xFF; 32][..], &dhs.concat(), shared.as_bytes()].concat();
        let secret = hkdf_sha256::<32>(&[0; 32], &[&ikm], &[&labels::SESSION_SECRET, &agreement.transcript.0]);
        assert_eq!(agreement.secret.replay_tag(), *hmac_sha256(&*secret, &[&labels::REPLAY]));
        let ratchet = hkdf_sha256::<96>(&[0; 32], &[&*secret], &[&labels::RATCHET_KEYS]);
        assert_eq!(ratchet[..32], *agreement.secret.ratchet_keys().root.as_bytes());

        // The other side agrees.
        let in_use = PrekeysInUse {
            signed: SignedPrekeySecret::decode(&prekeys.signed.encode()).unwrap(),
            kem: KemPrekeySecret::decode(&prekeys.kem(kind).encode()).unwrap(),
            one_time: one_time.then(|| OneTimePrekeySecret::decode(&prekeys.one_time.encode()).unwrap()),
        };
        let message = [&[1, 1][..], &*handshake, &[0; 232 + 512 + 16]].concat();
        let Ok(Message::Prekey(message)) = Message::decode(&message) else { panic!("a prekey message") };
        let theirs = pqxdh::respond(&bob.local, alice.local.certificate(), &message.handshake.choice, &in_use).unwrap();
        assert_eq!(theirs.transcript, agreement.transcript);
        assert_eq!(theirs.secret.replay_tag(), agreement.secret.replay_tag());

        let mut case = Case::new(
            name,
            "The agreement from both sides. Draws: secret of the ephemeral key, m of ML-KEM-1024.",
            json!({
                "initiator": alice.listed(), "recipient": bob.listed(), "prekeys": prekeys.listed(),
                "kem_kind": kind_byte(kind), "with_one_time_prekey": one_time,
            }),
            json!({
                "ephemeral_key": hex(ephemeral.public().as_bytes()),
                "dh": dhs.iter().map(hex).collect::<Vec<_>>(),
                "kem_ciphertext": hex(ciphertext), "kem_shared": hex(shared.as_bytes()),
                "transcript_hash": hex(agreement.transcript.0),
                "session_secret": hex(*secret),
                "root_key": hex(&ratchet[..32]),
                "initiator_header_key": hex(&ratchet[32..64]),
                "recipient_header_key": hex(&ratchet[64..]),
                "pq_secret": hex(*agreement.secret.pq_ratchet_secret()),
                "replay_tag": hex(agreement.secret.replay_tag()),
                "handshake": hex(*handshake),
            }),
        );
        case.draws = Some(drawn);
        cases.push(case);
        if name == "one-time" {
            bad_handshakes(&*handshake, &mut cases);
        }
    }
    check("pqxdh", cases);
}

/// What a decoder refuses before any key is touched.
fn bad_handshakes(good: &[u8], cases: &mut Vec<Case>) {
    let mut reject = |name: &str, at: usize, new: &[u8], reason: &str| {
        let mut handshake = good.to_vec();
        handshake[at..at + new.len()].copy_from_slice(new);
        let message = [&[1, 1][..], &handshake, &[0; 232 + 512 + 16]].concat();
        assert!(Message::decode(&message).is_err(), "{name}");
        let inputs = json!({ "handshake": hex(handshake) });
        cases.push(Case::reject(format!("handshake {name}"), "A handshake with one field changed.", inputs, reason));
    };
    reject("certificate version", 0, &[2], "unknown version");
    reject("device 0", 17, &[0; 4], "device 0");
    reject("low-order ephemeral", 245, &[0; 32], "low order");
    reject("non-canonical ephemeral", 245 + 31, &[0xFF], "bit 255 is set");
    reject("KEM kind 0", 281, &[0], "KEM kind");
    reject("KEM kind 3", 281, &[3], "KEM kind");
    reject("one-time flag 2", 1854, &[2], "flag");
    reject("one-time id without flag", 1854, &[0], "an id where none is used");
}

#[test]
fn vectors_kdf() {
    let mut cases = Vec::new();
    for name in ["a", "b"] {
        let session_secret: [u8; 32] = bytes(&format!("session secret {name}"));
        let keys = InitialKeys::derive(&session_secret);
        let ours = X25519Secret::from_bytes(&bytes(&format!("ratchet secret {name}")));
        let theirs = X25519Secret::from_bytes(&bytes(&format!("their ratchet secret {name}"))).public();
        let shared = ours.agree(&theirs).unwrap();
        cases.push(Case::new(
            format!("initial keys {name}"),
            "From SK to the first keys of the Double Ratchet and the secret of the post-quantum ratchet.",
            json!({ "session_secret": hex(session_secret) }),
            json!({
                "root_key": hex(keys.root.as_bytes()),
                "initiator_header_key": hex(keys.initiator_header.as_bytes()),
                "recipient_header_key": hex(keys.recipient_header.as_bytes()),
                "pq_secret": hex(*hkdf_sha256::<32>(&[0; 32], &[&session_secret], &[&labels::PQ_RATCHET_SECRET])),
                "replay_tag": hex(*hmac_sha256(&session_secret, &[&labels::REPLAY])),
            }),
        ));
        let (root, mut chain, next) = keys.root.step_sending(&shared);
        let chain_key = hex(chain.as_bytes());
        cases.push(Case::new(
            format!("root step {name}"),
            "KDF_RK.",
            json!({ "root_key": hex(keys.root.as_bytes()), "dh": hex(shared.as_bytes()) }),
            json!({
                "root_key": hex(root.as_bytes()), "chain_key": chain_key, "next_header_key": hex(next.as_bytes()),
            }),
        ));
        let message_key = chain.advance();
        cases.push(Case::new(
            format!("chain step {name}"),
            "KDF_CK.",
            json!({ "chain_key": chain_key }),
            json!({ "ec_mk": hex(message_key.as_bytes()), "next_chain_key": hex(chain.as_bytes()) }),
        ));

        let mut pq = PostQuantumRatchet::new_initiator(&bytes(&format!("pq secret {name}")));
        let (_, pq_key) = pq.send(&mut Draws::new("kdf")).unwrap();
        let transcript: [u8; 32] = bytes(&format!("transcript {name}"));
        let encrypted_header: [u8; 232] = bytes(&format!("sealed header {name}"));
        let kind = if name == "a" { 1 } else { 2 };
        let associated_data =
            [&labels::ASSOCIATED_DATA[..], &[1, kind], &transcript, &232_u32.to_be_bytes(), &encrypted_header].concat();
        let mut data: Box<[u8; 512]> = Box::new(bytes("padded"));
        let padded = hex(*data);
        let body = BodyKey::derive(&pq_key, &message_key, &associated_data);
        let tag = body.encrypt(&associated_data, &mut *data);
        // Key and nonce from the description.
        use sha2::Digest;
        let hash = sha2::Sha256::digest(&associated_data);
        let okm = hkdf_sha256::<44>(pq_key.as_bytes(), &[message_key.as_bytes()], &[&labels::BODY_KEY, &hash]);
        let mut again: [u8; 512] = bytes("padded");
        let tag_again =
            aead::seal(okm[..32].try_into().unwrap(), okm[32..].try_into().unwrap(), &associated_data, &mut again);
        assert_eq!((again, tag_again), (*data, tag));
        cases.push(Case::new(
            format!("body {name}"),
            "Key, nonce and ciphertext of a body.",
            json!({
                "pq_mk": hex(pq_key.as_bytes()), "ec_mk": hex(message_key.as_bytes()), "kind": kind,
                "transcript_hash": hex(transcript), "sealed_header": hex(encrypted_header), "padded": padded,
            }),
            json!({
                "associated_data": hex(&associated_data), "key": hex(&okm[..32]), "nonce": hex(&okm[32..]),
                "ciphertext": hex(*data), "tag": hex(tag),
            }),
        ));
        cases.push(pq_start(name));
    }
    check("kdf", cases);
}

/// The first keys of the post-quantum ratchet, checked against its stored form.
fn pq_start(name: &str) -> Case {
    let secret: [u8; 32] = bytes(&format!("pq secret {name}"));
    let ratchet = PostQuantumRatchet::new_recipient(&secret);
    let mut stored = zeroize::Zeroizing::new(Vec::new());
    ratchet.encode(&mut stored);
    let okm = hkdf_sha256::<128>(&[0; 32], &[&secret], &[&crate::pq_ratchet::START]);
    let (root, initiator, recipient, agreement) = (&okm[..32], &okm[32..64], &okm[64..96], &okm[96..]);
    let authenticator = hkdf_sha256::<64>(&[0; 32], &[agreement], &[&crate::braid::AUTHENTICATOR_UPDATE, &[0; 8]]);
    let mut reader = Reader::new(&stored);
    // NoHeaderReceived, epoch 1, authenticator, no chunks; recipient, root, one epoch with both chains.
    assert_eq!(reader.bytes(9), Ok(&[5, 0, 0, 0, 0, 0, 0, 0, 1][..]));
    assert_eq!(reader.bytes(64), Ok(&authenticator[..]));
    assert_eq!(reader.bytes(2), Ok(&[0, 1][..]));
    assert_eq!(reader.bytes(32), Ok(root));
    assert_eq!(reader.bytes(2), Ok(&[1, 1][..]));
    assert_eq!(reader.bytes(36), Ok(&[recipient, &[0; 4]].concat()[..]));
    assert_eq!(reader.bytes(36), Ok(&[initiator, &[0; 4]].concat()[..]));
    let epoch: [u8; 32] = bytes("output key");
    let opened = hkdf_sha256::<96>(root, &[&epoch], &[&crate::pq_ratchet::EPOCH, &1_u64.to_be_bytes()]);
    let n = 3_u32.to_be_bytes();
    Case::new(
        format!("pq start {name}"),
        "First keys of the post-quantum ratchet and of the Braid's authenticator; a chain step with the number 3, taken from \
         the initiator's first chain key itself; and an epoch 1 that an output key would open.",
        json!({ "pq_secret": hex(secret), "output_key": hex(epoch) }),
        with(
            json!({
                "root": hex(root), "initiator_chain": hex(initiator), "recipient_chain": hex(recipient),
                "agreement_key": hex(agreement),
                "authenticator_root": hex(&authenticator[..32]), "authenticator_mac_key": hex(&authenticator[32..]),
            }),
            json!({
                "pq_mk_of_first_chain_key_and_number_3": hex(*hmac_sha256(initiator, &[&crate::pq_ratchet::MESSAGE_KEY, &n])),
                "next_chain_key_of_first_chain_key_and_number_3": hex(*hmac_sha256(initiator, &[&crate::pq_ratchet::CHAIN_KEY, &n])),
                "epoch_root": hex(&opened[..32]), "epoch_initiator_chain": hex(&opened[32..64]),
                "epoch_recipient_chain": hex(&opened[64..]),
            }),
        ),
    )
}
