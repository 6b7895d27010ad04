//! The masking engine on rows of a webshop's customers: bytes in, bytes out, no database.
//!
//! `cargo bench -p lifeboat-masking`

use std::ops::Range;
use std::sync::Arc;

use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};
use lifeboat_masking::{
    Canaries, Cell, ColumnSchema, ColumnType, CopyText, Csv, JsonLines, MaskKey, Originals,
    OutputScan, Plan, RowBatch, RuleSet, Schema, TableSchema, TextBatch, TextBatches, TextFormat,
    TextMasker, Unlisted,
};

/// Two batches: little enough that a sample may run undisturbed on a machine that is not.
const ROWS: usize = 7_000;

const HEAD: &str = "version = 1\n[policy]\nunlisted = 'error'\nkey = 'env:MASK_KEY'\n";

/// Six of fifteen columns.
const SIX: &str = r#"
[table.customers]
keep = ["country", "created_at", "plan", "score"]
[table.customers.columns]
id = { mask = "permute_int", min = 1, max = 999999999 }
email = { mask = "email", unique = true }
full_name = { mask = "name" }
phone = { mask = "phone", keep_country = true }
city = { mask = "city" }
iban = { mask = "iban" }
street = { mask = "keep", reason = "the benchmark masks six columns" }
postcode = { mask = "keep", reason = "see street" }
ip = { mask = "keep", reason = "see street" }
notes = { mask = "keep", reason = "see street" }
payload = "keep"
"#;

const COLUMNS: [(&str, ColumnType); 15] = [
    ("id", ColumnType::Integer),
    ("email", ColumnType::Text),
    ("full_name", ColumnType::Text),
    ("phone", ColumnType::Text),
    ("street", ColumnType::Text),
    ("city", ColumnType::Text),
    ("postcode", ColumnType::Text),
    ("country", ColumnType::Text),
    ("iban", ColumnType::Text),
    ("created_at", ColumnType::Text),
    ("plan", ColumnType::Text),
    ("score", ColumnType::Integer),
    ("ip", ColumnType::Text),
    ("notes", ColumnType::Text),
    ("payload", ColumnType::Text),
];

fn main() {
    divan::main();
}

/// COPY text taken apart and copied through: no column is masked.
#[divan::bench(sample_count = 20, sample_size = 1)]
fn copy_through(bencher: Bencher) {
    text(bencher, Form::Copy, &keep_all(), 1);
}

/// Six of fifteen columns of COPY text, on this many threads.
#[divan::bench(args = [1, 2], sample_count = 20, sample_size = 1)]
fn copy_mask(bencher: Bencher, threads: usize) {
    text(bencher, Form::Copy, SIX, threads);
}

/// The same as CSV.
#[divan::bench(args = [1, 2], sample_count = 10, sample_size = 1)]
fn csv_mask(bencher: Bencher, threads: usize) {
    text(bencher, Form::Csv, SIX, threads);
}

/// The same as JSON Lines.
#[divan::bench(args = [1, 2], sample_count = 10, sample_size = 1)]
fn json_lines_mask(bencher: Bencher, threads: usize) {
    text(bencher, Form::JsonLines, SIX, threads);
}

/// Masking and remembering every original value for the leak search.
#[divan::bench(args = [1, 2], sample_count = 10, sample_size = 1)]
fn copy_mask_and_remember(bencher: Bencher, threads: usize) {
    let masker = masker(Form::Copy, SIX);
    let plan = plan(SIX);
    let batches = batches(Form::Copy, &masker);
    counted(bencher, &batches).bench_local(|| {
        pool(threads).install(|| {
            let mut originals = Originals::new(&plan);
            masker.mask_all(&batches, &mut originals).unwrap();
            originals
        })
    });
}

/// Reading the masked copy back and looking for originals and for what detectors know.
#[divan::bench(args = [1, 2], sample_count = 10, sample_size = 1)]
fn copy_look_for_leaks(bencher: Bencher, threads: usize) {
    let masker = masker(Form::Copy, SIX);
    let plan = plan(SIX);
    let pool = pool(threads);
    let mut originals = Originals::new(&plan);
    let batches = batches(Form::Copy, &masker);
    let masked = pool.install(|| masker.mask_all(&batches, &mut originals).unwrap());
    let canaries = Canaries::default();
    counted(bencher, &batches).bench_local(|| {
        let mut scan = OutputScan::new(&plan, &originals, &canaries);
        pool.install(|| masker.scan_all(&masked, &mut scan).unwrap());
    });
}

