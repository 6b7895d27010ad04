//! Which masks are refused for which types of a strictly typed database, before a row is read.

use lifeboat_masking::{
    ColumnSchema, ColumnType, MaskKey, Plan, RuleSet, Schema, TableSchema, ValueForm,
};

const HEAD: &str = "version = 1\n[policy]\nunlisted = 'error'\nkey = 'env:K'\n";

/// Every mask, with options, and the types besides `text` whose columns it may stand for. Values that
/// have digits between signs may come out of `phone` or `fpe` as others of the kind: that is no misfit,
/// if seldom meant.
const FITS: &[(&str, &str)] = &[
    (
        "'null'",
        "smallint integer bigint float8 numeric boolean date time timestamptz interval uuid inet macaddr jsonb point text[] inet[] hstore composite int4range bytea",
    ),
    ("'redact'", ""),
    (
        "{ mask = 'const', value = 7 }",
        "smallint integer bigint float8 numeric interval",
    ),
    (
        "{ mask = 'const', value = 70000 }",
        "integer bigint float8 numeric interval",
    ),
    ("{ mask = 'const', value = 'x' }", ""),
    ("{ mask = 'const', value = 'f' }", "boolean"),
    ("{ mask = 'const', value = '10.1.2.3' }", "inet"),
    (
        "{ mask = 'const', value = '{}' }",
        "jsonb text[] inet[] int4range",
    ),
    (
        "{ mask = 'dict', values = ['2024-05-31', '2023-02-28'] }",
        "date timestamptz",
    ),
    (
        "{ mask = 'dict', values = ['2024-05-31', '31.05.2024'] }",
        "",
    ),
    ("'hash'", "uuid"),
    ("{ mask = 'hash', length = 8 }", ""),
    ("'uuid'", "uuid"),
    ("'random'", "uuid"),
    (
        "{ mask = 'permute_int', min = 1, max = 9999 }",
        "smallint integer bigint numeric",
    ),
    (
        "{ mask = 'permute_int', min = 1, max = 999999999 }",
        "integer bigint numeric",
    ),
    ("'permute_int'", "bigint numeric"),
    (
        "'permute_id'",
        "numeric uuid macaddr point text[] hstore composite int4range",
    ),
    (
        "'fpe'",
        "numeric uuid macaddr point text[] hstore composite int4range",
    ),
    (
        "{ mask = 'noise', ratio = 0.5 }",
        "smallint integer bigint float8 numeric",
    ),
    (
        "{ mask = 'bucket', size = 10 }",
        "smallint integer bigint float8 numeric",
    ),
    ("'generalize'", ""),
    ("'email'", ""),
    ("'phone'", "numeric point text[] hstore composite int4range"),
    ("'name'", ""),
    ("{ mask = 'person', by = 'id' }", ""),
    ("'company'", ""),
    ("'address'", ""),
    ("'city'", ""),
    (
        "'postcode'",
        "numeric point text[] hstore composite int4range",
    ),
    ("'card'", "numeric interval macaddr jsonb"),
    ("'iban'", ""),
    ("'ssn'", ""),
    (
        "{ mask = 'national_id', country = 'de' }",
        "numeric interval",
    ),
    ("'ip'", "inet"),
    ("'mac'", "macaddr"),
    ("'url'", ""),
    ("'geo'", "float8 numeric point composite"),
    ("'shift_date'", "integer bigint numeric date timestamptz"),
    (
        "{ mask = 'shift_date', format = 'DD.MM.YYYY' }",
        "integer bigint",
    ),
    ("'text'", ""),
    (
        "{ mask = 'text', on_hit = 'domain' }",
        "numeric boolean date time timestamptz interval uuid inet macaddr jsonb point text[] inet[] hstore composite int4range",
    ),
    (
        "{ mask = 'json', paths = { '$.mail' = 'email' } }",
        "numeric jsonb bytea",
    ),
    ("{ mask = 'array', items = 'email' }", "text[]"),
    ("{ mask = 'array', items = 'ip' }", "text[] inet[]"),
    ("{ mask = 'hstore', keys = { a = 'email' } }", "hstore"),
    (
        "{ mask = 'composite', fields = ['name', 'keep'] }",
        "composite",
    ),
    ("{ mask = 'template', format = '{other}' }", ""),
    ("{ mask = 'template', format = '{device}' }", "uuid"),
    ("{ mask = 'derive', from = ['device'] }", "uuid"),
];

