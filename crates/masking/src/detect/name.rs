//! Names of people, judged by the lists of common first names and surnames of several languages.
//!
//! One text that looks like a name proves nothing: products, streets and ships are called after
//! people. So nothing here finds a name in a text; a column is judged by how many of its values look
//! like one.

use std::collections::HashSet;
use std::sync::LazyLock;

use fake::locales::{AR_SA, DE_DE, Data, EN, FR_FR, IT_IT, NL_NL, PT_BR, PT_PT, TR_TR};

static FIRST: LazyLock<HashSet<String>> = LazyLock::new(|| {
    set(&[
        EN::NAME_FIRST_NAME,
        DE_DE::NAME_FIRST_NAME,
        FR_FR::NAME_FIRST_NAME,
        IT_IT::NAME_FIRST_NAME,
        NL_NL::NAME_FIRST_NAME,
        PT_BR::NAME_FIRST_NAME,
        PT_PT::NAME_FIRST_NAME,
        TR_TR::NAME_FIRST_NAME,
        AR_SA::NAME_FIRST_NAME,
        MORE_FIRST,
    ])
});

static LAST: LazyLock<HashSet<String>> = LazyLock::new(|| {
    set(&[
        EN::NAME_LAST_NAME,
        DE_DE::NAME_LAST_NAME,
        FR_FR::NAME_LAST_NAME,
        IT_IT::NAME_LAST_NAME,
        NL_NL::NAME_LAST_NAME,
        PT_BR::NAME_LAST_NAME,
        PT_PT::NAME_LAST_NAME,
        TR_TR::NAME_LAST_NAME,
    ])
});

/// Common first names that the lists lack.
const MORE_FIRST: &[&str] = &[
    "Agnieszka",
    "Aleksander",
    "Anders",
    "Andrzej",
    "Anja",
    "Antonio",
    "Astrid",
    "Barbara",
    "Björn",
    "Carmen",
    "Dieter",
    "Elżbieta",
    "Francisco",
    "Fredrik",
    "Grzegorz",
    "Hans",
    "Heike",
    "Helga",
    "Ingrid",
    "Jan",
    "Javier",
    "Joanna",
    "José",
    "Juan",
    "Jürgen",
    "Karin",
    "Katarzyna",
    "Kjell",
    "Krzysztof",
    "Lars",
    "Małgorzata",
    "Manuel",
    "Marek",
    "María",
    "Mikael",
    "Monika",
    "Olof",
    "Paweł",
    "Piotr",
    "Sabine",
    "Stanisław",
    "Sven",
    "Tomasz",
    "Uwe",
    "Wolfgang",
    "Zofia",
];

/// Titles that stand before a name, and what stands behind.
const TITLES: &[&str] = &[
    "dr",
    "dr.",
    "mr",
    "mr.",
    "mrs",
    "mrs.",
    "ms",
    "ms.",
    "miss",
    "prof",
    "prof.",
    "herr",
    "frau",
    "sig.",
    "dott.",
    "mme",
    "m.",
    "univ.prof.",
    "dipl.-ing.",
    "ing.",
    "jr.",
    "sr.",
    "md",
    "phd",
    "dds",
    "dvm",
    "sra.",
    "sr",
    "pan",
    "pani",
];

