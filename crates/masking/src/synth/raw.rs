//! Raw values: what a column holds before its rule is applied. Each is a function of seed and row.

use super::Made;
use crate::key::scale;
use crate::words;

/// One row in so many is NULL where a column takes it.
const NULL_EVERY: u64 = 12;

/// How a column of a table is made.
#[derive(Debug, Clone)]
pub(super) struct RawColumn {
    /// Sets the column's values apart from those of all others.
    pub(super) salt: u64,
    pub(super) nullable: bool,
    pub(super) source: Source,
    pub(super) raw: Raw,
}

/// Whose values a column holds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Source {
    Own,
    /// Those of another column.
    Of {
        table: usize,
        column: usize,
        rows: u64,
        choice: Choice,
    },
}

/// Which row a foreign key refers to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Choice {
    /// Any.
    Any,
    /// The one with the same number, so that none is referred to twice.
    Same,
    /// A digit of the row number, so that several such columns never repeat a combination.
    Digit { divisor: u64 },
    /// One before it in the same table; the first refers to itself, or to none.
    Before,
}

/// What comes next in making a value.
pub(super) enum Step {
    Null,
    Here,
    At {
        table: usize,
        column: usize,
        row: u64,
    },
}

impl RawColumn {
    /// Returns 64 pseudo-random bits of one cell.
    pub(super) fn word(&self, seed: u64, row: u64) -> u64 {
        mix(mix(seed ^ self.salt).wrapping_add(row))
    }

    pub(super) fn step(&self, seed: u64, row: u64) -> Step {
        let word = self.word(seed, row);
        if self.nullable && scale(word.rotate_left(17), NULL_EVERY) == 0 {
            return Step::Null;
        }
        let Source::Of {
            table,
            column,
            rows,
            choice,
        } = self.source
        else {
            return Step::Here;
        };
        if rows == 0 {
            return Step::Null;
        }
        let row = match choice {
            Choice::Any => scale(word, rows),
            Choice::Same => row % rows,
            Choice::Digit { divisor } => row / divisor % rows,
            Choice::Before if row == 0 && self.nullable => return Step::Null,
            Choice::Before => row / 2,
        };
        Step::At { table, column, row }
    }
}

/// SplitMix64's finisher.
fn mix(mut word: u64) -> u64 {
    word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// What values look like.
#[derive(Debug, Clone)]
pub(super) enum Raw {
    Null,
    /// `min`, `min + 1` ..: different in each row.
    Count {
        min: i64,
    },
    Integer {
        min: i64,
        max: i64,
    },
    Real {
        min: f64,
        max: f64,
    },
    Blob,
    OneOf(Vec<OwnedCell>),
    /// The row's number in so many digits, between two texts: different in each row.
    Numbered {
        before: String,
        digits: usize,
        after: &'static str,
    },
    /// Digits at random where the pattern has `#`; the last ones count rows if it must be unique.
    Pattern {
        pattern: String,
        unique: bool,
    },
    /// A day, and a time of day if `time`.
    Moment {
        from: i64,
        to: i64,
        time: bool,
        seconds: bool,
    },
    Uuid,
    Address4,
    Mac,
    Sentences {
        max: usize,
    },
    Document(Vec<(Vec<Member>, Raw)>),
}

/// A step of a path in a document.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Member {
    Name(String),
    Items,
}

/// A value that outlives its row.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum OwnedCell {
    Integer(i64),
    Real(f64),
    Text(String),
}

impl Raw {
    /// Says that the value is the text that was appended.
    pub(super) const TEXT: Made = Made::Text(0, 0);

    /// Makes the value of a row from 64 random bits; appends texts to `out`.
    pub(super) fn make(&self, word: u64, row: u64, out: &mut Vec<u8>) -> Made {
        match self {
            Self::Null => return Made::Null,
            Self::Count { min } => return Made::Integer(min.saturating_add_unsigned(row)),
            Self::Integer { min, max } => {
                let size = max.abs_diff(*min).saturating_add(1);
                return Made::Integer(min.saturating_add_unsigned(scale(word, size)));
            }
            Self::Real { min, max } => {
                // Cents, as people write amounts.
                let share = scale(word, 1 << 20) as f64 / f64::from(1 << 20);
                return Made::Real(((min + (max - min) * share) * 100.0).round() / 100.0);
            }
            Self::Blob => {
                let mut bytes = [0; 16];
                bytes[..8].copy_from_slice(&word.to_le_bytes());
                bytes[8..].copy_from_slice(&mix(word).to_le_bytes());
                return Made::Blob(bytes);
            }
            Self::OneOf(values) => match &values[scale(word, values.len() as u64) as usize] {
                OwnedCell::Integer(number) => return Made::Integer(*number),
                OwnedCell::Real(number) => return Made::Real(*number),
                OwnedCell::Text(text) => out.extend_from_slice(text.as_bytes()),
            },
            Self::Numbered {
                before,
                digits,
                after,
            } => {
                out.extend_from_slice(before.as_bytes());
                push_number(row + 1, *digits, out);
                out.extend_from_slice(after.as_bytes());
            }
            Self::Pattern { pattern, unique } => push_pattern(pattern, *unique, word, row, out),
            Self::Moment {
                from,
                to,
                time,
                seconds,
            } => {
                let at = from + scale(word, to.abs_diff(*from)) as i64;
                if *seconds {
                    return Made::Integer(at);
                }
                push_moment(at, *time, out);
            }
            Self::Uuid => push_uuid(word, row, out),
            Self::Address4 => {
                let [_, b, c, d, ..] = word.to_le_bytes();
                push(&format!("10.{b}.{c}.{d}"), out);
            }
            Self::Mac => {
                let [a, b, c, d, e, ..] = word.to_le_bytes();
                push(&format!("02:{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}"), out);
            }
            Self::Sentences { max } => {
                let len = 20 + scale(word, 140) as usize;
                words::push_words(word, len.min(*max), out);
            }
            Self::Document(leaves) => push(&document(leaves, word, row).to_string(), out),
        }
        Self::TEXT
    }
}