/// The same among the originals of 700,000 rows, which no cache holds.
#[divan::bench(args = [1, 2], sample_count = 10, sample_size = 1)]
fn copy_look_for_leaks_among_many(bencher: Bencher, threads: usize) {
    let masker = masker(Form::Copy, SIX);
    let plan = plan(SIX);
    let pool = pool(threads);
    let mut originals = Originals::new(&plan);
    let batches = batches_from(Form::Copy, &masker, 0..ROWS);
    let masked = pool.install(|| masker.mask_all(&batches, &mut originals).unwrap());
    for part in 1..100 {
        let others = batches_from(Form::Copy, &masker, part * ROWS..(part + 1) * ROWS);
        pool.install(|| masker.mask_all(&others, &mut originals).unwrap());
    }
    let canaries = Canaries::default();
    counted(bencher, &batches).bench_local(|| {
        let mut scan = OutputScan::new(&plan, &originals, &canaries);
        pool.install(|| masker.scan_all(&masked, &mut scan).unwrap());
    });
}

/// Six of fifteen columns of typed cells, as databases without a text form give them.
#[divan::bench(args = [1, 2], sample_count = 10, sample_size = 1)]
fn cells_mask(bencher: Bencher, threads: usize) {
    let plan = plan(SIX);
    let table = plan.table("customers").unwrap();
    let masker = masker(Form::Copy, SIX);
    let text = batches(Form::Copy, &masker);
    let pool = pool(threads);
    counted(bencher, &text)
        .with_inputs(|| -> Vec<RowBatch> {
            text.iter()
                .map(|batch| masker.read(batch).unwrap())
                .collect()
        })
        .bench_local_values(|batches| pool.install(|| table.mask_all(batches).unwrap()));
}

/// One column with one mask and one value each: the cost of a value.
#[divan::bench(args = VALUES.iter().map(|(rule, _)| *rule), sample_count = 10, sample_size = 1)]
fn value(bencher: Bencher, rule: &str) {
    let (_, make) = VALUES.iter().find(|(other, _)| *other == rule).unwrap();
    let rules = format!(
        "{HEAD}[table.t.columns]\nv = {rule}\nsubject = {{ mask = 'keep', reason = 'a number' }}\n"
    );
    let (rules, _) = RuleSet::parse("bench.toml", &rules).unwrap();
    let columns = vec![
        ColumnSchema::new("v", ColumnType::Any),
        ColumnSchema::new("subject", ColumnType::Integer),
    ];
    let schema = Schema {
        tables: vec![TableSchema {
            name: "t".to_owned(),
            columns,
            rows: None,
        }],
    };
    let key = MaskKey::new(&[7; 32], "stable:bench").unwrap();
    let plan = Plan::compile(&rules, &schema, &key).unwrap().0;
    let table = plan.table("t").unwrap();
    let mut batch = RowBatch::new(2, 0);
    for n in 0..10_000_i64 {
        match make(n) {
            Value::Integer(number) => batch.push_row([Cell::Integer(number), Cell::Integer(n)]),
            Value::Real(number) => batch.push_row([Cell::Real(number), Cell::Integer(n)]),
            Value::Text(text) => batch.push_row([Cell::Text(text.as_bytes()), Cell::Integer(n)]),
        }
    }
    bencher
        .counter(ItemsCount::new(batch.len()))
        .bench_local(|| table.mask(&batch).unwrap());
}

enum Value {
    Integer(i64),
    Real(f64),
    Text(String),
}

type Make = fn(i64) -> Value;

