//! Reads SQL text as SQLite stores it in its schema: far enough to drop comments and to know what a
//! virtual table is made of.

use crate::schema::VirtualContent;

/// Returns `sql` without comments, each replaced by one space; strings and quoted names stay whole.
///
/// Comments in a schema are never needed to use it, and people write anything there.
pub fn strip_comments(sql: &str) -> String {
    let mut out = String::with_capacity(sql.len());
    let mut rest = sql;
    while let Some(first) = rest.chars().next() {
        if rest.starts_with("--") {
            rest = &rest[rest.find('\n').unwrap_or(rest.len())..];
            out.push(' ');
        } else if let Some(comment) = rest.strip_prefix("/*") {
            rest = comment.find("*/").map_or("", |end| &comment[end + 2..]);
            out.push(' ');
        } else {
            let len = quoted_len(rest).unwrap_or(first.len_utf8());
            out.push_str(&rest[..len]);
            rest = &rest[len..];
        }
    }
    out
}

/// Returns the length of the string or quoted name that `text` starts with.
fn quoted_len(text: &str) -> Option<usize> {
    let quote = match text.as_bytes().first()? {
        quote @ (b'\'' | b'"' | b'`') => *quote,
        b'[' => b']',
        _ => return None,
    };
    // A doubled quote looks like the end of one string and the start of the next: same extent.
    let end = text.bytes().skip(1).position(|byte| byte == quote);
    Some(end.map_or(text.len(), |end| end + 2))
}

/// Returns `name` as an SQL identifier.
pub(crate) fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Returns the length limit that a declared type such as `VARCHAR(80)` states, characters.
pub(crate) fn declared_max_len(declared_type: &str) -> Option<u64> {
    let (name, rest) = declared_type.split_once('(')?;
    let name = name.to_ascii_uppercase();
    if !["CHAR", "CLOB", "TEXT"]
        .iter()
        .any(|text| name.contains(text))
    {
        return None;
    }
    let digits = rest.split([')', ',']).next()?;
    digits.trim().parse().ok()
}

/// Returns the expressions of all `CHECK (..)` clauses of a statement, in order, without comments.
pub(crate) fn checks(sql: &str) -> Vec<String> {
    let sql = strip_comments(sql);
    let mut found = Vec::new();
    let mut rest = sql.as_str();
    while let Some(first) = rest.chars().next() {
        if let Some(len) = quoted_len(rest) {
            rest = &rest[len.min(rest.len())..];
        } else if is_word(first) {
            let len = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
            let after = rest[len..].trim_start();
            let is_check = rest[..len].eq_ignore_ascii_case("check");
            rest = match bracketed_len(after).filter(|_| is_check) {
                Some(len) => {
                    found.push(after[1..len - 1].trim().to_owned());
                    &after[len..]
                }
                None => &rest[len..],
            };
        } else {
            rest = &rest[first.len_utf8()..];
        }
    }
    found
}

/// Returns the length of what stands in brackets at the start of `text`, brackets included.
fn bracketed_len(text: &str) -> Option<usize> {
    let mut depth = 0;
    let mut at = 0;
    while let Some(first) = text[at..].chars().next() {
        if let Some(len) = quoted_len(&text[at..]) {
            at += len.min(text.len() - at);
            continue;
        }
        match first {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ if depth == 0 => return None,
            _ => {}
        }
        at += first.len_utf8();
        if depth == 0 {
            return Some(at);
        }
    }
    None
}

/// Reports whether an expression names a column, as a word of its own or quoted.
pub(crate) fn names_column(expression: &str, column: &str) -> bool {
    let mut rest = expression;
    while let Some(first) = rest.chars().next() {
        let len = if let Some(len) = quoted_len(rest) {
            let len = len.min(rest.len());
            if first != '\'' && unquote(&rest[..len]).eq_ignore_ascii_case(column) {
                return true;
            }
            len
        } else if is_word(first) {
            let len = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
            if rest[..len].eq_ignore_ascii_case(column) {
                return true;
            }
            len
        } else {
            first.len_utf8()
        };
        rest = &rest[len..];
    }
    false
}

/// Returns where a virtual table keeps its rows, judged by its module and arguments.
pub(crate) fn virtual_content(sql: &str) -> VirtualContent {
    let sql = strip_comments(sql);
    let Some((module, arguments)) = module_of(&sql) else {
        return VirtualContent::Rows;
    };
    match module.to_ascii_lowercase().as_str() {
        "fts3" | "fts4" | "fts5" => {
            let content = arguments.iter().find_map(|argument| {
                let (key, value) = argument.split_once('=')?;
                let is_content = key.trim().eq_ignore_ascii_case("content");
                is_content.then(|| unquote(value.trim()))
            });
            match content {
                None => VirtualContent::Rows,
                Some(table) if table.is_empty() => VirtualContent::Contentless,
                Some(table) => VirtualContent::External { table },
            }
        }
        "rtree" | "rtree_i32" | "geopoly" => VirtualContent::Rows,
        _ => VirtualContent::Derived,
    }
}

