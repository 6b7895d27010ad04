//! What single gates say of one column: what they take for chance, and what they must not pass over.

use lifeboat_masking::{
    Canaries, Cell, ColumnSchema, ColumnType, Evidence, Gate, LeakReport, MaskKey, Originals,
    OutputScan, Plan, RowBatch, RuleSet, Schema, TableSchema, verify,
};
use lifeboat_model::Verdict;

/// Fits `rule` to a table `t` of one column of text.
fn plan(rule: &str) -> Plan {
    let text = format!(
        "version = 1\n[policy]\nunlisted = 'error'\nkey = 'env:K'\n[table.t.columns]\nv = {rule}\n"
    );
    let (rules, _) = RuleSet::parse("r.toml", &text).unwrap();
    let schema = Schema {
        tables: vec![TableSchema {
            name: "t".into(),
            columns: vec![ColumnSchema::new("v", ColumnType::Text)],
            rows: None,
        }],
    };
    let key = MaskKey::new(&[7; 32], "stable:test").unwrap();
    Plan::compile(&rules, &schema, &key).unwrap().0
}

fn batch<T: AsRef<[u8]>>(values: impl IntoIterator<Item = T>) -> RowBatch {
    let mut batch = RowBatch::new(1, 0);
    for value in values {
        batch.push_row([Cell::Text(value.as_ref())]);
    }
    batch
}

/// Masks `original` and judges `output`, or if there is none what masking made.
fn judged(plan: &Plan, original: &RowBatch, output: impl Fn(RowBatch) -> RowBatch) -> LeakReport {
    let table = plan.table("t").unwrap();
    let output = output(table.mask(original).unwrap());
    let mut originals = Originals::new(plan);
    originals.observe(table, original, &output);
    let canaries = Canaries::default();
    let mut scan = OutputScan::new(plan, &originals, &canaries);
    scan.scan(table, &output);
    verify(plan, &originals, &scan, &Evidence::default())
}

/// Judges the detectors over what `rule` made of eleven bare digits, with a real id in one of `each` rows.
fn detectors_over_ids(rule: &str, each: usize) -> Gate {
    let original = batch((0..20_000_u64).map(|n| format!("{:011}", 30_000_000_000 + n * 7)));
    let planted = |masked: RowBatch| {
        let rows = masked.rows().enumerate();
        batch(rows.map(|(n, row)| match n % each {
            1 => b"86095742719".to_vec(),
            _ => row.cell(0).bytes().unwrap().to_vec(),
        }))
    };
    let report = judged(&plan(rule), &original, planted);
    report.gate("detectors").unwrap().clone()
}

#[test]
fn ids_that_pass_for_national_ids_by_chance_are_told_apart_from_national_ids() {
    for rule in ["'fpe'", "'permute_id'"] {
        let gate = detectors_over_ids(rule, usize::MAX);
        assert_eq!(gate.verdict, Some(Verdict::Pass), "{rule} {gate:?}");
        let found = &gate.findings[0];
        let kind = "national_id, as often as chance makes them of ids";
        assert_eq!(found.kind, kind);
        assert!((20..300).contains(&found.count), "{found:?}");
        let gate = detectors_over_ids(rule, 20);
        assert_eq!(gate.verdict, Some(Verdict::Fail), "{rule}");
    }
    // What makes no ids is explained by no chance.
    let gate = detectors_over_ids("'hash'", usize::MAX);
    assert_eq!(
        (gate.verdict, gate.findings[0].count),
        (Some(Verdict::Fail), 1)
    );
}

#[test]
fn what_a_mask_did_not_make_is_searched_although_it_does_not_parse() {
    let plan = plan("{ mask = 'json', paths = { '$.m' = 'email', '$.k' = 'keep' } }");
    let document = batch([r#"{"m":"jo@webmail.de","k":1}"#]);
    for broken in ["jo@webmail.de", r#"{"m":"jo@webmail.de""#] {
        let report = judged(&plan, &document, |_| batch([broken]));
        for gate in ["value_reuse", "detectors"] {
            let verdict = report.gate(gate).unwrap().verdict;
            assert_eq!(verdict, Some(Verdict::Fail), "{gate} {broken}");
        }
    }
    let report = judged(&plan, &document, |masked| masked);
    let verdict = report.gate("value_reuse").unwrap().verdict;
    assert_eq!(verdict, Some(Verdict::Pass));
    let kept = &report.gate("coverage").unwrap().findings[..];
    assert_eq!(kept.len(), 1, "{kept:?}");
    assert_eq!(kept[0].kind, "kept inside its values: $.k");
}

#[test]
fn ids_that_all_stay_are_more_than_chance() {
    for rule in ["'permute_id'", "'fpe'"] {
        let plan = plan(rule);
        let verdict = |digits: usize, stay: bool| {
            let id = |n: usize| format!("{:0digits$}", n % 10_usize.pow(digits as u32));
            let original = batch((0..500).map(id));
            let output = |masked| if stay { original.clone() } else { masked };
            let report = judged(&plan, &original, output);
            report.gate("same_row_identity").unwrap().verdict
        };
        assert_eq!(verdict(8, true), Some(Verdict::Fail), "{rule}");
        assert_eq!(verdict(8, false), Some(Verdict::Pass), "{rule}");
        // Of ten ids some stay, and each of them in many rows.
        assert_eq!(verdict(1, false), Some(Verdict::Pass), "{rule}");
    }
}
