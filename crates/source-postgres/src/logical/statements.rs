//! Taking a script apart into statements, as `psql` does.
//!
//! Semicolons end statements unless they stand in quotes, dollar quotes, comments, parentheses, or
//! the body of a function written in standard SQL (`BEGIN ATOMIC … END`).

/// Splits a script. Each statement keeps its semicolon and the comments before it; what is only
/// blanks, comments or a meta-command of `psql` is dropped.
pub fn split_statements(script: &str) -> Vec<&str> {
    split(script).0
}

/// Splits a script as [`split_statements`] does, and tells whether its last statement has an end.
pub(super) fn split(script: &str) -> (Vec<&str>, bool) {
    let mut lexer = Lexer {
        bytes: script.as_bytes(),
        at: 0,
    };
    let mut statements = Vec::new();
    let mut start = 0;
    let mut state = Statement::default();
    while lexer.at < lexer.bytes.len() {
        match lexer.next() {
            Token::Blank | Token::Comment => {}
            Token::MetaCommand if state.words.is_empty() && !state.is_begun => start = lexer.at,
            Token::End if state.is_whole() => {
                if state.is_begun {
                    statements.push(script[start..lexer.at].trim());
                }
                start = lexer.at;
                state = Statement::default();
            }
            token => state.take(token),
        }
    }
    let is_whole = !state.is_begun;
    if state.is_begun {
        statements.push(script[start..].trim());
    }
    (statements, is_whole)
}

/// What of a statement decides where it ends.
#[derive(Default)]
struct Statement {
    is_begun: bool,
    parentheses: u32,
    /// The first words, in lower case: enough to know a function.
    words: Vec<String>,
    /// The last word, in lower case.
    last_word: String,
    /// Blocks of a standard SQL body that are open.
    blocks: u32,
}

/// `create or replace function` has four words.
const WORDS_MAX: usize = 4;

impl Statement {
    fn is_whole(&self) -> bool {
        self.parentheses == 0 && self.blocks == 0
    }

    fn take(&mut self, token: Token<'_>) {
        self.is_begun = true;
        match token {
            Token::Open => self.parentheses += 1,
            Token::Close => self.parentheses = self.parentheses.saturating_sub(1),
            Token::Word(word) if self.parentheses == 0 => self.word(&word.to_ascii_lowercase()),
            _ => {}
        }
    }

    fn word(&mut self, word: &str) {
        if self.words.len() < WORDS_MAX {
            self.words.push(word.to_owned());
        }
        if !self.makes_a_function() {
            return;
        }
        // `begin` alone is a name like any other.
        let begins = self.last_word == "begin" && word == "atomic";
        word.clone_into(&mut self.last_word);
        match word {
            _ if begins => self.blocks += 1,
            "case" if self.blocks > 0 => self.blocks += 1,
            "end" => self.blocks = self.blocks.saturating_sub(1),
            _ => {}
        }
    }

    fn makes_a_function(&self) -> bool {
        let words: Vec<&str> = self.words.iter().map(String::as_str).collect();
        matches!(
            words[..],
            ["create", "function" | "procedure", ..]
                | ["create", "or", "replace", "function" | "procedure"]
        )
    }
}

/// A piece of a script.
#[derive(Clone, Copy)]
enum Token<'a> {
    Blank,
    Comment,
    /// A line such as `\restrict`.
    MetaCommand,
    Word(&'a str),
    Open,
    Close,
    End,
    Other,
}

