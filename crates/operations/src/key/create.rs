//! Issuing a key: its object goes to every region, its secret to the holder alone.

use std::path::PathBuf;

use jiff::Timestamp;
use lifeboat_model::{KeyId, RegionName};
use lifeboat_repository::{KEY_NAME_CHARS_MAX, PASSPHRASE_CHARS_MIN, Repository, Role};
use lifeboat_runtime::{SecretBytes, SecretRef};
use serde::Serialize;

use super::{Regions, Unreached, file, refuse_beside_data, region_names, root_secret};
use crate::error::OperationError;
use crate::keys::{KeySource, PASSPHRASE};
use crate::place::Opened;
use crate::session::Session;

/// What is asked for.
#[derive(Debug, Clone, Default)]
pub struct KeyRequest {
    /// The role, as people write it.
    pub role: String,
    /// What to call the key: who or where its holder is.
    pub name: Option<String>,
    /// Where to write the holder's secret.
    pub out: Option<PathBuf>,
    /// A reference to the passphrase that the secret is to come from.
    pub passphrase_from: Option<String>,
    /// The file with the recovery code, if not where the configuration says.
    pub root: Option<PathBuf>,
}

/// What the creation of a key will do.
#[derive(Serialize)]
pub struct KeyCreatePlan {
    /// What the key may do.
    pub role: Role,
    /// What it is called.
    pub name: Option<String>,
    /// Whether its secret comes from a passphrase.
    pub passphrase: bool,
    /// The file that its secret is written to.
    pub file: Option<PathBuf>,
    /// The regions that get it. The first is the home.
    pub regions: Vec<RegionName>,
    /// The regions that cannot get it now.
    pub unreached: Vec<Unreached>,
    #[serde(skip)]
    secret: Option<SecretBytes>,
    #[serde(skip)]
    stores: Vec<Opened>,
    #[serde(skip)]
    repository: Repository,
}

/// A key that was created.
#[derive(Debug, Serialize)]
pub struct KeyCreateReport {
    /// Its id.
    pub key: KeyId,
    /// What it may do.
    pub role: Role,
    /// What it is called.
    pub name: Option<String>,
    /// When it was issued.
    pub created: Timestamp,
    /// Whether its secret comes from a passphrase.
    pub passphrase: bool,
    /// The file that holds its secret.
    pub file: Option<PathBuf>,
    /// The regions that have it.
    pub regions: Vec<RegionName>,
    /// The regions that have not; the next `replicate` brings it.
    pub unreached: Vec<Unreached>,
    /// The holder's secret as text, if it went neither into a file nor comes from a passphrase.
    /// Shown once.
    #[serde(skip)]
    pub text: Option<SecretBytes>,
}

impl Session {
    /// Plans the creation of a key, and looks whether everything it takes is there.
    ///
    /// # Errors
    /// Fails if the role has no keys, the recovery code is not to be had or another repository's, the
    /// home region cannot be opened, or the secret could not be kept where it is to go.
    pub async fn plan_key_create(
        &self,
        request: &KeyRequest,
    ) -> Result<KeyCreatePlan, OperationError> {
        let role = issued_role(&request.role)?;
        check_name(request.name.as_deref())?;
        if let Some(out) = &request.out {
            refuse_beside_data(self, out)?;
            refuse_existing(out)?;
        }
        let from = request.passphrase_from.as_deref();
        let secret = from.map(|from| passphrase(self, from)).transpose()?;
        let root = root_secret(self, request.root.as_deref())?;
        // Copies are taken from the home: a key that it lacks would never reach the other regions.
        if let Some(home) = region_names(self).first() {
            self.open_region(home).await?;
        }
        let regions = Regions::open(self).await?;
        Ok(KeyCreatePlan {
            role,
            name: request.name.clone(),
            passphrase: secret.is_some(),
            file: request.out.clone(),
            regions: names(&regions.reached),
            repository: regions.open_root(self, root).await?,
            unreached: regions.unreached,
            secret,
            stores: regions.reached,
        })
    }

