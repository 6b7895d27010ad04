//! Synthetic data: whole, unique where it must be, and the same whoever makes it in whatever pieces.

mod shop;

use std::collections::{BTreeMap, HashSet};

use lifeboat_masking::{
    Cell, ColumnSchema, ColumnType, RowBatch, RowCounts, RuleSet, Schema, Synthesis, TableSchema,
    schema_of_rules,
};
use shop::{RULES, TABLES, schema};

fn counts(each: u64) -> RowCounts {
    RowCounts {
        each,
        of: BTreeMap::new(),
    }
}

fn synthesis(seed: u64) -> Synthesis {
    let (rules, _) = RuleSet::parse("webshop.toml", RULES).unwrap();
    let made = Synthesis::compile(&rules, &schema(), seed, &counts(1_000));
    made.unwrap_or_else(|problems| panic!("{problems}")).0
}

fn column(batch: &RowBatch, at: usize) -> Vec<String> {
    batch.rows().map(|row| written(row.cell(at))).collect()
}

/// Returns a cell as a text of its own; what `Debug` prints holds no value.
fn written(cell: Cell<'_>) -> String {
    match cell {
        Cell::Null => "null".to_owned(),
        Cell::Integer(number) => number.to_string(),
        Cell::Real(number) => format!("{number:e}"),
        Cell::Text(bytes) | Cell::Blob(bytes) => format!("'{}'", bytes.escape_ascii()),
    }
}

#[test]
fn pieces_and_threads_do_not_matter_and_seeds_do() {
    let one = synthesis(1);
    for table in TABLES {
        let whole = one.rows(table, 0, 1_000).unwrap();
        let pieces = one.batches(table, 0, 8, 125).unwrap();
        let cells: Vec<Cell<'_>> = pieces
            .iter()
            .flat_map(RowBatch::rows)
            .flat_map(|row| row.cells())
            .collect();
        assert!(
            whole.rows().flat_map(|row| row.cells()).eq(cells),
            "{table}"
        );
        assert_eq!(whole, synthesis(1).rows(table, 0, 1_000).unwrap());
    }
    let (ours, theirs) = (
        one.rows("customers", 0, 50).unwrap(),
        synthesis(2).rows("customers", 0, 50).unwrap(),
    );
    assert_ne!(column(&ours, 2), column(&theirs, 2));
}

#[test]
fn foreign_keys_refer_to_rows_that_are_there() {
    let made = synthesis(3);
    for (child, parent) in [
        ("orders", "customers"),
        ("payments", "orders"),
        ("support_notes", "customers"),
    ] {
        let keys: HashSet<String> = column(&made.rows(parent, 0, 1_000).unwrap(), 0)
            .into_iter()
            .collect();
        assert_eq!(keys.len(), 1_000);
        let used = column(&made.rows(child, 0, 1_000).unwrap(), 1);
        let null = written(Cell::Null);
        assert!(
            used.iter().all(|key| *key == null || keys.contains(key)),
            "{child}"
        );
        assert!(used.iter().collect::<HashSet<_>>().len() > 400, "{child}");
    }
    let emails = column(&made.rows("customers", 0, 1_000).unwrap(), 1);
    assert_eq!(emails.iter().collect::<HashSet<_>>().len(), 1_000);
}

#[test]
fn constraints_hold_and_limit_the_number_of_rows() {
    let named = |name: &str, ty, change: fn(&mut ColumnSchema)| {
        let mut column = ColumnSchema::new(name, ty);
        change(&mut column);
        column
    };
    let table = |name: &str, columns| TableSchema {
        name: name.into(),
        columns,
        rows: None,
    };
    let schema = Schema {
        tables: vec![
            table(
                "colors",
                vec![named("code", ColumnType::Text, |column| {
                    (column.primary_key, column.unique, column.not_null) = (true, true, true);
                    column.labels = vec!["red".into(), "green".into()];
                })],
            ),
            table(
                "links",
                vec![
                    named("color", ColumnType::Text, |column| {
                        (column.key_part, column.not_null) = (true, true);
                        column.references = Some(("colors".into(), "code".into()));
                    }),
                    named("place", ColumnType::Integer, |column| {
                        (column.key_part, column.not_null) = (true, true);
                    }),
                    named("floor", ColumnType::Integer, |column| {
                        column.checks.push("floor BETWEEN 18 AND 21".into());
                    }),
                    named("word", ColumnType::Text, |column| {
                        column.max_chars = Some(3);
                    }),
                ],
            ),
        ],
    };
    let rules = "version = 1\n[policy]\nkey = 'env:K'\n[table.colors]\nkeep = ['code']\n\
                 [table.links]\nkeep = ['color', 'place', 'floor', 'word']\n";
    let (rules, _) = RuleSet::parse("r.toml", rules).unwrap();
    let (made, _) = Synthesis::compile(&rules, &schema, 5, &counts(500))
        .unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(
        made.tables().collect::<Vec<_>>(),
        [("colors", 2), ("links", 500)]
    );
    let links = made.rows("links", 0, 500).unwrap();
    let keys: HashSet<String> = links
        .rows()
        .map(|row| written(row.cell(0)) + " " + &written(row.cell(1)))
        .collect();
    assert_eq!(keys.len(), 500, "a pair came twice");
    for row in links.rows() {
        assert!(matches!(row.cell(0), Cell::Text(b"red" | b"green")));
        assert!(matches!(row.cell(2), Cell::Null | Cell::Integer(18..=21)));
        assert!(row.cell(3).bytes().is_none_or(|word| word.len() <= 3));
    }
    let colors: HashSet<String> = column(&made.rows("colors", 0, 2).unwrap(), 0)
        .into_iter()
        .collect();
    assert_eq!(colors.len(), 2, "{colors:?}");
}

#[test]
fn rules_alone_are_schema_enough() {
    let (rules, _) = RuleSet::parse("webshop.toml", RULES).unwrap();
    let schema = schema_of_rules(&rules);
    assert_eq!(schema.tables.len(), TABLES.len());
    let made = Synthesis::compile(&rules, &schema, 1, &counts(20));
    let (made, _) = made.unwrap_or_else(|problems| panic!("{problems}"));
    for (table, rows) in made.tables() {
        assert_eq!(made.rows(table, 0, rows).unwrap().len(), 20, "{table}");
    }
}
