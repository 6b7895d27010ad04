//! What a program costs includes what it leaves to the background.

use std::fs;
use std::process::Command;

#[test]
fn a_worker_in_the_background_is_counted() {
    let report = std::env::temp_dir().join(format!("xtask-measured-{}", std::process::id()));
    // The shell ends at once; the loop takes far more CPU time than starting a shell does.
    let line = "(i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done) & exit 0";
    let status = Command::new(env!("CARGO_BIN_EXE_xtask"))
        .arg("measured")
        .arg(&report)
        .args(["own", "sh", "-c", line])
        .status()
        .unwrap();
    assert!(status.success());
    let text = fs::read_to_string(&report).unwrap();
    fs::remove_file(&report).unwrap();
    let cpu_secs: f64 = text.split_whitespace().nth(1).unwrap().parse().unwrap();
    assert!(cpu_secs > 0.04, "only {cpu_secs} s of CPU were counted");
}
