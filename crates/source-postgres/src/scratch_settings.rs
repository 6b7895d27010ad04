//! What a scratch server is told on its command line, where nothing that was restored can overrule
//! it: that it is alone in the world, and that it tells nobody what its rows hold.

use std::fmt::Write as _;
use std::path::Path;

use crate::control::ControlFile;

/// Which libraries a scratch server loads when it starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preload {
    /// None: a library that is missing here would keep the server from starting, and one that is
    /// there may act on its own.
    Nothing,
    /// What the cluster says. Needed if a library replays parts of the log.
    AsConfigured,
}

/// Returns the settings that isolate a server.
pub(crate) fn isolating(socket_folder: &Path, hba: &Path, preload: Preload) -> Vec<String> {
    let mut settings: Vec<String> = [
        // Reachable only through a folder that only its account may enter.
        "listen_addresses=",
        "port=5432",
        "unix_socket_permissions=0700",
        "ssl=off",
        "cluster_name=lifeboat_scratch",
        "external_pid_file=",
        // It must not archive over the production's archive, follow the production, or feed others.
        "archive_mode=off",
        "archive_cleanup_command=",
        "recovery_end_command=",
        "primary_conninfo=",
        "primary_slot_name=",
        "synchronous_standby_names=",
        "max_logical_replication_workers=0",
        "hot_standby=on",
        "autovacuum=off",
        // Its log ends up in messages: no statements, no details.
        "logging_collector=off",
        "log_destination=stderr",
        "log_statement=none",
        "log_min_duration_statement=-1",
        "log_min_error_statement=panic",
        "log_error_verbosity=terse",
        "log_line_prefix=",
    ]
    .map(str::to_owned)
    .to_vec();
    settings.push(format!(
        "unix_socket_directories={}",
        socket_folder.display()
    ));
    settings.push(format!("hba_file={}", hba.display()));
    if preload == Preload::Nothing {
        settings.push("shared_preload_libraries=".to_owned());
        settings.push("session_preload_libraries=".to_owned());
        settings.push("local_preload_libraries=".to_owned());
    }
    settings
}

/// Returns a configuration for a data directory whose own lies elsewhere, as Debian has it: with the
/// limits that replaying the log needs.
pub(crate) fn minimal_configuration(control: &ControlFile) -> String {
    let limits = control.limits;
    let mut text = String::new();
    for (name, value) in [
        ("max_connections", limits.max_connections),
        ("max_worker_processes", limits.max_worker_processes),
        ("max_wal_senders", limits.max_wal_senders),
        (
            "max_prepared_transactions",
            limits.max_prepared_transactions,
        ),
        (
            "max_locks_per_transaction",
            limits.max_locks_per_transaction,
        ),
    ] {
        writeln!(text, "{name} = {value}").expect("a String takes everything");
    }
    text
}
