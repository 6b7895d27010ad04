//! `lifeboat stats`.

use lifeboat_config::Environment;
use lifeboat_operations::{OperationError, StatsReport, stats};
use lifeboat_repository::{PackUsage, Role, SourceUsage};

use super::browse;
use crate::args::{Args, LookArgs};
use crate::exit::Exit;
use crate::table;

pub(super) async fn run(
    args: &Args,
    environment: Option<&str>,
    look: &LookArgs,
) -> Result<Exit, OperationError> {
    let session = browse::session(args, look)?;
    let rescue = look.rescue.places().is_some();
    // Environments that share a home share a repository: it is measured once.
    let mut homes: Vec<Option<&Environment>> = match environment {
        _ if rescue || (environment.is_none() && look.region.is_some()) => vec![None],
        Some(name) => vec![Some(session.environment(name)?)],
        None => session.config.environments.values().map(Some).collect(),
    };
    let home = |environment: &Option<&Environment>| environment.map(|e| e.home.clone());
    homes.sort_by_key(home);
    homes.dedup_by_key(|environment| home(environment));
    let only = environment.map(str::parse).transpose();
    let only = only.map_err(|error: lifeboat_model::InvalidName| OperationError::Usage {
        message: error.to_string(),
        hint: "`lifeboat snapshots` lists the names".to_owned(),
    })?;
    let mut reports = Vec::new();
    for environment in homes {
        let view = session
            .view(&browse::place(look), environment, Role::Auditor)
            .await?;
        reports.push(stats(&view, only.as_ref()).await?);
    }
    if args.json {
        table::json(&reports);
    } else {
        reports.iter().for_each(show);
    }
    let readable = reports
        .iter()
        .all(|report| report.usage.unreadable.is_empty());
    Ok(if readable {
        Exit::DONE
    } else {
        Exit::INTEGRITY
    })
}

fn show(report: &StatsReport) {
    let usage = &report.usage;
    table::line(&format!(
        "region {}: {} in all",
        report.region,
        table::bytes(report.total_bytes)
    ));
    let objects = usage.objects.iter();
    table::print(
        &["objects", "number", "bytes"],
        objects
            .map(|(class, of)| vec![class.clone(), of.count.to_string(), table::bytes(of.bytes)]),
    );
    let packs = |name: &str, packs: &PackUsage| {
        vec![
            name.to_owned(),
            packs.packs.to_string(),
            packs.frames.to_string(),
            table::bytes(packs.raw_bytes),
            table::bytes(packs.stored_bytes),
        ]
    };
    let rows = [
        packs("content", &usage.data),
        packs("metadata", &usage.metadata),
    ];
    table::print(&["packs", "number", "frames", "raw", "stored"], rows);
    let source = |source: &SourceUsage| {
        vec![
            format!("{}/{}", source.environment, source.source),
            source.snapshots.to_string(),
            table::bytes(source.restored_bytes),
            table::bytes(source.raw_bytes),
            table::bytes(source.own_raw_bytes),
            table::bytes(source.own_stored_bytes),
        ]
    };
    let header = [
        "source",
        "snapshots",
        "all restored",
        "chunks",
        "only its own",
        "stored",
    ];
    table::print(&header, usage.sources.iter().map(source));
    show_ratios(report);
}

fn show_ratios(report: &StatsReport) {
    let usage = &report.usage;
    let ratio = |ratio: Option<f64>| ratio.map_or_else(|| "-".to_owned(), |r| format!("{r:.2}"));
    table::line(&format!(
        "  deduplication {}, compression {}",
        ratio(report.dedup_ratio),
        ratio(report.compression_ratio)
    ));
    table::line(&format!(
        "  index: {}, {} of memory, {} bytes a chunk",
        table::counted(usage.index.chunks, "chunk"),
        table::bytes(usage.index.memory_bytes),
        usage.index.memory_bytes_per_chunk,
    ));
    let waste = &usage.waste;
    table::line(&format!(
        "  not needed by any snapshot: {} in {}, about {} within others; {} that no index names ({})",
        table::bytes(waste.unused_bytes),
        table::counted(waste.unused_frames, "frame"),
        table::bytes(waste.partly_unused_bytes),
        table::counted(waste.stray_packs, "pack"),
        table::bytes(waste.stray_bytes),
    ));
    for (snapshot, what) in &usage.unreadable {
        table::line(&format!(
            "  DAMAGED: snapshot {}: {what}; what it needs is counted as not needed",
            snapshot.short()
        ));
    }
}
