#![no_main]

use lifeboat_config::Config;
use lifeboat_fuzz::{in_project, show};

// `lifeboat.toml`, an environment's file and the value of a flag, parted by zero bytes.
libfuzzer_sys::fuzz_target!(|text: &str| {
    let mut parts = text.split('\0');
    let base = parts.next().unwrap_or_default();
    let environment = parts.next().unwrap_or_default();
    let flag = parts
        .next()
        .map(|value| ("source.files.path".to_owned(), value.to_owned()));
    let flags: Vec<_> = flag.into_iter().collect();
    in_project(base, environment, |root| {
        match Config::load(root, &[], &flags) {
            Ok(loaded) => {
                show(&loaded.warnings);
                show(&loaded.config.check());
            }
            Err(problems) => show(&problems),
        }
    });
});
