//! What the fuzz targets of documents that people write have in common.

use std::cell::RefCell;
use std::fs;
use std::path::{Path, PathBuf};

use lifeboat_model::Problems;

/// Checks that every problem can be shown beside its text.
pub fn show(problems: &Problems) {
    for problem in problems.iter() {
        assert!(!problem.to_string().is_empty());
        if let Some(text) = problems.text_of(&problem.file) {
            let shown = text.get(problem.span.clone());
            assert!(
                shown.is_some(),
                "{problem} is at {:?} of {text:?}",
                problem.span
            );
        }
    }
}

thread_local! {
    static PROJECT: RefCell<Option<PathBuf>> = const { RefCell::new(None) };
}

/// Runs `work` in a project of these two files. One folder serves a whole run.
pub fn in_project<T>(base: &str, environment: &str, work: impl FnOnce(&Path) -> T) -> T {
    PROJECT.with_borrow_mut(|known| {
        let root = known.get_or_insert_with(|| {
            let name = format!("lifeboat-fuzz-{}", std::process::id());
            std::env::temp_dir().join(name)
        });
        fs::create_dir_all(root.join("environments")).expect("the temporary folder is writable");
        fs::write(root.join("lifeboat.toml"), base).expect("the temporary folder is writable");
        fs::write(root.join("environments/prod.toml"), environment)
            .expect("the temporary folder is writable");
        work(root)
    })
}
