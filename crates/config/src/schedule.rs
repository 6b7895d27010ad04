//! Schedule files: `schedules/NAME.toml`.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;

use jiff::tz::TimeZone;
use lifeboat_document::{Reader, parse, suggest};
use lifeboat_model::Problems;
use lifeboat_policy::Schedule;

use crate::job;
use crate::layers::names_in;

/// Reads the text of a schedule file that the user knows as `file`.
///
/// All problems go to `problems`; jobs with an error in what they cannot do without are left out.
pub fn parse_schedule(file: &str, text: &str, problems: &mut Problems) -> Schedule {
    let table = parse(file, text, problems);
    let collected = RefCell::new(std::mem::take(problems));
    let reader = Reader::new(&table, "the schedule", &collected);
    let zone = zone(&reader);
    let tables = reader.tables("job");
    if table.get("job").is_none() {
        reader.missing("job", "write one `[[job]]` for each thing that recurs");
    }
    let mut jobs = Vec::new();
    for (number, table) in (1..).zip(tables) {
        if let Some(job) = job::read(number, table, &zone, &jobs, &collected) {
            jobs.push(job);
        }
    }
    reader.finish();
    *problems = collected.into_inner();
    Schedule { zone, jobs }
}

fn zone(reader: &Reader<'_>) -> TimeZone {
    let Some(name) = reader.string("timezone") else {
        return TimeZone::UTC;
    };
    TimeZone::get(&name).unwrap_or_else(|_| {
        reader.reject(
            "timezone",
            format!("`{name}` is not a known time zone"),
            Some("use a name such as `Europe/Berlin` or `UTC`".to_owned()),
        );
        TimeZone::UTC
    })
}

/// The schedules of a project, each read once, when first asked for.
pub(crate) struct Schedules<'r> {
    root: &'r Path,
    read: RefCell<BTreeMap<String, Schedule>>,
}

impl<'r> Schedules<'r> {
    pub(crate) fn of(root: &'r Path) -> Self {
        Self {
            root,
            read: RefCell::default(),
        }
    }

    /// Returns the schedule `name`, or a message and hint for whoever named it.
    pub(crate) fn get(
        &self,
        name: &str,
        problems: &RefCell<Problems>,
    ) -> Result<Schedule, (String, String)> {
        if let Some(known) = self.read.borrow().get(name) {
            return Ok(known.clone());
        }
        if !is_file_name(name) {
            return Err((
                format!("`{name}` is not the name of a schedule"),
                "give the file's name in `schedules` without `.toml`".to_owned(),
            ));
        }
        let file = format!("schedules/{name}.toml");
        let text = match std::fs::read_to_string(self.root.join(&file)) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err((format!("there is no `{file}`"), self.near(name, problems)));
            }
            Err(error) => {
                let hint = "make it a readable UTF-8 file".to_owned();
                return Err((format!("`{file}` cannot be read: {error}"), hint));
            }
        };
        let schedule = parse_schedule(&file, &text, &mut problems.borrow_mut());
        self.read
            .borrow_mut()
            .insert(name.to_owned(), schedule.clone());
        Ok(schedule)
    }

    fn near(&self, name: &str, problems: &RefCell<Problems>) -> String {
        let names = names_in(self.root, "schedules", &mut problems.borrow_mut());
        match suggest(name, names.iter().map(String::as_str)) {
            Some(near) => format!("did you mean `{near}`?"),
            None if names.is_empty() => {
                "write it, or copy one that `lifeboat init` makes".to_owned()
            }
            None => format!("schedules there are: {}", names.join(", ")),
        }
    }
}

fn is_file_name(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    !name.is_empty() && name.chars().all(allowed)
}
