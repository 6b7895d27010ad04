//! The search for originals without its short cuts: sets of texts, every run of words at every place.
//! What a scan counts must be this.

use std::collections::HashSet;

use proptest::prelude::*;

use super::{Canaries, Originals, OutputScan, ScanFindings};
use crate::batch::{Cell, RowBatch};
use crate::detect::detect;
use crate::key::MaskKey;
use crate::plan::Plan;
use crate::rules::RuleSet;
use crate::schema::{ColumnSchema, ColumnType, Schema, TableSchema};

const RULES: &str = "version = 1\n[policy]\nunlisted = 'error'\nkey = 'env:K'\n[table.t]\nkeep = ['a', 'b']\n\
                     [table.t.columns]\nsecret = 'redact'\nid = { mask = 'const', value = 1 }\n";

fn plan() -> Plan {
    let column = |name: &str, ty| ColumnSchema::new(name, ty);
    let schema = Schema {
        tables: vec![TableSchema {
            name: "t".into(),
            columns: vec![
                column("a", ColumnType::Any),
                column("b", ColumnType::Any),
                column("secret", ColumnType::Text),
                column("id", ColumnType::Integer),
            ],
            rows: None,
        }],
    };
    let (rules, _) = RuleSet::parse("r.toml", RULES).unwrap();
    let key = MaskKey::new(&[7; 32], "stable:x").unwrap();
    Plan::compile(&rules, &schema, &key).unwrap().0
}

fn words(text: &[u8]) -> Vec<String> {
    let divides = |c: char| " \t\n\r\x0b\x0c,;:()<>[]{}\"'`|=\\/".contains(c);
    let fringe = |c: char| ".!?*-_#".contains(c);
    let lower = String::from_utf8_lossy(text)
        .to_lowercase()
        .replace('ς', "σ");
    let words = lower
        .split(divides)
        .map(|word| word.trim_matches(fringe).to_owned());
    words.filter(|word| !word.is_empty()).collect()
}

fn digits(text: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(text);
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    let letters = text
        .chars()
        .any(|c| c.is_ascii_alphabetic() || !c.is_ascii());
    (digits.len() >= 8 && !letters).then_some(digits)
}

/// What is remembered of an original.
fn remembered(text: &[u8]) -> impl Iterator<Item = String> {
    let whole = words(text).join(" ");
    Some(whole)
        .filter(|whole| whole.len() >= 6)
        .into_iter()
        .chain(digits(text))
}

/// How often originals stand in a text.
fn reused(text: &[u8], originals: &HashSet<String>) -> u64 {
    if text.len() < 6 {
        return 0;
    }
    let words = words(text);
    let mut probes = Vec::new();
    for first in 0..words.len() {
        for end in first + 1..=words.len() {
            let count = end - first;
            if count <= 8 || count == words.len() {
                probes.push(words[first..end].join(" "));
            }
        }
    }
    probes.extend(digits(text));
    let hits = detect(text)
        .into_iter()
        .filter(|hit| hit.range.len() < text.len());
    probes.extend(hits.filter_map(|hit| digits(&text[hit.range])));
    let found = probes
        .iter()
        .filter(|probe| probe.len() >= 6 && originals.contains(*probe));
    found.count() as u64
}

const PIECES: &[&str] = &[
    "Maria",
    "maria",
    "SCHMIDT",
    "Schmidt",
    "Ann",
    "Lee",
    "JÜRGEN",
    "jürgen",
    "ΟΔΟΣ",
    "οδος",
    "İzmir",
    "+49 171 2345678",
    "49171",
    "2345678",
    "12345678",
    "1234",
    "5678",
    "123456789",
    "-123456789",
    "o'brien",
    "Hauptstrasse",
    "12",
    "\\",
    "\"",
    "{",
    "[",
    "}",
    "jo@web.de",
    "DE89370400440532013000",
    "a",
    "of",
    "the",
    "2024-05-12",
    "\u{a0}",
    "word",
    "seventh",
    "\\u0061",
];
const GAPS: &[&str] = &[
    " ", "  ", ", ", "-", ".", "", ": ", "\n", "/", "(", ")", "_",
];

