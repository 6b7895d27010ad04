//! `lifeboat replicate`.

use lifeboat_operations::{OperationError, ReplicatePlan, ReplicateReport};
use lifeboat_repository::CopyLimits;
use lifeboat_runtime::Throttle;

use crate::args::{Args, Command};
use crate::exit::Exit;
use crate::{fail, setup, table};

pub(super) async fn run(args: &Args) -> Result<Exit, OperationError> {
    let Command::Replicate {
        environment,
        to,
        bandwidth,
        transfers,
        dry_run,
    } = &args.command
    else {
        unreachable!("dispatched by command");
    };
    let limits = CopyLimits {
        at_once: usize::from(*transfers),
        throttle: bandwidth.map(Throttle::new),
        ..CopyLimits::default()
    };
    let session = setup::session(args)?;
    let environment = session.environment(environment)?;
    let targets = match to.as_deref() {
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
    let (mut done, mut documents, mut failed) = (Vec::new(), Vec::new(), None);
    for target in &targets {
        let copied = async {
            let plan = session.plan_replicate(environment, target).await?;
            if *dry_run {
                return Ok((table::value(&plan), would(&plan)));
            }
            let report = session.replicate(environment, &plan, &limits).await?;
            Ok::<_, OperationError>((table::value(&report), did(&report)))
        };
        match copied.await {
            Ok((document, line)) => {
                documents.push(document);
                done.push(line);
            }
            Err(error) => {
                let error_document = fail::document(&error);
                documents.push(serde_json::json!({ "to": target, "error": error_document }));
                failed = failed.or(Some(fail::print(&error)));
            }
        }
    }
    table::plan(args.json, &documents, &done);
    Ok(failed.unwrap_or(Exit::DONE))
}

fn would(plan: &ReplicatePlan) -> String {
    format!(
        "would copy {} objects, {}, from {} to {}; {} are there; what it has is {}",
        plan.objects,
        table::bytes(plan.bytes),
        plan.from,
        plan.to,
        plan.present,
        behind(plan.lag_secs),
    )
}

fn did(report: &ReplicateReport) -> String {
    format!(
        "{} -> {}: {} objects, {} copied in {}; {} were there; receipts for all {} snapshots, {} new; \
         what it has is {}",
        report.from,
        report.to,
        report.objects,
        table::bytes(report.bytes),
        table::secs(report.secs),
        report.present,
        report.receipts,
        report.receipts_new.len(),
        behind(report.lag_secs),
    )
}

/// Says how old the newest state is that a region is known to hold.
fn behind(lag_secs: Option<f64>) -> String {
    lag_secs.map_or_else(
        || "nothing yet".to_owned(),
        |secs| format!("{} old", table::secs(secs)),
    )
}
