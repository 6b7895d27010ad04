//! `lifeboat schedule`.

use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use lifeboat_config::Environment;
use lifeboat_operations::{OperationError, Scratch, Session};
use lifeboat_policy::{Action, Job};
use lifeboat_schedule::{
    Ask, Attempted, JobEnd, JobReport, JobState, Overview, PlannedStart, Standing, in_order,
    preview, run_due, run_job, states,
};

use crate::args::{Args, From, ScheduleCommand};
use crate::exit::Exit;
use crate::{fail, setup, table};

pub(super) async fn run(args: &Args, command: &ScheduleCommand) -> Result<Exit, OperationError> {
    let session = setup::session(args)?;
    match command {
        ScheduleCommand::Due { environment } => due(args, &session, environment.as_deref()).await,
        ScheduleCommand::Preview {
            environment,
            count,
            from,
        } => ahead(args, &session, environment.as_deref(), *from, *count),
        ScheduleCommand::Run {
            environment,
            job,
            only,
            ignore_blackout,
            dry_run,
            ..
        } => match (environment, job) {
            (Some(environment), Some(job)) => {
                let ask = match ignore_blackout {
                    true => Ask::NowDespiteBlackout,
                    false => Ask::Now,
                };
                run_one(args, &session, (environment, job), ask, *dry_run).await
            }
            _ => run_all(args, &session, environment.as_deref(), only, *dry_run).await,
        },
    }
}

async fn due(
    args: &Args,
    session: &Session,
    environment: Option<&str>,
) -> Result<Exit, OperationError> {
    let (mut found, mut exits) = (Vec::new(), vec![Exit::DONE]);
    for environment in in_order(session, environment)? {
        match states(session, environment).await {
            Ok(states) => {
                if !args.json {
                    show_states(environment, &states);
                }
                found.extend(states);
            }
            Err(error) => {
                fail::print_line(&format!("{}: nobody can tell:", environment.name));
                exits.push(fail::print(&error));
            }
        }
    }
    if args.json {
        table::json(&found);
    }
    Ok(Exit::worst_of(&exits))
}

fn show_states(environment: &Environment, states: &[JobState]) {
    let (name, zone) = clock_of(environment);
    table::line(&format!(
        "{} (schedule {name}, times of {})",
        environment.name,
        zone_name(&zone)
    ));
    let row = |state: &JobState| {
        let last = state
            .last_success
            .map_or_else(|| "never".to_owned(), |at| when(at, &zone));
        vec![
            state.job.clone(),
            state.action.to_owned(),
            last,
            attempt(state, &zone),
            standing(state, &zone),
        ]
    };
    let header = ["job", "does", "last success", "last run", "due"];
    table::print(&header, states.iter().map(row));
    table::line("");
}

/// Says how the newest run ended, and which never did.
fn attempt(state: &JobState, zone: &TimeZone) -> String {
    let Some(last) = &state.last_attempt else {
        return "none".to_owned();
    };
    let is_gap = |run: &Attempted| state.gaps.iter().any(|gap| gap.run == run.run);
    let how = match &last.outcome {
        Some(outcome) => format!("{outcome:?}").to_lowercase(),
        None if is_gap(last) => "never reported its end".to_owned(),
        None => "going on".to_owned(),
    };
    let mut text = format!("{} on {}: {how}", when(last.began, zone), last.host);
    if let Some(error) = &last.error {
        text += &format!(": {error}");
    }
    let earlier = state.gaps.iter().filter(|gap| gap.run != last.run).count() as u64;
    if earlier > 0 {
        text += &format!(
            "\n{} before it never reported an end",
            table::counted(earlier, "run")
        );
    }
    text
}

