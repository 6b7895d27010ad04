//! Wall time and elapsed time.

use std::sync::Mutex;
use std::time::Duration;

use jiff::Timestamp;

/// Tells the time.
pub trait Clock: Send + Sync {
    /// Returns the wall time. It may jump in both directions.
    fn now(&self) -> Timestamp;

    /// Returns the time since an arbitrary start. It never goes back.
    fn elapsed(&self) -> Duration;
}

/// The clock of this machine.
#[derive(Debug)]
pub struct SystemClock {
    start: std::time::Instant,
}

impl SystemClock {
    /// Starts the clock.
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the system's clock"
    )]
    pub fn new() -> Self {
        Self {
            start: std::time::Instant::now(),
        }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the system's clock"
    )]
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }
}

/// A clock that moves when told to, for tests and simulations.
#[derive(Debug)]
pub struct ManualClock {
    state: Mutex<(Timestamp, Duration)>,
}

impl ManualClock {
    /// Starts at `now`.
    pub fn new(now: Timestamp) -> Self {
        Self {
            state: Mutex::new((now, Duration::ZERO)),
        }
    }

    /// Lets `step` pass on both clocks.
    pub fn advance(&self, step: Duration) {
        let mut state = self.state.lock().expect("no holder panics");
        state.0 += step;
        state.1 += step;
    }

    /// Sets the wall clock alone, forwards or back, as an NTP step or an operator does.
    pub fn set(&self, now: Timestamp) {
        self.state.lock().expect("no holder panics").0 = now;
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        self.state.lock().expect("no holder panics").0
    }

    fn elapsed(&self) -> Duration {
        self.state.lock().expect("no holder panics").1
    }
}

/// Measures how long something takes.
pub struct Stopwatch<'a> {
    clock: &'a dyn Clock,
    start: Duration,
}

impl<'a> Stopwatch<'a> {
    /// Starts measuring.
    pub fn start(clock: &'a dyn Clock) -> Self {
        Self {
            clock,
            start: clock.elapsed(),
        }
    }

    /// Returns the time since the start.
    pub fn elapsed(&self) -> Duration {
        self.clock.elapsed().saturating_sub(self.start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wall_clock_set_back_leaves_elapsed_time_alone() {
        let clock = ManualClock::new(Timestamp::UNIX_EPOCH);
        let watch = Stopwatch::start(&clock);
        clock.advance(Duration::from_secs(5));
        clock.set(Timestamp::UNIX_EPOCH);
        assert_eq!(watch.elapsed(), Duration::from_secs(5));
        assert_eq!(clock.now(), Timestamp::UNIX_EPOCH);
    }
}