    /// Creates the key.
    ///
    /// The holder's secret is on disk before the repository knows the key: a crash in between leaves
    /// a file that opens nothing, not a key that nobody holds.
    ///
    /// # Errors
    /// Fails if the secret cannot be written or the home region does not take the key. A region that
    /// does not is in the report.
    pub async fn key_create(&self, plan: KeyCreatePlan) -> Result<KeyCreateReport, OperationError> {
        let passphrase = plan.secret.as_ref();
        let key = plan
            .repository
            .make_key(plan.role, plan.name.clone(), passphrase)?;
        let text = key.secret.to_text();
        if let Some(path) = &plan.file {
            file::prepare(path)?;
            file::write(path, &text)?;
        }
        let mut regions = Vec::new();
        let mut unreached = plan.unreached;
        for opened in &plan.stores {
            match key.write(&*opened.store).await {
                Ok(()) => regions.push(opened.region.clone()),
                Err(error) if regions.is_empty() => {
                    discard(plan.file.as_ref());
                    return Err(error.into());
                }
                Err(error) => unreached.push(Unreached::new(&opened.region, &error.into())),
            }
        }
        let shown = !plan.passphrase && plan.file.is_none();
        Ok(KeyCreateReport {
            key: key.info.key,
            role: plan.role,
            name: plan.name,
            created: key.info.created,
            passphrase: plan.passphrase,
            file: plan.file,
            regions,
            unreached,
            text: shown.then_some(text),
        })
    }
}

/// Takes away the file of a key that the repository did not get.
fn discard(path: Option<&PathBuf>) {
    if let Some(path) = path
        && let Err(error) = std::fs::remove_file(path)
    {
        tracing::warn!("`{}` opens nothing and can go: {error}", path.display());
    }
}

fn names(regions: &[Opened]) -> Vec<RegionName> {
    regions.iter().map(|opened| opened.region.clone()).collect()
}

/// Reads a role that keys are issued for, and says of the others why not.
fn issued_role(text: &str) -> Result<Role, OperationError> {
    let usage = |message: &str, hint: &str| OperationError::Usage {
        message: message.to_owned(),
        hint: hint.to_owned(),
    };
    if text == "replicator" {
        return Err(usage(
            "a replicator needs no key: `lifeboat replicate` copies objects without opening any",
            "give its host the project without `[keys]`, and at the stores the right to read the home \
             and to write the replica",
        ));
    }
    match text.parse() {
        Ok(Role::Root) => Err(usage(
            "the root key is the recovery code: `init` made it, and there is no second",
            "`lifeboat key export root` prints it again for who has it",
        )),
        Ok(role) => Ok(role),
        Err(_) => {
            let known: Vec<&str> = Role::ISSUED.iter().map(|role| role.as_str()).collect();
            let message = format!("`{text}` is no role");
            Err(usage(&message, &format!("roles: {}", known.join(", "))))
        }
    }
}

fn check_name(name: Option<&str>) -> Result<(), OperationError> {
    match name {
        Some(name) if !lifeboat_repository::is_key_name(name) => Err(OperationError::Usage {
            message: "the name of the key cannot be used".to_owned(),
            hint: format!(
                "1 to {KEY_NAME_CHARS_MAX} characters, none of them a control character; it is public"
            ),
        }),
        _ => Ok(()),
    }
}

fn refuse_existing(path: &std::path::Path) -> Result<(), OperationError> {
    match path.symlink_metadata() {
        Ok(_) => Err(OperationError::Usage {
            message: format!("`{}` exists already", path.display()),
            hint: "a key file is never written over: name another".to_owned(),
        }),
        Err(_) => Ok(()),
    }
}

/// Fetches the passphrase for a new key.
fn passphrase(session: &Session, from: &str) -> Result<SecretBytes, OperationError> {
    let usage = |message: String, hint: &str| OperationError::Usage {
        message,
        hint: hint.to_owned(),
    };
    let from = from.strip_prefix(PASSPHRASE).unwrap_or(from);
    let reference: SecretRef = from
        .parse()
        .map_err(|message| usage(message, "such as `--passphrase-from env:NAME`"))?;
    let here = std::path::Path::new(".");
    let secret = KeySource::Text(reference).fetch(here, session, "new")?;
    let text = std::str::from_utf8(secret.expose()).map_err(|_| {
        let hint =
            "a passphrase is what a person can type; for random bytes make a key without one";
        usage("the passphrase is not text".to_owned(), hint)
    })?;
    if text.chars().count() < PASSPHRASE_CHARS_MIN {
        return Err(usage(
            format!("the passphrase has fewer than {PASSPHRASE_CHARS_MIN} characters"),
            "who copies the repository can guess as long as he likes: take five random words",
        ));
    }
    Ok(secret)
}
