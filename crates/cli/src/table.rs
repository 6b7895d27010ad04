//! Everything that goes to stdout: tables, lines, JSON, and figures as people read them.

use std::fmt::Display;
use std::io::{IsTerminal as _, Write as _};
use std::sync::OnceLock;

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{ContentArrangement, Table};

use crate::exit::Exit;

/// Width of tables where there is no terminal to ask.
const WIDTH: u16 = 100;

static QUIET: OnceLock<bool> = OnceLock::new();

/// Leaves out everything that is said of success; JSON stays. Called once, before anything else.
pub(crate) fn set_quiet(quiet: bool) {
    QUIET.set(quiet).ok();
}

/// Prints a table with a header line.
pub(crate) fn print(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) {
    let mut table = Table::new();
    table
        .load_style(UTF8_FULL_CONDENSED)
        .set_content_arrangement(ContentArrangement::Dynamic);
    if !std::io::stdout().is_terminal() {
        table.set_width(WIDTH);
    }
    table.set_header(header.to_vec());
    for row in rows {
        table.add_row(row);
    }
    line(&table.to_string());
}

/// Prints one line of a result.
pub(crate) fn line(text: &str) {
    if QUIET.get() != Some(&true) {
        out(text);
    }
}

/// Prints a secret that somebody asked for: it is the result, so nothing leaves it out.
pub(crate) fn secret(text: &lifeboat_runtime::SecretBytes) {
    out(&String::from_utf8_lossy(text.expose()));
}

/// Prints a value as JSON.
pub(crate) fn json<T: serde::Serialize>(value: &T) {
    out(&serde_json::to_string_pretty(value).expect("reports are plain values"));
}

/// Writes to stdout. A reader that went away is no failure; a result that cannot be told is.
fn out(text: &str) {
    let written = writeln!(anstream::stdout(), "{text}");
    match written {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => {}
        Err(error) => {
            crate::fail::print_line(&format!(
                "error: the result cannot be written to stdout: {error}\n\
                 hint: the work itself was done; `lifeboat status` shows it"
            ));
            std::process::exit(Exit::FAILED.code());
        }
    }
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

/// Writes a number of things.
pub(crate) fn counted(count: u64, thing: impl Display) -> String {
    match count {
        1 => format!("1 {thing}"),
        many => format!("{many} {thing}s"),
    }
}
