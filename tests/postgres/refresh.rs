//! Refreshing a staging database: masked, judged, loaded beside the old one, published by a rename.

use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::staging::Staging;

const RULES: &str = include_str!("../data/shop-rules.toml");
const CUSTOMERS: u32 = 3_000;

/// A shop with customers, and a server for its copies.
fn shop_or_skip(test: &str) -> Option<Staging> {
    let shop = Staging::or_skip(test, "shop.sql", RULES)?;
    shop.production(&format!("SELECT fill_shop({CUSTOMERS})"));
    shop.production("DROP FUNCTION fill_shop");
    Some(shop)
}

#[test]
fn staging_gets_every_row_masked_and_whole() {
    let Some(shop) = shop_or_skip("a refresh of a database") else {
        return;
    };
    shop.project.must(&["backup", "prod", "main"]);
    let report = shop.refresh(&[]);
    assert_eq!(report["published"], "shop");
    assert_eq!(report["leak_report"]["verdict"], "pass");
    for table in ["customers", "orders", "events", "notes"] {
        let count = format!("SELECT count(*) FROM {table}");
        assert_eq!(shop.staged(&count), shop.production(&count), "{table}");
    }
    // What the masks made joins as the original did.
    let joined = "SELECT count(*) FROM orders JOIN customers ON customers.id = customer_id";
    assert_eq!(shop.staged(joined), shop.production(joined));
    let sums =
        "SELECT count(*), sum(n) FROM (SELECT count(*) n FROM orders GROUP BY customer_id) x";
    assert_eq!(shop.staged(sums), shop.production(sums));
    // Nobody's address or name is anywhere in the copy, the catalog included.
    let dump = shop.dump_of_staging();
    let people = "SELECT email FROM customers UNION ALL SELECT phone FROM customers \
                  UNION ALL SELECT full_name FROM customers WHERE full_name LIKE 'Zebulon%'";
    for original in shop.production(people).lines() {
        assert!(!dump.contains(original), "`{original}` is in the copy");
    }
    let unseen = "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace \
                  AND relkind = 'r' AND relallvisible < relpages";
    assert_eq!(shop.staged(unseen), "", "not vacuumed");
    // Sequences go on above what is there, and the database is a working one.
    shop.staged("INSERT INTO customers (email, full_name, phone) VALUES ('x@y.z', 'X', '1')");
    let valid = "SELECT count(*) FROM pg_constraint WHERE contype = 'f' AND convalidated";
    assert_eq!(shop.staged(valid), shop.production(valid));
    shop.assert_nothing_left();

    // The next one takes its place; of the old ones, one stays.
    shop.refresh(&[]);
    let again = shop.refresh(&[]);
    assert_eq!(again["previous"].as_array().unwrap().len(), 1);
    let databases = shop.databases();
    assert_eq!(databases.len(), 2, "{databases:?}");
}

