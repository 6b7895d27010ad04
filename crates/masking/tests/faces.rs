//! Text rows through the public API: what is kept stays byte for byte, what is masked is the same in
//! every format, and neither batches nor threads matter.

use std::sync::Arc;

use lifeboat_masking::{
    Canaries, Cell, ColumnSchema, ColumnType, CopyText, Csv, Evidence, IntegrityCheck, JsonLines,
    MaskKey, Originals, OutputScan, Plan, RowBatch, RuleSet, Schema, TableSchema, TextBatch,
    TextBatches, TextFormat, TextMasker, Unlisted, verify,
};
use lifeboat_model::Verdict;
use proptest::prelude::*;

const RULES: &str = "version = 1\n[policy]\nunlisted = 'error'\nkey = 'env:K'\n\
    [table.t]\nkeep = ['kept', 'plan']\n[table.t.columns]\n\
    id = { mask = 'permute_int', min = 0, max = 999999 }\n\
    email = [ { when = \"plan = 'demo'\", mask = 'keep', reason = 'shown in the docs' }, { mask = 'email' } ]\n\
    full = { mask = 'template', format = '{note}!' }\nnote = 'text'\n";

const NAMES: [&str; 6] = ["id", "kept", "email", "full", "note", "plan"];

fn plan() -> Arc<Plan> {
    let (rules, _) = RuleSet::parse("r.toml", RULES).unwrap_or_else(|error| panic!("{error}"));
    let columns = NAMES.map(|name| {
        let ty = if name == "id" {
            ColumnType::Integer
        } else {
            ColumnType::Text
        };
        ColumnSchema::new(name, ty)
    });
    let schema = Schema {
        tables: vec![TableSchema {
            name: "t".into(),
            columns: columns.to_vec(),
            rows: None,
        }],
    };
    let key = MaskKey::new(&[5; 32], "stable:test").unwrap();
    Arc::new(
        Plan::compile(&rules, &schema, &key)
            .unwrap_or_else(|problems| panic!("{problems}"))
            .0,
    )
}

fn masker(format: &str) -> TextMasker {
    let plan = plan();
    let format = match format {
        "copy" => TextFormat::CopyText(CopyText::new(NAMES.len())),
        "csv" => TextFormat::Csv(Csv::new(NAMES.len(), "")),
        _ => TextFormat::JsonLines(JsonLines::new(plan.table("t").unwrap(), Unlisted::Error)),
    };
    TextMasker::new(plan, "t", format).unwrap()
}

/// Cuts `bytes` into batches as chunks of `chunk` bytes come in.
fn cut(masker: &TextMasker, bytes: &[u8], chunk: usize) -> Vec<TextBatch> {
    let mut batches = TextBatches::new(masker.format().clone());
    let mut cut = Vec::new();
    for chunk in bytes.chunks(chunk) {
        cut.extend(batches.push(chunk).unwrap());
    }
    cut.extend(batches.finish());
    cut
}

fn masked(masker: &TextMasker, bytes: &[u8], chunk: usize) -> Result<Vec<u8>, String> {
    let masked = cut(masker, bytes, chunk)
        .iter()
        .map(|batch| masker.mask(batch).map(|masked| masked.bytes))
        .collect::<Result<Vec<_>, _>>();
    masked
        .map(|batches| batches.concat())
        .map_err(|error| error.to_string())
}

fn rows(masker: &TextMasker, bytes: Vec<u8>) -> Vec<Vec<Option<Vec<u8>>>> {
    let batch = TextBatch {
        bytes,
        ..TextBatch::default()
    };
    let read: RowBatch = masker.read(&batch).unwrap();
    let text = |cell: Cell<'_>| match cell {
        Cell::Integer(number) => Some(number.to_string().into_bytes()),
        cell => cell.bytes().map(<[u8]>::to_vec),
    };
    read.rows()
        .map(|row| row.cells().map(text).collect())
        .collect()
}

fn copy_line(cells: &[Option<String>; 6]) -> Vec<u8> {
    let mut line = Vec::new();
    for (n, cell) in cells.iter().enumerate() {
        if n > 0 {
            line.push(b'\t');
        }
        match cell {
            None => line.extend_from_slice(b"\\N"),
            Some(text) => CopyText::encode(text.as_bytes(), &mut line),
        }
    }
    line.push(b'\n');
    line
}

fn csv_line(cells: &[Option<String>; 6]) -> Vec<u8> {
    let quoted = |cell: &Option<String>| match cell {
        None => String::new(),
        Some(text) => format!("\"{}\"", text.replace('"', "\"\"")),
    };
    let mut line = cells.each_ref().map(quoted).join(",");
    line.push('\n');
    line.into_bytes()
}

fn json_line(cells: &[Option<String>; 6]) -> Vec<u8> {
    let members = NAMES.iter().zip(cells).map(|(name, cell)| {
        let value = match cell {
            Some(text) if *name == "id" => text.parse::<i64>().unwrap().into(),
            Some(text) => serde_json::Value::from(text.clone()),
            None => serde_json::Value::Null,
        };
        ((*name).to_owned(), value)
    });
    let mut line = serde_json::Value::Object(members.collect()).to_string();
    line.push('\n');
    line.into_bytes()
}

type WriteLine = fn(&[Option<String>; 6]) -> Vec<u8>;

