//! `lifeboat find`.

use lifeboat_model::{EnvironmentName, InvalidName, SourceName};
use lifeboat_operations::{Change, FindSummary, FoundVersion, OperationError, View, find};
use lifeboat_repository::{Repository, Role};

use super::browse;
use crate::args::{Args, Command};
use crate::exit::Exit;
use crate::table::{self, JsonList};

pub(super) async fn run(args: &Args) -> Result<Exit, OperationError> {
    let Command::Find {
        environment,
        source,
        path,
        changed,
        look,
    } = &args.command
    else {
        unreachable!("dispatched by command");
    };
    let session = browse::session(args, look)?;
    let known = match look.rescue.places() {
        Some(_) => None,
        None => Some(session.environment(environment)?),
    };
    let environment: EnvironmentName = environment.parse().map_err(usage)?;
    let source: Option<SourceName> = source
        .as_deref()
        .map(str::parse)
        .transpose()
        .map_err(usage)?;
    let view = session
        .view(&browse::place(look), known, Role::Auditor)
        .await?;
    if let (Some(known), Some(source)) = (known, &source) {
        // A source without snapshots is either new, or misspelt.
        let store = &**view.repository.store();
        if Repository::snapshot_names(store, Some(&environment), Some(source))
            .await?
            .is_empty()
        {
            known.source(source.as_str())?;
        }
    }
    let wanted = |version: &FoundVersion| !changed || version.change != Change::Same;
    let look_through = async |view: &View, each: &mut dyn FnMut(FoundVersion)| {
        find(view, &environment, source.as_ref(), path, |version| {
            if wanted(&version) {
                each(version);
            }
        })
        .await
    };
    let summary = if args.json {
        let list = JsonList::open(
            &[("environment", environment.to_string().into())],
            "versions",
        );
        let summary = look_through(&view, &mut |version| list.item(&version)).await?;
        list.close(&[("summary", table::value(&summary))]);
        summary
    } else {
        let summary = look_through(&view, &mut |version| table::line(&line(&version))).await?;
        show(&summary);
        summary
    };
    Ok(if summary.damaged.is_empty() {
        Exit::DONE
    } else {
        Exit::INTEGRITY
    })
}

#[expect(clippy::needless_pass_by_value, reason = "it is made for map_err")]
fn usage(error: InvalidName) -> OperationError {
    OperationError::Usage {
        message: error.to_string(),
        hint: "`lifeboat snapshots` lists the names".to_owned(),
    }
}

fn line(version: &FoundVersion) -> String {
    let change = match version.change {
        Change::Added => "new",
        Change::Removed => "REMOVED",
        Change::Content => "CHANGED",
        Change::Metadata => "metadata",
        Change::Kind => "OTHER KIND",
        Change::Same => "",
    };
    let entry = &version.entry;
    let modified = entry
        .modified
        .map_or_else(|| "-".to_owned(), |at| format!("{at:.0}"));
    let size = entry
        .size
        .map_or_else(|| entry.kind.to_owned(), |size| size.to_string());
    format!(
        "{} {:.0} {change:<10} {size:>12} {modified:<20} {}/{}",
        version.snapshot.short(),
        version.instant,
        version.source,
        entry.path,
    )
}

fn show(summary: &FindSummary) {
    table::line(&format!(
        "{} in {}",
        table::counted(summary.found, "version"),
        table::counted(summary.snapshots, "snapshot"),
    ));
    for (snapshot, what) in &summary.damaged {
        table::line(&format!(
            "DAMAGED, not looked through: snapshot {}: {what}",
            snapshot.short()
        ));
    }
}
