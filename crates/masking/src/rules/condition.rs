//! Conditions of rule arms: `kind = 'demo' and note is null`. They read original values only.

use crate::batch::{Cell, Row};

/// All tests must hold.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Condition {
    pub(crate) tests: Vec<Test>,
}

/// One comparison of a column.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Test {
    pub(crate) column: String,
    pub(crate) check: Check,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Check {
    Null,
    NotNull,
    /// NULL is in no list.
    In(Vec<Literal>),
    /// NULL is not outside a list either, as in SQL.
    NotIn(Vec<Literal>),
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Literal {
    Text(String),
    Integer(i64),
}

impl Literal {
    fn equals(&self, cell: Cell<'_>) -> bool {
        match (self, cell) {
            (Self::Text(text), Cell::Text(bytes) | Cell::Blob(bytes)) => text.as_bytes() == bytes,
            (Self::Integer(number), Cell::Integer(found)) => *number == found,
            (Self::Integer(number), Cell::Text(bytes)) => {
                std::str::from_utf8(bytes).is_ok_and(|text| text.parse() == Ok(*number))
            }
            _ => false,
        }
    }
}

impl Condition {
    /// Parses tests joined by `and`; the error says what was expected.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let words = tokenize(text)?;
        let mut rest = words.as_slice();
        let mut tests = vec![take_test(&mut rest)?];
        while !rest.is_empty() {
            expect_word(&mut rest, "and")?;
            tests.push(take_test(&mut rest)?);
        }
        Ok(Self { tests })
    }

    /// Turns column names into positions.
    pub(crate) fn compile(
        &self,
        position: impl Fn(&str) -> Option<usize>,
    ) -> Result<CompiledCondition, String> {
        let compile = |test: &Test| {
            position(&test.column)
                .map(|index| (index, test.check.clone()))
                .ok_or_else(|| test.column.clone())
        };
        Ok(CompiledCondition(
            self.tests.iter().map(compile).collect::<Result<_, _>>()?,
        ))
    }
}

/// A condition over column positions.
#[derive(Debug, Clone)]
pub(crate) struct CompiledCondition(Vec<(usize, Check)>);

impl CompiledCondition {
    /// Iterates over the positions of the columns that are tested.
    pub(crate) fn columns(&self) -> impl Iterator<Item = usize> {
        self.0.iter().map(|(index, _)| *index)
    }

    pub(crate) fn holds(&self, row: Row<'_>) -> bool {
        self.0.iter().all(|(index, check)| {
            let cell = row.cell(*index);
            let null = cell == Cell::Null;
            match check {
                Check::Null => null,
                Check::NotNull => !null,
                Check::In(list) => list.iter().any(|literal| literal.equals(cell)),
                Check::NotIn(list) => !null && !list.iter().any(|literal| literal.equals(cell)),
            }
        })
    }
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Word(String),
    Literal(Literal),
    Sign(&'static str),
}

fn tokenize(text: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let (token, used) = match first {
            '\'' => quoted(rest)?,
            '=' | '(' | ')' | ',' => (Token::Sign(sign(first)), 1),
            '!' if rest.starts_with("!=") => (Token::Sign("!="), 2),
            '<' if rest.starts_with("<>") => (Token::Sign("!="), 2),
            '-' | '0'..='9' => number(rest)?,
            c if c.is_alphabetic() || c == '_' => {
                let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_');
                let end = end.unwrap_or(rest.len());
                (Token::Word(rest[..end].to_owned()), end)
            }
            other => return Err(format!("`{other}` has no meaning in a condition")),
        };
        tokens.push(token);
        rest = rest[used..].trim_start();
    }
    Ok(tokens)
}

fn sign(c: char) -> &'static str {
    match c {
        '=' => "=",
        '(' => "(",
        ')' => ")",
        _ => ",",
    }
}

/// Reads `'text'`, in which `''` stands for one quote.
fn quoted(rest: &str) -> Result<(Token, usize), String> {
    let mut text = String::new();
    let mut chars = rest.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        if c != '\'' {
            text.push(c);
        } else if chars.next_if(|(_, next)| *next == '\'').is_some() {
            text.push('\'');
        } else {
            return Ok((Token::Literal(Literal::Text(text)), at + 1));
        }
    }
    Err("a text lacks its closing `'`".to_owned())
}

