//! Folders of CSV and JSON Lines as production: masked by the same command as databases.

use std::io::Read as _;
use std::path::Path;

use flate2::read::MultiGzDecoder;

use crate::project::{Project, assert_exit};

const RULES: &str = r#"
version = 1
[policy]
unlisted = "error"
key = "env:MASK_KEY"
scope = "stable:test"
[domain.customer]
mask = "permute_int"
min = 1
max = 999999
[domain.mail]
mask = "email"
[table.customers]
keep = ["plan"]
[table.customers.columns]
id = { domain = "customer" }
name = "name"
mail = { domain = "mail" }
[table.orders]
keep = ["number", "status"]
[table.orders.columns]
customer = { domain = "customer" }
[table.events]
keep = ["kind"]
[table.events.columns]
mail = { domain = "mail" }
"#;

const STAGING: &str = r#"
class = "staging"
region = "eu-central"
residency = ["eu"]

[refresh]
from = "prod/exports"
rules = "masking-rules/exports.toml"
folder = "staging/exports"
"#;

const CUSTOMERS: &str = "id,name,mail,plan\n\
    17,Maria Schmidtbauer,maria.schmidtbauer@nordlicht.de,pro\n\
    18,\"Quandt, Ole\",ole.quandt@nordlicht.de,free\n\
    19,,,free\n";

/// What must be nowhere in a copy.
const ORIGINALS: [&str; 5] = [
    "Schmidtbauer",
    "schmidtbauer",
    "Quandt",
    "quandt",
    "nordlicht",
];

/// A project whose production exports three tables as five files, backed up.
fn exported() -> Project {
    let project = Project::new();
    project.write("masking-rules/exports.toml", RULES);
    project.write("environments/staging.toml", STAGING);
    let prod = std::fs::read_to_string(project.path("environments/prod.toml")).unwrap();
    let source = "\n[source.exports]\nkind = \"files\"\npath = \"production/exports\"\n";
    project.write("environments/prod.toml", &format!("{prod}{source}"));
    project.write("production/exports/customers.csv", CUSTOMERS);
    project.write(
        "production/exports/orders/2026-01.csv",
        "number,customer,status\n1,17,paid\n2,18,open\n",
    );
    project.write(
        "production/exports/orders/2026-02.csv",
        "number,customer,status\n3,17,open\n",
    );
    project.write("production/exports/notes.txt", "ask Maria Schmidtbauer\n");
    let events = "{\"mail\":\"ole.quandt@nordlicht.de\",\"kind\":\"login\"}\n";
    let file = std::fs::File::create(project.path("production/exports/events.jsonl.gz")).unwrap();
    let mut packed = flate2::write::GzEncoder::new(file, flate2::Compression::default());
    std::io::Write::write_all(&mut packed, events.as_bytes()).unwrap();
    packed.finish().unwrap();
    project.ok(&["backup", "prod", "exports"]);
    project
}

/// Reads every file below a folder, unpacked, by its path.
fn files(folder: &Path) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(at) = folders.pop() {
        for entry in std::fs::read_dir(at).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let bytes = std::fs::read(&path).unwrap();
            let mut text = String::new();
            match path.extension().is_some_and(|ending| ending == "gz") {
                true => MultiGzDecoder::new(&bytes[..])
                    .read_to_string(&mut text)
                    .unwrap(),
                false => (&bytes[..]).read_to_string(&mut text).unwrap(),
            };
            let name = path.strip_prefix(folder).unwrap();
            found.push((name.display().to_string(), text));
        }
    }
    found.sort();
    found
}

fn text_of<'a>(files: &'a [(String, String)], name: &str) -> &'a str {
    let found = files.iter().find(|(path, _)| path == name);
    &found.unwrap_or_else(|| panic!("{name} is missing")).1
}

/// Returns the fields of a column of CSV without quotes.
fn column(text: &str, at: usize) -> Vec<&str> {
    let rows = text.lines().skip(1);
    rows.map(|row| row.split(',').nth(at).unwrap()).collect()
}

