//! Discovery, preview, synthetic data, rule packs: the tools around masking.

use std::collections::BTreeSet;
use std::path::Path;

use lifeboat_demo::originals;
use rusqlite::Connection;

use crate::project::{Project, assert_same_rows, lifeboat, query, text};

const PACKS: [&str; 3] = ["gdpr", "pci-dss", "hipaa-safe-harbor"];

fn pack(name: &str) -> String {
    std::fs::read_to_string(format!("masking-rules/{name}.toml")).unwrap()
}

/// Makes the sample that a pack ships with.
fn sample(name: &str, database: &Path) {
    let sql = std::fs::read_to_string(format!("masking-rules/samples/{name}.sql")).unwrap();
    Connection::open(database)
        .unwrap()
        .execute_batch(&sql)
        .unwrap();
}

fn discover(project: &Project, input: &str, out: &str) {
    project.ok(&["mask", "discover", "--input", input, "--out", out]);
}

#[test]
fn proposed_rules_mask_the_shop_once_somebody_has_decided() {
    let project = Project::without_repository();
    discover(&project, "production/shop.db", "proposed.toml");
    let rules = std::fs::read_to_string(project.path("proposed.toml")).unwrap();
    for line in [
        "email = { domain = \"email\" }",
        "customer_id = { references = \"customers.id\" }",
        "\"$.contact.email\" = { domain = \"email\" }",
        "\"status\",  # clean",
        "author = \"decide\"",
    ] {
        assert!(rules.contains(line), "no {line:?} in\n{rules}");
    }
    for value in originals(&project.shop(), 300).unwrap() {
        assert!(!rules.contains(&value), "an original is in the proposal");
    }
    let check = [
        "mask",
        "check",
        "--rules",
        "proposed.toml",
        "--input",
        "production/shop.db",
    ];
    project.fails(
        &check,
        7,
        &[
            "nobody has decided yet what happens to `support_notes.author`",
            "proposed.toml:",
        ],
    );
    project.edit(
        "proposed.toml",
        "author = \"decide\"",
        "author = { mask = \"dict\", values = [\"desk\"] }",
    );
    project.ok(&check);
    project.ok(&[
        "mask",
        "run",
        "--rules",
        "proposed.toml",
        "--input",
        "production/shop.db",
        "--output",
        "masked.db",
    ]);
    let dangling = "SELECT count(*) FROM pragma_foreign_key_check";
    assert_eq!(query(&project.path("masked.db"), dangling), "0");
}

#[test]
fn discovery_gives_the_same_text_again_and_overwrites_nothing() {
    let project = Project::without_repository();
    discover(&project, "production/shop.db", "proposed.toml");
    let first = std::fs::read_to_string(project.path("proposed.toml")).unwrap();
    discover(&project, "production/shop.db", "proposed.toml");
    assert_eq!(
        project.ok(&["mask", "discover", "--input", "production/shop.db"]),
        first
    );
    project.edit("proposed.toml", "version = 1", "version = 1 # mine");
    let args = [
        "mask",
        "discover",
        "--input",
        "production/shop.db",
        "--out",
        "proposed.toml",
    ];
    project.fails(&args, 1, &["proposed.toml"]);
    assert!(
        std::fs::read_to_string(project.path("proposed.toml"))
            .unwrap()
            .contains("# mine")
    );
}

#[test]
fn csv_and_json_lines_are_discovered_as_databases_are() {
    let project = Project::without_repository();
    let (mut csv, mut lines) = ("mail,note,amount\n".to_owned(), String::new());
    for n in 0..40 {
        csv += &format!("anna{n}@posteo.de,\"call +49 171 23456{n:02}, please\",{n}.50\n");
        lines += &format!(
            "{{\"mail\":\"anna{n}@posteo.de\",\"amount\":{n},\"who\":{{\"iban\":\"DE89370400440532013000\"}}}}\n"
        );
    }
    project.write("people.csv", &csv);
    project.write("people.jsonl", &lines);
    let rules = project.ok(&["mask", "discover", "--input", "people.csv"]);
    for part in [
        "[table.people.columns]",
        "mail = { domain = \"email\" }",
        "note = \"text\"",
        "\"amount\",  # clean",
    ] {
        assert!(rules.contains(part), "no {part:?} in\n{rules}");
    }
    let rules = project.ok(&["mask", "discover", "--input", "people.jsonl"]);
    assert!(
        rules.contains("\"$.iban\" = { domain = \"iban\" }"),
        "{rules}"
    );
    project.write("broken.csv", "a,b\n1,2,secret-value\n");
    let output = project
        .command(&["mask", "discover", "--input", "broken.csv"])
        .output()
        .unwrap();
    let said = text(&output);
    assert_eq!(output.status.code(), Some(4), "{said}");
    assert!(
        said.contains("line 2") && !said.contains("secret-value"),
        "{said}"
    );
    // A file without a header: no value becomes the name of a column.
    project.write(
        "bare.csv",
        "Maria Schmidt,maria@posteo.de,7\nJan Vogel,jan@posteo.de,8\n",
    );
    let output = project
        .command(&["mask", "discover", "--input", "bare.csv"])
        .output()
        .unwrap();
    let said = text(&output);
    assert_eq!(output.status.code(), Some(4), "{said}");
    assert!(
        said.contains("column 2") && !said.contains("maria"),
        "{said}"
    );
}

