#![no_main]

use lifeboat_document::{parse, parse_duration, suggest};
use lifeboat_model::Problems;

libfuzzer_sys::fuzz_target!(|text: &str| {
    let mut problems = Problems::new();
    let mut table = parse("document.toml", text, &mut problems);
    lifeboat_fuzz::show(&problems);
    let same = parse("document.toml", text, &mut Problems::new());
    table.overlay(same);
    if parse_duration(text).is_ok() {
        assert!(text.bytes().any(|byte| byte.is_ascii_digit()));
    }
    suggest(text.get(..64).unwrap_or(text), ["rto", "rpo"]);
});
