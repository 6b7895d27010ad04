//! What words in a column's name say about its values, in several languages.

use crate::detect::HitKind;
use crate::plan::name_words;

/// What values are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Meaning {
    Email,
    Phone,
    FullName,
    FirstName,
    LastName,
    Username,
    Company,
    Street,
    City,
    Postcode,
    Geo,
    Birth,
    Iban,
    Card,
    Ssn,
    NationalId,
    Ip,
    Mac,
    Url,
    Uuid,
    Secret,
    Prose,
    /// Health, faith, pay and the like: personal, with no form of its own.
    Sensitive,
    /// A number or text that stands for a row.
    Id,
    Document,
    // What is not about people.
    Moment,
    Amount,
    Category,
    Flag,
    Label,
}

impl Meaning {
    /// Reports whether it belongs to a person.
    pub(super) fn is_personal(self) -> bool {
        !matches!(
            self,
            Self::Moment
                | Self::Amount
                | Self::Category
                | Self::Flag
                | Self::Label
                | Self::Id
                | Self::Document
        )
    }

    /// Returns what a detector's find means.
    pub(super) fn of_hit(kind: HitKind) -> Self {
        match kind {
            HitKind::Email => Self::Email,
            HitKind::Card => Self::Card,
            HitKind::Iban => Self::Iban,
            HitKind::Phone => Self::Phone,
            HitKind::Ip => Self::Ip,
            HitKind::Ssn => Self::Ssn,
            HitKind::Jwt | HitKind::CloudKey => Self::Secret,
            HitKind::NationalId => Self::NationalId,
            HitKind::Name => Self::FullName,
        }
    }
}

/// Phrases of one or two words that say what a column means, with commas between them.
const PHRASES: &[(Meaning, &str)] = &[
    (
        Meaning::Email,
        "email, mail, e mail, email address, mail address, correo, courriel",
    ),
    (
        Meaning::Phone,
        "phone, telephone, tel, mobile, fax, cell, phone number, telefon, handy, telefono, \
         telefone, msisdn",
    ),
    (
        Meaning::FirstName,
        "first name, given name, firstname, forename, vorname, prenom, nombre, fname, middle \
         name",
    ),
    (
        Meaning::LastName,
        "last name, family name, lastname, surname, nachname, apellido, lname, maiden name, \
         cognome",
    ),
    (
        Meaning::FullName,
        "name, full name, fullname, display name, holder, cardholder, card holder, author, \
         recipient, contact, patient, employee, beneficiary",
    ),
    (
        Meaning::Username,
        "username, user name, login, nickname, nick, handle, screen name, benutzername",
    ),
    (
        Meaning::Company,
        "company, employer, company name, organisation, organization, firma, entreprise",
    ),
    (
        Meaning::Street,
        "street, address, addr, address line, street address, shipping address, billing \
         address, strasse, adresse, direccion, rue, endereco",
    ),
    (
        Meaning::City,
        "city, town, ort, stadt, ville, ciudad, cidade",
    ),
    (
        Meaning::Postcode,
        "postcode, zip, zipcode, zip code, post code, postal code, plz, cep",
    ),
    (
        Meaning::Geo,
        "lat, lon, lng, latitude, longitude, geo, coordinates, location",
    ),
    (
        Meaning::Birth,
        "birth, birthdate, birthday, dob, birth date, date birth, geburtsdatum, nascimento, \
         age, death date, admission date, discharge date, admitted at, discharged at, \
         admitted, discharged",
    ),
    (
        Meaning::Iban,
        "iban, bank account, account number, kontonummer",
    ),
    (Meaning::Card, "card, card number, pan, credit card"),
    (Meaning::Ssn, "ssn, social security"),
    (
        Meaning::NationalId,
        "national id, tax id, passport, passport number, license number, driver license, \
         steuer id, nif, dni, cpf, nino, pesel, insurance number, plan number, health plan \
         number, serial, device serial, license, licence, drivers license, mrn, record \
         number, license plate, vin",
    ),
    (Meaning::Ip, "ip, ip address, remote addr, client ip"),
    (Meaning::Mac, "mac, mac address"),
    (
        Meaning::Url,
        "url, website, homepage, avatar, photo, image, profile url",
    ),
    (Meaning::Uuid, "uuid, guid"),
    (
        Meaning::Secret,
        "password, passwd, pwd, secret, token, hash, salt, api key, otp, pin, cvv, cvc, \
         session, signature, fingerprint, password hash, track, pin block, auth code, user \
         agent, cookie, otp secret, biometric",
    ),
    (
        Meaning::Prose,
        "note, notes, comment, comments, body, message, bio, remark, remarks, detail, \
         details, feedback, bemerkung, subject, text, content",
    ),
    (
        Meaning::Sensitive,
        "gender, sex, religion, ethnicity, race, nationality, diagnosis, disease, salary, \
         income, blood type, marital status, disability, union, union member, health, health \
         note, caste, politics, sexual orientation, medication",
    ),
    (
        Meaning::Document,
        "profile, payload, metadata, attributes, data, properties, settings, preferences, \
         json",
    ),
    (
        Meaning::Moment,
        "at, created, updated, modified, deleted, timestamp, date, time, since, until, \
         expires, expiry, valid from, valid to, year, month, day, quarter, seen",
    ),
    (
        Meaning::Amount,
        "amount, total, price, cents, cost, sum, tax, fee, balance, discount, quantity, qty, \
         count, number of, size, length, width, height, weight, rating, score, rate, percent, \
         position, rank, sort, duration, version, stock, subtotal, net, gross, bytes, \
         seconds, attempts, line no, priority, points",
    ),
    (
        Meaning::Category,
        "status, state, kind, type, category, currency, country, language, lang, locale, \
         method, channel, plan, tier, level, role, mode, source, color, colour, unit, \
         timezone, platform, country code, class, format, gateway, brand, segment, tags, tag",
    ),
    (
        Meaning::Flag,
        "is, has, enabled, active, verified, confirmed, deleted flag, newsletter, flag, paid, \
         opt in, visible, archived, published, subscribed",
    ),
    (
        Meaning::Label,
        "sku, slug, product name, product, file name, filename, table name, category name, \
         event name, brand name, host name, hostname, code, title, description, label, model, \
         mime type, content type, currency code, ean, isbn, plan name, role name",
    ),
    (Meaning::Id, "id, key, ref, reference, no, number, nr"),
];

