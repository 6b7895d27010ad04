//! `text`: free text, in which anything may stand.
//!
//! Without options nothing of the original survives: a synthetic text of about the same length takes
//! its place. With `on_hit` the text stays and only what detectors find is replaced. Names and
//! places that people write in prose are then kept: a residual risk that the rule's author accepts.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Binder, Bound, Context, Distinct, Fault, Made, Mask, Options, Reuse, Traits, text_of};
use crate::batch::Cell;
use crate::detect::{HitKind, detect};
use crate::rules::{MaskRule, Normalize};
use crate::words;

/// Longest synthetic text, in bytes.
const SYNTHETIC_MAX: usize = 4096;

#[derive(Debug)]
enum Text {
    Replace,
    Hits(OnHit, BTreeMap<HitKind, Bound>),
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum OnHit {
    Redact,
    Domain,
}

pub(super) fn text(options: &Options<'_>) -> Option<Arc<dyn Mask>> {
    let replace = options.reader.string("replace");
    let on_hit = options.reader.string("on_hit");
    match (replace.as_deref(), on_hit.as_deref()) {
        (None | Some("all"), None) => Options::done(Text::Replace),
        (None, Some("redact")) => Options::done(Text::Hits(OnHit::Redact, BTreeMap::new())),
        (None, Some("domain")) => Options::done(Text::Hits(OnHit::Domain, BTreeMap::new())),
        (Some(_), Some(_)) => {
            let hint = "`replace` discards the text, `on_hit` keeps what no detector finds";
            let message = "`replace` and `on_hit` exclude each other";
            options
                .reader
                .reject("replace", message, Some(hint.to_owned()));
            None
        }
        (Some(other), None) => {
            let message = format!("`replace` must be `all`, not `{other}`");
            options.reader.reject("replace", message, None);
            None
        }
        (None, Some(other)) => {
            let message = format!("`on_hit` must be `redact` or `domain`, not `{other}`");
            options.reader.reject("on_hit", message, None);
            None
        }
    }
}

impl Mask for Text {
    fn traits(&self) -> Traits {
        let identity = match self {
            Self::Replace => super::Identity::Never,
            // A text without a find stays as it is.
            Self::Hits(..) => super::Identity::Open,
        };
        Traits {
            reuse: match self {
                Self::Replace => Reuse::Listed(words::is_listed),
                Self::Hits(..) => Reuse::Leak,
            },
            identity,
            ..Traits::text(Distinct::Few, None)
        }
    }

    fn apply(&self, input: Cell<'_>, cx: &Context<'_>, out: &mut Vec<u8>) -> Result<Made, Fault> {
        let text = text_of(input)?.as_bytes();
        match self {
            Self::Replace => {
                let mut draws = cx.digest(input).whole().draws();
                words::push_sentences(&mut draws, text.len().min(SYNTHETIC_MAX), out);
            }
            Self::Hits(_, domains) => replace_hits(text, domains, cx, out)?,
        }
        Ok(Made::Text)
    }

    fn bind(&self, binder: &Binder<'_>) -> Result<Option<Arc<dyn Mask>>, String> {
        let Self::Hits(OnHit::Domain, _) = self else {
            return Ok(None);
        };
        let mut domains = BTreeMap::new();
        for (kind, fallback) in fallbacks() {
            let of_kind = |rule: &MaskRule| rule.mask.hit_kind() == Some(kind);
            let named = binder
                .rules
                .domains
                .iter()
                .find(|domain| of_kind(&domain.rule));
            let bound = match named {
                Some(domain) => binder.domain(&domain.name)?,
                None => binder.rule(&fallback)?,
            };
            domains.insert(kind, bound);
        }
        Ok(Some(Arc::new(Self::Hits(OnHit::Domain, domains))))
    }

    fn is_prose(&self) -> bool {
        true
    }

    fn detects(&self) -> bool {
        matches!(self, Self::Hits(..))
    }
}

/// Returns how finds are masked for which the rules have no domain.
fn fallbacks() -> [(HitKind, MaskRule); 6] {
    let rule = |name, mask| MaskRule {
        name,
        mask,
        normalize: Normalize::default(),
    };
    [
        (HitKind::Email, rule("email", super::contact::any_email())),
        (HitKind::Phone, rule("phone", super::contact::any_phone())),
        (HitKind::Card, rule("card", super::finance::any_card())),
        (HitKind::Iban, rule("iban", super::finance::any_iban())),
        (HitKind::Ssn, rule("ssn", super::finance::any_ssn())),
        (HitKind::Ip, rule("ip", super::network::any_ip())),
    ]
}

fn replace_hits(
    text: &[u8],
    domains: &BTreeMap<HitKind, Bound>,
    cx: &Context<'_>,
    out: &mut Vec<u8>,
) -> Result<(), Fault> {
    let mut from = 0;
    for hit in detect(text) {
        out.extend_from_slice(&text[from..hit.range.start]);
        match domains.get(&hit.kind) {
            Some(bound) => bound.splice(&text[hit.range.clone()], cx.row, out)?,
            None => out.extend_from_slice(b"[redacted]"),
        }
        from = hit.range.end;
    }
    out.extend_from_slice(&text[from..]);
    Ok(())
}
