//! Both backends, side by side: the same bytes from the same inputs, and the same refusals.
#![cfg(feature = "aws-lc")]
#![allow(clippy::unwrap_used)]

use kuvert_protocol::hazmat::primitives::aead::OpenError;
use kuvert_protocol::hazmat::primitives::backend::{aws_lc, portable};
use proptest::prelude::*;

proptest! {
    #[test]
    fn the_same_ciphertexts(
        key: [u8; 32], nonce: [u8; 24],
        associated in prop::collection::vec(any::<u8>(), 0..400), content in prop::collection::vec(any::<u8>(), 0..5_000),
    ) {
        let short = nonce[..12].try_into().unwrap();
        let (mut ours, mut theirs) = (content.clone(), content.clone());
        prop_assert_eq!(
            portable::seal(&key, short, &associated, &mut ours),
            aws_lc::seal(&key, short, &associated, &mut theirs)
        );
        prop_assert_eq!(&ours, &theirs);
        let tag = portable::xseal(&key, &nonce, &associated, &mut ours);
        prop_assert_eq!(tag, aws_lc::xseal(&key, &nonce, &associated, &mut theirs));
        prop_assert_eq!(ours, theirs);
    }

    /// Sealed by one and opened by the other, whole or with one bit changed anywhere.
    #[test]
    fn the_same_refusals(
        key: [u8; 32], nonce: [u8; 24], associated in prop::collection::vec(any::<u8>(), 1..400),
        content in prop::collection::vec(any::<u8>(), 1..2_000), place: prop::sample::Index, bit in 0..8_u32, part in 0..5,
    ) {
        let short = nonce[..12].try_into().unwrap();
        let (mut sealed, mut xsealed) = (content.clone(), content.clone());
        let tag = portable::seal(&key, short, &associated, &mut sealed);
        let xtag = portable::xseal(&key, &nonce, &associated, &mut xsealed);
        let changed = |wanted: i32, bytes: &[u8]| {
            let mut bytes = bytes.to_vec();
            if part == wanted {
                let at = place.index(bytes.len());
                bytes[at] ^= 1 << bit;
            }
            bytes
        };
        let (associated, key) = (changed(1, &associated), changed(2, &key).try_into().unwrap());
        let expected = if part == 0 { Ok(content) } else { Err(OpenError) };
        let open: [fn(&_, &_, &_, &_, &_, &mut _) -> _; 2] = [portable::open, aws_lc::open];
        for open in open {
            let mut out = vec![0; sealed.len()];
            let tag = changed(3, &tag).try_into().unwrap();
            let opened = open(&key, short, &associated, &changed(4, &sealed), &tag, &mut out);
            prop_assert_eq!(opened.map(|()| out), expected.clone());
        }
        let open: [fn(&_, &_, &_, &_, &_, &mut _) -> _; 2] = [portable::xopen, aws_lc::xopen];
        for open in open {
            let mut out = vec![0; xsealed.len()];
            let tag = changed(3, &xtag).try_into().unwrap();
            let opened = open(&key, &nonce, &associated, &changed(4, &xsealed), &tag, &mut out);
            prop_assert_eq!(opened.map(|()| out), expected.clone());
        }
    }

    #[test]
    fn the_same_points(ours: [u8; 32], theirs: [u8; 32]) {
        let (portable, aws_lc) = (portable::X25519Scalar::new(&ours), aws_lc::X25519Scalar::new(&ours));
        prop_assert_eq!(portable.public(), aws_lc.public());
        prop_assert_eq!(portable.as_bytes(), aws_lc.as_bytes());
        // Any 32 bytes are a point: on the curve, on its twist, canonical or not.
        prop_assert_eq!(&*portable.multiply(&theirs), &*aws_lc.multiply(&theirs));
        prop_assert_eq!(&*portable.clone().multiply(&theirs), &*aws_lc.clone().multiply(&theirs));
    }
}

#[test]
fn a_point_of_low_order_gives_zeros() {
    for point in [[0; 32], core::array::from_fn(|at| u8::from(at == 0))] {
        assert_eq!(*portable::X25519Scalar::new(&[7; 32]).multiply(&point), [0; 32]);
        assert_eq!(*aws_lc::X25519Scalar::new(&[7; 32]).multiply(&point), [0; 32]);
    }
}
