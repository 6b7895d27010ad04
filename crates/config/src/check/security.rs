//! Security policy: where keys may stand.

use lifeboat_document::Origin;
use lifeboat_model::Severity;

use super::Findings;
use crate::keys::{KeyRefs, without_passphrase};
use crate::paths::absolute;

pub(super) fn check(findings: &mut Findings<'_>) {
    let config = findings.config;
    let mut seen: Vec<Origin> = Vec::new();
    let all = std::iter::once(&config.keys).chain(findings.environments().map(|env| &env.keys));
    for keys in all {
        // Environments share the project's keys: what is wrong with one is told once.
        let mut fresh = keys.clone();
        for slot in [
            &mut fresh.writer,
            &mut fresh.reader,
            &mut fresh.auditor,
            &mut fresh.pruner,
            &mut fresh.root,
        ] {
            if slot.as_ref().is_some_and(|key| seen.contains(&key.origin)) {
                *slot = None;
            }
        }
        seen.extend(fresh.iter().map(|(_, key)| key.origin.clone()));
        beside_data(&fresh, findings);
        root_key(&fresh, findings);
        one_for_two(keys, &fresh, findings);
    }
}

/// A key inside a region is stolen together with what it opens.
fn beside_data(keys: &KeyRefs, findings: &mut Findings<'_>) {
    let config = findings.config;
    for (role, key) in keys.iter() {
        let Some(file) = without_passphrase(&key.value).strip_prefix("file:") else {
            continue;
        };
        let path = absolute(&config.root, file);
        // One is enough: two regions in one place are told elsewhere.
        let mut regions = config.regions.values();
        if let Some(region) = regions.find(|region| region.holds(&path)) {
            findings.push(key.origin.error(
                format!("the {role} key lies inside region `{}`", region.name),
                Some("keep keys away from the data they open".to_owned()),
            ));
        }
    }
}

/// Daily work needs no root secret, so a host that has it only stands to lose it.
fn root_key(keys: &KeyRefs, findings: &mut Findings<'_>) {
    if let Some(key) = &keys.root {
        findings.push(key.origin.problem(
            Severity::Warning,
            "the root key is configured on a host for daily use",
            Some("keep it on paper, and remove it here once the other keys are made".to_owned()),
        ));
    }
}

/// Roles protect nothing if one file plays two of them.
fn one_for_two(keys: &KeyRefs, fresh: &KeyRefs, findings: &mut Findings<'_>) {
    let (Some(reader), Some(writer)) = (&keys.reader, &keys.writer) else {
        return;
    };
    let is_news = fresh.reader.is_some() || fresh.writer.is_some();
    if is_news && reader.value == writer.value {
        findings.push(reader.origin.problem(
            Severity::Warning,
            "the reader key and the writer key are one and the same",
            Some("give hosts that only back up a key that cannot read".to_owned()),
        ));
    }
}