#[test]
fn a_folder_of_tables_is_masked_by_one_plan_and_published_whole() {
    let project = exported();
    // A link is no table, whatever it is called and wherever it leads.
    let link = project.path("production/exports/link.csv");
    std::os::unix::fs::symlink("customers.csv", link).unwrap();
    project.ok(&["backup", "prod", "exports"]);
    let report = project.json(&["refresh", "staging"]);
    assert_eq!(report["rows"], 7, "{report:#}");
    assert_eq!(report["tables"], 3);
    let left_out = [
        "link.csv: no file",
        "file notes.txt: neither CSV nor JSON Lines",
    ];
    assert_eq!(report["left_out"], serde_json::json!(left_out));
    let copy = files(&project.path("staging/exports"));
    let names: Vec<&str> = copy.iter().map(|(name, _)| name.as_str()).collect();
    let expected = [
        "customers.csv",
        "events.jsonl.gz",
        "lifeboat-copy.json",
        "orders/2026-01.csv",
        "orders/2026-02.csv",
    ];
    assert_eq!(names, expected);
    for (name, text) in &copy {
        for original in ORIGINALS {
            assert!(!text.contains(original), "{original} is in {name}");
        }
    }
    // A customer is the same one in every table and file.
    let ids = column(text_of(&copy, "customers.csv"), 0);
    let january = column(text_of(&copy, "orders/2026-01.csv"), 1);
    let february = column(text_of(&copy, "orders/2026-02.csv"), 1);
    assert_eq!(
        [january[0], january[1], february[0]],
        [ids[0], ids[1], ids[0]]
    );
    assert_ne!(ids[0], "17");
    let mail = text_of(&copy, "events.jsonl.gz").split('"').nth(3).unwrap();
    assert!(text_of(&copy, "customers.csv").contains(mail), "{mail}");
    let manifest: serde_json::Value =
        serde_json::from_str(text_of(&copy, "lifeboat-copy.json")).unwrap();
    assert_eq!(manifest["from"], "prod/exports");
    assert_eq!(manifest["snapshot"], report["snapshot"]);
    assert!(
        manifest["leak_report"]["manifest"]["rules_hash"].is_string(),
        "{manifest:#}"
    );
}

#[test]
fn earlier_copies_stay_and_the_masked_snapshot_brings_the_same_back() {
    let project = exported();
    let first = project.json(&["refresh", "staging"]);
    let before = files(&project.path("staging/exports"));
    project.write(
        "production/exports/customers.csv",
        &CUSTOMERS.replace("pro\n", "max\n"),
    );
    project.ok(&["backup", "prod", "exports"]);
    let second = project.json(&["refresh", "staging"]);
    let previous = project.path("staging/exports.previous-1");
    assert_eq!(second["previous"], serde_json::json!([previous]));
    assert_eq!(files(&previous), before);
    let now = files(&project.path("staging/exports"));
    assert!(text_of(&now, "customers.csv").contains(",max\n"));
    assert!(!project.path("staging/exports.refreshing").exists());
    let snapshot = first["masked_snapshot"].as_str().unwrap();
    let to = project.path("again");
    let to = to.to_str().unwrap();
    project.ok(&[
        "restore", "staging", "exports", "--at", snapshot, "--to", to,
    ]);
    assert_eq!(files(&project.path("again")), before);
}

#[test]
fn what_no_rule_names_stops_the_refresh_and_the_copy_stays() {
    let project = exported();
    project.ok(&["refresh", "staging"]);
    let before = files(&project.path("staging/exports"));
    let cases = [
        // A column, a table, and a part of a table that is not like the others.
        (
            "customers.csv",
            "id,name,mail,plan,phone\n17,M,,pro,+49 30 1234567\n",
            7,
            &["customers.phone", "phone ="][..],
        ),
        (
            "invoices.csv",
            "id,name\n1,M\n",
            7,
            &["no rule names the table of `invoices.csv`"][..],
        ),
        // What looks like a header is a row: nobody in it is named.
        (
            "customers.csv",
            "17,Maria Schmidtbauer,maria.schmidtbauer@nordlicht.de,pro\n",
            7,
            &["the first row of `customers.csv` names none of the columns"][..],
        ),
        (
            "orders/2026-02.csv",
            "number,customer,status\n3,17,open\n4,18\n",
            4,
            &["`orders/2026-02.csv`", "row 2", "fields"][..],
        ),
        (
            "orders/2026-03.csv",
            "number,customer\n1,17\n",
            7,
            &["`orders/2026-01.csv` and `orders/2026-03.csv`"][..],
        ),
        (
            "orders/2026-03.csv",
            "",
            4,
            &["`orders/2026-03.csv`", "no header"][..],
        ),
    ];
    for (file, text, code, says) in cases {
        let path = format!("production/exports/{file}");
        let original = std::fs::read_to_string(project.path(&path)).ok();
        project.write(&path, text);
        project.ok(&["backup", "prod", "exports"]);
        let output = project.command(&["refresh", "staging"]).output().unwrap();
        assert_exit(&output, code, says, &[file]);
        let said = crate::project::text(&output);
        assert!(!ORIGINALS.iter().any(|one| said.contains(one)), "{said}");
        assert_eq!(files(&project.path("staging/exports")), before, "{file}");
        assert!(!project.path("staging/exports.refreshing").exists());
        match original {
            Some(original) => project.write(&path, &original),
            None => std::fs::remove_file(project.path(&path)).unwrap(),
        }
    }
}

