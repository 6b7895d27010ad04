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

mod v1;

use crate::key::Digest;

/// Names the lists behind pseudonyms, for the manifest of a masked copy.
pub const WORD_LIST_VERSION: &str = "lifeboat-words v1, fake 5.1.0 (en)";

/// Appends the first name that belongs to a digest.
pub(crate) fn push_first_name(digest: &Digest, out: &mut Vec<u8>) {
    push(pick(v1::FIRST_NAMES, digest.word(0)), out);
}

/// Appends the surname that belongs to a digest.
pub(crate) fn push_surname(digest: &Digest, out: &mut Vec<u8>) {
    let word = digest.word(1);
    push(pick(v1::ONSETS, word), out);
    push(pick(v1::SURNAME_ENDS, word.rotate_left(24)), out);
}

/// Appends the city that belongs to a digest.
pub(crate) fn push_city(digest: &Digest, out: &mut Vec<u8>) {
    let word = digest.word(2);
    push(pick(v1::ONSETS, word), out);
    push(pick(v1::CITY_ENDS, word.rotate_left(24)), out);
}

/// Appends a street with a house number.
pub(crate) fn push_street(digest: &Digest, out: &mut Vec<u8>) {
    let word = digest.word(3);
    push(pick(v1::ONSETS, word), out);
    push(pick(v1::STREET_ENDS, word.rotate_left(24)), out);
    out.push(b' ');
    push(pick(v1::STREET_KINDS, word.rotate_left(40)), out);
    out.push(b' ');
    let number = 1 + digest.below(0, 189);
    push(&number.to_string(), out);
}

/// Appends sentences of harmless words, about `len` bytes and never much longer.
pub(crate) fn push_sentences(digest: &Digest, len: usize, out: &mut Vec<u8>) {
    let start = out.len();
    let mut words = digest.stream();
    let mut in_sentence = 0;
    loop {
        let word = pick(v1::TEXT_WORDS, words.next());
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
pub(crate) fn push_words(mut word: u64, len: usize, out: &mut Vec<u8>) {
    let start = out.len();
    loop {
        let next = pick(v1::TEXT_WORDS, word);
        let first = out.len() == start;
        if !first && out.len() - start + next.len() + 1 > len {
            break;
        }
        if !first {
            out.push(b' ');
        }
        push(next, out);
        word = word.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29) ^ 0x94d0_49bb_1331_11eb;
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
    in_list(v1::FIRST_NAMES, word)
        || in_list(v1::TEXT_WORDS, word)
        || in_list(v1::STREET_KINDS, word)
        || is_composed(word)
}

fn in_list(list: &[&str], word: &str) -> bool {
    list.iter().any(|listed| listed.eq_ignore_ascii_case(word))
}

fn is_composed(word: &str) -> bool {
    let ends = [v1::SURNAME_ENDS, v1::CITY_ENDS, v1::STREET_ENDS];
    v1::ONSETS.iter().any(|onset| {
        let onset_len = onset.len();
        let starts = word.get(..onset_len);
        starts.is_some_and(|start| start.eq_ignore_ascii_case(onset))
            && ends.iter().any(|list| list.contains(&&word[onset_len..]))
    })
}

fn pick<'w>(list: &[&'w str], word: u64) -> &'w str {
    list[crate::key::scale(word, list.len() as u64) as usize]
}

fn push(word: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(word.as_bytes());
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use fake::locales::{DE_DE, Data, EN, FR_FR};

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
        for onset in v1::ONSETS {
            for end in v1::SURNAME_ENDS {
                let surname = format!("{onset}{end}").to_lowercase();
                assert!(!real.contains(&surname), "{surname}");
            }
        }
    }

    #[test]
    fn lists_hold_no_word_twice() {
        for list in [
            v1::FIRST_NAMES,
            v1::ONSETS,
            v1::SURNAME_ENDS,
            v1::CITY_ENDS,
            v1::STREET_ENDS,
            v1::TEXT_WORDS,
        ] {
            let distinct: HashSet<_> = list.iter().collect();
            assert_eq!(distinct.len(), list.len());
        }
    }

    #[test]
    fn the_lists_of_version_1_do_not_change() {
        // If this fails, you changed a published list: every stable pseudonym would change.
        let mut hasher = blake3::Hasher::new();
        for list in [
            v1::FIRST_NAMES,
            v1::ONSETS,
            v1::SURNAME_ENDS,
            v1::CITY_ENDS,
            v1::STREET_ENDS,
            v1::STREET_KINDS,
            v1::TEXT_WORDS,
        ] {
            hasher.update(list.join("\n").as_bytes());
            hasher.update(b"\0");
        }
        let hash = hasher.finalize().to_hex();
        assert_eq!(&hash[..16], v1::FINGERPRINT);
    }

    #[test]
    fn what_is_made_is_listed_and_real_names_are_not() {
        let key = MaskKey::new(&[1; 32], "stable:x").unwrap().domain("x");
        for n in 0..200_u32 {
            let digest = key.digest(&n.to_le_bytes(), 0);
            let mut out = Vec::new();
            push_first_name(&digest, &mut out);
            out.push(b' ');
            push_surname(&digest, &mut out);
            out.extend_from_slice(b", ");
            push_street(&digest, &mut out);
            out.push(b' ');
            push_city(&digest, &mut out);
            out.push(b' ');
            push_sentences(&digest, 60, &mut out);
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
