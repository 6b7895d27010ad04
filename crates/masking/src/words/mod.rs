//! The public word lists that realistic masks draw from.
//!
//! Surnames, streets and cities are composed from a few beginnings and endings. They read like
//! names, yet no surname is one that people bear, so a masked full name is never that of a real
//! person, and a reader of a staging copy can tell at a glance that it is masked. First names are
//! common ones, and now and then a town is called like one of ours: the leak report counts such
//! coincidences apart.
//!
//! A list never changes within a version: a pseudonym is a place in it, and `stable:` scopes
//! promise the same pseudonyms next year. A new list is a new version.

mod names_v1;
mod v1;

use fake::locales::{Data, EN};

use self::names_v1::NameLists;
use crate::key::{Digest, Draws};
use crate::mask::push_decimal;

/// Names the lists behind pseudonyms and the way values are drawn from them, for the manifest of a
/// masked copy.
pub const WORD_LIST_VERSION: &str = "lifeboat-words v1 (de, en, es, fr), fake 5.1.0 (en), draws v3";

/// Longest first name, surname and e-mail user without a suffix.
pub(crate) const FIRST_NAME_MAX: usize = 8;
pub(crate) const SURNAME_MAX: usize = 14;

/// A language whose names there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Locale {
    De,
    En,
    Es,
    Fr,
}

const EN_NAMES: NameLists = NameLists {
    first: v1::FIRST_NAMES,
    onsets: v1::ONSETS,
    ends: v1::SURNAME_ENDS,
};

impl Locale {
    /// All of them, as rules call them.
    pub(crate) const NAMES: [(&'static str, Locale); 4] = [
        ("de", Locale::De),
        ("en", Locale::En),
        ("es", Locale::Es),
        ("fr", Locale::Fr),
    ];

    fn lists(self) -> &'static NameLists {
        match self {
            Self::De => &names_v1::DE,
            Self::En => &EN_NAMES,
            Self::Es => &names_v1::ES,
            Self::Fr => &names_v1::FR,
        }
    }

    /// Returns how many first names there are.
    pub(crate) fn first_names(self) -> usize {
        self.lists().first.len()
    }
}

/// The name of somebody who does not exist.
#[derive(Clone, Copy)]
pub(crate) struct PersonName {
    pub(crate) first: &'static str,
    surname: [&'static str; 2],
}

impl PersonName {
    /// Draws a name.
    pub(crate) fn draw(locale: Locale, draws: &mut Draws) -> Self {
        let lists = locale.lists();
        Self {
            first: pick(lists.first, draws),
            surname: [pick(lists.onsets, draws), pick(lists.ends, draws)],
        }
    }

    /// Appends the first name.
    pub(crate) fn push_first(&self, out: &mut Vec<u8>) {
        push(self.first, out);
    }

