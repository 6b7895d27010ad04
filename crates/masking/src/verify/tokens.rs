//! How values are evened out before they are compared: the same for originals and for output.

use std::ops::Range;

use super::word_key::{PADDING, WordKey};
use crate::mask::push_decimal;
use crate::signs::Signs;

/// Most words of a value that is looked for inside longer text.
pub(super) const WORDS_MAX: usize = 8;

/// Fewest bytes a value must have to be more than chance.
pub(super) const BYTES_MIN: usize = 6;

/// Fewest digits for which grouping is ignored.
const DIGITS_MIN: usize = 8;

/// The words of a text in lower case, and their hashes. Reused for many texts.
#[derive(Default)]
pub(super) struct Words {
    /// Texts in lower case: those that were put in before, and behind them one that was not.
    lower: Vec<u8>,
    /// How much of `lower` was put in before.
    ahead: usize,
    spans: Vec<(usize, usize)>,
    pub(super) hashes: Vec<u64>,
}

impl Words {
    /// Puts in a stretch of bytes whose parts are texts, so that not each by itself has to be copied.
    pub(super) fn put_ahead(&mut self, bytes: &[u8]) {
        self.ahead = 0;
        self.put(bytes);
        self.ahead = bytes.len();
    }

    /// Takes apart a text that was put in before: the one at `range`.
    #[inline]
    pub(super) fn read_ahead(&mut self, text: &[u8], range: Range<usize>, key: &WordKey) -> Signs {
        let signs = self.split(text, range.start);
        if signs.is_ascii() {
            self.hash(key);
        } else {
            self.read_unicode(text, key);
        }
        signs
    }

    /// Takes a text apart.
    pub(super) fn read(&mut self, text: &[u8], key: &WordKey) -> Signs {
        self.put(text);
        let signs = self.split(text, self.ahead);
        if signs.is_ascii() {
            self.hash(key);
        } else {
            self.read_unicode(text, key);
        }
        signs
    }

    /// Takes a text apart in whose language letters are more than those of ASCII.
    fn read_unicode(&mut self, text: &[u8], key: &WordKey) {
        self.lower.truncate(self.ahead);
        for chunk in text.utf8_chunks() {
            chunk
                .valid()
                .chars()
                .for_each(|c| push_lower(c, &mut self.lower));
            if !chunk.invalid().is_empty() {
                push_lower(char::REPLACEMENT_CHARACTER, &mut self.lower);
            }
        }
        let lower = std::mem::take(&mut self.lower);
        self.split(&lower[self.ahead..], self.ahead);
        self.lower = lower;
        self.lower.extend_from_slice(&PADDING);
        self.hash(key);
    }

    /// Puts a text behind what was put in before.
    fn put(&mut self, text: &[u8]) {
        self.lower.truncate(self.ahead);
        self.lower.extend_from_slice(text);
        self.lower[self.ahead..].make_ascii_lowercase();
        self.lower.extend_from_slice(&PADDING);
    }

    /// Finds the words of a text that stands in lower case at `base`.
    #[inline]
    fn split(&mut self, text: &[u8], base: usize) -> Signs {
        self.spans.clear();
        let spans = &mut self.spans;
        Signs::and_words(text, |start, end| spans.push((base + start, base + end)))
    }

    #[inline]
    fn hash(&mut self, key: &WordKey) {
        self.hashes.clear();
        let words = self.spans.iter();
        let hashes = words.map(|(start, end)| key.word(&self.lower, *start, *end));
        self.hashes.extend(hashes);
    }

    /// Returns how many words there are.
    pub(super) fn len(&self) -> usize {
        self.spans.len()
    }

    /// Returns how many bytes a word has.
    #[inline]
    pub(super) fn word_len(&self, word: usize) -> usize {
        let (start, end) = self.spans[word];
        end - start
    }

    /// Returns how many bytes `count` words from word `first` on have, one blank between two included.
    #[inline]
    pub(super) fn bytes(&self, first: usize, count: usize) -> usize {
        let words = self.spans[first..first + count].iter();
        words.map(|(start, end)| end - start + 1).sum::<usize>() - 1
    }

