#![no_main]

use lifeboat_masking::{
    Cell, ColumnSchema, ColumnType, MaskKey, Plan, RowBatch, RuleSet, Sample, Schema, TableSchema,
    discover,
};

const RULES: &str = "version = 1\n[policy]\nkey = 'env:K'\n[table.t.columns]\nc = 'city'\n";

// A column with the fuzzer's text as its CHECK and as its value: nothing may panic, whatever is said, and
// what discovery proposes must be a rule file.
libfuzzer_sys::fuzz_target!(|text: &str| {
    let mut column = ColumnSchema::new("c", ColumnType::Text);
    column.checks.push(text.to_owned());
    let schema = Schema {
        tables: vec![TableSchema {
            name: "t".to_owned(),
            columns: vec![column],
            rows: None,
        }],
    };
    let (rules, _) = RuleSet::parse("r.toml", RULES).expect("these rules are right");
    let key = MaskKey::new(&[1; 32], "stable:fuzz").expect("32 bytes make a key");
    match Plan::compile(&rules, &schema, &key) {
        Ok((_, problems)) | Err(problems) => lifeboat_fuzz::show(&problems),
    }
    let mut sample = Sample::new(&schema);
    let mut batch = RowBatch::new(1, 0);
    batch.push_row([Cell::Text(text.as_bytes())]);
    sample.observe("t", &batch);
    let proposed = discover(&schema, &sample).rules();
    RuleSet::parse("proposed.toml", &proposed).unwrap_or_else(|problems| panic!("{problems}"));
});
