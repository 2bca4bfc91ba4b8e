#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::convert::Infallible;

use rand_core::{TryCryptoRng, TryRng};

use super::message::Kind;
use super::*;

/// Repeatable, and only for tests: SplitMix64.
pub(crate) struct TestRng(pub u64);

impl TryRng for TestRng {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(u32::try_from(self.try_next_u64()? >> 32).unwrap())
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        Ok(z ^ (z >> 31))
    }

    fn try_fill_bytes(&mut self, dest: &mut [u8]) -> Result<(), Infallible> {
        for chunk in dest.chunks_mut(8) {
            let word = self.try_next_u64()?.to_le_bytes();
            chunk.copy_from_slice(&word[..chunk.len()]);
        }
        Ok(())
    }
}

impl TryCryptoRng for TestRng {}

fn pair() -> (Braid, Braid, TestRng) {
    (Braid::new_initiator(&[7; 32]), Braid::new_recipient(&[7; 32]), TestRng(1))
}

fn stored(braid: &Braid) -> Vec<u8> {
    let mut out = Zeroizing::new(Vec::new());
    braid.encode(&mut out);
    out.to_vec()
}

fn restored(bytes: &[u8]) -> Result<Braid, DecodeError> {
    Reader::whole(bytes, Braid::decode)
}

fn deliver(to: &mut Braid, message: &[u8; SCKA_MESSAGE_LEN]) -> Option<OutputKey> {
    let received = to.receive(message).unwrap();
    to.apply(received.step)
}

/// Alternates until `to_be` holds for the side whose turn it is, and returns both, that side first.
fn alternate_until(to_be: impl Fn(&Braid) -> bool) -> (Braid, Braid, TestRng) {
    let (mut speaker, mut listener, mut rng) = pair();
    for _ in 0..200 {
        if to_be(&speaker) {
            return (speaker, listener, rng);
        }
        let sent = speaker.send(&mut rng).unwrap();
        deliver(&mut listener, &sent.message);
        mem::swap(&mut speaker, &mut listener);
    }
    panic!("never came to be");
}

#[test]
fn an_epoch_is_23_messages_of_strict_alternation() {
    let (mut speaker, mut listener, mut rng) = pair();
    let mut started = Vec::new();
    for turn in 0..23 * 6 {
        if matches!(speaker.state, State::KeysUnsampled(_)) {
            started.push((turn, speaker.state.epoch()));
        }
        let sent = speaker.send(&mut rng).unwrap();
        deliver(&mut listener, &sent.message);
        mem::swap(&mut speaker, &mut listener);
    }
    let expected: Vec<(u64, Epoch)> = (0..6).map(|e| (23 * e, e + 1)).collect();
    assert_eq!(started, expected);
}

#[test]
fn both_sides_put_out_the_same_keys_in_order() {
    let (mut speaker, mut listener, mut rng) = pair();
    let mut keys: [Vec<(Epoch, [u8; 32])>; 2] = Default::default();
    for turn in 0..23 * 8 {
        let sent = speaker.send(&mut rng).unwrap();
        assert_eq!(sent.sending_epoch, listener.receive(&sent.message).unwrap().receiving_epoch);
        assert!(sent.sending_epoch <= listener.newest_epoch(), "the other side knows the key");
        keys[turn % 2].extend(sent.output.map(|key| (key.epoch(), *key.as_bytes())));
        let output = deliver(&mut listener, &sent.message);
        keys[1 - turn % 2].extend(output.map(|key| (key.epoch(), *key.as_bytes())));
        mem::swap(&mut speaker, &mut listener);
    }
    assert_eq!(keys[0], keys[1]);
    assert_eq!(keys[0].iter().map(|(epoch, _)| *epoch).collect::<Vec<_>>(), (1..=8).collect::<Vec<_>>());
    assert_eq!(keys[0].iter().map(|(_, key)| *key).collect::<BTreeSet<_>>().len(), 8);
}

