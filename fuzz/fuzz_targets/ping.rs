#![no_main]
//! Coverage-guided runs of one target.
libfuzzer_sys::fuzz_target!(|data: &[u8]| assert!(weir_fuzz::run("ping", data).is_some()));