fn push(text: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(text.as_bytes());
}

/// Appends a number with leading zeros.
fn push_number(mut number: u64, digits: usize, out: &mut Vec<u8>) {
    let mut buffer = [b'0'; 20];
    let mut at = buffer.len();
    while number > 0 {
        at -= 1;
        buffer[at] = b'0' + (number % 10) as u8;
        number /= 10;
    }
    let from = at.min(buffer.len() - digits.min(buffer.len()));
    out.extend_from_slice(&buffer[from..]);
}

fn push_pattern(pattern: &str, unique: bool, mut word: u64, row: u64, out: &mut Vec<u8>) {
    let start = out.len();
    for byte in pattern.bytes() {
        if byte == b'#' {
            out.push(b'0' + (word % 10) as u8);
            word = mix(word);
        } else {
            out.push(byte);
        }
    }
    if !unique {
        return;
    }
    let mut number = row;
    let places = pattern
        .bytes()
        .enumerate()
        .filter(|(_, byte)| *byte == b'#');
    for (at, _) in places.collect::<Vec<_>>().into_iter().rev() {
        out[start + at] = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

/// Appends `2024-05-31` or `2024-05-31 08:15:00` of a Unix time (civil calendar, after H. Hinnant).
fn push_moment(at: i64, time: bool, out: &mut Vec<u8>) {
    let (days, secs) = (at.div_euclid(86_400), at.rem_euclid(86_400));
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let day_of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12 + 1;
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    push(&format!("{year:04}-{month:02}-{day:02}"), out);
    if time {
        let (hour, minute, second) = (secs / 3_600, secs / 60 % 60, secs % 60);
        push(&format!(" {hour:02}:{minute:02}:{second:02}"), out);
    }
}

fn push_uuid(word: u64, row: u64, out: &mut Vec<u8>) {
    let (high, low) = (mix(word ^ row), row);
    push(
        &format!(
            "{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}",
            high >> 32,
            high >> 16 & 0xffff,
            high & 0xfff,
            word >> 52,
            low & 0xffff_ffff_ffff
        ),
        out,
    );
}

fn document(leaves: &[(Vec<Member>, Raw)], word: u64, row: u64) -> serde_json::Value {
    let mut document = serde_json::Value::Null;
    for (n, (path, raw)) in leaves.iter().enumerate() {
        let mut text = Vec::new();
        let value = match raw.make(mix(word ^ n as u64), row, &mut text) {
            Made::Null => serde_json::Value::Null,
            Made::Integer(number) => number.into(),
            Made::Real(number) => number.into(),
            Made::Text(..) => String::from_utf8_lossy(&text).into_owned().into(),
            Made::Blob(_) => "blob".into(),
        };
        put(&mut document, path, value);
    }
    document
}

/// Puts a leaf at its path; arrays have one item.
fn put(at: &mut serde_json::Value, path: &[Member], value: serde_json::Value) {
    use serde_json::Value;
    let Some((first, rest)) = path.split_first() else {
        *at = value;
        return;
    };
    match first {
        Member::Name(name) => {
            if !at.is_object() {
                *at = Value::Object(serde_json::Map::new());
            }
            put(&mut at[name.as_str()], rest, value);
        }
        Member::Items => {
            if !at.is_array() {
                *at = Value::Array(vec![Value::Null]);
            }
            put(&mut at[0], rest, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(raw: &Raw, word: u64, row: u64) -> String {
        let mut out = Vec::new();
        raw.make(word, row, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn moments_are_days_of_the_calendar() {
        for (at, written) in [
            (0, "1970-01-01 00:00:00"),
            (951_782_399, "2000-02-28 23:59:59"),
            (951_782_400, "2000-02-29 00:00:00"),
            (-86_400, "1969-12-31 00:00:00"),
        ] {
            let mut out = Vec::new();
            push_moment(at, true, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), written);
        }
    }

    #[test]
    fn what_must_be_unique_differs_in_each_row() {
        let raws = [
            Raw::Numbered {
                before: "a".into(),
                digits: 3,
                after: "z",
            },
            Raw::Pattern {
                pattern: "+49 30 ########".into(),
                unique: true,
            },
            Raw::Uuid,
        ];
        for raw in raws {
            let made: std::collections::HashSet<String> =
                (0..5_000).map(|row| text(&raw, mix(row), row)).collect();
            assert_eq!(made.len(), 5_000, "{raw:?}");
        }
    }

    #[test]
    fn documents_have_every_path() {
        let name = |name: &str| Member::Name(name.to_owned());
        let leaves = vec![
            (vec![name("a"), name("b")], Raw::Count { min: 1 }),
            (
                vec![name("a"), name("c"), Member::Items],
                Raw::Count { min: 2 },
            ),
        ];
        assert_eq!(
            text(&Raw::Document(leaves), 1, 0),
            r#"{"a":{"b":1,"c":[2]}}"#
        );
    }
}
