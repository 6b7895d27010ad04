//! Verdicts as badges: a word and a shape beside the colour, so that none carries the news alone.

use lifeboat_model::Verdict;
use maud::{Markup, html};

/// Shows a verdict.
pub(crate) fn badge(verdict: Verdict) -> Markup {
    let (class, path) = match verdict {
        Verdict::Pass => ("pass", "M3 8.5 6.5 12 13 4.5"),
        Verdict::Fail => ("fail", "M4 4 12 12M12 4 4 12"),
        Verdict::NotVerified => ("open", "M3.5 8H12.5"),
    };
    html! {
        span class={ "badge " (class) } {
            svg viewBox="0 0 16 16" width="12" height="12" aria-hidden="true" {
                path d=(path) fill="none" stroke="currentColor" stroke-width="2.4"
                    stroke-linecap="round" stroke-linejoin="round" {}
            }
            (verdict)
        }
    }
}

/// Shows a verdict, or why there is none.
pub(crate) fn badge_or(verdict: Option<Verdict>, absent: &str) -> Markup {
    match verdict {
        Some(verdict) => badge(verdict),
        None => html! { span.badge.none { (absent) } },
    }
}

/// Returns how bad a verdict is; the worst is the greatest.
pub(crate) const fn severity(verdict: Option<Verdict>) -> u8 {
    match verdict {
        None => 0,
        Some(Verdict::Pass) => 1,
        Some(Verdict::NotVerified) => 2,
        Some(Verdict::Fail) => 3,
    }
}
