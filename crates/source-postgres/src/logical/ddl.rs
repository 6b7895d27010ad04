//! Statements that make a database: what each makes, and which of them a copy must not have.

use serde::{Deserialize, Serialize};

use super::catalog::LeftOut;
use super::statements::split;
use crate::error::PostgresError;

/// When a statement runs: before the rows come, or after.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Section {
    /// Before: types, functions, tables, views.
    PreData,
    /// After: indexes, keys, triggers, policies.
    PostData,
}

impl Section {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::PreData => "pre-data",
            Self::PostData => "post-data",
        }
    }
}

/// How a statement is treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum StatementKind {
    /// Builds an index, alone or behind a key: many can run at once.
    Index,
    /// Makes the server check rows: a foreign key.
    ForeignKey,
    /// Acts on whatever changes a definition afterwards.
    EventTrigger,
    /// Sets something for the session.
    Setting,
    /// Anything else, in the order in which it stands.
    Other,
}

/// One statement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statement {
    /// Its text.
    pub sql: String,
    /// How it is treated.
    pub kind: StatementKind,
    /// What it makes, as people say it: `view public.v`.
    pub subject: String,
    /// When it runs.
    pub section: Section,
}

/// The definitions of a database.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ddl {
    /// The statements, in order.
    pub statements: Vec<Statement>,
    /// What was taken out.
    pub left_out: Vec<LeftOut>,
}

impl Ddl {
    /// Takes the script of a section apart.
    ///
    /// # Errors
    /// Fails if a statement has no end, so that nobody knows what else is in it.
    pub(super) fn add(&mut self, section: Section, script: &str) -> Result<(), PostgresError> {
        let (statements, is_whole) = split(script);
        if !is_whole {
            let said = "its last statement has no end".to_owned();
            return Err(PostgresError::Dump { said });
        }
        for sql in statements {
            let sql = without_leading_comments(sql);
            let words = words(sql);
            let subject = subject(&words);
            match fate(&words) {
                Fate::Keep => self.push(section, &words, subject, sql.to_owned()),
                Fate::WithoutOptions => {
                    let bare = without_options(sql);
                    if bare != sql {
                        let why = "they may hold hosts and credentials";
                        self.left_out
                            .push(LeftOut::new(format!("options of {subject}"), why));
                    }
                    self.push(section, &words, subject, bare);
                }
                Fate::Drop(why) => self.left_out.push(LeftOut::new(subject, why)),
                Fate::Silently => {}
            }
        }
        Ok(())
    }

    fn push(&mut self, section: Section, words: &[&str], subject: String, sql: String) {
        self.statements.push(Statement {
            kind: kind(words),
            sql,
            subject,
            section,
        });
    }

    /// Returns the statements of a section.
    pub fn section(&self, section: Section) -> impl Iterator<Item = &Statement> {
        self.statements
            .iter()
            .filter(move |one| one.section == section)
    }
}

impl Statement {
    /// Reports whether it needs one of `made`: an index on one of these materialized views.
    pub(super) fn is_on_any(&self, made: &[&str]) -> bool {
        let is_on = |name: &&str| self.sql.contains(&format!(" ON {name} USING "));
        self.kind == StatementKind::Index && made.iter().any(is_on)
    }
}

