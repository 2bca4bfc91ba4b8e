#![no_main]
libfuzzer_sys::fuzz_target!(|input: &[u8]| kuvert_fuzz::session::run(input));
