//! What each mask promises, through the public API.

use std::collections::HashSet;

use lifeboat_masking::{
    Cell, ColumnSchema, ColumnType, MaskKey, Plan, RowBatch, RuleSet, Schema, TableSchema, detect,
};
use proptest::prelude::*;

fn plan(columns: &[(&str, ColumnType)], rules: &str) -> Plan {
    let text = format!("version = 1\n[policy]\nunlisted = 'error'\nkey = 'env:K'\n{rules}");
    let (rules, _) =
        RuleSet::parse("r.toml", &text).unwrap_or_else(|problems| panic!("{problems}"));
    let columns = columns
        .iter()
        .map(|(name, ty)| ColumnSchema::new(*name, *ty));
    let schema = Schema {
        tables: vec![TableSchema {
            name: "t".into(),
            columns: columns.collect(),
            rows: None,
        }],
    };
    let key = MaskKey::new(&[5; 32], "stable:test").unwrap();
    Plan::compile(&rules, &schema, &key)
        .unwrap_or_else(|problems| panic!("{problems}"))
        .0
}

fn one(rule: &str) -> Plan {
    plan(
        &[("v", ColumnType::Any)],
        &format!("[table.t.columns]\nv = {rule}\n"),
    )
}

fn apply(plan: &Plan, cell: Cell<'_>) -> Result<String, String> {
    let mut batch = RowBatch::new(1, 0);
    batch.push_row([cell]);
    let masked = plan
        .table("t")
        .unwrap()
        .mask(&batch)
        .map_err(|error| error.to_string())?;
    Ok(match masked.rows().next().unwrap().cell(0) {
        Cell::Null => "NULL".into(),
        Cell::Integer(number) => number.to_string(),
        Cell::Real(number) => number.to_string(),
        Cell::Text(text) | Cell::Blob(text) => String::from_utf8(text.to_vec()).unwrap(),
    })
}

fn text(plan: &Plan, value: &str) -> String {
    apply(plan, Cell::Text(value.as_bytes())).unwrap()
}

/// Masks that take text, with a value each.
const TEXTS: [(&str, &str); 24] = [
    ("'hash'", "secret value"),
    ("'uuid'", "secret value"),
    ("'random'", "secret value"),
    ("'permute_id'", "ORD-000123"),
    ("'email'", "jo@webmail.de"),
    ("{ mask = 'email', unique = true }", "jo@webmail.de"),
    ("{ mask = 'phone', keep_country = true }", "+49 30 1234567"),
    ("'phone'", "+49 30 1234567"),
    ("'name'", "Maria Schmidt"),
    ("{ mask = 'person', by = 'v', part = 'last' }", "Schmidt"),
    ("{ mask = 'name', locale = 'de' }", "Maria Schmidt"),
    ("{ mask = 'name', locale = 'es', part = 'last' }", "Garcia"),
    ("{ mask = 'name', locale = 'fr', part = 'first' }", "Jules"),
    (
        "{ mask = 'person', by = 'v', part = 'email', locale = 'fr' }",
        "jules@webmail.fr",
    ),
    ("'company'", "Schmidt GmbH"),
    ("'address'", "Hauptstr. 5"),
    ("'city'", "Berlin"),
    ("'postcode'", "SW1A 1AA"),
    ("'card'", "4111 1111 1111 1111"),
    ("'iban'", "GB29 NWBK 6016 1331 9268 19"),
    ("'ssn'", "123-45-6789"),
    ("'ip'", "10.20.30.40"),
    ("'text'", "Maria called about her order."),
    ("'shift_date'", "2024-02-29"),
];

#[test]
fn null_stays_null_and_empty_stays_empty() {
    for (rule, _) in TEXTS {
        let plan = one(rule);
        assert_eq!(apply(&plan, Cell::Null).unwrap(), "NULL", "{rule}");
        assert_eq!(text(&plan, ""), "", "{rule}");
    }
    assert_eq!(text(&one("'null'"), ""), "NULL");
}

