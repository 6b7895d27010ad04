#![no_main]

use lifeboat_masking::CopyText;

libfuzzer_sys::fuzz_target!(|raw: &[u8]| {
    let mut value = Vec::new();
    CopyText::decode(raw, &mut value);
    assert!(value.len() <= raw.len());
    let mut written = Vec::new();
    CopyText::encode(&value, &mut written);
    assert!(!written.iter().any(|byte| b"\t\n\r".contains(byte)));
    let mut again = Vec::new();
    CopyText::decode(&written, &mut again);
    assert_eq!(again, value);
});
