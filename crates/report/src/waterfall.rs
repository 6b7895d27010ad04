//! The phases of a recovery one after the other, on one time scale.
//!
//! A table with a drawing in each row: the words and figures are text that can be read aloud, copied
//! and printed, and the bars line up across the rows.

use lifeboat_drill::Phase;
use maud::{Markup, html};

use crate::figure::{human_secs, secs_or_not_measured};

/// Height of a row's drawing, pixels.
const ROW: &str = "30";
/// The most marks on the scale besides its start.
const MARKS_MAX: f64 = 5.0;
/// Distances between marks from ten seconds up; below, they are 1, 2 or 5 of a power of ten.
const STEPS_SECS: [f64; 13] = [
    10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1800.0, 3600.0, 7200.0, 21_600.0, 43_200.0,
];
const DAY_SECS: f64 = 86_400.0;

/// The time that the drawing spans.
struct Scale {
    whole_secs: f64,
    marks_secs: Vec<f64>,
}

impl Scale {
    fn new(phases: &[Phase]) -> Self {
        let whole_secs: f64 = phases.iter().filter_map(|phase| phase.secs).sum();
        // Nothing measured, or nothing that took time: any scale will do.
        if !whole_secs.is_finite() || whole_secs <= 0.0 {
            return Self {
                whole_secs: 1.0,
                marks_secs: Vec::new(),
            };
        }
        let step = step_secs(whole_secs);
        let marks = (whole_secs / step).floor() as u32;
        Self {
            whole_secs,
            marks_secs: (0..=marks).map(|mark| f64::from(mark) * step).collect(),
        }
    }

    fn percent(&self, secs: f64) -> String {
        format!("{:.3}%", secs / self.whole_secs * 100.0)
    }
}

/// Returns a round distance between marks that puts few enough of them on the scale.
fn step_secs(whole_secs: f64) -> f64 {
    let decades = (-6..=0).flat_map(|power| [1.0, 2.0, 5.0].map(|digit| digit * 10f64.powi(power)));
    let fits = |step: &f64| whole_secs / step <= MARKS_MAX;
    decades.chain(STEPS_SECS).find(fits).unwrap_or_else(|| {
        // Years of restoring fit no list.
        (whole_secs / MARKS_MAX / DAY_SECS).ceil() * DAY_SECS
    })
}

/// Shows the phases in order and their sum, the tool's RTO.
pub(crate) fn waterfall(phases: &[Phase], rto_secs: f64) -> Markup {
    let scale = Scale::new(phases);
    let starts = phases.iter().scan(0.0, |end, phase| {
        let start = *end;
        *end += phase.secs.unwrap_or(0.0);
        Some(start)
    });
    html! {
        table.waterfall {
            thead.hidden {
                tr {
                    th scope="col" { "Phase" }
                    th scope="col" { "When" }
                    th.num scope="col" { "Time" }
                }
            }
            tbody {
                @for (phase, start) in phases.iter().zip(starts) { (row(&scale, phase, start)) }
            }
            tfoot {
                tr {
                    th scope="row" { "From declaration to last check" }
                    td { (axis(&scale)) }
                    td.num { (human_secs(rto_secs)) }
                }
            }
        }
    }
}

fn row(scale: &Scale, phase: &Phase, start_secs: f64) -> Markup {
    let x = scale.percent(start_secs);
    html! {
        tr {
            th scope="row" class=[phase.secs.is_none().then_some("muted")] { (phase.name) }
            td {
                svg width="100%" height=(ROW) aria-hidden="true" {
                    @for mark in &scale.marks_secs {
                        line.grid x1=(scale.percent(*mark)) y1="0" x2=(scale.percent(*mark)) y2=(ROW) {}
                    }
                    @if let Some(secs) = phase.secs {
                        // The first one keeps a phase too short for the scale in sight.
                        rect.phase x=(x) y="9" width="2" height="12" rx="1" {}
                        rect.phase x=(x) y="9" width=(scale.percent(secs)) height="12" rx="1.5" {}
                    }
                }
            }
            td.num { (secs_or_not_measured(phase.secs)) }
        }
    }
}

fn axis(scale: &Scale) -> Markup {
    html! {
        svg width="100%" height=(ROW) aria-hidden="true" {
            @for mark in &scale.marks_secs {
                line.grid x1=(scale.percent(*mark)) y1="0" x2=(scale.percent(*mark)) y2="6" {}
                text.tick x=(scale.percent(*mark)) y="19"
                    text-anchor=(anchor(*mark / scale.whole_secs)) { (human_secs(*mark)) }
            }
        }
    }
}

/// Keeps the words of marks near an end inside the drawing.
fn anchor(position: f64) -> &'static str {
    match position {
        ..0.03 => "start",
        0.94.. => "end",
        _ => "middle",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_round_and_few_on_every_scale() {
        for (whole, step) in [
            (0.0004, 0.0001),
            (0.183, 0.05),
            (1.9, 0.5),
            (8.0, 2.0),
            (50.0, 10.0),
            (59.0, 15.0),
            (4000.0, 900.0),
            (3_000_000.0, 604_800.0),
        ] {
            let found = step_secs(whole);
            assert!((found - step).abs() < step * 1e-9, "{whole}: {found}");
        }
    }

    #[test]
    fn bars_follow_one_another_and_what_was_not_exercised_has_none() {
        let phases = [
            ("detect", None),
            ("restore", Some(3.0)),
            ("check", Some(1.0)),
        ]
        .map(|(name, secs)| Phase { name, secs });
        let drawn = waterfall(&phases, 4.0).into_string();
        let rows: Vec<&str> = drawn.split("<tr>").collect();
        assert!(rows[2].contains("not measured") && !rows[2].contains("<rect"));
        assert!(
            rows[3].contains(r#"x="0.000%" y="9" width="75.000%""#),
            "{}",
            rows[3]
        );
        assert!(
            rows[4].contains(r#"x="75.000%" y="9" width="25.000%""#),
            "{}",
            rows[4]
        );
    }

    #[test]
    fn nothing_measured_draws_nothing_and_divides_by_nothing() {
        let none = waterfall(
            &[Phase {
                name: "detect",
                secs: None,
            }],
            0.0,
        )
        .into_string();
        let instant = waterfall(
            &[Phase {
                name: "select",
                secs: Some(0.0),
            }],
            0.0,
        )
        .into_string();
        assert!(!none.contains("NaN") && !none.contains("inf"), "{none}");
        assert!(
            !instant.contains("NaN") && !instant.contains("inf"),
            "{instant}"
        );
    }
}