/// What becomes of a statement.
enum Fate {
    Keep,
    WithoutOptions,
    Drop(&'static str),
    Silently,
}

fn fate(words: &[&str]) -> Fate {
    match lower(words)[..]
        .iter()
        .map(String::as_str)
        .collect::<Vec<_>>()[..]
    {
        ["create", "user", "mapping", ..] => Fate::Drop("it holds credentials"),
        ["create", "server", ..] | ["create", "foreign", ..] => Fate::WithoutOptions,
        ["create", "publication" | "subscription", ..] => {
            Fate::Drop("a copy must not be connected to anything")
        }
        // Every database has it, and not everybody may make it.
        ["create", "schema", "public", ..] => Fate::Silently,
        // We fill them ourselves, in an order that works.
        ["refresh", "materialized", "view", ..] => Fate::Silently,
        // Settings that older servers do not know, and ours anyway.
        ["set", "transaction_timeout", ..] => Fate::Silently,
        _ => Fate::Keep,
    }
}

fn kind(words: &[&str]) -> StatementKind {
    let words = lower(words);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let adds = |word: &str| words.contains(&"add") && words.contains(&word);
    match words[..] {
        ["set", ..] | ["select", "pg_catalog", "set_config", ..] => StatementKind::Setting,
        ["create" | "alter", "event", "trigger", ..] => StatementKind::EventTrigger,
        ["create", "index", ..] | ["create", "unique", "index", ..] => StatementKind::Index,
        ["alter", "table", ..] if adds("foreign") => StatementKind::ForeignKey,
        ["alter", "table", ..] if adds("primary") || adds("unique") || adds("exclude") => {
            StatementKind::Index
        }
        _ => StatementKind::Other,
    }
}

/// Words that say what is made, in front of its name.
const NOISE: [&str; 12] = [
    "create",
    "alter",
    "or",
    "replace",
    "only",
    "if",
    "not",
    "exists",
    "unique",
    "unlogged",
    "constraint",
    "recursive",
];

/// Says what a statement makes, with its name and nothing of its body.
fn subject(words: &[&str]) -> String {
    let verb = words
        .first()
        .map_or_else(String::new, |word| word.to_ascii_lowercase());
    let rest = words
        .iter()
        .filter(|word| !NOISE.contains(&word.to_ascii_lowercase().as_str()));
    let mut rest: Vec<&str> = rest.copied().collect();
    if verb == "comment" && rest.len() > 1 {
        rest.remove(1);
    }
    // What is made is at most three words, `materialized view`, and then comes its name.
    let kinds = [
        "foreign",
        "materialized",
        "event",
        "text",
        "search",
        "operator",
        "access",
        "user",
        "data",
    ];
    let is_long = rest
        .first()
        .is_some_and(|first| kinds.contains(&first.to_ascii_lowercase().as_str()));
    let kind_words = if is_long || verb == "comment" { 2 } else { 1 };
    let (kind, name) = rest.split_at(kind_words.min(rest.len()));
    let kind: Vec<String> = kind.iter().map(|word| word.to_ascii_lowercase()).collect();
    match name.first() {
        Some(name) => format!("{} {name}", kind.join(" ")),
        None => kind.join(" "),
    }
}

/// Words of a statement that are looked at.
const WORDS_MAX: usize = 12;

/// Returns the first words of a statement, its comments left out; a name keeps its schema and quotes.
fn words(sql: &str) -> Vec<&str> {
    let mut rest = sql.trim_start();
    while let Some(after) = rest.strip_prefix("--") {
        rest = after
            .split_once('\n')
            .map_or("", |(_, next)| next)
            .trim_start();
    }
    let mut words = Vec::new();
    while words.len() < WORDS_MAX && !rest.is_empty() {
        let mut quoted = false;
        let end = rest.find(|c: char| {
            quoted ^= c == '"';
            !quoted && c != '"' && !(c.is_alphanumeric() || c == '_' || c == '.' || c == '$')
        });
        let end = end.unwrap_or(rest.len());
        if end > 0 {
            words.push(&rest[..end]);
        }
        let skip = rest[end..].chars().next().map_or(0, char::len_utf8);
        // A value must not pass for a name.
        if rest[end..].starts_with('\'') {
            break;
        }
        rest = &rest[end + skip..];
    }
    words
}

fn lower(words: &[&str]) -> Vec<String> {
    let words = words.iter().flat_map(|word| word.split('.').take(2));
    words.map(str::to_ascii_lowercase).collect()
}

/// Cuts off the comments in front of a statement, which hold names as people gave them.
fn without_leading_comments(sql: &str) -> &str {
    let mut rest = sql.trim_start();
    while let Some(after) = rest.strip_prefix("--") {
        rest = after
            .split_once('\n')
            .map_or("", |(_, next)| next)
            .trim_start();
    }
    rest
}

/// Cuts every `OPTIONS (…)` out of a statement, wherever it stands outside quotes.
fn without_options(sql: &str) -> String {
    const WORD: &str = "OPTIONS (";
    let mut bare = String::with_capacity(sql.len());
    let mut rest = sql;
    while let Some(c) = rest.chars().next() {
        let quoted = quoted_len(rest);
        let begins_word = bare.ends_with(char::is_whitespace);
        if quoted == 0 && begins_word && rest.starts_with(WORD) {
            bare.truncate(bare.trim_end().len());
            rest = past_parentheses(&rest[WORD.len()..]);
            continue;
        }
        let len = quoted.max(c.len_utf8());
        bare.push_str(&rest[..len]);
        rest = &rest[len..];
    }
    bare
}

/// Returns the length of the quoted text that `sql` begins with; 0 if it begins with none.
fn quoted_len(sql: &str) -> usize {
    let quote = match sql.as_bytes().first() {
        Some(quote @ (b'\'' | b'"')) => char::from(*quote),
        _ => return 0,
    };
    // A doubled quote ends one text and begins the next: as long as it stays quoted, that will do.
    sql[1..].find(quote).map_or(sql.len(), |end| end + 2)
}

/// Returns what follows the parenthesis that is open.
fn past_parentheses(mut sql: &str) -> &str {
    let mut depth = 1;
    while let Some(c) = sql.chars().next() {
        let len = quoted_len(sql).max(c.len_utf8());
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        sql = &sql[len..];
        if depth == 0 {
            break;
        }
    }
    sql
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(sql: &str) -> Statement {
        let mut ddl = Ddl::default();
        ddl.add(Section::PostData, sql).unwrap();
        ddl.statements.remove(0)
    }

    #[test]
    fn statements_are_known_by_what_they_make() {
        for (sql, kind, subject) in [
            (
                "CREATE UNIQUE INDEX i ON public.t USING btree (a);",
                StatementKind::Index,
                "index i",
            ),
            (
                "--\n-- Name: t; Type: CONSTRAINT\n--\n\nALTER TABLE ONLY public.t\n    ADD CONSTRAINT t_pkey PRIMARY KEY (id);",
                StatementKind::Index,
                "table public.t",
            ),
            (
                "ALTER TABLE ONLY public.\"Odd Name\" ADD CONSTRAINT f FOREIGN KEY (a) REFERENCES public.t(id);",
                StatementKind::ForeignKey,
                "table public.\"Odd Name\"",
            ),
            (
                "CREATE MATERIALIZED VIEW public.m AS SELECT 1 WITH NO DATA;",
                StatementKind::Other,
                "materialized view public.m",
            ),
            (
                "SET statement_timeout = 0;",
                StatementKind::Setting,
                "set statement_timeout",
            ),
            (
                "SELECT pg_catalog.set_config('search_path', '', false);",
                StatementKind::Setting,
                "select pg_catalog.set_config",
            ),
            (
                "CREATE OR REPLACE FUNCTION public.f(x text) RETURNS int LANGUAGE sql AS $$ SELECT 1 $$;",
                StatementKind::Other,
                "function public.f",
            ),
        ] {
            let statement = of(sql);
            assert_eq!(
                (statement.kind, statement.subject.as_str()),
                (kind, subject),
                "{sql}"
            );
        }
    }

    #[test]
    fn what_connects_a_copy_is_taken_out_and_told() {
        let mut ddl = Ddl::default();
        ddl.add(
            Section::PreData,
            "CREATE SERVER s FOREIGN DATA WRAPPER postgres_fdw OPTIONS (\n    host 'db',\n    dbname 'x'\n);\n\
             CREATE USER MAPPING FOR app SERVER s OPTIONS (\n    password 'secret'\n);\n\
             CREATE SUBSCRIPTION u CONNECTION 'host=db password=secret' PUBLICATION p;\n\
             CREATE FOREIGN TABLE public.f (\n    a integer OPTIONS (column_name 'it''s (a)'),\n    b text\n)\n\
             SERVER s\nOPTIONS (\n    table_name 'x)'\n);\n\
             CREATE SCHEMA public;",
        )
        .unwrap();
        let sql: Vec<_> = ddl.statements.iter().map(|one| one.sql.as_str()).collect();
        assert_eq!(
            sql,
            [
                "CREATE SERVER s FOREIGN DATA WRAPPER postgres_fdw;",
                "CREATE FOREIGN TABLE public.f (\n    a integer,\n    b text\n)\nSERVER s;"
            ]
        );
        let endless = "CREATE FUNCTION f() RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT 1;";
        ddl.add(Section::PreData, endless).unwrap_err();
        let left = format!("{:?}", ddl.left_out);
        assert!(
            left.contains("user mapping") && left.contains("subscription u"),
            "{left}"
        );
        assert!(!left.contains("secret"), "{left}");
    }
}
