//! The gates: a clean copy passes, and every kind of leak is stopped.

mod shop;

use lifeboat_masking::{
    Canaries, Cell, ColumnSchema, ColumnType, Evidence, HitKind, IntegrityCheck, LeakReport,
    MaskKey, Originals, OutputScan, Plan, RowBatch, RuleSet, Schema, TableSchema, verify,
};
use lifeboat_model::Verdict;
use shop::{RULES, TABLES, batch, email, full_name, key, phone, plan, schema};

const ROWS: i64 = 200;

fn evidence() -> Evidence {
    Evidence {
        source_rows: TABLES
            .iter()
            .map(|name| ((*name).to_owned(), ROWS as u64))
            .collect(),
        integrity: vec![IntegrityCheck {
            name: "foreign_key_check".into(),
            verdict: Verdict::Pass,
        }],
        is_keyless: false,
        tool_version: "0.1.0".into(),
        output_hash: Some("00".into()),
    }
}

/// Masks the shop, lets `tamper` change the output, and verifies what comes back.
fn verified(plan: &Plan, tamper: impl Fn(&str, RowBatch) -> RowBatch, ddl: &str) -> LeakReport {
    let mut originals = Originals::new(plan);
    let mut outputs = Vec::new();
    for name in TABLES {
        let table = plan.table(name).unwrap();
        let original = batch(name, ROWS);
        let masked = table.mask(&original).unwrap();
        originals.observe(table, &original, &masked);
        outputs.push((table, tamper(name, masked)));
    }
    let canaries = Canaries::new(&[full_name(7), email(8)]);
    let mut scan = OutputScan::new(plan, &originals, &canaries);
    for (table, output) in &outputs {
        scan.scan_all(table, std::slice::from_ref(output));
    }
    scan.scan_text("ddl", ddl);
    verify(plan, &originals, &scan, &evidence())
}

/// Replaces one cell of the first row.
fn with_cell(batch: &RowBatch, column: usize, value: &str) -> RowBatch {
    let mut changed = RowBatch::new(batch.columns(), 0);
    for (n, row) in batch.rows().enumerate() {
        changed.push_row(row.cells().enumerate().map(|(at, cell)| match (n, at) {
            (0, at) if at == column => Cell::Text(value.as_bytes()),
            _ => cell,
        }));
    }
    changed
}

#[test]
fn a_clean_copy_passes_every_gate_and_is_released() {
    let report = verified(
        &plan(),
        |_, batch| batch,
        "create table customers (id integer)",
    );
    assert_eq!(report.verdict(), Verdict::Pass, "{report:#?}");
    assert_eq!(report.release("copy").unwrap().into_inner(), "copy");
}

#[test]
fn kept_columns_are_listed_although_the_gate_passes() {
    let report = verified(&plan(), |_, batch| batch, "");
    let gate = report.gate("coverage").unwrap();
    assert_eq!(gate.verdict, Some(Verdict::Pass));
    let (kept, inside): (Vec<_>, Vec<_>) = gate
        .findings
        .iter()
        .partition(|find| !find.kind.starts_with("kept inside"));
    assert!(!inside.is_empty(), "a document keeps some of its leaves");
    for find in &kept {
        assert_eq!((find.kind.as_str(), find.count), ("kept", ROWS as u64));
    }
    let kept: Vec<_> = kept
        .iter()
        .map(|find| (find.table.as_str(), find.column.as_str()))
        .collect();
    assert!(kept.starts_with(&[("customers", "country"), ("customers", "created_at")]));
    assert_eq!(kept.len(), 12);
    assert!(gate.note.ends_with("12 are kept"), "{}", gate.note);
}

