//! The one place here that asks the system for the time.

use std::process::Command;
use std::time::Instant;

/// Measures seconds from its start.
pub(crate) struct Stopwatch(Instant);

impl Stopwatch {
    #[expect(clippy::disallowed_methods, reason = "it times programs for people")]
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn secs(&self) -> f64 {
        self.0.elapsed().as_secs_f64()
    }
}

/// Returns the date in UTC, as in `2026-11-21`.
pub(crate) fn today() -> Result<String, String> {
    let output = Command::new("date").args(["-u", "+%F"]).output();
    let output = output.map_err(|error| format!("failed to start `date`: {error}"))?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
