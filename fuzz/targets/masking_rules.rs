#![no_main]

use lifeboat_masking::RuleSet;

libfuzzer_sys::fuzz_target!(|text: &str| {
    match RuleSet::parse("rules.toml", text) {
        Ok((rules, warnings)) => {
            lifeboat_fuzz::show(&warnings);
            let again = RuleSet::parse("rules.toml", text)
                .expect("it was read just now")
                .0;
            assert_eq!(again.hash(), rules.hash());
        }
        Err(problems) => lifeboat_fuzz::show(&problems),
    }
});
