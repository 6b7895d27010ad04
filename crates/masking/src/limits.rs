//! What a column's constraints say about its values: enumerations, ranges, lengths.
//!
//! Reads the CHECK expressions that people write most, in the dialects of SQLite and PostgreSQL. What
//! it cannot read it hands back as text: the target itself enforces that.

mod tokens;

use crate::schema::{ColumnSchema, ColumnType};
use tokens::{Token, tokenize};

/// The values that a column takes, as far as its constraints can be read.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Limits {
    /// The only values there may be, if the constraints list them.
    pub(crate) allowed: Option<Vec<Literal>>,
    /// The lowest number.
    pub(crate) min: Option<f64>,
    /// The highest number.
    pub(crate) max: Option<f64>,
    /// The shortest text, in characters.
    pub(crate) min_chars: Option<usize>,
    /// The longest text, in characters.
    pub(crate) max_chars: Option<usize>,
    /// Expressions that could not be read.
    pub(crate) unread: Vec<String>,
    /// What lies between a bound and the next value, where the bound itself is not allowed.
    step: f64,
}

/// The step of numbers that are not whole: people write amounts in cents.
const CENT: f64 = 0.01;

/// A value in a constraint.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Literal {
    /// A number.
    Number(f64),
    /// A text.
    Text(String),
}

impl Limits {
    /// Reads what a column's constraints say.
    pub(crate) fn of(column: &ColumnSchema) -> Self {
        let mut limits = Self {
            max_chars: column.max_chars.or(column.max_len),
            step: if column.ty == ColumnType::Real || column.ty == ColumnType::Any {
                CENT
            } else {
                1.0
            },
            ..Self::default()
        };
        if !column.labels.is_empty() {
            limits.allow(column.labels.iter().cloned().map(Literal::Text).collect());
        }
        for check in &column.checks {
            let tokens = tokenize(check);
            let mut read = limits.clone();
            if read.expression(&tokens, &column.name).is_some() {
                limits = read;
            } else {
                limits.unread.push(check.clone());
            }
        }
        limits
    }

    /// Reports whether a number lies within the limits.
    pub(crate) fn takes_number(&self, number: f64) -> bool {
        let listed =
            |allowed: &Vec<Literal>| allowed.iter().any(|one| one.number() == Some(number));
        self.allowed.as_ref().is_none_or(listed)
            && self.min.is_none_or(|min| number >= min)
            && self.max.is_none_or(|max| number <= max)
    }

    /// Reports whether a text lies within the limits.
    pub(crate) fn takes_text(&self, text: &str) -> bool {
        let chars = text.chars().count();
        let listed = |allowed: &Vec<Literal>| allowed.iter().any(|one| one.is_text(text));
        self.allowed.as_ref().is_none_or(listed)
            && self.min_chars.is_none_or(|min| chars >= min)
            && self.max_chars.is_none_or(|max| chars <= max)
    }

    /// Reads tests joined by AND, or `column IS NULL OR ..`, since NULL passes every check anyway.
    fn expression(&mut self, tokens: &[Token], column: &str) -> Option<()> {
        let tokens = unwrapped(tokens);
        let sides = split(tokens, "or");
        if sides.len() > 1 {
            let says_null = |side: &&[Token]| is_null_test(side, column);
            let others: Vec<_> = sides.into_iter().filter(|side| !says_null(side)).collect();
            let [only] = others[..] else { return None };
            return self.expression(only, column);
        }
        let tests = split_and(tokens);
        if tests.len() > 1 {
            return tests
                .into_iter()
                .try_for_each(|test| self.expression(test, column));
        }
        self.test(tokens, column)
    }

    fn test(&mut self, tokens: &[Token], column: &str) -> Option<()> {
        let (subject, rest) = Subject::take(tokens, column)?;
        match rest {
            [Token::Word(is), Token::Word(not), Token::Word(null)]
                if is == "is" && not == "not" && null == "null" => {}
            [Token::Sign(sign), value @ ..] if value.first() != Some(&Token::word("any")) => {
                let value = literal(value)?;
                self.compare(subject, sign, value)?;
            }
            [Token::Sign("="), Token::Word(_), list @ ..] => self.list(subject, list)?,
            [Token::Word(word), list @ ..] if word == "in" => self.list(subject, list)?,
            [Token::Word(word), between @ ..] if word == "between" => {
                let sides = split(between, "and");
                let [low, high] = sides[..] else { return None };
                self.compare(subject, ">=", literal(low)?)?;
                self.compare(subject, "<=", literal(high)?)?;
            }
            _ => return None,
        }
        Some(())
    }

