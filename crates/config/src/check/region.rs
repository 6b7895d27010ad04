//! Regions: each in a place of its own, and inside the residency of who uses it.

use super::Findings;
use crate::config::{Environment, Region};
use crate::origins::item_origin;
use crate::paths::overlap;

pub(super) fn check(findings: &mut Findings<'_>) {
    distinct(findings);
    for environment in findings.environments() {
        residency(environment, findings);
        sources(environment, findings);
    }
}

/// Two regions in one place are one region with two names, and no protection.
fn distinct(findings: &mut Findings<'_>) {
    let regions: Vec<&Region> = findings.config.regions.values().collect();
    for (n, region) in regions.iter().enumerate() {
        for other in regions[..n]
            .iter()
            .filter(|other| other.place.overlaps(&region.place))
        {
            let relation = if other.place == region.place {
                "have the same url"
            } else {
                "lie one in the other"
            };
            let place = findings.place(&["region", other.name.as_str(), "url"]);
            findings.error(
                &["region", region.name.as_str(), "url"],
                format!(
                    "regions `{}` and `{}` ({place}) {relation}",
                    region.name, other.name
                ),
                "give each region a place of its own",
            );
        }
    }
}

/// Every region that receives an environment's data must lie inside its residency.
fn residency(environment: &Environment, findings: &mut Findings<'_>) {
    let name = environment.name.as_str();
    for used in environment.regions() {
        let Some(region) = findings.config.regions.get(used) else {
            continue;
        };
        if environment.residency.decide(Some(&region.location)).is_ok() {
            continue;
        }
        let declared = findings.place(&["region", used.as_str(), "location"]);
        let allowed = findings.place(&["environments", name, "residency"]);
        let key = if *used == environment.home {
            "region"
        } else {
            "replicas"
        };
        let place = item_origin(
            &findings.config.tree,
            &["environments", name, key],
            used.as_str(),
        );
        findings.push(place.error(
            format!(
                "region `{used}` lies in `{}` ({declared}), outside the residency `{}` of `{name}` ({allowed})",
                region.location, environment.residency
            ),
            Some("use a region inside the residency, or widen it".to_owned()),
        ));
    }
}

/// A source that holds a region would back up its own backups.
fn sources(environment: &Environment, findings: &mut Findings<'_>) {
    for source in environment.sources.values() {
        let regions = findings.config.regions.values();
        let Some(place) = &source.path else { continue };
        for region in
            regions.filter(|region| region.folder().is_some_and(|folder| overlap(folder, place)))
        {
            let path = [
                "environments",
                environment.name.as_str(),
                "source",
                source.name.as_str(),
                "path",
            ];
            findings.error(
                &path,
                format!(
                    "source `{}` and region `{}` lie one in the other",
                    source.name, region.name
                ),
                "move the region out of what is backed up",
            );
        }
    }
}