fn any_row() -> impl Strategy<Value = [Option<String>; 6]> {
    let text = || proptest::option::of(any::<String>());
    let plan = prop_oneof![Just(Some("demo".to_owned())), Just(None)];
    (0_u32..1_000_000, text(), text(), text(), text(), plan).prop_map(
        |(id, kept, email, full, note, plan)| [Some(id.to_string()), kept, email, full, note, plan],
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn all_formats_mask_alike_and_keep_what_is_kept(
        table in proptest::collection::vec(any_row(), 1..8),
        chunk in 1_usize..64,
    ) {
        let formats: [(&str, WriteLine); 3] =
            [("copy", copy_line), ("csv", csv_line), ("json", json_line)];
        let mut first: Option<Vec<_>> = None;
        for (name, line) in formats {
            let masker = masker(name);
            let bytes: Vec<u8> = table.iter().flat_map(line).collect();
            let out = masked(&masker, &bytes, chunk).unwrap();
            prop_assert_eq!(&out, &masked(&masker, &bytes, bytes.len()).unwrap());
            let read = rows(&masker, out);
            prop_assert_eq!(read.len(), table.len());
            for (before, after) in table.iter().zip(&read) {
                let before = before.each_ref().map(|cell| cell.as_ref().map(|text| text.clone().into_bytes()));
                prop_assert_eq!(&before[1], &after[1]);
                prop_assert_eq!(&before[5], &after[5]);
                if before[5].is_some() {
                    prop_assert_eq!(&before[2], &after[2]);
                } else if before[2].as_ref().is_some_and(|text| !text.is_empty()) {
                    prop_assert!(after[2].as_ref().unwrap().windows(9).any(|part| part == b"@example."));
                }
            }
            match &first {
                None => first = Some(read),
                Some(first) => prop_assert_eq!(first, &read, "{}", name),
            }
        }
    }

    #[test]
    fn bytes_of_any_kind_are_masked_or_refused_and_never_printed(
        bytes in proptest::collection::vec(prop_oneof![Just(b'\t'), Just(b'\n'), Just(b','), Just(b'"'), Just(b'\\'), any::<u8>()], 0..200),
    ) {
        for name in ["copy", "csv", "json"] {
            if let Err(error) = masked(&masker(name), &bytes, 16) {
                prop_assert!(error.starts_with("failed to mask `t."), "{}", error);
            }
        }
    }
}

#[test]
fn the_number_of_threads_and_the_size_of_chunks_do_not_matter() {
    let masker = masker("copy");
    let mut bytes = Vec::new();
    for n in 0..40_000_u32 {
        let text = |text: String| Some(text);
        bytes.extend(copy_line(&[
            text(n.to_string()),
            text(format!("kept\t{n}")),
            text(format!("maria{n}@webmail.de")),
            text(format!("Maria {n}")),
            text(format!("Maria called about {n}, twice.")),
            None,
        ]));
    }
    let whole = cut(&masker, &bytes, bytes.len());
    let small = cut(&masker, &bytes, 997);
    assert!(small.len() > 2, "{}", small.len());
    assert_eq!(small.iter().map(|batch| batch.rows).sum::<u64>(), 40_000);
    let mut outputs = Vec::new();
    for (batches, threads) in [(&whole, 1), (&small, 1), (&small, 3)] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
        let pool = pool.build().unwrap();
        let plan = plan();
        let mut originals = Originals::new(&plan);
        let masked = pool.install(|| masker.mask_all(batches, &mut originals).unwrap());
        let remembered = originals.len();
        // Addresses and notes; what templates replaced is not looked for.
        assert_eq!(remembered, 80_000);
        let canaries = Canaries::default();
        let mut scan = OutputScan::new(&plan, &originals, &canaries);
        pool.install(|| masker.scan_all(&masked, &mut scan).unwrap());
        let evidence = Evidence {
            source_rows: [("t".to_owned(), 40_000)].into(),
            integrity: vec![IntegrityCheck {
                name: "none".into(),
                verdict: Verdict::Pass,
            }],
            is_keyless: false,
            tool_version: "1".into(),
            output_hash: Some("00".into()),
        };
        let report = verify(&plan, &originals, &scan, &evidence);
        assert_eq!(report.verdict(), Verdict::Pass, "{report:#?}");
        let bytes: Vec<u8> = masked.into_iter().flat_map(|batch| batch.bytes).collect();
        outputs.push((bytes, remembered));
    }
    assert!(outputs.windows(2).all(|pair| pair[0] == pair[1]));
}

#[test]
fn an_original_anywhere_in_the_output_is_found() {
    let masker = masker("csv");
    let row = |note: &str| format!("7,fine,maria.schmidt@webmail.de,,{note},\n").into_bytes();
    let plan = plan();
    let mut originals = Originals::new(&plan);
    let batch = |bytes| TextBatch {
        bytes,
        ..TextBatch::default()
    };
    let input = [batch(row("She called."))];
    masker.mask_all(&input, &mut originals).unwrap();
    let canaries = Canaries::default();
    for (note, leaks) in [
        ("nothing here at all", false),
        ("it says MARIA.SCHMIDT@webmail.de somewhere", true),
    ] {
        let mut scan = OutputScan::new(&plan, &originals, &canaries);
        let output = format!("7,fine,x@example.com,,{note},\n").into_bytes();
        masker.scan_all(&[batch(output)], &mut scan).unwrap();
        let report = verify(&plan, &originals, &scan, &Evidence::default());
        let gate = report.gate("value_reuse").unwrap();
        let failed = gate.verdict == Some(Verdict::Fail);
        assert_eq!(failed, leaks, "{note}: {gate:#?}");
        if leaks {
            assert_eq!(gate.findings[0].kind, "value of t.email");
            assert_eq!(gate.findings[0].column, "note");
        }
    }
}
