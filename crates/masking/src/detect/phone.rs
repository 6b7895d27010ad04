//! Phone numbers: the forms people write, and the ranges nobody can have.
//!
//! Bare digits are no phone number here: too many ids look the same. The value reuse gate knows
//! the originals and needs no form.

use super::number::Phrase;

/// Country codes of one digit; all others have two or three.
const ONE_DIGIT: [u8; 2] = [b'1', b'7'];

/// First two digits that are a country code by themselves (ITU-T E.164).
const TWO_DIGITS: &[&[u8; 2]] = &[
    b"20", b"27", b"30", b"31", b"32", b"33", b"34", b"36", b"39", b"40", b"41", b"43", b"44",
    b"45", b"46", b"47", b"48", b"49", b"51", b"52", b"53", b"54", b"55", b"56", b"57", b"58",
    b"60", b"61", b"62", b"63", b"64", b"65", b"66", b"81", b"82", b"84", b"86", b"90", b"91",
    b"92", b"93", b"94", b"95", b"98",
];

/// Whether two digits are a country code, by the number they make.
const IS_TWO_DIGITS: [bool; 100] = {
    let mut is_code = [false; 100];
    let mut n = 0;
    while n < TWO_DIGITS.len() {
        let [first, second] = *TWO_DIGITS[n];
        is_code[((first - b'0') * 10 + second - b'0') as usize] = true;
        n += 1;
    }
    is_code
};

/// Returns how many of the digits after `+` are the country code.
pub(crate) fn country_code_len(digits: &[u8]) -> usize {
    match digits {
        [first, ..] if ONE_DIGIT.contains(first) => 1,
        [first @ b'0'..=b'9', second @ b'0'..=b'9', ..]
            if IS_TWO_DIGITS[usize::from((first - b'0') * 10 + second - b'0')] =>
        {
            2
        }
        _ => 3.min(digits.len()),
    }
}

/// Judges a phrase; `None` if it is no phone number.
pub(super) fn judge(phrase: &Phrase<'_>) -> Option<bool> {
    let digits = phrase.digits();
    let count = digits.len();
    if phrase.text.starts_with(b"+") {
        return (8..=15).contains(&count).then(|| international(digits));
    }
    let groups = phrase.groups();
    let separated = groups.len() >= 2;
    if digits.starts_with(b"00") && !digits.starts_with(b"000") {
        let matching = separated && (10..=17).contains(&count);
        return matching.then(|| international(&digits[2..]));
    }
    if is_nanp(groups, digits) {
        return Some(fictional_nanp(&digits[count - 10..]));
    }
    if is_brazilian(phrase) {
        // Of ten digits, our mask makes them as if they were North American.
        return Some(count == 10 && fictional_nanp(digits));
    }
    if is_grouped_in_pairs(phrase) || is_norwegian(phrase) {
        return Some(false);
    }
    // A trunk zero and at least two groups, the first of them an area code.
    let national = digits[0] == b'0'
        && separated
        && (9..=12).contains(&count)
        && (3..=6).contains(&groups[0])
        && groups.len() <= 5
        && phrase.separated_by(b" -/()");
    national.then(|| digits.starts_with(b"000"))
}

/// `49 3619-1316`, `(11) 98315-7349`: area, then two groups with a dash between.
fn is_brazilian(phrase: &Phrase<'_>) -> bool {
    let dash = phrase.text.len() >= 5 && phrase.text[phrase.text.len() - 5] == b'-';
    matches!(phrase.groups(), [2, 4 | 5, 4])
        && dash
        && phrase.digits()[0] != b'0'
        && phrase.text.iter().filter(|byte| **byte == b'-').count() == 1
        && phrase.separated_by(b" -()")
}

/// `02 47 68 93 77` in France, `08-72 47 02` in Sweden.
fn is_grouped_in_pairs(phrase: &Phrase<'_>) -> bool {
    let trunk = matches!(phrase.digits(), [b'0', b'1'..=b'9', ..]);
    let french = phrase.groups() == [2, 2, 2, 2, 2]
        && (phrase.separated_by(b" ") || phrase.separated_by(b"."));
    let swedish = matches!(phrase.groups(), [2, 2 | 3, 2 | 3, 2] | [2, 3, 3])
        && phrase.text[2] == b'-'
        && phrase.separated_by(b" -")
        && phrase.text[3..].iter().all(|byte| *byte != b'-');
    trunk && (french || swedish)
}

/// `985 58 964`: mobile numbers, which start with 4 or 9.
fn is_norwegian(phrase: &Phrase<'_>) -> bool {
    phrase.groups() == [3, 2, 3]
        && matches!(phrase.digits()[0], b'4' | b'9')
        && phrase.separated_by(b" ")
}

/// `212-736-5000` with or without a leading 1, in the usual separators.
fn is_nanp(groups: &[u8], digits: &[u8]) -> bool {
    let grouped =
        matches!(groups, [3, 3, 4]) || matches!(groups, [1, 3, 3, 4]) && digits[0] == b'1';
    let area = &digits[digits.len().saturating_sub(10)..];
    grouped && area[0] >= b'2' && area[3] >= b'2'
}

/// 555-0100 to 555-0199 are set aside for fiction in every North American area.
fn fictional_nanp(ten: &[u8]) -> bool {
    ten[3..8] == *b"55501"
}

/// No numbering plan gives out national numbers that start with 00; our `phone` mask does.
fn international(digits: &[u8]) -> bool {
    let national = &digits[country_code_len(digits)..];
    let nanp = digits[0] == b'1' && national.len() == 10;
    if nanp {
        fictional_nanp(national)
    } else {
        national.starts_with(b"00")
    }
}
