//! Names that must name something: regions of environments.

use lifeboat_document::suggest;
use lifeboat_model::RegionName;

use super::Findings;
use crate::config::Environment;
use crate::origins::item_origin;

pub(super) fn check(findings: &mut Findings<'_>) {
    if findings.config.environments.is_empty() && !findings.is_written(&["environments"]) {
        let hint = "write `environments/prod.toml`, or let `lifeboat init` do it";
        findings.warn(&[], "there is no environment".to_owned(), hint);
    }
    for environment in findings.environments() {
        home(environment, findings);
        replicas(environment, findings);
    }
}

fn home(environment: &Environment, findings: &mut Findings<'_>) {
    if let Some((message, hint)) = missing(&environment.home, findings) {
        let path = ["environments", environment.name.as_str(), "region"];
        findings.error(&path, message, &hint);
    }
}

fn replicas(environment: &Environment, findings: &mut Findings<'_>) {
    let path = ["environments", environment.name.as_str(), "replicas"];
    for (n, replica) in environment.replicas.iter().enumerate() {
        let place = item_origin(&findings.config.tree, &path, replica.as_str());
        let (message, hint) = if *replica == environment.home {
            let message = format!("replica `{replica}` is the home region itself");
            (
                message,
                "a copy in the same place is lost with it; name another region".to_owned(),
            )
        } else if environment.replicas[..n].contains(replica) {
            (
                format!("replica `{replica}` is named twice"),
                "remove one".to_owned(),
            )
        } else if let Some(missing) = missing(replica, findings) {
            missing
        } else {
            continue;
        };
        findings.push(place.error(message, Some(hint)));
    }
}

/// Returns what to say if no region is called `name`.
fn missing(name: &RegionName, findings: &Findings<'_>) -> Option<(String, String)> {
    // A region that is written but unsound was reported where it stands.
    if findings.is_written(&["region", name.as_str()]) {
        return None;
    }
    let known = || findings.config.regions.keys().map(RegionName::as_str);
    let hint = match suggest(name.as_str(), known()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("add `[region.{name}]` to lifeboat.toml"),
    };
    Some((format!("there is no region `{name}`"), hint))
}
