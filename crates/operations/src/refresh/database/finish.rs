//! What the environment wants of a new database before it is published: migrations, configuration,
//! checks.

use std::process::{Command, Stdio};
use std::time::Duration;

use lifeboat_masking::IntegrityCheck;
use lifeboat_model::{Verdict, error_chain};
use lifeboat_source_postgres::conninfo::Conninfo;
use lifeboat_source_postgres::logical::TargetDatabase;

use super::Job;
use crate::error::OperationError;
use crate::refresh::phases::Phases;

/// How long one check may take.
const CHECK_LIMIT: Duration = Duration::from_secs(600);

/// Migrates, configures and checks a new database; returns what the checks said.
pub(super) async fn finish(
    job: &Job<'_>,
    database: &TargetDatabase,
    name: &str,
    phases: &mut Phases<'_>,
) -> Result<Vec<IntegrityCheck>, OperationError> {
    let target = &job.way.target;
    if let Some(command) = &target.migrate {
        run(job, name, "migrate", command)?;
        phases.end("migrate");
    }
    for file in &target.sql {
        let text = std::fs::read_to_string(file)
            .map_err(|error| OperationError::io("read", file, error))?;
        database.run_script(&text).await?;
    }
    if let Some(command) = &target.configure {
        run(job, name, "configure", command)?;
    }
    if target.configure.is_some() || !target.sql.is_empty() {
        phases.end("configure");
    }
    let mut checks = Vec::new();
    for sql in &target.checks {
        let (verdict, why) = match database.assertion(sql, CHECK_LIMIT).await {
            Ok(held) => (Verdict::from_passed(held), String::new()),
            Err(error) => (Verdict::NotVerified, format!(" ({})", error_chain(&error))),
        };
        checks.push(IntegrityCheck {
            name: format!("check `{sql}`{why}"),
            verdict,
        });
    }
    if !checks.is_empty() {
        phases.end("check");
    }
    Ok(checks)
}

/// Runs a command of the user's, which finds the new database in the variables that clients of
/// PostgreSQL read. What it prints goes where messages go.
fn run(job: &Job<'_>, name: &str, key: &str, command: &str) -> Result<(), OperationError> {
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(command);
    shell.current_dir(&job.session.config.root);
    // Our own surroundings may name another server.
    for variable in Conninfo::all_variables() {
        shell.env_remove(variable);
    }
    shell.envs(job.target.clone().with_dbname(name).variables());
    shell
        .stdin(Stdio::null())
        .stdout(Stdio::from(std::io::stderr()));
    let failed = |why: String| OperationError::Usage {
        message: format!("the command `{key}` of `[refresh]` failed: {why}"),
        hint: "nothing was published; run it by hand against a copy to see what it says".to_owned(),
    };
    let status = shell.status().map_err(|error| failed(error.to_string()))?;
    match status.success() {
        true => Ok(()),
        false => Err(failed(status.to_string())),
    }
}