    /// Returns the hash of all words as one value, and how many bytes they have; `None` if there are none.
    pub(super) fn whole(&self, key: &WordKey) -> Option<(u64, usize)> {
        let hash = self.hashes.iter().copied();
        let hash = hash.reduce(|run, word| key.join(run, word))?;
        Some((hash, self.bytes(0, self.len())))
    }

    /// Returns `count` words from word `first` on, with one blank between two.
    pub(super) fn text(&self, first: usize, count: usize) -> Vec<u8> {
        let words = self.spans[first..first + count].iter();
        let words: Vec<_> = words
            .map(|(start, end)| &self.lower[*start..*end])
            .collect();
        words.join(&b' ')
    }
}

/// Appends a character in lower case, the same whatever stands around it.
fn push_lower(c: char, out: &mut Vec<u8>) {
    let mut buffer = [0; 4];
    for lower in c.to_lowercase() {
        // At the end of a word a small sigma looks another way, and a capital one does not say where it is.
        let lower = if lower == 'ς' { 'σ' } else { lower };
        out.extend_from_slice(lower.encode_utf8(&mut buffer).as_bytes());
    }
}

/// Hashes the digits of values, whatever their grouping.
#[derive(Default)]
pub(super) struct Digits(Vec<u8>);

impl Digits {
    /// Returns the hash of the digits of a text that has no letters and enough of them.
    #[inline]
    pub(super) fn hash(&mut self, text: &[u8], signs: &Signs, key: &WordKey) -> Option<u64> {
        if signs.digits() < DIGITS_MIN || signs.has_letters() {
            return None;
        }
        self.0.clear();
        self.0
            .extend(text.iter().filter(|byte| byte.is_ascii_digit()));
        Some(self.hash_all(key))
    }

    /// Returns the hash of a whole number, the same as of its digits in a text.
    pub(super) fn hash_number(&mut self, number: i64, key: &WordKey) -> u64 {
        self.0.clear();
        push_decimal(number.unsigned_abs(), &mut self.0);
        self.hash_all(key)
    }

    fn hash_all(&mut self, key: &WordKey) -> u64 {
        let len = self.0.len();
        self.0.extend_from_slice(&PADDING);
        key.word(&self.0, 0, len)
    }
}

/// A set of hashes that may seem to hold more than it does.
///
/// It grows in large steps, each of which repeats what is there, so that no hash is lost.
#[derive(Debug, Clone, Default)]
pub(super) struct HashFilter {
    bits: Vec<u64>,
    /// Hashes added since it last grew.
    added: usize,
}

impl HashFilter {
    /// As many bits as a core's nearest cache holds, and 8 MiB of them.
    const BITS_MIN: usize = 1 << 18;
    const BITS_MAX: usize = 1 << 26;

    /// Adds a hash.
    pub(super) fn insert(&mut self, hash: u64) {
        if self.bits.is_empty() {
            self.bits = vec![0; Self::BITS_MIN / 64];
        }
        let (word, bit) = self.place(hash);
        if self.bits[word] & bit == 0 {
            self.bits[word] |= bit;
            self.added += 1;
            if self.added * 16 > self.bits.len() * 64 {
                self.grow();
            }
        }
    }

    fn grow(&mut self) {
        if self.bits.len() * 64 < Self::BITS_MAX {
            self.bits = self.bits.repeat(16);
        }
        self.added = 0;
    }

    /// Reports whether a hash may be in the set.
    #[inline]
    pub(super) fn may_hold(&self, hash: u64) -> bool {
        if self.bits.is_empty() {
            return false;
        }
        let (word, bit) = self.place(hash);
        self.bits[word] & bit != 0
    }

