//! Rules and plans: every problem at once, each with its place and the next step.

mod shop;

use lifeboat_masking::{ColumnSchema, ColumnType, Plan, RuleSet, Schema, TableSchema};
use lifeboat_model::{Problems, Severity};
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
        (
            number.clone(),
            "a = 'email'",
            "`t.a` has type `integer`, and `email` makes no values of it",
        ),
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

/// Tables of nullable text columns, except that `id` is a whole number and the key.
fn schema_of(tables: &[(&str, &[&str])]) -> Schema {
    let column = |name: &&str| match *name {
        "id" => ColumnSchema {
            primary_key: true,
            ..ColumnSchema::new(*name, ColumnType::Integer)
        },
        name if name.ends_with("_id") => ColumnSchema::new(name, ColumnType::Integer),
        name => text_column(name),
    };
    let table = |(name, columns): &(&str, &[&str])| TableSchema {
        name: (*name).to_owned(),
        columns: columns.iter().map(column).collect(),
        rows: Some(1000),
    };
    Schema {
        tables: tables.iter().map(table).collect(),
    }
}

fn compile(rules: &str, schema: &Schema) -> Result<Problems, Problems> {
    let (rules, _) = RuleSet::parse("r.toml", &format!("{HEAD}{rules}"))
        .unwrap_or_else(|problems| panic!("{problems}\n{rules}"));
    Plan::compile(&rules, schema, &key()).map(|(_, warnings)| warnings)
}

/// Returns the lines of the last hint that can be pasted.
fn block(problems: &Problems) -> String {
    let hint = problems.iter().last().unwrap().hint.clone().unwrap();
    let (_, block) = hint.split_once(":\n").unwrap();
    format!("{block}\n")
}

const AWKWARD: [&str; 6] = [
    "first name",
    "größe",
    "a.b",
    "say \"hi\"",
    "back\\slash",
    "line\nbreak",
];

#[test]
fn what_is_proposed_for_awkward_names_can_be_pasted() {
    for table in ["t", "main.t", "my table", "tücke"] {
        let schema = schema_of(&[(table, &AWKWARD)]);
        let problems = compile("", &schema).unwrap_err();
        assert_eq!(problems.len(), AWKWARD.len());
        for (problem, column) in problems.iter().zip(AWKWARD) {
            assert!(problem.message.contains(&format!("`{table}.{column}`")));
        }
        let warnings = compile(&block(&problems), &schema).unwrap();
        assert!(warnings.is_empty(), "{warnings}");
    }
}

#[test]
fn the_last_problem_of_a_table_has_all_lines_marked_as_guess_or_open() {
    let columns = [
        "id",
        "email",
        "phone2",
        "full_name",
        "ip_address",
        "mood",
        "u_id",
    ];
    let schema = schema_of(&[("u", &columns)]);
    let problems = compile("", &schema).unwrap_err();
    let pasted = block(&problems);
    assert_eq!(
        pasted,
        "[table.u.columns]\n\
         id = { mask = \"permute_int\", min = 1, max = 999999999 }  # a guess, decide\n\
         email = { mask = \"email\" }  # a guess, decide\n\
         phone2 = { mask = \"phone\" }  # a guess, decide\n\
         full_name = { mask = \"name\" }  # a guess, decide\n\
         ip_address = { mask = \"ip\" }  # a guess, decide\n\
         mood = { mask = \"null\" }  # decide\n\
         u_id = { mask = \"null\" }  # decide\n"
    );
    assert!(compile(&pasted, &schema).is_ok());
    let headers = problems.to_string().matches("[table.u.columns]\n").count();
    assert_eq!(headers, 1);
    for (problem, column) in problems.iter().zip(columns) {
        let hint = problem.hint.as_ref().unwrap();
        assert!(hint.contains(&format!("`{column} = ")), "{hint}");
    }
}

#[test]
fn a_header_that_the_file_has_is_not_proposed_again() {
    let schema = schema_of(&[("t", &["id", "mood", "email", "home"])]);
    let rules = "[domain.mail]\nmask = 'email'\n[table.t]\n[table.t.columns]\nid = 'permute_int'\n";
    let problems = compile(rules, &schema).unwrap_err();
    let pasted = block(&problems);
    assert!(
        pasted.contains("email = { domain = \"mail\" }  # a guess"),
        "{pasted}"
    );
    assert!(compile(&format!("{rules}{pasted}"), &schema).is_ok());
}

#[test]
fn every_guess_fits_the_column_it_is_for() {
    let names = [
        "id",
        "email",
        "phone",
        "iban",
        "ssn",
        "ip",
        "mac",
        "url",
        "uuid",
        "password",
        "company",
        "username",
        "firstname",
        "lastname",
        "name",
        "card",
        "address",
        "city",
        "zip",
        "birth",
        "body",
        "mood",
        "t_id",
    ];
    for (n, ty) in [
        ColumnType::Integer,
        ColumnType::Real,
        ColumnType::Text,
        ColumnType::Blob,
    ]
    .into_iter()
    .enumerate()
    {
        for (not_null, unique, max_len) in [
            (false, false, None),
            (true, false, None),
            (false, true, None),
            (true, true, Some(40)),
        ] {
            let columns = names.map(|name| ColumnSchema {
                not_null,
                unique,
                max_len,
                ..ColumnSchema::new(name, ty)
            });
            // No mask makes bytes, nor distinct fractions: such a column takes NULL or a person.
            if n % 2 == 1 && (not_null || unique) {
                continue;
            }
            let schema = Schema {
                tables: vec![TableSchema {
                    name: "t".into(),
                    columns: columns.to_vec(),
                    rows: Some(1000),
                }],
            };
            let pasted = block(&compile("", &schema).unwrap_err());
            if let Err(problems) = compile(&pasted, &schema) {
                panic!("{ty:?} {not_null} {unique}: {problems}");
            }
        }
    }
}

