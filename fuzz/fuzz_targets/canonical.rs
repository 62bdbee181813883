#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../tests/it/fuzzed/properties.rs"]
// Each target takes one of the properties.
#[allow(dead_code)]
mod properties;

fuzz_target!(|bytes: &[u8]| properties::canonical(bytes));
