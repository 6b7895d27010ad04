//! How a strictly typed source writes the values of its columns, so that what a mask makes can be
//! held against a column before any row is read. Knows forms, no mask and no rule.
//!
//! The forms are those in which PostgreSQL itself writes values. It reads more than that, such as dates
//! in the order that a session is set to; values in rules have to be written as it writes them.

use std::net::IpAddr;

use serde::de::IgnoredAny;

use crate::mask::{each_field, each_item, each_pair};

/// How the values of a column are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ValueForm {
    /// In any way, or in one that is not known here.
    Free,
    /// Whole numbers of so many bits.
    Integer(u32),
    /// Numbers with a fraction.
    Decimal,
    /// `t` and `f`.
    Boolean,
    /// `2024-05-31`.
    Date,
    /// `10:33:22`.
    Time,
    /// `2024-05-31 10:33:22+00`.
    Timestamp,
    /// `1 day 02:00:00`.
    Interval,
    /// `6f1c2a9e-0b7d-4f57-9d3c-1b1f8f0f6a11`.
    Uuid,
    /// Addresses of hosts and networks.
    Address,
    /// Addresses of network cards.
    Mac,
    /// JSON documents.
    Json,
    /// `(52.5,13.4)`.
    Point,
    /// `{a,b}`, with items of a form.
    Array(Box<ValueForm>),
    /// `"a"=>"b"`.
    Hstore,
    /// `(a,b)`.
    Composite,
    /// `[a,b)`, or several of them.
    Range,
}

/// How many different values of a form are tried: enough that no mask whose outputs only now and
/// then have the form passes for one that fits.
const SAMPLES: u32 = 32;

impl ValueForm {
    /// Reports whether `text` is a value of the form.
    pub(crate) fn takes(&self, text: &str) -> bool {
        match self {
            Self::Free => true,
            Self::Integer(bits) => {
                let number = text.trim().parse::<i64>();
                number.is_ok_and(|number| takes_integer(*bits, number))
            }
            Self::Decimal => text.trim().parse::<f64>().is_ok(),
            Self::Boolean => is_boolean(text),
            // A time behind a date is cut off.
            Self::Date | Self::Timestamp => is_timestamp(text),
            Self::Time => is_time(text),
            Self::Interval => is_interval(text),
            Self::Uuid => is_uuid(text),
            Self::Address => is_address(text),
            Self::Mac => is_mac(text),
            Self::Json => serde_json::from_str::<IgnoredAny>(text).is_ok(),
            Self::Point => is_point(text),
            Self::Array(items) => {
                let mut all = true;
                let read = each_item(text.as_bytes(), &mut Vec::new(), &mut |item, _| {
                    all &= item.is_none_or(|item| items.takes_bytes(item));
                    Ok(())
                });
                all && read.is_ok()
            }
            Self::Hstore => each_pair(text.as_bytes(), &mut |_, _| Ok(())).is_ok(),
            Self::Composite => each_field(text.as_bytes(), &mut |_, _| Ok(())).is_ok(),
            Self::Range => is_range(text),
        }
    }

    fn takes_bytes(&self, text: &[u8]) -> bool {
        std::str::from_utf8(text).is_ok_and(|text| self.takes(text))
    }