#[test]
fn the_guess_for_a_unique_column_lasts_when_an_empty_table_fills() {
    let mut schema = schema_of(&[("t", &["id", "email"])]);
    schema.tables[0].columns[1].unique = true;
    schema.tables[0].rows = Some(0);
    let pasted = block(&compile("", &schema).unwrap_err());
    schema.tables[0].rows = Some(1_000_000);
    assert!(compile(&pasted, &schema).is_ok(), "{pasted}");
}

#[test]
fn a_foreign_key_is_not_given_a_line_that_its_target_would_contradict() {
    let mut schema = schema_of(&[("users", &["id"]), ("posts", &["id", "user_id", "mood"])]);
    schema.tables[1].columns[1].references = Some(("users".into(), "id".into()));
    let problems = compile("", &schema).unwrap_err();
    let text = problems.to_string();
    assert!(
        text.contains("give `users.id` a rule, which it follows"),
        "{text}"
    );
    let lines: String = text.lines().filter(|line| line.contains("  # ")).collect();
    assert!(!lines.contains("user_id"), "{lines}");
}

#[test]
fn references_that_lead_nowhere_are_refused_and_say_so() {
    let schema = schema_of(&[("t", &["id", "a", "b"])]);
    let rules = |a: &str, b: &str| {
        let columns = format!("a = {{ references = '{a}' }}\nb = {{ references = '{b}' }}\n");
        format!("[table.t.columns]\nid = 'permute_int'\n{columns}")
    };
    let circle = compile(&rules("t.b", "t.a"), &schema)
        .unwrap_err()
        .to_string();
    for part in [
        "`t.a` references `t.b`, for which no rule decides",
        "`t.b` references `t.a`, for which no rule decides",
    ] {
        assert!(circle.contains(part), "{circle}");
    }
    let absent = compile(&rules("t.x", "t.id"), &schema)
        .unwrap_err()
        .to_string();
    assert!(
        absent.contains("`references` names no column `t.x`"),
        "{absent}"
    );
    assert!(!absent.contains("no rule names"), "{absent}");
}

#[test]
fn a_kept_column_that_looks_like_a_masked_key_is_a_warning() {
    let schema = schema_of(&[
        ("users", &["id"]),
        ("categories", &["id"]),
        (
            "comments",
            &["id", "user_id", "billing_user_id", "category_id", "mood_id"],
        ),
    ]);
    let warnings = |keep: &str| {
        let rules = format!(
            "[domain.user]\nmask = 'permute_int'\n[table.users.columns]\nid = {{ domain = 'user' }}\n\
             [table.categories]\nkeep = ['id']\n[table.comments.columns]\nid = 'permute_int'\n{keep}"
        );
        compile(&rules, &schema).unwrap_or_else(|problems| panic!("{problems}"))
    };
    let kept =
        "user_id = 'keep'\nbilling_user_id = 'keep'\ncategory_id = 'keep'\nmood_id = 'keep'\n";
    let found = warnings(kept);
    assert_eq!(found.len(), 2, "{found}");
    let first = found.iter().next().unwrap();
    assert_eq!((first.severity, first.line), (Severity::Warning, 13));
    assert_eq!(
        first.message,
        "`comments.user_id` looks like `users.id`, which is masked"
    );
    let hint = first.hint.as_ref().unwrap();
    assert!(
        hint.contains("`user_id = { references = \"users.id\" }`"),
        "{hint}"
    );
    // What the hint says ends it, and so does a reason.
    let settled = kept
        .replacen("'keep'", "{ references = 'users.id' }", 1)
        .replacen(
            "'keep'",
            "{ mask = 'keep', reason = 'of another system' }",
            1,
        );
    let found = warnings(&settled);
    assert!(found.is_empty(), "{found}");
}

#[test]
fn one_broken_line_yields_a_few_errors_and_no_others() {
    // The list is not closed.
    let mut text = format!("{HEAD}[table.t]\nkeep = [\"a\", \"b\"\n[table.t.columns]\n");
    for n in 0..40 {
        text.push_str(&format!("c{n} = {{ mask = \"redact\" }}\n"));
    }
    let problems = RuleSet::parse("r.toml", &text).unwrap_err();
    assert_eq!(problems.len(), 3, "{problems}");
    let lines: Vec<_> = problems.iter().map(|problem| problem.line).collect();
    assert!((6..=7).contains(&lines[0]), "{lines:?}");
    assert!(lines.is_sorted(), "{lines:?}");
    assert!(problems.to_string().contains("more errors may follow"));
    assert!(problems.text_of("r.toml").is_some());
}
