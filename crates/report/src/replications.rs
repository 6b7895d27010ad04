//! The table of copies to other regions.

use lifeboat_operations::ReplicateReport;
use maud::{Markup, html};

use crate::figure::{human_bytes, human_count, human_secs};

/// Shows the copies to other regions.
pub(crate) fn section(replications: &[ReplicateReport]) -> Markup {
    html! {
        @if !replications.is_empty() {
            section aria-labelledby="replication" {
                h2 #replication { "Replication" }
                p.lead {
                    "Every object is checked against the hash in its name on the way. A receipt is "
                    "written once the region was seen to hold all that a snapshot needs."
                }
                div.scroll tabindex="0" role="region" aria-labelledby="replication" {
                    table {
                        thead {
                            tr {
                                th scope="col" { "Regions" }
                                th.num scope="col" { "Objects copied" }
                                th.num scope="col" { "There before" }
                                th.num scope="col" { "Bytes" }
                                th.num scope="col" { "Receipts" }
                                th.num scope="col" { "of these new" }
                                th.num scope="col" { "Time" }
                            }
                        }
                        tbody { @for copy in replications { (row(copy)) } }
                    }
                }
            }
        }
    }
}

fn row(copy: &ReplicateReport) -> Markup {
    html! {
        tr {
            th scope="row" { (copy.from) " → " (copy.to) }
            td.num { (human_count(copy.objects)) }
            td.num { (human_count(copy.present)) }
            td.num { (human_bytes(copy.bytes)) }
            td.num { (human_count(copy.receipts)) }
            td.num { (human_count(copy.receipts_new.len() as u64)) }
            td.num { (human_secs(copy.secs)) }
        }
    }
}
