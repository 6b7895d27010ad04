//! `shift_date`: moves dates by a number of days that belongs to a subject, so that the intervals
//! between one subject's dates stay.

use std::sync::Arc;

use super::{
    Binder, Context, Distinct, Fault, Identity, Made, Mask, Options, Reuse, Traits, parse_signed,
    push_signed, text_of,
};
use crate::batch::Cell;
use crate::schema::ColumnType;

const DAY_SECS: i64 = 86_400;

/// Unix times from here on are milliseconds: in seconds this is the year 5138.
const MILLIS_FROM: u64 = 100_000_000_000;

#[derive(Debug)]
struct ShiftDate {
    max_days: i64,
    format: Format,
    by: Option<String>,
    by_index: Option<usize>,
}

pub(super) fn shift_date(options: &Options<'_>) -> Option<Arc<dyn Mask>> {
    let max_days = options.integer("max_days", 1..=36_500, 30)?;
    let by = options.reader.string("by");
    let format = match options.reader.string("format") {
        None => Format::ISO,
        Some(text) => match Format::parse(&text) {
            Some(format) => format,
            None => {
                let message = format!("`{text}` is no form of a date");
                let hint = "write it with YYYY, MM and DD, such as `DD.MM.YYYY`".to_owned();
                options.reader.reject("format", message, Some(hint));
                return None;
            }
        },
    };
    Options::done(ShiftDate {
        max_days,
        format,
        by,
        by_index: None,
    })
}

impl ShiftDate {
    /// Returns the shift in days: never zero, as far back as forth.
    fn days(&self, cx: &Context<'_>, input: Cell<'_>) -> i64 {
        let subject = self.by_index.map_or(input, |at| cx.row.original.cell(at));
        let drawn = cx.digest(subject).below(2 * self.max_days as u64) as i64;
        if drawn < self.max_days {
            drawn - self.max_days
        } else {
            drawn - self.max_days + 1
        }
    }
}

impl ShiftDate {
    /// Moves a Unix time.
    fn moved(&self, time: i64, days: i64) -> Result<i64, Fault> {
        let millis = time.unsigned_abs() >= MILLIS_FROM;
        let unit = if millis { 1000 * DAY_SECS } else { DAY_SECS };
        time.checked_add(days * unit).ok_or(TOO_FAR)
    }
}

impl Mask for ShiftDate {
    fn traits(&self) -> Traits {
        Traits {
            types: &[ColumnType::Text, ColumnType::Integer],
            distinct: Distinct::Few,
            max_len: None,
            reuse: Reuse::Overlaps,
            // The shift is never zero.
            identity: Identity::Chance(0.0),
        }
    }

    fn apply(&self, input: Cell<'_>, cx: &Context<'_>, out: &mut Vec<u8>) -> Result<Made, Fault> {
        let days = self.days(cx, input);
        if let Cell::Integer(time) = input {
            return self.moved(time, days).map(Made::Integer);
        }
        let text = text_of(input)?;
        if let Some(time) = parse_signed(text.as_bytes()).filter(|_| self.format == Format::ISO) {
            // A column without a type holds Unix times as text.
            push_signed(self.moved(time, days)?, out);
            return Ok(Made::Text);
        }
        let (date, time) = self.format.split(text).ok_or(NOT_A_DATE)?;
        let (year, month, day) = civil(to_days(date) + days);
        if !(0..=9999).contains(&year) {
            return Err(TOO_FAR);
        }
        self.format.push((year, month, day), out);
        out.extend_from_slice(time.as_bytes());
        Ok(Made::Text)
    }

    fn lets_pass(&self, input: Cell<'_>) -> bool {
        // How PostgreSQL writes a time before and after all others.
        matches!(input, Cell::Text(b"infinity" | b"-infinity"))
    }

    fn bind(&self, binder: &Binder<'_>) -> Result<Option<Arc<dyn Mask>>, String> {
        let Some(by) = &self.by else {
            return Ok(None);
        };
        let by_index =
            (binder.position)(by).ok_or_else(|| format!("`by` names no column `{by}`"))?;
        Ok(Some(Arc::new(ShiftDate {
            max_days: self.max_days,
            format: self.format,
            by: self.by.clone(),
            by_index: Some(by_index),
        })))
    }

    fn reads(&self) -> Option<usize> {
        self.by_index
    }
}

const NOT_A_DATE: Fault = Fault::new("the value is not a date in the form that the rule names");
const TOO_FAR: Fault = Fault::new("the shifted date leaves the calendar");

/// Year, month and day.
type Date = (i64, i64, i64);

/// How a date is written: where its parts start, and what stands at each place.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Format {
    pattern: [u8; Format::LEN_MAX],
    len: usize,
    year: usize,
    month: usize,
    day: usize,
}

