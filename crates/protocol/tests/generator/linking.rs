//! Linking a device: codes, offers, answers, digits, consents.

use alloc::format;
use alloc::string::ToString;
use alloc::vec::Vec;

use kuvert_types::{AccountId, Address, DeviceId, LinkCode};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::{Case, Draws, bytes, check, hex};
use crate::identity::AccountSecret;
use crate::linking::{Digits, LinkError, Linking, NewDevice, Offer, open_welcome, seal_welcome};

/// The second device of an account.
const ADDRESS: fn() -> Address =
    || Address { account: AccountId::from_bytes(bytes("account")), device: DeviceId::new(2).unwrap() };

#[test]
fn vectors_linking() {
    let mut cases = Vec::new();
    codes(&mut cases);
    let draws = &mut Draws::new("linking");
    let account = AccountSecret::generate(draws);
    draws.take();
    for name in ["laptop", "Annas Täblet 📱", "x"] {
        let device = NewDevice::generate(name, draws).unwrap();
        let offer = device.offer().encode();
        let offered = draws.take();
        let decoded = Offer::decode(&offer, &device.offer().hash()).unwrap();
        let linking = Linking::answer(&decoded, ADDRESS(), account.public(), draws).unwrap();
        let answered = draws.take();
        let answer = *linking.message();
        let accepted = device.accept(&answer).unwrap();
        assert_eq!((accepted.address(), accepted.account_key()), (ADDRESS(), account.public()));
        assert_eq!(accepted.sync_key(), linking.sync_key());
        let (digits, consent) = (accepted.digits(), *accepted.consent());
        let content = [name.as_bytes(), &[7; 100]].concat();
        let welcome = seal_welcome(linking.sync_key(), &content);
        assert_eq!(open_welcome(accepted.sync_key(), &welcome).unwrap()[..], content);
        let outputs = json!({
            "offer": hex(&offer), "offer_hash": hex(Sha256::digest(&offer)), "answer": hex(answer),
            "digits": digits.to_string(), "sync_key": hex(linking.sync_key()), "consent": hex(consent),
            "welcome": hex(&welcome),
        });
        let certificate = linking.confirm(&Digits::parse(&digits.to_string()).unwrap(), &consent, &account).unwrap();
        let outputs = super::with(outputs, json!({ "certificate": hex(certificate.encode()) }));
        assert_eq!(accepted.finish(certificate).unwrap().address(), ADDRESS());
        let inputs = json!({
            "name": name, "address": hex(ADDRESS().to_bytes()), "account_seed": hex(*account.to_bytes()),
            "offer_draws": offered, "answer_draws": answered, "welcome_content": hex(&content),
        });
        let description = "A new device offers, a device with the account key answers and confirms.";
        cases.push(Case::new(format!("linking: {name}"), description, inputs, outputs));
    }
    offers(&mut cases, draws);
    answers(&mut cases, draws, &account);
    welcomes(&mut cases);
    check("linking", cases);
}

fn codes(cases: &mut Vec<Case>) {
    let code = LinkCode { relay: bytes("relay"), slot: bytes("slot"), offer: bytes("offer") };
    let text = code.to_string();
    assert_eq!(text.parse(), Ok(code));
    let inputs = json!({ "relay": hex(code.relay), "slot": hex(code.slot), "offer_hash": hex(code.offer) });
    cases.push(Case::new("code", "What a new device shows.", inputs, json!({ "text": text })));
    let mut reject = |name: &str, text: alloc::string::String, reason: &str| {
        assert!(text.parse::<LinkCode>().is_err(), "{name}");
        let description = "Must not be read as a link code.";
        cases.push(Case::reject(format!("code {name}"), description, json!({ "text": text }), reason));
    };
    reject("of version 2", text.replace("link:1", "link:2"), "unknown version");
    reject("that is a relay's address", format!("kuvert://relay.example:4433#{}", &text[20..63]), "another scheme");
    reject("without a relay", text.replace("?relay=", "?"), "the relay is missing");
    reject("with another parameter", text.replace("?relay=", "?device=1&relay="), "nothing else stands there");
    reject("with a short hash", text[..text.len() - 4].into(), "48 bytes follow the #");
    reject("with a long hash", format!("{text}AAAA"), "48 bytes follow the #");
    reject("with padding", format!("{text}="), "base 64 without padding");
    reject("in capitals", text.to_uppercase(), "one spelling");
}

