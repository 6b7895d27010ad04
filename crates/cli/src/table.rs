//! Tables and figures as people read them.

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{ContentArrangement, Table};

/// Prints a table with a header line.
pub(crate) fn print(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) {
    let mut table = Table::new();
    table
        .load_style(UTF8_FULL_CONDENSED)
        .set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(header.to_vec());
    for row in rows {
        table.add_row(row);
    }
    anstream::println!("{table}");
}

/// Prints one line of a result.
pub(crate) fn line(text: &str) {
    anstream::println!("{text}");
}

/// Prints a value as JSON.
pub(crate) fn json<T: serde::Serialize>(value: &T) {
    let text = serde_json::to_string_pretty(value).expect("reports are plain values");
    anstream::println!("{text}");
}

/// Writes a size in binary units.
pub(crate) fn bytes(bytes: u64) -> String {
    indicatif::BinaryBytes(bytes).to_string()
}

/// Writes a number of seconds the way people say it.
pub(crate) fn secs(secs: f64) -> String {
    lifeboat_model::human_duration(std::time::Duration::from_secs_f64(secs.max(0.0)))
}

/// Writes a number of seconds that may not have been measured.
pub(crate) fn measured(value: Option<f64>) -> String {
    value.map_or_else(|| "not measured".to_owned(), secs)
}