#[test]
fn a_masked_copy_is_published_again_without_production() {
    let Some(shop) = shop_or_skip("a masked copy published again") else {
        return;
    };
    // What would not let anybody fill a view, once it is there.
    shop.production(
        "CREATE MATERIALIZED VIEW sums AS SELECT count(*) FROM orders;
         CREATE FUNCTION no_refresh() RETURNS event_trigger LANGUAGE plpgsql
             AS $$ BEGIN RAISE EXCEPTION 'nobody fills a view here'; END $$;
         CREATE EVENT TRIGGER no_refresh ON ddl_command_start
             WHEN TAG IN ('REFRESH MATERIALIZED VIEW') EXECUTE FUNCTION no_refresh()",
    );
    shop.project.must(&["backup", "prod", "main"]);
    let first = shop.refresh(&[]);
    let emails = "SELECT md5(string_agg(email, ',' ORDER BY id)) FROM customers";
    let masked = shop.staged(emails);
    shop.staged("DELETE FROM notes; UPDATE customers SET email = id::text || '@spoiled'");
    let snapshot = first["masked_snapshot"].as_str().unwrap();
    let again = shop.refresh(&["--masked", snapshot]);
    assert_eq!(again["published"], "shop");
    assert_eq!(shop.staged(emails), masked);
    // And psql alone can load what `export` writes.
    let folder = shop.project.root.join("exported");
    let to = folder.to_str().unwrap();
    shop.ends_with(0, &["export", "staging", "--to", to]);
    shop.staging.psql("CREATE DATABASE by_hand");
    let url = shop.staging.conninfo();
    let url = url.replace("dbname=postgres", "dbname=by_hand");
    let psql = shop.staging.installation().bin.join("psql");
    let loaded = Command::new(psql)
        .args([
            "-X",
            "-q",
            "-v",
            "ON_ERROR_STOP=1",
            "-d",
            &url,
            "-f",
            "load.sql",
        ])
        .current_dir(&folder)
        .stdout(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&loaded.stderr);
    assert!(loaded.status.success(), "{said}");
    assert_eq!(shop.staging.psql_in("by_hand", emails), masked);
    let counted = "SELECT count FROM sums";
    assert_eq!(
        shop.staging.psql_in("by_hand", counted),
        shop.staged(counted)
    );
    let triggers = "SELECT evtname FROM pg_event_trigger";
    assert_eq!(shop.staging.psql_in("by_hand", triggers), "no_refresh");
}

#[test]
fn a_copy_that_cannot_take_its_place_is_kept_and_published_later() {
    let Some(mut shop) = shop_or_skip("a database that stays in use") else {
        return;
    };
    shop.project.must(&["backup", "prod", "main"]);
    shop.staging.append_conf("max_prepared_transactions = 1");
    shop.staging.restart();
    shop.refresh(&[]);
    let rows = "SELECT count(*), md5(string_agg(email, ',' ORDER BY id)) FROM customers";
    let before = shop.staged(rows);
    shop.project.must(&["backup", "prod", "main"]);
    // No session holds it, so none can be ended.
    shop.staged("BEGIN; LOCK notes; PREPARE TRANSACTION 'forgotten'");
    let (_, said) = shop.ends_with(1, &["refresh", "staging"]);
    let (_, command) = said
        .split_once("`lifeboat refresh staging --masked ")
        .unwrap();
    let (kept, _) = command.split_once('`').unwrap();
    assert!(said.contains("`pg_prepared_xacts` lists"), "{said}");
    shop.staged("COMMIT PREPARED 'forgotten'");
    assert_eq!(shop.staged(rows), before);
    assert_eq!(shop.databases(), ["shop"]);
    let report = shop.refresh(&["--masked", kept]);
    assert_eq!(report["published"], "shop");
    // Masked for another snapshot, so otherwise.
    assert_ne!(shop.staged(rows), before);
    shop.assert_nothing_left();
}

#[test]
fn a_backup_that_its_home_has_lost_is_copied_from_another_region() {
    let Some(shop) = shop_or_skip("a home without snapshots") else {
        return;
    };
    shop.project.must(&["backup", "prod", "main"]);
    shop.project.must(&["replicate", "prod"]);
    let lose = |word: &str| {
        let lost = shop.project.objects("home", word);
        assert!(!lost.is_empty());
        lost.iter().for_each(|path| fs::remove_file(path).unwrap());
    };
    lose("/snapshots/prod/");
    let (plan, said) = shop.ends_with(0, &["refresh", "staging", "--dry-run", "--json"]);
    let plan: Value = serde_json::from_str(&plan).unwrap();
    assert_eq!(plan["region"], "away", "{plan}");
    assert!(
        said.contains("region `home` does not list snapshot"),
        "{said}"
    );
    lose("/packs/");
    lose("/index/");
    let report = shop.refresh(&[]);
    assert_eq!(report["published"], "shop", "{report}");
    let rows = "SELECT count(*) FROM customers";
    assert_eq!(shop.staged(rows), shop.production(rows));
}

