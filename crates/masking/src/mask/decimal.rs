//! Decimal numbers as text, without the machinery of formatting.

/// Most digits of a 64-bit number, sign included.
const LEN_MAX: usize = 20;

/// Appends `number`.
#[inline]
pub(crate) fn push_decimal(number: u64, out: &mut Vec<u8>) {
    let mut buffer = [0; LEN_MAX];
    out.extend_from_slice(unsigned(number, &mut buffer));
}

/// Appends `number` with its sign.
#[inline]
pub(crate) fn push_signed(number: i64, out: &mut Vec<u8>) {
    let mut buffer = [0; LEN_MAX];
    out.extend_from_slice(signed(number, &mut buffer));
}

/// Appends `number` with at least `width` digits.
pub(crate) fn push_padded(number: u64, width: usize, out: &mut Vec<u8>) {
    let mut buffer = [0; LEN_MAX];
    let digits = unsigned(number, &mut buffer);
    out.extend(std::iter::repeat_n(
        b'0',
        width.saturating_sub(digits.len()),
    ));
    out.extend_from_slice(digits);
}

/// Writes `number` with its sign into the end of `buffer`, and returns that part.
#[inline]
pub(super) fn signed(number: i64, buffer: &mut [u8; LEN_MAX]) -> &[u8] {
    let digits = unsigned(number.unsigned_abs(), buffer).len();
    let mut start = LEN_MAX - digits;
    if number < 0 {
        start -= 1;
        buffer[start] = b'-';
    }
    &buffer[start..]
}

#[inline]
fn unsigned(mut number: u64, buffer: &mut [u8; LEN_MAX]) -> &[u8] {
    let mut start = LEN_MAX;
    loop {
        start -= 1;
        buffer[start] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return &buffer[start..];
        }
    }
}

/// Reads a whole number in its shortest form: what [`push_signed`] writes, and nothing else.
pub(crate) fn parse_signed(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    let shortest = match digits {
        [] => false,
        [b'0'] => !negative,
        [first, ..] => *first != b'0' && digits.len() < LEN_MAX,
    };
    if !shortest {
        return None;
    }
    let mut number = 0_u64;
    for digit in digits {
        let digit = digit.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        // Nineteen digits fit into 64 bits.
        number = number * 10 + u64::from(digit);
    }
    if negative {
        return 0_i64.checked_sub_unsigned(number);
    }
    i64::try_from(number).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn numbers_read_back_as_written(number: i64) {
            let mut out = Vec::new();
            push_signed(number, &mut out);
            prop_assert_eq!(std::str::from_utf8(&out).unwrap(), number.to_string());
            prop_assert_eq!(parse_signed(&out), Some(number));
        }
    }

    #[test]
    fn only_the_shortest_form_is_a_number() {
        for text in [
            "",
            "-",
            "-0",
            "007",
            "+1",
            "1.0",
            " 1",
            "9223372036854775808",
            "1e3",
        ] {
            assert_eq!(parse_signed(text.as_bytes()), None, "{text}");
        }
        for number in [i64::MIN, -1, 0, i64::MAX] {
            assert_eq!(parse_signed(number.to_string().as_bytes()), Some(number));
        }
        let mut out = Vec::new();
        push_padded(42, 5, &mut out);
        push_padded(123_456, 5, &mut out);
        push_decimal(u64::MAX, &mut out);
        assert_eq!(out, b"0004212345618446744073709551615");
    }
}
