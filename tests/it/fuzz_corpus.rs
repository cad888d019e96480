//! What fuzzers have found before is tried again: every input that `fuzz/` keeps, without a fuzzer.

use std::path::Path;

#[path = "../../fuzz/src/gate/mod.rs"]
mod gate;
#[path = "../../fuzz/src/inputs.rs"]
mod inputs;
#[path = "../../fuzz/src/keys.rs"]
mod keys;

#[test]
fn nothing_that_a_fuzzer_found_fails_again() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let keys: gate::Target = ("authorized_keys", keys::authorized_keys);
    for (name, run) in gate::TARGETS.iter().copied().chain([keys]) {
        for data in inputs::of(&fuzz, name) {
            inputs::attempt(name, run, &data);
        }
    }
}