    fn list(&mut self, subject: Subject, tokens: &[Token]) -> Option<()> {
        if subject != Subject::Value {
            return None;
        }
        let mut values = Vec::new();
        for token in tokens {
            match token {
                Token::Text(text) if text.starts_with('{') && text.ends_with('}') => {
                    let inner = text[1..text.len() - 1].split(',');
                    values.extend(inner.map(|one| Literal::Text(one.trim_matches('"').to_owned())));
                }
                Token::Text(text) => values.push(Literal::Text(text.clone())),
                Token::Number(number) => values.push(Literal::Number(*number)),
                Token::Sign("(" | ")" | "[" | "]" | ",") => {}
                Token::Word(word) if word == "array" => {}
                _ => return None,
            }
        }
        (!values.is_empty()).then(|| self.allow(values))
    }

    fn compare(&mut self, subject: Subject, sign: &str, value: Literal) -> Option<()> {
        if subject == Subject::Value && sign == "=" {
            self.allow(vec![value]);
            return Some(());
        }
        let number = value.number()?;
        let step = match subject {
            Subject::Value => self.step,
            Subject::Length => 1.0,
        };
        let (min, max) = match sign {
            ">" => (Some(number + step), None),
            ">=" => (Some(number), None),
            "<" => (None, Some(number - step)),
            "<=" => (None, Some(number)),
            "=" => (Some(number), Some(number)),
            _ => return None,
        };
        let (min_now, max_now) = match subject {
            Subject::Value => (self.min, self.max),
            Subject::Length => (
                self.min_chars.map(|chars| chars as f64),
                self.max_chars.map(|chars| chars as f64),
            ),
        };
        let min = min.map_or(min_now, |min| Some(min_now.map_or(min, |now| now.max(min))));
        let max = max.map_or(max_now, |max| Some(max_now.map_or(max, |now| now.min(max))));
        match subject {
            Subject::Value => (self.min, self.max) = (min, max),
            Subject::Length => {
                self.min_chars = min.map(|chars| chars.max(0.0) as usize);
                self.max_chars = max.map(|chars| chars.max(0.0) as usize);
            }
        }
        Some(())
    }

    /// Of two lists only what both allow is left.
    fn allow(&mut self, values: Vec<Literal>) {
        self.allowed = Some(match self.allowed.take() {
            Some(mut before) => {
                before.retain(|value| values.contains(value));
                before
            }
            None => values,
        });
    }
}

impl Literal {
    fn number(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Text(text) => text.parse().ok(),
        }
    }

    fn is_text(&self, text: &str) -> bool {
        match self {
            Self::Text(one) => one == text,
            Self::Number(number) => text.parse() == Ok(*number),
        }
    }
}

/// What a test speaks of.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Subject {
    Value,
    Length,
}

impl Subject {
    /// Takes the column, or the length of it, from the front of a test.
    fn take<'t>(tokens: &'t [Token], column: &str) -> Option<(Self, &'t [Token])> {
        let is_column =
            |token: &Token| matches!(token, Token::Word(word) if word.eq_ignore_ascii_case(column));
        const LENGTHS: [&str; 4] = ["length", "char_length", "character_length", "octet_length"];
        match tokens {
            [first, rest @ ..] if is_column(first) => Some((Self::Value, rest)),
            [Token::Sign("("), inner, Token::Sign(")"), rest @ ..] if is_column(inner) => {
                Some((Self::Value, rest))
            }
            [Token::Word(function), rest @ ..] if LENGTHS.contains(&function.as_str()) => {
                let close = closing(rest)?;
                let (subject, after) = Self::take(unwrapped(&rest[..=close]), column)?;
                (subject == Self::Value && after.is_empty())
                    .then(|| (Self::Length, &rest[close + 1..]))
            }
            _ => None,
        }
    }
}

fn is_null_test(tokens: &[Token], column: &str) -> bool {
    matches!(unwrapped(tokens), [Token::Word(name), Token::Word(is), Token::Word(null)]
        if name.eq_ignore_ascii_case(column) && is == "is" && null == "null")
}