    /// Adds all hashes of another set.
    pub(super) fn merge(&mut self, other: &Self) {
        if self.bits.len() < other.bits.len() {
            let larger = other.bits.len();
            let ours = std::mem::replace(&mut self.bits, vec![0; larger]);
            self.merge_bits(&ours);
        }
        self.merge_bits(&other.bits);
        self.added += other.added;
    }

    fn merge_bits(&mut self, bits: &[u64]) {
        for (ours, theirs) in self.bits.iter_mut().zip(bits.iter().cycle()) {
            *ours |= theirs;
        }
    }

    /// The low bits choose, so that the same bit is chosen once more in each repetition.
    #[inline]
    fn place(&self, hash: u64) -> (usize, u64) {
        let place = hash as usize & (self.bits.len() * 64 - 1);
        (place / 64, 1 << (place % 64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::SipKey;

    fn key() -> WordKey {
        WordKey::new(&SipKey::new(&[9; 16]))
    }

    fn words(text: &str) -> Words {
        let mut words = Words::default();
        words.read(text.as_bytes(), &key());
        words
    }

    #[test]
    fn a_value_reads_alike_alone_and_in_a_sentence() {
        let alone = words("Jürgen  O'Brien-Smith");
        assert_eq!(alone.text(0, 3), "jürgen o brien-smith".as_bytes());
        assert_eq!(alone.bytes(0, 3), alone.text(0, 3).len());
        let inside = words("(Re: JÜRGEN O'Brien-Smith.)");
        assert_eq!(inside.hashes[1..], alone.hashes[..]);
        assert_eq!(words("ΟΔΟΣ").hashes, words("οδος").hashes);
        assert_ne!(words("oDoS").hashes, words("odot").hashes);
        assert_eq!(words("--- ...").whole(&key()), None);
    }

    #[test]
    fn texts_put_in_ahead_read_as_they_do_alone() {
        let texts = ["Maria Schmidt", "JÜRGEN", "", "x", "the last one"];
        let mut ahead = Words::default();
        ahead.put_ahead(texts.concat().as_bytes());
        let mut at = 0;
        for text in texts {
            let range = at..at + text.len();
            ahead.read_ahead(text.as_bytes(), range.clone(), &key());
            assert_eq!(ahead.hashes, words(text).hashes, "{text}");
            // Whatever is read between must not disturb what was put in.
            ahead.read("Ärger in the Middle".as_bytes(), &key());
            assert_eq!(ahead.hashes, words("ärger in the middle").hashes);
            ahead.read_ahead(text.as_bytes(), range, &key());
            assert_eq!(ahead.hashes, words(text).hashes, "{text}");
            at += text.len();
        }
    }

    #[test]
    fn grouping_of_digits_does_not_matter() {
        let mut digits = Digits::default();
        let mut hash = |text: &[u8]| digits.hash(text, &Signs::of(text), &key());
        let plain = words("49171234").hashes[0];
        assert_eq!(hash(b"+49 (171) 234"), Some(plain));
        assert_eq!(hash(b"1234567"), None);
        assert_eq!(hash(b"12345678a"), None);
        assert_eq!(digits.hash_number(-49_171_234, &key()), plain);
    }

    #[test]
    fn a_filter_loses_nothing_while_it_grows_and_while_filters_are_merged() {
        let key = SipKey::new(&[9; 16]);
        let hashes = |range: std::ops::Range<u64>| range.map(|n| key.hash_word(n));
        let mut large = HashFilter::default();
        assert!(!large.may_hold(1));
        hashes(0..400_000).for_each(|hash| large.insert(hash));
        assert_eq!(large.bits.len() * 64, HashFilter::BITS_MAX);
        let mut small = HashFilter::default();
        hashes(400_000..400_100).for_each(|hash| small.insert(hash));
        for (mut one, other) in [(large.clone(), &small), (small.clone(), &large)] {
            one.merge(other);
            assert!(hashes(0..400_100).all(|hash| one.may_hold(hash)));
            let others = hashes(500_000..600_000).filter(|hash| one.may_hold(*hash));
            assert!(others.count() < 25_000);
        }
    }
}
