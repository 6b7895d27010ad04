//! The handful of countries the shop sells to, with what is written differently in each.

use fake::faker::address::raw::{CityName, StreetName};
use fake::locales::{DE_DE, Data, EN, FR_FR, IT_IT, NL_NL};
use fake::{Dummy, Fake as _};
use rand::RngExt;

use crate::numbers::{fill, iban};
use crate::people::pick;

/// How numbers are written in one country. Patterns are those of [`fill`].
struct Customs {
    /// ISO 3166-1 alpha-2.
    code: &'static str,
    /// ISO 4217.
    currency: &'static str,
    phone: &'static str,
    postcode: &'static str,
    /// The part of an IBAN behind country and check digits, where the country has IBANs.
    account: Option<&'static str>,
    /// Whether `12 Rue X` is written, or `Xweg 12`.
    number: HouseNumber,
    /// Out of a hundred customers, how many live here.
    share: u32,
}

#[derive(Clone, Copy)]
enum HouseNumber {
    First,
    Last,
}

const CUSTOMS: [Customs; 6] = [
    Customs {
        code: "DE",
        currency: "EUR",
        phone: "+49 15# ########",
        postcode: "^####",
        account: Some("##################"),
        number: HouseNumber::Last,
        share: 30,
    },
    Customs {
        code: "FR",
        currency: "EUR",
        phone: "+33 6 ## ## ## ##",
        postcode: "^####",
        account: Some("#######################"),
        number: HouseNumber::First,
        share: 18,
    },
    Customs {
        code: "NL",
        currency: "EUR",
        phone: "+31 6 ########",
        postcode: "^### @@",
        account: Some("@@@@##########"),
        number: HouseNumber::Last,
        share: 12,
    },
    Customs {
        code: "IT",
        currency: "EUR",
        phone: "+39 3## #######",
        postcode: "^####",
        account: Some("@######################"),
        number: HouseNumber::Last,
        share: 12,
    },
    Customs {
        code: "GB",
        currency: "GBP",
        phone: "+44 7### ######",
        postcode: "@@# #@@",
        account: Some("@@@@##############"),
        number: HouseNumber::First,
        share: 16,
    },
    Customs {
        code: "US",
        currency: "USD",
        phone: "+1 ^## ^## ####",
        postcode: "^####",
        account: None,
        number: HouseNumber::First,
        share: 12,
    },
];

/// Returns the currency that is paid in a country.
pub(crate) fn currency_of(code: &str) -> &'static str {
    CUSTOMS
        .iter()
        .find(|customs| customs.code == code)
        .map_or("EUR", |customs| customs.currency)
}

/// One country with the names of its people and places.
pub(crate) struct Country {
    customs: &'static Customs,
    first_names: &'static [&'static str],
    last_names: &'static [&'static str],
    cities: Vec<String>,
    streets: Vec<String>,
}

impl Country {
    pub(crate) fn code(&self) -> &'static str {
        self.customs.code
    }

    pub(crate) fn first_name(&self, rng: &mut impl RngExt) -> &'static str {
        pick(rng, self.first_names)
    }

    pub(crate) fn last_name(&self, rng: &mut impl RngExt) -> &'static str {
        pick(rng, self.last_names)
    }

    pub(crate) fn city(&self, rng: &mut impl RngExt) -> String {
        self.cities[rng.random_range(0..self.cities.len())].clone()
    }

    /// Draws a street with a house number.
    pub(crate) fn street(&self, rng: &mut impl RngExt) -> String {
        let street = &self.streets[rng.random_range(0..self.streets.len())];
        let number = rng.random_range(1..180);
        match self.customs.number {
            HouseNumber::First => format!("{number} {street}"),
            HouseNumber::Last => format!("{street} {number}"),
        }
    }

    pub(crate) fn postcode(&self, rng: &mut impl RngExt) -> String {
        fill(rng, self.customs.postcode)
    }

    pub(crate) fn phone(&self, rng: &mut impl RngExt) -> String {
        fill(rng, self.customs.phone)
    }

    /// Draws an IBAN, or `None` where the country has none.
    pub(crate) fn iban(&self, rng: &mut impl RngExt) -> Option<String> {
        let account = self.customs.account?;
        Some(iban(rng, self.customs.code, account))
    }
}

/// Every country, with its names of places drawn once.
pub(crate) struct Countries(Vec<Country>);

impl Countries {
    pub(crate) fn draw(rng: &mut impl RngExt) -> Self {
        let country = |customs: &'static Customs| match customs.code {
            "DE" => populate(customs, DE_DE, rng),
            "FR" => populate(customs, FR_FR, rng),
            "IT" => populate(customs, IT_IT, rng),
            "NL" => populate(customs, NL_NL, rng),
            _ => populate(customs, EN, rng),
        };
        Self(CUSTOMS.iter().map(country).collect())
    }

    /// Draws the country of a customer, each by its share.
    pub(crate) fn pick(&self, rng: &mut impl RngExt) -> &Country {
        let mut ticket = rng.random_range(0..100);
        self.0
            .iter()
            .find(|country| {
                let share = country.customs.share;
                let drawn = ticket < share;
                ticket = ticket.saturating_sub(share);
                drawn
            })
            .expect("the shares add up to a hundred")
    }
}

/// Names of each kind of place per country: enough variety, little memory.
const PLACES: usize = 600;

fn populate<L>(customs: &'static Customs, locale: L, rng: &mut impl RngExt) -> Country
where
    L: Data + Copy,
    String: Dummy<CityName<L>> + Dummy<StreetName<L>>,
{
    let cities = (0..PLACES).map(|_| CityName(locale).fake_with_rng(rng));
    let cities = cities.collect();
    let streets = (0..PLACES).map(|_| StreetName(locale).fake_with_rng(rng));
    Country {
        customs,
        first_names: L::NAME_FIRST_NAME,
        last_names: L::NAME_LAST_NAME,
        cities,
        streets: streets.collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::CUSTOMS;

    #[test]
    fn the_shares_add_up_to_a_hundred() {
        let shares = CUSTOMS.iter().map(|customs| customs.share);
        assert_eq!(shares.sum::<u32>(), 100);
    }
}
