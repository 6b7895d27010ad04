//! The detectors, scored on labelled values that do not come from our own word lists.
//!
//! `tests/data/labelled.jsonl` was made by `benches/detectors/make.py`; `cargo xtask score-detectors`
//! makes a larger set and prints the same table.

use std::collections::BTreeMap;

use lifeboat_masking::{
    Cell, ColumnSchema, ColumnType, Evidence, Originals, OutputScan, Plan, RowBatch, RuleSet,
    Schema, TableSchema, detect, verify,
};
use serde_json::Value;

const COMMITTED: &str = include_str!("data/labelled.jsonl");

/// Names the file of a larger labelled set.
const LARGER: &str = "LIFEBOAT_LABELLED";

/// Lowest precision and recall of each kind, in percent: what was reached when this was written, rounded
/// down.
const FLOORS: &[(&str, u32, u32)] = &[
    ("card", 98, 99),
    ("cloud_key", 99, 99),
    ("email", 99, 99),
    ("iban", 99, 99),
    ("ip", 99, 99),
    ("jwt", 99, 99),
    ("name", 99, 91),
    ("national_id", 99, 97),
    ("phone", 99, 93),
    ("ssn", 99, 99),
];

#[derive(Debug, Default, Clone, Copy)]
struct Score {
    right: u32,
    missed: u32,
    wrong: u32,
}

impl Score {
    fn precision(self) -> u32 {
        100 * self.right / (self.right + self.wrong).max(1)
    }

    fn recall(self) -> u32 {
        100 * self.right / (self.right + self.missed).max(1)
    }
}

/// Scores by kind, and examples of what went wrong: the kind of mistake and where it happened.
fn score(labelled: &str) -> (BTreeMap<String, Score>, BTreeMap<String, u32>) {
    let mut scores: BTreeMap<String, Score> = BTreeMap::new();
    let mut mistakes: BTreeMap<String, u32> = BTreeMap::new();
    for line in labelled.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let label = line["k"].as_str().unwrap();
        let place = line["l"].as_str().unwrap();
        let found: Vec<&str> = match &line["v"] {
            Value::Array(column) => {
                let texts: Vec<&str> = column.iter().filter_map(Value::as_str).collect();
                if is_about_people(&texts) {
                    vec!["name"]
                } else {
                    vec![]
                }
            }
            value => finds(line["t"].as_str().unwrap(), value.as_str().unwrap(), label),
        };
        let mut note = |what: String| *mistakes.entry(what).or_default() += 1;
        if label != "none" {
            let score = scores.entry(label.to_owned()).or_default();
            if found.contains(&label) {
                score.right += 1;
            } else {
                score.missed += 1;
                note(format!("missed {label} of {place}"));
            }
        }
        for wrong in found.iter().filter(|kind| **kind != label) {
            scores.entry((*wrong).to_owned()).or_default().wrong += 1;
            note(format!("{wrong} found in {label} ({place})"));
        }
    }
    (scores, mistakes)
}

/// What is found in a text; a find of the labelled kind counts only where it covers the value.
fn finds<'n>(text: &str, value: &str, label: &'n str) -> Vec<&'n str> {
    let start = text.find(value).unwrap();
    let hits = detect(text.as_bytes());
    hits.iter()
        .filter_map(|hit| {
            let covers = hit.range.start <= start + 1 && hit.range.end + 1 >= start + value.len();
            match hit.kind.name() {
                name if name == label => covers.then_some(label),
                name => Some(name),
            }
        })
        .collect()
}

/// Judges a kept column as the gate does.
fn is_about_people(texts: &[&str]) -> bool {
    let rules = "version = 1\n[policy]\nkey = 'env:K'\n[table.t.columns]\nc = 'keep'\n";
    let (rules, _) = RuleSet::parse("r.toml", rules).unwrap();
    let schema = Schema {
        tables: vec![TableSchema {
            name: "t".into(),
            columns: vec![ColumnSchema::new("c", ColumnType::Text)],
            rows: None,
        }],
    };
    let key = lifeboat_masking::MaskKey::new(&[1; 32], "stable:t").unwrap();
    let (plan, _) = Plan::compile(&rules, &schema, &key).unwrap();
    let mut batch = RowBatch::new(1, 0);
    texts
        .iter()
        .for_each(|text| batch.push_row([Cell::Text(text.as_bytes())]));
    let originals = Originals::new(&plan);
    let canaries = lifeboat_masking::Canaries::default();
    let mut scan = OutputScan::new(&plan, &originals, &canaries);
    scan.scan(plan.table("t").unwrap(), &batch);
    let report = verify(&plan, &originals, &scan, &Evidence::default());
    let gate = report.gate("detectors").unwrap();
    gate.findings.iter().any(|finding| finding.kind == "name")
}

#[test]
fn precision_and_recall_stay_above_their_floors() {
    let (scores, mistakes) = score(COMMITTED);
    assert_eq!(scores.len(), FLOORS.len(), "{scores:?}");
    for (kind, precision, recall) in FLOORS {
        let score = scores[*kind];
        assert!(
            score.precision() >= *precision && score.recall() >= *recall,
            "{kind}: precision {} of {precision}, recall {} of {recall}\n{mistakes:#?}",
            score.precision(),
            score.recall()
        );
    }
}

#[test]
#[expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "`cargo xtask score-detectors` names the file and reads the table"
)]
fn table_of_a_larger_set() {
    let larger = std::env::var(LARGER).ok();
    let text = larger.map(|file| std::fs::read_to_string(file).unwrap());
    let (scores, mistakes) = score(text.as_deref().unwrap_or(COMMITTED));
    println!("| kind | values | precision | recall |\n|---|---|---|---|");
    for (kind, score) in &scores {
        let values = score.right + score.missed;
        println!(
            "| `{kind}` | {values} | {} % | {} % |",
            score.precision(),
            score.recall()
        );
    }
    mistakes
        .iter()
        .for_each(|(what, count)| println!("{count:6} {what}"));
}
