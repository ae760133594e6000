#![no_main]
//! Coverage-guided runs of one target.
libfuzzer_sys::fuzz_target!(|data: &[u8]| assert!(weir_fuzz::run("perf", data).is_some()));
