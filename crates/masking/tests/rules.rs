//! Rules and plans: every problem at once, each with its place and the next step.

mod shop;

use lifeboat_masking::{ColumnSchema, ColumnType, Plan, RuleSet, Schema, TableSchema};
use shop::{RULES, key, schema};

const HEAD: &str = "version = 1\n[policy]\nunlisted = 'error'\nkey = 'env:K'\n";

fn parse_problems(text: &str) -> String {
    RuleSet::parse("r.toml", text).unwrap_err().to_string()
}

#[test]
fn one_reading_reports_every_mistake_with_its_line() {
    let text = "version = 2\n[policy]\nunlisted = 'keep'\nkey = 'hunter2'\nscope = 'often'\n\
                [domain.email]\nmask = 'emial'\n[table.t.columns]\na = { domain = 'emali' }\n\
                b = { mask = 'email', uniqe = true }\nc = [ { mask = 'null' }, { when = 'x ~ 1', mask = 'null' } ]\n\
                d = [ { when = 'a is null', mask = 'null' } ]\ne = { mask = 'json', paths = { 'a.b' = 'keep' } }\n";
    let found = parse_problems(text);
    for part in [
        "r.toml:1: rules of version 2 are not known",
        "r.toml:3: `unlisted` must be `error`, `null` or `redact`, not `keep`",
        "r.toml:4: `key` must be `env:NAME`",
        "r.toml:5: `often` is not a scope",
        "r.toml:7: unknown mask `emial` (hint: did you mean `email`?)",
        "r.toml:9: unknown domain `emali` (hint: did you mean `email`?)",
        "r.toml:10: unknown key `uniqe` in column `b` (hint: did you mean `unique`?)",
        "r.toml:11: `when` is not a condition",
        "r.toml:12: column `d`: the last arm has a condition",
        "r.toml:13: `a.b` is not a path",
    ] {
        assert!(found.contains(part), "{part}\n--\n{found}");
    }
    assert!(!found.contains("hunter2"));
}

#[test]
fn the_hash_sees_rules_and_not_comments() {
    let hash = |text: &str| RuleSet::parse("r.toml", text).unwrap().0.hash().to_owned();
    let base = format!("{HEAD}[table.t.columns]\na = 'null'\nb = 'redact'\n");
    let same = format!("{HEAD}# new\n[table.t.columns]\nb = \"redact\"\na  =  'null'\n");
    assert_eq!(hash(&base), hash(&same));
    assert_ne!(hash(&base), hash(&base.replace("'null'", "'redact'")));
}

/// Compiles rules for one table `t` and one table `p` with an id.
fn plan_problems(columns: Vec<ColumnSchema>, rules: &str) -> String {
    let mut id = ColumnSchema::new("id", ColumnType::Integer);
    id.primary_key = true;
    let table = |name: &str, columns| TableSchema {
        name: name.into(),
        columns,
        rows: Some(1_000_000),
    };
    let schema = Schema {
        tables: vec![table("t", columns), table("p", vec![id])],
    };
    let text = format!(
        "{HEAD}{rules}\n[domain.pid]\nmask = 'permute_int'\n[table.p.columns]\nid = {{ domain = 'pid' }}\n"
    );
    let (rules, _) =
        RuleSet::parse("r.toml", &text).unwrap_or_else(|problems| panic!("{problems}"));
    match Plan::compile(&rules, &schema, &key()) {
        Ok(_) => String::new(),
        Err(problems) => problems.to_string(),
    }
}

fn text_column(name: &str) -> ColumnSchema {
    ColumnSchema::new(name, ColumnType::Text)
}

#[test]
fn a_column_without_a_rule_is_refused_with_the_line_to_add() {
    let mut new = schema();
    new.tables[1].columns.push(text_column("gift_message"));
    let (rules, _) = RuleSet::parse("webshop.toml", RULES).unwrap();
    let found = Plan::compile(&rules, &new, &key()).unwrap_err().to_string();
    assert!(
        found.contains("no rule names `orders.gift_message`"),
        "{found}"
    );
    assert!(
        found.contains("`gift_message = { mask = \"null\" }`"),
        "{found}"
    );
}

#[test]
fn misfits_are_refused_before_a_row_moves() {
    let mut unique = text_column("a");
    unique.unique = true;
    let mut required = text_column("a");
    required.not_null = true;
    let mut short = text_column("a");
    short.max_len = Some(10);
    let number = ColumnSchema::new("a", ColumnType::Integer);
    for (column, rule, part) in [
        (unique.clone(), "a = 'name'", "is unique"),
        (unique.clone(), "a = 'email'", "is unique"),
        (
            unique.clone(),
            "a = { mask = 'hash', length = 12 }",
            "is unique",
        ),
        (unique.clone(), "a = { mask = 'email', unique = true }", ""),
        (unique, "a = 'hash'", ""),
        (required, "a = 'null'", "is NOT NULL"),
        (
            short,
            "a = 'uuid'",
            "makes up to 36 bytes, the column takes 10",
        ),
        (number.clone(), "a = 'email'", "does not fit type integer"),
        (number, "a = 'permute_int'", ""),
        (text_column("b"), "a = 'email'", "there is no column `t.a`"),
        (
            text_column("mobile_phone"),
            "mobile_phone = 'keep'",
            "speaks of people",
        ),
        (
            text_column("mobile_phone"),
            "mobile_phone = { mask = 'keep', reason = 'ours' }",
            "",
        ),
        (
            text_column("a"),
            "a = { mask = 'person', by = 'x' }",
            "names no column `x`",
        ),
        (
            text_column("a"),
            "a = { references = 'p.x' }",
            "names no column `p.x`",
        ),
        (
            text_column("a"),
            "a = [ { when = 'x is null', mask = 'null' }, { mask = 'redact' } ]",
            "`when` names no column `x`",
        ),
    ] {
        let found = plan_problems(vec![column], &format!("[table.t.columns]\n{rule}"));
        if part.is_empty() {
            assert_eq!(found, "", "{rule}");
        } else {
            assert!(found.contains(part), "{rule}: {found}");
        }
    }
}

#[test]
fn foreign_keys_follow_and_may_not_stray() {
    let fk = || {
        let mut column = ColumnSchema::new("p_id", ColumnType::Integer);
        column.references = Some(("p".into(), "id".into()));
        vec![column]
    };
    let virtual_fk = || vec![ColumnSchema::new("p_id", ColumnType::Integer)];
    let rule = |rule: &str| format!("[table.t.columns]\np_id = {rule}");
    assert_eq!(plan_problems(fk(), ""), "");
    assert_eq!(plan_problems(fk(), &rule("{ domain = 'pid' }")), "");
    assert_eq!(plan_problems(fk(), &rule("'null'")), "");
    assert_eq!(
        plan_problems(virtual_fk(), &rule("{ references = 'p.id' }")),
        ""
    );
    for stray in ["'permute_int'", "'keep'"] {
        let found = plan_problems(fk(), &rule(stray));
        assert!(found.contains("masks differently from `p.id`"), "{found}");
    }
}
