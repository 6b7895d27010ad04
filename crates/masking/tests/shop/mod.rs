//! A web shop in memory: schema, rows and the shipped rules.

#![allow(dead_code, reason = "each test program uses its part")]

use lifeboat_masking::{
    Cell, ColumnSchema, ColumnType, MaskKey, Plan, RowBatch, RuleSet, Schema, TableSchema,
};

pub(crate) const RULES: &str = include_str!("../../../../masking-rules/webshop.toml");
pub(crate) const TABLES: [&str; 5] = [
    "customers",
    "orders",
    "payments",
    "support_notes",
    "heartbeat",
];

pub(crate) fn key() -> MaskKey {
    MaskKey::new(&[9; 32], "snapshot:test").unwrap()
}

pub(crate) fn plan() -> Plan {
    let (rules, _) = RuleSet::parse("webshop.toml", RULES).unwrap();
    Plan::compile(&rules, &schema(), &key()).unwrap().0
}

pub(crate) fn schema() -> Schema {
    let mut customers = table(
        "customers",
        "id:i email full_name phone street city postcode country birth_date iban created_at profile",
        None,
    );
    customers.columns[1].unique = true;
    Schema {
        tables: vec![
            customers,
            table(
                "orders",
                "id:i customer_id:i status total_cents:i currency placed_at shipping_address shipping_name",
                Some("customers"),
            ),
            table(
                "payments",
                "id:i order_id:i method card_number card_holder amount_cents:i paid_at",
                Some("orders"),
            ),
            table(
                "support_notes",
                "id:i customer_id:i author body created_at",
                Some("customers"),
            ),
            table("heartbeat", "id:i at", None),
        ],
    }
}

fn table(name: &str, columns: &str, parent: Option<&str>) -> TableSchema {
    let mut columns: Vec<_> = columns
        .split(' ')
        .map(|column| match column.strip_suffix(":i") {
            Some(name) => ColumnSchema::new(name, ColumnType::Integer),
            None => ColumnSchema::new(column, ColumnType::Text),
        })
        .collect();
    columns[0].primary_key = true;
    if let Some(parent) = parent {
        columns[1].references = Some((parent.to_owned(), "id".to_owned()));
    }
    TableSchema {
        name: name.to_owned(),
        columns,
        rows: Some(1000),
    }
}

/// Rows of production, `n` of them; row `k` of each table belongs to the same person.
pub(crate) fn batch(table: &str, n: i64) -> RowBatch {
    let columns = schema().table(table).unwrap().columns.len();
    let mut batch = RowBatch::new(columns, 0);
    for k in 1..=n {
        let texts = texts(table, k);
        batch.push_row(texts.iter().map(|text| match text {
            Field::Integer(number) => Cell::Integer(*number),
            Field::Text(text) => Cell::Text(text.as_bytes()),
        }));
    }
    batch
}

pub(crate) enum Field {
    Integer(i64),
    Text(String),
}

pub(crate) fn full_name(k: i64) -> String {
    let first = ["Maria", "Jürgen", "Peter", "Sabine"][k as usize % 4];
    let last = ["Schmidt", "Kowalczyk", "O'Brien"][k as usize % 3];
    format!("{first} {last}-{k:04}")
}

pub(crate) fn email(k: i64) -> String {
    format!("maria.schmidt{k}@webmail.de")
}

pub(crate) fn phone(k: i64) -> String {
    format!("+49 171 {:07}", 2_345_678 + k)
}

fn card(k: i64) -> String {
    let body = format!("45320151{k:07}");
    let sum: u32 = body
        .bytes()
        .rev()
        .enumerate()
        .map(|(n, digit)| {
            let value = u32::from(digit - b'0') * if n % 2 == 0 { 2 } else { 1 };
            value / 10 + value % 10
        })
        .sum();
    format!("{body}{}", (10 - sum % 10) % 10)
}

fn texts(table: &str, k: i64) -> Vec<Field> {
    use Field::Integer as I;
    let t = |text: &str| Field::Text(text.to_owned());
    let s = Field::Text;
    match table {
        "customers" => vec![
            I(k),
            s(email(k)),
            s(full_name(k)),
            s(phone(k)),
            s(format!("Hauptstraße {k}")),
            t("Bielefeld"),
            s(format!("{:05}", 10_115 + k)),
            t("Germany"),
            s(format!("1984-05-{:02}", 1 + k % 28)),
            s(format!("DE8937040044{k:010}")),
            t("2024-05-12 10:33:22"),
            s(format!(
                r#"{{"contact":{{"email":"{}","phone":"{}"}},"newsletter":true,"tags":["vip","eu"]}}"#,
                email(k),
                phone(k)
            )),
        ],
        "orders" => vec![
            I(1000 + k),
            I(k),
            t("paid"),
            I(1299 * k),
            t("EUR"),
            t("2024-06-01 09:00:00"),
            s(format!("Hauptstraße {k}, {:05} Bielefeld", 10_115 + k)),
            s(full_name(k)),
        ],
        "payments" => vec![
            I(k),
            I(1000 + k),
            t("card"),
            s(card(k)),
            s(full_name(k)),
            I(1299 * k),
            t("2024-06-01 09:00:05"),
        ],
        "heartbeat" => vec![I(k), t("2024-06-02 12:00:00")],
        _ => vec![
            I(k),
            I(k),
            s(full_name(k + 5000)),
            s(format!(
                "{} called from {} and asked to write to {}",
                full_name(k),
                phone(k),
                email(k)
            )),
            t("2024-06-02 12:00:00"),
        ],
    }
}
