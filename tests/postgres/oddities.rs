//! One of each oddity that a PostgreSQL database can have: refreshed, and then broken on purpose.
//!
//! What is broken is broken all at once: a gate must name every one of them.

use serde_json::Value;

use crate::staging::Staging;

const RULES: &str = include_str!("../data/oddities-rules.toml");
/// Where the rules begin that are left out if a server lacks the modules.
const CONTRIB: &str = "# Tables of contrib modules";
/// Whom no row knows: detectors must find her.
const STRANGER: &str = "jo.doe@mail-to.de";

fn oddities_or_skip(test: &str) -> Option<Staging> {
    let odd = Staging::or_skip(test, "oddities.sql", RULES)?;
    odd.staging.psql("CREATE ROLE oddities_reader");
    odd.write_rules(rules_for(&odd));
    odd.configure("read = \"server\"");
    Some(odd)
}

fn has_contrib(odd: &Staging) -> bool {
    odd.production(
        "SELECT to_regclass('odd.pairs') IS NOT NULL AND to_regclass('odd.careless') IS NOT NULL",
    ) == "t"
}

fn rules_for(odd: &Staging) -> &'static str {
    let (plain, _) = RULES.split_once(CONTRIB).unwrap();
    if has_contrib(odd) { RULES } else { plain }
}

/// Runs a refresh that must be stopped, with nothing made and nobody named.
fn stopped(odd: &Staging) -> String {
    let (printed, said) = odd.ends_with(7, &["refresh", "staging", "--json"]);
    for secret in [STRANGER, "Quillfeather", "oddities-canary"] {
        assert!(!printed.contains(secret), "{secret}: {printed}");
        assert!(!said.contains(secret), "{secret}: {said}");
    }
    assert_eq!(odd.databases(), [] as [&str; 0]);
    printed
}

/// Returns the columns and definitions that a gate names.
fn named_by(report: &Value, gate: &str) -> Vec<String> {
    let gates = report["leak_report"]["gates"].as_array().unwrap();
    let gate = gates.iter().find(|one| one["name"] == gate).unwrap();
    let findings = gate["findings"].as_array().unwrap().iter();
    let name = |finding: &Value| {
        let part = |key: &str| finding[key].as_str().unwrap_or_default().to_owned();
        format!("{}.{}", part("table"), part("column"))
    };
    findings.map(name).collect()
}

#[test]
fn a_database_of_oddities_is_refreshed_with_every_gate_green() {
    let Some(odd) = oddities_or_skip("a refresh of oddities") else {
        return;
    };
    odd.project.must(&["backup", "prod", "main"]);
    odd.configure("");
    let report = odd.refresh(&[]);
    assert_eq!(report["published"], "shop", "{report:#}");
    assert_eq!(report["leak_report"]["verdict"], "pass");
    for table in ["people", "events", "birds", "secured", "toasted", "empty"] {
        let count = format!("SELECT count(*) FROM odd.{table}");
        assert_eq!(odd.staged(&count), odd.production(&count), "{table}");
    }
    let dump = odd.dump_of_staging();
    for secret in ["Quillfeather", "oddities-canary", "ottoline"] {
        assert!(!dump.contains(secret), "{secret} is in the copy");
    }
    // Triggers did not fire, rules sent nothing elsewhere, and what was computed is computed anew.
    let fired = "SELECT count(*) FROM odd.fired WHERE note LIKE '%[fired]%'";
    assert_eq!(odd.staged(fired), "0");
    assert_eq!(odd.staged("SELECT what FROM odd.ruled"), "kept");
    let stale = "SELECT count(*) FROM odd.people WHERE domain_of <> split_part(email, '@', 2)";
    assert_eq!(odd.staged(stale), "0");
    // For ever stays for ever.
    let forever = "SELECT count(*) FROM odd.people WHERE born = 'infinity'";
    assert_eq!(odd.staged(forever), odd.production(forever));
    odd.assert_nothing_left();
}

