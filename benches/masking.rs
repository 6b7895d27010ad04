//! The masking engine on rows of a webshop's customers: bytes in, bytes out, no database.
//!
//! `cargo bench --bench masking`

use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};
use lifeboat_masking::{
    Cell, ColumnSchema, ColumnType, MaskKey, Originals, Plan, RowBatch, RuleSet, Schema,
    TableSchema,
};

const ROWS: usize = 100_000;

const RULES: &str = r#"
version = 1
[policy]
unlisted = "error"
key = "env:MASK_KEY"
scope = "snapshot"
[table.customers]
keep = ["country", "created_at", "plan", "score"]
[table.customers.columns]
id = { mask = "permute_int", min = 1, max = 999999999 }
email = { mask = "email", unique = true }
full_name = { mask = "name" }
phone = { mask = "phone", keep_country = true }
city = { mask = "city" }
iban = { mask = "iban" }
"#;

const COLUMNS: [(&str, ColumnType); 10] = [
    ("id", ColumnType::Integer),
    ("email", ColumnType::Text),
    ("full_name", ColumnType::Text),
    ("phone", ColumnType::Text),
    ("city", ColumnType::Text),
    ("iban", ColumnType::Text),
    ("country", ColumnType::Text),
    ("created_at", ColumnType::Text),
    ("plan", ColumnType::Text),
    ("score", ColumnType::Integer),
];

fn main() {
    divan::main();
}

/// Six of ten columns masked, on this many threads.
#[divan::bench(args = [1, 2], sample_count = 10, sample_size = 1)]
fn mask(bencher: Bencher, threads: usize) {
    let plan = plan();
    let table = plan.table("customers").unwrap();
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .unwrap();
    bencher
        .counter(ItemsCount::new(ROWS))
        .counter(BytesCount::new(bytes()))
        .with_inputs(batches)
        .bench_local_values(|batches| pool.install(|| table.mask_all(batches).unwrap()));
}

/// Remembering every original value for the leak search.
#[divan::bench(sample_count = 10, sample_size = 1)]
fn remember_originals(bencher: Bencher) {
    let plan = plan();
    let table = plan.table("customers").unwrap();
    let masked = table.mask_all(batches()).unwrap();
    let pairs: Vec<(RowBatch, RowBatch)> = batches().into_iter().zip(masked).collect();
    bencher.counter(ItemsCount::new(ROWS)).bench_local(|| {
        let mut originals = Originals::new(&plan);
        originals.observe_all(&plan, table, &pairs);
        originals
    });
}

fn plan() -> Plan {
    let (rules, _) = RuleSet::parse("bench.toml", RULES).unwrap();
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

fn batches() -> Vec<RowBatch> {
    let mut batches = vec![RowBatch::new(COLUMNS.len(), 0)];
    for row in 0..ROWS {
        if batches.last().is_some_and(RowBatch::is_full) {
            batches.push(RowBatch::new(COLUMNS.len(), row as u64));
        }
        let id = row as i64 + 1;
        let texts = texts(row);
        let mut cells = vec![Cell::Integer(id)];
        cells.extend(texts.iter().map(|text| Cell::Text(text.as_bytes())));
        cells.push(Cell::Integer(id % 100));
        batches.last_mut().unwrap().push_row(cells);
    }
    batches
}

fn texts(row: usize) -> [String; 8] {
    [
        format!("maria.schmidt{row}@nordlicht-versand.de"),
        format!("Maria {} Schmidt", char::from(b'A' + (row % 26) as u8)),
        format!("+49 30 {:07}", row * 37 % 10_000_000),
        "Hamburg".to_owned(),
        format!("DE{:02}5001051754073{:05}", row % 90 + 10, row % 100_000),
        "DE".to_owned(),
        "2026-01-02T03:04:05Z".to_owned(),
        "basic".to_owned(),
    ]
}

fn bytes() -> usize {
    (0..ROWS)
        .map(|row| texts(row).iter().map(String::len).sum::<usize>() + 16)
        .sum()
}