/// Every state is reached, its stored form comes back byte for byte, and the restored side goes on in its place.
#[test]
fn every_state_survives_storing() {
    let mut names = BTreeSet::new();
    let mut longest = 0;
    // Some messages lost, so that the states off the straight path are reached, too.
    for loss in [0_u64, 2, 3, 5] {
        let (mut speaker, mut listener, mut rng) = pair();
        for turn in 0..400 {
            let bytes = stored(&speaker);
            longest = longest.max(bytes.len());
            names.insert(speaker.state.name());
            speaker = restored(&bytes).unwrap();
            assert_eq!(stored(&speaker), bytes);
            for cut in [0, 1, 9, bytes.len() / 2, bytes.len() - 1] {
                assert!(restored(&bytes[..cut]).is_err());
            }
            assert!(restored(&[bytes.as_slice(), &[0]].concat()).is_err());

            let sent = speaker.send(&mut rng).unwrap();
            if loss == 0 || !rng.try_next_u64().unwrap().is_multiple_of(loss) {
                deliver(&mut listener, &sent.message);
            }
            let bytes = stored(&listener);
            longest = longest.max(bytes.len());
            names.insert(listener.state.name());
            listener = restored(&bytes).unwrap();
            if turn % 3 != 2 || loss == 0 {
                mem::swap(&mut speaker, &mut listener);
            }
        }
        assert!(speaker.state.epoch() > 5, "loss {loss}: stuck in epoch {}", speaker.state.epoch());
    }
    let expected = [
        "KeysUnsampled",
        "KeysSampled",
        "HeaderSent",
        "Ct1Received",
        "EkSentCt1Received",
        "NoHeaderReceived",
        "HeaderReceived",
        "Ct1Sampled",
        "EkReceivedCt1Sampled",
        "Ct1Acknowledged",
        "Ct2Sampled",
    ];
    assert_eq!(names, expected.into_iter().collect());
    assert_eq!(longest, 2251, "as the snapshot module says");
}

#[test]
fn a_failure_survives_storing() {
    for failure in [SckaFailure::Authentication, SckaFailure::EncapsulationKey] {
        let failed = Braid { state: State::Failed(Failed { epoch: 3, failure }) };
        let bytes = stored(&failed);
        assert_eq!(bytes.len(), 10, "no keys are left");
        let mut again = restored(&bytes).unwrap();
        assert_eq!(again.failure(), Some(failure));
        assert_eq!(again.send(&mut TestRng(0)).unwrap_err(), SckaError::Failed(failure));
        assert_eq!(again.receive(&Message::nothing(3).encode()).unwrap_err(), SckaError::Failed(failure));
    }
    for bad in [[11, 0, 0, 0, 0, 0, 0, 0, 3, 0], [11, 0, 0, 0, 0, 0, 0, 0, 3, 3], [11, 0, 0, 0, 0, 0, 0, 0, 0, 1]] {
        assert!(restored(&bad).is_err());
    }
}

/// In every state, what the diagram has no arrow for changes nothing.
#[test]
fn attack_27_wrong_epochs_and_types_are_ignored() {
    // With nothing lost the vector is complete last, with every second chunk of c₁ lost c₁ is.
    let mut states = wrong_epochs_and_types(|_, _| false);
    states.extend(wrong_epochs_and_types(|turn, kind| kind == Kind::Ciphertext1 as u8 && turn % 4 < 2));
    assert!(["EkReceivedCt1Sampled", "Ct1Acknowledged", "Ct2Sampled"].iter().all(|name| states.contains(name)));
}

