//! Characters that stand for numerals: what masks that keep a value's form replace.

/// The characters that a mask replaces by others of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Alphabet {
    Digits,
    Lower,
    Upper,
}

impl Alphabet {
    pub(super) const NAMES: [(&'static str, Alphabet); 3] = [
        ("digits", Alphabet::Digits),
        ("digits+lower", Alphabet::Lower),
        ("digits+upper", Alphabet::Upper),
    ];

    pub(crate) fn radix(self) -> u64 {
        match self {
            Self::Digits => 10,
            Self::Lower | Self::Upper => 36,
        }
    }

    pub(crate) fn numeral(self, byte: u8) -> Option<u8> {
        match (self, byte) {
            (_, b'0'..=b'9') => Some(byte - b'0'),
            (Self::Lower, b'a'..=b'z') => Some(byte - b'a' + 10),
            (Self::Upper, b'A'..=b'Z') => Some(byte - b'A' + 10),
            _ => None,
        }
    }

    pub(crate) fn character(self, numeral: u8) -> u8 {
        match (numeral, self) {
            (0..=9, _) => b'0' + numeral,
            (_, Self::Upper) => b'A' + numeral - 10,
            _ => b'a' + numeral - 10,
        }
    }
}
