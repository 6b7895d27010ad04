#![no_main]

use lifeboat_masking::detect;

libfuzzer_sys::fuzz_target!(|text: &[u8]| {
    let mut end = 0;
    for hit in detect(text) {
        assert!(hit.range.start >= end && hit.range.end <= text.len(), "{hit:?} after {end}");
        assert!(!hit.range.is_empty(), "{hit:?}");
        end = hit.range.end;
    }
});
