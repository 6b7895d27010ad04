//! Schedules carried out on real repositories in memory, under a clock that moves when told to.

mod project;

use std::time::Duration;

use lifeboat_model::Tier;
use lifeboat_operations::OperationError;
use lifeboat_repository::{Outcome, RunKind};
use lifeboat_schedule::{Ask, JobEnd, Standing, preview, run_due, run_job};

use crate::project::{Hook, Project};

/// Backs up at five past each hour, copies at twenty past.
const HOURLY: &str = r#"
[[job]]
name = "replicate"
run = "replicate"
cron = "20 * * * *"
[[job]]
name = "hourly"
run = "backup"
cron = "5 * * * *"
max_runtime = "50m"
"#;

/// Backs up at five past each hour, and `more` is said of the job.
fn backup_job(more: &str) -> String {
    format!("[[job]]\nname = \"hourly\"\nrun = \"backup\"\ncron = \"5 * * * *\"\n{more}\n")
}

fn ended(job: &str, end: &'static str) -> Vec<(String, &'static str)> {
    vec![(job.to_owned(), end)]
}

#[tokio::test]
async fn a_job_runs_when_it_is_due_and_not_again_before_its_next_time() {
    let project = Project::new(HOURLY).await;
    // Neither ever succeeded. The backup comes first, though it is written last.
    let both = [ended("hourly", "done"), ended("replicate", "done")].concat();
    assert_eq!(project.ends().await, both);
    assert_eq!(project.ends().await, []);
    project.advance_mins(14);
    assert_eq!(project.ends().await, []);
    project.advance_mins(1);
    assert_eq!(project.ends().await, ended("replicate", "done"));
    project.advance_mins(45);
    assert_eq!(project.ends().await, ended("hourly", "done"));
}

#[tokio::test]
async fn the_ledger_says_which_job_each_run_is_for() {
    let project = Project::new(&backup_job("")).await;
    let reports = project.run_due().await;
    let runs = project.ledger().await;
    let parts: Vec<_> = runs
        .iter()
        .filter(|run| run.begin.kind == RunKind::Backup)
        .collect();
    assert_eq!(parts.len(), 2, "one of each source");
    for part in parts {
        let job = part.begin.job.as_ref().unwrap();
        assert_eq!((&*job.name, job.run), ("hourly", reports[0].run));
        assert_eq!(part.begin.tier, Some(Tier::Hourly));
    }
    let own = &project.runs_of("hourly").await[0];
    assert_eq!(Some(own.begin.run), reports[0].run);
    assert_eq!(own.end.as_ref().unwrap().outcome, Outcome::Done);
}

#[tokio::test]
async fn any_host_sees_what_another_one_did() {
    let project = Project::new(&backup_job("")).await;
    project.ends().await;
    let mut other = project.session.clone();
    other.host = "two".to_owned();
    let overview = run_due(&other, &[project.environment()], &[], &mut |_| {}).await;
    assert!(overview.reports.is_empty());
}

#[tokio::test]
async fn one_run_makes_up_for_those_that_were_missed_and_tells() {
    let project = Project::new(&backup_job("")).await;
    project.ends().await;
    project.advance_mins(4 * 60);
    let state = project.state("hourly").await;
    assert!(matches!(
        state.standing,
        Standing::Due {
            missed: 3,
            runs: 1,
            ..
        }
    ));
    let reports = project.run_due().await;
    assert_eq!((reports.len(), reports[0].missed), (1, 3));
    let told = project.runs_of("hourly").await[1]
        .begin
        .job
        .clone()
        .unwrap();
    assert_eq!((told.missed, told.occurrence), (3, Some(project.now())));
}

#[tokio::test]
async fn each_missed_run_is_made_up_for_if_the_job_says_so() {
    let project = Project::new(&backup_job("missed = \"all\"")).await;
    project.ends().await;
    project.advance_mins(2 * 60);
    let twice = [ended("hourly", "done"), ended("hourly", "done")].concat();
    assert_eq!(project.ends().await, twice);
    assert_eq!(project.ends().await, []);
}

