//! `geo`: moves coordinates by a distance that belongs to a subject.

use std::sync::Arc;

use super::{Binder, Context, Distinct, Fault, Identity, Made, Mask, Options, Reuse, Traits};
use crate::batch::Cell;
use crate::schema::ColumnType;

/// Degrees of latitude to a kilometre.
const DEGREES_PER_KM: f64 = 1.0 / 111.2;

/// Latitudes, longitudes, or both in one text, moved by at most a radius and at least a tenth of it.
///
/// The move is drawn for each number by itself, or with `by` for a subject, whose places then keep
/// their distances. Nothing says that the new place is nobody's.
#[derive(Debug)]
struct Geo {
    radius: f64,
    by: Option<String>,
    by_index: Option<usize>,
}

pub(super) fn geo(options: &Options<'_>) -> Option<Arc<dyn Mask>> {
    let km = match options.reader.node("radius_km") {
        None => 50.0,
        Some(_) => options.positive("radius_km", "for instance `radius_km = 50`")?,
    };
    if km > 2000.0 {
        let hint = "2000 km move a place to another country".to_owned();
        let message = "`radius_km` must be at most 2000";
        options.reader.reject("radius_km", message, Some(hint));
        return None;
    }
    Options::done(Geo {
        radius: km * DEGREES_PER_KM,
        by: options.reader.string("by"),
        by_index: None,
    })
}

const NOT_A_PLACE: Fault = Fault::new("the value is no coordinate, nor a pair of them");

impl Geo {
    fn moved(&self, degrees: f64, unit: u64) -> f64 {
        // From -1 to 1, but for the tenth around 0.
        let share = (unit >> 11) as f64 / (1_u64 << 53) as f64 * 1.8 - 0.9;
        let share = share + 0.1_f64.copysign(share);
        let moved = degrees + share * self.radius;
        // Beyond the pole or the date line it comes back from where it went.
        if moved.abs() > 180.0 || degrees.abs() <= 90.0 && moved.abs() > 90.0 && self.radius < 90.0
        {
            return degrees - share * self.radius;
        }
        moved
    }
}

impl Mask for Geo {
    fn traits(&self) -> Traits {
        Traits {
            types: &[ColumnType::Real, ColumnType::Text],
            distinct: Distinct::Few,
            max_len: None,
            reuse: Reuse::Overlaps,
            identity: Identity::Open,
        }
    }

    fn apply(&self, input: Cell<'_>, cx: &Context<'_>, out: &mut Vec<u8>) -> Result<Made, Fault> {
        let subject = self.by_index.map_or(input, |at| cx.row.original.cell(at));
        let digest = cx.digest(subject);
        let units = [digest.first(), digest.second()];
        match input {
            Cell::Real(degrees) if degrees.abs() <= 180.0 => {
                return Ok(Made::Real(self.moved(degrees, units[0])));
            }
            Cell::Integer(degrees) if degrees.abs() <= 180 => {
                return Ok(Made::Real(self.moved(degrees as f64, units[0])));
            }
            _ => {}
        }
        let text = super::text_of(input)?;
        let mut rest = text;
        let mut found = 0;
        // Copied besides numbers are the signs of pairs and points alone: no free text rides along.
        while let Some(at) = rest.find(|c: char| c.is_ascii_digit() || c == '-') {
            let (before, number) = rest.split_at(at);
            push_signs(before, out)?;
            let end = number[1..]
                .find(|c: char| !c.is_ascii_digit() && c != '.')
                .map_or(number.len(), |end| end + 1);
            let degrees: f64 = number[..end].parse().map_err(|_| NOT_A_PLACE)?;
            if found == 2 || degrees.abs() > 180.0 {
                return Err(NOT_A_PLACE);
            }
            let decimals = number[..end]
                .split_once('.')
                .map_or(4, |(_, after)| after.len());
            let moved = self.moved(degrees, units[found]);
            out.extend_from_slice(format!("{moved:.*}", decimals.clamp(4, 8)).as_bytes());
            found += 1;
            rest = &number[end..];
        }
        push_signs(rest, out)?;
        if found == 0 {
            return Err(NOT_A_PLACE);
        }
        Ok(Made::Text)
    }

    fn bind(&self, binder: &Binder<'_>) -> Result<Option<Arc<dyn Mask>>, String> {
        let Some(by) = &self.by else {
            return Ok(None);
        };
        let by_index =
            (binder.position)(by).ok_or_else(|| format!("`by` names no column `{by}`"))?;
        Ok(Some(Arc::new(Self {
            radius: self.radius,
            by: self.by.clone(),
            by_index: Some(by_index),
        })))
    }

    fn reads(&self) -> Option<usize> {
        self.by_index
    }
}

fn push_signs(text: &str, out: &mut Vec<u8>) -> Result<(), Fault> {
    let point = text.trim().strip_prefix("POINT").unwrap_or(text);
    let sign = |byte: u8| b"(),; ".contains(&byte);
    if !point.bytes().all(sign) {
        return Err(NOT_A_PLACE);
    }
    out.extend_from_slice(text.as_bytes());
    Ok(())
}