#[test]
fn every_text_mask_changes_its_value_repeats_itself_and_looks_synthetic() {
    for (rule, value) in TEXTS {
        let plan = one(rule);
        let masked = text(&plan, value);
        assert_ne!(masked, value, "{rule}");
        assert_eq!(masked, text(&plan, value), "{rule}");
        let hits = detect(masked.as_bytes());
        assert!(hits.iter().all(|hit| hit.synthetic), "{rule}: {masked}");
    }
}

/// What people write into fields that they have nothing for, and what is hardly a value.
const HARDLY_VALUES: [&str; 22] = [
    "0", "00", "000", "0 ", "1", "9", "99", "-", "--", "+", "+49", "+1", "x", "X", "n/a", "?", ".",
    " ", "é", "DE", "0-0", "A1",
];

#[test]
fn hardly_a_value_stops_no_run_for_want_of_another_one() {
    for (rule, _) in TEXTS {
        let plan = one(rule);
        for value in HARDLY_VALUES {
            match apply(&plan, Cell::Text(value.as_bytes())) {
                Ok(masked) => assert_ne!(masked, value, "{rule}"),
                // What is of another form is refused as such.
                Err(error) => assert!(
                    !error.contains("no value differs"),
                    "{rule} of {value:?}: {error}"
                ),
            }
        }
    }
}

#[test]
fn formats_and_check_digits_are_kept() {
    for (rule, value) in [
        (
            "{ mask = 'phone', keep_country = true }",
            "+49 (30) 123-4567",
        ),
        ("{ mask = 'phone', keep_country = true }", "+1 212 736 5000"),
        ("{ mask = 'phone', keep_country = true }", "(212) 736-5000"),
        ("{ mask = 'phone', keep_country = true }", "030 1234567"),
        ("'card'", "4111-1111-1111-1111"),
        ("'card'", "3714 496353 98431"),
        ("'iban'", "DE89 3704 0044 0532 0130 00"),
        ("'iban'", "NL91ABNA0417164300"),
    ] {
        let masked = text(&one(rule), value);
        let shape = |text: &str| text.replace(|c: char| c.is_ascii_digit(), "9");
        let letters_may_change = rule == "'iban'";
        if !letters_may_change {
            assert_eq!(shape(&masked), shape(value));
        }
        // Detectors demand right check digits, and know our ranges.
        let hits = detect(masked.as_bytes());
        assert!(
            matches!(&hits[..], [hit] if hit.synthetic && hit.range.len() == value.len()),
            "{value} -> {masked} {hits:?}"
        );
    }
}

#[test]
fn unique_emails_do_not_collide() {
    let plan = one("{ mask = 'email', unique = true }");
    let table = plan.table("t").unwrap();
    let mut batch = RowBatch::new(1, 0);
    for n in 0..200_000 {
        batch.push_row([Cell::Text(format!("user{n}@webmail.de").as_bytes())]);
    }
    let masked = table.mask(&batch).unwrap();
    let distinct: HashSet<_> = masked
        .rows()
        .map(|row| row.cell(0).bytes().unwrap())
        .collect();
    assert_eq!(distinct.len(), 200_000);
    assert!(distinct.iter().all(|email| email.len() <= 47));
}

#[test]
fn ids_outside_the_declared_range_stop_the_run_without_being_printed() {
    let plan = one("{ mask = 'permute_int', min = 1, max = 1000 }");
    let error = apply(&plan, Cell::Integer(123_456)).unwrap_err();
    assert!(
        error.contains("`t.v` in row 1") && !error.contains("123456"),
        "{error}"
    );
}