#[test]
fn every_kind_of_definition_that_names_somebody_is_named() {
    let Some(odd) = oddities_or_skip("leaks in definitions") else {
        return;
    };
    let broken = [
        ("CREATE TYPE odd.l_enum AS ENUM ('a', 'WHO')", "odd.l_enum"),
        (
            "CREATE DOMAIN odd.l_domain AS text CHECK (VALUE <> 'WHO')",
            "odd.l_domain",
        ),
        (
            "ALTER TABLE odd.people ALTER \"select\" SET DEFAULT 'WHO'",
            "odd.people",
        ),
        (
            "ALTER TABLE odd.fired ADD CONSTRAINT l_check CHECK (note <> 'WHO')",
            "odd.fired",
        ),
        (
            "ALTER TABLE odd.computed ADD l_made text GENERATED ALWAYS AS ('WHO') STORED",
            "odd.computed",
        ),
        (
            "CREATE VIEW odd.l_view AS SELECT 'WHO' AS who",
            "odd.l_view",
        ),
        (
            "CREATE MATERIALIZED VIEW odd.l_matview AS SELECT 'WHO' AS who",
            "odd.l_matview",
        ),
        (
            "CREATE FUNCTION odd.l_function() RETURNS text LANGUAGE sql AS $$ SELECT 'WHO' $$",
            "odd.l_function",
        ),
        (
            "CREATE AGGREGATE odd.l_glue(text) (sfunc = textcat, stype = text, initcond = 'WHO')",
            "odd.l_glue",
        ),
        (
            "CREATE TRIGGER l_trigger BEFORE UPDATE ON odd.fired FOR EACH ROW \
             WHEN (NEW.note = 'WHO') EXECUTE FUNCTION odd.stamp()",
            "l_trigger",
        ),
        (
            "CREATE RULE l_rule AS ON DELETE TO odd.ruled DO ALSO SELECT 'WHO'",
            "l_rule",
        ),
        (
            "CREATE POLICY l_policy ON odd.secured USING (owner = 'WHO')",
            "l_policy",
        ),
        (
            "CREATE TABLE odd.l_partition PARTITION OF odd.events FOR VALUES IN ('WHO')",
            // It is attached to its root.
            "table odd.events",
        ),
        (
            "CREATE INDEX l_predicate ON odd.fired (id) WHERE note = 'WHO'",
            "l_predicate",
        ),
        (
            "CREATE INDEX l_expression ON odd.fired ((note || 'WHO'))",
            "l_expression",
        ),
        (
            "CREATE TABLE odd.l_clash (x int, EXCLUDE USING btree (x WITH =) WHERE (x::text <> 'WHO'))",
            "odd.l_clash",
        ),
        ("COMMENT ON TABLE odd.fired IS 'ask WHO'", "odd.fired"),
    ];
    for (sql, _) in broken {
        odd.production(&sql.replace("WHO", STRANGER));
    }
    odd.write_rules(&format!(
        "{}\n[table.\"odd.l_clash\"]\nkeep = [\"x\"]\n",
        rules_for(&odd)
    ));
    odd.configure("read = \"server\"\nkeep_comments = true");
    let refused = stopped(&odd);
    for (sql, name) in broken {
        assert!(refused.contains(name), "`{sql}` went through: {refused}");
    }
    // Comments are left out unless somebody wants them.
    assert!(refused.contains("comment"), "{refused}");
    odd.configure("read = \"server\"");
    assert!(!stopped(&odd).contains("comment"));
}

#[test]
fn every_kind_of_new_column_is_named_with_the_line_to_add() {
    let Some(odd) = oddities_or_skip("new columns of odd tables") else {
        return;
    };
    let new = [
        ("ALTER TABLE odd.birds ADD keeper text", "odd.birds.keeper"),
        ("ALTER TABLE odd.animals ADD owner text", "odd.birds.owner"),
        ("ALTER TABLE odd.events ADD who text", "odd.events.who"),
        ("ALTER TABLE odd.secured ADD who text", "odd.secured.who"),
        ("ALTER TABLE odd.unlogged ADD who text", "odd.unlogged.who"),
        (
            "ALTER TABLE odd.nothing ADD who odd.address[]",
            "odd.nothing.who",
        ),
        (
            "CREATE TABLE odd.late (mail varchar(40)[])",
            "odd.late.mail",
        ),
        (
            "CREATE TABLE odd.l_root (a int, who text) PARTITION BY RANGE (a)",
            "odd.l_root.who",
        ),
    ];
    for (sql, _) in new {
        odd.production(sql);
    }
    let refused = stopped(&odd);
    for (sql, column) in new {
        let message = format!("no rule names `{column}`");
        assert!(refused.contains(&message), "`{sql}`: {refused}");
    }
    assert!(
        !refused.contains("l_partition"),
        "partitions are part of their root"
    );
}