impl Format {
    const LEN_MAX: usize = 10;

    /// `2024-05-31`.
    const ISO: Self = Self {
        pattern: *b"YYYY-MM-DD",
        len: 10,
        year: 0,
        month: 5,
        day: 8,
    };

    /// Reads `DD.MM.YYYY` and its like; between the parts stands one sign, or nothing.
    fn parse(text: &str) -> Option<Self> {
        let mut pattern = [0; Self::LEN_MAX];
        pattern
            .get_mut(..text.len())?
            .copy_from_slice(text.as_bytes());
        let sign = |byte: u8| b"YMD-./ ".contains(&byte);
        let count = |letter: u8| text.bytes().filter(|byte| *byte == letter).count();
        let whole = text.bytes().all(sign) && (count(b'Y'), count(b'M'), count(b'D')) == (4, 2, 2);
        whole.then_some(Self {
            pattern,
            len: text.len(),
            year: text.find("YYYY")?,
            month: text.find("MM")?,
            day: text.find("DD")?,
        })
    }

    /// Splits a date from the time of day behind it, which must look like one.
    fn split(self, text: &str) -> Option<(Date, &str)> {
        let (date, time) = text.split_at_checked(self.len)?;
        let signs = date.bytes().zip(self.pattern);
        let fits = |(byte, sign): (u8, u8)| match sign {
            b'Y' | b'M' | b'D' => byte.is_ascii_digit(),
            sign => byte == sign,
        };
        if !signs.into_iter().all(fits) {
            return None;
        }
        let number = |start: usize, len: usize| date[start..start + len].parse::<i64>().ok();
        let parsed = (
            number(self.year, 4)?,
            number(self.month, 2)?,
            number(self.day, 2)?,
        );
        // What follows is copied, so it may be nothing but a time: no free text rides along.
        let is_time = time.is_empty()
            || time.len() <= 24
                && time.starts_with(['T', ' '])
                && time[1..]
                    .bytes()
                    .all(|byte| byte.is_ascii_digit() || b":.+-Z ".contains(&byte));
        (civil(to_days(parsed)) == parsed && is_time).then_some((parsed, time))
    }

    /// Appends a date.
    fn push(self, (year, month, day): Date, out: &mut Vec<u8>) {
        let mut text = self.pattern;
        for (start, width, number) in [
            (self.year, 4, year),
            (self.month, 2, month),
            (self.day, 2, day),
        ] {
            let mut rest = number;
            for digit in text[start..start + width].iter_mut().rev() {
                *digit = b'0' + (rest % 10) as u8;
                rest /= 10;
            }
        }
        out.extend_from_slice(&text[..self.len]);
    }
}

/// Returns days since 1970-01-01 in the Gregorian calendar; after Howard Hinnant, "chrono-Compatible
/// Low-Level Date Algorithms".
fn to_days((year, month, day): Date) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// The inverse of [`to_days`].
fn civil(days: i64) -> Date {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_dates_are_inverse() {
        assert_eq!(to_days((1970, 1, 1)), 0);
        assert_eq!(to_days((2024, 2, 29)), 19_782);
        for days in (-700_000..2_900_000).step_by(97) {
            assert_eq!(to_days(civil(days)), days);
        }
    }

    #[test]
    fn a_date_is_written_in_the_form_it_was_read() {
        for (pattern, date) in [
            ("DD.MM.YYYY", "31.05.2024"),
            ("MM/DD/YYYY", "05/31/2024"),
            ("YYYYMMDD", "20240531"),
            ("YYYY-MM-DD", "2024-05-31"),
        ] {
            let format = Format::parse(pattern).unwrap();
            let (parsed, rest) = format.split(date).unwrap();
            assert_eq!((parsed, rest), ((2024, 5, 31), ""));
            let mut out = Vec::new();
            format.push(parsed, &mut out);
            assert_eq!(out, date.as_bytes());
        }
        for bad in [
            "",
            "DD.MM.YY",
            "YYYY-MM-DD-",
            "YMYMYYDD",
            "DDxMMxYYYY",
            "YYYY-MM-DD hh",
        ] {
            assert!(Format::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn only_a_date_with_a_time_is_a_date() {
        for good in [
            "2024-02-29",
            "2024-05-31 10:33:22",
            "2024-05-31T10:33:22.123+02:00",
        ] {
            assert!(Format::ISO.split(good).is_some(), "{good}");
        }
        for bad in [
            "2023-02-29",
            "2024-13-01",
            "2024-05-31 Maria",
            "31.05.2024",
            "2024-05",
            "2024-5-310",
            "ä024-05-31",
            "+024-05-31",
        ] {
            assert!(Format::ISO.split(bad).is_none(), "{bad}");
        }
    }
}
