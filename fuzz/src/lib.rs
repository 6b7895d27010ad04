//! What the fuzz targets of documents that people write have in common.

use std::cell::RefCell;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lifeboat_masking::{
    ColumnSchema, ColumnType, CopyText, Csv, JsonLines, MaskKey, Plan, RuleSet, Schema, TableSchema,
    TextBatches, TextFormat, TextMasker, Unlisted,
};
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

/// Rules whose masks take values apart: documents by path, arrays, sets and rows.
const ROW_RULES: &str = r#"
version = 1
[policy]
unlisted = "error"
key = "env:K"
[table.t]
keep = ["kept"]
[table.t.columns]
document = { mask = "json", unlisted = "redact", paths = { "$.a.b" = "email", "$.items[*].x" = "keep" } }
items = { mask = "array", items = "name" }
pairs = { mask = "hstore", unlisted = "null", keys = { a = "phone" } }
row = { mask = "composite", fields = ["iban", "keep"] }
note = { mask = "text", on_hit = "domain" }
"#;

/// Masks rows in a format and checks that what comes out reads back as many rows, and masks again.
pub fn mask_rows(format: u8, rows: &[u8]) {
    let (rules, _) = RuleSet::parse("rules.toml", ROW_RULES).expect("the rules are right");
    let columns: Vec<ColumnSchema> = ["kept", "document", "items", "pairs", "row", "note"]
        .map(|name| ColumnSchema::new(name, ColumnType::Any))
        .to_vec();
    let count = columns.len();
    let (name, rows_known) = ("t".to_owned(), None);
    let schema = Schema {
        tables: vec![TableSchema {
            name,
            columns,
            rows: rows_known,
        }],
    };
    let key = MaskKey::new(&[7; 32], "stable:fuzz").expect("the key is long enough");
    let (plan, _) = Plan::compile(&rules, &schema, &key).expect("the rules fit");
    let format = match format % 3 {
        0 => TextFormat::CopyText(CopyText::new(count)),
        1 => TextFormat::Csv(Csv::new(count, "")),
        _ => {
            let table = plan.table("t").expect("the plan has the table");
            TextFormat::JsonLines(JsonLines::new(table, Unlisted::Error))
        }
    };
    let plan = Arc::new(plan);
    let masker = TextMasker::new(plan, "t", format.clone()).expect("the plan has the table");
    let mut batches = TextBatches::new(format);
    let pushed = batches.push(rows).expect("the rows are short");
    for batch in pushed.into_iter().chain(batches.finish()) {
        if let Ok(masked) = masker.mask(&batch) {
            assert_eq!(masked.rows, batch.rows);
            let read = masker.read(&masked).expect("what was written reads back");
            assert_eq!(read.len() as u64, batch.rows);
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