/// Two epochs and more, in each state every type in every epoch beside the messages that are meant; the states that there were.
fn wrong_epochs_and_types(is_lost: impl Fn(usize, u8) -> bool) -> BTreeSet<&'static str> {
    let (mut speaker, mut listener, mut rng) = pair();
    let mut states = BTreeSet::new();
    for turn in 0..23 * 4 {
        for side in [&speaker, &listener] {
            let epoch = side.state.epoch();
            let before = stored(side);
            let name = side.state.name();
            states.insert(name);
            for kind in [
                Kind::Nothing,
                Kind::Header,
                Kind::Vector,
                Kind::VectorAndAcknowledgement,
                Kind::Ciphertext1,
                Kind::Ciphertext2,
            ] {
                for epoch in [1, epoch.saturating_sub(1), epoch, epoch + 1, epoch + 2, u64::MAX] {
                    let chunk = if kind == Kind::Nothing { [0; 128] } else { [0x5A; 128] };
                    let index = if kind == Kind::Nothing { 0 } else { 700 };
                    if epoch == 0 {
                        continue;
                    }
                    let meant = match name {
                        "Ct2Sampled" => epoch.wrapping_sub(1) == side.state.epoch(),
                        "KeysSampled" | "HeaderSent" => epoch == side.state.epoch() && kind == Kind::Ciphertext1,
                        "Ct1Received" | "EkSentCt1Received" => epoch == side.state.epoch() && kind == Kind::Ciphertext2,
                        "NoHeaderReceived" => epoch == side.state.epoch() && kind == Kind::Header,
                        "Ct1Sampled" => {
                            epoch == side.state.epoch() && matches!(kind, Kind::Vector | Kind::VectorAndAcknowledgement)
                        }
                        "EkReceivedCt1Sampled" | "Ct1Acknowledged" => {
                            epoch == side.state.epoch() && kind == Kind::VectorAndAcknowledgement
                        }
                        _ => false,
                    };
                    let mut side = restored(&before).unwrap();
                    assert!(deliver(&mut side, &Message { kind, epoch, index, chunk }.encode()).is_none());
                    assert_eq!(stored(&side) == before, !meant, "{name} {kind:?} {epoch}");
                }
            }
        }
        let sent = speaker.send(&mut rng).unwrap();
        if !is_lost(turn, sent.message[0]) {
            deliver(&mut listener, &sent.message);
        }
        mem::swap(&mut speaker, &mut listener);
    }
    states
}

/// A repeated index adds no chunk; that the other side has all of c₁ is said by the type alone [KV-049].
#[test]
fn an_acknowledgement_counts_whose_chunk_is_there_already() {
    let (mut holder, mut encapsulator, mut rng) = {
        let (mut speaker, mut listener, mut rng) = pair();
        // On until the encapsulator has a first chunk of the vector.
        loop {
            let sent = speaker.send(&mut rng).unwrap();
            let first = sent.message[0] == Kind::Vector as u8;
            deliver(&mut listener, &sent.message);
            if first {
                break (speaker, listener, rng);
            }
            mem::swap(&mut speaker, &mut listener);
        }
    };
    assert_eq!((holder.state.name(), encapsulator.state.name()), ("HeaderSent", "Ct1Sampled"));
    // The next chunk, and then one with its index and other bytes, once without and once with the acknowledgement.
    let sent = Message::decode(&holder.send(&mut rng).unwrap().message).unwrap();
    assert!(deliver(&mut encapsulator, &sent.encode()).is_none());
    let before = stored(&encapsulator);
    let repeated = Message { chunk: [0x5A; 128], ..sent };
    assert!(deliver(&mut encapsulator, &repeated.encode()).is_none());
    assert_eq!(stored(&encapsulator), before, "not added");
    let acknowledging = Message { kind: Kind::VectorAndAcknowledgement, ..repeated };
    assert!(deliver(&mut encapsulator, &acknowledging.encode()).is_none());
    assert_eq!(encapsulator.state.name(), "Ct1Acknowledged");
    let acknowledged = stored(&encapsulator);
    assert!(deliver(&mut encapsulator, &acknowledging.encode()).is_none());
    assert_eq!(stored(&encapsulator), acknowledged, "here it changes nothing");
}

/// Flips one bit of one chunk of `kind` on its way, and says what the receiving side fails with.
fn poisoned(kind: Kind, nth: usize, byte: usize) -> Option<SckaFailure> {
    let (mut speaker, mut listener, mut rng) = pair();
    let mut seen = 0;
    for _ in 0..23 {
        let mut sent = speaker.send(&mut rng).unwrap();
        if sent.message[0] == kind as u8 {
            if seen == nth {
                sent.message[11 + byte] ^= 0x10;
            }
            seen += 1;
        }
        deliver(&mut listener, &sent.message);
        if let Some(failure) = listener.failure() {
            assert_eq!(listener.send(&mut rng).unwrap_err(), SckaError::Failed(failure));
            assert_eq!(stored(&listener).len(), 10);
            return Some(failure);
        }
        mem::swap(&mut speaker, &mut listener);
    }
    None
}

