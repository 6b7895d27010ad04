//! Typed access to the options of a mask in a rule.

use std::sync::Arc;

use lifeboat_document::{Reader, Value};

use super::Mask;
use crate::rules::Nested;

/// The options of one mask, and how to read rules inside them.
pub(crate) struct Options<'a> {
    pub(crate) reader: &'a Reader<'a>,
    pub(crate) nested: &'a Nested<'a>,
}

impl Options<'_> {
    /// Returns `value` as a mask.
    pub(crate) fn done(mask: impl Mask + 'static) -> Option<Arc<dyn Mask>> {
        Some(Arc::new(mask))
    }

    /// Returns a flag, false if absent.
    pub(crate) fn flag(&self, name: &'static str) -> bool {
        self.reader.boolean(name).unwrap_or(false)
    }

    /// Returns an integer within `range`, or `default` if absent.
    pub(crate) fn integer(
        &self,
        name: &'static str,
        range: std::ops::RangeInclusive<i64>,
        default: i64,
    ) -> Option<i64> {
        if self.reader.node(name).is_none() {
            return Some(default);
        }
        let number = self.reader.integer(name)?;
        if range.contains(&number) {
            return Some(number);
        }
        let hint = format!("use {} to {}", range.start(), range.end());
        let message = format!("`{name}` is {number}, which does not do");
        self.reader.reject(name, message, Some(hint));
        None
    }

    /// Returns a positive number, integer or not.
    pub(crate) fn positive(&self, name: &'static str, why: &str) -> Option<f64> {
        let Some(node) = self.reader.node(name) else {
            self.reader.missing(name, why);
            return None;
        };
        let number = match node.value {
            Value::Integer(number) => number as f64,
            Value::Float(number) => number,
            _ => f64::NAN,
        };
        if number.is_finite() && number > 0.0 {
            return Some(number);
        }
        let message = format!("`{name}` must be a number above 0");
        self.reader.reject(name, message, None);
        None
    }
}
