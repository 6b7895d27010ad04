//! `lifeboat mount`.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use lifeboat_model::EnvironmentName;
use lifeboat_mount::{MountError, MountTree, Unmounter};
use lifeboat_operations::{HeldLease, OperationError, SnapshotRef};
use lifeboat_repository::{Role, RunKind};

use super::browse;
use crate::args::{Args, LookArgs};
use crate::exit::Exit;
use crate::{fail, table};

/// What ends the mount that is being served.
static UNMOUNTER: Mutex<Option<Unmounter>> = Mutex::new(None);

pub(super) async fn run(
    args: &Args,
    what: &str,
    folder: &Path,
    look: &LookArgs,
) -> Result<Exit, OperationError> {
    check_folder(folder)?;
    // The lease lives for as long as the mount does: what can be read there is not pruned.
    let (tree, shown, lease) = tree(args, what, look).await?;
    let runtime = tokio::runtime::Handle::current();
    let mut mounted = match lifeboat_mount::mount(tree, folder, runtime) {
        Ok(mounted) => mounted,
        Err(error) => return Ok(failed(args, &error)),
    };
    *UNMOUNTER.lock().unwrap_or_else(PoisonError::into_inner) = Some(mounted.unmounter());
    if args.json {
        table::json(&serde_json::json!({ "mounted": shown, "folder": folder }));
    } else {
        table::line(&format!(
            "{shown} is mounted read-only on {}; Ctrl-C or `umount` ends it",
            folder.display()
        ));
    }
    // Waiting for the kernel is this thread's whole work from here on.
    let served = tokio::task::block_in_place(|| mounted.serve());
    if let Some(lease) = lease {
        lease.end().await;
    }
    Ok(match served {
        Ok(()) => Exit::DONE,
        Err(error) => failed(args, &error),
    })
}

/// Unmounts, if anything is mounted. Returns whether the command is about to end by itself;
/// `None` if nothing was mounted.
pub(crate) fn stop() -> Option<bool> {
    let unmounter = UNMOUNTER
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .take()?;
    Some(match unmounter.unmount() {
        Ok(at_rest) => {
            if !at_rest {
                fail::print_line("unmounted, though somebody still had a file open there");
            }
            at_rest
        }
        Err(error) => {
            fail::print(&error);
            false
        }
    })
}

fn failed(args: &Args, error: &MountError) -> Exit {
    if args.json {
        table::json_error(fail::document(error));
    }
    fail::print(error)
}

/// What lies in the folder would be hidden, and looked for.
fn check_folder(folder: &Path) -> Result<(), OperationError> {
    let usage = |message: String, hint: &str| {
        Err(OperationError::Usage {
            message,
            hint: hint.to_owned(),
        })
    };
    let is_empty = std::fs::read_dir(folder).map(|mut entries| entries.next().is_none());
    match is_empty {
        Ok(true) => Ok(()),
        Ok(false) => usage(
            format!("`{}` is not empty", folder.display()),
            "mount on an empty folder",
        ),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => usage(
            format!("`{}` does not exist", folder.display()),
            "make it first: an empty folder",
        ),
        Err(source) => Err(OperationError::Io {
            op: "open",
            path: PathBuf::from(folder),
            source,
        }),
    }
}

/// Makes the tree of a snapshot or of an environment, and says what it is.
async fn tree(
    args: &Args,
    what: &str,
    look: &LookArgs,
) -> Result<(MountTree, String, Option<HeldLease>), OperationError> {
    let session = browse::session(args, look)?;
    let place = browse::place(look);
    let is_environment = session
        .config
        .environments
        .keys()
        .any(|name| name.as_str() == what);
    if let (false, Ok(wanted)) = (is_environment, what.parse::<SnapshotRef>()) {
        let (view, snapshot) = session.view_of(&place, &wanted, Role::Reader).await?;
        let shown = format!(
            "snapshot {} of {}/{}",
            snapshot.id.short(),
            snapshot.environment,
            snapshot.source
        );
        let lease = HeldLease::for_reading(&session, view.repository.store(), RunKind::Restore);
        let lease = lease.await;
        view.repository.still_holds(&snapshot).await?;
        let browser = view.repository.browse().await?;
        let tree = MountTree::of_snapshot(browser, snapshot).await;
        return Ok((tree.map_err(told)?, shown, lease));
    }
    let known = match look.rescue.places() {
        Some(_) => None,
        None => Some(session.environment(what)?),
    };
    let name: EnvironmentName =
        what.parse()
            .map_err(|error: lifeboat_model::InvalidName| OperationError::Usage {
                message: error.to_string(),
                hint: "name an environment or a snapshot".to_owned(),
            })?;
    let view = session.view(&place, known, Role::Reader).await?;
    let lease = HeldLease::for_reading(&session, view.repository.store(), RunKind::Restore);
    let lease = lease.await;
    let listing = view.repository.listing(Some(&name), None).await?;
    for damaged in &listing.damaged {
        let (id, what) = (damaged.name.id.short(), &damaged.what);
        tracing::warn!("snapshot {id} is left out, its commit record is damaged: {what}");
    }
    let count = listing.snapshots.len() as u64;
    let shown = format!("{name} with {}", table::counted(count, "snapshot"));
    let browser = view.repository.browse().await?;
    let tree = MountTree::of_environment(browser, listing.snapshots).map_err(told)?;
    Ok((tree, shown, lease))
}

/// Turns an error of reading a snapshot into one of the operations that report it.
fn told(error: MountError) -> OperationError {
    match error {
        MountError::Repository(error) => error.into(),
        other => OperationError::Usage {
            message: other.to_string(),
            hint: lifeboat_model::Diagnose::hint(&other).unwrap_or_default(),
        },
    }
}