struct Lexer<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Lexer<'a> {
    fn peek(&self, ahead: usize) -> u8 {
        self.bytes.get(self.at + ahead).copied().unwrap_or_default()
    }

    /// Goes on to the byte after the next `until`, or to the end.
    fn skip_past(&mut self, until: &[u8]) {
        let rest = &self.bytes[self.at..];
        let found = rest.windows(until.len()).position(|window| window == until);
        self.at = found.map_or(self.bytes.len(), |found| self.at + found + until.len());
    }

    fn next(&mut self) -> Token<'a> {
        let start = self.at;
        match (self.peek(0), self.peek(1)) {
            (b'-', b'-') => {
                self.skip_past(b"\n");
                Token::Comment
            }
            (b'/', b'*') => {
                self.block_comment();
                Token::Comment
            }
            (b'\'', _) => self.quotes(b'\'', Backslash::Plain),
            (b'"', _) => self.quotes(b'"', Backslash::Plain),
            (b'e' | b'E', b'\'') => {
                self.at += 1;
                self.quotes(b'\'', Backslash::Escapes)
            }
            (b'$', _) => self.dollar_quotes(),
            (b'\\', _) => {
                self.skip_past(b"\n");
                Token::MetaCommand
            }
            (byte, _) if is_word(byte) => {
                while is_word(self.peek(0)) || self.peek(0) == b'$' {
                    self.at += 1;
                }
                // What follows a dot is a name: a function may be called `begin`.
                if self.bytes[..start].last() == Some(&b'.') {
                    return Token::Other;
                }
                let word = &self.bytes[start..self.at];
                Token::Word(std::str::from_utf8(word).unwrap_or_default())
            }
            (byte, _) => {
                self.at += 1;
                match byte {
                    b'(' => Token::Open,
                    b')' => Token::Close,
                    b';' => Token::End,
                    byte if byte.is_ascii_whitespace() => Token::Blank,
                    _ => Token::Other,
                }
            }
        }
    }

    fn block_comment(&mut self) {
        let mut depth = 0;
        while self.at < self.bytes.len() {
            match (self.peek(0), self.peek(1)) {
                (b'/', b'*') => depth += 1,
                (b'*', b'/') => depth -= 1,
                _ => {
                    self.at += 1;
                    continue;
                }
            }
            self.at += 2;
            if depth == 0 {
                return;
            }
        }
        self.at = self.bytes.len();
    }

    fn quotes(&mut self, quote: u8, backslash: Backslash) -> Token<'a> {
        self.at += 1;
        while self.at < self.bytes.len() {
            let byte = self.peek(0);
            let is_escape = byte == b'\\' && backslash == Backslash::Escapes;
            if is_escape || (byte == quote && self.peek(1) == quote) {
                self.at += 2;
            } else {
                self.at += 1;
                if byte == quote {
                    return Token::Other;
                }
            }
        }
        self.at = self.bytes.len();
        Token::Other
    }

    fn dollar_quotes(&mut self) -> Token<'a> {
        let rest = &self.bytes[self.at + 1..];
        let name = rest.iter().take_while(|byte| is_word(**byte)).count();
        let is_tag = rest.get(name) == Some(&b'$') && !rest.first().is_some_and(u8::is_ascii_digit);
        if !is_tag {
            self.at += 1;
            return Token::Other;
        }
        let tag = &self.bytes[self.at..=self.at + name + 1];
        self.at += tag.len();
        self.skip_past(tag);
        Token::Other
    }
}

/// What a backslash means in quotes.
#[derive(PartialEq, Eq, Clone, Copy)]
enum Backslash {
    Plain,
    Escapes,
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn semicolons_end_statements_and_nothing_else_does() {
        let one = [
            "SELECT 'a;b', \"c;d\", E'it\\'s; \\\\', $$e;f$$, $tag$ $$;$$ ; $tag$;",
            "SELECT 1 /* ; /* nested ; */ ; */ + 2;",
            "-- a comment; with one\nSELECT 1;",
            "CREATE RULE r AS ON INSERT TO t DO (SELECT 1; SELECT 2);",
            "CREATE FUNCTION f() RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT CASE WHEN true THEN 1 END; \
             SELECT 2; END;",
            "CREATE OR REPLACE PROCEDURE p() LANGUAGE sql BEGIN ATOMIC INSERT INTO t VALUES (1); END;",
            "SELECT '''; still quoted', 'it''s; one';",
            "SELECT a$b$c, $1 FROM t;",
            "CREATE FUNCTION g() RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT t.begin AS \"end\" FROM t; END;",
            "CREATE FUNCTION public.begin(n int) RETURNS int LANGUAGE sql AS $$ SELECT 1; $$;",
        ];
        for statement in one {
            assert_eq!(split_statements(statement), [statement]);
        }
        assert_eq!(split_statements(&one.join("\n\n")), one);
    }

    #[test]
    fn what_is_no_statement_is_dropped() {
        assert_eq!(
            split_statements("\\restrict abc\n\nSELECT 1;\n\\unrestrict abc\n"),
            ["SELECT 1;"]
        );
        assert_eq!(
            split_statements(" ;; -- nothing\n/* at all */"),
            [] as [&str; 0]
        );
        // `begin` is a word like any other outside a function.
        let view = ["CREATE VIEW v AS SELECT 1 AS begin;", "SELECT 2;"];
        assert_eq!(split_statements(&view.join("\n")), view);
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_nothing_hangs(script in "[a-zA-Z;'\"$\\\\(){}/*\\- \n_0-9é]{0,200}") {
            let statements = split_statements(&script);
            let mut rest = script.as_str();
            for statement in statements {
                let at = rest.find(statement);
                prop_assert!(at.is_some());
                rest = &rest[at.unwrap_or_default() + statement.len()..];
            }
        }
    }
}
