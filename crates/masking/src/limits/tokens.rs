//! The words and signs of a CHECK expression.

/// One token. Words are in lower case, quoted names as they stand; casts are left out.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    Word(String),
    Number(f64),
    Text(String),
    Sign(&'static str),
    /// What has no meaning here; no expression with it can be read.
    Other,
}

impl Token {
    pub(super) fn word(word: &str) -> Self {
        Self::Word(word.to_owned())
    }
}

const SIGNS: [&str; 13] = [
    "<=", ">=", "<>", "!=", "==", "=", "<", ">", "(", ")", "[", "]", ",",
];

/// Takes an expression apart.
pub(super) fn tokenize(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let used = if let Some(cast) = rest.strip_prefix("::") {
            2 + cast_len(cast)
        } else if let Some(sign) = SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
            tokens.push(Token::Sign(if *sign == "==" { "=" } else { sign }));
            sign.len()
        } else {
            match first {
                '\'' => quoted(rest, '\'', &mut tokens, Token::Text),
                '"' | '`' => quoted(rest, first, &mut tokens, Token::Word),
                '-' => {
                    tokens.push(Token::Sign("-"));
                    1
                }
                '0'..='9' => number(rest, &mut tokens),
                c if c.is_alphabetic() || c == '_' => {
                    let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_');
                    let end = end.unwrap_or(rest.len());
                    tokens.push(Token::Word(rest[..end].to_lowercase()));
                    end
                }
                other => {
                    tokens.push(Token::Other);
                    other.len_utf8()
                }
            }
        };
        rest = rest[used..].trim_start();
    }
    tokens
}

/// Returns the length of the type behind `::`, such as `character varying(20)` or `text[]`.
fn cast_len(text: &str) -> usize {
    let mut end = 0;
    for (at, c) in text.char_indices() {
        let second_word = c == ' '
            && ["varying", "precision"]
                .iter()
                .any(|w| text[at + 1..].starts_with(w));
        if !(c.is_alphanumeric() || "_.\"".contains(c) || second_word) {
            break;
        }
        end = at + c.len_utf8();
    }
    let after = &text[end..];
    let size = after
        .strip_prefix('(')
        .and_then(|rest| rest.find(')'))
        .map_or(0, |at| at + 2);
    end += size;
    if text[end..].starts_with("[]") {
        end + 2
    } else {
        end
    }
}

fn quoted(text: &str, quote: char, tokens: &mut Vec<Token>, make: fn(String) -> Token) -> usize {
    let mut inner = String::new();
    let mut chars = text.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        if c != quote {
            inner.push(c);
        } else if chars.next_if(|(_, next)| *next == quote).is_some() {
            inner.push(quote);
        } else {
            tokens.push(make(inner));
            return at + 1;
        }
    }
    tokens.push(Token::Other);
    text.len()
}

fn number(text: &str, tokens: &mut Vec<Token>) -> usize {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.');
    let end = end.unwrap_or(text.len());
    tokens.push(text[..end].parse().map_or(Token::Other, Token::Number));
    end
}
