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
    spans: Vec<(usize, usize)>,
}

impl Words {
    /// Takes a text apart.
    pub(super) fn read(&mut self, text: &[u8]) {
        self.text.clear();
        self.spans.clear();
        if text.is_ascii() {
            self.text.extend(text.iter().map(u8::to_ascii_lowercase));
        } else {
            let lower = String::from_utf8_lossy(text).to_lowercase();
            self.text.extend_from_slice(lower.as_bytes());
        }
        self.compact();
    }

    /// Squeezes what lies between words into one blank each, in place.
    fn compact(&mut self) {
        let mut write = 0;
        let mut read = 0;
        while read < self.text.len() {
            let word = &self.text[read..];
            let len = word
                .iter()
                .position(|byte| divides(*byte))
                .unwrap_or(word.len());
            let trimmed = trim(&word[..len]);
            if !trimmed.is_empty() {
                let from = read + word[..len].iter().take_while(|byte| fringe(**byte)).count();
                let kept = trimmed.len();
                if write > 0 {
                    self.text[write] = b' ';
                    write += 1;
                }
                self.text.copy_within(from..from + kept, write);
                self.spans.push((write, write + kept));
                write += kept;
            }
            read += len + 1;
        }
        self.text.truncate(write);
    }

    /// Returns the whole text, evened out.
    pub(super) fn whole(&self) -> &[u8] {
        &self.text
    }

    /// Returns how many words there are.
    pub(super) fn len(&self) -> usize {
        self.spans.len()
    }

    /// Iterates over all runs of `count` words.
    pub(super) fn runs(&self, count: usize) -> impl Iterator<Item = &[u8]> {
        let windows = self.spans.windows(count);
        windows.map(move |run| &self.text[run[0].0..run[count - 1].1])
    }
}

fn divides(byte: u8) -> bool {
    byte.is_ascii_whitespace() || b",;:()<>[]{}\"'`|=\\/".contains(&byte)
}

/// Signs that stand inside words and values, but at their ends belong to the sentence.
fn fringe(byte: u8) -> bool {
    b".!?*-_#".contains(&byte)
}

fn trim(word: &[u8]) -> &[u8] {
    let start = word.iter().take_while(|byte| fringe(**byte)).count();
    let end = word.iter().rposition(|byte| !fringe(*byte));
    end.map_or(&[], |end| &word[start..=end])
}

/// Returns the digits of a value that has no letters and enough of them.
pub(super) fn digits_of(value: &[u8]) -> Option<Vec<u8>> {
    let letters = value
        .iter()
        .any(|byte| byte.is_ascii_alphabetic() || !byte.is_ascii());
    let digits = value.iter().filter(|byte| byte.is_ascii_digit());
    (!letters && digits.clone().count() >= DIGITS_MIN).then(|| digits.copied().collect())
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
        assert!(inside.runs(alone.len()).any(|run| run == alone.whole()));
    }

    #[test]
    fn grouping_of_digits_does_not_matter() {
        assert_eq!(
            digits_of(b"+49 (171) 234").as_deref(),
            Some(&b"49171234"[..])
        );
        assert_eq!(digits_of(b"1234567"), None);
        assert_eq!(digits_of(b"12345678a"), None);
    }
}
