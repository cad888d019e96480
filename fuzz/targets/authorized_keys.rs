#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| akeys_fuzz::keys::authorized_keys(data));
