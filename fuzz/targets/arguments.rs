#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| akeys_fuzz::gate::arguments(data));