#[tokio::test]
async fn a_job_that_fails_keeps_no_other_from_running_and_waits_for_its_next_try() {
    let project = Project::new(HOURLY).await;
    let (notes, away) = (project.path("data/notes"), project.path("data/away"));
    std::fs::rename(&notes, &away).unwrap();
    let reports = project.run_due().await;
    assert!(matches!(reports[0].end, JobEnd::Failed(_)), "{reports:?}");
    assert!(
        reports[0].told.contains("notes was not backed up"),
        "{reports:?}"
    );
    assert_eq!(
        (&*reports[1].job, reports[1].end),
        ("replicate", JobEnd::Done)
    );
    // The other source was backed up all the same.
    let done = |run: &lifeboat_repository::RunRecord| {
        run.begin.kind == RunKind::Backup
            && run
                .end
                .as_ref()
                .is_some_and(|end| end.outcome == Outcome::Done)
    };
    assert_eq!(
        project
            .ledger()
            .await
            .iter()
            .filter(|run| done(run))
            .count(),
        1
    );
    let state = project.state("hourly").await;
    assert!(matches!(
        state.standing,
        Standing::Retry { failures: 1, .. }
    ));
    assert!(state.last_attempt.unwrap().error.unwrap().contains("notes"));
    project.advance_mins(4);
    assert_eq!(project.ends().await, []);
    std::fs::rename(&away, &notes).unwrap();
    project.advance_mins(1);
    assert_eq!(project.ends().await, ended("hourly", "done"));
}

#[tokio::test]
async fn a_backup_by_hand_does_not_silence_the_job_of_its_tier() {
    let project = Project::new(&backup_job("")).await;
    let session = &project.session;
    let plans = session.plan_backup(project.environment(), None, Tier::Hourly, None);
    for plan in plans.unwrap() {
        session.backup(&plan).await.unwrap();
    }
    assert_eq!(project.ends().await, ended("hourly", "done"));
}

#[tokio::test]
async fn a_run_going_on_elsewhere_is_left_alone_until_it_must_be_dead() {
    let project = Project::new(&backup_job("max_runtime = \"70m\"")).await;
    project.ends().await;
    project.advance_mins(60);
    let foreign = project.foreign_begin("hourly", project.now(), 7);
    foreign.write(&*project.home()).await.unwrap();
    // It serves the occurrence it began after, and leaves out the next one.
    assert_eq!(project.ends().await, ended("hourly", "served"));
    project.advance_mins(60);
    assert_eq!(project.ends().await, ended("hourly", "overlaps"));
    assert_eq!(
        project.runs_of("hourly").await.len(),
        2,
        "nothing was begun"
    );
    project.advance_mins(10);
    let reports = project.run_due().await;
    assert_eq!((reports[0].end, reports[0].missed), (JobEnd::Done, 1));
    assert_eq!(reports[0].gaps[0].run, foreign.run);
    assert_eq!(reports[0].gaps[0].host, "two");
}

#[tokio::test]
async fn a_job_that_waits_starts_once_the_run_before_has_ended() {
    let project = Project::new(&backup_job("overlap = \"wait\"")).await;
    let foreign = project.foreign_begin("hourly", project.now() - Duration::from_secs(600), 7);
    foreign.write(&*project.home()).await.unwrap();
    let (ends, ()) = tokio::join!(project.ends(), project.write_end(&foreign, Outcome::Done));
    assert_eq!(ends, ended("hourly", "done"));
}

#[tokio::test]
async fn of_two_hosts_that_begin_at_the_same_moment_one_runs() {
    for (id, first) in [(0x00, false), (0xff, true)] {
        let project = Project::new(&backup_job("")).await;
        let rival = project.foreign_begin("hourly", project.now(), id);
        *project.home().hook.lock().unwrap() = Hook::RivalBegins(Box::new(rival));
        let expected = if first { "done" } else { "served" };
        assert_eq!(project.ends().await, ended("hourly", expected));
        let runs = project.runs_of("hourly").await;
        let own = runs.iter().find(|run| run.begin.host == "one").unwrap();
        let outcome = own.end.as_ref().unwrap().outcome;
        assert_eq!(outcome == Outcome::Done, first, "{outcome:?}");
        let backups = project.ledger().await;
        let backups = backups
            .iter()
            .filter(|run| run.begin.kind == RunKind::Backup);
        assert_eq!(backups.count(), if first { 2 } else { 0 });
    }
}

#[tokio::test]
async fn a_run_that_takes_longer_than_it_may_is_ended_and_the_ledger_says_so() {
    let project = Project::new(&backup_job("max_runtime = \"100ms\"")).await;
    *project.home().hook.lock().unwrap() = Hook::PacksHang;
    let reports = project.run_due().await;
    assert_eq!(reports[0].end, JobEnd::Overran);
    assert!(!reports[0].left_behind);
    let ledger = project.ledger().await;
    assert_eq!(ledger.len(), 2, "the job, and the backup it was at");
    for run in ledger {
        let end = run.end.unwrap();
        assert_eq!(end.outcome, Outcome::Failed);
        assert!(
            end.facts["error"]
                .as_str()
                .unwrap()
                .contains("ran longer than 100ms")
        );
    }
    // Nothing of it hinders the next.
    *project.home().hook.lock().unwrap() = Hook::None;
    let again = run_job(
        &project.session,
        project.environment(),
        project.job("hourly"),
        Ask::Now,
    );
    assert_ne!(again.await[0].end, JobEnd::Overlaps);
}

