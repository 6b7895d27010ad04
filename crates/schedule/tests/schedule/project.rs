//! A project with its regions in memory and a clock that moves when told to.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;
use lifeboat_config::{Config, Environment, Region};
use lifeboat_model::{RegionName, RunId};
use lifeboat_operations::{Session, StoreOpener};
use lifeboat_policy::Job;
use lifeboat_repository::{Outcome, RunBegin, RunEnd, RunJob, RunKind, RunName, RunRecord};
use lifeboat_runtime::{ComputePool, ManualClock, NoProgress, SeededEntropy, Variables, World};
use lifeboat_schedule::{JobReport, JobState, Overview, run_due, states};
use lifeboat_storage::{MemoryStore, ObjectKey, ObjectMeta, ObjectStore, Put, StoreError};

/// Five past ten, a Friday.
pub(crate) const START: &str = "2026-11-20T10:05:00Z";

const LIFEBOAT: &str = r#"
version = 1
project = "test"
[keys]
writer = "file:keys/writer.key"
reader = "file:keys/reader.key"
auditor = "file:keys/auditor.key"
[region.home]
url = "regions/home"
location = "eu"
[region.away]
url = "regions/away"
location = "eu"
"#;

const ENVIRONMENT: &str = r#"
class = "test"
region = "home"
replicas = ["away"]
schedule = "test"
[source.config]
kind = "files"
path = "data/config"
[source.notes]
kind = "files"
path = "data/notes"
"#;

/// A project, its world and its regions.
pub(crate) struct Project {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) session: Session,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) regions: Arc<Regions>,
}

impl Project {
    /// Makes a project whose schedule is this one.
    pub(crate) async fn new(schedule: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let files = [
            ("lifeboat.toml", LIFEBOAT),
            ("environments/dev.toml", ENVIRONMENT),
            ("schedules/test.toml", schedule),
            ("data/config/app.toml", "port = 8080"),
            ("data/notes/todo.txt", "sleep"),
        ];
        for (file, text) in files {
            let path = dir.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let loaded = Config::load(dir.path(), &[], &[]).unwrap();
        let clock = Arc::new(ManualClock::new(START.parse().unwrap()));
        let regions = Arc::new(Regions::default());
        let session = Session {
            config: Arc::new(loaded.config),
            world: World {
                clock: clock.clone(),
                entropy: Arc::new(SeededEntropy::new(1)),
                pool: ComputePool::inline(),
            },
            variables: Arc::new(Variables::default()),
            stores: regions.clone(),
            progress: Arc::new(NoProgress),
            host: "one".to_owned(),
            operator: "tester".to_owned(),
            program: "test".to_owned(),
            job: None,
        };
        let plan = session.plan_init().unwrap();
        session.init(&plan).await.unwrap();
        Self {
            dir,
            session,
            clock,
            regions,
        }
    }

    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.dir.path().join(file)
    }

    pub(crate) fn environment(&self) -> &Environment {
        self.session.environment("dev").unwrap()
    }

    pub(crate) fn job(&self, name: &str) -> &Job {
        let named = self.environment().schedule.as_ref().unwrap();
        named.schedule.job(name).unwrap()
    }

    pub(crate) fn home(&self) -> Arc<Hooked> {
        self.regions.of("home")
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.session.world.clock.now()
    }

    pub(crate) fn advance_mins(&self, minutes: u64) {
        self.clock.advance(Duration::from_secs(60 * minutes));
    }

    /// Runs what is due.
    pub(crate) async fn run_due(&self) -> Vec<JobReport> {
        let overview: Overview =
            run_due(&self.session, &[self.environment()], &[], &mut |_| {}).await;
        assert!(overview.unreadable.is_empty());
        overview.reports
    }

    /// Runs what is due and returns each job with how it came off.
    pub(crate) async fn ends(&self) -> Vec<(String, &'static str)> {
        let reports = self.run_due().await;
        let end = |report: JobReport| (report.job, report.end.as_str());
        reports.into_iter().map(end).collect()
    }

    pub(crate) async fn state(&self, job: &str) -> JobState {
        let states = states(&self.session, self.environment()).await.unwrap();
        states.into_iter().find(|state| state.job == job).unwrap()
    }

    pub(crate) async fn ledger(&self) -> Vec<RunRecord> {
        RunRecord::list(&*self.home(), &self.environment().name)
            .await
            .unwrap()
    }