#[test]
fn a_leak_publishes_nothing() {
    let project = exported();
    // Who writes a name into a column that is kept, and into the name of a file.
    project.write(
        "production/exports/orders/2026-02.csv",
        "number,customer,status\n3,17,asked maria.schmidtbauer@nordlicht.de\n",
    );
    project.ok(&["backup", "prod", "exports"]);
    project.fails(&["refresh", "staging"], 7, &["orders.status"]);
    assert!(!project.path("staging/exports").exists());
    project.write(
        "production/exports/orders/2026-02.csv",
        "number,customer,status\n3,17,open\n",
    );
    for name in [
        "maria.schmidtbauer@nordlicht.de",
        "17 Maria Schmidtbauer",
        "Maria_Schmidtbauer",
        "Maria.Schmidtbauer",
    ] {
        let path = format!("production/exports/orders/{name}.csv");
        project.write(&path, "number,customer,status\n4,17,open\n");
        project.ok(&["backup", "prod", "exports"]);
        project.fails(&["refresh", "staging"], 7, &["file name"]);
        assert!(!project.path("staging/exports").exists(), "{name}");
        std::fs::remove_file(project.path(&path)).unwrap();
    }
}

#[test]
fn tables_of_any_case_and_empty_ones_are_masked_and_random_draws_anew_in_each_file() {
    let project = exported();
    let rules = RULES.replace("keep = [\"number\", \"status\"]", "keep = [\"number\"]");
    let rules = rules.replace(
        "[table.events]",
        "status = { mask = \"random\", length = 12 }\n[table.events]",
    );
    project.write("masking-rules/exports.toml", &rules);
    std::fs::remove_file(project.path("production/exports/customers.csv")).unwrap();
    // An export of an empty table may be its header alone.
    project.write("production/exports/Customers.CSV", "id,name,mail,plan");
    for month in ["2026-01", "2026-02"] {
        let path = format!("production/exports/orders/{month}.csv");
        project.write(&path, "number,customer,status\n1,17,paid\n");
    }
    project.ok(&["backup", "prod", "exports"]);
    project.ok(&["refresh", "staging"]);
    let copy = files(&project.path("staging/exports"));
    assert_eq!(text_of(&copy, "Customers.CSV"), "id,name,mail,plan");
    let drawn =
        |month: &str| column(text_of(&copy, &format!("orders/{month}.csv")), 2)[0].to_owned();
    assert_ne!(drawn("2026-01"), drawn("2026-02"));
}

#[test]
fn owner_and_mode_of_what_is_replaced_stay_and_two_refreshes_do_not_meet() {
    use std::os::unix::fs::PermissionsExt as _;
    let project = exported();
    project.ok(&["refresh", "staging"]);
    let target = project.path("staging/exports");
    std::fs::set_permissions(&target, std::fs::Permissions::from_mode(0o750)).unwrap();
    let runs: Vec<_> = (0..4)
        .map(|_| {
            let mut command = project.command(&["-q", "refresh", "staging"]);
            command.stderr(std::process::Stdio::null()).spawn().unwrap()
        })
        .collect();
    for mut run in runs {
        let code = run.wait().unwrap().code();
        assert!(matches!(code, Some(0 | 11)), "{code:?}");
    }
    project.ok(&["refresh", "staging"]);
    assert_eq!(
        target.metadata().unwrap().permissions().mode() & 0o777,
        0o750
    );
    assert!(target.join("customers.csv").exists());
    assert!(
        project
            .path("staging/exports.previous-1/customers.csv")
            .exists()
    );
    assert!(!project.path("staging/exports.refreshing").exists());
}

#[test]
fn a_folder_that_no_refresh_has_made_is_not_replaced() {
    let project = exported();
    project.write("staging/exports/thesis.txt", "two years of work\n");
    project.fails(
        &["refresh", "staging"],
        7,
        &[
            "holds something that no refresh has made",
            "move what is in it away",
        ],
    );
    let thesis = project.path("staging/exports/thesis.txt");
    assert_eq!(
        std::fs::read_to_string(&thesis).unwrap(),
        "two years of work\n"
    );
    std::fs::remove_file(thesis).unwrap();
    // Nor is somebody's folder an earlier copy, for being called like one.
    project.edit(
        "environments/staging.toml",
        "folder =",
        "keep_previous = 0\nfolder =",
    );
    project.write("staging/exports.previous-1/thesis.txt", "another one\n");
    project.fails(&["refresh", "staging"], 7, &["previous-1"]);
    let thesis = project.path("staging/exports.previous-1/thesis.txt");
    std::fs::remove_file(&thesis).unwrap();
    project.ok(&["refresh", "staging"]);
    assert!(project.path("staging/exports/customers.csv").exists());
}

