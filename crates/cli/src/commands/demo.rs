//! `lifeboat demo`: the whole story on a generated webshop.
//!
//! It makes a project, a production database and a live writer, and then only calls what the
//! ordinary commands call.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use lifeboat_demo::{ConfigFolder, DemoError, Shop, ShopOptions, ShopWriter};
use lifeboat_drill::{DrillReport, DrillRequest, Scenario, plan_drill, run_drill};
use lifeboat_model::{Diagnose as _, RunId, Tier, Verdict};
use lifeboat_operations::{
    BackupReport, CopyOf, MaskReport, OperationError, RefreshReport, ReplicateReport, Session,
};
use lifeboat_report::Story;
use lifeboat_repository::CopyLimits;
use lifeboat_runtime::Stopwatch;
use serde::Serialize;

use super::leak_report;
use super::{backup, drill, mask};
use crate::args::Args;
use crate::exit::Exit;
use crate::{setup, table};

/// The writer commits about this often while backups run.
const PAUSE: Duration = Duration::from_millis(2);
/// Commits that must lie between the full backup and the incremental.
const CHANGES: u64 = 500;
/// The shop is the same for everyone who runs the demo.
const SEED: u64 = 20_261_121;

/// The files of the demo's project.
const FILES: &[(&str, &str)] = &[
    (
        "lifeboat.toml",
        include_str!("../demo_project/lifeboat.toml"),
    ),
    (
        "environments/prod.toml",
        include_str!("../demo_project/prod.toml"),
    ),
    (
        "environments/staging.toml",
        include_str!("../demo_project/staging.toml"),
    ),
    (
        "schedules/production.toml",
        include_str!("../../../../schedules/production.toml"),
    ),
    (
        "schedules/staging.toml",
        include_str!("../../../../schedules/staging.toml"),
    ),
    (
        "masking-rules/webshop.toml",
        include_str!("../../../../masking-rules/webshop.toml"),
    ),
];

/// What the demo did, for `--json`.
#[derive(Serialize)]
struct DemoReport {
    directory: PathBuf,
    report: PathBuf,
    customers: u64,
    rows: u64,
    commits_by_writer: u64,
    snapshots: Vec<BackupReport>,
    replication: ReplicateReport,
    masking: RefreshReport,
    drill: DrillReport,
    verdict: Verdict,
    secs: f64,
}

pub(super) async fn run(
    args: &Args,
    keep: Option<&Path>,
    customers: u64,
) -> Result<Exit, OperationError> {
    let root = create_place(keep)?;
    let tell = |text: &str| {
        if !args.json {
            table::line(text);
        }
    };
    write_project(&root)?;
    let loaded = setup::load(&root, args)?;
    let session = setup::session_for(loaded.config, args.quiet || args.json);
    let watch = Stopwatch::start(&*session.world.clock);
    tell(&format!(
        "generating a webshop with {customers} customers in {}",
        root.display()
    ));
    let shop = generate(&session, &root, customers)?;
    if let Some(failure) = session.init(&session.plan_init()?).await?.failure {
        return Err(failure);
    }

    let writer = Writer::start(&session, &root)?;
    tell("full backup of database and configuration, while customers keep ordering");
    let mut snapshots = back_up(&session, Tier::Daily).await?;
    writer.wait_for(CHANGES);
    tell("hourly incremental");
    snapshots.extend(back_up(&session, Tier::Hourly).await?);
    let commits_by_writer = writer.stop()?;
    tell("replicating to the second region, with receipts");
    let replication = replicate(&session).await?;
    tell("masking a copy for staging and looking for leaks");
    let masking = refresh(&session).await?;
    tell("drill: the home region is lost, recovering from the second one alone");
    let drill = rehearse(&session).await?;

    let mut report = DemoReport {
        verdict: Verdict::all([masked(&masking).leak_report.verdict(), drill.verdict]),
        report: root.join("report.html"),
        directory: root,
        customers: shop.customers,
        rows: shop.customers + shop.orders + shop.payments + shop.notes,
        commits_by_writer,
        snapshots,
        replication,
        masking,
        drill,
        secs: 0.0,
    };
    write_html(&session, &report)?;
    report.secs = watch.elapsed().as_secs_f64();
    if args.json {
        table::json(&report);
    } else {
        show(&report);
    }
    let masked = masked(&report.masking).leak_report.verdict();
    Ok(
        match Exit::of_verdict(masked, Exit::REFUSED).refuse_unverified() {
            Exit::DONE => drill::exit_of(&report.drill),
            refused => refused,
        },
    )
}

