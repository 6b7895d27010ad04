//! Names of runs in the ledger: what can be told of a run from a listing alone.
//!
//! A year of hourly jobs leaves tens of thousands of entries. The names say when each run began, of
//! which job it is and whether it ended, so that a question about one job costs one listing and the
//! few entries that answer it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use futures::stream::{self, Stream, StreamExt as _};
use jiff::Timestamp;
use lifeboat_model::{EnvironmentName, ErrorKind, RunId};
use lifeboat_storage::{ObjectKey, ObjectStore, StoreError};

use crate::error::RepositoryError;
use crate::layout::{self, RUNS, compact, parse_compact};
use crate::ledger::{RunBegin, RunEnd, RunRecord};

/// Runs that are read at the same time.
const READS_AT_ONCE: usize = 16;

/// A run as the names of its ledger entries tell it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunName {
    /// The environment.
    pub environment: EnvironmentName,
    /// When it began, to the millisecond.
    pub began: Timestamp,
    /// The run.
    pub run: RunId,
    /// Whether its end was listed.
    pub ended: bool,
    /// The job it is a run of, in the spelling of names.
    job: Option<String>,
}

impl RunName {
    pub(crate) fn new(
        environment: EnvironmentName,
        began: Timestamp,
        run: RunId,
        job: Option<&str>,
    ) -> Self {
        Self {
            environment,
            began: layout::truncate_instant(began),
            run,
            ended: false,
            job: job.map(spelt),
        }
    }

    /// Reports whether this is a run of the job called `name`: its own, not a part of its work.
    pub fn is_of_job(&self, name: &str) -> bool {
        self.job.as_ref().is_some_and(|job| *job == spelt(name))
    }

    /// Returns how the name of a job is spelt where only letters, digits, `-`, `_` and `.` may stand.
    pub fn job_part(name: &str) -> String {
        spelt(name)
    }

    /// Lists the runs of an environment, newest first: one call, nothing is read. Needs no key.
    ///
    /// # Errors
    /// Fails if the store cannot be listed.
    pub async fn newest_first(
        store: &dyn ObjectStore,
        environment: &EnvironmentName,
    ) -> Result<Vec<Self>, RepositoryError> {
        let mut found: BTreeMap<String, (bool, bool)> = BTreeMap::new();
        for meta in store.list(&format!("{RUNS}{environment}/")).await? {
            let Some((stem, end)) = meta.key.file_name().rsplit_once('.') else {
                continue;
            };
            let (begun, ended) = found.entry(stem.to_owned()).or_default();
            *begun |= end == "begin";
            *ended |= end == "end";
        }
        let name = |(stem, (begun, ended)): (String, (bool, bool))| {
            Self::parse(environment, &stem, ended).filter(|_| begun)
        };
        Ok(found.into_iter().rev().filter_map(name).collect())
    }

    /// Reads the run, or returns `None` if it is damaged or gone. A damaged one is logged.
    ///
    /// # Errors
    /// Fails if the store cannot be read.
    pub async fn read(
        &self,
        store: &dyn ObjectStore,
    ) -> Result<Option<RunRecord>, RepositoryError> {
        let Some(begin) = entry::<RunBegin>(store, &self.begin_key()).await? else {
            return Ok(None);
        };
        let end = match self.ended {
            true => entry::<RunEnd>(store, &self.end_key()).await?,
            false => None,
        };
        Ok(Some(RunRecord { begin, end }))
    }

    /// Reads many runs, several at a time, and yields them in the order given. Whoever has seen
    /// enough drops the stream, and the rest is never asked for.
    pub fn read_all<'a>(
        store: &'a dyn ObjectStore,
        names: impl IntoIterator<Item = Self> + 'a,
    ) -> impl Stream<Item = Result<RunRecord, RepositoryError>> + 'a {
        stream::iter(names)
            .map(move |name| async move { name.read(store).await })
            .buffered(READS_AT_ONCE)
            .filter_map(|read| async { read.transpose() })
    }

    pub(crate) fn begin_key(&self) -> ObjectKey {
        layout::run(&self.environment, &self.stem(), "begin")
    }

    pub(crate) fn end_key(&self) -> ObjectKey {
        layout::run(&self.environment, &self.stem(), "end")
    }

    fn stem(&self) -> String {
        let (at, run) = (compact(self.began), self.run);
        match &self.job {
            Some(job) => format!("{at}-{run}.{job}"),
            None => format!("{at}-{run}"),
        }
    }

    fn parse(environment: &EnvironmentName, stem: &str, ended: bool) -> Option<Self> {
        let (began, rest) = stem.split_once('-')?;
        let (run, job) = match rest.split_once('.') {
            Some((run, job)) => (run, Some(job.to_owned())),
            None => (rest, None),
        };
        Some(Self {
            environment: environment.clone(),
            began: parse_compact(began)?,
            run: run.parse().ok()?,
            ended,
            job,
        })
    }
}

