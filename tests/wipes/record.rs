//! Which bytes of a stored session record are secret. The layouts are those of the modules that write them:
//! `session::record`, `session::session`, `ratchet::double_ratchet`, `pq_ratchet::snapshot`, `braid::snapshot`.

use kuvert_protocol::hazmat::primitives::kdf::hmac_sha256;

use crate::watcher::Secrets;

/// Messages that one message of the test skips, at most, and some more.
const KEYS_AHEAD: u32 = 8;

/// Learns all keys in a stored record, and the message keys that its chains are about to give.
pub fn learn_record(bytes: &[u8], secrets: &mut Secrets) {
    let mut stored = Stored { rest: bytes, secrets };
    assert_eq!(stored.number(1), 1, "version");
    for _ in 0..stored.number(1) {
        stored.session();
    }
    for _ in 0..stored.number(1) {
        stored.session();
    }
    assert!(stored.rest.is_empty());
}

struct Stored<'a> {
    rest: &'a [u8],
    secrets: &'a mut Secrets,
}

impl<'a> Stored<'a> {
    fn take(&mut self, n: usize) -> &'a [u8] {
        let (taken, rest) = self.rest.split_at(n);
        self.rest = rest;
        taken
    }

    fn number(&mut self, n: usize) -> usize {
        self.take(n).iter().fold(0, |value, byte| value << 8 | usize::from(*byte))
    }

    fn secret(&mut self, name: &'static str, n: usize) -> &'a [u8] {
        let secret = self.take(n);
        self.secrets.learn(name, secret);
        secret
    }

    fn session(&mut self) {
        self.take(32 + 32 + 245 + 1 + 8 + 8);
        for optional in [32, 1859] {
            let there = self.number(1);
            self.take(there * optional);
        }
        self.curve_ratchet();
        self.pq_ratchet();
    }

    fn curve_ratchet(&mut self) {
        self.secret("root key", 32);
        self.secret("ratchet private key", 32);
        self.take(32);
        let there = self.number(1);
        self.take(there * 32);
        if self.number(1) == 1 {
            self.secret("header key", 32);
            self.curve_chain();
        }
        if self.number(1) == 1 {
            self.secret("header key", 32);
            self.curve_chain();
            self.skipped_keys();
        }
        self.secret("next header key", 32);
        self.secret("next header key", 32);
        self.take(4);
        for _ in 0..self.number(1) {
            self.secret("header key", 32);
            self.take(4);
            self.skipped_keys();
        }
        self.take(8);
    }

    fn curve_chain(&mut self) {
        let mut key = self.secret("chain key", 32).to_vec();
        self.take(4);
        for _ in 0..KEYS_AHEAD {
            self.secrets.learn("message key", &*hmac_sha256(&key, &[&[1]]));
            key = hmac_sha256(&key, &[&[2]]).to_vec();
            self.secrets.learn("chain key", &key);
        }
    }

    fn skipped_keys(&mut self) {
        for _ in 0..self.number(4) {
            self.take(4);
            self.secret("skipped message key", 32);
            self.take(8);
        }
    }

    fn pq_ratchet(&mut self) {
        self.braid();
        self.take(1);
        self.secret("post-quantum root key", 32);
        for _ in 0..self.number(1) {
            if self.number(1) == 1 {
                self.pq_chain();
            }
            self.pq_chain();
            for _ in 0..self.number(2) {
                self.take(4);
                self.secret("skipped post-quantum key", 32);
            }
        }
    }

    fn pq_chain(&mut self) {
        let mut key = self.secret("post-quantum chain key", 32).to_vec();
        let next = self.number(4) as u32;
        let label = |text: &str| {
            let mut label = [0; 32];
            label[..text.len()].copy_from_slice(text.as_bytes());
            label
        };
        for n in next..next + KEYS_AHEAD {
            let derive = |text| hmac_sha256(&key, &[&label(text), &n.to_be_bytes()]);
            self.secrets.learn("post-quantum message key", &*derive("Kuvert/1 pq ratchet message key"));
            key = derive("Kuvert/1 pq ratchet chain key").to_vec();
            self.secrets.learn("post-quantum chain key", &key);
        }
    }

    fn braid(&mut self) {
        let state = self.number(1);
        self.take(8);
        self.secret("Braid authenticator's root", 32);
        self.secret("Braid MAC key", 32);
        match state {
            1..=4 => _ = self.secret("Braid key pair", 64),
            7 | 9 => {
                self.take(64);
                self.secret("Braid encapsulation randomness", 32);
            }
            _ => {}
        }
        // What follows is public: an encapsulation key, a ciphertext, chunks of them.
        match state {
            0 => {}
            1 => _ = self.take(1152 + 96 + 2),
            2 => {
                self.take(1152 + 2);
                self.chunks();
            }
            3 => _ = self.take(1152 + 2 + 960),
            4 => {
                self.take(960);
                self.chunks();
            }
            5 => self.chunks(),
            6 => _ = self.take(64),
            7 => {
                self.take(960 + 2);
                self.chunks();
            }
            8 => _ = self.take(960 + 2 + 160),
            9 => {
                self.take(960);
                self.chunks();
            }
            10 => _ = self.take(160 + 2),
            other => unreachable!("state {other} of the Braid"),
        }
    }

    fn chunks(&mut self) {
        let count = self.number(1);
        self.take(count * 130);
    }
}