    /// Returns different values of the form; none if there is no form.
    pub(crate) fn samples(&self) -> Vec<String> {
        let numbered = |make: &dyn Fn(u32) -> String| (1..=SAMPLES).map(make).collect();
        match self {
            Self::Free => Vec::new(),
            Self::Integer(bits) => {
                let large = (6..bits - 1).map(|bit| (1_i64 << bit).to_string());
                (1..=SAMPLES).map(|n| n.to_string()).chain(large).collect()
            }
            Self::Decimal => numbered(&|n| match n % 4 {
                0 => format!("45320151{n:08}"),
                1 => format!("1234{n:05}"),
                _ => format!("{}.{:02}", n * 37, n * 3),
            }),
            Self::Boolean => vec!["t".to_owned(), "f".to_owned()],
            Self::Date => {
                numbered(&|n| format!("19{:02}-{:02}-{:02}", n + 40, n % 12 + 1, n % 28 + 1))
            }
            Self::Time => numbered(&|n| format!("{:02}:{:02}:05", n % 24, n + 10)),
            Self::Timestamp => numbered(&|n| {
                format!(
                    "20{n:02}-{:02}-{:02} {:02}:33:22.5+00",
                    n % 12 + 1,
                    n % 28 + 1,
                    n % 24
                )
            }),
            Self::Interval => numbered(&|n| format!("{n} days {:02}:33:22", n % 24)),
            Self::Uuid => numbered(&|n| {
                format!(
                    "6f1c2a9e-0b7d-4f57-9d3c-{:012x}",
                    u64::from(n) << 33 | 0xbeef
                )
            }),
            Self::Address => numbered(&|n| match n % 4 {
                0 => format!("2a02:8109:{n:x}::17"),
                1 => format!("84.133.{n}.0/24"),
                _ => format!("84.133.{n}.19"),
            }),
            Self::Mac => numbered(&|n| format!("3c:22:fb:01:{n:02x}:{:02x}", n * 5)),
            Self::Json => {
                numbered(&|n| format!("{{\"a\": [\"b{n}\", 1{n}, 20{n}, 300{n}, true]}}"))
            }
            Self::Point => numbered(&|n| format!("({}.5,{}.25)", n, n * 2)),
            Self::Array(items) => array_samples(items),
            Self::Hstore => numbered(&|n| format!("\"a\"=>\"b{n}\"")),
            // How many fields there are is not known.
            Self::Composite => numbered(&|n| format!("({})", vec!["7"; n as usize].join(","))),
            Self::Range => numbered(&|n| format!("[{n},{})", n * 10)),
        }
    }

    /// Returns the masks that make values of the form from values of it.
    pub(crate) fn suited(&self) -> &'static [&'static str] {
        match self {
            Self::Free => &[],
            Self::Integer(16) => &["permute_int", "noise", "bucket", "const", "null"],
            // `shift_date` moves Unix times, which 16 bits do not hold.
            Self::Integer(_) => &[
                "permute_int",
                "noise",
                "bucket",
                "shift_date",
                "const",
                "null",
            ],
            Self::Decimal => &["noise", "bucket", "geo", "const", "null"],
            Self::Date | Self::Timestamp => &["shift_date", "dict", "const", "null"],
            Self::Uuid => &["uuid", "dict", "const", "null"],
            Self::Address => &["ip", "dict", "const", "null"],
            Self::Mac => &["mac", "dict", "const", "null"],
            Self::Json => &["json", "dict", "const", "null"],
            Self::Point => &["geo", "dict", "const", "null"],
            Self::Array(_) => &["array", "dict", "const", "null"],
            Self::Hstore => &["hstore", "dict", "const", "null"],
            Self::Composite => &["composite", "dict", "const", "null"],
            Self::Boolean | Self::Time | Self::Interval | Self::Range => &["dict", "const", "null"],
        }
    }
}

/// Reports whether a number of so many bits can be `number`.
pub(crate) fn takes_integer(bits: u32, number: i64) -> bool {
    let spare = 64 - bits.clamp(1, 64);
    number << spare >> spare == number
}

fn array_samples(items: &ValueForm) -> Vec<String> {
    let mut samples = items.samples();
    if samples.is_empty() {
        samples = (1..=SAMPLES).map(|n| format!("word{n}")).collect();
    }
    let quoted = |text: &String| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
    let arrays = samples
        .iter()
        .map(|item| format!("{{{},NULL}}", quoted(item)));
    arrays.collect()
}

fn is_boolean(text: &str) -> bool {
    let text = text.trim().to_ascii_lowercase();
    let word = |word: &str| !text.is_empty() && word.starts_with(&text);
    // `o` alone is neither `on` nor `off`.
    word("true")
        || word("false")
        || word("yes")
        || word("no")
        || ["on", "of", "off", "1", "0"].contains(&&*text)
}

const WITHOUT_END: [&str; 2] = ["infinity", "-infinity"];