/// Chooses the demo's folder, which must be new or empty.
fn create_place(keep: Option<&Path>) -> Result<PathBuf, OperationError> {
    let root = match keep {
        Some(folder) => folder.to_owned(),
        None => {
            let world = setup::world();
            let id = RunId::from_bytes(world.entropy.bytes());
            std::env::temp_dir().join(format!("lifeboat-demo-{id}"))
        }
    };
    let io = |op, source| OperationError::Io {
        op,
        path: root.clone(),
        source,
    };
    let root = std::path::absolute(&root).map_err(|error| io("find", error))?;
    std::fs::create_dir_all(&root).map_err(|error| io("create", error))?;
    let used = std::fs::read_dir(&root)
        .map_err(|error| io("read", error))?
        .next()
        .is_some();
    if used {
        return Err(OperationError::Usage {
            message: format!("`{}` is not empty", root.display()),
            hint: "let `--keep` name a new or empty folder".to_owned(),
        });
    }
    Ok(root)
}

fn write_project(root: &Path) -> Result<(), OperationError> {
    for (file, text) in FILES {
        // The shipped rules take their key from the environment; the demo brings its own.
        let text = text.replace("key = \"env:MASK_KEY\"", "key = \"file:keys/mask.key\"");
        write(&root.join(file), text.as_bytes())?;
    }
    let world = setup::world();
    let key: [RunId; 4] = std::array::from_fn(|_| RunId::from_bytes(world.entropy.bytes()));
    write(
        &root.join("keys/mask.key"),
        key.map(|part| part.to_string()).concat().as_bytes(),
    )
}

/// Writes a file that only its owner may read: there are keys and a report among them.
fn write(path: &Path, bytes: &[u8]) -> Result<(), OperationError> {
    let create = || {
        let mut options = OpenOptions::new();
        options
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(path)
    };
    let written = path
        .parent()
        .map_or(Ok(()), std::fs::create_dir_all)
        .and_then(|()| create()?.write_all(bytes));
    written.map_err(|source| OperationError::Io {
        op: "write",
        path: path.to_owned(),
        source,
    })
}

fn generate(
    session: &Session,
    root: &Path,
    customers: u64,
) -> Result<lifeboat_demo::ShopStats, OperationError> {
    let production = root.join("production");
    write(
        &production.join("README"),
        b"The demo's production: a database and a config folder.\n",
    )?;
    let options = ShopOptions {
        customers,
        seed: SEED,
        now: session.world.clock.now(),
    };
    let shop = Shop::create(&production.join("shop.db"), &options).map_err(demo_error)?;
    ConfigFolder::create(&production.join("config")).map_err(demo_error)?;
    Ok(shop)
}

#[expect(clippy::needless_pass_by_value, reason = "it is what `map_err` gives")]
fn demo_error(error: DemoError) -> OperationError {
    OperationError::Usage {
        message: error.to_string(),
        hint: error
            .hint()
            .unwrap_or_else(|| "run the demo in another folder".to_owned()),
    }
}

/// Commits real changes on a thread of its own, as an application would.
struct Writer {
    stop: Arc<AtomicBool>,
    commits: Arc<AtomicU64>,
    thread: JoinHandle<Result<u64, DemoError>>,
}

impl Writer {
    fn start(session: &Session, root: &Path) -> Result<Self, OperationError> {
        let database = root.join("production/shop.db");
        let mut writer = ShopWriter::open(&database, SEED).map_err(demo_error)?;
        let (stop, commits) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicU64::new(0)),
        );
        let (stopped, count) = (stop.clone(), commits.clone());
        let clock = session.world.clock.clone();
        let thread = std::thread::spawn(move || {
            writer.run_until(&stopped, PAUSE, || {
                count.fetch_add(1, Ordering::Relaxed);
                clock.now()
            })
        });
        Ok(Self {
            stop,
            commits,
            thread,
        })
    }

    /// Waits until so many more transactions were committed, or the writer failed.
    fn wait_for(&self, commits: u64) {
        let goal = self.commits.load(Ordering::Relaxed) + commits;
        while self.commits.load(Ordering::Relaxed) < goal && !self.thread.is_finished() {
            std::thread::sleep(PAUSE);
        }
    }

    fn stop(self) -> Result<u64, OperationError> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread
            .join()
            .expect("the writer does not panic")
            .map_err(demo_error)
    }
}

