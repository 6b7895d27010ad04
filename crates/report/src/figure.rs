//! Figures as people read them: lengths, counts, durations, moments and quoted words.

use std::time::Duration;

use jiff::Timestamp;
use lifeboat_model::human_duration;
use maud::{Markup, html};

/// What stands in the place of a figure that nobody measured.
pub(crate) const NOT_MEASURED: &str = "not measured";

/// Writes a length in binary units with three digits or four: `999 B`, `1.50 KiB`, `23.4 MiB`.
pub(crate) fn human_bytes(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    // What would be written as 1024 of a unit is 1.00 of the next one.
    while value >= 1023.5 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let decimals = match value {
        ..9.995 => 2,
        ..99.95 => 1,
        _ => 0,
    };
    format!("{value:.decimals$} {}", UNITS[unit])
}

/// Writes a count with its thousands apart: `1,204,331`.
pub(crate) fn human_count(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Writes a count in the room of a few characters: `9,999`, `12.3k`, `1.2M`.
pub(crate) fn short_count(count: u64) -> String {
    const UNITS: [(f64, char); 4] = [(1e12, 'T'), (1e9, 'G'), (1e6, 'M'), (1e3, 'k')];
    // Rounded to a tenth of its unit, 999,950 is 1.0 of the next one.
    let reached = |(unit, _): &&(f64, char)| count as f64 >= unit * 0.999_95;
    match UNITS.iter().find(reached) {
        Some((unit, letter)) if count >= 10_000 => format!("{:.1}{letter}", count as f64 / unit),
        _ => human_count(count),
    }
}

/// Writes a count with the word for what is counted: `1 table`, `12 tables`.
pub(crate) fn counted(count: u64, one: &str) -> String {
    format!("{} {one}{}", human_count(count), plural(count))
}

/// Returns what makes the word for what is counted plural.
pub(crate) fn plural(count: u64) -> &'static str {
    if count == 1 { "" } else { "s" }
}

/// Writes seconds as a duration; what is no duration at all was not measured.
pub(crate) fn human_secs(secs: f64) -> String {
    match Duration::try_from_secs_f64(secs) {
        Ok(duration) if duration.is_zero() => "0s".to_owned(),
        Ok(duration) => human_duration(duration),
        Err(_) => NOT_MEASURED.to_owned(),
    }
}

/// Shows seconds, or that nobody measured them.
pub(crate) fn secs_or_not_measured(secs: Option<f64>) -> Markup {
    match secs {
        Some(secs) => html! { (human_secs(secs)) },
        None => html! { span.muted { (NOT_MEASURED) } },
    }
}

/// Shows a moment to the second; the exact one stays in the markup.
pub(crate) fn moment(at: Timestamp) -> Markup {
    html! {
        time datetime=(at) { (at.strftime("%Y-%m-%d %H:%M:%S")) span.zone { " UTC" } }
    }
}

/// Shows a sentence with what stands in backticks as code.
pub(crate) fn sentence(text: &str) -> Markup {
    let parts: Vec<&str> = text.split('`').collect();
    // An even number of parts means a backtick without its partner: then none is a quote.
    if parts.len().is_multiple_of(2) {
        return html! { (text) };
    }
    html! {
        @for (at, part) in parts.into_iter().enumerate() {
            @if !at.is_multiple_of(2) { code { (part) } } @else { (part) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_change_unit_before_they_would_read_1024() {
        let texts = [
            0,
            1023,
            1024,
            1536,
            24_536_678,
            (1 << 20) - 1,
            1 << 30,
            u64::MAX,
        ]
        .map(human_bytes);
        assert_eq!(
            texts,
            [
                "0 B", "1023 B", "1.00 KiB", "1.50 KiB", "23.4 MiB", "1.00 MiB", "1.00 GiB",
                "16.0 EiB"
            ]
        );
    }

    #[test]
    fn counts_are_grouped_by_thousands() {
        let texts = [0, 999, 1000, 1_204_331].map(human_count);
        assert_eq!(texts, ["0", "999", "1,000", "1,204,331"]);
        assert_eq!(counted(1, "table"), "1 table");
        assert_eq!(counted(1200, "table"), "1,200 tables");
    }

    #[test]
    fn short_counts_change_unit_before_they_would_read_1000() {
        let texts = [9_999, 12_345, 999_949, 999_950, 1_204_331, 3_000_000_000].map(short_count);
        assert_eq!(texts, ["9,999", "12.3k", "999.9k", "1.0M", "1.2M", "3.0G"]);
    }

    #[test]
    fn seconds_that_are_no_duration_were_not_measured() {
        assert_eq!(human_secs(f64::NAN), NOT_MEASURED);
        assert_eq!(human_secs(-1.0), NOT_MEASURED);
        assert_eq!(human_secs(0.0), "0s");
        assert_eq!(human_secs(1.25), "1.2s");
    }

    #[test]
    fn only_paired_backticks_quote() {
        assert_eq!(
            sentence("`a<b` holds").into_string(),
            "<code>a&lt;b</code> holds"
        );
        assert_eq!(sentence("a ` b").into_string(), "a ` b");
    }
}
