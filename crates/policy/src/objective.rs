//! Objectives: whether measured recovery times meet their targets.

use std::time::Duration;

use lifeboat_model::{Objectives, Verdict};

/// What a drill or a restore measured; `None` is "not measured", never zero.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Measured {
    /// How long the restore took until the data was proven usable.
    pub rto: Option<Duration>,
    /// How much work was missing afterwards.
    pub rpo: Option<Duration>,
}

/// One verdict for each objective; `None` where there is no target to judge against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Judgement {
    /// Whether the restore was quick enough.
    pub rto: Option<Verdict>,
    /// Whether little enough was lost.
    pub rpo: Option<Verdict>,
}

impl Judgement {
    /// Returns the verdict over both, or `None` if no target was set.
    pub fn overall(&self) -> Option<Verdict> {
        let judged: Vec<_> = [self.rto, self.rpo].into_iter().flatten().collect();
        (!judged.is_empty()).then(|| Verdict::all(judged))
    }
}

/// Judges what was measured against the targets.
///
/// A target that nothing was measured for is `NotVerified`: hope is not a measurement.
pub fn judge(objectives: &Objectives, measured: Measured) -> Judgement {
    let verdict = |missed: Option<bool>| match missed {
        Some(missed) => Verdict::from_passed(!missed),
        None => Verdict::NotVerified,
    };
    Judgement {
        rto: objectives
            .rto
            .map(|rto| verdict(measured.rto.map(|took| rto.missed_by(took).is_some()))),
        rpo: objectives
            .rpo
            .map(|rpo| verdict(measured.rpo.map(|lost| rpo.missed_by(lost).is_some()))),
    }
}

#[cfg(test)]
mod tests {
    use lifeboat_model::{Rpo, Rto};

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn targets() -> Objectives {
        Objectives {
            rto: Some(Rto::new(HOUR)),
            rpo: Some(Rpo::new(HOUR)),
        }
    }

    #[test]
    fn what_was_not_measured_is_not_verified() {
        let measured = Measured {
            rto: Some(HOUR),
            rpo: None,
        };
        let judgement = judge(&targets(), measured);
        assert_eq!(judgement.rto, Some(Verdict::Pass));
        assert_eq!(judgement.rpo, Some(Verdict::NotVerified));
        assert_eq!(judgement.overall(), Some(Verdict::NotVerified));
    }

    #[test]
    fn a_missed_target_fails() {
        let measured = Measured {
            rto: Some(HOUR + Duration::from_nanos(1)),
            rpo: Some(Duration::ZERO),
        };
        let judgement = judge(&targets(), measured);
        assert_eq!(judgement.rto, Some(Verdict::Fail));
        assert_eq!(judgement.rpo, Some(Verdict::Pass));
        assert_eq!(judgement.overall(), Some(Verdict::Fail));
    }

    #[test]
    fn without_a_target_nothing_is_judged() {
        let measured = Measured {
            rto: Some(HOUR),
            rpo: Some(HOUR),
        };
        let judgement = judge(&Objectives::default(), measured);
        assert_eq!(judgement.overall(), None);
    }
}