fn offers(cases: &mut Vec<Case>, draws: &mut Draws) {
    let good = NewDevice::generate("laptop", draws).unwrap().offer().encode();
    let mut reject = |name: &str, bytes: Vec<u8>, error: LinkError, reason: &str| {
        let hash: [u8; 32] = Sha256::digest(&bytes).into();
        assert_eq!(Offer::decode(&bytes, &hash).unwrap_err(), error, "{name}");
        let inputs = json!({ "offer": hex(&bytes), "offer_hash": hex(hash) });
        cases.push(Case::reject(format!("offer {name}"), "Must not be answered.", inputs, reason));
    };
    let changed = |at: usize, with: &[u8]| {
        let mut bytes = good.clone();
        bytes[at..at + with.len()].copy_from_slice(with);
        bytes
    };
    use kuvert_types::DecodeError::{Length, Value, Version};
    let malformed = LinkError::Malformed;
    reject("of version 2", changed(0, &[2]), malformed(Version), "unknown version");
    reject("with an ephemeral key of low order", changed(1, &[0; 32]), malformed(Value), "low order");
    reject("with an identity key of low order", changed(1 + 32 + 1568 + 32, &[0; 32]), malformed(Value), "low order");
    reject("with a KEM key beyond the modulus", changed(33, &[0xFF; 3]), malformed(Value), "FIPS 203, section 7.2");
    let name = good.len() - 7;
    reject("without a name", [&good[..name], &[0]].concat(), LinkError::Name, "1 to 64 bytes");
    reject("with a name of 65 bytes", [&good[..name], &[65], &[b'x'; 65]].concat(), LinkError::Name, "1 to 64 bytes");
    reject("with a name of two lines", changed(good.len() - 2, b"\n"), LinkError::Name, "a control character");
    reject("with a name that is no UTF-8", changed(good.len() - 2, &[0xFF]), LinkError::Name, "UTF-8");
    reject("cut", good[..good.len() - 1].to_vec(), malformed(Length), "length");
    reject("with a byte too many", [&good[..], &[0]].concat(), malformed(Length), "length");
    let inputs = json!({ "offer": hex(&good), "offer_hash": hex(bytes::<32>("another offer")) });
    assert_eq!(Offer::decode(&good, &bytes("another offer")).unwrap_err(), LinkError::OtherOffer);
    cases.push(Case::reject("offer that the code does not name", "Must not be answered.", inputs, "the hash differs"));
}

