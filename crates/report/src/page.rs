//! The frame of the page: head, sections in order, foot.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::figure::moment;
use crate::story::Story;
use crate::{backups, drill, masking, replications, tiles};

/// The style sheet, part of every page.
const STYLE: &str = include_str!("style.css");
/// What a browser may load for the page: nothing at all.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'";

/// Lays a story out as one HTML page that needs nothing but itself.
pub fn html(story: &Story<'_>) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            (head(story))
            body {
                main {
                    (heading(story))
                    (tiles::row(story))
                    (backups::section(story.backups))
                    (replications::section(story.replications))
                    (masking::section(story.masking))
                    @for report in story.drills { (drill::section(report)) }
                    @if is_empty(story) { p.muted { "Nothing is recorded yet." } }
                }
                (foot(story))
            }
        }
    };
    page.into_string()
}

fn is_empty(story: &Story<'_>) -> bool {
    story.backups.is_empty()
        && story.replications.is_empty()
        && story.masking.is_empty()
        && story.drills.is_empty()
}

fn head(story: &Story<'_>) -> Markup {
    html! {
        head {
            meta charset="utf-8";
            meta name="viewport" content="width=device-width, initial-scale=1";
            meta name="color-scheme" content="light dark";
            meta name="referrer" content="no-referrer";
            meta http-equiv="Content-Security-Policy" content=(POLICY);
            title { (story.title) " · " (story.project) }
            style { (PreEscaped(STYLE)) }
        }
    }
}

fn heading(story: &Story<'_>) -> Markup {
    html! {
        header {
            p.project { (story.project) }
            h1 { (story.title) }
            p.muted { (moment(story.generated)) }
        }
    }
}

fn foot(story: &Story<'_>) -> Markup {
    html! {
        footer {
            p { "Made by " (story.program) " from recorded facts, " (moment(story.generated)) "." }
            p {
                "A check that could not run reads “not verified” and is never a pass. "
                "A figure that nobody measured reads “not measured” and is never 0."
            }
        }
    }
}