#[test]
fn a_new_column_stops_the_refresh_with_its_name_and_the_line_to_add() {
    let Some(shop) = shop_or_skip("a column that no rule names") else {
        return;
    };
    shop.production("ALTER TABLE customers ADD COLUMN passport text");
    shop.project.must(&["backup", "prod", "main"]);
    let (_, said) = shop.ends_with(7, &["refresh", "staging"]);
    assert!(said.contains("passport"), "{said}");
    assert!(said.contains("passport = "), "no line to add: {said}");
    assert_eq!(shop.databases(), [] as [&str; 0]);
    shop.assert_nothing_left();
}

#[test]
fn masks_that_do_not_fit_a_type_are_refused_before_a_row_is_read_all_at_once() {
    let Some(shop) = shop_or_skip("masks that do not fit a type") else {
        return;
    };
    shop.production(
        "CREATE DOMAIN host AS inet; CREATE DOMAIN peer AS host;
         CREATE TYPE mood AS ENUM ('calm', 'cross');
         CREATE TABLE devices (
             id int PRIMARY KEY, address inet, peer peer, peers host[], made date, seen timestamptz,
             device uuid, extra json, mood mood, level smallint, card macaddr, note varchar(20), at time);
         INSERT INTO devices VALUES (1, '84.133.7.19', '84.133.7.0', '{84.133.7.1,84.133.7.2}', '2001-05-31',
             '2001-05-31 10:00+02', gen_random_uuid(), '{\"a\": 1}', 'calm', 7, '3c:22:fb:01:02:03', 'x', '10:33')",
    );
    let with = |columns: &str| {
        format!(
            "{RULES}\n[table.\"public.devices\".columns]\n{}",
            columns.replace("; ", "\n")
        )
    };
    shop.write_rules(&with(
        "id = 'permute_int'; address = 'email'; peer = 'name'; peers = { mask = 'array', items = 'city' }; \
         made = 'email'; seen = 'name'; device = 'city'; extra = 'text'; mood = 'name'; \
         level = { mask = 'permute_int', min = 1, max = 999999 }; card = { mask = 'const', value = 'x' }; \
         note = 'uuid'; at = 'redact'",
    ));
    let check = [
        "mask",
        "check",
        "--rules",
        "masking-rules/shop.toml",
        "--source",
        "prod/main",
    ];
    let expected = [
        "`public.devices.id` has type `integer`, and `permute_int`",
        "`public.devices.address` has type `inet`, and `email`",
        "`public.devices.peer` has type `public.peer`, and `name`",
        "`public.devices.peers` has type `public.host[]`, and `array`",
        "`public.devices.made` has type `date`, and `email`",
        "`public.devices.seen` has type `timestamp with time zone`, and `name`",
        "`public.devices.device` has type `uuid`, and `city`",
        "`public.devices.extra` has type `json`, and `text`",
        "`name` of `public.devices.mood` makes values that are no label of its type `public.mood`",
        "`public.devices.level` has type `smallint`, and `permute_int`",
        "`public.devices.card` has type `macaddr`, and `const`",
        "the mask of `public.devices.note` makes up to 36 bytes",
        "`public.devices.at` has type `time without time zone`, and `redact`",
        "what fits is `ip`, `dict`, `const`, `null`",
    ];
    let (_, said) = shop.ends_with(7, &check);
    for part in expected {
        assert!(said.contains(part), "{part}\n--\n{said}");
    }
    shop.project.must(&["backup", "prod", "main"]);
    let (_, said) = shop.ends_with(7, &["refresh", "staging"]);
    for part in expected {
        assert!(said.contains(part), "{part}\n--\n{said}");
    }
    assert_eq!(shop.databases(), [] as [&str; 0]);
    shop.assert_nothing_left();

    // What is said to fit is what the server takes.
    shop.write_rules(&with(
        "id = { mask = 'permute_int', min = 1, max = 999999999 }; address = 'ip'; peer = 'ip'; \
         peers = { mask = 'array', items = 'ip' }; made = 'shift_date'; seen = 'shift_date'; device = 'uuid'; \
         extra = { mask = 'json', unlisted = 'redact', paths = {} }; mood = { mask = 'dict', values = ['cross'] }; \
         level = { mask = 'permute_int', min = 1, max = 9999 }; card = 'mac'; note = { mask = 'hash', length = 20 }; \
         at = { mask = 'const', value = '00:00' }",
    ));
    shop.ends_with(0, &check);
    shop.refresh(&[]);
    assert_eq!(
        shop.staged("SELECT mood, at, level <> 7 FROM devices"),
        "cross|00:00:00|t"
    );
}

