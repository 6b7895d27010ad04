//! The regions that keep the log of one source, opened for writing.

use std::path::Path;

use futures::future::join_all;
use lifeboat_config::{Environment, Source};
use lifeboat_model::{Diagnose as _, ErrorKind, RegionName, SystemId, WalFileName, error_chain};
use lifeboat_repository::{Repository, Role, SealedWal, WalDraft, WalListing, WalPlace, WalPut};
use lifeboat_source_postgres::{ControlFile, PostgresError};

use crate::error::OperationError;
use crate::session::Session;

/// A region beside the home that keeps the log.
pub(crate) struct Replica {
    /// The region.
    pub(crate) region: RegionName,
    /// Its repository, opened by a writer, or why it cannot be.
    pub(crate) repository: Result<Repository, String>,
}

/// The regions that keep the log of one cluster.
///
/// The home decides: what is durable there is kept. Every other region gets the same bytes at the
/// same time; one that fails is told of, and `replicate` brings what it missed.
pub(crate) struct Archive {
    pub(crate) place: WalPlace,
    /// The home's repository, opened by a writer.
    pub(crate) home: Repository,
    pub(crate) replicas: Vec<Replica>,
}

/// What came of keeping one object.
pub(crate) struct Kept {
    /// Whether the home had it already.
    pub(crate) already: bool,
    /// Replicas that do not have it, and why.
    pub(crate) missed: Vec<(RegionName, String)>,
}

impl Archive {
    /// Opens the regions of an environment.
    ///
    /// # Errors
    /// Fails if the home cannot be written.
    pub(crate) async fn open(
        session: &Session,
        environment: &Environment,
        source: &Source,
        system: SystemId,
    ) -> Result<Self, OperationError> {
        let home = open_writer(session, environment, &environment.home).await?;
        let opened = environment
            .replicas
            .iter()
            .map(|region| Replica::open(session, environment, region));
        let replicas = join_all(opened).await.into_iter();
        Ok(Self {
            place: WalPlace {
                environment: environment.name.clone(),
                source: source.name.clone(),
                system,
            },
            home,
            replicas: replicas.collect::<Result<_, _>>()?,
        })
    }

    /// Keeps a file of the log, or a piece of a segment, in every region. When this returns, it is
    /// durable at home.
    ///
    /// # Errors
    /// Fails if the home has the same file with other content, or cannot be written.
    pub(crate) async fn keep(
        &self,
        draft: &WalDraft,
        bytes: bytes::Bytes,
    ) -> Result<Kept, OperationError> {
        let known = self.listing_beside(&self.home, draft.file).await?;
        let content = self.home.wal_content(&bytes).await?;
        let already = known.find(&self.place, draft, content)?.is_some();
        let sealed = self.home.seal_wal(&self.place, draft, bytes).await?;
        let at_home = async {
            match already {
                true => Ok(()),
                false => self.put(&self.home, &sealed).await,
            }
        };
        let elsewhere = join_all(self.replicas.iter().map(|replica| async {
            match &replica.repository {
                Ok(repository) => self
                    .put(repository, &sealed)
                    .await
                    .map_err(|e| error_chain(&e)),
                Err(why) => Err(why.clone()),
            }
        }));
        let (at_home, elsewhere) = futures::join!(at_home, elsewhere);
        at_home?;
        let failed = self.replicas.iter().zip(elsewhere);
        let failed = failed.filter_map(|(replica, put)| Some((replica.region.clone(), put.err()?)));
        Ok(Kept {
            already,
            missed: failed.collect(),
        })
    }

    /// Puts an object into a region that does not contradict it.
    pub(super) async fn put(
        &self,
        repository: &Repository,
        sealed: &SealedWal,
    ) -> Result<(), OperationError> {
        // A piece is one receiver's own: whether another one keeps the same bytes need not be known.
        let known = match sealed.object().piece {
            Some(_) => WalListing::default(),
            None => {
                self.listing_beside(repository, sealed.object().file)
                    .await?
            }
        };
        match sealed.put(&**repository.store(), &known).await? {
            WalPut::Stored(_) | WalPut::AlreadyThere(_) => Ok(()),
        }
    }

    async fn listing_beside(
        &self,
        repository: &Repository,
        file: WalFileName,
    ) -> Result<WalListing, OperationError> {
        let store = &**repository.store();
        Ok(Repository::wal_listing_beside(store, &self.place, file).await?)
    }
}

impl Replica {
    /// Opens a region, or notes why it cannot be.
    ///
    /// # Errors
    /// Fails if policy forbids it: that is no outage, and nothing may go on as if it were.
    pub(super) async fn open(
        session: &Session,
        environment: &Environment,
        region: &RegionName,
    ) -> Result<Self, OperationError> {
        let repository = match open_writer(session, environment, region).await {
            Ok(repository) => Ok(repository),
            Err(error) if error.kind() == ErrorKind::Refused => return Err(error),
            Err(error) => Err(error_chain(&error)),
        };
        Ok(Self {
            region: region.clone(),
            repository,
        })
    }
}

async fn open_writer(
    session: &Session,
    environment: &Environment,
    region: &RegionName,
) -> Result<Repository, OperationError> {
    let opened = session.open_region_for(environment, region).await?;
    session
        .open_repository(environment, &opened, Role::Writer)
        .await
}

/// Refuses the log of another cluster than the source's.
///
/// The source is the cluster whose data directory the configuration names, if this host has it; else
/// the one that its newest snapshot is of. A source that has neither takes any.
pub(crate) async fn refuse_foreign(
    session: &Session,
    environment: &Environment,
    source: &Source,
    system: SystemId,
) -> Result<(), OperationError> {
    let foreign = |expected: SystemId, known_by: String| {
        Err(OperationError::ForeignWal {
            source_name: source.name.clone(),
            expected,
            found: system,
            known_by,
        })
    };
    if let Some(folder) = &source.path {
        match ControlFile::read(folder) {
            Ok(control) if control.system_id == system => return Ok(()),
            Ok(control) => {
                let known_by = format!("its data directory `{}`", folder.display());
                return foreign(control.system_id, known_by);
            }
            // It lies on another host, or elsewhere on this standby.
            Err(PostgresError::NotADataDirectory { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let opened = session.open_region(&environment.home).await?;
    let repository = session
        .open_repository(environment, &opened, Role::Auditor)
        .await?;
    let newest = repository.newest(&environment.name, &source.name).await?;
    match newest.and_then(|snapshot| snapshot.wal) {
        Some(wal) if wal.system != system => foreign(wal.system, "its newest snapshot".to_owned()),
        _ => Ok(()),
    }
}

/// Returns the data directory that a file of `pg_wal` lies in.
pub(crate) fn data_directory_of(file: &Path) -> Result<std::path::PathBuf, OperationError> {
    let absolute =
        std::path::absolute(file).map_err(|error| OperationError::io("find", file, error))?;
    match absolute.parent().and_then(Path::parent) {
        Some(folder) => Ok(folder.to_owned()),
        None => Err(OperationError::Usage {
            message: format!("`{}` lies in no data directory", file.display()),
            hint: "give the file as PostgreSQL does: `%p` in `archive_command`".to_owned(),
        }),
    }
}
