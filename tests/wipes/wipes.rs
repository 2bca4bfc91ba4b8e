//! KV-025 and its like: the protocol's secrets are gone from memory when it gives the memory back.
//!
//! A conversation is lived through twice, the same both times. The first time all its secrets are written down: what was
//! drawn, what stands in the stored forms after every step, what follows from that. The second time an allocator looks for
//! them in every block that is given back, also in those that a vector leaves behind when it grows.
//!
//! Looked at is the heap. What a function leaves on the stack or in registers cannot be read back this way.

mod record;
mod watcher;
mod world;

use kuvert_protocol::hazmat::primitives::kem1024::KemSeed;
use zeroize::Zeroizing;

use watcher::{Secrets, note, watch};

#[test]
fn no_secret_is_left_in_memory_that_is_given_back() {
    let mut secrets = Secrets::default();
    world::live(Some(&mut secrets));
    assert!(secrets.len() > 5_000, "{} windows", secrets.len());
    let secrets = Box::leak(Box::new(secrets));
    let (leaks, blocks) = watch(secrets, || world::live(None));
    assert!(blocks > 1_000, "{blocks} blocks");
    assert_eq!(leaks, [], "secrets in memory that was given back");
}

/// The library that computes ML-KEM wipes no private key: the key pair does, also where no conversation keeps one on the heap.
#[test]
fn a_key_pair_that_is_dropped_is_wiped() {
    let seed: [u8; 64] = core::array::from_fn(|i| i as u8 ^ 0x5A);
    let mut secrets = Secrets::default();
    // A private key holds the second half of its seed as it is (FIPS 203, section 6.1).
    secrets.learn("second half of a seed", &seed[32..]);
    let secrets = Box::leak(Box::new(secrets));
    let (leaks, blocks) = watch(secrets, || drop(Box::new(KemSeed::from_bytes(&seed).key_pair())));
    assert!(blocks > 0);
    assert_eq!(leaks, []);
}

/// The watcher does find what is not wiped: otherwise the test above would show nothing.
#[test]
fn what_is_not_wiped_is_found() {
    let secret: [u8; 32] = core::array::from_fn(|i| i as u8);
    let mut secrets = Secrets::default();
    secrets.learn("secret", &secret);
    let secrets = Box::leak(Box::new(secrets));
    let found = |during, action: &dyn Fn()| {
        note(during);
        let (leaks, blocks) = watch(secrets, action);
        assert!(blocks > 0, "{during}");
        !leaks.is_empty()
    };
    let padded = |secret: &[u8]| [&[7; 5], secret].concat();
    assert!(found("a vector", &|| drop(secret.to_vec())));
    assert!(found("in the middle of a block", &|| drop(padded(&secret))));
    assert!(found("a part", &|| drop(padded(&secret[8..24]))));
    assert!(found("what a vector that grows leaves behind", &|| {
        let mut vector = Zeroizing::new(secret.to_vec());
        let zeros = [0; 100];
        vector.extend_from_slice(&zeros);
    }));
    assert!(found("behind a vector's length", &|| {
        let mut vector = secret.to_vec();
        vector.truncate(1);
    }));
    assert!(!found("a vector that is wiped", &|| drop(Zeroizing::new(secret.to_vec()))));
    assert!(!found("another value", &|| drop(vec![7_u8; 64])));
}
