//! vodozemac's Olm sessions on the same work: wire bytes in, wire bytes out.

use vodozemac::Curve25519PublicKey;
use vodozemac::olm::{Account, OlmMessage, Session, SessionConfig, SessionPickle};

use crate::Outcome;
use crate::conversation::{Conversation, Side, content};
use crate::meter::{Batch, Meter};

/// Two accounts with a session.
pub struct Olm {
    alice: Session,
    bob: Session,
}

fn one_time_keys(account: &mut Account, count: usize) -> Vec<Curve25519PublicKey> {
    account.generate_one_time_keys(count);
    let keys = account.one_time_keys().into_values().collect();
    account.mark_keys_as_published();
    keys
}

fn outbound(alice: &Account, bob: &Account, one_time_key: Curve25519PublicKey) -> Outcome<Session> {
    Ok(alice.create_outbound_session(SessionConfig::version_1(), bob.curve25519_key(), one_time_key)?)
}

fn inbound(alice: &Account, bob: &mut Account, message: &(usize, Vec<u8>)) -> Outcome<(Session, usize)> {
    let OlmMessage::PreKey(message) = OlmMessage::from_parts(message.0, &message.1)? else {
        return Err("not a first message".into());
    };
    let created = bob.create_inbound_session(SessionConfig::version_1(), alice.curve25519_key(), &message)?;
    Ok((created.session, created.plaintext.len()))
}

impl Conversation for Olm {
    type Message = (usize, Vec<u8>);

    fn begin() -> Outcome<Self> {
        let (alice, mut bob) = (Account::new(), Account::new());
        let one_time_key = one_time_keys(&mut bob, 1)[0];
        let mut session = outbound(&alice, &bob, one_time_key)?;
        let first = session.encrypt("first")?.to_parts();
        let (other, _) = inbound(&alice, &mut bob, &first)?;
        let mut pair = Self { alice: session, bob: other };
        let answer = pair.send(Side::Bob, b"answer")?;
        pair.receive(Side::Alice, &answer)?;
        Ok(pair)
    }

    fn send(&mut self, from: Side, content: &[u8]) -> Outcome<Self::Message> {
        let session = match from {
            Side::Alice => &mut self.alice,
            Side::Bob => &mut self.bob,
        };
        Ok(session.encrypt(content)?.to_parts())
    }

    fn receive(&mut self, to: Side, message: &Self::Message) -> Outcome<usize> {
        let session = match to {
            Side::Alice => &mut self.alice,
            Side::Bob => &mut self.bob,
        };
        Ok(session.decrypt(&OlmMessage::from_parts(message.0, &message.1)?)?.len())
    }
}

impl Olm {
    /// Bytes of a stored state.
    ///
    /// # Errors
    /// It could not be written.
    pub fn state_len(&self) -> Outcome<usize> {
        Ok(serde_json::to_vec(&self.bob.pickle())?.len())
    }
}

const SESSIONS: usize = 8;

/// From one-time key to first message.
pub struct EstablishOut {
    content: Vec<u8>,
}

impl EstablishOut {
    /// With `size` bytes in the first message.
    pub fn new(size: usize) -> Self {
        Self { content: content(size) }
    }
}

impl Batch for EstablishOut {
    fn run(&mut self, meter: &mut dyn Meter) -> Outcome<()> {
        let (alice, mut bob) = (Account::new(), Account::new());
        for key in one_time_keys(&mut bob, SESSIONS) {
            meter.start();
            let mut session = outbound(&alice, &bob, key)?;
            std::hint::black_box(session.encrypt(&self.content)?.to_parts());
            meter.stop();
        }
        Ok(())
    }

    fn operations(&self) -> usize {
        SESSIONS
    }
}

/// From the first message's bytes to a session and the content.
pub struct EstablishIn {
    content: Vec<u8>,
}

impl EstablishIn {
    /// With `size` bytes in the first message.
    pub fn new(size: usize) -> Self {
        Self { content: content(size) }
    }
}

impl Batch for EstablishIn {
    fn run(&mut self, meter: &mut dyn Meter) -> Outcome<()> {
        let (alice, mut bob) = (Account::new(), Account::new());
        for key in one_time_keys(&mut bob, SESSIONS) {
            let message = outbound(&alice, &bob, key)?.encrypt(&self.content)?.to_parts();
            meter.start();
            std::hint::black_box(inbound(&alice, &mut bob, &message)?);
            meter.stop();
        }
        Ok(())
    }

    fn operations(&self) -> usize {
        SESSIONS
    }
}

const SNAPSHOTS: usize = 64;

/// The state as JSON, the form that vodozemac documents; not encrypted, as Kuvert's is not at this level.
pub struct Snapshot(pub Olm);

impl Batch for Snapshot {
    fn run(&mut self, meter: &mut dyn Meter) -> Outcome<()> {
        self.0.exchange()?;
        meter.start();
        for _ in 0..SNAPSHOTS {
            std::hint::black_box(serde_json::to_vec(&self.0.bob.pickle())?);
        }
        meter.stop();
        Ok(())
    }

    fn operations(&self) -> usize {
        SNAPSHOTS
    }
}

/// The state back from JSON.
pub struct Restore(pub Olm);

impl Batch for Restore {
    fn run(&mut self, meter: &mut dyn Meter) -> Outcome<()> {
        self.0.exchange()?;
        let json = serde_json::to_vec(&self.0.bob.pickle())?;
        meter.start();
        for _ in 0..SNAPSHOTS {
            std::hint::black_box(Session::from_pickle(serde_json::from_slice::<SessionPickle>(&json)?));
        }
        meter.stop();
        Ok(())
    }

    fn operations(&self) -> usize {
        SNAPSHOTS
    }
}
