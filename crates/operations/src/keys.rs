//! Which configured key a command uses: the least that can do the work.

use lifeboat_config::{Environment, KeyRefs, Located};
use lifeboat_repository::{Credential, KeySecret, Role, RootSecret};
use lifeboat_runtime::SecretRef;

use crate::error::OperationError;
use crate::session::Session;

/// Fetches the least powerful configured key that can do `role`'s work.
pub(crate) fn credential(
    session: &Session,
    environment: &Environment,
    role: Role,
) -> Result<Credential, OperationError> {
    let candidates = candidates(&environment.keys);
    let fitting = candidates.into_iter().filter(|(have, _)| *have >= role);
    let Some((have, reference)) = fitting.filter_map(|(have, key)| Some((have, key?))).next()
    else {
        let (action, role) = match role {
            Role::Auditor => ("list and verify", "auditor"),
            Role::Writer => ("back up", "writer"),
            Role::Reader => ("restore", "reader"),
            Role::Root => ("issue keys", "root"),
        };
        return Err(OperationError::NoKey { action, role });
    };
    let name = name_of(have);
    let reference: SecretRef =
        reference
            .value
            .parse()
            .map_err(|message| OperationError::Usage {
                message,
                hint: "see `[keys]` in lifeboat.toml".to_owned(),
            })?;
    let secret = reference
        .fetch(&session.config.root, &session.variables)
        .map_err(|source| OperationError::Secret { role: name, source })?;
    let what = format!("{name} key");
    Ok(match have {
        Role::Root => Credential::Root(RootSecret::from_recovery_code(&secret)?),
        _ => Credential::Key(KeySecret::from_text(&secret, &what)?, what),
    })
}

/// The configured keys from the least to the most powerful.
fn candidates(keys: &KeyRefs) -> [(Role, Option<&Located<String>>); 4] {
    [
        (Role::Auditor, keys.auditor.as_ref()),
        (Role::Writer, keys.writer.as_ref()),
        (Role::Reader, keys.reader.as_ref()),
        (Role::Root, keys.root.as_ref()),
    ]
}

fn name_of(role: Role) -> &'static str {
    match role {
        Role::Auditor => "auditor",
        Role::Writer => "writer",
        Role::Reader => "reader",
        Role::Root => "root",
    }
}
