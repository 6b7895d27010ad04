//! The steps of `cargo xtask test`: one cargo command each, timed, stopping at the first failure.

use std::process::Command;
use std::time::Instant;

/// One cargo command.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Step {
    /// What `--only` calls it.
    pub(crate) name: &'static str,
    args: &'static str,
    env: Option<(&'static str, &'static str)>,
}

/// Every step, the quickest complaint first.
pub(crate) const STEPS: &[Step] = &[
    Step {
        name: "fmt",
        args: "fmt --all --check",
        env: None,
    },
    Step {
        name: "clippy",
        args: "clippy --workspace --all-targets --locked -- -D warnings",
        env: None,
    },
    Step {
        name: "test",
        args: "test --workspace --locked",
        env: None,
    },
    Step {
        name: "doc",
        args: "doc --workspace --no-deps --locked",
        env: Some(("RUSTDOCFLAGS", "-D warnings")),
    },
    Step {
        name: "fuzz",
        args: "xtask fuzz --seconds 5",
        env: None,
    },
];

/// Returns the step called `name`, as a list of one.
pub(crate) fn named(name: &str) -> Result<&'static [Step], String> {
    STEPS
        .iter()
        .position(|step| step.name == name)
        .map(|at| &STEPS[at..=at])
        .ok_or_else(|| format!("`{name}` is not a step; one of: fmt, clippy, test, doc, fuzz"))
}

impl Step {
    /// Runs the command and prints how long it took.
    #[expect(clippy::disallowed_methods, reason = "it times a program for people")]
    pub(crate) fn run(&self) -> Result<(), String> {
        println!("\n==> {}: {}", self.name, self.command_line());
        let start = Instant::now();
        let status = Command::new("cargo")
            .args(self.args.split(' '))
            .envs(self.env)
            .status()
            .map_err(|error| format!("failed to start `cargo`: {error}"))?;
        println!("--- {}: {:.1} s", self.name, start.elapsed().as_secs_f64());
        if status.success() {
            return Ok(());
        }
        Err(format!(
            "step `{}` failed; to repeat it alone:\n    {}",
            self.name,
            self.command_line()
        ))
    }

    /// Returns the command as one would type it.
    fn command_line(&self) -> String {
        let env = self.env.map(|(name, value)| format!("{name}=\"{value}\" "));
        format!("{}cargo {}", env.unwrap_or_default(), self.args)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line_can_be_pasted_into_a_shell() {
        let doc = &named("doc").unwrap()[0];
        assert_eq!(
            doc.command_line(),
            "RUSTDOCFLAGS=\"-D warnings\" cargo doc --workspace --no-deps --locked"
        );
    }
}