    /// Returns the runs of a job, oldest first.
    pub(crate) async fn runs_of(&self, job: &str) -> Vec<RunRecord> {
        let of_job = |run: &RunRecord| {
            let named = run.begin.job.as_ref().is_some_and(|of| of.name == job);
            run.begin.kind == RunKind::Job && named
        };
        let mut runs = self.ledger().await;
        runs.retain(of_job);
        runs
    }

    /// What another host's run of a job writes first.
    pub(crate) fn foreign_begin(&self, job: &str, began: Timestamp, id: u8) -> RunBegin {
        RunBegin {
            run: RunId::from_bytes([id; 8]),
            kind: RunKind::Job,
            environment: self.environment().name.clone(),
            source: None,
            began,
            host: "two".to_owned(),
            operator: "cron".to_owned(),
            tier: None,
            job: Some(RunJob {
                name: job.to_owned(),
                run: None,
                occurrence: None,
                missed: 0,
            }),
        }
    }

    pub(crate) async fn write_end(&self, begin: &RunBegin, outcome: Outcome) {
        let end = RunEnd {
            run: begin.run,
            ended: self.now(),
            outcome,
            facts: BTreeMap::new(),
        };
        begin.write_end(&*self.home(), &end).await.unwrap();
    }

    pub(crate) async fn names(&self) -> Vec<RunName> {
        RunName::newest_first(&*self.home(), &self.environment().name)
            .await
            .unwrap()
    }
}

/// Regions in memory.
#[derive(Default)]
pub(crate) struct Regions(Mutex<BTreeMap<RegionName, Arc<Hooked>>>);

impl Regions {
    pub(crate) fn of(&self, name: &str) -> Arc<Hooked> {
        self.0.lock().unwrap()[&name.parse::<RegionName>().unwrap()].clone()
    }
}

impl StoreOpener for Regions {
    fn open(&self, region: &Region) -> Result<Arc<dyn ObjectStore>, StoreError> {
        Ok(self.0.lock().unwrap()[&region.name].clone())
    }

    fn create(&self, region: &Region) -> Result<Arc<dyn ObjectStore>, StoreError> {
        let mut regions = self.0.lock().unwrap();
        Ok(regions.entry(region.name.clone()).or_default().clone())
    }
}

/// What happens when an object is put.
#[derive(Default)]
pub(crate) enum Hook {
    /// Nothing special.
    #[default]
    None,
    /// Packs never get there: the call hangs.
    PacksHang,
    /// When a run begins, this one has begun too: another host was as quick.
    RivalBegins(Box<RunBegin>),
}

/// A store in memory that does what is asked of it, and counts what it is asked.
#[derive(Default)]
pub(crate) struct Hooked {
    inner: MemoryStore,
    pub(crate) hook: Mutex<Hook>,
    pub(crate) gets: Mutex<usize>,
    pub(crate) lists: Mutex<usize>,
}

#[async_trait]
impl ObjectStore for Hooked {
    fn describe(&self) -> String {
        self.inner.describe()
    }

    async fn put(&self, key: &ObjectKey, body: Bytes) -> Result<Put, StoreError> {
        let hook = {
            let mut hook = self.hook.lock().unwrap();
            match &*hook {
                Hook::RivalBegins(_) if key.as_str().ends_with(".begin") => {
                    std::mem::take(&mut *hook)
                }
                Hook::PacksHang if key.as_str().starts_with("packs/") => Hook::PacksHang,
                _ => Hook::None,
            }
        };
        match hook {
            Hook::None => {}
            Hook::PacksHang => std::future::pending().await,
            Hook::RivalBegins(rival) => rival.write(&self.inner).await.unwrap(),
        }
        self.inner.put(key, body).await
    }

    async fn get(&self, key: &ObjectKey) -> Result<Bytes, StoreError> {
        *self.gets.lock().unwrap() += 1;
        self.inner.get(key).await
    }

    async fn get_range(&self, key: &ObjectKey, range: Range<u64>) -> Result<Bytes, StoreError> {
        self.inner.get_range(key, range).await
    }

    async fn head(&self, key: &ObjectKey) -> Result<Option<ObjectMeta>, StoreError> {
        self.inner.head(key).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<ObjectMeta>, StoreError> {
        *self.lists.lock().unwrap() += 1;
        self.inner.list(prefix).await
    }

    async fn delete(&self, key: &ObjectKey) -> Result<(), StoreError> {
        self.inner.delete(key).await
    }
}
