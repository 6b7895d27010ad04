//! Secrets: references to them in configuration, and the bytes once fetched.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::str::FromStr;

use lifeboat_model::{Diagnose, ErrorKind};
use zeroize::Zeroizing;

use crate::variables::Variables;

/// Secret bytes: wiped on drop, printed as `***`.
#[derive(Clone)]
pub struct SecretBytes(Zeroizing<Vec<u8>>);

impl SecretBytes {
    /// Takes over `bytes`.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Shows the bytes. Each call is a place where the secret could escape: keep them few.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Where a secret is to be had. Configuration holds these, never the secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretRef {
    /// `env:NAME`: an environment variable.
    Env(String),
    /// `file:PATH`: a file's content, less one newline at the end.
    File(PathBuf),
    /// `command:LINE`: what a shell command prints, less one newline at the end.
    Command(String),
}

impl FromStr for SecretRef {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text
            .split_once(':')
            .filter(|(_, rest)| !rest.trim().is_empty());
        match parts {
            Some(("env", name)) => Ok(Self::Env(name.to_owned())),
            Some(("file", path)) => Ok(Self::File(path.into())),
            Some(("command", line)) => Ok(Self::Command(line.to_owned())),
            // The text may be the secret itself, so it is not repeated.
            _ => Err(
                "a secret is given as `env:NAME`, `file:PATH` or `command:LINE`, never as \
                      the value itself"
                    .to_owned(),
            ),
        }
    }
}

impl fmt::Display for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(name) => write!(f, "env:{name}"),
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::Command(line) => write!(f, "command:{line}"),
        }
    }
}

/// A secret could not be fetched.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The variable is not set.
    #[error("environment variable `{0}` is not set")]
    Unset(String),
    /// The file could not be read.
    #[error("failed to read the secret file `{}`", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The command could not be run or failed.
    #[error("secret command `{line}` failed: {outcome}")]
    Command {
        /// The shell line.
        line: String,
        /// Its exit status or why it did not start.
        outcome: String,
    },
    /// The secret is there but empty.
    #[error("secret `{0}` is empty")]
    Empty(SecretRef),
}

impl Diagnose for SecretError {
    fn kind(&self) -> ErrorKind {
        match self {
            SecretError::File { source, .. } => ErrorKind::of_io(source),
            SecretError::Unset(_) | SecretError::Empty(_) => ErrorKind::Usage,
            SecretError::Command { .. } => ErrorKind::Failed,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            SecretError::Unset(name) => format!("export {name} before running lifeboat"),
            SecretError::File { path, .. } => format!(
                "keys are asked for only where needed; copy this one to `{}` or point the \
                 configuration at where it is",
                path.display()
            ),
            SecretError::Command { line, .. } => format!("run `{line}` by hand and see"),
            SecretError::Empty(_) => "an empty secret protects nothing".to_owned(),
        })
    }
}

impl SecretRef {
    /// Fetches the secret. Relative paths are taken from `base`.
    ///
    /// # Errors
    /// Fails if the secret is not there, cannot be read or is empty.
    pub fn fetch(&self, base: &Path, variables: &Variables) -> Result<SecretBytes, SecretError> {
        let mut bytes = match self {
            Self::Env(name) => match variables.get(name) {
                Some(value) => value.as_bytes().to_vec(),
                None => return Err(SecretError::Unset(name.clone())),
            },
            Self::File(path) => {
                let path = base.join(path);
                std::fs::read(&path).map_err(|source| SecretError::File { path, source })?
            }
            Self::Command(line) => run_command(line, base)?,
        };
        if bytes.last() == Some(&b'\n') {
            bytes.pop();
        }
        if bytes.is_empty() {
            return Err(SecretError::Empty(self.clone()));
        }
        Ok(SecretBytes::new(bytes))
    }
}

fn run_command(line: &str, base: &Path) -> Result<Vec<u8>, SecretError> {
    let failed = |outcome: String| SecretError::Command {
        line: line.to_owned(),
        outcome,
    };
    let output = Command::new("sh")
        .args(["-c", line])
        .current_dir(base)
        .stdin(Stdio::null())
        // What the command says on stderr is for the person at the terminal.
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| failed(error.to_string()))?;
    if output.status.success() {
        Ok(output.stdout)
    } else {
        Err(failed(output.status.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_never_prints_and_a_value_is_not_a_reference() {
        assert_eq!(
            format!("{:?}", SecretBytes::new(b"hunter2".to_vec())),
            "***"
        );
        let error = "hunter2".parse::<SecretRef>().unwrap_err();
        assert!(!error.contains("hunter2"));
    }

    #[test]
    fn secrets_come_from_variables_and_commands() {
        let variables: Variables = [("KEY", "from env")].into_iter().collect();
        let fetch = |text: &str| {
            let secret = text
                .parse::<SecretRef>()
                .unwrap()
                .fetch(Path::new("/"), &variables);
            secret.map(|bytes| bytes.expose().to_vec())
        };
        assert_eq!(fetch("env:KEY").unwrap(), b"from env");
        assert_eq!(
            fetch("command:printf 'from command\\n'").unwrap(),
            b"from command"
        );
        assert!(matches!(fetch("env:NONE"), Err(SecretError::Unset(_))));
        assert!(matches!(
            fetch("command:exit 3"),
            Err(SecretError::Command { .. })
        ));
        assert!(matches!(fetch("command:true"), Err(SecretError::Empty(_))));
    }
}
