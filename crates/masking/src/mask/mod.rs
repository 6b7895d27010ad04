//! Transformers: what turns an original value into a masked one.
//!
//! Each is a small struct that holds its options; the key of its domain comes in with the call.
//! [`KINDS`] is the list of names that rules may use. NULL stays NULL and empty stays empty (only
//! `null` turns an empty value into NULL): whether somebody has a phone number is not hidden, and
//! software under test meets the same gaps as in production.
//!
//! A transformer never puts a value, or a part of one, into an error.

mod alphabet;
mod bound;
mod constant;
mod contact;
mod date;
mod decimal;
mod feistel;
mod ff1;
mod finance;
mod fpe;
mod geo;
mod json;
mod literal;
mod national;
mod network;
mod number;
mod options;
mod permute;
mod person;
mod place;
mod template;
mod text;
mod token;

use std::fmt;

pub(crate) use alphabet::Alphabet;
pub(crate) use bound::{Binder, Bound, Context, Made, RowContext};
pub(crate) use constant::{REDACTED, null_mask, redact};
pub(crate) use decimal::{parse_signed, push_decimal, push_padded, push_signed};
pub(crate) use feistel::Permutation;
pub(crate) use literal::{each_field, each_item, each_pair};
pub(crate) use options::Options;
pub(crate) use token::push_hex;

use crate::batch::Cell;
use crate::key::DomainKey;
use crate::schema::ColumnType;

/// A transformer with its options.
pub(crate) trait Mask: fmt::Debug + Send + Sync {
    /// Returns what is true of every output.
    fn traits(&self) -> Traits;

    /// Makes the masked value of `input`, which is neither NULL nor empty.
    ///
    /// Text and blobs are appended to `out`.
    fn apply(&self, input: Cell<'_>, cx: &Context<'_>, out: &mut Vec<u8>) -> Result<Made, Fault>;

    /// Reports whether a value that is neither NULL nor empty is no value of its kind either, tells
    /// nothing about anybody, and stays as it is.
    fn lets_pass(&self, input: Cell<'_>) -> bool {
        let _unused_by_most = input;
        false
    }

    /// Returns the mask with the columns and domains it names looked up, if it names any.
    fn bind(&self, binder: &Binder<'_>) -> Result<Option<std::sync::Arc<dyn Mask>>, String> {
        let _unused_by_most = binder;
        Ok(None)
    }

    /// Returns what its key is derived from where it is written in place, if that is not the place.
    fn label(&self, place: &str) -> Option<String> {
        let _unused_by_most = place;
        None
    }

    /// Reports whether every output is NULL.
    fn makes_null(&self) -> bool {
        false
    }

    /// Returns what kind of find in a text this mask replaces.
    fn hit_kind(&self) -> Option<crate::detect::HitKind> {
        None
    }

    /// Reports whether detectors decide what is replaced, and all else stays.
    fn detects(&self) -> bool {
        false
    }

    /// Reports whether the originals are prose, in which personal values stand among others.
    fn is_prose(&self) -> bool {
        false
    }

    /// Returns the original column of the row that it reads besides its own.
    fn reads(&self) -> Option<usize> {
        None
    }

    /// Reports whether it reads other masked columns, and so comes after them.
    fn reads_masked(&self) -> bool {
        false
    }

    /// Returns the mask with what its domain's key makes, if that is worth making once.
    fn keyed(&self, key: &DomainKey) -> Option<std::sync::Arc<dyn Mask>> {
        let _unused_by_most = key;
        None
    }

    /// Returns the characters that it replaces by others of them, any of which may come, while all else
    /// stays: chance then makes values that detectors know.
    fn redraws(&self) -> Option<Alphabet> {
        None
    }

    /// Returns what takes its values apart, if they hold others: for those who look into them.
    fn parts(&self) -> Option<&dyn Parts> {
        None
    }

    /// Returns what rules call the values inside its own that they keep.
    fn kept_inside(&self) -> Vec<String> {
        Vec::new()
    }

    /// Reports whether its outputs are JSON documents.
    fn is_json(&self) -> bool {
        false
    }
}

/// Takes apart values that hold others.
pub(crate) trait Parts {
    /// Calls `visit` with each value inside `value`, and with what masks it: `None` if it is kept, if
    /// no rule names it, and for names of members.
    fn each(&self, value: &[u8], visit: &mut dyn FnMut(Cell<'_>, Option<&Bound>));
}

/// What is true of a transformer's outputs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Traits {
    /// Column types it can fill; `Any` is always accepted.
    pub(crate) types: &'static [ColumnType],
    /// How its outputs may collide.
    pub(crate) distinct: Distinct,
    /// Longest output in bytes; `None` if it follows the input's length.
    pub(crate) max_len: Option<usize>,
    /// How an output that equals some original is to be judged.
    pub(crate) reuse: Reuse,
    /// Whether an output may equal its own original.
    pub(crate) identity: Identity,
}

/// How outputs of different inputs may collide.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Distinct {
    /// Never.
    Injective,
    /// As random values of so many bits do.
    Bits(f64),
    /// Freely: the mask makes few values.
    Few,
    /// All outputs are NULL, which unique columns take any number of times.
    Null,
}

