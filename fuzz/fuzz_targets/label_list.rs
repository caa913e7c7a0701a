#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| veridical_fuzz::targets::label_list(bytes));