#[test]
fn what_leaks_in_a_definition_or_a_kept_column_stops_the_refresh() {
    let Some(shop) = shop_or_skip("leaks outside masked columns") else {
        return;
    };
    shop.project.must(&["backup", "prod", "main"]);
    shop.refresh(&[]);
    let serving = shop.staged("SELECT md5(string_agg(email, ',' ORDER BY id)) FROM customers");
    // A view that names somebody.
    let leak = "CREATE VIEW vip AS SELECT id FROM customers WHERE email = 'jo.doe@mail-to.de'";
    shop.production(leak);
    shop.project.must(&["backup", "prod", "main"]);
    let (_, said) = shop.ends_with(7, &["refresh", "staging"]);
    assert!(said.contains("view") && said.contains("vip"), "{said}");
    assert!(!said.contains("jo.doe"), "a value in a message: {said}");
    // One that names a row's value which no detector knows: it is found once the rows are known.
    shop.production("DROP VIEW vip");
    shop.production(
        "CREATE VIEW vip AS SELECT id FROM customers WHERE full_name = 'Zebulon Quirk-17'",
    );
    shop.project.must(&["backup", "prod", "main"]);
    let (printed, _) = shop.ends_with(7, &["refresh", "staging", "--json"]);
    assert!(printed.contains("ddl of view public.vip"), "{printed}");
    assert!(
        !printed.contains("Zebulon"),
        "a value in a report: {printed}"
    );
    // A column that is kept, and holds what another column masks.
    shop.production("DROP VIEW vip");
    shop.production(
        "UPDATE orders SET status = (SELECT full_name FROM customers WHERE id = customer_id)",
    );
    shop.project.must(&["backup", "prod", "main"]);
    let (printed, said) = shop.ends_with(7, &["refresh", "staging", "--json"]);
    let report: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(report["published"], Value::Null);
    assert!(said.is_empty() || !said.contains("Zebulon"), "{said}");
    let emails = "SELECT md5(string_agg(email, ',' ORDER BY id)) FROM customers";
    assert_eq!(shop.staged(emails), serving, "staging changed");
    assert_eq!(shop.databases(), ["shop"]);
}

#[test]
fn checks_and_commands_of_the_user_decide_too() {
    let Some(shop) = shop_or_skip("migrations, configuration and checks") else {
        return;
    };
    shop.project.must(&["backup", "prod", "main"]);
    shop.project.write(
        "staging.sql",
        "UPDATE settings SET value = 'staging' WHERE name = 'mode';",
    );
    let psql = shop.staging.installation().bin.join("psql");
    let migrate = format!(
        "migrate = \"{} -X -q -c 'CREATE TABLE migrated ()'\"\n",
        psql.display()
    );
    let lines =
        format!("{migrate}sql = [\"staging.sql\"]\nchecks = [\"SELECT count(*) = 0 FROM orders\"]");
    shop.configure(&lines);
    let (_, said) = shop.ends_with(7, &["refresh", "staging"]);
    assert!(said.contains("nothing was published"), "{said}");
    assert_eq!(shop.databases(), [] as [&str; 0]);
    shop.configure(&lines.replace("= 0", "> 0"));
    shop.refresh(&[]);
    assert_eq!(
        shop.staged("SELECT value FROM settings WHERE name = 'mode'"),
        "staging"
    );
    assert_eq!(shop.staged("SELECT count(*) FROM migrated"), "0");
    shop.configure("migrate = \"exit 3\"");
    let (_, said) = shop.ends_with(2, &["refresh", "staging"]);
    assert!(said.contains("`migrate`"), "{said}");
    assert_eq!(shop.databases(), ["shop"]);
}

