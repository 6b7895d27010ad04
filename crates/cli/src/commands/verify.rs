//! `lifeboat verify`.

use lifeboat_operations::{OperationError, Session, VerifyPlan, VerifyRun};
use lifeboat_repository::{Damage, VerifyLevel};

use crate::args::{Args, Command, Level};
use crate::exit::Exit;
use crate::{fail, setup, table};

pub(super) async fn run(args: &Args) -> Result<Exit, OperationError> {
    let Command::Verify {
        environment,
        level,
        days,
        region,
    } = &args.command
    else {
        unreachable!("dispatched by command");
    };
    let session = setup::session(args)?;
    let environment = session.environment(environment)?;
    let level = level_of(*level, *days, &session);
    let regions = match region {
        Some(name) => vec![&session.config.region(name)?.name],
        None => environment.regions().collect(),
    };
    // A region that cannot be read keeps none of the others from being verified.
    let (mut runs, mut documents) = (Vec::new(), Vec::new());
    let mut failed = None;
    for region in regions {
        let plan = VerifyPlan {
            region: region.clone(),
            level,
        };
        match session.verify(environment, &plan).await {
            Ok(run) => {
                documents.push(table::value(&run));
                runs.push(run);
            }
            Err(error) => {
                let error_document = fail::document(&error);
                documents.push(serde_json::json!({ "region": region, "error": error_document }));
                failed = failed.or(Some(fail::print(&error)));
            }
        }
    }
    if args.json {
        table::json(&documents);
    } else {
        runs.iter().for_each(show);
    }
    let sound = runs.iter().all(|run| run.report.damage.is_empty());
    let damaged = (!sound).then_some(Exit::INTEGRITY);
    let gone = runs.iter().any(|run| !run.gone.is_empty());
    let gone = gone.then_some(Exit::INCOMPLETE);
    Ok(damaged.or(failed).or(gone).unwrap_or(Exit::DONE))
}

/// Returns the level that was asked for; a sample goes by the day.
pub(super) fn level_of(level: Level, days: u16, session: &Session) -> VerifyLevel {
    let days_since_1970 = session.world.clock.now().as_second() / 86_400;
    match level {
        Level::Quick => VerifyLevel::Quick,
        Level::Structure => VerifyLevel::Structure,
        Level::Full => VerifyLevel::Full,
        Level::Sample => VerifyLevel::Sample {
            days,
            today: u32::try_from(days_since_1970).unwrap_or(0),
        },
    }
}

/// Tells of parts of the log that no region has, and what that means.
pub(super) fn show_gone(gone: &[Damage]) {
    for one in gone {
        table::line(&format!(
            "  MISSING {}: {}: points in time within it cannot be restored; a backup after it closes it \
             for what comes then",
            one.object, one.what
        ));
    }
}

fn show(run: &VerifyRun) {
    let report = &run.report;
    table::line(&format!(
        "{}: {} snapshots, {} objects, {} read, {} chunks opened in {}",
        run.region,
        report.snapshots,
        report.objects,
        table::bytes(report.bytes_read),
        report.chunks_opened,
        table::secs(run.secs),
    ));
    show_gone(&run.gone);
    if report.damage.is_empty() {
        return table::line("  no damage");
    }
    for damage in &report.damage {
        table::line(&format!("  DAMAGED {}: {}", damage.object, damage.what));
    }
    for (snapshot, files) in &report.affected {
        table::line(&format!("  snapshot {} is affected:", snapshot.short()));
        for file in files {
            table::line(&format!("    {file}"));
        }
    }
    table::line(
        "  hint: `lifeboat repair` brings back what another region still has; a restore reads it from \
         there until then",
    );
}
