//! Customers: who they are and what they wrote into the sign-up form.

use jiff::{SignedDuration, Timestamp};
use rand::RngExt;

use crate::country::{Countries, Country};

/// One row of `customers`.
pub(crate) struct Customer {
    pub(crate) id: i64,
    pub(crate) email: String,
    pub(crate) full_name: String,
    pub(crate) phone: Option<String>,
    pub(crate) street: Option<String>,
    pub(crate) city: Option<String>,
    pub(crate) postcode: Option<String>,
    pub(crate) country: String,
    pub(crate) birth_date: Option<String>,
    pub(crate) iban: Option<String>,
    pub(crate) created_at: Timestamp,
    pub(crate) profile: String,
}

/// Mail providers and companies that exist only here. Not `example.com`, because data that looks
/// like test data would let a masking rule pass that fails on real data.
const MAIL_DOMAINS: [&str; 24] = [
    "nordwind-post.de",
    "briefkasten-sued.de",
    "kellermann-bau.de",
    "ahornhof-hotels.de",
    "boitemail-lyon.fr",
    "atelier-fontanes.fr",
    "groupe-vaugelade.fr",
    "postvak-noord.nl",
    "dijkzicht-advies.nl",
    "postafina.it",
    "studio-belcastro.it",
    "harbourline-mail.co.uk",
    "thistlewood-legal.co.uk",
    "pennybrook-foods.co.uk",
    "lakeshore-inbox.com",
    "tamarackmail.com",
    "bluestem-dental.com",
    "cortland-freight.com",
    "mailhollow.net",
    "quillandpost.net",
    "ostrava-robotics.eu",
    "meridian-optics.eu",
    "saltmarsh-energy.com",
    "fernway-schools.org",
];

const TAGS: [&str; 6] = [
    "vip",
    "wholesale",
    "returns-often",
    "gift-buyer",
    "b2b",
    "student",
];

/// How long the shop has been in business, days.
const HISTORY_DAYS: i64 = 3 * 365;

impl Customer {
    /// Draws a customer who signed up within the shop's history before `now`.
    pub(crate) fn draw_past(
        rng: &mut impl RngExt,
        countries: &Countries,
        id: i64,
        now: Timestamp,
    ) -> Self {
        let opening = now - SignedDuration::from_hours(HISTORY_DAYS * 24);
        let created_at = moment(rng, opening, now);
        Self::draw(rng, countries, id, created_at)
    }

    /// Draws a customer who signs up at `created_at`.
    pub(crate) fn draw(
        rng: &mut impl RngExt,
        countries: &Countries,
        id: i64,
        created_at: Timestamp,
    ) -> Self {
        let country = countries.pick(rng);
        let first = country.first_name(rng);
        let last = country.last_name(rng);
        let full_name = full_name(rng, country, first, last);
        let email = email(rng, first, last, id);
        let phone = rng.random_bool(0.92).then(|| country.phone(rng));
        Self {
            id,
            street: Some(country.street(rng)),
            city: Some(country.city(rng)),
            postcode: Some(country.postcode(rng)),
            country: country.code().to_owned(),
            birth_date: rng.random_bool(0.9).then(|| birth_date(rng)),
            iban: country.iban(rng).filter(|_| rng.random_bool(0.6)),
            created_at,
            profile: profile(rng, &email, phone.as_deref()),
            email,
            full_name,
            phone,
        }
    }

    /// Returns the address as it is printed on a parcel, on one line.
    pub(crate) fn address(&self) -> String {
        let part = |part: &Option<String>| part.clone().unwrap_or_default();
        format!(
            "{}, {} {}, {}",
            part(&self.street),
            part(&self.postcode),
            part(&self.city),
            self.country
        )
    }
}

