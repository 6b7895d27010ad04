//! How values are evened out before they are compared: the same for originals and for output.

/// Most words of a value that is looked for inside longer text.
pub(super) const WORDS_MAX: usize = 8;

/// Fewest bytes a value must have to be more than chance.
pub(super) const BYTES_MIN: usize = 6;

/// Fewest digits for which grouping is ignored.
pub(super) const DIGITS_MIN: usize = 8;

/// Words in lower case with single blanks between them. Reused for many texts.
#[derive(Debug, Default)]
pub(super) struct Words {
    text: Vec<u8>,
    spans: Vec<(u32, u32)>,
}

/// What a byte is to a word.
#[derive(Clone, Copy, PartialEq)]
enum Class {
    /// It belongs to a word.
    Inner,
    /// It stands inside words and values, but at their ends belongs to the sentence.
    Fringe,
    /// It lies between words.
    Divides,
}

const CLASSES: [Class; 256] = {
    let mut classes = [Class::Inner; 256];
    let divides = b" \t\n\r\x0c,;:()<>[]{}\"'`|=\\/";
    let mut n = 0;
    while n < divides.len() {
        classes[divides[n] as usize] = Class::Divides;
        n += 1;
    }
    let fringe = b".!?*-_#";
    let mut n = 0;
    while n < fringe.len() {
        classes[fringe[n] as usize] = Class::Fringe;
        n += 1;
    }
    classes
};

impl Words {
    /// Takes a text apart.
    pub(super) fn read(&mut self, text: &[u8]) {
        self.text.clear();
        self.spans.clear();
        if text.is_ascii() {
            self.split(text);
        } else {
            self.split(String::from_utf8_lossy(text).to_lowercase().as_bytes());
        }
    }

    /// Puts each word behind the last, with one blank between them.
    fn split(&mut self, text: &[u8]) {
        let mut at = 0;
        while at < text.len() {
            let rest = &text[at..];
            let skipped = rest.iter().position(|byte| class(*byte) == Class::Inner);
            let Some(skipped) = skipped else { return };
            let rest = &rest[skipped..];
            let end = rest.iter().position(|byte| class(*byte) == Class::Divides);
            let end = end.unwrap_or(rest.len());
            let inner = rest[..end].iter();
            let last = inner.rev().position(|byte| class(*byte) == Class::Inner);
            let kept = end - last.expect("the first byte belongs to the word");
            self.push(&rest[..kept]);
            at += skipped + end;
        }
    }

    fn push(&mut self, word: &[u8]) {
        if !self.spans.is_empty() {
            self.text.push(b' ');
        }
        let start = self.text.len();
        self.text.extend_from_slice(word);
        self.text[start..].make_ascii_lowercase();
        self.spans.push((start as u32, self.text.len() as u32));
    }

    /// Returns the whole text, evened out.
    pub(super) fn whole(&self) -> &[u8] {
        &self.text
    }

    /// Returns how many words there are.
    pub(super) fn len(&self) -> usize {
        self.spans.len()
    }

    /// Iterates over the words.
    pub(super) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let spans = self.spans.iter();
        spans.map(|(start, end)| &self.text[*start as usize..*end as usize])
    }

    /// Returns the `count` words from word `first` on, if there are as many.
    pub(super) fn run(&self, first: usize, count: usize) -> Option<&[u8]> {
        let (start, _) = self.spans[first];
        let (_, end) = self.spans.get(first + count - 1)?;
        Some(&self.text[start as usize..*end as usize])
    }
}

#[inline]
fn class(byte: u8) -> Class {
    CLASSES[usize::from(byte)]
}

/// Returns the digits of a value that has no letters and enough of them, in `digits`.
pub(super) fn digits_of<'d>(value: &[u8], digits: &'d mut Vec<u8>) -> Option<&'d [u8]> {
    digits.clear();
    for byte in value {
        match byte {
            b'0'..=b'9' => digits.push(*byte),
            b'a'..=b'z' | b'A'..=b'Z' | 0x80.. => return None,
            _ => {}
        }
    }
    (digits.len() >= DIGITS_MIN).then_some(digits)
}

/// First words of values that have several, as a set that may hold too much.
///
/// A text is full of words, and only a run that starts like an original can be one.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct FirstWords(Vec<u64>);

impl Default for FirstWords {
    fn default() -> Self {
        Self(vec![0; 1 << (Self::BITS - 6)])
    }
}

impl FirstWords {
    const BITS: u32 = 18;

    /// Adds a word.
    pub(super) fn insert(&mut self, word: &[u8]) {
        let place = Self::place(word);
        self.0[place / 64] |= 1 << (place % 64);
    }

    /// Reports whether a word may be in the set.
    #[inline]
    pub(super) fn may_hold(&self, word: &[u8]) -> bool {
        let place = Self::place(word);
        self.0[place / 64] >> (place % 64) & 1 == 1
    }

    /// Adds all words of another set.
    pub(super) fn merge(&mut self, other: &Self) {
        for (ours, theirs) in self.0.iter_mut().zip(&other.0) {
            *ours |= theirs;
        }
    }

    fn place(word: &[u8]) -> usize {
        let mixed = word.iter().fold(word.len() as u64, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        });
        (mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - Self::BITS)) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_reads_alike_alone_and_in_a_sentence() {
        let mut alone = Words::default();
        alone.read("Jürgen  O'Brien-Smith".as_bytes());
        assert_eq!(alone.whole(), "jürgen o brien-smith".as_bytes());
        let mut inside = Words::default();
        inside.read("(Re: JÜRGEN O'Brien-Smith.)".as_bytes());
        let mut runs = (0..inside.len()).map(|first| inside.run(first, alone.len()));
        assert!(runs.any(|run| run == Some(alone.whole())));
        let first = alone.iter().next().unwrap();
        let mut first_words = FirstWords::default();
        assert!(!first_words.may_hold(first));
        first_words.insert(first);
        assert!(inside.iter().any(|word| first_words.may_hold(word)));
    }

    #[test]
    fn grouping_of_digits_does_not_matter() {
        let mut digits = Vec::new();
        let found = digits_of(b"+49 (171) 234", &mut digits);
        assert_eq!(found, Some(&b"49171234"[..]));
        assert_eq!(digits_of(b"1234567", &mut digits), None);
        assert_eq!(digits_of(b"12345678a", &mut digits), None);
    }
}
