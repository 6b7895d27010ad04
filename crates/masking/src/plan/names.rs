//! Column names that speak of personal data.

/// Words in a column's name that make keeping it a decision with a reason.
const STEMS: &[&str] = &[
    "address",
    "author",
    "bic",
    "birth",
    "birthdate",
    "birthday",
    "body",
    "card",
    "cardholder",
    "city",
    "comment",
    "dob",
    "email",
    "firstname",
    "fullname",
    "holder",
    "iban",
    "ip",
    "lastname",
    "mail",
    "mobile",
    "name",
    "note",
    "notes",
    "passport",
    "password",
    "phone",
    "postcode",
    "profile",
    "secret",
    "ssn",
    "street",
    "surname",
    "tel",
    "telephone",
    "token",
    "username",
    "zip",
    "zipcode",
];

/// Returns the word of a column's name that speaks of personal data, if there is one.
pub(crate) fn personal_word(column: &str) -> Option<&'static str> {
    let words = words(column);
    let mut stems = STEMS.iter();
    stems
        .find(|stem| words.iter().any(|word| is_word(word, stem)))
        .copied()
}

/// Takes a name apart: `contactEmail2` says `contact` and `email`.
pub(crate) fn words(column: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut lower_before = false;
    for c in column.chars() {
        let starts_word = c.is_uppercase() && lower_before;
        if (!c.is_alphabetic() || starts_word) && !word.is_empty() {
            words.push(std::mem::take(&mut word));
        }
        if c.is_alphabetic() {
            word.extend(c.to_lowercase());
        }
        lower_before = c.is_lowercase();
    }
    words.push(word);
    words
}

/// The word itself or its plural.
fn is_word(word: &str, stem: &str) -> bool {
    word == stem
        || word.strip_suffix("es").or(word.strip_suffix('s')) == Some(stem)
        || word.strip_suffix('s') == Some(stem)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_apart_before_they_are_judged() {
        for personal in [
            "email",
            "contactEmail",
            "home_address",
            "phone2",
            "IP",
            "e_mail",
            "zipCodes",
        ] {
            // `zipCodes` is two words: `zip` is enough.
            assert!(personal_word(personal).is_some(), "{personal}");
        }
        for harmless in [
            "id",
            "shipping_cents",
            "created_at",
            "currency",
            "zippy",
            "capacity",
            "script",
        ] {
            assert_eq!(personal_word(harmless), None, "{harmless}");
        }
    }
}