/// Reads one entry. One that is damaged must not hide the others.
async fn entry<T: serde::de::DeserializeOwned>(
    store: &dyn ObjectStore,
    key: &ObjectKey,
) -> Result<Option<T>, RepositoryError> {
    let bytes = match store.get(key).await {
        Ok(bytes) => bytes,
        Err(StoreError {
            kind: ErrorKind::NotFound,
            ..
        }) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let damaged = |error| tracing::warn!(%error, "ledger entry `{key}` is damaged");
    Ok(serde_json::from_slice(&bytes).map_err(damaged).ok())
}

/// The longest spelling that is kept whole, bytes: a part of a name has room for 255.
const SPELT_MAX: usize = 100;

/// Spells a job's name with characters that names allow, each name in its own way.
///
/// Lower-case letters, digits and `-` stay; any other byte becomes `_` and two digits, capitals
/// too, because some file systems take `A` for `a`. What gets too long ends in a hash.
fn spelt(job: &str) -> String {
    let mut text = String::new();
    for byte in job.bytes() {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'-' => text.push(char::from(byte)),
            _ => write!(text, "_{byte:02x}").expect("a string takes any text"),
        }
    }
    if text.len() > SPELT_MAX {
        text.truncate(SPELT_MAX);
        text.push('.');
        text.push_str(&blake3::hash(job.as_bytes()).to_hex()[..32]);
    }
    text
}

#[cfg(test)]
mod tests {
    use lifeboat_storage::MemoryStore;

    use super::*;
    use crate::ledger::{Outcome, RunJob, RunKind};

    fn begin(second: u8, job: Option<&str>, kind: RunKind) -> RunBegin {
        RunBegin {
            run: RunId::from_bytes([second; 8]),
            kind,
            environment: "prod".parse().unwrap(),
            source: None,
            began: format!("2026-11-21T03:04:{second:02}.1234567Z")
                .parse()
                .unwrap(),
            host: "here".to_owned(),
            operator: "me".to_owned(),
            tier: None,
            job: job.map(|name| RunJob {
                name: name.to_owned(),
                run: None,
                occurrence: None,
                missed: 0,
            }),
        }
    }

    #[tokio::test]
    async fn a_listing_tells_job_and_end_newest_first() {
        let store = MemoryStore::new("m");
        let end = |begin: &RunBegin| RunEnd {
            run: begin.run,
            ended: begin.began,
            outcome: Outcome::Done,
            facts: BTreeMap::new(),
        };
        let runs = [
            begin(1, Some("hourly"), RunKind::Job),
            begin(2, Some("hourly"), RunKind::Backup),
            begin(3, Some("Nightly, full"), RunKind::Job),
        ];
        for run in &runs {
            run.write(&store).await.unwrap();
        }
        runs[0].write_end(&store, &end(&runs[0])).await.unwrap();
        let prod = "prod".parse().unwrap();
        let found = RunName::newest_first(&store, &prod).await.unwrap();
        let ids: Vec<_> = found.iter().map(|name| name.run.as_bytes()[0]).collect();
        assert_eq!(ids, [3, 2, 1]);
        assert!(found[0].is_of_job("Nightly, full"));
        assert!(!found[0].is_of_job("nightly, full"));
        // A backup that a job asked for is no run of the job.
        assert!(!found[1].is_of_job("hourly"));
        assert!(found[2].is_of_job("hourly") && found[2].ended && !found[1].ended);
        let read = found[2].read(&store).await.unwrap();
        assert_eq!(read.unwrap().begin, runs[0]);
    }

    #[test]
    fn an_entry_written_before_there_were_jobs_is_read() {
        let text = r#"{"run":"0101010101010101","kind":"backup","environment":"prod",
            "source":null,"began":"2026-11-21T03:04:01Z","host":"h","operator":"o"}"#;
        let old: RunBegin = serde_json::from_str(text).unwrap();
        assert_eq!((old.job, old.tier), (None, None));
    }

    #[test]
    fn every_job_has_a_spelling_of_its_own_that_names_allow() {
        let long = "ü".repeat(500);
        let longer = format!("{long}x");
        let jobs = ["a", "A", "a b", "a_20b", "a.b", "", "_", &long, &longer];
        let spellings: std::collections::BTreeSet<_> = jobs.iter().map(|job| spelt(job)).collect();
        assert_eq!(spellings.len(), jobs.len());
        for job in jobs {
            let name = begin(1, Some(job), RunKind::Job).name();
            assert!(name.begin_key().file_name().len() < 255);
            let parsed = RunName::parse(&name.environment, &name.stem(), false).unwrap();
            assert!(parsed.is_of_job(job), "{job}");
        }
    }
}
