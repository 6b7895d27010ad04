//! Which configured key a command uses: the least that can do the work.

use std::path::Path;
use std::str::FromStr;

use lifeboat_config::{Environment, KeyRefs, Located};
use lifeboat_model::KeyId;
use lifeboat_repository::{Credential, KeySecret, PassphraseFor, Role, RootSecret};
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
        let Some(reference) = reference.filter(|_| have.covers(role)) else {
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
    let action = match role {
        Role::Auditor => "list and verify",
        Role::Pruner => "prune",
        Role::Writer => "back up",
        Role::Reader => "restore",
        Role::Root => "issue or revoke keys",
    };
    let role = role.as_str();
    Err(first_failure.unwrap_or(OperationError::NoKey { action, role }))
}

/// Fetches one configured key.
pub(crate) fn fetch(
    session: &Session,
    role: Role,
    reference: &Located<String>,
) -> Result<Credential, OperationError> {
    let name = role.as_str();
    let source: KeySource = reference.value.parse()?;
    let secret = source.fetch(&session.config.root, session, name)?;
    match source {
        KeySource::Text(_) => parse_credential(&secret, &format!("{name} key")),
        KeySource::Passphrase(key, _) => {
            let (role, what) = (Some(role), format!("{name} passphrase"));
            Ok(Credential::Passphrase(
                secret,
                PassphraseFor { role, key },
                what,
            ))
        }
    }
}

/// How a reference to a key is to be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum KeySource {
    /// The secret is a key in its text form, or the recovery code.
    Text(SecretRef),
    /// `passphrase:…`: the secret is a passphrase, of this key if one is named.
    Passphrase(Option<KeyId>, SecretRef),
}

impl FromStr for KeySource {
    type Err = OperationError;

    fn from_str(text: &str) -> Result<Self, OperationError> {
        let usage = |message| OperationError::Usage {
            message,
            hint: "see `[keys]` in lifeboat.toml; `passphrase:` before a reference says that it \
                   yields a passphrase"
                .to_owned(),
        };
        match text.strip_prefix(PASSPHRASE) {
            Some(rest) => {
                let (key, reference) = key_id(rest);
                Ok(Self::Passphrase(key, reference.parse().map_err(usage)?))
            }
            None => Ok(Self::Text(text.parse().map_err(usage)?)),
        }
    }
}

/// What comes before a reference that yields a passphrase, not a key.
pub(crate) const PASSPHRASE: &str = "passphrase:";

impl KeySource {
    /// Fetches what it refers to. `name` says in errors which key it is.
    pub(crate) fn fetch(
        &self,
        base: &Path,
        session: &Session,
        name: &'static str,
    ) -> Result<SecretBytes, OperationError> {
        let (Self::Text(reference) | Self::Passphrase(_, reference)) = self;
        reference
            .fetch(base, &session.variables)
            .map_err(|source| OperationError::Secret { role: name, source })
    }
}

/// Splits off the id of a key, if the reference begins with one.
fn key_id(rest: &str) -> (Option<KeyId>, &str) {
    match rest.split_once(':') {
        Some((id, reference)) if id.parse::<KeyId>().is_ok() => (id.parse().ok(), reference),
        _ => (None, rest),
    }
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

/// The configured keys from the one that holds the least to the one that holds the most.
pub(crate) fn candidates(keys: &KeyRefs) -> [(Role, Option<&Located<String>>); 5] {
    [
        (Role::Auditor, keys.auditor.as_ref()),
        (Role::Pruner, keys.pruner.as_ref()),
        (Role::Writer, keys.writer.as_ref()),
        (Role::Reader, keys.reader.as_ref()),
        (Role::Root, keys.root.as_ref()),
    ]
}
