//! The reference of the rule language says what the program does.

use lifeboat_masking::{
    Cell, ColumnSchema, ColumnType, MaskKey, Plan, RowBatch, RuleSet, Schema, TableSchema,
};

const PAGE: &str = include_str!("../../../docs/masking.md");

const HEAD: &str = "version = 1\n[policy]\nunlisted = 'error'\nkey = 'env:K'\n";

/// Returns the ```toml blocks of the page.
fn blocks() -> impl Iterator<Item = &'static str> {
    let after = PAGE.split("```toml\n").skip(1);
    after.map(|text| text.split_once("```").expect("the block is closed").0)
}

/// Returns every mask the parser knows, from the hint of an error.
fn known_masks() -> Vec<String> {
    let text = format!("{HEAD}[table.t.columns]\na = 'nothing-like-it'\n");
    let problems = RuleSet::parse("r.toml", &text).unwrap_err();
    let hint = problems.iter().next().unwrap().hint.clone().unwrap();
    let names = hint.strip_prefix("known masks: ").unwrap();
    names.split(", ").map(str::to_owned).collect()
}

/// Returns the examples: rule, value and what comes out, the last two as SQL writes them.
fn examples() -> Vec<[&'static str; 3]> {
    PAGE.lines()
        .filter_map(|line| {
            let cells: Vec<_> = line
                .strip_prefix("| ")?
                .strip_suffix(" |")?
                .split(" | ")
                .collect();
            let unquoted = |cell: &'static str| cell.trim_matches('`');
            match cells[..] {
                [rule, input, output] if rule.starts_with("`{") || rule.starts_with("`\"") => {
                    Some([rule, input, output].map(unquoted))
                }
                _ => None,
            }
        })
        .collect()
}

#[test]
fn every_rule_on_the_page_parses() {
    let mut read = 0;
    for block in blocks() {
        let text = if block.contains("version = 1") {
            block.to_owned()
        } else {
            format!("{HEAD}{block}")
        };
        if let Err(problems) = RuleSet::parse("masking.md", &text) {
            panic!("{problems}\n{block}");
        }
        read += 1;
    }
    assert!(read >= 5, "{read}");
}

#[test]
fn every_mask_has_an_example_and_is_explained() {
    let masks = known_masks();
    assert!(masks.len() > 30, "{masks:?}");
    for mask in masks {
        let plain = format!("\"{mask}\"");
        let with_options = format!("{{ mask = \"{mask}\"");
        let shown = examples()
            .iter()
            .any(|[rule, ..]| *rule == plain || rule.starts_with(&with_options));
        assert!(shown, "`{mask}` has no example");
        let explained = PAGE.lines().any(|line| {
            let prose = line.starts_with("- ") || line.starts_with("  ");
            prose && line.contains(&format!("`{mask}`"))
        });
        assert!(explained, "`{mask}` is not explained");
    }
}

/// Masks one value as `rule` says, in a row with the columns that examples read.
fn masked(rule: &str, input: &str) -> String {
    let text = format!(
        "{HEAD}[table.t.columns]\nv = {rule}\nid = 'keep'\n\
         first = {{ mask = 'name', part = 'first' }}\nlast = {{ mask = 'name', part = 'last' }}\n"
    );
    let (rules, _) = RuleSet::parse("r.toml", &text).unwrap_or_else(|error| panic!("{error}"));
    let columns = [
        ColumnSchema::new("v", ColumnType::Any),
        ColumnSchema::new("id", ColumnType::Integer),
        ColumnSchema::new("first", ColumnType::Text),
        ColumnSchema::new("last", ColumnType::Text),
    ];
    let schema = Schema {
        tables: vec![TableSchema {
            name: "t".into(),
            columns: columns.to_vec(),
            rows: None,
        }],
    };
    let key = MaskKey::new(&[7; 32], "stable:masking.md").unwrap();
    let (plan, _) = Plan::compile(&rules, &schema, &key).unwrap_or_else(|error| panic!("{error}"));
    let cell = match input.strip_prefix('\'') {
        Some(text) => Cell::Text(text.strip_suffix('\'').unwrap().as_bytes()),
        None => Cell::Integer(input.parse().unwrap()),
    };
    let mut batch = RowBatch::new(4, 0);
    batch.push_row([
        cell,
        Cell::Integer(7),
        Cell::Text(b"Maria"),
        Cell::Text(b"Schmidt"),
    ]);
    let masked = plan.table("t").unwrap().mask(&batch).unwrap();
    match masked.rows().next().unwrap().cell(0) {
        Cell::Null => "NULL".to_owned(),
        Cell::Integer(number) => number.to_string(),
        Cell::Real(number) => number.to_string(),
        Cell::Text(text) | Cell::Blob(text) => {
            format!("'{}'", std::str::from_utf8(text).unwrap())
        }
    }
}

#[test]
fn every_example_comes_out_as_the_page_says() {
    let mut wrong = String::new();
    for [rule, input, output] in examples() {
        let found = masked(rule, input);
        if found != output {
            wrong.push_str(&format!("| `{rule}` | `{input}` | `{found}` |\n"));
        }
    }
    assert!(wrong.is_empty(), "the page should say\n{wrong}");
}

#[test]
fn every_gate_and_detector_is_on_the_page() {
    let schema = Schema::default();
    let (rules, _) = RuleSet::parse("r.toml", HEAD).unwrap();
    let key = MaskKey::new(&[7; 32], "stable:masking.md").unwrap();
    let (plan, _) = Plan::compile(&rules, &schema, &key).unwrap();
    let originals = lifeboat_masking::Originals::new(&plan);
    let canaries = lifeboat_masking::Canaries::default();
    let scan = lifeboat_masking::OutputScan::new(&plan, &originals, &canaries);
    let evidence = lifeboat_masking::Evidence::default();
    let report = lifeboat_masking::verify(&plan, &originals, &scan, &evidence);
    for gate in report.gates() {
        assert!(
            PAGE.contains(&format!("| `{}` |", gate.name)),
            "{}",
            gate.name
        );
    }
    let unknown = "x".parse::<lifeboat_masking::HitKind>().unwrap_err();
    let (_, detectors) = unknown.split_once("there are ").unwrap();
    for detector in detectors.split(", ") {
        assert!(PAGE.contains(&format!("`{detector}`")), "{detector}");
    }
}
