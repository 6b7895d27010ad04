//! The README's commands are run as they stand, so they cannot rot.

use std::process::Command;

use crate::project::{lifeboat, text};

/// Runs every block of the README marked `sh test`, in order, in one new folder.
#[test]
fn the_commands_of_the_readme_work_as_written() {
    let readme = include_str!("../../README.md");
    let blocks: Vec<&str> = readme
        .split("```sh test\n")
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap())
        .collect();
    assert!(blocks.len() >= 3, "the README lost its tested blocks");
    let place = tempfile::tempdir().unwrap();
    let program = lifeboat().get_program().to_owned();
    let bin = std::path::Path::new(&program).parent().unwrap();
    #[expect(
        clippy::disallowed_methods,
        reason = "the script needs the usual programs"
    )]
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let script = format!("set -eu\n{}", blocks.join("\n"));
    let output = Command::new("bash")
        .args(["-c", &script])
        .current_dir(place.path())
        .env("PATH", path)
        .env("MASK_KEY", "k".repeat(40))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output));
}