#[test]
fn attack_27_a_wrong_mac_is_terminal() {
    // The header, its MAC, and the padding behind it.
    for byte in [0, 40, 64, 95, 96, 127] {
        assert_eq!(poisoned(Kind::Header, 0, byte), Some(SckaFailure::Authentication), "header byte {byte}");
    }
    // c₁ anywhere, its padding, c₂ and the MAC over both.
    for nth in 0..8 {
        assert_eq!(poisoned(Kind::Ciphertext1, nth, 13), Some(SckaFailure::Authentication), "c₁ chunk {nth}");
    }
    assert_eq!(poisoned(Kind::Ciphertext1, 7, 127), Some(SckaFailure::Authentication));
    for byte in [0, 127] {
        assert_eq!(poisoned(Kind::Ciphertext2, 0, byte), Some(SckaFailure::Authentication), "c₂ byte {byte}");
    }
    for byte in [0, 31, 32, 127] {
        assert_eq!(poisoned(Kind::Ciphertext2, 1, byte), Some(SckaFailure::Authentication), "MAC byte {byte}");
    }
}

#[test]
fn attack_27_a_vector_that_was_not_announced_is_terminal() {
    for nth in 0..7 {
        assert_eq!(poisoned(Kind::Vector, nth, 99), Some(SckaFailure::EncapsulationKey), "chunk {nth}");
    }
    for nth in 0..2 {
        let failure = poisoned(Kind::VectorAndAcknowledgement, nth, 99);
        assert_eq!(failure, Some(SckaFailure::EncapsulationKey), "chunk {nth}");
    }
}

/// The secret that a session began with is not enough to make a header that a later epoch takes.
#[test]
fn the_authenticator_moves_on_with_every_output_key() {
    let (first, mut recipient, mut rng) =
        alternate_until(|side| matches!(side.state, State::KeysUnsampled(_)) && side.state.epoch() == 3);
    let common = Common { epoch: 3, authenticator: Authenticator::new(&[7; 32]) };
    let mut forger = Braid { state: State::KeysUnsampled(KeysUnsampled { common }) };
    let sent = forger.send(&mut rng).unwrap();
    assert_eq!(first.state.epoch(), recipient.state.epoch());
    deliver(&mut recipient, &sent.message);
    assert_eq!(recipient.failure(), Some(SckaFailure::Authentication));
}

#[test]
fn the_sides_must_start_from_the_same_secret() {
    let mut initiator = Braid::new_initiator(&[7; 32]);
    let mut recipient = Braid::new_recipient(&[8; 32]);
    let sent = initiator.send(&mut TestRng(1)).unwrap();
    deliver(&mut recipient, &sent.message);
    assert_eq!(recipient.failure(), Some(SckaFailure::Authentication));
}

#[test]
fn malformed_messages_are_refused() {
    let (side, ..) = pair();
    let good = Message { kind: Kind::Header, epoch: 1, index: 0, chunk: [1; 128] }.encode();
    assert!(side.receive(&good).is_ok());
    for (byte, value) in [(0, 6), (0, 255), (8, 0)] {
        let mut bad = good;
        bad[byte] = value;
        assert_eq!(side.receive(&bad).unwrap_err(), SckaError::Malformed, "byte {byte} = {value}");
    }
    // A message of nothing has one encoding only.
    for byte in 9..SCKA_MESSAGE_LEN {
        let mut bad = Message::nothing(1).encode();
        bad[byte] = 1;
        assert_eq!(side.receive(&bad).unwrap_err(), SckaError::Malformed, "byte {byte}");
    }
}

#[test]
fn one_sided_floods_neither_grow_the_state_nor_stop_the_braid() {
    for state in ["KeysUnsampled", "HeaderSent", "Ct1Received", "Ct1Sampled", "Ct2Sampled"] {
        let (mut speaker, mut listener, mut rng) = alternate_until(|side| side.state.name() == state);
        speaker.send(&mut rng).unwrap();
        let before = stored(&speaker).len();
        // More than there are indices; the other side gets a few from anywhere.
        for i in 0..70_000 {
            let sent = speaker.send(&mut rng).unwrap();
            if i % 9_999 == 5_000 {
                deliver(&mut listener, &sent.message);
            }
        }
        assert_eq!(stored(&speaker).len(), before);
        assert!(stored(&listener).len() <= 2251);
        let epoch = speaker.state.epoch();
        for _ in 0..60 {
            let sent = listener.send(&mut rng).unwrap();
            deliver(&mut speaker, &sent.message);
            mem::swap(&mut speaker, &mut listener);
        }
        assert!(speaker.state.epoch() >= epoch + 2, "{state}");
    }
}