#[test]
fn conditions_read_original_values() {
    let plan = plan(
        &[("kind", ColumnType::Text), ("token", ColumnType::Text)],
        "[table.t.columns]\nkind = { mask = 'const', value = 'demo' }\n\
         token = [ { when = \"kind = 'demo'\", mask = 'keep', reason = 'shown in the docs' }, { mask = 'redact' } ]\n",
    );
    let mut batch = RowBatch::new(2, 0);
    batch.push_row([Cell::Text(b"demo"), Cell::Text(b"one")]);
    batch.push_row([Cell::Text(b"live"), Cell::Text(b"two")]);
    let masked = plan.table("t").unwrap().mask(&batch).unwrap();
    let tokens: Vec<_> = masked.rows().map(|row| row.cell(1)).collect();
    assert_eq!(tokens, [Cell::Text(b"one"), Cell::Text(b"[redacted]")]);
}

#[test]
fn shifted_dates_of_one_subject_keep_their_distance() {
    let plan = plan(
        &[
            ("id", ColumnType::Integer),
            ("a", ColumnType::Text),
            ("b", ColumnType::Integer),
        ],
        "[domain.d]\nmask = 'shift_date'\nby = 'id'\nmax_days = 30\n[table.t]\nkeep = ['id']\n\
         [table.t.columns]\na = { domain = 'd' }\nb = { domain = 'd' }\n",
    );
    let mut batch = RowBatch::new(3, 0);
    for id in 0..500 {
        batch.push_row([
            Cell::Integer(id),
            Cell::Text(b"1970-03-01T23:59:59Z"),
            Cell::Integer(0),
        ]);
    }
    let masked = plan.table("t").unwrap().mask(&batch).unwrap();
    let mut shifts = HashSet::new();
    for row in masked.rows() {
        let (Cell::Text(date), Cell::Integer(secs)) = (row.cell(1), row.cell(2)) else {
            panic!("types change")
        };
        let days = secs / 86_400;
        assert!(days != 0 && days.abs() <= 30 && secs % 86_400 == 0);
        assert!(date.ends_with(b"T23:59:59Z"));
        if days == 1 {
            assert!(date.starts_with(b"1970-03-02"));
        }
        shifts.insert(days);
    }
    assert_eq!(shifts.len(), 60);
}