#[test]
fn a_preview_goes_to_a_terminal_or_nowhere() {
    let project = Project::without_repository();
    let args = [
        "mask",
        "preview",
        "--rules",
        "masking-rules/webshop.toml",
        "--input",
        "production/shop.db",
        "--table",
        "customers",
        "--rows",
        "2",
    ];
    let name = query(
        &project.shop(),
        "SELECT full_name FROM customers WHERE id = 1",
    );
    let piped = project.command(&args).output().unwrap();
    assert_eq!(piped.status.code(), Some(7), "{}", text(&piped));
    assert!(text(&piped).contains("stdout is no terminal") && !text(&piped).contains(&name));
    let shown = on_a_terminal(&project, &args);
    assert!(shown.contains(&name), "{shown}");
    assert!(
        shown.contains("before") && shown.contains("after") && shown.contains("@example."),
        "{shown}"
    );
}

/// Runs the program with a pseudo terminal as its stdout and returns what it shows.
fn on_a_terminal(project: &Project, args: &[&str]) -> String {
    use std::io::Read as _;
    use std::os::fd::OwnedFd;
    let flags = rustix::pty::OpenptFlags::RDWR | rustix::pty::OpenptFlags::NOCTTY;
    let ours: OwnedFd = rustix::pty::openpt(flags).unwrap();
    rustix::pty::grantpt(&ours).unwrap();
    rustix::pty::unlockpt(&ours).unwrap();
    let name = rustix::pty::ptsname(&ours, Vec::new()).unwrap();
    let size = rustix::termios::Winsize {
        ws_row: 50,
        ws_col: 220,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    rustix::termios::tcsetwinsize(&ours, size).unwrap();
    let theirs = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(name.to_str().unwrap())
        .unwrap();
    let mut child = project.command(args).stdout(theirs).spawn().unwrap();
    let mut shown = Vec::new();
    let mut reader = std::fs::File::from(ours);
    let mut buffer = [0; 4096];
    // The last reader of a terminal whose other side is closed gets an error, not an end.
    while let Ok(read @ 1..) = reader.read(&mut buffer) {
        shown.extend_from_slice(&buffer[..read]);
    }
    assert!(child.wait().unwrap().success());
    String::from_utf8_lossy(&shown).into_owned()
}

#[test]
fn synthetic_data_is_whole_and_comes_from_no_production_row() {
    let project = Project::without_repository();
    let synth = |out: &str, seed: &str| {
        project.json(&[
            "mask",
            "synth",
            "--rules",
            "masking-rules/webshop.toml",
            "--schema",
            "production/shop.db",
            "--rows",
            "500",
            "--rows",
            "orders=2000",
            "--seed",
            seed,
            "--out",
            out,
        ])
    };
    let report = synth("a.db", "7");
    synth("b.db", "7");
    synth("c.db", "8");
    let made = project.path("a.db");
    assert_eq!(report["rows"], 500 * 3 + 2000 + 1, "{report}");
    assert_eq!(query(&made, "PRAGMA integrity_check"), "ok");
    for (sql, expected) in [
        ("SELECT count(*) FROM pragma_foreign_key_check", "0"),
        (
            "SELECT count(*) FROM orders JOIN customers c ON c.id = customer_id",
            "2000",
        ),
        ("SELECT count(DISTINCT email) FROM customers", "500"),
        (
            "SELECT count(*) FROM customers WHERE email LIKE '%@example.%'",
            "500",
        ),
        (
            "SELECT count(*) > 20 FROM customers WHERE phone IS NULL",
            "1",
        ),
        ("SELECT count(DISTINCT status) FROM orders", "5"),
        (
            "SELECT count(*) FROM customers WHERE profile IS NOT NULL AND json_extract(profile, '$.contact.email') NOT LIKE '%@example.%'",
            "0",
        ),
        ("SELECT count(*) FROM revenue_by_country", "16"),
    ] {
        assert_eq!(query(&made, sql), expected, "{sql}");
    }
    assert_same_rows(&made, &project.path("b.db"));
    let names = |file: &str| {
        query(
            &project.path(file),
            "SELECT group_concat(full_name) FROM customers",
        )
    };
    assert_ne!(names("a.db"), names("c.db"));
    let raw = std::fs::read(&made).unwrap();
    for value in originals(&project.shop(), 300).unwrap().iter().step_by(5) {
        let found = raw
            .windows(value.len())
            .any(|window| window == value.as_bytes());
        assert!(!found, "a production value is in the synthetic data");
    }
}

#[test]
fn synthetic_data_needs_no_database() {
    let project = Project::without_repository();
    project.write(
        "rules.toml",
        "version = 1\n[policy]\nkey = \"env:NOBODY_HAS_IT\"\n[domain.who]\nmask = \"permute_int\"\nmin = 1\nmax = 999999\n\
         [table.people]\nkeep = [\"created_at\"]\n[table.people.columns]\nid = { domain = \"who\" }\nname = \"name\"\n\
         [table.visits.columns]\nid = { mask = \"permute_int\" }\nperson_id = { references = \"people.id\" }\nnote = \"text\"\n",
    );
    project.ok(&[
        "mask",
        "synth",
        "--rules",
        "rules.toml",
        "--rows",
        "300",
        "--out",
        "made.db",
    ]);
    let joined = "SELECT count(*) FROM visits v LEFT JOIN people p ON p.id = v.person_id WHERE v.person_id IS NULL OR p.name IS NOT NULL OR p.id IS NOT NULL";
    assert_eq!(query(&project.path("made.db"), joined), "300");
    let csv = [
        "mask",
        "synth",
        "--rules",
        "rules.toml",
        "--rows",
        "50",
        "--table",
        "people",
        "--out",
        "people.csv",
    ];
    project.ok(&csv);
    let text = std::fs::read_to_string(project.path("people.csv")).unwrap();
    assert_eq!(text.lines().count(), 51);
    assert!(text.starts_with("created_at,id,name\n"), "{text}");
    project.fails(&csv, 1, &["people.csv", "exists"]);
    project.write("schema.sql", "CREATE TABLE t (a TEXT CHECK (a IN ('x', 'y')), b INTEGER NOT NULL, c TEXT, PRIMARY KEY (a, b));");
    project.write("t.toml", "version = 1\n[policy]\nkey = \"env:K\"\n[table.t]\nkeep = [\"a\", \"b\"]\n[table.t.columns]\nc = \"city\"\n");
    let from_sql = [
        "mask",
        "synth",
        "--rules",
        "t.toml",
        "--schema",
        "schema.sql",
        "--rows",
        "100",
        "--out",
        "t.db",
    ];
    project.ok(&from_sql);
    assert_eq!(
        query(
            &project.path("t.db"),
            "SELECT count(*) FROM t WHERE a IN ('x', 'y')"
        ),
        "100"
    );
}

#[test]
fn every_pack_masks_its_sample_and_passes_its_gates() {
    let project = Project::without_repository();
    for name in PACKS {
        let input = project.path(&format!("{name}.db"));
        sample(name, &input);
        project.write("rules.toml", &pack(name));
        let (input, output) = (format!("{name}.db"), format!("{name}-masked.db"));
        let report = project.json(&[
            "mask",
            "run",
            "--rules",
            "rules.toml",
            "--input",
            &input,
            "--output",
            &output,
        ]);
        let verdicts: Vec<(String, String)> = report["leak_report"]["gates"]
            .as_array()
            .unwrap()
            .iter()
            .map(|gate| {
                (
                    gate["name"].as_str().unwrap().to_owned(),
                    gate["verdict"].as_str().unwrap_or("none").to_owned(),
                )
            })
            .collect();
        let expected = |gate: &str| match (gate, name) {
            ("canaries", _) | ("risk", "pci-dss") => "none",
            _ => "pass",
        };
        for (gate, verdict) in &verdicts {
            assert_eq!(verdict, expected(gate), "{name}: {gate}: {report:#}");
        }
        assert_eq!(verdicts.len(), 9, "{verdicts:?}");
    }
}

/// One change of a rule file that makes it weaker or wrong.
struct Mutant {
    what: String,
    rules: String,
}

/// Walks the rules of a pack: each column's rule is dropped, misspelt in both halves, and weakened.
fn mutants(rules: &str) -> Vec<Mutant> {
    let lines: Vec<&str> = rules.lines().collect();
    let with = |at: usize, line: Option<&str>, what: &str| {
        let mut changed: Vec<&str> = lines.clone();
        match line {
            Some(line) => changed[at] = line,
            None => drop(changed.remove(at)),
        }
        let what = format!("line {}, {what}: {}", at + 1, lines[at]);
        Mutant {
            what,
            rules: changed.join("\n") + "\n",
        }
    };
    let mut mutants = Vec::new();
    let mut section = "";
    for (at, line) in lines.iter().enumerate() {
        if line.starts_with('[') {
            section = line;
        }
        let Some((name, rule)) = line.split_once(" = ").filter(|_| !line.starts_with('#')) else {
            continue;
        };
        let is_rule = section.ends_with(".columns]");
        let is_mask_of_domain = section.starts_with("[domain.") && name == "mask";
        if name == "keep" {
            let misspelt = line.replacen("[\"", "[\"x", 1);
            mutants.push(with(at, None, "dropped"));
            mutants.push(with(at, Some(&misspelt), "misspelt"));
        }
        if !is_rule && !is_mask_of_domain {
            continue;
        }
        let misspelt_name = format!("x{line}");
        let misspelt_rule = format!("{name} = {}", rule.replacen('"', "\"x", 1));
        mutants.push(with(at, None, "dropped"));
        mutants.push(with(at, Some(&misspelt_name), "misspelt"));
        mutants.push(with(at, Some(&misspelt_rule), "misspelt"));
        // What says nothing about people by itself may be kept: keys of rows, amounts, dates of cards.
        let harmless = [
            "id",
            "expiry_month",
            "expiry_year",
            "amount_cents",
            "merchant_reference",
            "raw_message",
            "subscribed_at",
            "state",
            "gender",
        ];
        if is_rule && !harmless.contains(&name) {
            mutants.push(with(at, Some(&format!("{name} = \"keep\"")), "weakened"));
        }
        if is_mask_of_domain {
            mutants.push(with(at, Some("mask = \"keep\""), "weakened"));
        }
    }
    mutants
}

#[test]
fn no_mutant_of_a_pack_gets_through() {
    let project = Project::without_repository();
    let mut tried = 0;
    let mut through = BTreeSet::new();
    for name in PACKS {
        let input = format!("{name}.db");
        sample(name, &project.path(&input));
        for mutant in mutants(&pack(name)) {
            project.write("mutant.toml", &mutant.rules);
            let args = [
                "mask",
                "run",
                "--rules",
                "mutant.toml",
                "--input",
                &input,
                "--output",
                "out.db",
            ];
            let output = project.command(&args).output().unwrap();
            tried += 1;
            // A wrong file is 2, what does not cover the data or fails a gate is 7.
            if !matches!(output.status.code(), Some(2 | 7)) {
                through.insert(format!("{name}: {}\n{}", mutant.what, text(&output)));
                std::fs::remove_file(project.path("out.db")).ok();
            }
            assert!(!project.path("out.db").exists(), "{}", mutant.what);
        }
    }
    assert!(tried > 200, "{tried}");
    assert!(
        through.is_empty(),
        "{} of {tried} got through: {through:#?}",
        through.len()
    );
}

#[test]
fn a_check_lists_every_problem_of_types_keys_lengths_and_constraints_at_once() {
    let project = Project::without_repository();
    let database = Connection::open(project.path("t.db")).unwrap();
    database
        .execute_batch(
            "CREATE TABLE t (a INTEGER NOT NULL, b TEXT UNIQUE, c VARCHAR(10), d TEXT NOT NULL,
                 e TEXT CHECK (e IN ('on', 'off')), f INTEGER CHECK (f BETWEEN 1 AND 12), g TEXT CHECK (g LIKE 'x%'),
                 h TEXT, i TEXT CHECK (length(i) <= 8));
             CREATE TABLE u (t_b TEXT REFERENCES t (b));",
        )
        .unwrap();
    project.write(
        "t.toml",
        "version = 1\n[policy]\nkey = \"env:MASK_KEY\"\n[risk]\nquasi = [\"t.hh\"]\n[table.t.columns]\n\
         a = \"email\"\nb = \"city\"\nc = \"email\"\nd = \"null\"\ne = \"redact\"\nf = { mask = \"const\", value = 13 }\n\
         g = \"city\"\ni = { mask = \"const\", value = \"too long a text\" }\n[table.u.columns]\nt_b = \"city\"\n",
    );
    project.fails(
        &["mask", "check", "--rules", "t.toml", "--input", "t.db"],
        7,
        &[
            "`t.a` has type `INTEGER`, and `email` makes no values of it",
            "`t.b` is unique",
            "makes up to 39 bytes, the column takes 10",
            "`t.d` is NOT NULL",
            "`redact` of `t.e` makes values that a constraint of the column refuses",
            "`const` of `t.f` makes values that a constraint of the column refuses",
            "on `t.g` could not be read",
            "no rule names `t.h`",
            "`const` of `t.i` makes values that a constraint of the column refuses",
            "`u.t_b` is a foreign key and masks differently",
            "`quasi` names no stored column `t.hh`",
            "did you mean `h`?",
        ],
    );
}

