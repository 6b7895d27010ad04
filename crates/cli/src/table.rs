//! Everything that goes to stdout: tables, lines, JSON, and figures as people read them.

use std::fmt::Display;
use std::io::{IsTerminal as _, Write as _};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{ContentArrangement, Table};
use serde_json::Value;

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
    JSON_PRINTED.store(true, Ordering::SeqCst);
    out(&serde_json::to_string_pretty(value).expect("reports are plain values"));
}

/// Prints what a command would do: a JSON document, or lines of text.
pub(crate) fn plan<T: serde::Serialize>(as_json: bool, plan: &T, lines: &[String]) {
    if as_json {
        return json(plan);
    }
    lines.iter().for_each(|text| line(text));
}

/// Turns a report into JSON, to be put among others.
pub(crate) fn value<T: serde::Serialize>(value: &T) -> Value {
    serde_json::to_value(value).expect("reports are plain values")
}

/// One JSON document with a list in it that is printed item by item, so that its length takes no
/// memory. It ends with [`JsonList::close`], or with the error that [`json_error`] puts in.
pub(crate) struct JsonList {
    first: AtomicBool,
}

/// A list that waits for its end.
static LIST_OPEN: AtomicBool = AtomicBool::new(false);
/// Whether a JSON document was begun.
static JSON_PRINTED: AtomicBool = AtomicBool::new(false);

impl JsonList {
    /// Begins the document with some members and a list of this name.
    pub(crate) fn open(head: &[(&str, Value)], list: &str) -> Self {
        let members: String = head
            .iter()
            .map(|member| format!("{},\n  ", text_of(member)))
            .collect();
        JSON_PRINTED.store(true, Ordering::SeqCst);
        LIST_OPEN.store(true, Ordering::SeqCst);
        out_part(&format!("{{\n  {members}{}: [", Value::from(list)));
        Self {
            first: AtomicBool::new(true),
        }
    }

    /// Prints one item, on a line of its own.
    pub(crate) fn item<T: serde::Serialize>(&self, item: &T) {
        let comma = if self.first.swap(false, Ordering::SeqCst) {
            ""
        } else {
            ","
        };
        let item = serde_json::to_string(item).expect("reports are plain values");
        out_part(&format!("{comma}\n    {item}"));
    }

    /// Ends the list and the document with some more members.
    pub(crate) fn close(self, tail: &[(&str, Value)]) {
        close_list(tail);
    }
}

fn close_list(tail: &[(&str, Value)]) {
    LIST_OPEN.store(false, Ordering::SeqCst);
    let members: String = tail
        .iter()
        .map(|member| format!(",\n  {}", text_of(member)))
        .collect();
    out(&format!("\n  ]{members}\n}}"));
}

fn text_of((name, value): &(&str, Value)) -> String {
    format!("{}: {value}", Value::from(*name))
}

/// Prints a failure as JSON: a document of its own, or the end of the one that it broke off. After a
/// whole document nothing is printed, so that there is never a second one.
pub(crate) fn json_error(error: Value) {
    if LIST_OPEN.load(Ordering::SeqCst) {
        close_list(&[("error", error)]);
    } else if !JSON_PRINTED.load(Ordering::SeqCst) {
        json(&serde_json::json!({ "error": error }));
    }
}

/// Writes to stdout. A reader that went away is no failure; a result that cannot be told is.
fn out(text: &str) {
    out_part(&format!("{text}\n"));
}

fn out_part(text: &str) {
    match anstream::stdout().write_all(text.as_bytes()) {
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
