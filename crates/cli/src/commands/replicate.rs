//! `lifeboat replicate`.

use lifeboat_operations::{OperationError, ReplicateReport};

use crate::args::Args;
use crate::exit::Exit;
use crate::{fail, setup, table};

pub(super) async fn run(
    args: &Args,
    environment: &str,
    to: Option<&str>,
    dry_run: bool,
) -> Result<Exit, OperationError> {
    let session = setup::session(args)?;
    let environment = session.environment(environment)?;
    let targets = match to {
        Some(name) => vec![session.config.region(name)?.name.clone()],
        None => environment.replicas.clone(),
    };
    if targets.is_empty() {
        return Err(OperationError::NotConfigured {
            environment: environment.name.to_string(),
            what: "region to copy to".to_owned(),
            hint: "add `replicas = [\"…\"]` to it, or name one with `--to`".to_owned(),
        });
    }
    // A region that fails keeps none of the others from getting its copy.
    let (mut plans, mut reports, mut failed) = (Vec::new(), Vec::new(), None);
    for target in &targets {
        let copied = async {
            let plan = session.plan_replicate(environment, target).await?;
            if dry_run {
                plans.push(plan);
                return Ok(());
            }
            reports.push(session.replicate(environment, &plan).await?);
            Ok::<_, OperationError>(())
        };
        if let Err(error) = copied.await {
            failed = failed.or(Some(fail::print(&error)));
        }
    }
    if dry_run {
        table::json(&plans);
        return Ok(failed.unwrap_or(Exit::DONE));
    }
    if args.json {
        table::json(&reports);
    } else {
        reports.iter().for_each(show);
    }
    Ok(failed.unwrap_or(Exit::DONE))
}

fn show(report: &ReplicateReport) {
    table::line(&format!(
        "{} -> {}: {} objects, {} copied in {}; {} were there; receipts for all {} snapshots, {} new",
        report.from,
        report.to,
        report.objects,
        table::bytes(report.bytes),
        table::secs(report.secs),
        report.present,
        report.receipts,
        report.receipts_new.len(),
    ));
}