/// Returns a name with a second first name, a middle initial or a double surname.
///
/// A plain first and last name is what word lists give as a replacement as well; with the third
/// part, a name found in a masked copy got there from the original and not by chance.
fn full_name(rng: &mut impl RngExt, country: &Country, first: &str, last: &str) -> String {
    match rng.random_range(0..10) {
        0..5 => {
            let second = country.first_name(rng);
            format!("{first} {second} {last}")
        }
        5..8 => {
            let initial = char::from(b'A' + rng.random_range(0..26_u8));
            format!("{first} {initial}. {last}")
        }
        _ => {
            let born = country.last_name(rng);
            format!("{first} {last}-{born}")
        }
    }
}

/// Returns an address that ends in the customer's number and is therefore unique.
fn email(rng: &mut impl RngExt, first: &str, last: &str, id: i64) -> String {
    let (first, last) = (plain_letters(first), plain_letters(last));
    let domain = pick(rng, &MAIL_DOMAINS);
    match rng.random_range(0..3) {
        0 => format!("{}.{last}{id}@{domain}", &first[..1]),
        1 => format!("{last}.{first}{id}@{domain}"),
        _ => format!("{first}.{last}{id}@{domain}"),
    }
}

/// Writes a name with the letters of an e-mail address; `x` if none is left.
fn plain_letters(name: &str) -> String {
    let mut plain = String::with_capacity(name.len());
    for letter in name.chars().flat_map(char::to_lowercase) {
        match letter {
            'a'..='z' => plain.push(letter),
            'ä' | 'æ' => plain.push_str("ae"),
            'ö' | 'ø' => plain.push_str("oe"),
            'ü' => plain.push_str("ue"),
            'ß' => plain.push_str("ss"),
            'à' | 'á' | 'â' => plain.push('a'),
            'ç' | 'ć' | 'č' => plain.push('c'),
            'è' | 'é' | 'ê' | 'ë' => plain.push('e'),
            'ì' | 'í' | 'î' | 'ï' => plain.push('i'),
            'ò' | 'ó' | 'ô' => plain.push('o'),
            'ù' | 'ú' | 'û' => plain.push('u'),
            _ => {}
        }
    }
    if plain.is_empty() {
        plain.push('x');
    }
    plain
}

fn birth_date(rng: &mut impl RngExt) -> String {
    let (year, month, day) = (
        rng.random_range(1941..2007),
        rng.random_range(1..13),
        rng.random_range(1..29),
    );
    format!("{year}-{month:02}-{day:02}")
}

/// Returns the profile as JSON. All parts are plain ASCII of this file's making, so nothing needs
/// an escape.
fn profile(rng: &mut impl RngExt, email: &str, phone: Option<&str>) -> String {
    let phone = phone.map_or_else(|| "null".to_owned(), |phone| format!("\"{phone}\""));
    let newsletter = rng.random_bool(0.4);
    let tags = match rng.random_range(0..4) {
        0 => format!("\"{}\"", pick(rng, &TAGS)),
        1 => {
            let first = rng.random_range(0..TAGS.len() - 1);
            format!("\"{}\",\"{}\"", TAGS[first], TAGS[first + 1])
        }
        _ => String::new(),
    };
    format!(
        "{{\"contact\":{{\"email\":\"{email}\",\"phone\":{phone}}},\"newsletter\":{newsletter},\
         \"tags\":[{tags}]}}"
    )
}

/// Draws a moment from `since` on and before `now`, whole seconds after `since`.
pub(crate) fn moment(rng: &mut impl RngExt, since: Timestamp, now: Timestamp) -> Timestamp {
    let span_secs = now.duration_since(since).as_secs().max(1);
    since + SignedDuration::from_secs(rng.random_range(0..span_secs))
}

/// Draws one of a list.
pub(crate) fn pick(rng: &mut impl RngExt, list: &[&'static str]) -> &'static str {
    list[rng.random_range(0..list.len())]
}

#[cfg(test)]
mod tests {
    use super::plain_letters;

    #[test]
    fn an_address_has_no_letters_that_mail_servers_refuse() {
        assert_eq!(
            plain_letters("Müller-Schwarzenberg"),
            "muellerschwarzenberg"
        );
        assert_eq!(plain_letters("O'Connell"), "oconnell");
        assert_eq!(plain_letters("Ж"), "x");
    }
}
