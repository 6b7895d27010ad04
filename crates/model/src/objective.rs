//! Recovery objectives: how long a restore may take and how much work may be lost.

use std::time::Duration;

use serde::{Deserialize, Serialize};

macro_rules! objective {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Duration);

        impl $name {
            /// Wraps a duration.
            pub const fn new(limit: Duration) -> Self {
                Self(limit)
            }

            /// Returns the limit itself.
            pub const fn limit(self) -> Duration {
                self.0
            }

            /// Returns how far `measured` overshoots this objective, or `None` if it is met.
            pub fn missed_by(self, measured: Duration) -> Option<Duration> {
                measured.checked_sub(self.0).filter(|over| !over.is_zero())
            }
        }
    };
}

objective!(
    /// Recovery time objective: the longest a restore may take until the service's data is usable.
    Rto
);
objective!(
    /// Recovery point objective: the most recent work a disaster may lose.
    Rpo
);

/// The objectives of one environment; an absent one is not judged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Objectives {
    /// Target for the time a restore takes.
    pub rto: Option<Rto>,
    /// Target for the work a disaster may lose.
    pub rpo: Option<Rpo>,
}

/// Writes a duration the way people say it, with two units at most: `1h 05m`, `3.2s`, `45ms`.
pub fn human_duration(duration: Duration) -> String {
    let secs = duration.as_secs();
    match secs {
        0 if duration.subsec_millis() < 1 => format!("{}us", duration.subsec_micros()),
        0 => format!("{}ms", duration.subsec_millis()),
        1..60 => format!("{:.1}s", duration.as_secs_f64()),
        60..3600 => format!("{}m {:02}s", secs / 60, secs % 60),
        3600..86_400 => format!("{}h {:02}m", secs / 3600, secs % 3600 / 60),
        _ => format!("{}d {:02}h", secs / 86_400, secs % 86_400 / 3600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_objective_met_exactly_is_met() {
        let rpo = Rpo::new(Duration::from_secs(300));
        assert_eq!(rpo.missed_by(Duration::from_secs(300)), None);
        assert_eq!(
            rpo.missed_by(Duration::from_secs(301)),
            Some(Duration::from_secs(1))
        );
    }

    #[test]
    fn durations_read_as_people_say_them() {
        let texts = [0.0455, 3.21, 61.0, 3900.0, 90_000.0]
            .map(|secs| human_duration(Duration::from_secs_f64(secs)));
        assert_eq!(texts, ["45ms", "3.2s", "1m 01s", "1h 05m", "1d 01h"]);
    }
}
