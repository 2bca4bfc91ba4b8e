//! Every input that is kept in `fuzz/corpus/` does what its target demands, on every build, without libFuzzer.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::Path;

fn rerun(name: &str) {
    let (_, target) = kuvert_fuzz::TARGETS.iter().find(|(target, _)| *target == name).unwrap();
    for (file, input) in kuvert_fuzz::corpus(name) {
        if std::panic::catch_unwind(|| target(&input)).is_err() {
            panic!("{file} breaks an invariant");
        }
    }
}

macro_rules! targets {
    ($($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                rerun(stringify!($name));
            }
        )*

        #[test]
        fn no_target_is_left_out() {
            assert_eq!([$(stringify!($name)),*], kuvert_fuzz::TARGETS.map(|(name, _)| name));
            for (name, _) in kuvert_fuzz::TARGETS {
                let target = format!("../../fuzz/fuzz_targets/{name}.rs");
                assert!(Path::new(env!("CARGO_MANIFEST_DIR")).join(&target).exists(), "{target}");
            }
        }
    };
}

targets! { decoders session dishonest_peer relay_requests mailboxes }