/// A date, perhaps with a time behind it.
fn is_timestamp(text: &str) -> bool {
    let text = text.trim();
    let text = text.strip_suffix(" BC").unwrap_or(text);
    if WITHOUT_END.contains(&text) {
        return true;
    }
    let (date, time) = match text.find(['T', ' ']) {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    };
    is_date(date) && time.is_none_or(is_time)
}

fn is_date(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let [year, month, day] = parts[..] else {
        return false;
    };
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !(4..=7).contains(&year.len())
        || month.len() != 2
        || day.len() != 2
        || !parts.iter().all(|part| digits(part))
    {
        return false;
    }
    let number = |text: &str| text.parse::<u32>().unwrap_or(0);
    let (year, month, day) = (number(year), number(month), number(day));
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        2 => 28 + u32::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => 0,
    };
    (1..=days).contains(&day)
}

/// A time of day, perhaps with a zone behind it.
fn is_time(text: &str) -> bool {
    let text = text.trim();
    let at = text.find(['+', '-', 'Z', ' ']).unwrap_or(text.len());
    let (time, zone) = text.split_at(at);
    let parts: Vec<&str> = time.split(':').collect();
    let two_digits = |part: &str| part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit());
    let below = |part: &str, end: u32| {
        two_digits(part) && part.parse::<u32>().is_ok_and(|number| number < end)
    };
    let seconds = |part: &str| {
        let (whole, fraction) = part.split_once('.').unwrap_or((part, ""));
        below(whole, 61) && fraction.bytes().all(|byte| byte.is_ascii_digit())
    };
    let of_day = match parts[..] {
        [hour, minute] => below(hour, 25) && below(minute, 60),
        [hour, minute, second] => below(hour, 25) && below(minute, 60) && seconds(second),
        _ => false,
    };
    let zone = zone.trim();
    let offset = |zone: &str| zone.split(':').all(two_digits);
    of_day
        && (matches!(zone, "" | "Z" | "UTC") || zone.strip_prefix(['+', '-']).is_some_and(offset))
}

/// Numbers with units, times, or the form of ISO 8601.
fn is_interval(text: &str) -> bool {
    const UNITS: [&str; 12] = [
        "year", "mon", "month", "week", "day", "hour", "min", "minute", "sec", "second", "ms",
        "ago",
    ];
    if let Some(iso) = text.strip_prefix('P') {
        return !iso.is_empty()
            && iso
                .bytes()
                .all(|byte| byte.is_ascii_digit() || b"YMWDTHS.+-".contains(&byte));
    }
    let mut numbers = 0;
    let mut word = |word: &str| {
        let amount = word.trim_start_matches(['+', '-', '@']);
        if amount.starts_with(|c: char| c.is_ascii_digit()) {
            numbers += 1;
            return is_amount(amount);
        }
        UNITS.contains(&word)
            || word
                .strip_suffix('s')
                .is_some_and(|unit| UNITS.contains(&unit))
    };
    text.split_whitespace().all(&mut word) && numbers > 0
}

/// A number, or hours, minutes and seconds.
fn is_amount(text: &str) -> bool {
    let mut parts = text.split(':').enumerate();
    parts.all(|(n, part)| {
        let number = part
            .parse::<f64>()
            .is_ok_and(|number| n == 0 || number < 60.0);
        number
            && part
                .bytes()
                .all(|byte| byte.is_ascii_digit() || byte == b'.')
    })
}

/// 32 hex digits, in groups of four or of several fours.
fn is_uuid(text: &str) -> bool {
    let text = text.trim();
    let inner = text
        .strip_prefix('{')
        .and_then(|text| text.strip_suffix('}'));
    let groups = inner.unwrap_or(text).split('-');
    let mut digits = 0;
    let mut group = |group: &str| {
        digits += group.len();
        !group.is_empty()
            && group.len().is_multiple_of(4)
            && group.bytes().all(|byte| byte.is_ascii_hexdigit())
    };
    groups.into_iter().all(&mut group) && digits == 32
}

fn is_address(text: &str) -> bool {
    let (address, bits) = match text.split_once('/') {
        Some((address, bits)) => (address, Some(bits)),
        None => (text, None),
    };
    let Ok(address) = address.trim().parse::<IpAddr>() else {
        return false;
    };
    let most = if address.is_ipv4() { 32 } else { 128 };
    bits.is_none_or(|bits| bits.parse::<u8>().is_ok_and(|bits| bits <= most))
}

