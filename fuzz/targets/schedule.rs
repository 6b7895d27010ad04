#![no_main]

use jiff::Timestamp;
use lifeboat_config::parse_schedule;
use lifeboat_model::Problems;

// Whatever stands in a schedule, its next runs are found, in order and in time.
libfuzzer_sys::fuzz_target!(|text: &str| {
    let mut problems = Problems::new();
    let schedule = parse_schedule("schedule.toml", text, &mut problems);
    lifeboat_fuzz::show(&problems);
    schedule.retention();
    let now = Timestamp::from_second(1_795_219_200).expect("it is in 2026");
    let timetable = schedule.timetable(1);
    for job in schedule.jobs.iter().take(3) {
        let mut last = now;
        for planned in timetable.preview(job, now, 2) {
            assert!(planned.at.timestamp() > last, "{} after {last}", planned.at);
            last = planned.at.timestamp();
        }
        timetable.due(job, None, now);
        timetable.due(job, Some(now), now);
    }
});