/// Every file below the project with its length and time: what a command may not have changed.
fn state(project: &Project) -> Vec<(std::path::PathBuf, u64, std::time::SystemTime)> {
    let mut found = Vec::new();
    let mut folders = vec![project.dir.path().to_owned()];
    while let Some(at) = folders.pop() {
        for entry in std::fs::read_dir(at).unwrap() {
            let path = entry.unwrap().path();
            let metadata = path.symlink_metadata().unwrap();
            if metadata.is_dir() {
                folders.push(path.clone());
            }
            found.push((path, metadata.len(), metadata.modified().unwrap()));
        }
    }
    found.sort();
    found
}

#[test]
fn a_dry_run_refuses_what_the_run_would_and_changes_nothing() {
    let project = exported();
    let before = state(&project);
    let said = project.ok(&["refresh", "staging", "--dry-run"]);
    for part in [
        "would restore snapshot",
        "checked: that `",
        "checked: the rules and their key",
        "checked: region `eu-central` and the key that keeps the copy",
        "not checked: whether the rules fit the columns",
    ] {
        assert!(said.contains(part), "no {part:?} in\n{said}");
    }
    let plan = project.json(&["refresh", "staging", "--dry-run"]);
    assert!(plan["preflight"]["checked"].is_array(), "{plan:#}");
    assert_eq!(state(&project), before);

    let thesis = "staging/exports/thesis.txt";
    let rules = "masking-rules/exports.toml";
    let broken = RULES.replace("mask = \"email\"", "mask = \"e-mail\"");
    let keyless = RULES.replace("env:MASK_KEY", "env:NOBODY_HAS_IT");
    for (file, text, code, says) in [
        (thesis, "two years of work\n", 7, "no refresh has made"),
        (rules, &broken, 2, "exports.toml:"),
        (rules, &keyless, 12, "the masking key is not to be had"),
    ] {
        let original = std::fs::read_to_string(project.path(file)).ok();
        project.write(file, text);
        let before = state(&project);
        project.fails(&["refresh", "staging", "--dry-run"], code, &[says]);
        assert_eq!(state(&project), before, "{file}");
        project.fails(&["refresh", "staging"], code, &[says]);
        match original {
            Some(original) => project.write(file, &original),
            None => std::fs::remove_file(project.path(file)).unwrap(),
        }
    }
    // The key that keeps the copy is asked for before anything is masked, and not after.
    let roles = ["writer", "reader", "pruner", "auditor"];
    let keys = roles.map(|role| format!("{role} = \"file:keys/gone.key\"\n"));
    let with_keys = format!("{STAGING}\n[keys]\n{}", keys.concat());
    project.write("environments/staging.toml", &with_keys);
    for args in [
        &["refresh", "staging", "--dry-run"][..],
        &["refresh", "staging"],
    ] {
        project.fails(args, 12, &["the writer key is not to be had"]);
    }
}

/// Replaces what nobody has decided by a decision; names of tables and columns stay.
fn decide(project: &Project, rules: &str) {
    let text = std::fs::read_to_string(project.path(rules)).unwrap();
    let decision = "{ mask = \"hash\", length = 12 }";
    project.write(rules, &text.replace("\"decide\"", decision));
}

