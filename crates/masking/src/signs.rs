//! What stands in a text, seen in one pass over its bytes: decides what is worth a closer look, and
//! where its words are. A sign that is missing must prove that nothing is there.

/// Belongs to a word. What neither does nor divides stands inside words and values, but at their ends
/// belongs to the sentence.
const INNER: u8 = 1;
/// Lies between words.
const DIVIDES: u8 = 1 << 1;
const UPPER: u8 = 1 << 2;
const LOWER: u8 = 1 << 3;
const AT: u8 = 1 << 4;
const COLON: u8 = 1 << 5;
const BEYOND_ASCII: u8 = 1 << 6;

const CLASSES: [u8; 256] = {
    let mut classes = [INNER; 256];
    let mut byte = 0;
    while byte < 256 {
        classes[byte] |= match byte as u8 {
            b'A'..=b'Z' => UPPER,
            b'a'..=b'z' => LOWER,
            b'@' => AT,
            0x80.. => BEYOND_ASCII,
            _ => 0,
        };
        byte += 1;
    }
    let divides = b" \t\n\r\x0b\x0c,;:()<>[]{}\"'`|=\\/";
    let mut n = 0;
    while n < divides.len() {
        classes[divides[n] as usize] = DIVIDES;
        n += 1;
    }
    classes[b':' as usize] |= COLON;
    let fringe = b".!?*-_#";
    let mut n = 0;
    while n < fringe.len() {
        classes[fringe[n] as usize] = 0;
        n += 1;
    }
    classes
};

/// By byte: how many digits it is, and in the high half how many dashes.
const COUNTS: [u64; 256] = {
    let mut counts = [0; 256];
    let mut byte = b'0';
    while byte <= b'9' {
        counts[byte as usize] = 1;
        byte += 1;
    }
    counts[b'-' as usize] = 1 << 32;
    counts
};

/// The signs of one text of less than 4 GiB.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Signs {
    classes: u8,
    counts: u64,
    /// Longest stretch without a byte that divides, from the first byte on that belongs to a word.
    longest: usize,
}

impl Signs {
    /// Looks at a text.
    pub(crate) fn of(text: &[u8]) -> Self {
        Self::and_words(text, |_, _| {})
    }

    /// Looks at a text, and calls `word` with where each word starts and ends.
    ///
    /// Texts are short: looking at many bytes at once was tried, and costs more than it saves.
    #[inline(always)]
    pub(crate) fn and_words(text: &[u8], mut word: impl FnMut(usize, usize)) -> Self {
        let (mut classes, mut counts, mut longest) = (0, 0_u64, 0);
        let mut bytes = text.iter().enumerate();
        let mut look = |byte: u8| {
            let class = CLASSES[usize::from(byte)];
            classes |= class;
            counts = counts.wrapping_add(COUNTS[usize::from(byte)]);
            class
        };
        while let Some((first, byte)) = bytes.next() {
            if look(*byte) & INNER == 0 {
                continue;
            }
            let (mut last, mut end) = (first, text.len());
            for (at, byte) in bytes.by_ref() {
                let class = look(*byte);
                if class & DIVIDES != 0 {
                    end = at;
                    break;
                }
                last = if class & INNER != 0 { at } else { last };
            }
            longest = longest.max(end - first);
            word(first, last + 1);
        }
        Self {
            classes,
            counts,
            longest,
        }
    }

    #[inline]
    fn any(&self, classes: u8) -> bool {
        self.classes & classes != 0
    }

    /// Returns how many digits there are.
    #[inline]
    pub(crate) fn digits(&self) -> usize {
        self.counts as u32 as usize
    }

    /// Returns how many dashes there are.
    #[inline]
    pub(crate) fn dashes(&self) -> usize {
        (self.counts >> 32) as usize
    }

    /// Reports whether there is an `@`.
    pub(crate) fn has_at(&self) -> bool {
        self.any(AT)
    }

    /// Reports whether there is a colon.
    pub(crate) fn has_colon(&self) -> bool {
        self.any(COLON)
    }

    /// Reports whether there is an upper case letter of ASCII.
    pub(crate) fn has_upper(&self) -> bool {
        self.any(UPPER)
    }

    /// Reports whether there is a lower case letter of ASCII.
    pub(crate) fn has_lower(&self) -> bool {
        self.any(LOWER)
    }

    /// Reports whether there is a letter, or what may be one.
    pub(crate) fn has_letters(&self) -> bool {
        self.any(UPPER | LOWER | BEYOND_ASCII)
    }

    /// Reports whether all bytes are ASCII.
    pub(crate) fn is_ascii(&self) -> bool {
        !self.any(BEYOND_ASCII)
    }

    /// Returns the length of the longest stretch that nothing divides: no run of letters, digits,
    /// dots, dashes and underscores that starts with a letter or digit is longer.
    pub(crate) fn longest(&self) -> usize {
        self.longest
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The same, byte by byte.
    fn plainly(text: &[u8]) -> (Vec<(usize, usize)>, usize) {
        let divides = |byte: &u8| b" \t\n\x0b\x0c\r,;:()<>[]{}\"'`|=\\/".contains(byte);
        let fringe = |byte: &u8| b".!?*-_#".contains(byte);
        let (mut words, mut longest, mut at) = (Vec::new(), 0, 0);
        for part in text.split(|byte| divides(byte)) {
            if let Some(start) = part.iter().position(|byte| !fringe(byte)) {
                let last = part.iter().rposition(|byte| !fringe(byte)).unwrap();
                words.push((at + start, at + last + 1));
                longest = longest.max(part.len() - start);
            }
            at += part.len() + 1;
        }
        (words, longest)
    }

    fn check(text: &[u8]) {
        let mut words = Vec::new();
        let signs = Signs::and_words(text, |start, end| words.push((start, end)));
        assert_eq!(
            (words, signs.longest),
            plainly(text),
            "{}",
            text.escape_ascii()
        );
        let count = |is: &dyn Fn(&u8) -> bool| text.iter().filter(|byte| is(byte)).count();
        assert_eq!(signs.digits(), count(&|byte| byte.is_ascii_digit()));
        assert_eq!(signs.dashes(), count(&|byte| *byte == b'-'));
        assert_eq!(signs.has_at(), text.contains(&b'@'));
        assert_eq!(signs.has_colon(), text.contains(&b':'));
        assert_eq!(signs.is_ascii(), text.is_ascii());
        let any = |is: &dyn Fn(&u8) -> bool| text.iter().any(is);
        assert_eq!(signs.has_upper(), any(&u8::is_ascii_uppercase));
        assert_eq!(signs.has_lower(), any(&u8::is_ascii_lowercase));
        let letter = |byte: &u8| byte.is_ascii_alphabetic() || !byte.is_ascii();
        assert_eq!(signs.has_letters(), any(&letter));
    }

    #[test]
    fn every_byte_in_every_place_is_seen() {
        for len in [1, 7, 8, 15, 16, 17, 63, 64, 65, 130] {
            for at in 0..len {
                for byte in 0..=255 {
                    let mut text = vec![b'a'; len];
                    text[at] = byte;
                    check(&text);
                    let mut text = vec![b' '; len];
                    text[at] = byte;
                    check(&text);
                }
            }
        }
    }

    proptest! {
        #[test]
        fn words_are_those_that_a_walk_by_bytes_finds(
            text in prop::collection::vec(
                prop::sample::select(&b"ab A7-._@: ,/{\xc3\xa4"[..]), 0..300),
            any: Vec<u8>,
        ) {
            check(&text);
            check(&any);
        }
    }
}
