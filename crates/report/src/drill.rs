//! One restore drill: facts for an auditor, objectives, phases, checks.

use lifeboat_drill::{Check, DrillReport};
use lifeboat_model::{RegionName, SourceKind};
use maud::{Markup, html};

use crate::figure::{human_bytes, moment, sentence};
use crate::gauge::{Gauge, gauge};
use crate::verdict::badge;
use crate::waterfall::waterfall;

/// Shows a drill.
pub(crate) fn section(drill: &DrillReport) -> Markup {
    let id = format!("drill-{}", drill.drill);
    html! {
        section.drill aria-labelledby=(id) {
            div.title {
                h2 id=(id) {
                    "Drill " code { (drill.drill.short()) } ": " (drill.scenario) ", "
                    (drill.environment) "/" (drill.source)
                }
                (badge(drill.verdict))
            }
            div.gauges { (gauge(&rto(drill))) (gauge(&rpo(drill))) }
            h3 { "Phases" }
            (waterfall(&drill.phases, drill.rto_secs))
            div.title { h3 { "Checks" } (badge(drill.checks_verdict)) }
            (checks(&drill.checks))
            h3 { "Evidence" }
            (facts(drill))
        }
    }
}

fn rto(drill: &DrillReport) -> Gauge {
    Gauge {
        label: "Recovery time (RTO)",
        meaning: "from the declaration until the last check passed",
        secs: Some(drill.rto_secs),
        target_secs: drill.rto_target_secs,
        verdict: drill.rto_verdict,
    }
}

fn rpo(drill: &DrillReport) -> Gauge {
    Gauge {
        label: "Recovery point (RPO)",
        meaning: match drill.source_kind {
            SourceKind::Files => "a folder has no transactions to measure it by",
            _ => "from the newest transaction proven present to the fault",
        },
        secs: drill.rpo_secs,
        target_secs: drill.rpo_target_secs,
        verdict: drill.rpo_verdict,
    }
}

fn checks(checks: &[Check]) -> Markup {
    html! {
        @if checks.is_empty() {
            p.muted { "No check was carried out." }
        } @else {
            table.findings {
                thead {
                    tr {
                        th scope="col" { "Check" }
                        th scope="col" { "Verdict" }
                        th scope="col" { "Found" }
                    }
                }
                tbody {
                    @for check in checks {
                        tr {
                            th scope="row" { (sentence(&check.name)) }
                            td { (badge(check.verdict)) }
                            td { (sentence(&check.detail)) }
                        }
                    }
                }
            }
        }
    }
}

/// Lists what an auditor asks for: what was done, by whom, where, with which snapshot.
fn facts(drill: &DrillReport) -> Markup {
    let cleaned_up = match drill.cleaned_up {
        true => "yes, the scratch place is gone",
        false => "no, the scratch place is still there",
    };
    let facts = [
        ("Drill", html! { code { (drill.drill) } }),
        ("Scenario", html! { (drill.scenario) }),
        (
            "Source",
            html! { (drill.environment) "/" (drill.source) " (" (drill.source_kind) ")" },
        ),
        ("Served by", html! { (drill.region) }),
        ("Denied regions", denied(&drill.denied)),
        ("Snapshot", html! { code { (drill.snapshot) } }),
        ("State of", moment(drill.instant)),
        ("Declared", moment(drill.declared)),
        ("Restored", html! { (human_bytes(drill.bytes)) }),
        ("Operator", html! { (drill.operator) }),
        ("Host", html! { (drill.host) }),
        ("Isolation", sentence(&drill.isolation)),
        ("Cleaned up", html! { (cleaned_up) }),
    ];
    html! {
        dl.facts { @for (name, value) in &facts { div { dt { (name) } dd { (value) } } } }
    }
}

fn denied(regions: &[RegionName]) -> Markup {
    let names: Vec<&str> = regions.iter().map(RegionName::as_str).collect();
    html! {
        @if names.is_empty() { span.muted { "none" } } @else { (names.join(", ")) }
    }
}
