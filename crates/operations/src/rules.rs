//! Masking rules as they are written, with what they refer to: the key, and planted values.

use std::path::Path;

use lifeboat_masking::{Canaries, MaskKey, Plan, RuleSet, Schema};
use lifeboat_model::{ErrorKind, Problems};
use lifeboat_runtime::SecretRef;

use crate::error::OperationError;
use crate::session::Session;

/// Rules, and the file they stand in.
#[derive(Debug)]
pub(crate) struct Rules {
    pub(crate) set: RuleSet,
    /// What is worth telling about them, no errors among it.
    warnings: Problems,
    name: String,
    text: String,
}

impl Rules {
    /// Reads a rule file.
    ///
    /// # Errors
    /// Fails if it cannot be read, or with every problem in it.
    pub(crate) fn read(session: &Session, path: &Path) -> Result<Self, OperationError> {
        let name = path.strip_prefix(&session.config.root).unwrap_or(path);
        let name = name.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => OperationError::Usage {
                message: format!("there are no masking rules `{name}`"),
                hint: format!(
                    "`lifeboat mask discover --source ENVIRONMENT/SOURCE --out {name}` proposes some"
                ),
            },
            _ => OperationError::io("read the masking rules", path, error),
        })?;
        let (set, warnings) = RuleSet::parse(&name, &text)?;
        Ok(Self {
            set,
            warnings,
            name,
            text,
        })
    }

    /// Reads a rule file, and fetches what it refers to: what can be wrong with rules, whatever data
    /// they are for, shows before anything dear is done.
    ///
    /// # Errors
    /// Refuses rules that leave something undecided; fails as [`Rules::read`], [`Rules::key`] and
    /// [`Rules::planted`] do.
    pub(crate) fn preflight(session: &Session, path: &Path) -> Result<(), OperationError> {
        let rules = Self::read(session, path)?;
        let undecided = rules.set.undecided();
        if !undecided.is_empty() {
            return Err(rules.refused(undecided));
        }
        rules.key(session, "preflight")?;
        rules.planted(session).map(drop)
    }

    /// Fits them to a schema; returns what is worth telling beside the plan.
    ///
    /// # Errors
    /// Refuses with every problem, each at its line.
    pub(crate) fn fit(
        &self,
        schema: &Schema,
        key: &MaskKey,
    ) -> Result<(Plan, Problems), OperationError> {
        let compiled = Plan::compile(&self.set, schema, key);
        let (plan, more) = compiled.map_err(|problems| self.refused(problems))?;
        let mut warnings = self.warnings.clone();
        warnings.merge(more);
        Ok((plan, warnings))
    }

    /// Says what does not fit, with the lines where it stands.
    pub(crate) fn refused(&self, mut problems: Problems) -> OperationError {
        problems.add_text(self.name.clone().into(), self.text.as_str().into());
        OperationError::Problems {
            problems: Box::new(problems),
            kind: ErrorKind::Refused,
        }
    }

    /// Fetches the masking key; `scope_id` names this copy where the rules ask for fresh pseudonyms
    /// each time.
    ///
    /// # Errors
    /// Fails if the key is not to be had, or is too short.
    pub(crate) fn key(&self, session: &Session, scope_id: &str) -> Result<MaskKey, OperationError> {
        let policy = self.set.policy();
        let reference: SecretRef = policy
            .key
            .parse()
            .map_err(|message| OperationError::Usage {
                message,
                hint: format!("see `key` in `{}`", self.name),
            })?;
        let secret = reference
            .fetch(&session.config.root, &session.variables)
            .map_err(|source| OperationError::Secret {
                role: "masking",
                source,
            })?;
        Ok(MaskKey::new(
            secret.expose(),
            &policy.scope.for_snapshot(scope_id),
        )?)
    }

    /// Fetches the values that were planted in the source; none if the rules say nothing of any.
    ///
    /// # Errors
    /// Fails if they are not to be had, or there are none where some should be.
    pub(crate) fn planted(&self, session: &Session) -> Result<PlantedValues, OperationError> {
        PlantedValues::fetch(session, &self.set)
    }
}

/// Values that were planted in the source. They are real to whoever looks for them: never printed.
pub(crate) struct PlantedValues(Vec<Vec<u8>>);

impl std::fmt::Debug for PlantedValues {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} planted values", self.0.len())
    }
}

impl PlantedValues {
    /// Fetches them from where the rules say they are; none if the rules say nothing.
    fn fetch(session: &Session, rules: &RuleSet) -> Result<Self, OperationError> {
        let Some(written) = &rules.policy().canaries else {
            return Ok(Self(Vec::new()));
        };
        let reference: SecretRef = written.parse().map_err(|message| OperationError::Usage {
            message,
            hint: format!("see `canaries` in `{}`", rules.file()),
        })?;
        let text = reference
            .fetch(&session.config.root, &session.variables)
            .map_err(|source| OperationError::Secret {
                role: "canary",
                source,
            })?;
        let lines = text.expose().split(|byte| *byte == b'\n');
        let planted = lines
            .map(<[u8]>::trim_ascii)
            .filter(|line| !line.is_empty());
        let planted: Vec<_> = planted.map(<[u8]>::to_vec).collect();
        if planted.is_empty() {
            // A gate that looks for nothing would pass.
            return Err(OperationError::Usage {
                message: format!("`canaries` of `{}` leads to no planted value", rules.file()),
                hint: "write one planted value a line there, or take `canaries` out".to_owned(),
            });
        }
        Ok(Self(planted))
    }

    /// Prepares to look for them.
    pub(crate) fn search(&self) -> Canaries {
        Canaries::new(&self.0)
    }
}
