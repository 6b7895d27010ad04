//! The definitions of a database, as `pg_dump` writes them.

use std::process::{Command, Stdio};

use super::ddl::{Ddl, Section};
use super::read::LogicalSource;
use super::subset;
use crate::conninfo::Conninfo;
use crate::error::PostgresError;
use crate::heartbeat;
use crate::installation::ServerPrograms;

/// What of the definitions is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DdlOptions {
    /// Whether comments are kept: people write names and addresses into them.
    pub keep_comments: bool,
}

/// How much of what `pg_dump` says an error shows, bytes.
const MESSAGE_BYTES_MAX: usize = 500;

impl LogicalSource {
    /// Dumps the definitions of the moment: without owners, grants, secrets of foreign servers, and
    /// what would connect the copy to anything.
    ///
    /// # Errors
    /// Fails if `pg_dump` is not there or fails.
    pub async fn dump_ddl(
        &self,
        programs: &ServerPrograms,
        options: &DdlOptions,
    ) -> Result<Ddl, PostgresError> {
        let mut ddl = Ddl::default();
        for section in [Section::PreData, Section::PostData] {
            let script = self.run_pg_dump(programs, section, options).await?;
            ddl.add(section, &script)?;
        }
        Ok(ddl)
    }

    async fn run_pg_dump(
        &self,
        programs: &ServerPrograms,
        section: Section,
        options: &DdlOptions,
    ) -> Result<String, PostgresError> {
        let program = programs.program("pg_dump");
        let mut command = Command::new(&program);
        command
            .args([
                "--no-owner",
                "--no-privileges",
                "--no-publications",
                "--no-subscriptions",
            ])
            .args([
                "--no-security-labels",
                "--no-tablespaces",
                "--no-blobs",
                "--encoding=UTF8",
            ])
            .arg(format!("--section={}", section.name()))
            .arg(format!("--snapshot={}", self.snapshot()))
            .arg(format!(
                "--exclude-table={}.{}",
                heartbeat::SCHEMA,
                heartbeat::TABLE
            ))
            .arg(format!("--exclude-schema={}", subset::SCHEMA))
            .arg(format!("--dbname={}", self.conninfo().to_libpq()))
            .arg("--lock-wait-timeout=60000");
        // Everything is in the connection string; what our own surroundings say must not mix in.
        for variable in Conninfo::all_variables() {
            command.env_remove(variable);
        }
        command
            .envs(self.conninfo().password_variable())
            .env("LC_MESSAGES", "C")
            .current_dir("/")
            .stdin(Stdio::null());
        if !options.keep_comments {
            command.arg("--no-comments");
        }
        let running = tokio::task::spawn_blocking(move || command.output());
        let output = running.await.expect("waiting for a program does not panic");
        let output = output.map_err(|error| PostgresError::io("run", &program, error))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            let said: String = said.chars().take(MESSAGE_BYTES_MAX).collect();
            return Err(PostgresError::Dump {
                said: said.trim().replace('\n', "; "),
            });
        }
        String::from_utf8(output.stdout).map_err(|_| PostgresError::Dump {
            said: "its output is not UTF-8".to_owned(),
        })
    }
}
