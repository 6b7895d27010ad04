//! A measured objective against its target, as a bar with a mark.

use lifeboat_model::Verdict;
use maud::{Markup, html};

use crate::figure::{human_secs, secs_or_not_measured};
use crate::verdict::badge_or;

/// How much longer than its target a bar's scale is, so that the mark does not sit on the end.
const HEADROOM: f64 = 1.25;

/// What a gauge shows.
pub(crate) struct Gauge {
    /// The objective.
    pub label: &'static str,
    /// What is measured.
    pub meaning: &'static str,
    /// The measured time, seconds.
    pub secs: Option<f64>,
    /// The target, seconds.
    pub target_secs: Option<f64>,
    /// Whether the target was met.
    pub verdict: Option<Verdict>,
}

/// Shows an objective.
pub(crate) fn gauge(gauge: &Gauge) -> Markup {
    html! {
        div.gauge {
            div.title { p.label { (gauge.label) } (badge_or(gauge.verdict, "no target")) }
            p.figure { (secs_or_not_measured(gauge.secs)) }
            @if let Some(target) = gauge.target_secs {
                (bar(gauge.secs, target, gauge.verdict))
                p.note { "target " (human_secs(target)) (share(gauge.secs, target)) }
            }
            p.note { (gauge.meaning) }
        }
    }
}

/// Draws the bar; the text around it says the same.
fn bar(secs: Option<f64>, target: f64, verdict: Option<Verdict>) -> Markup {
    let whole = secs
        .unwrap_or(0.0)
        .max(target * HEADROOM)
        .max(f64::MIN_POSITIVE);
    let percent = |secs: f64| format!("{:.2}%", secs / whole * 100.0);
    let class = match verdict {
        Some(Verdict::Fail) => "fill fail",
        _ => "fill pass",
    };
    html! {
        svg.bar width="100%" height="16" aria-hidden="true" {
            rect.track x="0" y="4" width="100%" height="8" rx="2" {}
            @if let Some(secs) = secs {
                rect class=(class) x="0" y="4" width="3" height="8" rx="1.5" {}
                rect class=(class) x="0" y="4" width=(percent(secs)) height="8" rx="2" {}
            }
            line.mark x1=(percent(target)) y1="0" x2=(percent(target)) y2="16" {}
        }
    }
}

/// Says how much of the target was used.
fn share(secs: Option<f64>, target: f64) -> String {
    match secs {
        Some(secs) if target > 0.0 => match secs / target * 100.0 {
            ..0.1 => ", less than 0.1 % of it used".to_owned(),
            percent @ ..9.95 => format!(", {percent:.1} % of it used"),
            percent => format!(", {percent:.0} % of it used"),
        },
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_never_leaves_its_track_and_an_unmeasured_one_is_empty() {
        let missed = bar(Some(600.0), 60.0, Some(Verdict::Fail)).into_string();
        assert!(missed.contains(r#"width="100.00%""#), "{missed}");
        assert!(missed.contains(r#"x1="10.00%""#), "{missed}");
        let unmeasured = bar(None, 60.0, Some(Verdict::NotVerified)).into_string();
        assert!(!unmeasured.contains("fill"), "{unmeasured}");
        assert!(unmeasured.contains(r#"x1="80.00%""#), "{unmeasured}");
    }

    #[test]
    fn shares_keep_the_digits_that_matter() {
        let texts = [0.01, 1.8, 450.0, 1800.0].map(|secs| share(Some(secs), 900.0));
        let expected = ["less than 0.1 %", "0.2 %", "50 %", "200 %"];
        assert_eq!(texts, expected.map(|text| format!(", {text} of it used")));
        assert_eq!(share(None, 900.0), "");
    }
}