#[test]
fn a_killed_refresh_leaves_staging_as_it_was_and_the_next_one_cleans_up() {
    let Some(shop) = shop_or_skip("a killed refresh") else {
        return;
    };
    shop.project.must(&["backup", "prod", "main"]);
    let whole = Duration::from_secs_f64(shop.refresh(&[])["secs"].as_f64().unwrap());
    let emails = "SELECT md5(string_agg(email, ',' ORDER BY id)) FROM customers";
    let serving = shop.staged(emails);
    // Every phase gets its turn; `LIFEBOAT_KILLS` asks for more.
    let kills = 3 + u32::try_from(crate::crash::kills()).unwrap();
    for kill in 1..=kills {
        let mut child = shop.command(&["refresh", "staging"]);
        let mut child = child
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(whole * kill / (kills + 1));
        child.kill().unwrap();
        child.wait().unwrap();
        let now = shop.staged(emails);
        let count = shop.staged("SELECT count(*) FROM customers");
        assert_eq!(count, CUSTOMERS.to_string());
        // Fresh pseudonyms each time, unless it was killed after it had published.
        if now != serving {
            assert_eq!(kill, kills, "killed early, and yet published");
        }
    }
    // Of servers that the dead left behind.
    std::thread::sleep(Duration::from_secs(1));
    shop.refresh(&[]);
    let databases = shop.databases();
    assert_eq!(databases.len(), 2, "{databases:?}");
    shop.assert_nothing_left();
}

#[test]
fn rules_are_proposed_from_a_server_and_held_against_it() {
    let Some(shop) = shop_or_skip("rules for a database on a server") else {
        return;
    };
    let (proposed, _) = shop.ends_with(0, &["mask", "discover", "--source", "prod/main"]);
    assert!(
        proposed.contains("[table.\"public.customers\".columns]"),
        "{proposed}"
    );
    let email = proposed.lines().find(|line| line.starts_with("email = "));
    assert!(
        email.is_some_and(|line| line.contains("email")),
        "{proposed}"
    );
    assert!(
        !proposed.contains("zebulon"),
        "a value in a proposal: {proposed}"
    );
    let check = [
        "mask",
        "check",
        "--rules",
        "masking-rules/shop.toml",
        "--source",
        "prod/main",
    ];
    shop.ends_with(0, &check);
    shop.production("ALTER TABLE customers ADD COLUMN passport text");
    let (_, said) = shop.ends_with(7, &check);
    assert!(said.contains("passport"), "{said}");
}

const CANARY: &str = "Qwyxlbrandt-Ozymora";

#[test]
fn a_planted_value_arrives_nowhere() {
    let Some(shop) = shop_or_skip("planted values") else {
        return;
    };
    let rules = RULES.replace("[policy]", "[policy]\ncanaries = \"env:CANARIES\"");
    shop.write_rules(&rules);
    shop.production(&format!(
        "UPDATE customers SET full_name = '{CANARY}', phone = '{CANARY}',
                address = jsonb_build_object('street', '{CANARY}', 'city', '{CANARY}') WHERE id = 7;
         UPDATE notes SET body = 'met {CANARY} at noon' WHERE id = 7;
         COMMENT ON TABLE orders IS 'for {CANARY}';
         SELECT lo_from_bytea(0, '{CANARY}')"
    ));
    shop.project.must(&["backup", "prod", "main"]);
    let refresh = |code| {
        let mut command = shop.command(&["refresh", "staging", "--json"]);
        let output = command.env("CANARIES", CANARY).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(output.status.code(), Some(code), "{said}{printed}");
        assert!(
            !said.contains(CANARY) && !printed.contains(CANARY),
            "{said}{printed}"
        );
        printed
    };
    // A note is free text, and only detectors know what in it is personal: the canary shows that.
    let printed = refresh(7);
    assert!(printed.contains("canary 1"), "{printed}");
    shop.production("DELETE FROM notes WHERE id = 7");
    shop.project.must(&["backup", "prod", "main"]);
    let printed = refresh(0);
    assert!(
        printed.contains("large objects"),
        "not told that they are left out: {printed}"
    );
    assert!(!shop.dump_of_staging().contains(CANARY));
    let log = fs::read_to_string(shop.staging.log_file()).unwrap();
    assert!(!log.contains(CANARY));
    // In a default it would reach the catalog: refused before a row moves.
    shop.production(&format!(
        "ALTER TABLE orders ALTER status SET DEFAULT '{CANARY}'"
    ));
    shop.project.must(&["backup", "prod", "main"]);
    refresh(7);
    shop.assert_nothing_left();
}