/// Last words of places and firms, which are called after people.
const PLACES: &[&str] = &[
    "alley",
    "allee",
    "avenue",
    "bridge",
    "bypass",
    "canyon",
    "center",
    "circle",
    "cliff",
    "club",
    "common",
    "corner",
    "corners",
    "court",
    "cove",
    "creek",
    "crest",
    "crossing",
    "crossroad",
    "divide",
    "drive",
    "estate",
    "estates",
    "expressway",
    "extension",
    "falls",
    "field",
    "fields",
    "flat",
    "flats",
    "forest",
    "forge",
    "fork",
    "freeway",
    "garden",
    "gardens",
    "gateway",
    "glen",
    "grove",
    "harbor",
    "harbors",
    "haven",
    "heights",
    "highway",
    "hills",
    "hollow",
    "island",
    "islands",
    "junction",
    "key",
    "knoll",
    "knolls",
    "lake",
    "lakes",
    "land",
    "landing",
    "lane",
    "light",
    "lock",
    "locks",
    "lodge",
    "loop",
    "mall",
    "manor",
    "meadow",
    "meadows",
    "mews",
    "mission",
    "motorway",
    "mountain",
    "mountains",
    "orchard",
    "oval",
    "overpass",
    "parkway",
    "pass",
    "passage",
    "path",
    "pike",
    "pine",
    "pines",
    "place",
    "plain",
    "plains",
    "plaza",
    "point",
    "points",
    "port",
    "ports",
    "prairie",
    "ramp",
    "ranch",
    "ridge",
    "ridges",
    "river",
    "road",
    "roads",
    "route",
    "row",
    "shoals",
    "shore",
    "shores",
    "spring",
    "springs",
    "spur",
    "spurs",
    "square",
    "squares",
    "station",
    "strasse",
    "straße",
    "stream",
    "street",
    "streets",
    "summit",
    "terrace",
    "throughway",
    "trace",
    "track",
    "trail",
    "tunnel",
    "turnpike",
    "underpass",
    "union",
    "unions",
    "valley",
    "valleys",
    "via",
    "viaduct",
    "view",
    "views",
    "village",
    "villages",
    "ville",
    "vista",
    "walk",
    "walks",
    "way",
    "ways",
    "well", // firms
    "ag",
    "associates",
    "co",
    "corp",
    "gmbh",
    "group",
    "inc",
    "kg",
    "limited",
    "llc",
    "ltd",
    "partners",
    "plc",
    "sons",
];

/// Most words of a name.
const WORDS_MAX: usize = 5;

fn set(lists: &[&[&str]]) -> HashSet<String> {
    lists
        .iter()
        .flat_map(|list| list.iter())
        .map(|name| name.to_lowercase())
        .collect()
}

/// What a text looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NameLike {
    /// A first name, alone.
    First,
    /// A surname, alone.
    Last,
    /// A first name and more words that may be a surname.
    Full,
}

/// Returns whether a text looks like the name of a person.
pub(crate) fn name_like(text: &[u8]) -> Option<NameLike> {
    let text = std::str::from_utf8(text).ok()?.trim();
    if text.len() > 60 || text.bytes().any(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let turned;
    let text = match text.split_once(", ") {
        // `Schmidt, Maria`
        Some((last, first)) if !first.contains(',') => {
            turned = format!("{first} {last}");
            &turned
        }
        _ => text,
    };
    let words: Vec<String> = text
        .split_whitespace()
        .map(str::to_lowercase)
        .filter(|word| !TITLES.contains(&word.trim_end_matches(',')))
        .collect();
    let is_word = |word: &String| {
        word.chars()
            .all(|c| c.is_alphabetic() || "-'’.".contains(c))
    };
    if words.len() > WORDS_MAX || !words.iter().all(is_word) {
        return None;
    }
    match &words[..] {
        [] => None,
        [only] => match (is_first(only), LAST.contains(only)) {
            (true, _) => Some(NameLike::First),
            (false, true) => Some(NameLike::Last),
            (false, false) => None,
        },
        [first, rest @ ..] => {
            let last = rest.last().expect("there is another word");
            let written = |word: &str| {
                text.split_whitespace().any(|part| {
                    part.to_lowercase() == word
                        && part.chars().next().is_some_and(char::is_uppercase)
                })
            };
            if PLACES.contains(&last.as_str()) && !LAST.contains(last) {
                return None;
            }
            let pair = is_first(first) && (LAST.contains(last) || written(last));
            let turned = is_first(last) && LAST.contains(first);
            (pair || turned).then_some(NameLike::Full)
        }
    }
}

fn is_first(word: &str) -> bool {
    // `Karl-Heinz`, and an initial in front of a second name.
    FIRST.contains(word)
        || word
            .split('-')
            .next()
            .is_some_and(|part| part.len() > 2 && FIRST.contains(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_from_other_words() {
        for full in [
            "Maria Schmidt",
            "Karl-Heinz Müller",
            "Dr. Anna van der Berg",
            "Schmidt, Maria",
            "Peter O'Brien",
        ] {
            assert_eq!(name_like(full.as_bytes()), Some(NameLike::Full), "{full}");
        }
        assert_eq!(name_like(b"Maria"), Some(NameLike::First));
        for other in [
            "",
            "pending",
            "Blue Cotton Shirt",
            "Order 17",
            "2024-01-01",
            "the quick brown fox jumps",
            "USB cable",
        ] {
            assert_eq!(name_like(other.as_bytes()), None, "{other}");
        }
    }
}
