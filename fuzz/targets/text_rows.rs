#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    // The first byte says which format the rest is in.
    if let Some((format, rows)) = data.split_first() {
        lifeboat_fuzz::mask_rows(*format, rows);
    }
});
