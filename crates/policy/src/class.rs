//! Classes of environments: which data may flow from one into another.

use lifeboat_model::{Diagnose, EnvironmentClass, ErrorKind};

/// Decides whether data of an environment of class `from` may be restored into one of class `to`.
///
/// `masked` says whether the data went through masking and its leak gates. Raw data of a class
/// that holds personal data stays in that class, whoever asks. Masked data never flows back: it
/// would replace what is real.
///
/// # Errors
/// Refuses raw personal data outside its class, and masked data inside it.
pub fn may_restore(
    from: EnvironmentClass,
    to: EnvironmentClass,
    masked: bool,
) -> Result<(), RawDataRefusal> {
    let allowed = match (from.holds_personal_data(), to.holds_personal_data()) {
        (true, false) => masked,
        (true, true) | (false, true) => !masked,
        (false, false) => true,
    };
    if allowed {
        Ok(())
    } else {
        Err(RawDataRefusal { from, to, masked })
    }
}

/// Data would flow into an environment whose class must not receive it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{} {from} data must not be restored into a {to} environment",
    if *masked { "masked" } else { "unmasked" }
)]
pub struct RawDataRefusal {
    /// The class of the environment the data comes from.
    pub from: EnvironmentClass,
    /// The class of the environment it would go to.
    pub to: EnvironmentClass,
    /// Whether it was masked.
    pub masked: bool,
}

impl Diagnose for RawDataRefusal {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Refused
    }

    fn hint(&self) -> Option<String> {
        Some(if self.masked {
            "restore a snapshot of production itself".to_owned()
        } else {
            format!(
                "use `lifeboat refresh`, which masks on the way, or restore into a {} environment",
                self.from
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use EnvironmentClass::{Development, Feature, Production, Staging, Test};

    #[test]
    fn raw_production_data_reaches_no_other_class() {
        for to in [Staging, Development, Test, Feature] {
            let refusal = may_restore(Production, to, false).unwrap_err();
            assert_eq!(refusal.kind(), ErrorKind::Refused);
            assert!(may_restore(Production, to, true).is_ok(), "masked to {to}");
        }
        assert!(may_restore(Production, Production, false).is_ok());
    }

    #[test]
    fn masked_data_never_replaces_real_data() {
        assert!(may_restore(Production, Production, true).is_err());
        assert!(may_restore(Staging, Production, true).is_err());
    }

    #[test]
    fn classes_without_personal_data_exchange_freely() {
        assert!(may_restore(Staging, Development, false).is_ok());
        assert!(may_restore(Test, Feature, true).is_ok());
    }
}
