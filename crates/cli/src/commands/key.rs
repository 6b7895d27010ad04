//! `lifeboat key`: create, list, revoke, export.

use std::path::Path;

use lifeboat_operations::{
    KeyCreateReport, KeyEntry, KeyListing, KeyRequest, KeyRevokeReport, OperationError, Session,
    Unreached,
};
use lifeboat_runtime::SecretBytes;
use serde::Serialize;

use crate::args::{Args, KeyCommand};
use crate::exit::Exit;
use crate::{fail, setup, table};

pub(super) async fn run(args: &Args, command: &KeyCommand) -> Result<Exit, OperationError> {
    let session = setup::session(args)?;
    match command {
        KeyCommand::Create {
            role,
            name,
            out,
            passphrase_from,
            root,
            dry_run,
        } => {
            let request = KeyRequest {
                role: role.clone(),
                name: name.clone(),
                out: out.clone(),
                passphrase_from: passphrase_from.clone(),
                root: root.clone(),
            };
            create(args, &session, &request, *dry_run).await
        }
        KeyCommand::List { root } => list(args, &session, root.as_deref()).await,
        KeyCommand::Revoke { key, root, dry_run } => {
            revoke(args, &session, key, root.as_deref(), *dry_run).await
        }
        KeyCommand::Export { key, root } => export(args, &session, key, root.as_deref()).await,
    }
}

async fn create(
    args: &Args,
    session: &Session,
    request: &KeyRequest,
    dry_run: bool,
) -> Result<Exit, OperationError> {
    let plan = session.plan_key_create(request).await?;
    if dry_run {
        table::json(&plan);
        return Ok(Exit::DONE);
    }
    let report = session.key_create(plan).await?;
    if args.json {
        table::json(&with_text(&report, report.text.as_ref()));
    } else {
        show_created(args, &report, request);
    }
    Ok(complete(report.unreached.is_empty()))
}

async fn list(args: &Args, session: &Session, root: Option<&Path>) -> Result<Exit, OperationError> {
    let listing = session.key_list(root).await?;
    if args.json {
        table::json(&listing);
    } else {
        show_keys(&listing);
    }
    if !listing.damaged.is_empty() {
        return Ok(Exit::INTEGRITY);
    }
    Ok(complete(listing.unreached.is_empty()))
}

async fn revoke(
    args: &Args,
    session: &Session,
    key: &str,
    root: Option<&Path>,
    dry_run: bool,
) -> Result<Exit, OperationError> {
    let plan = session.plan_key_revoke(key, root).await?;
    if dry_run {
        table::json(&plan);
        return Ok(Exit::DONE);
    }
    let report = session.key_revoke(plan).await?;
    if args.json {
        table::json(&report);
    } else {
        show_revoked(&report);
    }
    Ok(complete(report.is_complete()))
}

async fn export(
    args: &Args,
    session: &Session,
    key: &str,
    root: Option<&Path>,
) -> Result<Exit, OperationError> {
    let export = session.key_export(key, root).await?;
    if args.json {
        table::json(&with_text(&export, Some(&export.text)));
        return Ok(Exit::DONE);
    }
    if !args.quiet {
        fail::print_line(&match &export.opens_in {
            Some(region) => format!("{} key, opens the repository in {region}:", export.role),
            None => format!(
                "{} key; no region could be asked whether it opens:",
                export.role
            ),
        });
    }
    table::secret(&export.text);
    Ok(Exit::DONE)
}

fn complete(complete: bool) -> Exit {
    if complete {
        Exit::DONE
    } else {
        Exit::INCOMPLETE
    }
}

/// A report with the secret that it leaves out of logs, for who asked for JSON.
#[derive(Serialize)]
struct WithText<'a, T> {
    #[serde(flatten)]
    report: &'a T,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
}

fn with_text<'a, T>(report: &'a T, text: Option<&SecretBytes>) -> WithText<'a, T> {
    let text = text.map(|text| String::from_utf8_lossy(text.expose()).into_owned());
    WithText { report, text }
}

