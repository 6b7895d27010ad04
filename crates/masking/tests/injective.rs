//! Masks that promise to be one to one are, over whole domains.
//!
//! The tests that run always take a million values each. For ten million:
//! `cargo test --release -p lifeboat-masking --test injective -- --ignored`.

use lifeboat_masking::{
    Cell, ColumnSchema, ColumnType, MaskKey, Plan, RowBatch, RuleSet, Schema, TableSchema,
};
use rayon::prelude::*;

/// Masks every number below ten to the power of `digits` and checks that each comes out once.
fn whole_domain(rule: &str, digits: u32) {
    let text = format!(
        "version = 1\n[policy]\nunlisted = 'error'\nkey = 'env:K'\n[table.t.columns]\nv = {rule}\n"
    );
    let (rules, _) = RuleSet::parse("r.toml", &text).unwrap();
    let schema = Schema {
        tables: vec![TableSchema {
            name: "t".into(),
            columns: vec![ColumnSchema::new("v", ColumnType::Any)],
            rows: None,
        }],
    };
    let key = MaskKey::new(&[5; 32], "stable:test").unwrap();
    let plan = Plan::compile(&rules, &schema, &key).unwrap().0;
    let table = plan.table("t").unwrap();
    let size = 10_usize.pow(digits);
    let numbers = rule.contains("permute_int");
    let batches: Vec<RowBatch> = (0..size.div_ceil(100_000))
        .into_par_iter()
        .map(|n| {
            let mut batch = RowBatch::new(1, 0);
            for value in n * 100_000..size.min((n + 1) * 100_000) {
                if numbers {
                    batch.push_row([Cell::Integer(value as i64)]);
                } else {
                    let text = format!("{value:0width$}", width = digits as usize);
                    batch.push_row([Cell::Text(text.as_bytes())]);
                }
            }
            table.mask(&batch).unwrap()
        })
        .collect();
    let mut seen = vec![false; size];
    let mut moved = 0_usize;
    let rows = batches.iter().flat_map(RowBatch::rows);
    for (before, row) in rows.enumerate() {
        let after = match row.cell(0) {
            Cell::Integer(number) => number as usize,
            Cell::Text(text) => std::str::from_utf8(text).unwrap().parse().unwrap(),
            other => panic!("{other:?}"),
        };
        assert!(
            !std::mem::replace(&mut seen[after], true),
            "{after} came out twice"
        );
        moved += usize::from(before != after);
    }
    assert!(seen.iter().all(|seen| *seen));
    // A random permutation leaves one value where it is, give or take a few.
    assert!(moved + 12 > size || size < 12, "{moved} of {size} moved");
}

fn rules(digits: u32) -> [String; 3] {
    let max = 10_i64.pow(digits) - 1;
    [
        format!("{{ mask = 'permute_int', min = 0, max = {max} }}"),
        "'permute_id'".to_owned(),
        "'fpe'".to_owned(),
    ]
}

#[test]
fn a_million_values_come_out_once_each() {
    for rule in rules(6) {
        whole_domain(&rule, 6);
    }
}

#[test]
fn every_small_domain_is_mapped_onto_itself() {
    for digits in 1..=4 {
        for rule in rules(digits) {
            whole_domain(&rule, digits);
        }
    }
}

#[test]
#[ignore = "ten million values take a minute unoptimised: run with --release -- --ignored"]
fn ten_million_values_come_out_once_each() {
    for rule in rules(7) {
        whole_domain(&rule, 7);
    }
}