    /// Appends the surname.
    pub(crate) fn push_surname(&self, out: &mut Vec<u8>) {
        push(self.surname[0], out);
        push(self.surname[1], out);
    }
}

/// Appends a city.
pub(crate) fn push_city(draws: &mut Draws, out: &mut Vec<u8>) {
    push(pick(v1::ONSETS, draws), out);
    push(pick(v1::CITY_ENDS, draws), out);
}

/// Appends a street with a house number.
pub(crate) fn push_street(draws: &mut Draws, out: &mut Vec<u8>) {
    push(pick(v1::ONSETS, draws), out);
    push(pick(v1::STREET_ENDS, draws), out);
    out.push(b' ');
    push(pick(v1::STREET_KINDS, draws), out);
    out.push(b' ');
    push_decimal(1 + draws.below(189), out);
}

/// Appends a company out of the lists of the crate `fake`, whose version is pinned: its
/// dictionaries change between versions, and stable pseudonyms must not.
pub(crate) fn push_company(draws: &mut Draws, out: &mut Vec<u8>) {
    push(pick(EN::NAME_LAST_NAME, draws), out);
    if draws.below(2) == 1 {
        out.extend_from_slice(b" and ");
        push(pick(EN::NAME_LAST_NAME, draws), out);
    }
    out.push(b' ');
    push(pick(EN::COMPANY_SUFFIX, draws), out);
}

/// Appends sentences of harmless words, about `len` bytes and never much longer.
pub(crate) fn push_sentences(draws: &mut Draws, len: usize, out: &mut Vec<u8>) {
    let start = out.len();
    let mut in_sentence = 0;
    loop {
        let word = pick(v1::TEXT_WORDS, draws);
        let first = out.len() == start;
        if !first && out.len() - start + word.len() + 2 > len {
            break;
        }
        if !first {
            out.push(b' ');
        }
        let at = out.len();
        push(word, out);
        if in_sentence == 0 {
            out[at].make_ascii_uppercase();
        }
        in_sentence += 1;
        if in_sentence == 8 {
            out.push(b'.');
            in_sentence = 0;
        }
    }
    if in_sentence > 0 {
        out.push(b'.');
    }
}

/// Appends harmless words by 64 random bits, at most `len` bytes of them and never none.
pub(crate) fn push_words(word: u64, len: usize, out: &mut Vec<u8>) {
    let start = out.len();
    let mut draws = Digest::Words([word, word.wrapping_mul(0x9e37_79b9_7f4a_7c15)]).draws();
    loop {
        let next = pick(v1::TEXT_WORDS, &mut draws);
        let first = out.len() == start;
        if !first && out.len() - start + next.len() + 1 > len {
            break;
        }
        if !first {
            out.push(b' ');
        }
        push(next, out);
    }
    out.truncate(start + len.max(1));
}

/// Reports whether every word of `text` comes from these lists.
///
/// House numbers and postcodes may stand among words; numbers alone are on no list.
pub(crate) fn is_listed(text: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(text) else {
        return false;
    };
    let mut listed = 0;
    let words = text.split(|c: char| !c.is_alphanumeric());
    for word in words.filter(|word| !word.is_empty()) {
        if is_listed_word(&word.to_lowercase()) {
            listed += 1;
        } else if word.len() > 5 || !word.bytes().all(|byte| byte.is_ascii_digit()) {
            return false;
        }
    }
    listed > 0
}

fn is_listed_word(word: &str) -> bool {
    Locale::NAMES
        .iter()
        .any(|(_, locale)| is_name(locale.lists(), word))
        || in_list(v1::TEXT_WORDS, word)
        || in_list(v1::STREET_KINDS, word)
        || is_composed(v1::ONSETS, &[v1::CITY_ENDS, v1::STREET_ENDS], word)
}

fn in_list(list: &[&str], word: &str) -> bool {
    list.iter().any(|listed| listed.eq_ignore_ascii_case(word))
}

fn is_name(lists: &NameLists, word: &str) -> bool {
    in_list(lists.first, word) || is_composed(lists.onsets, &[lists.ends], word)
}

fn is_composed(onsets: &[&str], ends: &[&[&str]], word: &str) -> bool {
    onsets.iter().any(|onset| {
        let starts = word.get(..onset.len());
        starts.is_some_and(|start| start.eq_ignore_ascii_case(onset))
            && ends.iter().any(|list| list.contains(&&word[onset.len()..]))
    })
}

#[inline]
fn pick(list: &[&'static str], draws: &mut Draws) -> &'static str {
    list[draws.below(list.len() as u64) as usize]
}

#[inline]
fn push(word: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(word.as_bytes());
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use fake::locales::{DE_DE, FR_FR};

    use super::*;
    use crate::key::MaskKey;

    fn real_surnames() -> HashSet<String> {
        let lists = [
            EN::NAME_LAST_NAME,
            DE_DE::NAME_LAST_NAME,
            FR_FR::NAME_LAST_NAME,
        ];
        lists
            .concat()
            .iter()
            .map(|name| name.to_lowercase())
            .collect()
    }

    #[test]
    fn no_surname_is_one_that_people_bear() {
        let real = real_surnames();
        assert!(real.len() > 400);
        for (_, locale) in Locale::NAMES {
            for onset in locale.lists().onsets {
                for end in locale.lists().ends {
                    let surname = format!("{onset}{end}").to_lowercase();
                    assert!(!real.contains(&surname), "{surname}");
                }
            }
        }
    }

    #[test]
    fn lists_hold_no_word_twice() {
        let names = Locale::NAMES.map(|(_, locale)| locale.lists());
        let names = names
            .iter()
            .flat_map(|lists| [lists.first, lists.onsets, lists.ends]);
        for list in names.chain([v1::CITY_ENDS, v1::STREET_ENDS, v1::TEXT_WORDS]) {
            let distinct: HashSet<_> = list.iter().collect();
            assert_eq!(distinct.len(), list.len());
        }
    }

    #[test]
    fn the_lists_of_version_1_do_not_change() {
        // If this fails, you changed a published list: every stable pseudonym would change.
        let english = [
            v1::FIRST_NAMES,
            v1::ONSETS,
            v1::SURNAME_ENDS,
            v1::CITY_ENDS,
            v1::STREET_ENDS,
            v1::STREET_KINDS,
            v1::TEXT_WORDS,
        ];
        assert_eq!(fingerprint(english), v1::FINGERPRINT);
        let [de, es, fr] = [Locale::De, Locale::Es, Locale::Fr].map(Locale::lists);
        let names = [de, es, fr].map(|lists| [lists.first, lists.onsets, lists.ends]);
        assert_eq!(fingerprint(names.concat()), names_v1::FINGERPRINT);
    }

    fn fingerprint(lists: impl IntoIterator<Item = &'static [&'static str]>) -> String {
        let mut hasher = blake3::Hasher::new();
        for list in lists {
            hasher.update(list.join("\n").as_bytes());
            hasher.update(b"\0");
        }
        hasher.finalize().to_hex()[..16].to_owned()
    }

    #[test]
    fn names_are_no_longer_than_said() {
        let longest = |list: &[&str]| list.iter().map(|word| word.len()).max().unwrap();
        for (name, locale) in Locale::NAMES {
            let lists = locale.lists();
            assert!(longest(lists.first) <= FIRST_NAME_MAX, "{name}");
            let surname = longest(lists.onsets) + longest(lists.ends);
            assert!(surname <= SURNAME_MAX, "{name} {surname}");
            // An e-mail address is made of them.
            let words = [lists.first, lists.onsets, lists.ends].concat();
            assert!(words.iter().all(|word| word.is_ascii()), "{name}");
            assert!(lists.first.len() >= 80 && lists.onsets.len() * lists.ends.len() >= 600);
        }
    }

    #[test]
    fn what_is_made_is_listed_and_real_names_are_not() {
        let key = MaskKey::new(&[1; 32], "stable:x").unwrap().domain("x");
        for n in 0..200_u32 {
            let mut draws = key.digest(&n.to_le_bytes(), 0).draws();
            let mut out = Vec::new();
            let (_, locale) = Locale::NAMES[n as usize % 4];
            let name = PersonName::draw(locale, &mut draws);
            name.push_first(&mut out);
            out.push(b' ');
            name.push_surname(&mut out);
            out.extend_from_slice(b", ");
            push_street(&mut draws, &mut out);
            out.push(b' ');
            push_city(&mut draws, &mut out);
            out.push(b' ');
            push_sentences(&mut draws, 60, &mut out);
            assert!(is_listed(&out), "{}", String::from_utf8_lossy(&out));
        }
        assert!(!is_listed(b"Maria Schmidt"));
        assert!(!is_listed(b"Berlin"));
        assert!(
            !is_listed(b"+33 6 12 34 56 78"),
            "a phone number is on no list"
        );
    }
}
