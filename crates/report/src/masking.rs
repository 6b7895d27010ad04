//! Masked copies: the gates they passed, and what they were made with.

use lifeboat_model::Verdict;
use maud::{Markup, html};

use crate::figure::{counted, human_secs, sentence};
use crate::story::{GateView, MaskingView};
use crate::verdict::{badge, badge_or};

/// Shows the masked copies.
pub(crate) fn section(masking: &[MaskingView]) -> Markup {
    html! {
        @if !masking.is_empty() {
            section aria-labelledby="masking" {
                h2 #masking { "Masking" }
                @for view in masking { (copy(view)) }
            }
        }
    }
}

fn copy(view: &MaskingView) -> Markup {
    let (tables, rows) = (counted(view.tables, "table"), counted(view.rows, "row"));
    html! {
        article {
            div.title { h3 { (view.source) " → " (view.target) } (badge(view.verdict)) }
            p.lead { (tables) ", " (rows) " in " (human_secs(view.secs)) "." }
            @if !view.gates.is_empty() { (gates(&view.gates)) }
            @for gate in &view.gates { (findings(gate)) }
            @if !view.kept.is_empty() {
                details {
                    summary { "Kept as they are: " (counted(view.kept.len() as u64, "column")) }
                    ul { @for column in &view.kept { li { code { (column) } } } }
                }
            }
            @if !view.manifest.is_empty() {
                dl.facts {
                    @for (name, value) in &view.manifest {
                        div { dt { (name) } dd { code { (value) } } }
                    }
                }
            }
        }
    }
}

fn gates(gates: &[GateView]) -> Markup {
    html! {
        table.findings {
            thead {
                tr {
                    th scope="col" { "Gate" }
                    th scope="col" { "Verdict" }
                    th scope="col" { "Found" }
                }
            }
            tbody {
                @for gate in gates {
                    tr {
                        th scope="row" { (sentence(&gate.name)) }
                        td { (badge_or(gate.verdict, "nothing to look for")) }
                        td { (sentence(&gate.detail)) }
                    }
                }
            }
        }
    }
}

/// Lists where a gate found something: at once if it did not pass, on demand otherwise.
fn findings(gate: &GateView) -> Markup {
    let open = gate.verdict.is_some_and(|verdict| verdict != Verdict::Pass);
    html! {
        @if !gate.findings.is_empty() {
            details open[open] {
                summary { "Findings of " (sentence(&gate.name)) }
                table.findings {
                    thead { tr { th scope="col" { "Place" } th scope="col" { "Found" } } }
                    tbody {
                        @for (place, found) in &gate.findings {
                            tr { th scope="row" { code { (place) } } td { (sentence(found)) } }
                        }
                    }
                }
            }
        }
    }
}
