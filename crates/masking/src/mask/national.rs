//! `national_id`: identity and tax numbers from ranges that nobody is given.

use std::sync::Arc;

use lifeboat_document::suggest;

use super::{Context, Distinct, Fault, Made, Mask, Options, Traits, text_of};
use crate::batch::Cell;

/// Whose number it is.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Country {
    De,
    Gb,
}

#[derive(Debug)]
struct NationalId(Country);

const COUNTRIES: [&str; 3] = ["de", "gb", "us"];

pub(super) fn national_id(options: &Options<'_>) -> Option<Arc<dyn Mask>> {
    let hint = format!("use one of `{}`", COUNTRIES.join("`, `"));
    let country = options.reader.required_string("country", &hint)?;
    match country.as_str() {
        "de" => Options::done(NationalId(Country::De)),
        "gb" => Options::done(NationalId(Country::Gb)),
        "us" => super::finance::ssn(options),
        other => {
            let near = suggest(other, COUNTRIES).map(|near| format!("did you mean `{near}`?"));
            let message = format!("no numbers are known for country `{other}`");
            options
                .reader
                .reject("country", message, near.or(Some(hint)));
            None
        }
    }
}

impl Mask for NationalId {
    fn traits(&self) -> Traits {
        Traits::text(Distinct::Few, Some(13))
    }

    fn apply(&self, input: Cell<'_>, cx: &Context<'_>, out: &mut Vec<u8>) -> Result<Made, Fault> {
        let text = text_of(input)?;
        let mut draws = cx.digest(input).draws();
        match self.0 {
            Country::De => {
                // German tax numbers for tests start with 0, those of people never do.
                let mut digits = [b'0'; 11];
                draws.fill(&mut digits[1..10]);
                // No month of a Norwegian or Belgian number, which may start with 0.
                digits[2] = b'2' + draws.below(8) as u8;
                digits[10] = mod_11_10(&digits[..10]);
                push_grouped(&digits, &[2, 3, 3, 3], text.contains(' '), out);
            }
            Country::Gb => {
                // The prefix QQ is kept for examples.
                let mut number = *b"QQ000000A";
                draws.fill(&mut number[2..8]);
                number[8] = b'A' + draws.below(4) as u8;
                push_grouped(&number, &[2, 2, 2, 2, 1], text.contains(' '), out);
            }
        }
        Ok(Made::Text)
    }
}

fn push_grouped(characters: &[u8], groups: &[usize], grouped: bool, out: &mut Vec<u8>) {
    let mut rest = characters;
    for (n, len) in groups.iter().enumerate() {
        if n > 0 && grouped {
            out.push(b' ');
        }
        out.extend_from_slice(&rest[..*len]);
        rest = &rest[*len..];
    }
}

/// Returns the check digit of ISO 7064, MOD 11,10.
fn mod_11_10(digits: &[u8]) -> u8 {
    let product = digits.iter().fold(10, |product, digit| {
        let sum = (u32::from(digit - b'0') + product) % 10;
        2 * if sum == 0 { 10 } else { sum } % 11
    });
    b'0' + ((11 - product) % 10) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn check_digits_match_published_examples() {
        // From the German tax office's description of the identification number.
        assert_eq!(mod_11_10(b"8609574271"), b'9');
        assert_eq!(mod_11_10(b"4703689281"), b'6');
        assert_eq!(mod_11_10(b"6592997048"), b'9');
    }
}
