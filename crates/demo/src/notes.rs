//! Support notes: free text in which the desk writes down whatever it is told.

use rand::RngExt;

use crate::people::pick;

/// Who works at the support desk.
const AUTHORS: [&str; 6] = [
    "desk-01",
    "desk-02",
    "desk-03",
    "night-desk",
    "returns",
    "billing",
];

/// What a note may mention.
pub(crate) struct Mentioned<'a> {
    pub(crate) full_name: &'a str,
    pub(crate) email: &'a str,
    pub(crate) phone: Option<&'a str>,
    pub(crate) card_number: Option<&'a str>,
}

/// Draws who writes a note.
pub(crate) fn author(rng: &mut impl RngExt) -> &'static str {
    pick(rng, &AUTHORS)
}

/// Draws the text of a note; each one names its customer.
pub(crate) fn body(rng: &mut impl RngExt, about: &Mentioned<'_>) -> String {
    let Mentioned {
        full_name: name,
        email,
        ..
    } = *about;
    match (rng.random_range(0..6), about.phone, about.card_number) {
        (0, _, Some(card)) => format!(
            "{name} read out card {} because the payment page hung. Told them never to do that.",
            grouped(card)
        ),
        (1, _, Some(card)) => {
            format!("Refund asked for by {name} ({email}), charged twice on card {card}.")
        }
        (0..3, Some(phone), _) => {
            format!("Called {name} back on {phone}: parcel is with the neighbour, all good.")
        }
        (3, Some(phone), _) => format!(
            "{name} moved house and wants the invoice again.\nReach them at {email} or {phone}."
        ),
        (4, ..) => format!("Complaint: wrong size, twice. {name}, <{email}>, wants a label."),
        _ => format!("{name} wrote from {email} to ask whether the lamp comes in green."),
    }
}

/// Writes a card number in groups of four, the way people read it out.
fn grouped(card: &str) -> String {
    let mut text = String::with_capacity(card.len() + 4);
    for (place, digit) in card.chars().enumerate() {
        if place > 0 && place % 4 == 0 {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;
    use rand_xoshiro::Xoshiro256PlusPlus;

    use super::*;

    #[test]
    fn every_note_names_its_customer() {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(3);
        for _ in 0..200 {
            let note = body(
                &mut rng,
                &Mentioned {
                    full_name: "Ada B. Moreau",
                    email: "ada@quillandpost.net",
                    phone: None,
                    card_number: Some("4147181234567890"),
                },
            );
            assert!(note.contains("Ada B. Moreau"), "{note}");
        }
    }

    #[test]
    fn cards_are_read_out_in_groups_of_four() {
        assert_eq!(grouped("4147181234567890"), "4147 1812 3456 7890");
    }
}
