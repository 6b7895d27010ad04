//! How long reads usually take, and so from when on one is slow.

use std::sync::Mutex;
use std::time::Duration;

/// How long a read may take while nothing is known of how long reads take.
const FIRST: Duration = Duration::from_millis(500);
/// A read is slow if it takes so many times the usual …
const TIMES: u32 = 6;
/// … and longer than this, since a second request costs something too …
const LEAST: Duration = Duration::from_millis(300);
/// … and in any case after this.
const MOST: Duration = Duration::from_secs(20);
/// The newest read counts for one part in so many.
const MEMORY: u32 = 8;
/// Up to this many bytes more cost nothing; beyond, time goes by length.
const UNIT_BYTES: u64 = 1 << 20;

/// The usual time of a read, of answers that counted: on a line that is slow for all, it is long.
pub(crate) struct Pace {
    first: Duration,
    /// For each unit of length.
    usual: Mutex<Option<Duration>>,
}

impl Default for Pace {
    fn default() -> Self {
        Self::beginning_with(FIRST)
    }
}

impl Pace {
    pub(crate) fn beginning_with(first: Duration) -> Self {
        Self {
            first,
            usual: Mutex::new(None),
        }
    }

    /// Returns how long a read of so many bytes may take.
    pub(crate) fn patience(&self, bytes: u64) -> Duration {
        let usual = *self.usual.lock().expect("no holder panics");
        usual.map_or(self.first, |usual| {
            (usual * units(bytes) * TIMES).clamp(LEAST, MOST)
        })
    }

    /// Notes how long a read took.
    pub(crate) fn note(&self, bytes: u64, took: Duration) {
        let took = took / units(bytes);
        let mut usual = self.usual.lock().expect("no holder panics");
        *usual = Some(usual.map_or(took, |usual| (usual * (MEMORY - 1) + took) / MEMORY));
    }
}

fn units(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(UNIT_BYTES))
        .unwrap_or(u32::MAX)
        .clamp(1, 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_follows_what_is_usual_within_bounds() {
        let pace = Pace::default();
        assert_eq!(pace.patience(10), FIRST);
        pace.note(8 << 20, Duration::from_millis(1600));
        assert_eq!(pace.patience(1), Duration::from_millis(1200));
        assert_eq!(pace.patience(8 << 20), Duration::from_millis(9600));
        for _ in 0..100 {
            pace.note(1, Duration::from_millis(1));
        }
        assert_eq!(pace.patience(1), LEAST);
        pace.note(1, Duration::from_secs(60));
        assert_eq!(pace.patience(1 << 20), MOST);
    }
}