#[test]
fn a_value_that_turns_up_in_any_kind_of_kept_column_is_found() {
    let Some(odd) = oddities_or_skip("leaks in odd columns") else {
        return;
    };
    // Somebody's address, where rules keep what is there.
    let someone = "'p7@oddities-canary.de'";
    let person = format!("UPDATE odd.people SET COLUMN = VALUE WHERE email = {someone}");
    let people = [
        ("\"select\"", someone.to_owned()),
        ("tags", format!("ARRAY['a', {someone}]")),
        ("doc_text", format!("json_build_array(1, {someone})")),
        ("words", format!("to_tsvector('simple', {someone})")),
        ("doc", format!("jsonb_build_object('i', {someone})")),
    ];
    let mut expected: Vec<String> = Vec::new();
    for (column, value) in &people {
        odd.production(&person.replace("COLUMN", column).replace("VALUE", value));
        expected.push(format!("odd.people.{}", column.trim_matches('"')));
    }
    let elsewhere = [
        ("odd.events_rest", "note", "VALUE"),
        ("odd.birds", "name", "VALUE"),
        ("odd.secured", "owner", "VALUE"),
        ("odd.ruled", "what", "VALUE"),
        ("odd.toasted", "body", "body || ' ' || VALUE"),
        (
            "odd.toasted",
            "raw",
            "raw || convert_to(' ' || VALUE, 'UTF8')",
        ),
        (
            "\"Odd Schema\".\"Weird \"\"Name\"\".x\"",
            "ünïcode",
            "VALUE",
        ),
        ("odd.pairs", "pairs", "public.hstore('n', VALUE)"),
        ("odd.careless", "name", "VALUE"),
        ("odd.invoices", "number", "VALUE"),
        ("odd.ddl_log", "tag", "VALUE"),
    ];
    odd.production("INSERT INTO odd.ddl_log (tag) VALUES ('a')");
    odd.production(
        "SET session_replication_role = replica; UPDATE odd.invoices SET number = 'x' || number",
    );
    let modules = ["odd.pairs", "odd.careless"];
    let there = |table: &str| has_contrib(&odd) || !modules.contains(&table);
    for (table, column, value) in elsewhere.into_iter().filter(|one| there(one.0)) {
        let value = value.replace("VALUE", someone);
        let row = format!("ctid = (SELECT min(ctid) FROM ONLY {table})");
        odd.production(&format!(
            "UPDATE ONLY {table} SET \"{column}\" = {value} WHERE {row}"
        ));
        let table = match table {
            "odd.events_rest" => "odd.events",
            _ if table.starts_with('"') => "Odd Schema.Weird \"Name\".x",
            _ => table,
        };
        expected.push(format!("{table}.{column}"));
    }
    let report: Value = serde_json::from_str(&stopped(&odd)).unwrap();
    assert_eq!(report["published"], Value::Null);
    let found = named_by(&report, "value_reuse");
    for column in &expected {
        assert!(found.contains(column), "{column} is not in {found:#?}");
    }
    // And nothing else is.
    assert_eq!(found.len(), expected.len(), "{found:#?}");
}

#[test]
fn what_the_server_does_not_take_is_not_published() {
    let Some(odd) = oddities_or_skip("keys that do not hold") else {
        return;
    };
    odd.production("SET session_replication_role = replica; INSERT INTO odd.egg VALUES (30, 99)");
    let (printed, _) = odd.ends_with(1, &["refresh", "staging", "--json"]);
    for part in [
        "foreign key egg_chicken_fkey of odd.egg",
        "constraint `egg_chicken_fkey`",
        "a row does not hold",
    ] {
        assert!(printed.contains(part), "{part}: {printed}");
    }
    assert_eq!(odd.databases(), [] as [&str; 0]);
    odd.production("DELETE FROM odd.egg WHERE id = 30");
    odd.refresh(&[]);
    assert_eq!(odd.databases(), ["shop"]);
}