/// Six bytes, or eight.
fn is_mac(text: &str) -> bool {
    let digits = text.bytes().filter(u8::is_ascii_hexdigit).count();
    let signs = text
        .bytes()
        .all(|byte| byte.is_ascii_hexdigit() || b":-.".contains(&byte));
    signs && matches!(digits, 12 | 16)
}

fn is_point(text: &str) -> bool {
    let text = text.trim();
    let inner = text
        .strip_prefix('(')
        .and_then(|text| text.strip_suffix(')'));
    let pair = inner.unwrap_or(text).split_once(',');
    pair.is_some_and(|(x, y)| {
        [x, y]
            .iter()
            .all(|number| number.trim().parse::<f64>().is_ok())
    })
}

fn is_range(text: &str) -> bool {
    let text = text.trim();
    if text == "empty" || text.starts_with('{') && text.ends_with('}') {
        return true;
    }
    text.starts_with(['[', '(']) && text.ends_with([']', ')']) && text.contains(',')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forms() -> Vec<ValueForm> {
        use ValueForm::*;
        let mut forms = vec![
            Integer(16),
            Integer(32),
            Integer(64),
            Decimal,
            Boolean,
            Date,
            Time,
            Timestamp,
            Interval,
            Uuid,
            Address,
            Mac,
            Json,
            Point,
            Hstore,
            Composite,
            Range,
        ];
        forms.extend(forms.clone().into_iter().map(|form| Array(Box::new(form))));
        forms
    }

    #[test]
    fn each_form_takes_its_own_values_and_no_words() {
        for form in forms() {
            let samples = form.samples();
            assert!(samples.len() > 1, "{form:?}");
            for sample in samples {
                assert!(form.takes(&sample), "{form:?}: {sample}");
            }
            for word in ["[redacted]", "Lina Hallowstow", "x@example.org"] {
                // Nothing is asked of the ends of a range but their brackets.
                assert!(
                    !form.takes(word) || form == ValueForm::Free,
                    "{form:?}: {word}"
                );
            }
        }
    }

    #[test]
    fn what_a_server_writes_is_taken_and_what_it_refuses_is_not() {
        use ValueForm::*;
        for (form, good, bad) in [
            (Integer(16), "-32768", "32768"),
            (Integer(64), "9223372036854775807", "9223372036854775808"),
            (Decimal, "NaN", "1,5"),
            (Boolean, "yes", "o"),
            (Date, "2024-02-29", "2023-02-29"),
            (Date, "infinity", "31.05.2024"),
            (Timestamp, "0044-03-15 10:00:00 BC", "2024-05-31 Maria"),
            (
                Timestamp,
                "2024-05-31T10:33:22.123+02:00",
                "2024-05-31 25:33",
            ),
            (Time, "10:33:22.5+02", "10"),
            (Interval, "-1 year -2 mons +3 days 04:05:06.7", "Maria"),
            (Interval, "P1Y2M", "1 moon"),
            (
                Uuid,
                "6F1C2A9E0B7D4F579D3C1B1F8F0F6A11",
                "6f1c2a9e-0b7d-4f57-9d3c-1b1f8f0f6a1",
            ),
            (Address, "10.0.0.0/8", "10.0.0.0/33"),
            (Address, "::ffff:10.0.0.1", "300.1.2.3"),
            (Mac, "02-0c-ba-8c-14-6a", "02:0c:ba:8c:14"),
            (Json, "\"x\"", "x"),
            (Point, "52.5,13.4", "52.5"),
            (Array(Box::new(Address)), "{10.1.2.3,NULL}", "{10.1.2.3,x}"),
            (Hstore, "a=>NULL", "a"),
            (Composite, "(a,,\"b c\")", "a,b"),
            (Range, "[2024-01-01,)", "2024-01-01"),
        ] {
            assert!(form.takes(good), "{form:?}: {good}");
            assert!(!form.takes(bad), "{form:?}: {bad}");
        }
    }
}
