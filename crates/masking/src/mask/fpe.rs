//! `fpe`: one to one among all texts of a shape, by a cipher that keeps the format.

use std::sync::Arc;

use lifeboat_document::suggest;

use super::alphabet::Alphabet;
use super::ff1::Ff1;
use super::text_of;
use super::{Context, Distinct, Fault, Identity, Made, Mask, Options, Permutation, Reuse, Traits};
use crate::batch::Cell;
use crate::key::DomainKey;

/// Characters of the alphabet are enciphered, all others stay in their places.
#[derive(Debug)]
struct Fpe {
    alphabet: Alphabet,
    cipher: Option<Ff1>,
}

pub(super) fn fpe(options: &Options<'_>) -> Option<Arc<dyn Mask>> {
    let named = options.reader.string("alphabet");
    let name = named.as_deref().unwrap_or("digits");
    let names = Alphabet::NAMES;
    let Some((_, alphabet)) = names.iter().find(|(other, _)| *other == name) else {
        let known = names.map(|(name, _)| name);
        let hint = match suggest(name, known) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("use one of `{}`", known.join("`, `")),
        };
        let message = format!("`{name}` is no alphabet");
        options.reader.reject("alphabet", message, Some(hint));
        return None;
    };
    Options::done(Fpe {
        alphabet: *alphabet,
        cipher: None,
    })
}

impl Mask for Fpe {
    fn traits(&self) -> Traits {
        Traits {
            reuse: Reuse::Overlaps,
            identity: Identity::OfForm(self.alphabet),
            ..Traits::text(Distinct::Injective, None)
        }
    }

    fn apply(&self, input: Cell<'_>, cx: &Context<'_>, out: &mut Vec<u8>) -> Result<Made, Fault> {
        let text = text_of(input)?.as_bytes();
        let mut numerals = [0; 36];
        let mut count = 0;
        for numeral in text.iter().filter_map(|byte| self.alphabet.numeral(*byte)) {
            *numerals.get_mut(count).ok_or(TOO_LONG)? = numeral;
            count += 1;
        }
        self.encipher(&mut numerals[..count], cx.key)?;
        let mut next = numerals[..count].iter();
        out.extend(text.iter().map(|byte| match self.alphabet.numeral(*byte) {
            Some(_) => next.next().map_or(b'0', |n| self.alphabet.character(*n)),
            None => *byte,
        }));
        Ok(Made::Text)
    }

    fn redraws(&self) -> Option<Alphabet> {
        Some(self.alphabet)
    }

    fn keyed(&self, key: &DomainKey) -> Option<Arc<dyn Mask>> {
        Some(Arc::new(Self {
            alphabet: self.alphabet,
            cipher: Some(Ff1::new(key, self.alphabet.radix())),
        }))
    }
}

const TOO_LONG: Fault = Fault::new("the value is too long to be enciphered; use `hash`");

impl Fpe {
    fn encipher(&self, numerals: &mut [u8], key: &DomainKey) -> Result<(), Fault> {
        let radix = self.alphabet.radix();
        match numerals.len() {
            0 => Err(Fault::new("the value has no character of the alphabet")),
            len if len > Ff1::len_max(radix) => Err(TOO_LONG),
            len if len >= Ff1::len_min(radix) => {
                let cipher = self.cipher.as_ref();
                cipher
                    .expect("masks are keyed when bound")
                    .encrypt(numerals);
                Ok(())
            }
            // The standard allows no fewer than a million values: a permutation takes its place.
            len => {
                let number = |n: u64, numeral: &u8| n * radix + u64::from(*numeral);
                let value = numerals.iter().fold(0, number);
                let size = u128::from(radix.pow(len as u32));
                let tweak = (1 << 16) | (radix << 8) | len as u64;
                let mut image = Permutation::new(size).image(key.permutation(), tweak, value);
                for numeral in numerals.iter_mut().rev() {
                    *numeral = (image % radix) as u8;
                    image /= radix;
                }
                Ok(())
            }
        }
    }
}