/// Reports whether a virtual table is a full-text index, whose rows have numbers of their own.
pub(crate) fn is_full_text(sql: &str) -> bool {
    let sql = strip_comments(sql);
    module_of(&sql).is_some_and(|(module, _)| {
        matches!(
            module.to_ascii_lowercase().as_str(),
            "fts3" | "fts4" | "fts5"
        )
    })
}

/// Splits `CREATE VIRTUAL TABLE … USING module(argument, …)`.
fn module_of(sql: &str) -> Option<(String, Vec<String>)> {
    let mut at = 0;
    let after = loop {
        let rest = &sql[at..];
        let first = rest.chars().next()?;
        if let Some(len) = quoted_len(rest) {
            at += len;
        } else if is_word(first) {
            let len = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
            at += len;
            if rest[..len].eq_ignore_ascii_case("using") {
                break sql[at..].trim_start();
            }
        } else {
            at += first.len_utf8();
        }
    };
    let end = quoted_len(after)
        .or_else(|| after.find(|c| !is_word(c)))
        .unwrap_or(after.len());
    let inner = after[end..].trim().trim_end_matches(';').trim_end();
    let inner = inner
        .strip_prefix('(')
        .and_then(|inner| inner.strip_suffix(')'))
        .unwrap_or("");
    Some((unquote(&after[..end]), split_arguments(inner)))
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '$'
}

/// Splits at commas that no quote or parenthesis encloses.
fn split_arguments(text: &str) -> Vec<String> {
    let mut arguments = vec![String::new()];
    let mut depth = 0_usize;
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let len = quoted_len(rest).unwrap_or(first.len_utf8());
        match first {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if first == ',' && depth == 0 {
            arguments.push(String::new());
        } else if let Some(argument) = arguments.last_mut() {
            argument.push_str(&rest[..len]);
        }
        rest = &rest[len..];
    }
    arguments
}

fn unquote(text: &str) -> String {
    let inner = |len: usize| &text[1..len.max(2) - 1];
    match (text.chars().next(), text.len()) {
        (Some(quote @ ('\'' | '"' | '`')), len) if len > 1 && text.ends_with(quote) => {
            let doubled = format!("{quote}{quote}");
            inner(len).replace(&doubled, &quote.to_string())
        }
        (Some('['), len) if len > 1 && text.ends_with(']') => inner(len).to_owned(),
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks_are_found_whatever_stands_in_them() {
        let sql = "CREATE TABLE \"check\" (a INT CHECK (a > 0), b TEXT DEFAULT 'check (x)' \
                   CONSTRAINT c CHECK(b IN ('x)', 'y''(')), -- CHECK (no)\n CHECK (a < 9 AND \"b\" <> ''))";
        let found = checks(sql);
        assert_eq!(
            found,
            ["a > 0", "b IN ('x)', 'y''(')", "a < 9 AND \"b\" <> ''"]
        );
        assert!(names_column(&found[2], "B") && names_column(&found[2], "a"));
        assert!(!names_column(&found[1], "x") && !names_column(&found[0], "b"));
    }

    #[test]
    fn comments_go_and_strings_stay() {
        let stripped = |sql| strip_comments(sql);
        assert_eq!(stripped("a -- x\nb"), "a  \nb");
        assert_eq!(stripped("a/* x ' */b"), "a b");
        assert_eq!(stripped("a /* open"), "a  ");
        assert_eq!(stripped("'--' -- it's"), "'--'  ");
        assert_eq!(stripped("'it''s /* no */'"), "'it''s /* no */'");
        assert_eq!(stripped("\"a--b\" [c/*d] `e--f`"), "\"a--b\" [c/*d] `e--f`");
        assert_eq!(stripped("1 - -1 / 2"), "1 - -1 / 2");
        assert_eq!(stripped("'ä' -- ü\n'ö'"), "'ä'  \n'ö'");
    }

    #[test]
    fn the_content_of_full_text_tables_is_recognised() {
        let content = |arguments: &str| {
            virtual_content(&format!(
                "CREATE VIRTUAL TABLE \"using\" USING fts5({arguments})"
            ))
        };
        let external = VirtualContent::External {
            table: "no tes".to_owned(),
        };
        assert_eq!(content("a, b"), VirtualContent::Rows);
        assert_eq!(content("a, content='no tes', content_rowid=id"), external);
        assert_eq!(content("a, content = \"no tes\""), external);
        assert_eq!(content("a /* , content='x' */"), VirtualContent::Rows);
        assert_eq!(content("a, content=''"), VirtualContent::Contentless);
        assert_eq!(content("a, tokenize='x, content=y'"), VirtualContent::Rows);
        let vocabulary = "CREATE VIRTUAL TABLE v USING fts5vocab('notes', 'row')";
        assert_eq!(virtual_content(vocabulary), VirtualContent::Derived);
    }

    #[test]
    fn declared_lengths_are_those_of_texts() {
        assert_eq!(declared_max_len("varchar( 80 )"), Some(80));
        assert_eq!(declared_max_len("NCHAR(3)"), Some(3));
        assert_eq!(declared_max_len("DECIMAL(10,2)"), None);
        assert_eq!(declared_max_len("TEXT"), None);
    }
}
