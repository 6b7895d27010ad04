//! What can go wrong in a store.

use lifeboat_model::{Diagnose, ErrorKind};

/// A store could not do what was asked.
#[derive(Debug, thiserror::Error)]
#[error("failed to {op} {}", place(.key, .store))]
pub struct StoreError {
    /// The verb: `read`, `write`, `list`, `delete`, `open`.
    pub op: &'static str,
    /// The object's key, the prefix of a listing, or empty for the store as a whole.
    pub key: String,
    /// The store as people know it: a folder's path, a bucket's address.
    pub store: String,
    /// Whether a retry helps, and which exit code follows.
    pub kind: ErrorKind,
    /// The next step, where the store knows better than the kind alone tells.
    pub hint: Option<String>,
    /// Why.
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl StoreError {
    /// Makes an error of `kind`; `source` says why.
    pub fn new(
        op: &'static str,
        key: impl Into<String>,
        store: impl Into<String>,
        kind: ErrorKind,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self {
            op,
            key: key.into(),
            store: store.into(),
            kind,
            hint: None,
            source: Some(source.into()),
        }
    }

    /// Adds the next step.
    #[must_use]
    pub fn with_hint(mut self, hint: Option<String>) -> Self {
        self.hint = hint;
        self
    }

    /// Makes the error of a listing whose prefix is neither empty nor ends with `/`.
    pub fn bad_prefix(prefix: &str, store: impl Into<String>) -> Self {
        let why = "a prefix is empty or ends with `/`";
        Self::new("list", prefix, store, ErrorKind::Usage, why)
    }

    /// Makes an error from an operating system error, whose kind decides.
    pub fn from_io(
        op: &'static str,
        key: impl Into<String>,
        store: impl Into<String>,
        source: std::io::Error,
    ) -> Self {
        let kind = ErrorKind::of_io(&source);
        Self::new(op, key, store, kind, source)
    }
}

/// Names the object in its store, or the store alone.
fn place(key: &str, store: &str) -> String {
    if key.is_empty() {
        format!("`{store}`")
    } else {
        format!("`{key}` in `{store}`")
    }
}

impl Diagnose for StoreError {
    fn kind(&self) -> ErrorKind {
        self.kind
    }

    fn hint(&self) -> Option<String> {
        if self.hint.is_some() {
            return self.hint.clone();
        }
        Some(match self.kind {
            ErrorKind::NoSpace => format!(
                "free some space in `{}`, then run the command again; what was stored before stays \
                 valid",
                self.store
            ),
            ErrorKind::Denied => {
                format!("check that this user may {} in `{}`", self.op, self.store)
            }
            ErrorKind::NoRepository => "check that its disk is mounted".to_owned(),
            ErrorKind::Transient => "try again".to_owned(),
            ErrorKind::Corrupt => "`lifeboat verify` tells what is affected; `--region` reads \
                                   another region, which may hold a good copy"
                .to_owned(),
            _ => return None,
        })
    }
}
