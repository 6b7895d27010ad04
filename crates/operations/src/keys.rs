//! Which configured key a command uses: the least that can do the work.

use lifeboat_config::{Environment, KeyRefs, Located};
use lifeboat_repository::{Credential, KeySecret, Role, RootSecret};
use lifeboat_runtime::{SecretBytes, SecretRef};

use crate::error::OperationError;
use crate::session::Session;

/// Fetches the least powerful configured key that can do `role`'s work and is to be had here.
pub(crate) fn credential(
    session: &Session,
    environment: &Environment,
    role: Role,
) -> Result<Credential, OperationError> {
    let mut first_failure = None;
    for (have, reference) in candidates(&environment.keys) {
        let Some(reference) = reference.filter(|_| have >= role) else {
            continue;
        };
        match fetch(session, have, reference) {
            Ok(credential) => return Ok(credential),
            // A host may hold only some of the keys that the configuration names.
            Err(error @ OperationError::Secret { .. }) => {
                first_failure = first_failure.or(Some(error));
            }
            Err(error) => return Err(error),
        }
    }
    let (action, role) = match role {
        Role::Auditor => ("list and verify", "auditor"),
        Role::Writer => ("back up", "writer"),
        Role::Reader => ("restore", "reader"),
        Role::Root => ("issue keys", "root"),
    };
    Err(first_failure.unwrap_or(OperationError::NoKey { action, role }))
}

/// Fetches one configured key.
pub(crate) fn fetch(
    session: &Session,
    role: Role,
    reference: &Located<String>,
) -> Result<Credential, OperationError> {
    let usage = |message| OperationError::Usage {
        message,
        hint: "see `[keys]` in lifeboat.toml".to_owned(),
    };
    let reference: SecretRef = reference.value.parse().map_err(usage)?;
    let name = name_of(role);
    let secret = reference
        .fetch(&session.config.root, &session.variables)
        .map_err(|source| OperationError::Secret { role: name, source })?;
    parse_credential(&secret, &format!("{name} key"))
}

/// Reads a key of any role, or the recovery code. `what` names it in errors.
pub(crate) fn parse_credential(
    secret: &SecretBytes,
    what: &str,
) -> Result<Credential, OperationError> {
    match RootSecret::from_recovery_code(secret) {
        Ok(root) => Ok(Credential::Root(root)),
        Err(error) if RootSecret::is_recovery_code(secret) => Err(error.into()),
        Err(_) => Ok(Credential::Key(
            KeySecret::from_text(secret, what)?,
            what.to_owned(),
        )),
    }
}

/// The configured keys from the least to the most powerful.
pub(crate) fn candidates(keys: &KeyRefs) -> [(Role, Option<&Located<String>>); 4] {
    [
        (Role::Auditor, keys.auditor.as_ref()),
        (Role::Writer, keys.writer.as_ref()),
        (Role::Reader, keys.reader.as_ref()),
        (Role::Root, keys.root.as_ref()),
    ]
}

pub(crate) fn name_of(role: Role) -> &'static str {
    match role {
        Role::Auditor => "auditor",
        Role::Writer => "writer",
        Role::Reader => "reader",
        Role::Root => "root",
    }
}