fn answers(cases: &mut Vec<Case>, draws: &mut Draws, account: &AccountSecret) {
    draws.take();
    let device = NewDevice::generate("laptop", draws).unwrap();
    let offered = draws.take();
    let offer = device.offer().clone();
    let linking = Linking::answer(&offer, ADDRESS(), account.public(), draws).unwrap();
    let answered = draws.take();
    let (good, consent) = (*linking.message(), {
        let accepted = device.accept(linking.message()).unwrap();
        *accepted.consent()
    });
    let again = |draws: &[alloc::string::String]| NewDevice::generate("laptop", &mut Listed::new(draws)).unwrap();
    let mut reject = |name: &str, answer: Vec<u8>, error: LinkError, reason: &str| {
        assert_eq!(again(&offered).accept(&answer).unwrap_err(), error, "{name}");
        let inputs = json!({ "name": "laptop", "offer_draws": offered, "answer": hex(&answer) });
        cases.push(Case::reject(format!("answer {name}"), "Must not be accepted.", inputs, reason));
    };
    let changed = |at: usize| {
        let mut bytes = good.to_vec();
        bytes[at] ^= 1;
        bytes
    };
    use kuvert_types::DecodeError::{Length, Value, Version};
    let malformed = LinkError::Malformed;
    reject("of version 0", changed(0), malformed(Version), "unknown version");
    reject("with another ephemeral key", changed(1), LinkError::Undecryptable, "the keys differ");
    reject("with another KEM ciphertext", changed(33), LinkError::Undecryptable, "the keys differ");
    reject("with other terms", changed(good.len() - 20), LinkError::Undecryptable, "authentication fails");
    let low = [&good[..1], &[0; 32], &good[33..]].concat();
    reject("with an ephemeral key of low order", low, malformed(Value), "low order");
    reject("cut", good[..good.len() - 1].to_vec(), malformed(Length), "length");
    reject("with a byte too many", [&good[..], &[0]].concat(), malformed(Length), "length");

    let mut reject = |name: &str, digits: &str, consent: &[u8], error: LinkError, reason: &str| {
        let linking = Linking::answer(&offer, ADDRESS(), account.public(), &mut Listed::new(&answered)).unwrap();
        assert_eq!(linking.message(), &good);
        let refused = linking.confirm(&Digits::parse(digits).unwrap(), consent, account);
        assert_eq!(refused.unwrap_err(), error, "{name}");
        let inputs = json!({
            "offer": hex(offer.encode()), "address": hex(ADDRESS().to_bytes()), "account_seed": hex(*account.to_bytes()),
            "answer_draws": answered, "digits": digits, "consent": hex(consent),
        });
        cases.push(Case::reject(format!("confirm {name}"), "No certificate comes of it.", inputs, reason));
    };
    let digits = again(&offered).accept(&good).unwrap().digits().to_string();
    let other = format!("{:06}", (digits.parse::<u64>().unwrap() + 1) % 1_000_000);
    reject("with other digits", &other, &consent, LinkError::Digits, "the digits differ");
    let mut bytes = consent;
    bytes[0] = 2;
    reject("a consent of version 2", &digits, &bytes, malformed(Version), "unknown version");
    let mut bytes = consent;
    bytes[5] ^= 1;
    reject("a changed consent", &digits, &bytes, LinkError::Undecryptable, "authentication fails");
    reject("a cut consent", &digits, &consent[1..], malformed(Version), "the first byte is the version");
    reject("an empty consent", &digits, &[], malformed(Length), "length");
}

fn welcomes(cases: &mut Vec<Case>) {
    let key = bytes::<32>("sync key");
    let good = seal_welcome(&key, b"what both know");
    let mut reject = |name: &str, welcome: Vec<u8>, error: LinkError, reason: &str| {
        assert_eq!(open_welcome(&key, &welcome).unwrap_err(), error, "{name}");
        let inputs = json!({ "sync_key": hex(key), "welcome": hex(&welcome) });
        cases.push(Case::reject(format!("welcome {name}"), "Must not be opened.", inputs, reason));
    };
    use kuvert_types::DecodeError::{Length, Version};
    let malformed = LinkError::Malformed;
    let changed = |at: usize| {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        bytes
    };
    reject("of version 0", changed(0), malformed(Version), "unknown version");
    reject("with another content", changed(3), LinkError::Undecryptable, "authentication fails");
    reject("with another tag", changed(good.len() - 1), LinkError::Undecryptable, "authentication fails");
    reject("cut", good[..good.len() - 1].to_vec(), LinkError::Undecryptable, "authentication fails");
    reject("shorter than a tag", good[..16].to_vec(), malformed(Length), "length");
    reject("without a byte", Vec::new(), malformed(Length), "length");
    let mut other = key;
    other[0] ^= 1;
    let inputs = json!({ "sync_key": hex(other), "welcome": hex(&good) });
    assert_eq!(open_welcome(&other, &good).unwrap_err(), LinkError::Undecryptable);
    cases.push(Case::reject("welcome of another linking", "Must not be opened.", inputs, "the key is another"));
}

/// Draws what a case lists.
struct Listed(alloc::collections::VecDeque<Vec<u8>>);

impl Listed {
    fn new(draws: &[alloc::string::String]) -> Self {
        Self(draws.iter().map(|draw| data_encoding::HEXLOWER.decode(draw.as_bytes()).unwrap()).collect())
    }
}

impl rand_core::TryRng for Listed {
    type Error = core::convert::Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        unreachable!("the protocol draws byte strings")
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        unreachable!("the protocol draws byte strings")
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Self::Error> {
        out.copy_from_slice(&self.0.pop_front().expect("a draw that is listed"));
        Ok(())
    }
}

impl rand_core::TryCryptoRng for Listed {}
