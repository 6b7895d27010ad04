//! Numbers written with separators: cards, phones, SSNs and IPv4 addresses, told apart by form.

use std::ops::Range;

use super::{Hit, HitKind, finance, national, network, phone};

/// Longest number looked at, in digits.
const DIGITS_MAX: usize = 24;

/// A run of digit groups as it stands in a text.
pub(super) struct Phrase<'t> {
    pub(super) text: &'t [u8],
    digits: [u8; DIGITS_MAX],
    digit_count: usize,
    /// Lengths of the digit groups.
    groups: [u8; DIGITS_MAX],
    group_count: usize,
}

/// Shortest number that means anything: an IPv4 address such as `10.1.2.3`. Phones have eight digits.
const BYTES_MIN: usize = 8;

pub(super) fn find(text: &[u8], hits: &mut Vec<Hit>) {
    let mut at = 0;
    while let Some(found) = text[at..].iter().position(|byte| byte.is_ascii_digit()) {
        let range = phrase_range(text, at, at + found);
        if range.len() >= BYTES_MIN && alone(text, &range) {
            hits.extend(classify(text, range.clone()));
        }
        at = range.end;
    }
}

/// Reports whether a text is a day and a time of day as databases write them, in which nothing is found:
/// `2024-05-12 10:33:22.123456+02`.
pub(super) fn is_timestamp(text: &[u8]) -> bool {
    const FORM: &[u8; 19] = b"0000-00-00 00:00:00";
    let Some((head, tail)) = text.split_first_chunk::<19>() else {
        return false;
    };
    let in_form = head.iter().zip(FORM).all(|(byte, form)| match form {
        b'0' => byte.is_ascii_digit(),
        form => byte == form,
    });
    let fraction = match tail {
        [b'.', digits @ ..] => {
            1 + digits
                .iter()
                .take_while(|byte| byte.is_ascii_digit())
                .count()
        }
        _ => 0,
    };
    let zone = &tail[fraction..];
    in_form && fraction <= 7 && matches!(zone, [] | [b'+' | b'-', b'0'..=b'9', b'0'..=b'9'])
}

/// Returns the run of digit groups whose first digit stands at `digit`, sign and bracket included.
pub(super) fn phrase_range(text: &[u8], from: usize, digit: usize) -> Range<usize> {
    let mut start = digit;
    for opening in [b'(', b'+'] {
        if start > from && text[start - 1] == opening {
            start -= 1;
        }
    }
    let mut end = digit;
    let mut separators = 0;
    for (n, byte) in text[digit..].iter().enumerate() {
        match byte {
            b'0'..=b'9' => {
                end = digit + n + 1;
                separators = 0;
            }
            // `) `, ` (` and ` / ` are the longest gaps that people leave.
            b' ' | b'-' | b'.' | b'/' | b'(' | b')' if separators < 3 => separators += 1,
            _ => break,
        }
    }
    start..end
}

/// Reports whether the run is no part of a word, an id or a decimal.
pub(super) fn alone(text: &[u8], range: &Range<usize>) -> bool {
    let before = range.start.checked_sub(1).map(|at| text[at]);
    let joined = |byte: u8| byte.is_ascii_alphanumeric() || b"_-:.,#".contains(&byte);
    let after = text.get(range.end).copied();
    // A plus sign starts a number wherever it stands: `tel:+49..`.
    let plus = text[range.start] == b'+';
    let joined = |byte: u8| joined(byte) && (!plus || byte.is_ascii_alphanumeric());
    let after_joined = |byte: u8| byte.is_ascii_alphanumeric() || b"_:".contains(&byte);
    !before.is_some_and(joined) && !after.is_some_and(after_joined)
}

pub(super) fn classify(text: &[u8], range: Range<usize>) -> Option<Hit> {
    let phrase = Phrase::new(&text[range.clone()])?;
    let (kind, synthetic) = phrase.judge()?;
    Some(Hit {
        kind,
        range,
        synthetic,
    })
}

impl<'t> Phrase<'t> {
    fn new(text: &'t [u8]) -> Option<Self> {
        let mut phrase = Self {
            text,
            digits: [0; DIGITS_MAX],
            digit_count: 0,
            groups: [0; DIGITS_MAX],
            group_count: 0,
        };
        let mut inside = false;
        for byte in text {
            if byte.is_ascii_digit() {
                phrase.group_count += usize::from(!inside);
                *phrase.digits.get_mut(phrase.digit_count)? = *byte;
                phrase.digit_count += 1;
                phrase.groups[phrase.group_count - 1] += 1;
            }
            inside = byte.is_ascii_digit();
        }
        Some(phrase)
    }

    pub(super) fn digits(&self) -> &[u8] {
        &self.digits[..self.digit_count]
    }

    /// Returns the lengths of the digit groups.
    pub(super) fn groups(&self) -> &[u8] {
        &self.groups[..self.group_count]
    }

    /// Reports whether all separators are among `allowed`.
    pub(super) fn separated_by(&self, allowed: &[u8]) -> bool {
        let mut bytes = self.text.iter();
        bytes.all(|byte| byte.is_ascii_digit() || allowed.contains(byte))
    }

    fn judge(&self) -> Option<(HitKind, bool)> {
        if self.is_date() {
            return None;
        }
        if let Some(synthetic) = national::judge(self) {
            return Some((HitKind::NationalId, synthetic));
        }
        if self.groups().len() == 4 && self.separated_by(b".") {
            return network::ipv4(self.text).map(|synthetic| (HitKind::Ip, synthetic));
        }
        if self.groups() == [3, 2, 4] && self.separated_by(b"-") {
            return self.ssn().map(|synthetic| (HitKind::Ssn, synthetic));
        }
        if self.separated_by(b" -") && self.card_groups() && finance::is_card(self.digits()) {
            return Some((HitKind::Card, finance::is_test_card(self.digits())));
        }
        phone::judge(self).map(|synthetic| (HitKind::Phone, synthetic))
    }

    /// `2024-05-12`, `12.05.2024`, `05/12/2024`, and a time behind it.
    fn is_date(&self) -> bool {
        matches!(
            self.groups(),
            [4, 2, 2, ..] | [2, 2, 4, ..] | [1, 2, 4, ..] | [2, 1, 4, ..] | [1, 1, 4, ..]
        ) && !self.text.starts_with(b"+")
            && !self.text.starts_with(b"(")
    }

    fn card_groups(&self) -> bool {
        match self.groups() {
            [_] | [4, 6, 5] | [4, 6, 4] => true,
            [full @ .., last] => full.iter().all(|len| *len == 4) && *last <= 4,
            [] => false,
        }
    }

    /// Area, group and serial of real numbers are never zero, the area never 666; 9xx is not
    /// given out.
    fn ssn(&self) -> Option<bool> {
        let (area, rest) = self.digits().split_at(3);
        let (group, serial) = rest.split_at(2);
        let valid = area != b"000" && area != b"666" && group != b"00" && serial != b"0000";
        valid.then_some(area[0] == b'9')
    }
}