#[test]
fn json_fails_closed_and_names_no_member_of_the_document() {
    let plan =
        one("{ mask = 'json', paths = { '$.user.email' = 'email', '$.items[*].sku' = 'keep' } }");
    let good = text(
        &plan,
        r#"{"user":{"email":"jo@webmail.de"},"items":[{"sku":"A-1"},{"sku":7}]}"#,
    );
    assert!(
        good.contains("@example.") && good.contains(r#"[{"sku":"A-1"},{"sku":7}]"#),
        "{good}"
    );
    for (bad, place) in [
        ("{", "not valid JSON"),
        (
            r#"{"user":{"email":"a@b.de","maria":"x"}}"#,
            "below `$.user`",
        ),
        (r#"{"maria":null}"#, "below `$`"),
        (
            r#"{"items":[{"sku":"A","maria":{}}]}"#,
            "below `$.items[*]`",
        ),
        (r#"{"user":{"email":{"maria":"x"}}}"#, "holds an object"),
        (r#""maria""#, "below `$`"),
    ] {
        let error = apply(&plan, Cell::Text(bad.as_bytes())).unwrap_err();
        assert!(
            error.contains(place) && !error.contains("maria"),
            "{bad}: {error}"
        );
    }
    let redacting = one("{ mask = 'json', unlisted = 'redact', paths = { '$.a' = 'keep' } }");
    assert_eq!(
        text(&redacting, r#"{"a":1,"b":{"c":2}}"#),
        r#"{"a":1,"b":"[redacted]"}"#
    );
}

#[test]
fn prose_loses_its_finds_or_everything() {
    let original = "Mail maria@webmail.de or call +49 30 1234567.";
    let hits = text(&one("{ mask = 'text', on_hit = 'domain' }"), original);
    assert!(
        hits.starts_with("Mail ") && hits.contains(" or call +49 00 "),
        "{hits}"
    );
    assert!(!hits.contains("maria@webmail.de"));
    let redacted = text(&one("{ mask = 'text', on_hit = 'redact' }"), original);
    assert_eq!(redacted, "Mail [redacted] or call [redacted].");
    let all = text(&one("'text'"), original);
    assert!(
        all.len() <= original.len() && all.len() * 2 > original.len(),
        "{all}"
    );
    assert!(!all.to_lowercase().contains("maria"));
}

#[test]
fn finds_in_prose_agree_with_the_column_of_their_domain() {
    let plan = plan(
        &[("email", ColumnType::Text), ("body", ColumnType::Text)],
        "[domain.mail]\nmask = 'email'\nunique = true\n[table.t.columns]\n\
         email = { domain = 'mail' }\nbody = { mask = 'text', on_hit = 'domain' }\n",
    );
    let mut batch = RowBatch::new(2, 0);
    batch.push_row([
        Cell::Text(b"jo@webmail.de"),
        Cell::Text(b"to jo@webmail.de!"),
    ]);
    let masked = plan.table("t").unwrap().mask(&batch).unwrap();
    let row = masked.rows().next().unwrap();
    let email = String::from_utf8(row.cell(0).bytes().unwrap().to_vec()).unwrap();
    assert_eq!(row.cell(1), Cell::Text(format!("to {email}!").as_bytes()));
}

#[test]
fn templates_see_masked_columns_only() {
    let plan = plan(
        &[("full", ColumnType::Text), ("first", ColumnType::Text)],
        "[table.t.columns]\nfull = { mask = 'template', format = '<{first}>' }\n\
         first = { mask = 'const', value = 'X' }\n",
    );
    let mut batch = RowBatch::new(2, 0);
    batch.push_row([Cell::Text(b"Maria"), Cell::Text(b"Maria")]);
    let masked = plan.table("t").unwrap().mask(&batch).unwrap();
    assert_eq!(masked.rows().next().unwrap().cell(0), Cell::Text(b"<X>"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_masked_or_refused_but_never_passed_on(value in "\\PC{1,40}") {
        for (rule, _) in TEXTS {
            let plan = one(rule);
            match apply(&plan, Cell::Text(value.as_bytes())) {
                Ok(masked) if rule == "'permute_id'" => prop_assert_eq!(masked.len(), value.len()),
                Ok(masked) => prop_assert_ne!(&masked, &value),
                Err(error) => prop_assert!(value.len() < 4 || !error.contains(&value)),
            }
        }
    }

    #[test]
    fn permute_int_is_one_to_one_within_its_range(min in -500_i64..500, size in 2_i64..400) {
        let max = min + size - 1;
        let plan = one(&format!("{{ mask = 'permute_int', min = {min}, max = {max} }}"));
        let mut batch = RowBatch::new(1, 0);
        (min..=max).for_each(|id| batch.push_row([Cell::Integer(id)]));
        let masked = plan.table("t").unwrap().mask(&batch).unwrap();
        let mut seen: Vec<i64> = masked.rows().map(|row| match row.cell(0) {
            Cell::Integer(id) => id,
            other => panic!("{other:?}"),
        }).collect();
        seen.sort_unstable();
        prop_assert!(seen.into_iter().eq(min..=max));
    }

    #[test]
    fn permute_id_is_one_to_one_among_ids_of_one_shape(from in 0_u32..9_000) {
        let plan = one("'permute_id'");
        let mut batch = RowBatch::new(1, 0);
        (from..from + 1000).for_each(|id| batch.push_row([Cell::Text(format!("A-{id:04}").as_bytes())]));
        let masked = plan.table("t").unwrap().mask(&batch).unwrap();
        let distinct: HashSet<_> = masked.rows().map(|row| row.cell(0).bytes().unwrap()).collect();
        prop_assert_eq!(distinct.len(), 1000);
        prop_assert!(distinct.iter().all(|id| id.len() == 6 && id.starts_with(b"A-")));
    }
}