fn number(rest: &str) -> Result<(Token, usize), String> {
    let digits = rest[1..].find(|c: char| !c.is_ascii_digit());
    let end = digits.map_or(rest.len(), |at| at + 1);
    let number = rest[..end].parse();
    let number = number.map_err(|_| format!("`{}` is not an integer", &rest[..end]))?;
    Ok((Token::Literal(Literal::Integer(number)), end))
}

fn take_test(rest: &mut &[Token]) -> Result<Test, String> {
    let [Token::Word(column), after @ ..] = *rest else {
        return Err("a test starts with a column name".to_owned());
    };
    *rest = after;
    let check = match take(rest)? {
        Token::Sign("=") => Check::In(vec![take_literal(rest)?]),
        Token::Sign("!=") => Check::NotIn(vec![take_literal(rest)?]),
        Token::Word(word) if word.eq_ignore_ascii_case("in") => Check::In(take_list(rest)?),
        Token::Word(word) if word.eq_ignore_ascii_case("is") => {
            let not =
                matches!(rest.first(), Some(Token::Word(word)) if word.eq_ignore_ascii_case("not"));
            if not {
                *rest = &rest[1..];
            }
            expect_word(rest, "null")?;
            if not { Check::NotNull } else { Check::Null }
        }
        _ => {
            return Err(format!(
                "after `{column}` comes `=`, `!=`, `in (..)`, `is null` or `is not null`"
            ));
        }
    };
    let column = column.clone();
    Ok(Test { column, check })
}

fn take(rest: &mut &[Token]) -> Result<Token, String> {
    let (first, after) = rest.split_first().ok_or("the condition ends too early")?;
    *rest = after;
    Ok(first.clone())
}

fn take_literal(rest: &mut &[Token]) -> Result<Literal, String> {
    match take(rest)? {
        Token::Literal(literal) => Ok(literal),
        _ => Err("a value is a number or a text in single quotes".to_owned()),
    }
}

fn take_list(rest: &mut &[Token]) -> Result<Vec<Literal>, String> {
    let unclosed = || "a list is written `(1, 2)`".to_owned();
    if take(rest)? != Token::Sign("(") {
        return Err(unclosed());
    }
    let mut list = vec![take_literal(rest)?];
    loop {
        match take(rest)? {
            Token::Sign(")") => return Ok(list),
            Token::Sign(",") => list.push(take_literal(rest)?),
            _ => return Err(unclosed()),
        }
    }
}

fn expect_word(rest: &mut &[Token], word: &str) -> Result<(), String> {
    match take(rest)? {
        Token::Word(found) if found.eq_ignore_ascii_case(word) => Ok(()),
        _ => Err(format!("expected `{word}`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::RowBatch;

    fn holds(text: &str, cells: [Cell<'_>; 2]) -> bool {
        let mut batch = RowBatch::new(2, 0);
        batch.push_row(cells);
        let position = |name: &str| ["kind", "n"].iter().position(|have| *have == name);
        let condition = Condition::parse(text).unwrap().compile(position).unwrap();
        condition.holds(batch.rows().next().unwrap())
    }

    #[test]
    fn tests_compare_as_sql_does() {
        let demo = [Cell::Text(b"it's"), Cell::Integer(-3)];
        assert!(holds("kind = 'it''s' AND n in (1, -3)", demo));
        assert!(!holds("kind != 'it''s'", demo));
        assert!(holds("kind is not null and n <> 4", demo));
        let null = [Cell::Null, Cell::Null];
        assert!(holds("kind is null", null));
        assert!(!holds("kind = ''", null));
        assert!(!holds("kind != 'x'", null));
    }

    #[test]
    fn what_is_not_a_condition_says_what_was_expected() {
        for bad in [
            "",
            "kind",
            "kind =",
            "kind = x",
            "kind = 'x",
            "kind = 'x' or n = 1",
            "in ()",
            "kind in 'x'",
            "kind in ('x'",
            "kind is 3",
            "kind = 1 and",
            "kind like 'x'",
            "kind = 'x';",
        ] {
            assert!(Condition::parse(bad).is_err(), "{bad}");
        }
    }
}
