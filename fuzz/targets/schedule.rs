#![no_main]

use lifeboat_config::parse_schedule;
use lifeboat_model::Problems;

libfuzzer_sys::fuzz_target!(|text: &str| {
    let mut problems = Problems::new();
    let schedule = parse_schedule("schedule.toml", text, &mut problems);
    lifeboat_fuzz::show(&problems);
    schedule.retention();
    schedule.timetable(1);
});
