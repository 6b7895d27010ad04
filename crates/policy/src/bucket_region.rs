//! What a bucket's own word for where it lies says about the location that a region declares.

use lifeboat_model::Location;

/// What came of comparing the two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Placement {
    /// The bucket lies where it is declared to.
    Confirmed,
    /// Nobody knows where that is. It counts as outside of every residency.
    Unknown,
    /// It lies elsewhere.
    Contradicted {
        /// What speaks against the declaration.
        why: String,
    },
}

/// The jurisdictions of AWS's regions, by how their names begin; the longest beginning counts.
/// From <https://docs.aws.amazon.com/global-infrastructure/latest/regions/aws-regions.html>.
const JURISDICTIONS: &[(&str, &[&str])] = &[
    ("af-south-1", &["za"]),
    ("ap-east-1", &["hk"]),
    ("ap-east-2", &["tw"]),
    ("ap-northeast-1", &["jp"]),
    ("ap-northeast-2", &["kr"]),
    ("ap-northeast-3", &["jp"]),
    ("ap-south-", &["in"]),
    ("ap-southeast-1", &["sg"]),
    ("ap-southeast-2", &["au"]),
    ("ap-southeast-3", &["id"]),
    ("ap-southeast-4", &["au"]),
    ("ap-southeast-5", &["my"]),
    ("ap-southeast-6", &["nz"]),
    ("ap-southeast-7", &["th"]),
    ("ca-", &["ca"]),
    ("cn-", &["cn"]),
    ("eu-central-1", &["eu", "de"]),
    ("eu-central-2", &["ch"]),
    ("eu-north-1", &["eu", "se"]),
    ("eu-south-1", &["eu", "it"]),
    ("eu-south-2", &["eu", "es"]),
    ("eu-west-1", &["eu", "ie"]),
    ("eu-west-2", &["uk", "gb"]),
    ("eu-west-3", &["eu", "fr"]),
    ("eusc-de-east-1", &["eu", "de"]),
    ("il-central-1", &["il"]),
    ("me-central-1", &["ae"]),
    ("me-south-1", &["bh"]),
    ("mx-central-1", &["mx"]),
    ("sa-east-1", &["br"]),
    ("us-", &["us"]),
];

/// Compares where a bucket says it lies with where its region is declared to.
///
/// `named` is the region that the configuration names for the bucket. For a store whose regions
/// nobody else knows, that is where the declaration rests: the bucket must say the same.
pub fn place_bucket(told: Option<&str>, declared: &Location, named: Option<&str>) -> Placement {
    let Some(told) = told else {
        return Placement::Unknown;
    };
    if let Some(named) = named.filter(|named| *named != told) {
        return Placement::Contradicted {
            why: format!("the bucket says it lies in `{told}`, the configuration says `{named}`"),
        };
    }
    if told == declared.as_str() {
        return Placement::Confirmed;
    }
    match jurisdictions(told) {
        Some(known) if known.contains(&declared.as_str()) => Placement::Confirmed,
        Some(known) => Placement::Contradicted {
            why: format!(
                "the bucket lies in `{told}`, which is `{}`, the configuration says `{declared}`",
                known.join("` or `")
            ),
        },
        None if named.is_some() => Placement::Confirmed,
        None => Placement::Unknown,
    }
}

fn jurisdictions(region: &str) -> Option<&'static [&'static str]> {
    let begins = |(name, _): &&(&str, &[&str])| region.starts_with(name);
    let matches = JURISDICTIONS.iter().filter(begins);
    let longest = matches.max_by_key(|(name, _)| name.len());
    longest.map(|(_, known)| *known)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(told: Option<&str>, declared: &str, named: Option<&str>) -> Placement {
        place_bucket(told, &declared.parse().unwrap(), named)
    }

    #[test]
    fn a_bucket_is_believed_and_the_configuration_is_not() {
        assert_eq!(
            place(Some("eu-central-1"), "eu", None),
            Placement::Confirmed
        );
        assert_eq!(
            place(Some("eu-central-1"), "de", None),
            Placement::Confirmed
        );
        assert_eq!(
            place(Some("eu-central-2"), "ch", None),
            Placement::Confirmed
        );
        for (told, declared) in [
            ("us-east-1", "eu"),
            ("eu-west-2", "eu"),
            ("eu-central-2", "eu"),
        ] {
            let found = place(Some(told), declared, None);
            assert!(
                matches!(found, Placement::Contradicted { .. }),
                "{told} {declared}"
            );
        }
        let other = place(Some("eu-central-1"), "eu", Some("eu-west-1"));
        assert!(matches!(other, Placement::Contradicted { .. }));
    }

    #[test]
    fn what_nobody_knows_is_unknown_until_the_configuration_names_it() {
        assert_eq!(place(None, "eu", Some("eu-central-1")), Placement::Unknown);
        assert_eq!(place(Some("garage"), "eu", None), Placement::Unknown);
        assert_eq!(
            place(Some("garage"), "eu", Some("garage")),
            Placement::Confirmed
        );
        let other = place(Some("garage"), "eu", Some("attic"));
        assert!(matches!(other, Placement::Contradicted { .. }));
    }
}
