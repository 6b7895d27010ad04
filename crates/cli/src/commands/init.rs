//! `lifeboat init`.

use std::path::Path;

use lifeboat_config::starter_files;
use lifeboat_operations::{InitReport, OperationError};

use crate::args::Args;
use crate::exit::Exit;
use crate::{setup, table};

pub(super) async fn run(
    args: &Args,
    name: Option<&str>,
    dry_run: bool,
) -> Result<Exit, OperationError> {
    let root = args.project.clone().unwrap_or_else(|| ".".into());
    let fresh = !root.join("lifeboat.toml").exists();
    if fresh && dry_run {
        let files = starter_files(name.unwrap_or("project"));
        let files: Vec<_> = files.iter().map(|(file, _)| file.to_string()).collect();
        let mut lines = vec!["would write the starter files:".to_owned()];
        lines.extend(files.iter().map(|file| format!("  {file}")));
        let plan = serde_json::json!({ "starter_files": files });
        table::plan(args.json, &plan, &lines);
        return Ok(Exit::DONE);
    }
    if fresh {
        write_starter_files(&root, name)?;
    }
    let loaded = setup::load(&root, args)?;
    let session = setup::session_for(loaded.config, args.quiet || args.json);
    let plan = session.plan_init()?;
    if dry_run {
        let mut lines = vec![format!(
            "would create the repository in region {}",
            plan.first
        )];
        let others = plan.others.iter();
        lines.extend(others.map(|region| format!("would put its basics into region {region}")));
        let files = plan.key_files.iter();
        lines.extend(files.map(|file| format!("would write the key file {}", file.display())));
        table::plan(args.json, &plan, &lines);
        return Ok(Exit::DONE);
    }
    let report = session.init(&plan).await?;
    if args.json {
        let mut document = table::value(&report);
        if let Some(failure) = &report.failure {
            document["error"] = crate::fail::document(failure);
        }
        table::json(&document);
    } else {
        show(&report);
    }
    show_recovery_code(&report);
    match report.failure {
        Some(failure) => Err(failure),
        None => Ok(Exit::DONE),
    }
}

/// Writes the files of a new project; one that is there already stops everything.
fn write_starter_files(root: &Path, name: Option<&str>) -> Result<(), OperationError> {
    let folder = std::path::absolute(root).unwrap_or_else(|_| root.to_owned());
    let folder_name = folder
        .file_name()
        .map(|name| name.to_string_lossy().into_owned());
    let files = starter_files(name.or(folder_name.as_deref()).unwrap_or("project"));
    if let Some((file, _)) = files.iter().find(|(file, _)| root.join(file).exists()) {
        return Err(OperationError::Usage {
            message: format!("`{}` exists already", root.join(file).display()),
            hint: "move it away, or write lifeboat.toml beside it by hand".to_owned(),
        });
    }
    for (file, text) in &files {
        let path = root.join(file);
        let written = path
            .parent()
            .map_or(Ok(()), std::fs::create_dir_all)
            .and_then(|()| std::fs::write(&path, text));
        written.map_err(|source| OperationError::Io {
            op: "write",
            path,
            source,
        })?;
    }
    crate::fail::print_line("wrote the starter files:");
    for (file, _) in &files {
        crate::fail::print_line(&format!("  {}", root.join(file).display()));
    }
    Ok(())
}

fn show(report: &InitReport) {
    if !report.created {
        table::line("the repository was there already: keys and recovery code stay as they are");
    }
    table::line(&format!("repository {} is in:", report.repository));
    for region in &report.regions {
        table::line(&format!("  {region}"));
    }
    if !report.key_files.is_empty() {
        table::line("keys, which only you can read:");
        for file in &report.key_files {
            table::line(&format!("  {}", file.display()));
        }
    }
}

/// Shows the root secret, once. It goes to stderr, so that a log of the output does not keep it.
fn show_recovery_code(report: &InitReport) {
    let Some(code) = &report.recovery_code else {
        return;
    };
    crate::fail::print_line("");
    crate::fail::print_line(
        "RECOVERY CODE - print it, keep it away from every host, it is shown once:",
    );
    crate::fail::print_line(&format!("  {}", String::from_utf8_lossy(code.expose())));
    crate::fail::print_line(
        "Whoever has it can read everything; without it and the keys nobody can.",
    );
}