/// Types as a server calls them, with what the engine is told of them.
fn types() -> Vec<(&'static str, ColumnType, ValueForm)> {
    let array = |form| ValueForm::Array(Box::new(form));
    vec![
        ("smallint", ColumnType::Integer, ValueForm::Integer(16)),
        ("integer", ColumnType::Integer, ValueForm::Integer(32)),
        ("bigint", ColumnType::Integer, ValueForm::Integer(64)),
        ("float8", ColumnType::Real, ValueForm::Decimal),
        ("numeric", ColumnType::Any, ValueForm::Decimal),
        ("boolean", ColumnType::Any, ValueForm::Boolean),
        ("date", ColumnType::Text, ValueForm::Date),
        ("time", ColumnType::Any, ValueForm::Time),
        ("timestamptz", ColumnType::Text, ValueForm::Timestamp),
        ("interval", ColumnType::Any, ValueForm::Interval),
        ("uuid", ColumnType::Text, ValueForm::Uuid),
        ("inet", ColumnType::Text, ValueForm::Address),
        ("macaddr", ColumnType::Text, ValueForm::Mac),
        ("jsonb", ColumnType::Text, ValueForm::Json),
        ("point", ColumnType::Any, ValueForm::Point),
        ("text[]", ColumnType::Any, array(ValueForm::Free)),
        ("inet[]", ColumnType::Any, array(ValueForm::Address)),
        ("hstore", ColumnType::Any, ValueForm::Hstore),
        ("composite", ColumnType::Any, ValueForm::Composite),
        ("int4range", ColumnType::Any, ValueForm::Range),
        ("bytea", ColumnType::Blob, ValueForm::Free),
        ("text", ColumnType::Text, ValueForm::Free),
    ]
}

/// Compiles a rule for one column, with a masked and a kept one beside it.
fn problems(rule: &str, (declared, ty, form): (&str, ColumnType, ValueForm)) -> String {
    let text = format!(
        "{HEAD}[domain.d]\nmask = 'uuid'\n[table.t.columns]\nv = {rule}\nid = 'keep'\nother = 'name'\ndevice = 'uuid'\n"
    );
    let (rules, _) =
        RuleSet::parse("r.toml", &text).unwrap_or_else(|problems| panic!("{problems}"));
    let mut column = ColumnSchema::new("v", ty);
    column.form = form;
    column.declared = declared.to_owned();
    let mut device = ColumnSchema::new("device", ColumnType::Text);
    device.form = ValueForm::Uuid;
    let table = TableSchema {
        name: "t".to_owned(),
        columns: vec![
            column,
            ColumnSchema::new("id", ColumnType::Integer),
            ColumnSchema::new("other", ColumnType::Text),
            device,
        ],
        rows: Some(1_000),
    };
    let schema = Schema {
        tables: vec![table],
    };
    let key = MaskKey::new(&[7; 32], "stable:types").unwrap();
    match Plan::compile(&rules, &schema, &key) {
        Ok(_) => String::new(),
        Err(problems) => problems.to_string(),
    }
}

fn known_masks() -> Vec<String> {
    let text = format!("{HEAD}[table.t.columns]\na = 'nothing-like-it'\n");
    let problems = RuleSet::parse("r.toml", &text).unwrap_err();
    let hint = problems.iter().next().unwrap().hint.clone().unwrap();
    let names = hint.strip_prefix("known masks: keep, ").unwrap();
    names.split(", ").map(str::to_owned).collect()
}

fn mask_of(rule: &str) -> &str {
    rule.split('\'').nth(1).unwrap()
}

#[test]
fn every_mask_is_refused_for_the_types_that_do_not_take_what_it_makes() {
    for (rule, fits) in FITS {
        let found = types()
            .into_iter()
            .filter(|ty| problems(rule, ty.clone()).is_empty());
        let found: Vec<&str> = found
            .map(|ty| ty.0)
            .filter(|name| *name != "text")
            .collect();
        assert_eq!(found.join(" "), *fits, "{rule}");
    }
    for mask in known_masks() {
        let judged = FITS.iter().any(|(rule, _)| mask_of(rule) == mask);
        assert!(judged, "nothing says which types `{mask}` is for");
    }
}

#[test]
fn a_refusal_names_column_type_and_mask_and_proposes_what_fits() {
    let inet = types().into_iter().find(|ty| ty.0 == "inet").unwrap();
    assert_eq!(
        problems("'email'", inet),
        "r.toml:8: `t.v` has type `inet`, and `email` makes values that are none of it (hint: what fits is \
         `ip`, `dict`, `const`, `null`)"
    );
    for ty in types().into_iter().filter(|ty| ty.0 != "text") {
        let found = problems("'company'", ty.clone());
        let (_, hint) = found
            .split_once("what fits is ")
            .unwrap_or_else(|| panic!("{found}"));
        for mask in hint.split('`').skip(1).step_by(2) {
            let fits = FITS.iter().filter(|(rule, _)| mask_of(rule) == mask);
            // What a rule lists depends on what it lists.
            let listed = matches!(mask, "const" | "dict");
            let fits = fits.map(|(_, types)| types.split(' ').any(|name| name == ty.0));
            assert!(
                listed || fits.into_iter().any(|fits| fits),
                "`{mask}` for {}",
                ty.0
            );
        }
    }
}

#[test]
fn a_domain_is_judged_for_each_of_its_columns_and_so_is_each_arm() {
    let uuid = || types().into_iter().find(|ty| ty.0 == "uuid").unwrap();
    assert_eq!(problems("{ domain = 'd' }", uuid()), "");
    let found = problems(
        "[{ when = 'id = 7', mask = 'email' }, { mask = 'uuid' }]",
        uuid(),
    );
    assert!(
        found.contains("`email` makes values that are none of it"),
        "{found}"
    );
    let inet = types().into_iter().find(|ty| ty.0 == "inet").unwrap();
    let found = problems("{ domain = 'd' }", inet);
    assert!(
        found.contains("`uuid` makes values that are none of it"),
        "{found}"
    );
}
