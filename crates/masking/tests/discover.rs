//! Discovery on schemas and rows in memory, as any source may give them.

mod shop;

use lifeboat_masking::{
    Cell, Clue, ColumnSchema, ColumnType, Discovery, Outcome, Plan, RowBatch, RuleSet, Sample,
    Schema, TableSchema, discover,
};
use proptest::prelude::*;
use shop::{TABLES, batch, key, schema};

fn discovered(schema: &Schema, rows: &[(&str, RowBatch)]) -> Discovery {
    let mut sample = Sample::new(schema);
    rows.iter()
        .for_each(|(table, rows)| sample.observe(table, rows));
    discover(schema, &sample)
}

fn outcome(discovery: &Discovery, place: &str) -> (Outcome, String) {
    let (table, column) = place.split_once('.').unwrap();
    let mut columns = discovery.columns.iter();
    let found = columns.find(|found| found.table == table && found.column == column);
    let found = found.unwrap_or_else(|| panic!("no {place}"));
    (found.outcome, found.rule.clone())
}

/// A column of `ty`, as PostgreSQL would describe it.
fn column(name: &str, ty: ColumnType, declared: &str) -> ColumnSchema {
    ColumnSchema {
        declared: declared.to_owned(),
        ..ColumnSchema::new(name, ty)
    }
}

fn one_table(columns: Vec<ColumnSchema>) -> Schema {
    Schema {
        tables: vec![TableSchema {
            name: "public.t".into(),
            columns,
            rows: None,
        }],
    }
}

#[test]
fn the_shop_is_told_apart_and_every_column_is_named_once() {
    let rows: Vec<_> = TABLES
        .iter()
        .map(|name| (*name, batch(name, 200)))
        .collect();
    let found = discovered(&schema(), &rows);
    let columns: usize = schema()
        .tables
        .iter()
        .map(|table| table.columns.len())
        .sum();
    assert_eq!(found.columns.len(), columns);
    for (place, expected) in [
        (
            "customers.email",
            (Outcome::Personal, "{ domain = \"email\" }"),
        ),
        (
            "customers.full_name",
            (Outcome::Personal, "{ domain = \"person\" }"),
        ),
        (
            "customers.birth_date",
            (
                Outcome::Personal,
                "{ mask = \"shift_date\", by = \"id\", max_days = 180 }",
            ),
        ),
        (
            "orders.customer_id",
            (Outcome::Personal, "{ references = \"customers.id\" }"),
        ),
        ("orders.total_cents", (Outcome::Clean, "\"keep\"")),
        (
            "payments.card_number",
            (Outcome::Personal, "{ domain = \"card\" }"),
        ),
        ("support_notes.body", (Outcome::Personal, "\"text\"")),
    ] {
        let (outcome, rule) = outcome(&found, place);
        assert_eq!((outcome, rule.as_str()), expected, "{place}");
    }
    let text = found.rules();
    assert_eq!(text, discovered(&schema(), &rows).rules());
    let (rules, _) =
        RuleSet::parse("r.toml", &text).unwrap_or_else(|problems| panic!("{problems}\n{text}"));
    // What is left is for a person, and nothing else is wrong.
    let problems = Plan::compile(&rules, &schema(), &key()).err();
    let left = problems.iter().flat_map(|problems| problems.iter());
    for problem in left {
        assert!(problem.message.contains("nobody has decided"), "{problem}");
    }
}

#[test]
fn names_and_types_decide_where_there_is_no_row() {
    let mut status = column("status", ColumnType::Text, "order_status");
    status.labels = vec!["open".into(), "closed".into()];
    let mut serial = column("id", ColumnType::Integer, "bigint");
    (serial.primary_key, serial.unique, serial.identity) = (true, true, true);
    let mut short = column("email", ColumnType::Text, "varchar(20)");
    short.max_chars = Some(20);
    let schema = one_table(vec![
        serial,
        status,
        short,
        column("created_at", ColumnType::Text, "timestamptz"),
        column("geburtsdatum", ColumnType::Text, "date"),
        column("blurb", ColumnType::Text, "text"),
    ]);
    let found = discovered(&schema, &[]);
    for (place, expected) in [
        ("status", (Outcome::Clean, "\"keep\"")),
        ("created_at", (Outcome::Clean, "\"keep\"")),
        (
            "email",
            (Outcome::Personal, "{ mask = \"hash\", length = 20 }"),
        ),
        ("blurb", (Outcome::Unknown, "\"decide\"")),
        (
            "geburtsdatum",
            (
                Outcome::Personal,
                "{ mask = \"shift_date\", by = \"id\", max_days = 180 }",
            ),
        ),
    ] {
        let mut columns = found.columns.iter();
        let found = columns.find(|found| found.column == place).unwrap();
        assert_eq!(
            (found.outcome, found.rule.as_str()),
            expected,
            "{place}: {found:?}"
        );
    }
}

#[test]
fn values_are_believed_more_than_names() {
    let schema = one_table(vec![
        column("col1", ColumnType::Text, "text"),
        column("name", ColumnType::Text, "text"),
        column("info", ColumnType::Text, "text"),
    ]);
    let mut rows = RowBatch::new(3, 0);
    for n in 0..50 {
        let (mail, name) = (format!("p{n}@posteo.de"), format!("Steel bolt M{n}"));
        rows.push_row(
            [mail.as_str(), &name, "Maria Schmidt"].map(|text| Cell::Text(text.as_bytes())),
        );
    }
    let found = discovered(&schema, &[("public.t", rows)]);
    let clues = |column: &str| {
        let mut columns = found.columns.iter();
        let found = columns.find(|found| found.column == column).unwrap();
        (found.outcome, found.clues.clone())
    };
    assert!(
        matches!(clues("col1"), (Outcome::Personal, clues) if matches!(clues[0], Clue::Detector { percent: 100, .. }))
    );
    assert!(
        matches!(clues("name"), (Outcome::Unknown, clues) if clues.contains(&Clue::Contradiction))
    );
    assert!(
        matches!(clues("info"), (Outcome::Personal, clues) if matches!(clues[0], Clue::NameLists { percent: 100 }))
    );
}

proptest! {
    #[test]
    fn whatever_it_sees_it_proposes_a_rule_file_without_a_value(
        names in prop::collection::btree_set(any::<String>(), 1..6),
        cells in prop::collection::vec("(zq[0-9a-z]{6,12}|zq[a-z]{3}@posteo\\.de|\\{\"zqkey[0-9]{3}\": \"zqvalue\"\\})?", 0..60),
    ) {
        let columns: Vec<_> = names.iter().map(|name| ColumnSchema::new(name, ColumnType::Any)).collect();
        let width = columns.len();
        let schema = one_table(columns);
        let mut rows = RowBatch::new(width, 0);
        for row in cells.chunks_exact(width) {
            rows.push_row(row.iter().map(|text| Cell::Text(text.as_bytes())));
        }
        let text = discovered(&schema, &[("public.t", rows)]).rules();
        let (rules, _) = RuleSet::parse("r.toml", &text).map_err(|problems| TestCaseError::fail(format!("{problems}\n{text}")))?;
        prop_assert_eq!(rules.tables().collect::<Vec<_>>(), ["public.t"]);
        for cell in cells.iter().filter(|cell| cell.len() > 6) {
            prop_assert!(!text.contains(cell.as_str()), "{cell} is in\n{text}");
        }
    }
}