/// Reports whether a column's name says that its values belong to people.
pub(crate) fn speaks_of_people(name: &str) -> bool {
    of_name(name).is_some_and(Meaning::is_personal)
}

/// Returns what a name says: of several phrases in it the one that ends last, then the longest.
pub(super) fn of_name(name: &str) -> Option<Meaning> {
    let words: Vec<String> = name_words(name)
        .into_iter()
        .filter(|word| !word.is_empty())
        .collect();
    // `is_active` and `has_children` say what they are in front.
    if words.len() > 1 && matches!(words[0].as_str(), "is" | "has") {
        return Some(Meaning::Flag);
    }
    (1..=words.len())
        .rev()
        .find_map(|end| {
            let longest = (end.saturating_sub(2)..end).find_map(|start| {
                let phrase = words[start..end].join(" ");
                let is_said = |phrases: &&(Meaning, &str)| {
                    let mut known = phrases.1.split(", ");
                    known.any(|one| one == phrase || phrase.strip_suffix('s') == Some(one))
                };
                PHRASES.iter().find(is_said).map(|(meaning, _)| *meaning)
            });
            longest.map(|meaning| (meaning, end))
        })
        .map(|(meaning, _)| meaning)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_and_longest_phrase_of_a_name_decides() {
        for (name, meaning) in [
            ("email", Meaning::Email),
            ("contactEmail", Meaning::Email),
            ("email_verified_at", Meaning::Moment),
            ("ip_address", Meaning::Ip),
            ("shipping_address", Meaning::Street),
            ("product_name", Meaning::Label),
            ("card_holder", Meaning::FullName),
            ("address_count", Meaning::Amount),
            ("is_admin", Meaning::Flag),
            ("Vorname", Meaning::FirstName),
            ("customer_id", Meaning::Id),
            ("zipCodes", Meaning::Postcode),
        ] {
            assert_eq!(of_name(name), Some(meaning), "{name}");
        }
        assert_eq!(of_name("xyzzy"), None);
    }
}