/// Rules and values for them.
const VALUES: &[(&str, Make)] = &[
    ("{ mask = 'keep', reason = 'the floor' }", |n| {
        Value::Text(format!("value {n}"))
    }),
    ("'null'", |n| Value::Text(format!("value {n}"))),
    ("'redact'", |n| Value::Text(format!("value {n}"))),
    ("{ mask = 'dict', values = ['a', 'b'] }", |n| {
        Value::Text(format!("value {n}"))
    }),
    ("'hash'", |n| Value::Text(format!("token{n}"))),
    ("'uuid'", |n| {
        Value::Text(format!("6f1c2a9e-0b7d-4f57-9d3c-{n:012}"))
    }),
    ("'random'", |n| Value::Text(format!("token{n}"))),
    ("{ mask = 'permute_int', min = 1, max = 999999999 }", |n| {
        Value::Integer(n + 1)
    }),
    ("'permute_id'", |n| Value::Text(format!("ORD-{n:08}"))),
    ("'fpe'", |n| Value::Text(format!("4711-{n:08}"))),
    ("{ mask = 'national_id', country = 'de' }", |n| {
        Value::Text(format!("860957{n:05}"))
    }),
    ("{ mask = 'geo', radius_km = 20 }", |n| {
        Value::Real(n as f64 / 1000.0 + 40.0)
    }),
    ("{ mask = 'array', items = 'email' }", |n| {
        Value::Text(format!("{{maria{n}@web.de,jo{n}@web.de}}"))
    }),
    (
        "{ mask = 'hstore', keys = { mail = 'email', size = 'keep' } }",
        |n| Value::Text(format!("\"mail\"=>\"maria{n}@web.de\", \"size\"=>\"7\"")),
    ),
    ("{ mask = 'composite', fields = ['name', 'keep'] }", |n| {
        Value::Text(format!("(\"Maria Schmidt {n}\",7)"))
    }),
    ("'email'", |n| {
        Value::Text(format!("maria.schmidt{n}@webmail.de"))
    }),
    ("'phone'", |n| Value::Text(format!("+49 30 {n:07}"))),
    ("'name'", |n| Value::Text(format!("Maria Schmidt {n}"))),
    ("{ mask = 'person', by = 'subject' }", |n| {
        Value::Text(format!("Maria Schmidt {n}"))
    }),
    ("'company'", |n| Value::Text(format!("Schmidt & Sons {n}"))),
    ("'address'", |n| Value::Text(format!("Hauptstrasse {n}"))),
    ("'city'", |n| Value::Text(format!("Bielefeld {n}"))),
    ("'postcode'", |n| Value::Text(format!("{n:05}"))),
    ("'card'", |n| {
        Value::Text(format!("4532 0151 {:04} {n:04}", n % 97))
    }),
    ("'iban'", |n| Value::Text(format!("DE89370400440532{n:06}"))),
    ("'ssn'", |n| Value::Text(format!("123-45-{n:04}"))),
    ("'ip'", |n| {
        Value::Text(format!("10.1.{}.{}", n / 250, n % 250))
    }),
    ("'mac'", |n| {
        Value::Text(format!("3c:22:fb:01:{:02x}:{:02x}", n / 250, n % 250))
    }),
    ("'url'", |n| {
        Value::Text(format!("https://shop.example.de/u/{n}"))
    }),
    ("{ mask = 'noise', ratio = 0.1 }", |n| {
        Value::Real(n as f64 * 1.5)
    }),
    ("{ mask = 'bucket', size = 10 }", Value::Integer),
    ("'generalize'", |n| Value::Text(format!("{n:05}"))),
    ("'shift_date'", |n| {
        Value::Text(format!("19{:02}-05-12", n % 90 + 10))
    }),
    ("'text'", |n| {
        Value::Text(format!("Maria called about order {n}, she wants a refund."))
    }),
    ("{ mask = 'text', on_hit = 'redact' }", |n| {
        Value::Text(format!(
            "Maria called about order {n}, mail maria{n}@web.de."
        ))
    }),
    (
        "{ mask = 'json', paths = { '$.mail' = 'email', '$.tags[*]' = 'keep' } }",
        |n| {
            Value::Text(format!(
                "{{\"mail\":\"maria{n}@web.de\",\"tags\":[\"vip\"]}}"
            ))
        },
    ),
];

#[derive(Clone, Copy)]
enum Form {
    Copy,
    Csv,
    JsonLines,
}

fn text(bencher: Bencher, form: Form, rules: &str, threads: usize) {
    let masker = masker(form, rules);
    let batches = batches(form, &masker);
    let pool = pool(threads);
    counted(bencher, &batches).bench_local(|| {
        use rayon::prelude::*;
        pool.install(|| {
            batches
                .par_iter()
                .map(|batch| masker.mask(batch).unwrap().rows)
                .sum::<u64>()
        })
    });
}

fn counted<'a, 'b>(bencher: Bencher<'a, 'b>, batches: &[TextBatch]) -> Bencher<'a, 'b> {
    let bytes: usize = batches.iter().map(|batch| batch.bytes.len()).sum();
    bencher
        .counter(ItemsCount::new(ROWS))
        .counter(BytesCount::new(bytes))
}

fn pool(threads: usize) -> rayon::ThreadPool {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
    pool.build().unwrap()
}

fn keep_all() -> String {
    let kept = COLUMNS.map(|(name, _)| format!("{name} = {{ mask = 'keep', reason = 'all' }}\n"));
    format!("[table.customers.columns]\n{}", kept.concat())
}

fn plan(rules: &str) -> Plan {
    let (rules, _) = RuleSet::parse("bench.toml", &format!("{HEAD}{rules}")).unwrap();
    let columns = COLUMNS
        .map(|(name, ty)| ColumnSchema::new(name, ty))
        .to_vec();
    let rows = Some(ROWS as u64);
    let schema = Schema {
        tables: vec![TableSchema {
            name: "customers".to_owned(),
            columns,
            rows,
        }],
    };
    let key = MaskKey::new(&[7; 32], "stable:bench").unwrap();
    Plan::compile(&rules, &schema, &key).unwrap().0
}