fn standing(state: &JobState, zone: &TimeZone) -> String {
    match &state.standing {
        Standing::Due { since, missed, .. } => {
            let missed = match missed {
                0 => String::new(),
                missed => format!(", {missed} missed before"),
            };
            format!("NOW, since {}{missed}", when(*since, zone))
        }
        Standing::Running { since, overdue, .. } => {
            let overdue = if *overdue { ", and due again" } else { "" };
            format!("running since {}{overdue}", when(*since, zone))
        }
        Standing::Retry { at, failures } => format!(
            "failed {}, next try {}",
            table::counted(u64::from(*failures), "time"),
            when(*at, zone)
        ),
        Standing::Blackout { until } => format!("held by a blackout until {}", when(*until, zone)),
        Standing::Later { next: Some(next) } => when(*next, zone),
        Standing::Later { next: None } => "never: its blackouts leave no time".to_owned(),
    }
}

fn ahead(
    args: &Args,
    session: &Session,
    environment: Option<&str>,
    from: Option<From>,
    count: u16,
) -> Result<Exit, OperationError> {
    let mut found = Vec::new();
    for environment in in_order(session, environment)? {
        let (name, zone) = clock_of(environment);
        let from = match from {
            None => session.world.clock.now(),
            Some(From::Instant(instant)) => instant,
            Some(From::Civil(civil)) => {
                zone.to_timestamp(civil)
                    .map_err(|error| OperationError::Usage {
                        message: format!("`{civil}` is no moment in {}: {error}", zone_name(&zone)),
                        hint: "name another one".to_owned(),
                    })?
            }
        };
        let starts = preview(session, environment, from, usize::from(count))?;
        if !args.json {
            let zone = zone_name(&zone);
            table::line(&format!(
                "{} (schedule {name}, times of {zone})",
                environment.name
            ));
            let row = |start: &PlannedStart| {
                vec![
                    shown(&start.at),
                    start.job.clone(),
                    start.action.to_owned(),
                    start.remark.clone().unwrap_or_default(),
                ]
            };
            table::print(&["starts", "job", "does", "remark"], starts.iter().map(row));
            table::line("");
        }
        found.extend(starts);
    }
    if args.json {
        table::json(&found);
    }
    Ok(Exit::DONE)
}

async fn run_all(
    args: &Args,
    session: &Session,
    environment: Option<&str>,
    only: &[Action],
    dry_run: bool,
) -> Result<Exit, OperationError> {
    let environments = in_order(session, environment)?;
    if dry_run {
        return would_run(session, &environments, only).await;
    }
    let mut tell = |report: &JobReport| {
        if !args.json || is_trouble(report) {
            show(report);
        }
    };
    let Overview {
        reports,
        unreadable,
    } = run_due(session, &environments, only, &mut tell).await;
    let mut exits: Vec<Exit> = reports
        .iter()
        .map(|report| Exit::of_job(report.end))
        .collect();
    for (environment, error) in &unreadable {
        fail::print_line(&format!("{environment}: nobody can tell what is due:"));
        exits.push(fail::print(error));
    }
    if args.json {
        table::json(&reports);
    } else if reports.is_empty() && unreadable.is_empty() {
        table::line("nothing is due");
    }
    Ok(finish(&reports, Exit::worst_of(&exits)))
}

/// Prints the states of the jobs that would be run.
async fn would_run(
    session: &Session,
    environments: &[&Environment],
    only: &[Action],
) -> Result<Exit, OperationError> {
    let mut would = Vec::new();
    for environment in environments {
        would.extend(states(session, environment).await?);
    }
    would.retain(|state| {
        let wanted = only.is_empty() || only.iter().any(|action| action.as_str() == state.action);
        wanted && matches!(state.standing, Standing::Due { .. })
    });
    table::json(&would);
    Ok(Exit::DONE)
}