#[test]
fn a_leak_report_is_a_page_without_a_value() {
    let project = Project::without_repository();
    sample("gdpr", &project.path("gdpr.db"));
    let weak = pack("gdpr").replace(
        "detail = \"text\"",
        "detail = { mask = \"keep\", reason = \"because\" }",
    );
    project.write("rules.toml", &weak);
    let args = [
        "mask",
        "run",
        "--rules",
        "rules.toml",
        "--input",
        "gdpr.db",
        "--output",
        "out.db",
        "--report",
        "leaks.html",
    ];
    project.fails(&args, 7, &["value_reuse"]);
    let page = std::fs::read_to_string(project.path("leaks.html")).unwrap();
    for part in [
        "Leak report",
        "audit_log.detail",
        "value of people.city",
        "<details open",
        "rules hash",
    ] {
        assert!(page.contains(part), "no {part:?}");
    }
    for value in ["Göttingen", "Matthias", "posteo.de", "2007919"] {
        assert!(!page.contains(value), "{value} is in the report");
    }
}

#[test]
fn few_rows_behind_a_combination_fail_the_risk_gate() {
    let project = Project::without_repository();
    sample("gdpr", &project.path("gdpr.db"));
    project.write("rules.toml", &pack("gdpr").replace("k = 3", "k = 50"));
    let args = [
        "mask",
        "run",
        "--rules",
        "rules.toml",
        "--input",
        "gdpr.db",
        "--output",
        "out.db",
    ];
    project.fails(
        &args,
        7,
        &["risk", "people.country + birth_year", "fewer than 50 rows"],
    );
}

#[test]
fn a_planted_value_is_looked_for() {
    let project = Project::without_repository();
    sample("gdpr", &project.path("gdpr.db"));
    let planted = pack("gdpr").replace(
        "scope = \"snapshot\"",
        "scope = \"snapshot\"\ncanaries = \"file:canaries.txt\"",
    );
    project.write("rules.toml", &planted);
    project.write("canaries.txt", "Kastanienallee 17\n\n2024-02-11 08\n");
    let args = [
        "mask",
        "run",
        "--rules",
        "rules.toml",
        "--input",
        "gdpr.db",
        "--output",
        "out.db",
    ];
    // The second one stands in a column that is kept.
    project.fails(&args, 7, &["canaries", "canary 2"]);
    project.write("canaries.txt", "Kastanienallee 17\n");
    project.ok(&args);
}

#[test]
fn the_schema_for_editors_is_printed() {
    let output = lifeboat().args(["mask", "schema"]).output().unwrap();
    let printed: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let shipped = std::fs::read_to_string("masking-rules/schema.json").unwrap();
    assert_eq!(
        printed,
        serde_json::from_str::<serde_json::Value>(&shipped).unwrap()
    );
}