async fn back_up(session: &Session, tier: Tier) -> Result<Vec<BackupReport>, OperationError> {
    let prod = session.environment("prod")?;
    let mut reports = Vec::new();
    for plan in session.plan_backup(prod, None, tier, None)? {
        reports.push(session.backup(&plan).await?);
    }
    Ok(reports)
}

async fn replicate(session: &Session) -> Result<ReplicateReport, OperationError> {
    let prod = session.environment("prod")?;
    let plan = session.plan_replicate(prod, &prod.replicas[0]).await?;
    session.replicate(prod, &plan, &CopyLimits::default()).await
}

async fn refresh(session: &Session) -> Result<RefreshReport, OperationError> {
    let staging = session.environment("staging")?;
    let plan = session.plan_refresh(staging, CopyOf::Newest).await?;
    session.refresh(staging, &plan).await
}

async fn rehearse(session: &Session) -> Result<DrillReport, OperationError> {
    let prod = session.environment("prod")?;
    let request = DrillRequest {
        scenario: Scenario::RegionLoss,
        source: None,
        region: None,
    };
    run_drill(session, prod, &plan_drill(session, prod, &request)?).await
}

fn write_html(session: &Session, report: &DemoReport) -> Result<(), OperationError> {
    let refresh = &report.masking;
    let masking = leak_report::view(&refresh.from, &refresh.environment, masked(refresh));
    let story = Story {
        title: "Lifeboat demo",
        project: &session.config.project,
        generated: session.world.clock.now(),
        program: &session.program,
        backups: &report.snapshots,
        replications: std::slice::from_ref(&report.replication),
        masking: std::slice::from_ref(&masking),
        drills: std::slice::from_ref(&report.drill),
    };
    write(&report.report, lifeboat_report::html(&story).as_bytes())
}

fn masked(refresh: &RefreshReport) -> &MaskReport {
    let mask = refresh.mask.as_ref();
    mask.expect("a SQLite file is masked anew each time")
}

fn show(report: &DemoReport) {
    table::line("");
    backup::show(&report.snapshots);
    mask::show(masked(&report.masking));
    let replication = &report.replication;
    let drill = &report.drill;
    let target = |secs: Option<f64>| secs.map_or_else(|| "none".to_owned(), table::secs);
    let objective = |verdict: Option<Verdict>| {
        verdict.map_or_else(|| "not judged".to_owned(), |verdict| verdict.to_string())
    };
    let rows = [
        vec![
            "second region".to_owned(),
            format!(
                "{} objects, {}",
                replication.objects,
                table::bytes(replication.bytes)
            ),
            format!("receipts for {} snapshots", replication.receipts),
            "pass".to_owned(),
        ],
        vec![
            "masked staging copy".to_owned(),
            format!(
                "{} rows in {}",
                report.masking.rows(),
                table::secs(report.masking.secs)
            ),
            "no original of a masked column".to_owned(),
            masked(&report.masking).leak_report.verdict().to_string(),
        ],
        vec![
            "data after the restore".to_owned(),
            format!("{} checks", drill.checks.len()),
            "row for row as at the backup".to_owned(),
            drill.checks_verdict.to_string(),
        ],
        vec![
            "RTO".to_owned(),
            table::secs(drill.rto_secs),
            target(drill.rto_target_secs),
            objective(drill.rto_verdict),
        ],
        vec![
            "RPO".to_owned(),
            table::measured(drill.rpo_secs),
            target(drill.rpo_target_secs),
            objective(drill.rpo_verdict),
        ],
    ];
    table::print(&["what", "measured", "target", "verdict"], rows);
    let place = report.directory.display();
    table::line(&format!("report: {}", report.report.display()));
    table::line(&format!("everything is in {place}; try next:"));
    for command in [
        "status",
        "snapshots prod",
        "verify prod --level full",
        "drill run prod --scenario region-loss",
        "restore prod config --to /tmp/restored-config",
    ] {
        table::line(&format!("  lifeboat -C {place} {command}"));
    }
    table::line(&format!(
        "the whole story took {}",
        table::secs(report.secs)
    ));
}
