//! Residency: in which jurisdictions an environment's data may lie.
//!
//! The location judged here is the one the store itself reports, never the one a file claims;
//! finding it out is the caller's part.

use lifeboat_model::{Diagnose, ErrorKind, Location};

/// The locations an environment's data, keys and metadata may be written to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Residency {
    allowed: Vec<Location>,
}

impl Residency {
    /// Allows every location, a location nobody knows included.
    pub const fn unrestricted() -> Self {
        Self {
            allowed: Vec::new(),
        }
    }

    /// Allows exactly `locations`; none at all means no restriction.
    pub fn within(locations: impl IntoIterator<Item = Location>) -> Self {
        let mut allowed: Vec<_> = locations.into_iter().collect();
        allowed.sort();
        allowed.dedup();
        Self { allowed }
    }

    /// Reports whether any location will do.
    pub fn is_unrestricted(&self) -> bool {
        self.allowed.is_empty()
    }

    /// Returns the allowed locations, sorted; empty if there is no restriction.
    pub fn allowed(&self) -> &[Location] {
        &self.allowed
    }

    /// Decides whether data may be written to a store that lies in `actual`.
    ///
    /// # Errors
    /// Refuses a location that is not allowed, and an unknown one: what cannot be placed must not
    /// receive data that has a place to stay in.
    pub fn decide(&self, actual: Option<&Location>) -> Result<(), ResidencyRefusal> {
        match actual {
            _ if self.is_unrestricted() => Ok(()),
            Some(location) if self.allowed.contains(location) => Ok(()),
            _ => Err(ResidencyRefusal {
                actual: actual.cloned(),
                allowed: self.to_string(),
            }),
        }
    }
}

impl std::fmt::Display for Residency {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.is_unrestricted() {
            return f.write_str("anywhere");
        }
        let names: Vec<_> = self.allowed.iter().map(Location::as_str).collect();
        f.write_str(&names.join(", "))
    }
}

/// Data would leave its residency.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("data must stay in `{allowed}`, but the target lies in {}", place(actual.as_ref()))]
pub struct ResidencyRefusal {
    /// Where the target lies, if that is known.
    pub actual: Option<Location>,
    /// The allowed locations, for people.
    pub allowed: String,
}

fn place(actual: Option<&Location>) -> String {
    actual.map_or("an unknown location".to_owned(), |name| format!("`{name}`"))
}

impl Diagnose for ResidencyRefusal {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Refused
    }

    fn hint(&self) -> Option<String> {
        Some(
            match self.actual {
                Some(_) => {
                    "choose a region inside the residency, or widen `residency` in the environment"
                }
                None => "make the store tell its location; an unknown one counts as outside",
            }
            .to_owned(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn location(name: &str) -> Location {
        name.parse().unwrap()
    }

    #[test]
    fn data_stays_where_it_may_lie() {
        let residency = Residency::within(["eu", "ch", "eu"].map(location));
        assert_eq!(residency.decide(Some(&location("ch"))), Ok(()));
        let refusal = residency.decide(Some(&location("us"))).unwrap_err();
        assert_eq!(refusal.kind(), ErrorKind::Refused);
        assert_eq!(
            refusal.to_string(),
            "data must stay in `ch, eu`, but the target lies in `us`"
        );
    }

    #[test]
    fn an_unknown_location_fails_closed() {
        let residency = Residency::within([location("eu")]);
        let refusal = residency.decide(None).unwrap_err();
        assert!(refusal.to_string().ends_with("an unknown location"));
        assert_eq!(Residency::unrestricted().decide(None), Ok(()));
    }
}
