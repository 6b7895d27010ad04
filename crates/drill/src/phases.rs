//! The clock of a drill: how long each phase took, and which were not exercised.

use std::time::Duration;

use lifeboat_runtime::Clock;
use serde::Serialize;

/// One phase of a recovery.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Phase {
    /// Its name.
    pub name: &'static str,
    /// How long it took, seconds; `None` reads "not measured", which is never 0.
    pub secs: Option<f64>,
}

/// Measures phases one after the other, without gaps: their sum is the whole.
pub struct PhaseClock<'a> {
    clock: &'a dyn Clock,
    start: Duration,
    last: Duration,
    phases: Vec<Phase>,
}

impl<'a> PhaseClock<'a> {
    /// Starts the clock.
    pub fn start(clock: &'a dyn Clock) -> Self {
        let start = clock.elapsed();
        Self {
            clock,
            start,
            last: start,
            phases: Vec::new(),
        }
    }

    /// Ends the phase that began where the last one ended.
    pub fn end(&mut self, name: &'static str) {
        let now = self.clock.elapsed();
        self.push(name, now);
    }

    /// Ends a phase that ended `after` its beginning, as somebody else measured it.
    pub fn end_after(&mut self, name: &'static str, after: Duration) {
        let end = (self.last + after).min(self.clock.elapsed());
        self.push(name, end);
    }

    /// Notes a phase that was not exercised.
    pub fn not_measured(&mut self, name: &'static str) {
        self.phases.push(Phase { name, secs: None });
    }

    /// Returns the time since the start.
    pub fn elapsed(&self) -> Duration {
        self.last - self.start
    }

    /// Returns the phases.
    pub fn finish(self) -> Vec<Phase> {
        self.phases
    }

    fn push(&mut self, name: &'static str, end: Duration) {
        let secs = (end - self.last).as_secs_f64();
        self.last = end;
        self.phases.push(Phase {
            name,
            secs: Some(secs),
        });
    }
}

#[cfg(test)]
mod tests {
    use lifeboat_runtime::ManualClock;

    use super::*;

    #[test]
    fn phases_add_up_to_the_whole_and_gaps_are_not_zeros() {
        let clock = ManualClock::new(jiff::Timestamp::UNIX_EPOCH);
        let mut phases = PhaseClock::start(&clock);
        phases.not_measured("detect");
        clock.advance(Duration::from_secs(5));
        phases.end_after("first byte", Duration::from_secs(2));
        phases.end("restore");
        assert_eq!(phases.elapsed(), Duration::from_secs(5));
        let secs: Vec<_> = phases
            .finish()
            .into_iter()
            .map(|phase| phase.secs)
            .collect();
        assert_eq!(secs, [None, Some(2.0), Some(3.0)]);
    }
}