#[test]
fn an_original_anywhere_in_the_output_fails_and_is_not_printed() {
    let planted = full_name(12);
    let shouted = planted.to_uppercase();
    let sentence = format!("Spoke to {shouted}, will call back.");
    let json = format!(r#"{{"contact":{{"email":"{}"}},"tags":[]}}"#, email(3));
    let escaped = json.replace('@', "\\u0040");
    let grouped = phone(9).replace(' ', "-");
    // Table, column and a leaked value; kept columns are among them.
    for (table, column, value) in [
        ("customers", 7, planted.as_str()),
        ("customers", 2, &sentence),
        ("customers", 11, &json),
        ("customers", 11, &escaped),
        ("orders", 2, &shouted),
        ("support_notes", 3, &email(5)),
        ("support_notes", 3, &grouped),
        ("payments", 2, &format!("<{}>", phone(9))),
        ("support_notes", 3, "+49 171 23 45 69 0 called"),
        ("customers", 4, "Hauptstraße 5"),
    ] {
        let leak = |name: &str, batch: RowBatch| {
            if name == table {
                with_cell(&batch, column, value)
            } else {
                batch
            }
        };
        let report = verified(&plan(), leak, "");
        assert_eq!(
            report.gate("value_reuse").unwrap().verdict,
            Some(Verdict::Fail),
            "{table} {column} {value}"
        );
        let printed = serde_json::to_string(&report).unwrap() + &format!("{report:?}");
        for secret in [value, &planted, &email(3), &email(5), &phone(9)] {
            assert!(!printed.contains(secret), "{secret}");
        }
        let refused = report.release(()).unwrap_err();
        assert!(!format!("{refused} {refused:?}").contains(value));
    }
}

#[test]
fn a_reason_may_allow_what_detectors_find_in_a_kept_column() {
    let outcome = |keep: &str| {
        let text = format!(
            "version = 1\n[policy]\nunlisted = 'error'\nkey = 'env:K'\n[table.t.columns]\n{keep}\n"
        );
        let (rules, _) = RuleSet::parse("r.toml", &text).unwrap();
        let schema = Schema {
            tables: vec![TableSchema {
                name: "t".into(),
                columns: vec![ColumnSchema::new("sender", ColumnType::Text)],
                rows: None,
            }],
        };
        let (plan, _) = Plan::compile(&rules, &schema, &key()).unwrap();
        let table = plan.table("t").unwrap();
        let mut batch = RowBatch::new(1, 0);
        batch.push_row([Cell::Text(b"shop@webmail.de")]);
        let originals = Originals::new(&plan);
        let canaries = Canaries::default();
        let mut scan = OutputScan::new(&plan, &originals, &canaries);
        scan.scan(table, &batch);
        let report = verify(&plan, &originals, &scan, &Evidence::default());
        report.gate("detectors").unwrap().verdict
    };
    assert_eq!(outcome("sender = 'keep'"), Some(Verdict::Fail));
    let allowed = "sender = { mask = 'keep', reason = 'our own', allow = ['email'] }";
    assert_eq!(outcome(allowed), Some(Verdict::Pass));
}

#[test]
fn originals_in_ddl_fail() {
    let ddl = format!("create table x (y text default '{}')", full_name(4));
    let report = verified(&plan(), |_, batch| batch, &ddl);
    let gate = report.gate("value_reuse").unwrap();
    assert_eq!(gate.verdict, Some(Verdict::Fail));
    assert_eq!(gate.findings[0].table, "ddl");
}

#[test]
fn a_personal_value_that_no_rule_knew_fails_the_detectors() {
    let stranger = |name: &str, batch: RowBatch| match name {
        "orders" => with_cell(&batch, 2, "ask eva.neu@webmail.de"),
        _ => batch,
    };
    let report = verified(&plan(), stranger, "");
    let gate = report.gate("detectors").unwrap();
    assert_eq!(gate.verdict, Some(Verdict::Fail));
    assert_eq!(
        (
            gate.findings[0].column.as_str(),
            gate.findings[0].kind.as_str()
        ),
        ("status", HitKind::Email.name())
    );
}

#[test]
fn a_canary_fails_in_any_part_of_a_text() {
    let canary = format!("xx{}xx", full_name(7).to_lowercase());
    let leak = |name: &str, batch: RowBatch| match name {
        "support_notes" => with_cell(&batch, 3, &canary),
        _ => batch,
    };
    let report = verified(&plan(), leak, "");
    assert_eq!(
        report.gate("canaries").unwrap().verdict,
        Some(Verdict::Fail)
    );
    assert_eq!(
        report.gate("canaries").unwrap().findings[0].kind,
        "canary 1"
    );
}

#[test]
fn lost_rows_and_missing_evidence_are_no_pass() {
    let report = verified(
        &plan(),
        |name, batch| {
            if name == "orders" {
                RowBatch::new(batch.columns(), 0)
            } else {
                batch
            }
        },
        "",
    );
    assert_eq!(
        report.gate("row_accounting").unwrap().verdict,
        Some(Verdict::Fail)
    );

    let plan = plan();
    let originals = Originals::new(&plan);
    let canaries = Canaries::default();
    let scan = OutputScan::new(&plan, &originals, &canaries);
    let report = verify(&plan, &originals, &scan, &Evidence::default());
    assert_eq!(report.verdict(), Verdict::NotVerified);
    assert_eq!(report.gate("canaries").unwrap().verdict, None);
    assert_eq!(
        report.gate("integrity").unwrap().verdict,
        Some(Verdict::NotVerified)
    );
}

#[test]
fn parallel_observation_remembers_the_same() {
    let plan = plan();
    let table = plan.table("customers").unwrap();
    let original = batch("customers", 64);
    let masked = table.mask(&original).unwrap();
    let mut one = Originals::new(&plan);
    let mut many = Originals::new(&plan);
    one.observe(table, &original, &masked);
    one.observe(table, &original, &masked);
    many.observe_all(
        &plan,
        table,
        &[(original.clone(), masked.clone()), (original, masked)],
    );
    assert_eq!(one.len(), many.len());
    assert!(one.len() > 64 * 5);
}

#[test]
fn every_dropped_or_misspelt_rule_stops_the_copy() {
    let lines: Vec<&str> = RULES.lines().collect();
    let mut tried = 0;
    for (n, line) in lines.iter().enumerate() {
        let is_rule = line.contains(" = ") && !line.starts_with(['[', '#']);
        // These have a default, or only make pseudonyms agree; their values are tried below.
        let optional = [
            "scope",
            "normalize",
            "keep_country",
            "unlisted",
            "min = ",
            "max = ",
        ];
        let dropped_stops = is_rule && !optional.iter().any(|key| line.starts_with(key));
        if dropped_stops {
            let mut rest = lines.clone();
            rest.remove(n);
            assert_stopped(&rest.join("\n"), &format!("without `{line}`"));
            tried += 1;
        }
        if is_rule {
            let mut changed = lines.clone();
            let misspelt = format!("x{line}");
            changed[n] = &misspelt;
            if line.starts_with('"') {
                continue;
            }
            assert_stopped(&changed.join("\n"), &format!("with `{misspelt}`"));
            tried += 1;
        }
    }
    assert!(tried > 50, "{tried}");
}

#[test]
fn every_masked_column_that_is_kept_instead_stops_the_copy() {
    let mut tried = 0;
    for line in RULES.lines() {
        let Some((name, rule)) = line.split_once(" = {") else {
            continue;
        };
        // A kept id is no personal value by itself: the rule's author may choose it.
        if name == "id" {
            continue;
        }
        for kept in ["\"keep\"", "{ mask = \"keep\", reason = \"because\" }"] {
            let changed = RULES.replacen(
                &format!("{name} = {{{rule}"),
                &format!("{name} = {kept}"),
                1,
            );
            assert_ne!(changed, RULES);
            // With a reason, small spaces may be kept: that is what the reason is for.
            let small = [
                "postcode",
                "birth_date",
                "city",
                "street",
                "shipping_address",
                "author",
            ];
            if kept.contains("reason") && small.contains(&name) {
                continue;
            }
            assert_stopped(&changed, &format!("`{name} = {kept}`"));
            tried += 1;
        }
    }
    assert!(tried > 15, "{tried}");
}

/// The rules must be refused, or their output fail a gate or a value's mask.
fn assert_stopped(rules: &str, what: &str) {
    let Ok((rules, _)) = RuleSet::parse("webshop.toml", rules) else {
        return;
    };
    let Ok((plan, _)) = Plan::compile(&rules, &schema(), &key()) else {
        return;
    };
    for name in TABLES {
        if plan.table(name).unwrap().mask(&batch(name, 20)).is_err() {
            return;
        }
    }
    let report = verified(&plan, |_, batch| batch, "");
    assert_ne!(report.verdict(), Verdict::Pass, "{what}");
}

#[test]
fn remasking_a_masked_copy_reports_list_words_and_passes() {
    let text = "version = 1\n[policy]\nunlisted = 'error'\nkey = 'env:K'\n[table.people.columns]\nname = { mask = 'name' }\n";
    let (rules, _) = RuleSet::parse("r.toml", text).unwrap();
    let schema = Schema {
        tables: vec![TableSchema {
            name: "people".into(),
            columns: vec![ColumnSchema::new("name", ColumnType::Text)],
            rows: None,
        }],
    };
    let mask = |scope: &str, batch: &RowBatch| {
        let key = MaskKey::new(&[3; 32], scope).unwrap();
        let (plan, _) = Plan::compile(&rules, &schema, &key).unwrap();
        let masked = plan.table("people").unwrap().mask(batch).unwrap();
        (plan, masked)
    };
    let mut names = RowBatch::new(1, 0);
    for n in 0..20_000 {
        names.push_row([Cell::Text(format!("Real Person{n}").as_bytes())]);
    }
    let (_, first) = mask("stable:one", &names);
    let (plan, second) = mask("stable:two", &first);
    let table = plan.table("people").unwrap();
    let mut originals = Originals::new(&plan);
    originals.observe(table, &first, &second);
    let canaries = Canaries::default();
    let mut scan = OutputScan::new(&plan, &originals, &canaries);
    scan.scan(table, &second);
    let report = verify(&plan, &originals, &scan, &Evidence::default());
    let gate = report.gate("value_reuse").unwrap();
    assert_eq!(gate.verdict, Some(Verdict::Pass));
    assert!(gate.findings[0].count > 100);
    assert_eq!(
        report.gate("same_row_identity").unwrap().verdict,
        Some(Verdict::Pass)
    );
}

#[test]
fn planted_numbers_are_found_in_columns_of_numbers() {
    let canaries = Canaries::new(&["4711081599"]);
    for cell in [Cell::Integer(4_711_081_599), Cell::Real(4_711_081_599.0)] {
        let plan = plan();
        let table = plan.table("orders").unwrap();
        let masked = table.mask(&batch("orders", 1)).unwrap();
        let mut output = RowBatch::new(masked.columns(), 0);
        let first = masked.rows().next().unwrap();
        output.push_row(first.cells().skip(1).chain([cell]));
        let originals = Originals::new(&plan);
        let mut scan = OutputScan::new(&plan, &originals, &canaries);
        scan.scan(table, &output);
        let report = verify(&plan, &originals, &scan, &evidence());
        let gate = report.gate("canaries").unwrap();
        assert_eq!(gate.verdict, Some(Verdict::Fail), "{cell:?}");
    }
    assert_eq!(format!("{canaries:?}"), "1 canaries");
}

#[test]
fn where_no_keys_are_known_the_gate_of_integrity_has_no_verdict_and_elsewhere_silence_is_no_pass() {
    let plan = plan();
    let originals = Originals::new(&plan);
    let canaries = Canaries::default();
    let scan = OutputScan::new(&plan, &originals, &canaries);
    let verdict = |is_keyless| {
        let evidence = Evidence {
            integrity: Vec::new(),
            is_keyless,
            ..evidence()
        };
        let report = verify(&plan, &originals, &scan, &evidence);
        report.gate("integrity").unwrap().verdict
    };
    assert_eq!(verdict(true), None);
    assert_eq!(verdict(false), Some(Verdict::NotVerified));
}