#[test]
fn a_part_of_a_database_is_whole_in_itself() {
    let Some(shop) = shop_or_skip("a subset") else {
        return;
    };
    shop.project.must(&["backup", "prod", "main"]);
    shop.configure("subset = { \"public.customers\" = \"id % 10 = 0\" }");
    let report = shop.refresh(&[]);
    assert_eq!(report["published"], "shop");
    // Those that the condition names, whoever they referred, and whoever referred any of these.
    let chosen = "WITH RECURSIVE down AS (
                      SELECT id FROM customers WHERE id % 10 = 0
                      UNION SELECT c.id FROM customers c JOIN down d ON c.referred_by = d.id),
                  up AS (
                      SELECT id FROM down
                      UNION SELECT c.referred_by FROM customers c JOIN up u ON c.id = u.id
                       WHERE c.referred_by IS NOT NULL)";
    let people = shop.production(&format!("{chosen} SELECT count(*) FROM up"));
    assert_eq!(shop.staged("SELECT count(*) FROM customers"), people);
    assert_ne!(people, CUSTOMERS.to_string(), "nothing was cut");
    // What hangs on those that were chosen; the server checked that nothing hangs in the air.
    for table in ["orders", "events", "notes"] {
        let theirs =
            format!("{chosen} SELECT count(*) FROM {table} JOIN down ON down.id = customer_id");
        let count = format!("SELECT count(*) FROM {table}");
        assert_eq!(shop.staged(&count), shop.production(&theirs), "{table}");
    }
    // What hangs on nothing with a condition is all there.
    assert_eq!(shop.staged("SELECT count(*) FROM settings"), "1");
    let wrong = "subset = { \"public.customers\" = \"nonsense = 1\" }";
    shop.configure(wrong);
    let (_, said) = shop.ends_with(1, &["refresh", "staging"]);
    assert!(
        said.contains("public.customers") && said.contains("nonsense"),
        "{said}"
    );
}

#[test]
fn what_is_no_copy_is_not_replaced_and_production_never_is() {
    let Some(shop) = shop_or_skip("databases that must stay") else {
        return;
    };
    shop.project.must(&["backup", "prod", "main"]);
    shop.staging.psql("CREATE DATABASE shop");
    shop.staged("CREATE TABLE precious ()");
    let (_, said) = shop.ends_with(7, &["refresh", "staging"]);
    assert!(
        said.contains("no refresh has made it") && said.contains("adopt"),
        "{said}"
    );
    shop.staged("SELECT count(*) FROM precious");
    // A role with no more rights than the documentation asks for.
    shop.staging.psql(
        "CREATE ROLE refresher LOGIN CREATEDB IN ROLE pg_signal_backend;
         ALTER DATABASE shop OWNER TO refresher; ALTER DATABASE shop SET work_mem = '5MB';
         GRANT CONNECT ON DATABASE shop TO pg_monitor",
    );
    let user = shop.staging.conninfo();
    let user = user
        .split_whitespace()
        .find(|word| word.starts_with("user="));
    shop.configure("adopt = true");
    shop.project
        .replace("environments/staging.toml", user.unwrap(), "user=refresher");
    let report = shop.refresh(&[]);
    assert_eq!(report["previous"].as_array().unwrap().len(), 1);
    assert_eq!(shop.staged("SHOW work_mem"), "5MB");
    let sql = "SELECT pg_get_userbyid(datdba), has_database_privilege('pg_monitor', oid, 'CONNECT')
                 FROM pg_database WHERE datname = 'shop'";
    assert_eq!(shop.staging.psql(sql), "refresher|t");
    // The same database under another name for its server is still production.
    let url = shop.project.cluster.conninfo();
    let url = url.replace("dbname=postgres", "dbname=shop application_name=other");
    let staging = std::fs::read_to_string(shop.project.root.join("environments/staging.toml"));
    let staging = staging.unwrap();
    let line = staging
        .lines()
        .find(|line| line.starts_with("database = "))
        .unwrap();
    let other = format!("database = \"{url}\"");
    shop.project
        .replace("environments/staging.toml", line, &other);
    let (_, said) = shop.ends_with(7, &["refresh", "staging"]);
    assert!(said.contains("the copy is made of it"), "{said}");
    shop.production("SELECT count(*) FROM customers");
}