#[tokio::test]
async fn a_run_whose_process_died_on_this_host_holds_nothing_up() {
    let project = Project::new(&backup_job("")).await;
    let dead = project.foreign_begin("hourly", project.now(), 7);
    dead.write(&*project.home()).await.unwrap();
    assert_eq!(project.ends().await, ended("hourly", "served"));
    let lock = project.path(".lifeboat/jobs/dev.hourly.lock");
    std::fs::write(lock, dead.run.to_string()).unwrap();
    // It counts as a failed try, and so the next one waits a little.
    assert_eq!(project.ends().await, []);
    let end = project.runs_of("hourly").await[0].end.clone().unwrap();
    assert_eq!(end.facts["error"], "its process died");
    project.advance_mins(5);
    assert_eq!(project.ends().await, ended("hourly", "done"));
}

#[tokio::test]
async fn a_blackout_holds_a_job_unless_somebody_insists() {
    let project = Project::new(&backup_job("blackout = [\"10:00..12:00\"]")).await;
    assert_eq!(project.ends().await, ended("hourly", "blackout"));
    let ask = async |ask| {
        let job = project.job("hourly");
        run_job(&project.session, project.environment(), job, ask).await[0].end
    };
    assert_eq!(ask(Ask::Now).await, JobEnd::Blackout);
    assert_eq!(ask(Ask::NowDespiteBlackout).await, JobEnd::Done);
}

#[tokio::test]
async fn a_question_about_jobs_costs_one_listing_and_a_few_reads_however_long_the_ledger() {
    let project = Project::new(HOURLY).await;
    project.ends().await;
    for hour in 0..200_u64 {
        let began = project.now() - Duration::from_secs(3600 * (200 - hour));
        let mut other = project.foreign_begin("other", began, 1);
        other.kind = RunKind::Verify;
        other.write(&*project.home()).await.unwrap();
        project.write_end(&other, Outcome::Done).await;
    }
    assert!(project.names().await.len() > 200);
    let home = project.home();
    (*home.gets.lock().unwrap(), *home.lists.lock().unwrap()) = (0, 0);
    project.state("hourly").await;
    let (gets, lists) = (*home.gets.lock().unwrap(), *home.lists.lock().unwrap());
    // Two entries of each job, and what identifies the region.
    assert!(gets <= 8 && lists == 1, "{gets} gets, {lists} lists");
}

#[tokio::test]
async fn a_job_that_always_failed_is_not_read_back_to_the_beginning() {
    let project = Project::new(&backup_job("")).await;
    for n in 1..=250_u64 {
        let began = project.now() - Duration::from_secs(3600 * n);
        let foreign = project.foreign_begin("hourly", began, 3);
        foreign.write(&*project.home()).await.unwrap();
        project.write_end(&foreign, Outcome::Failed).await;
    }
    project.advance_mins(1);
    *project.home().gets.lock().unwrap() = 0;
    let state = project.state("hourly").await;
    assert!(matches!(state.standing, Standing::Due { .. }));
    assert!(*project.home().gets.lock().unwrap() < 250);
}

#[tokio::test]
async fn the_preview_shows_the_jobs_of_an_environment_in_the_order_they_will_start() {
    let project = Project::new(HOURLY).await;
    let planned = preview(&project.session, project.environment(), project.now(), 2).unwrap();
    let shown: Vec<_> = planned
        .iter()
        .map(|start| format!("{} {}", start.at.strftime("%H:%M"), start.job))
        .collect();
    let expected = [
        "10:20 replicate",
        "11:05 hourly",
        "11:20 replicate",
        "12:05 hourly",
    ];
    assert_eq!(shown, expected);
}

#[tokio::test]
async fn an_environment_without_a_schedule_is_named_with_what_to_write() {
    let project = Project::new(HOURLY).await;
    let mut environment = project.environment().clone();
    environment.schedule = None;
    let error = lifeboat_schedule::states(&project.session, &environment).await;
    let Err(OperationError::NotConfigured { hint, .. }) = error else {
        panic!("{error:?}");
    };
    assert!(hint.contains("schedule = "));
}
