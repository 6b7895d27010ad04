//! Makes restored files a cluster again: tablespaces, recovery settings, and last of all the control
//! file, without which no server starts on a half-restored directory.

use std::fs::{self, File, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::control::ControlFile;
use crate::data_directory::{Tablespace, running_server};
use crate::error::PostgresError;
use crate::label::BackupLabel;
use crate::recovery_settings::RecoverySettings;

/// Added to the names of files that are not complete yet.
const UNFINISHED: &str = ".lifeboat-new";
/// A server refuses a data directory that others may enter, or the group may write.
const PRIVATE: u32 = 0o700;
const GROUP_MAY_READ: u32 = 0o750;

/// Whether a restore finds something in its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetMode {
    /// Every folder must be missing or empty.
    Empty,
    /// An older state of the same cluster is brought up to date.
    Delta,
}

/// What turns a folder of restored files into a cluster.
#[derive(Debug, Clone, Copy)]
pub struct RecoveryParts<'a> {
    /// The snapshot's `recovery/backup_label`.
    pub label: &'a [u8],
    /// The snapshot's `recovery/pg_control`.
    pub control: &'a [u8],
    /// The tablespaces, where they lie now.
    pub tablespaces: &'a [Tablespace],
    /// How far recovery goes, and where the log comes from.
    pub settings: &'a RecoverySettings,
}

/// Checks that a restore may write into `data_directory` and the tablespaces.
///
/// # Errors
/// Fails if a server runs on the directory, whatever the mode, or if something is in the way.
pub fn check_target(
    data_directory: &Path,
    tablespaces: &[Tablespace],
    mode: TargetMode,
) -> Result<(), PostgresError> {
    if let Some(server) = running_server(data_directory)? {
        return Err(PostgresError::Running {
            path: data_directory.to_owned(),
            pid: server.pid,
        });
    }
    if mode == TargetMode::Delta {
        return Ok(());
    }
    let locations = tablespaces.iter().map(|space| space.location.as_path());
    for folder in std::iter::once(data_directory).chain(locations) {
        if !is_free(folder)? {
            return Err(PostgresError::NotEmpty {
                path: folder.to_owned(),
            });
        }
    }
    Ok(())
}

/// Reports whether a folder is empty or missing.
fn is_free(folder: &Path) -> Result<bool, PostgresError> {
    match fs::read_dir(folder) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(PostgresError::io("list", folder, error)),
    }
}

/// Returns the tablespaces where a mapping of old to new locations puts them; those it does not name
/// stay where they were.
///
/// # Errors
/// Fails if the mapping names a location where no tablespace was, or a new one that is relative.
pub fn map_tablespaces(
    tablespaces: &[Tablespace],
    mapping: &[(PathBuf, PathBuf)],
) -> Result<Vec<Tablespace>, PostgresError> {
    let wrong = |path: &Path, why| PostgresError::BadSetting {
        name: format!("tablespace mapping of {}", path.display()),
        why,
        hint: "map `OLD=NEW`, both absolute, OLD as the snapshot says",
    };
    for (old, new) in mapping {
        if !tablespaces.iter().any(|space| space.location == *old) {
            return Err(wrong(old, "names no tablespace of the snapshot"));
        }
        if !new.is_absolute() {
            return Err(wrong(old, "leads to a relative path"));
        }
    }
    let mapped = tablespaces.iter().map(|space| {
        let moved = mapping.iter().find(|(old, _)| *old == space.location);
        Tablespace {
            oid: space.oid,
            location: moved.map_or_else(|| space.location.clone(), |(_, new)| new.clone()),
        }
    });
    Ok(mapped.collect())
}

/// Makes the restored files in `data_directory` a cluster. All other files must be durable already.
///
/// The control file comes last: if power fails before, no server takes the folder for a cluster.
///
/// # Errors
/// Fails if a part makes no sense or the system refuses.
pub fn finish_restore(
    data_directory: &Path,
    parts: &RecoveryParts<'_>,
) -> Result<ControlFile, PostgresError> {
    let control =
        ControlFile::parse(parts.control).map_err(|problem| PostgresError::BadRecoveryFile {
            file: "pg_control",
            why: problem.to_string(),
        })?;
    BackupLabel::parse(parts.label)?;
    make_private(data_directory)?;
    link_tablespaces(data_directory, parts.tablespaces)?;
    parts.settings.write(data_directory)?;
    write_durably(data_directory, Path::new("backup_label"), parts.label)?;
    write_durably(
        data_directory,
        Path::new("global/pg_control"),
        parts.control,
    )?;
    Ok(control)
}

/// Gives the folder permissions that a server accepts.
fn make_private(data_directory: &Path) -> Result<(), PostgresError> {
    let failed = |error| PostgresError::io("change permissions of", data_directory, error);
    let mode = fs::metadata(data_directory).map_err(failed)?.mode() & 0o777;
    if matches!(mode, PRIVATE | GROUP_MAY_READ) {
        return Ok(());
    }
    fs::set_permissions(data_directory, Permissions::from_mode(PRIVATE)).map_err(failed)
}

/// Makes the links in `pg_tblspc`. This takes the place of `tablespace_map`, from which the server
/// would make links to the old locations.
fn link_tablespaces(data: &Path, tablespaces: &[Tablespace]) -> Result<(), PostgresError> {
    let folder = data.join("pg_tblspc");
    for Tablespace { oid, location } in tablespaces {
        let link = folder.join(oid.to_string());
        match fs::read_link(&link) {
            Ok(there) if there == *location => continue,
            Ok(_) => {
                fs::remove_file(&link)
                    .map_err(|error| PostgresError::io("remove", &link, error))?;
            }
            Err(_) => {}
        }
        std::os::unix::fs::symlink(location, &link)
            .map_err(|error| PostgresError::io("make the link", &link, error))?;
        own_as(data, &link)?;
    }
    sync_folder(&folder)
}

/// Writes a file below the data directory under another name, makes it durable, and gives it its
/// name: there is the whole file or none. It belongs to whom the directory belongs to.
pub(crate) fn write_durably(data: &Path, name: &Path, bytes: &[u8]) -> Result<(), PostgresError> {
    let path = data.join(name);
    let mut unfinished = path.clone().into_os_string();
    unfinished.push(UNFINISHED);
    let unfinished = PathBuf::from(unfinished);
    let write = || {
        let mode = fs::metadata(data)?.mode() & 0o640;
        let mut file = File::options()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(mode)
            .open(&unfinished)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(|error| PostgresError::io("write", &unfinished, error))?;
    own_as(data, &unfinished)?;
    fs::rename(&unfinished, &path)
        .map_err(|error| PostgresError::io("put in place", &path, error))?;
    sync_folder(path.parent().unwrap_or(data))
}

/// Gives `path` the owner of the data directory, which a restore by root may differ from.
fn own_as(data: &Path, path: &Path) -> Result<(), PostgresError> {
    let own = || {
        let (want, have) = (fs::metadata(data)?, fs::symlink_metadata(path)?);
        if (want.uid(), want.gid()) == (have.uid(), have.gid()) {
            return Ok(());
        }
        std::os::unix::fs::lchown(path, Some(want.uid()), Some(want.gid()))
    };
    own().map_err(|error| PostgresError::io("give away", path, error))
}

fn sync_folder(folder: &Path) -> Result<(), PostgresError> {
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(|error| PostgresError::io("sync", folder, error))
}