#[test]
fn a_dry_run_refuses_what_the_run_would_and_leaves_both_servers_alone() {
    let Some(shop) = shop_or_skip("a look ahead of a refresh") else {
        return;
    };
    shop.project.must(&["backup", "prod", "main"]);
    let dry = ["refresh", "staging", "--dry-run"];
    let (printed, _) = shop.ends_with(0, &dry);
    for part in [
        "checked: its server, and that `shop` may be replaced",
        "not checked: whether the rules fit the columns",
    ] {
        assert!(printed.contains(part), "no {part:?} in\n{printed}");
    }
    // What a refresh that died has left behind is the next run's to remove.
    let left = "SELECT 'lifeboat_new_' || encode(substr(sha256('shop'), 1, 8), 'hex') || '_dead'";
    let left = shop.staging.psql(left);
    let left = left.trim();
    shop.staging.psql(&format!("CREATE DATABASE {left}"));
    shop.ends_with(0, &dry);
    assert_eq!(shop.databases(), [left]);
    shop.staging.psql(&format!("DROP DATABASE {left}"));
    // A server can be asked for its columns at once.
    shop.configure("read = \"server\"");
    let (printed, _) = shop.ends_with(0, &dry);
    assert!(
        printed.contains("checked: the rules, their key, and the definitions"),
        "{printed}"
    );
    shop.production("ALTER TABLE customers ADD COLUMN passport text");
    for args in [&dry[..], &dry[..2]] {
        let (_, said) = shop.ends_with(7, args);
        assert!(said.contains("passport = "), "no line to add: {said}");
    }
    shop.production("ALTER TABLE customers DROP COLUMN passport");
    assert_eq!(shop.databases(), [] as [&str; 0]);
    // A database that no refresh has made.
    shop.staging.psql("CREATE DATABASE shop");
    for args in [&dry[..], &dry[..2]] {
        let (_, said) = shop.ends_with(7, args);
        assert!(said.contains("no refresh has made it"), "{said}");
    }
    shop.staging.psql("DROP DATABASE shop");
    // No key, and no server.
    shop.write_rules(&RULES.replace("env:MASK_KEY", "env:NOBODY_HAS_IT"));
    for args in [&dry[..], &dry[..2]] {
        shop.ends_with(12, args);
    }
    shop.write_rules(RULES);
    let staging = shop.project.root.join("environments/staging.toml");
    let written = fs::read_to_string(&staging).unwrap();
    let host = written
        .split_whitespace()
        .find(|word| word.starts_with("port="))
        .unwrap();
    fs::write(&staging, written.replace(host, "port=1")).unwrap();
    let (_, as_run) = shop.ends_with(1, &dry[..2]);
    let (_, said) = shop.ends_with(1, &dry);
    assert_eq!(said.lines().next(), as_run.lines().next());
    shop.assert_nothing_left();
}
