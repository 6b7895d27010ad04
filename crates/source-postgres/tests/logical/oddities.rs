//! A database with one of each oddity, copied bytes through.

use std::path::Path;

use lifeboat_testkit::{PgCluster, PgInstallation};

use crate::support::{Copied, ODDITIES, copy};

/// Lists every relation that holds rows, with how many and their checksum.
fn fingerprint(cluster: &PgCluster, database: &str) -> Vec<String> {
    let relations = cluster.psql_in(
        database,
        "SELECT c.oid::regclass FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
          WHERE c.relkind IN ('r', 'm') AND (c.relkind = 'r' OR c.relispopulated)
            AND n.nspname NOT IN ('pg_catalog', 'information_schema')
          ORDER BY n.nspname, c.relname",
    );
    let of = |relation: &str| {
        let rows = cluster.psql_in(
            database,
            &format!(
                "SELECT count(*), md5(string_agg(t::text, E'\\n' ORDER BY t::text COLLATE \"C\"))
                   FROM ONLY {relation} t"
            ),
        );
        format!("{relation} {rows}")
    };
    relations.lines().map(of).collect()
}

/// Returns the definitions of a database, without what a copy must not have.
fn definitions(cluster: &PgCluster, database: &str) -> Vec<String> {
    let arguments = [
        "--schema-only",
        "--no-comments",
        "--no-publications",
        "--no-subscriptions",
    ];
    let dsn = format!("{} dbname={database}", cluster.conninfo());
    let script = cluster
        .installation()
        .run("pg_dump", &[&arguments[..], &["-d", &dsn]].concat());
    let mut lines: Vec<String> = script.lines().map(str::to_owned).collect();
    // A nonce of each run.
    lines.retain(|line| !line.starts_with("\\restrict") && !line.starts_with("\\unrestrict"));
    lines
}

/// Returns the lines that `of` has and `other` lacks.
fn missing<'a>(of: &'a [String], other: &[String]) -> Vec<&'a str> {
    let lines = of.iter().filter(|line| !other.contains(line));
    lines.map(String::as_str).collect()
}

#[tokio::test]
async fn every_oddity_arrives_as_it_was() {
    for installation in PgInstallation::all_or_skip("every oddity") {
        let cluster = PgCluster::on(installation).without_fsync().start();
        cluster.make_database("source", Path::new(ODDITIES));
        let copied = copy(&cluster, "source", "copied").await;

        assert_eq!(
            fingerprint(&cluster, "source"),
            fingerprint(&cluster, "copied")
        );
        let [source, copy] = ["source", "copied"].map(|name| definitions(&cluster, name));
        assert_eq!(
            missing(&copy, &source),
            [
                "CREATE SERVER \"odd server\" TYPE 'a;b' VERSION '1' FOREIGN DATA WRAPPER postgres_fdw;",
                "SERVER \"odd server\";",
            ]
        );
        let left: Vec<_> = missing(&source, &copy)
            .into_iter()
            .filter(|line| !line.starts_with("--"))
            .collect();
        assert_eq!(
            left,
            [
                "CREATE SERVER \"odd server\" TYPE 'a;b' VERSION '1' FOREIGN DATA WRAPPER postgres_fdw OPTIONS (",
                "    dbname 'it''s; OPTIONS (x ''y'')',",
                "    host 'db.oddities-canary.de'",
                "CREATE USER MAPPING FOR public SERVER \"odd server\" OPTIONS (",
                "    password 'Quillfeather-secret',",
                "    \"user\" 'quillfeather'",
                "SERVER \"odd server\"",
                "OPTIONS (",
                "    table_name 'far'",
            ]
        );
        nothing_secret_is_in(&copied);
        what_stays_behind_is_told(&copied);
        new_rows_get_new_numbers(&cluster, "copied");
    }
}

/// Comments, servers and credentials hold planted values.
fn nothing_secret_is_in(copied: &Copied) {
    for statement in &copied.ddl.statements {
        for planted in ["Quillfeather", "quillfeather", "oddities-canary"] {
            assert!(!statement.sql.contains(planted), "{}", statement.subject);
            assert!(
                !statement.subject.contains(planted),
                "{}",
                statement.subject
            );
        }
    }
}

fn what_stays_behind_is_told(copied: &Copied) {
    let told = copied.catalog.left_out.iter().chain(&copied.ddl.left_out);
    let told: Vec<_> = told.map(|left| left.what.as_str()).collect();
    for expected in [
        "large objects 1",
        "publication odd_publication",
        "foreign table odd.far",
        "rows of table odd.nothing",
        "rows of table odd.computed",
        "options of server \"odd server\"",
        "user mapping",
    ] {
        assert!(
            told.iter().any(|what| what.starts_with(expected)),
            "{expected}: {told:?}"
        );
    }
}

/// Whoever writes to the copy meets no number that is there already; what counts nothing starts anew,
/// since it says how much production does.
fn new_rows_get_new_numbers(cluster: &PgCluster, database: &str) {
    let ask = |sql: &str| cluster.psql_in(database, sql);
    assert_eq!(
        ask("INSERT INTO odd.people (email, short) VALUES ('new@x', 'n') RETURNING id"),
        "30140"
    );
    assert_eq!(ask("INSERT INTO odd.downwards SELECT RETURNING id"), "-6");
    assert_eq!(
        ask("INSERT INTO odd.animals (name) VALUES ('fox') RETURNING id"),
        "4"
    );
    assert_eq!(
        ask("INSERT INTO odd.share_one (note) VALUES ('a') RETURNING id"),
        "4"
    );
    assert_eq!(
        ask("INSERT INTO odd.share_two (note) VALUES ('b') RETURNING id"),
        "5"
    );
    ask("INSERT INTO odd.small DEFAULT VALUES");
    ask("INSERT INTO odd.events (at, region) VALUES ('2024-01-01', 'eu')");
    assert_eq!(ask("SELECT nextval('odd.alone')"), "1000");
}