fn text() -> impl Strategy<Value = Vec<u8>> {
    let piece = (prop::sample::select(PIECES), prop::sample::select(GAPS));
    let pieces = prop::collection::vec(piece, 0..12);
    prop_oneof![
        9 => pieces.prop_map(|pieces| pieces.into_iter().flat_map(|(a, b)| [a, b]).collect::<String>().into_bytes()),
        1 => any::<Vec<u8>>(),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_scan_counts_what_a_plain_search_does(
        secrets in prop::collection::vec((text(), any::<i64>()), 1..12),
        output in prop::collection::vec((text(), text()), 1..40),
        copied in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let plan = plan();
        let table = plan.table("t").unwrap();
        let mut before = RowBatch::new(4, 0);
        let mut originals = HashSet::new();
        for (secret, id) in &secrets {
            before.push_row([Cell::Null, Cell::Null, Cell::Text(secret), Cell::Integer(*id)]);
            originals.extend(remembered(secret));
            if id.unsigned_abs() >= 100_000_000 {
                originals.insert(id.unsigned_abs().to_string());
            }
        }
        let mut known = Originals::new(&plan);
        known.observe(table, &before, &table.mask(&before).unwrap());
        let mut after = RowBatch::new(4, 0);
        let (mut expected, mut detected) = (0, 0);
        for (n, (a, b)) in output.iter().enumerate() {
            // Some originals stand in the output whole, and cells come again.
            let copied = copied.get(n).map(|index| index.get(&secrets));
            let a = copied.map_or(a, |(secret, _)| secret);
            let number = copied.map_or(n as i64, |(_, id)| *id);
            for _ in 0..2 {
                after.push_row([Cell::Text(a), Cell::Text(b), Cell::Null, Cell::Integer(number)]);
                for text in [a, b] {
                    expected += reused(text, &originals) + escaped(text, |text| reused(text, &originals));
                    detected += found(text) + escaped(text, found);
                }
                let digits = number.unsigned_abs().to_string();
                expected += u64::from(digits.len() >= 6 && originals.contains(&digits));
            }
        }
        let canaries = Canaries::default();
        let mut scan = OutputScan::new(&plan, &known, &canaries);
        // Once more: cells that are known by then to hold nothing are passed over.
        scan.scan(table, &after);
        scan.scan(table, &after);
        let (expected, detected) = (2 * expected, 2 * detected);
        let count = |findings: &ScanFindings| findings.reused.values().sum::<u64>();
        prop_assert_eq!(count(&scan.found), expected);
        let cards = scan.found.detected.iter().filter(|(place, _)| place.column == "id");
        let cards: u64 = cards.map(|(_, count)| count).sum();
        prop_assert_eq!(scan.found.detected.values().sum::<u64>() - cards, detected);
    }
}

fn found(text: &[u8]) -> u64 {
    let long = text.len() >= 6;
    detect(text)
        .iter()
        .filter(|hit| long && !hit.synthetic)
        .count() as u64
}

/// Adds up what is in the leaves of a document, if its escapes may hide something.
fn escaped(text: &[u8], count: impl Fn(&[u8]) -> u64 + Copy) -> u64 {
    fn leaves(value: &serde_json::Value, count: impl Fn(&[u8]) -> u64 + Copy) -> u64 {
        match value {
            serde_json::Value::String(text) => count(text.as_bytes()),
            serde_json::Value::Array(items) => items.iter().map(|item| leaves(item, count)).sum(),
            serde_json::Value::Object(members) => members
                .iter()
                .map(|(name, member)| count(name.as_bytes()) + leaves(member, count))
                .sum(),
            _ => 0,
        }
    }
    let starts = matches!(text.trim_ascii_start().first(), Some(b'{' | b'[' | b'"'));
    match serde_json::from_slice(text) {
        Ok(value) if starts && text.contains(&b'\\') => leaves(&value, count),
        _ => 0,
    }
}
