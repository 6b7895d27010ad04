//! What masks make by chance: ids whose digits were replaced by others that keep their form, and that
//! now and then pass for a card or a national id.
//!
//! A scan counts the forms of such a column's values. Where detectors found something, each form is
//! drawn many times at random, and what they find there tells how much chance explains.

use std::collections::HashMap;
use std::fmt;

use crate::detect::{Hit, HitKind, detect_into};
use crate::key::{Digest, Draws};
use crate::mask::Alphabet;
use crate::signs::Signs;

/// Forms that are told apart in a column; what chance makes of others is not explained.
const FORMS_MAX: usize = 64;
/// Longest value whose form is counted, in bytes.
const BYTES_MAX: usize = 64;
/// Random values that are drawn of each form.
const SAMPLES: u32 = 20_000;
/// A kind that random values of a form pass for more often says what the form is, and is no chance: what
/// looks like a phone number looks like one with any digits.
const LIKELY: f64 = 0.05;

/// How often each form stands in a column: a value with a placeholder for each replaced character.
#[derive(Clone, Default)]
pub(super) struct Forms(HashMap<Vec<u8>, u64>);

impl fmt::Debug for Forms {
    // A form shows what its mask keeps.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} forms", self.0.len())
    }
}

impl Forms {
    /// Counts the form of a value.
    pub(super) fn count(&mut self, value: &[u8], alphabet: Alphabet) {
        if value.len() > BYTES_MAX {
            return;
        }
        let mut form = [0; BYTES_MAX];
        let form = &mut form[..value.len()];
        for (place, byte) in form.iter_mut().zip(value) {
            *place = match alphabet.numeral(*byte) {
                Some(_) => alphabet.character(0),
                None => *byte,
            };
        }
        self.add(form, 1);
    }

    fn add(&mut self, form: &[u8], count: u64) {
        if let Some(counted) = self.0.get_mut(form) {
            *counted += count;
        } else if self.0.len() < FORMS_MAX {
            self.0.insert(form.to_vec(), count);
        }
    }

    pub(super) fn merge(&mut self, other: &Self) {
        // The same forms must be left out whatever the order of a table.
        let mut forms: Vec<_> = other.0.iter().collect();
        forms.sort_unstable();
        for (form, count) in forms {
            self.add(form, *count);
        }
    }

    /// Returns how many finds of a kind chance explains: six deviations above what is expected, the
    /// uncertainty of the sample included, and three because small expectations have heavy tails.
    pub(super) fn explained(&self, alphabet: Alphabet, kind: HitKind) -> f64 {
        let (mut expected, mut variance) = (0.0, 0.0);
        for (form, count) in &self.0 {
            let share = share_of_hits(form, alphabet, kind);
            if share < LIKELY {
                let count = *count as f64;
                expected += count * share;
                variance += count * share + count * count * share / f64::from(SAMPLES);
            }
        }
        if expected == 0.0 {
            return 0.0;
        }
        expected + 6.0 * variance.sqrt() + 3.0
    }
}

/// Returns how many random values of a form a detector takes for what it looks for, as a share of one.
fn share_of_hits(form: &[u8], alphabet: Alphabet, kind: HitKind) -> f64 {
    let (mut value, mut hits) = (form.to_vec(), Vec::new());
    let mut found = 0;
    for sample in 0..u64::from(SAMPLES) {
        let mut draws = Digest::Words([sample.wrapping_mul(0x9e37_79b9_7f4a_7c15), sample]).draws();
        redraw(form, alphabet, &mut draws, &mut value);
        found += count_hits(&value, kind, &mut hits);
    }
    found as f64 / f64::from(SAMPLES)
}

fn redraw(form: &[u8], alphabet: Alphabet, draws: &mut Draws, value: &mut [u8]) {
    for (place, byte) in value.iter_mut().zip(form) {
        if alphabet.numeral(*byte).is_some() {
            *place = alphabet.character(draws.below(alphabet.radix()) as u8);
        }
    }
}

fn count_hits(value: &[u8], kind: HitKind, hits: &mut Vec<Hit>) -> usize {
    detect_into(value, &Signs::of(value), hits);
    let found = hits.iter().filter(|hit| hit.kind == kind && !hit.synthetic);
    found.count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forms(value: &[u8], count: usize) -> Forms {
        let mut forms = Forms::default();
        (0..count).for_each(|_| forms.count(value, Alphabet::Digits));
        forms
    }

    #[test]
    fn chance_explains_a_few_national_ids_among_bare_digits_and_no_others() {
        let eleven = forms(b"86095742719", 100_000);
        let explained = eleven.explained(Alphabet::Digits, HitKind::NationalId);
        // One in 250 or so has right check digits.
        assert!((200.0..1_000.0).contains(&explained), "{explained}");
        assert_eq!(eleven.explained(Alphabet::Digits, HitKind::Email), 0.0);
        let short = forms(b"86095", 100_000);
        assert_eq!(short.explained(Alphabet::Digits, HitKind::NationalId), 0.0);
    }

    #[test]
    fn a_form_that_says_what_it_is_is_no_chance() {
        let phones = forms(b"+49 171 2345678", 100_000);
        assert_eq!(phones.explained(Alphabet::Digits, HitKind::Phone), 0.0);
    }

    #[test]
    fn forms_are_few_and_merging_adds_them_up() {
        let mut all = forms(b"A-12", 3);
        all.merge(&forms(b"A-77", 4));
        assert_eq!(all.0, HashMap::from([(b"A-00".to_vec(), 7)]));
        for n in 0..200_u32 {
            let letter = char::from_u32('α' as u32 + n).unwrap();
            all.count(format!("{letter}1").as_bytes(), Alphabet::Digits);
        }
        assert_eq!(all.0.len(), FORMS_MAX);
        assert_eq!(format!("{all:?}"), "64 forms");
    }
}