#[test]
fn rules_for_a_folder_are_proposed_held_against_it_and_serve_the_refresh() {
    let project = exported();
    let (mut customers, mut orders) = ("id,name,mail,plan\n".to_owned(), String::new());
    for n in 0..60 {
        let mail = format!("maria.schmidtbauer{n}@nordlicht.de");
        customers += &format!("{n},Maria Schmidtbauer,{mail},free\n");
        orders += &format!("{n},{},open\n", n % 7);
    }
    project.write("production/exports/customers.csv", &customers);
    for part in ["2026-01.csv", "2026-02.csv"] {
        let text = format!("number,customer,status\n{orders}");
        project.write(&format!("production/exports/orders/{part}"), &text);
    }
    let suppliers = zstd::encode_all(customers.as_bytes(), 3).unwrap();
    std::fs::create_dir(project.path("production/exports/more")).unwrap();
    std::fs::write(
        project.path("production/exports/more/suppliers.csv.zst"),
        suppliers,
    )
    .unwrap();
    let rules = "masking-rules/exports.toml";
    std::fs::remove_file(project.path(rules)).unwrap();
    let missing =
        "`lifeboat mask discover --source ENVIRONMENT/SOURCE --out masking-rules/exports.toml`";
    project.fails(&["refresh", "staging", "--dry-run"], 2, &[missing]);
    let discover = [
        "mask",
        "discover",
        "--source",
        "prod/exports",
        "--out",
        rules,
    ];
    project.ok(&discover);
    let text = std::fs::read_to_string(project.path(rules)).unwrap();
    for table in ["customers", "events", "orders", "suppliers"] {
        assert!(
            text.contains(&format!("[table.{table}")),
            "no {table} in\n{text}"
        );
    }
    assert!(!text.contains("2026"), "{text}");
    assert!(text.contains("mail = { domain = \"email\" }"), "{text}");
    for original in ORIGINALS {
        assert!(!text.contains(original), "{original} is in\n{text}");
    }
    let undecided = "nobody has decided yet what happens to `";
    project.fails(&["refresh", "staging", "--dry-run"], 7, &[undecided]);
    decide(&project, rules);
    let check = [
        "mask",
        "check",
        "--source",
        "prod/exports",
        "--rules",
        rules,
    ];
    let said = project.ok(&check);
    assert!(
        said.contains("covers every column of prod/exports"),
        "{said}"
    );
    project.ok(&["backup", "prod", "exports"]);
    let report = project.json(&["refresh", "staging"]);
    assert_eq!(report["tables"], 4, "{report:#}");
    // What the source leaves out of its backups is no table, neither here nor there.
    project.edit(
        "environments/prod.toml",
        "path = \"production/exports\"",
        "path = \"production/exports\"\nexclude = [\"old/\"]",
    );
    project.write("production/exports/old/people.csv", "who\nMaria\n");
    project.ok(&check);
    // A new column, and a file that is none of its kind.
    project.write(
        "production/exports/events.jsonl",
        "{\"passport\":\"C01X00T47\"}\n",
    );
    std::fs::remove_file(project.path("production/exports/events.jsonl.gz")).unwrap();
    project.write("production/exports/visits.csv", "day\nmonday\n");
    project.fails(&check, 7, &["no rule names the table of `visits.csv`"]);
    project.write("production/exports/visits.csv", "day,who\nmonday\n");
    let source = ["mask", "discover", "--source", "prod/exports"];
    project.fails(&source, 4, &["`visits.csv`", "line 2"]);
    project.fails(
        &["mask", "discover", "--source", "prod/shop"],
        2,
        &["--input"],
    );
}

#[test]
fn files_of_rows_have_no_keys_that_the_gate_of_integrity_could_pass() {
    let project = exported();
    let report = project.json(&["refresh", "staging"]);
    let gates = report["leak_report"]["gates"].as_array().unwrap();
    let gate = gates
        .iter()
        .find(|gate| gate["name"] == "integrity")
        .unwrap();
    assert!(gate["verdict"].is_null(), "{gate:#}");
    assert_eq!(report["leak_report"]["verdict"], "pass");
    let said = project.ok(&["refresh", "staging"]);
    let line = said
        .lines()
        .find(|line| line.contains("integrity"))
        .unwrap();
    assert!(line.contains("nothing to look for"), "{line}");
}

#[test]
fn quiet_says_nothing_of_warnings() {
    let project = exported();
    // A key that is kept although what it points at is masked.
    let rules = RULES.replace(
        "[\"number\", \"status\"]",
        "[\"number\", \"status\", \"customer_id\"]",
    );
    project.write("masking-rules/exports.toml", &rules);
    for month in ["2026-01", "2026-02"] {
        let path = format!("production/exports/orders/{month}.csv");
        project.write(&path, "number,customer,status,customer_id\n1,17,paid,17\n");
    }
    project.ok(&["backup", "prod", "exports"]);
    let said = |args: &[&str]| {
        let output = project.command(args).output().unwrap();
        assert_exit(&output, 0, &[], args);
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(said(&["refresh", "staging"]).contains("WARN"));
    assert_eq!(said(&["-q", "refresh", "staging"]), "");
    assert!(said(&["-q", "-v", "refresh", "staging"]).contains("WARN"));
    let mut command = project.command(&["-q", "refresh", "staging"]);
    let asked = command.env("LIFEBOAT_LOG", "warn").output().unwrap();
    assert_exit(&asked, 0, &["WARN"], &["LIFEBOAT_LOG=warn"]);
}