async fn run_one(
    args: &Args,
    session: &Session,
    (environment, job): (&str, &str),
    ask: Ask,
    dry_run: bool,
) -> Result<Exit, OperationError> {
    let environments = in_order(session, Some(environment))?;
    let environment = environments[0];
    let job = find_job(environment, job)?;
    if dry_run {
        let states = states(session, environment).await?;
        let own: Vec<_> = states
            .into_iter()
            .filter(|state| state.job == job.name)
            .collect();
        table::json(&own);
        return Ok(Exit::DONE);
    }
    let reports = run_job(session, environment, job, ask).await;
    if args.json {
        table::json(&reports);
    }
    for report in reports
        .iter()
        .filter(|report| !args.json || is_trouble(report))
    {
        show(report);
    }
    let exits: Vec<Exit> = reports
        .iter()
        .map(|report| Exit::of_job(report.end))
        .collect();
    Ok(finish(&reports, Exit::worst_of(&exits)))
}

fn find_job<'a>(environment: &'a Environment, name: &str) -> Result<&'a Job, OperationError> {
    let named = environment.schedule.as_ref();
    let job = named.and_then(|named| named.schedule.job(name));
    job.ok_or_else(|| {
        let jobs = named.map_or_else(Vec::new, |named| {
            named
                .schedule
                .jobs
                .iter()
                .map(|job| job.name.as_str())
                .collect()
        });
        OperationError::Usage {
            message: format!("`{}` has no job `{name}`", environment.name),
            hint: format!("its jobs are: {}", jobs.join(", ")),
        }
    })
}

/// Ends the process at once if work that hangs was left behind in it, which nothing else would end.
fn finish(reports: &[JobReport], exit: Exit) -> Exit {
    if reports.iter().any(|report| report.left_behind) {
        Scratch::remove_all();
        std::process::exit(exit.code());
    }
    exit
}

fn is_trouble(report: &JobReport) -> bool {
    !report.gaps.is_empty()
        || !matches!(
            report.end,
            JobEnd::Done | JobEnd::Served | JobEnd::Overlaps | JobEnd::Blackout
        )
}

/// Prints a line for a job: what went wrong on stderr, also for `--quiet`; all else on stdout.
fn show(report: &JobReport) {
    let name = format!("{}/{}", report.environment, report.job);
    for gap in &report.gaps {
        fail::print_line(&format!(
            "warning: {name}: run {} begun {:.0} on {} never reported its end",
            gap.run, gap.began, gap.host
        ));
    }
    let took = table::secs(report.secs);
    let missed = match report.missed {
        0 => String::new(),
        missed => format!(
            ", makes up for {}",
            table::counted(u64::from(missed), "missed run")
        ),
    };
    let told = &report.told;
    match report.end {
        JobEnd::Done => table::line(&format!("{name}: done in {took}{missed}: {told}")),
        JobEnd::Served => table::line(&format!("{name}: left to another run: {told}")),
        JobEnd::Overlaps | JobEnd::Blackout => table::line(&format!("{name}: skipped: {told}")),
        JobEnd::Incomplete => fail::print_line(&format!("warning: {name}: incomplete: {told}")),
        JobEnd::NotVerified => fail::print_line(&format!("warning: {name}: not verified: {told}")),
        _ => fail::print_line(&format!("error: {name}: {told}")),
    }
    if let Some(hint) = &report.hint {
        fail::print_line(&format!("hint: {hint}"));
    }
}

fn clock_of(environment: &Environment) -> (&str, TimeZone) {
    let named = environment.schedule.as_ref();
    let named = named.expect("only environments with a schedule are shown");
    (&named.name, named.schedule.zone.clone())
}

fn zone_name(zone: &TimeZone) -> &str {
    zone.iana_name().unwrap_or("UTC")
}

/// Writes a moment by a clock that was named before.
fn when(at: Timestamp, zone: &TimeZone) -> String {
    let at = at.to_zoned(zone.clone());
    at.strftime("%a %Y-%m-%d %H:%M").to_string()
}

/// Writes a moment with its offset, which tells the two apart that autumn has of one time.
fn shown(at: &Zoned) -> String {
    at.strftime("%a %Y-%m-%d %H:%M %:z").to_string()
}