/// What it means that an output equals some original of the copied source.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Reuse {
    /// The mask cannot make production values: it is a leak.
    Leak,
    /// The mask draws from a public word list: a coincidence if the word is on it.
    Listed(fn(&[u8]) -> bool),
    /// The mask makes values of the same small space (dates, numbers): says nothing.
    Overlaps,
}

/// Whether an output may equal its own original.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Identity {
    /// Never: another output is drawn until it differs.
    Never,
    /// With this probability.
    Chance(f64),
    /// As one among all values of its form may.
    OfForm(Alphabet),
    /// By design, as 10 rounded to tens.
    Open,
}

/// Why a value could not be masked. Holds no part of the value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault(pub(crate) std::borrow::Cow<'static, str>);

impl Fault {
    pub(crate) const fn new(text: &'static str) -> Self {
        Self(std::borrow::Cow::Borrowed(text))
    }
}

/// A name that rules may use.
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    pub(crate) parse: fn(&Options<'_>) -> Option<std::sync::Arc<dyn Mask>>,
}

const fn entry(
    name: &'static str,
    parse: fn(&Options<'_>) -> Option<std::sync::Arc<dyn Mask>>,
) -> Kind {
    Kind { name, parse }
}

/// Every transformer, by name.
static KINDS: &[Kind] = &[
    entry("null", constant::null),
    entry("const", constant::constant),
    entry("redact", constant::redacted),
    entry("dict", constant::dict),
    entry("hash", token::hash),
    entry("uuid", token::uuid),
    entry("random", token::random),
    entry("permute_int", permute::permute_int),
    entry("permute_id", permute::permute_id),
    entry("fpe", fpe::fpe),
    entry("noise", number::noise),
    entry("bucket", number::bucket),
    entry("generalize", number::generalize),
    entry("email", contact::email),
    entry("phone", contact::phone),
    entry("name", person::name),
    entry("person", person::person),
    entry("company", place::company),
    entry("address", place::address),
    entry("city", place::city),
    entry("postcode", place::postcode),
    entry("card", finance::card),
    entry("iban", finance::iban),
    entry("ssn", finance::ssn),
    entry("national_id", national::national_id),
    entry("ip", network::ip),
    entry("mac", network::mac),
    entry("url", network::url),
    entry("geo", geo::geo),
    entry("shift_date", date::shift_date),
    entry("text", text::text),
    entry("json", json::json),
    entry("array", literal::array),
    entry("hstore", literal::hstore),
    entry("composite", literal::composite),
    entry("template", template::template),
    entry("derive", template::derive),
];

/// Returns the transformer called `name`.
pub(crate) fn kind(name: &str) -> Option<&'static Kind> {
    KINDS.iter().find(|kind| kind.name == name)
}

/// Returns the names of all transformers.
pub(crate) fn names() -> impl Iterator<Item = &'static str> + Clone {
    KINDS.iter().map(|kind| kind.name)
}

/// Returns the text of a cell that must be valid UTF-8 text.
pub(crate) fn text_of(cell: Cell<'_>) -> Result<&str, Fault> {
    match cell {
        Cell::Text(bytes) => {
            std::str::from_utf8(bytes).map_err(|_| Fault::new("the text is not valid UTF-8"))
        }
        _ => Err(Fault::new("the value is not text, which this mask needs")),
    }
}

/// Returns the bytes of a cell that must be valid UTF-8 text, for masks that look at ASCII only.
pub(crate) fn utf8_of(cell: Cell<'_>) -> Result<&[u8], Fault> {
    match cell {
        // Nearly all that these masks are for, and much sooner seen.
        Cell::Text(bytes) if bytes.is_ascii() => Ok(bytes),
        _ => text_of(cell).map(str::as_bytes),
    }
}

/// Column types of masks that make text.
pub(crate) const TEXT: &[ColumnType] = &[ColumnType::Text];

impl Traits {
    /// Traits of a mask that makes text from a space so large, and so marked, that it meets no
    /// original.
    pub(crate) const fn text(distinct: Distinct, max_len: Option<usize>) -> Self {
        Self {
            types: TEXT,
            distinct,
            max_len,
            reuse: Reuse::Leak,
            identity: Identity::Never,
        }
    }
}