/// Reads one value, in brackets or not, with its sign.
fn literal(tokens: &[Token]) -> Option<Literal> {
    match unwrapped(tokens) {
        [Token::Number(number)] => Some(Literal::Number(*number)),
        [Token::Sign("-"), Token::Number(number)] => Some(Literal::Number(-number)),
        [Token::Text(text)] => Some(Literal::Text(text.clone())),
        _ => None,
    }
}

/// Takes off brackets that enclose everything.
fn unwrapped(mut tokens: &[Token]) -> &[Token] {
    while let [Token::Sign("("), inner @ .., Token::Sign(")")] = tokens
        && closing(tokens) == Some(tokens.len() - 1)
    {
        tokens = inner;
    }
    tokens
}

/// Returns where the bracket that opens `tokens` closes.
fn closing(tokens: &[Token]) -> Option<usize> {
    let mut depth = 0;
    for (at, token) in tokens.iter().enumerate() {
        match token {
            Token::Sign("(") => depth += 1,
            Token::Sign(")") => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return (token == &Token::Sign(")")).then_some(at);
        }
    }
    None
}

/// Splits at a word that stands outside all brackets.
fn split<'t>(tokens: &'t [Token], word: &str) -> Vec<&'t [Token]> {
    let mut depth = 0;
    tokens
        .split(|token| {
            match token {
                Token::Sign("(") => depth += 1,
                Token::Sign(")") => depth -= 1,
                _ => {}
            }
            depth == 0 && matches!(token, Token::Word(found) if found == word)
        })
        .collect()
}

/// Splits at AND, but not at that of BETWEEN.
fn split_and(tokens: &[Token]) -> Vec<&[Token]> {
    let mut depth = 0;
    let mut between = false;
    tokens
        .split(|token| {
            match token {
                Token::Sign("(") => depth += 1,
                Token::Sign(")") => depth -= 1,
                Token::Word(word) if depth == 0 && word == "between" => between = true,
                Token::Word(word) if depth == 0 && word == "and" => {
                    return !std::mem::take(&mut between);
                }
                _ => {}
            }
            false
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::ColumnType;

    fn limits(check: &str) -> Limits {
        let mut column = ColumnSchema::new("status", ColumnType::Text);
        column.checks.push(check.to_owned());
        Limits::of(&column)
    }

    #[test]
    fn lists_are_read_in_both_dialects() {
        for check in [
            "status IN ('a', 'b')",
            "(\"status\" in ('a','b'))",
            "((status = ANY (ARRAY['a'::text, 'b'::text])))",
            "((status)::text = ANY ((ARRAY['a'::character varying, 'b'::character varying])::text[]))",
            "status IS NULL OR status IN ('a', 'b')",
            "status = ANY ('{a,b}'::text[])",
        ] {
            let found = limits(check);
            assert!(found.unread.is_empty(), "{check}: {found:?}");
            assert!(found.takes_text("a") && found.takes_text("b"), "{check}");
            assert!(!found.takes_text("c"), "{check}");
        }
    }

    #[test]
    fn ranges_and_lengths_are_read() {
        let range = limits("status > 0 AND status BETWEEN -3 AND 9 AND (status <= 8)");
        assert_eq!((range.min, range.max), (Some(1.0), Some(8.0)));
        let length = limits("length(status) >= 2 and char_length((status)::text) <= 5");
        assert!(
            length.takes_text("äöü") && !length.takes_text("x") && !length.takes_text("123456")
        );
        let mut price = ColumnSchema::new("price", ColumnType::Real);
        price.checks.push("price > 0".to_owned());
        assert!(Limits::of(&price).takes_number(0.5) && !Limits::of(&price).takes_number(0.0));
        let one = limits("status = 1");
        assert!(one.takes_number(1.0) && !one.takes_number(2.0));
    }

    #[test]
    fn what_cannot_be_read_is_handed_back() {
        for check in [
            "status LIKE 'x%'",
            "status <> other",
            "status > 0 OR status < -5",
            "lower(status) = status",
            "length(other) > 3",
            "",
            "status IN (SELECT 1)",
            "((((status",
        ] {
            assert_eq!(limits(check).unread, [check], "{check}");
            assert!(limits(check).takes_text("anything"));
        }
    }
}