fn masker(form: Form, rules: &str) -> TextMasker {
    let plan = plan(rules);
    let table = plan.table("customers").unwrap();
    let format = match form {
        Form::Copy => TextFormat::CopyText(CopyText::new(COLUMNS.len())),
        Form::Csv => TextFormat::Csv(Csv::new(COLUMNS.len(), "")),
        Form::JsonLines => TextFormat::JsonLines(JsonLines::new(table, Unlisted::Error)),
    };
    TextMasker::new(Arc::new(plan), "customers", format).unwrap()
}

fn batches(form: Form, masker: &TextMasker) -> Vec<TextBatch> {
    batches_from(form, masker, 0..ROWS)
}

fn batches_from(form: Form, masker: &TextMasker, rows: Range<usize>) -> Vec<TextBatch> {
    let mut gather = TextBatches::new(masker.format().clone());
    let mut batches = Vec::new();
    for row in rows {
        let cells = cells(row);
        let line = match form {
            Form::Copy => cells.join("\t"),
            Form::Csv => cells.map(|cell| csv_field(&cell)).join(","),
            Form::JsonLines => {
                let members: serde_json::Map<_, _> = COLUMNS
                    .iter()
                    .zip(cells)
                    .map(|((name, _), cell)| ((*name).to_owned(), cell.into()))
                    .collect();
                serde_json::Value::from(members).to_string()
            }
        };
        batches.extend(gather.push(line.as_bytes()).unwrap());
        batches.extend(gather.push(b"\n").unwrap());
    }
    batches.extend(gather.finish());
    batches
}

fn csv_field(cell: &str) -> String {
    if cell.contains(['"', ',']) {
        format!("\"{}\"", cell.replace('"', "\"\""))
    } else {
        cell.to_owned()
    }
}

fn cells(row: usize) -> [String; 15] {
    let first = pick(&["Maria", "Jonas", "Elif", "Pavel", "Ines", "Aurelia"], row);
    let last = pick(
        &["Schmidt", "Oliveira", "Nowak", "Lindqvist", "Brandt"],
        row / 7,
    );
    [
        (row + 1).to_string(),
        format!("{first}.{last}{row}@nordlicht-versand.de").to_lowercase(),
        format!("{first} {} {last}", char::from(b'A' + (row % 26) as u8)),
        format!("+49 30 {:07}", row * 37 % 10_000_000),
        format!("{} {}", pick(&STREETS, row / 3), row % 199 + 1),
        pick(&CITIES, row * 5).to_owned(),
        format!("{:05}", row % 90_000 + 10_000),
        "DE".to_owned(),
        format!("DE{:02}5001051754073{:05}", row % 90 + 10, row % 100_000),
        format!(
            "2026-01-{:02} {:02}:{:02}:05.678901+00",
            row % 28 + 1,
            row / 60 % 24,
            row % 60
        ),
        pick(&["basic", "plus", "business"], row / 2).to_owned(),
        (row % 100).to_string(),
        format!("10.{}.{}.17", row % 200, row % 250),
        note(row),
        format!(
            "{{\"cart\": {}, \"theme\": \"dark\", \"locale\": \"de\"}}",
            row % 9
        ),
    ]
}

fn pick<'a>(values: &[&'a str], row: usize) -> &'a str {
    values[row % values.len()]
}

/// Ten or eleven words that no two rows have alike.
fn note(row: usize) -> String {
    let mut seed = row as u64;
    let mut words: Vec<&str> = (0..10)
        .map(|_| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            NOTES[(seed >> 33) as usize % NOTES.len()]
        })
        .collect();
    words.insert(row % 10, "the");
    format!("{}.", words.join(" "))
}

const STREETS: [&str; 4] = ["Hauptstrasse", "Am Markt", "Lindenallee", "Rua das Flores"];

const CITIES: [&str; 7] = [
    "Hamburg",
    "Porto",
    "Gdansk",
    "Bielefeld",
    "Lyon",
    "Uppsala",
    "Freiburg im Breisgau",
];

const NOTES: [&str; 24] = [
    "called",
    "twice",
    "about",
    "delivery",
    "and",
    "asked",
    "for",
    "later",
    "date",
    "refund",
    "order",
    "wants",
    "another",
    "colour",
    "parcel",
    "neighbour",
    "invoice",
    "missing",
    "was",
    "sent",
    "again",
    "broken",
    "handle",
    "thanked",
];