/// Tells of a new key. What is not the secret goes to stderr, so that the secret can be piped.
fn show_created(args: &Args, report: &KeyCreateReport, request: &KeyRequest) {
    if !args.quiet {
        let name = report.name.as_ref().map(|name| format!(" ({name})"));
        let regions: Vec<&str> = report.regions.iter().map(|name| name.as_str()).collect();
        fail::print_line(&format!(
            "{} key {}{} is in {}",
            report.role,
            report.key,
            name.unwrap_or_default(),
            regions.join(", "),
        ));
        let (role, key) = (report.role, report.key);
        match (&report.file, &request.passphrase_from) {
            (Some(file), _) => fail::print_line(&format!("its secret is in `{}`", file.display())),
            (None, Some(from)) => fail::print_line(&format!(
                "it opens with its passphrase: `{role} = \"passphrase:{key}:{from}\"` in `[keys]`"
            )),
            (None, None) => fail::print_line(&format!(
                "its secret, shown once; keep it where `[keys] {role}` says, never in a region \
                 (`lifeboat key revoke {key}` if it got lost):"
            )),
        }
    }
    if let Some(text) = &report.text {
        table::secret(text);
    }
    for region in &report.unreached {
        let what = "has not got the key; `lifeboat replicate` or `lifeboat init` brings it";
        show_unreached(region, what);
    }
}

fn show_unreached(unreached: &Unreached, what: &str) {
    fail::print_line(&format!(
        "warning: region `{}` {what}: {}",
        unreached.region, unreached.why
    ));
}

fn show_keys(listing: &KeyListing) {
    let row = |entry: &KeyEntry| {
        vec![
            entry.key.to_string(),
            entry.role.to_string(),
            entry.name.clone().unwrap_or_default(),
            entry.created.strftime("%Y-%m-%d").to_string(),
            match entry.passphrase {
                Some(true) => "passphrase",
                Some(false) => "text",
                None => "",
            }
            .to_owned(),
            joined(&entry.regions),
            note(entry),
        ]
    };
    let header = ["key", "role", "name", "created", "secret", "in", "note"];
    table::print(&header, listing.keys.iter().map(row));
    for key in &listing.damaged {
        let (object, region) = (&key.object, &key.region);
        fail::print_line(&format!(
            "DAMAGED: `{object}` in region `{region}`: {}",
            key.what
        ));
    }
    for region in &listing.unreached {
        show_unreached(region, "could not be asked");
    }
}

fn note(entry: &KeyEntry) -> String {
    match (entry.revoked, entry.issued) {
        (Some(_), _) if !entry.opens_in.is_empty() => {
            format!("revoked, still opens in {}", joined(&entry.opens_in))
        }
        (Some(revoked), _) => format!("revoked {}", revoked.strftime("%Y-%m-%d")),
        (None, Some(false)) => "NOT ISSUED with this recovery code".to_owned(),
        (None, _) => String::new(),
    }
}

fn joined(names: &[lifeboat_model::RegionName]) -> String {
    let names: Vec<&str> = names.iter().map(|name| name.as_str()).collect();
    names.join(", ")
}

fn show_revoked(report: &KeyRevokeReport) {
    let name = report.name.as_ref().map(|name| format!(" ({name})"));
    let (role, key) = (report.role, report.key);
    let name = name.unwrap_or_default();
    for region in &report.regions {
        let region_name = &region.region;
        table::line(&match &region.kept {
            None => format!("{role} key {key}{name} opens nothing any more in {region_name}"),
            Some(why) => format!(
                "{role} key {key}{name} is revoked in {region_name}, but its object could not be \
                 deleted: {why}"
            ),
        });
    }
    if !report.issued {
        fail::print_line(
            "warning: this key was not issued with this recovery code: its object was deleted; \
             who made it had the secrets of another key",
        );
    }
    for region in &report.unreached {
        show_unreached(region, "was not told: there the key may open still");
    }
    if !report.unreached.is_empty() {
        fail::print_line(&format!(
            "hint: run `lifeboat key revoke {key}` again when they are back; `lifeboat replicate` \
             tells them too"
        ));
    }
    table::line(&format!(
        "what it could not take back: who used the key before may have kept {}",
        match role.may(lifeboat_repository::Action::ReadContent) {
            true => "what it opened: count everything backed up so far as read",
            false => "the secrets that read names and sizes; content it could never open",
        }
    ));
}
