//! How a copy takes the place of the database before it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use lifeboat_model::{Diagnose as _, ErrorKind};
use lifeboat_source_postgres::connect::SqlSession;
use lifeboat_source_postgres::logical::{LogicalSource, TargetProblem, TargetServer};
use lifeboat_testkit::{PgCluster, PgInstallation};

use crate::support::{conninfo, conninfo_as};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_database_takes_the_place_of_one_in_use() {
    for installation in PgInstallation::all_or_skip("publish") {
        let cluster = Arc::new(PgCluster::on(installation).without_fsync().start());
        make_old_database(&cluster);
        let target = conninfo(&cluster, "app_db");
        let server = TargetServer::connect(&target).await.unwrap();
        let source = LogicalSource::open(&target).await.unwrap();
        let settings = source.catalog().settings.clone();
        let new = unfinished();
        let created = server.create(&new, "app_db", &settings, None).await;
        created.unwrap();
        assert_eq!(server.leftovers("app_db").await.unwrap(), [new.as_str()]);
        cluster.psql_in(&new, "CREATE TABLE which AS SELECT 'new' AS which");
        cluster.psql_in(&new, "GRANT SELECT ON which TO PUBLIC");

        let (previous, seen) = publish_under_clients(&cluster, &server).await;
        assert_eq!(previous, "app_db_previous_20260304050607");
        assert_eq!(
            server.previous("app_db").await.unwrap(),
            [previous.as_str()]
        );
        assert_eq!(server.leftovers("app_db").await.unwrap(), [] as [&str; 0]);
        assert_eq!(cluster.psql_in(&previous, "SELECT which FROM which"), "old");
        let first_new = seen.iter().position(|which| which == "new").unwrap();
        assert!(seen[..first_new].iter().all(|which| which == "old"));
        assert!(
            seen[first_new..].iter().all(|which| which == "new"),
            "the old one came back"
        );
        what_belongs_to_the_name_stayed(&cluster);
        server.drop(&previous).await.unwrap();
        assert_eq!(server.previous("app_db").await.unwrap(), [] as [&str; 0]);
    }
}

fn unfinished() -> String {
    TargetServer::unfinished_name("app_db", "0123456789abcdef")
}

fn make_old_database(cluster: &PgCluster) {
    cluster.psql("CREATE ROLE app LOGIN; CREATE ROLE other LOGIN");
    cluster.psql("CREATE DATABASE app_db OWNER app");
    cluster.psql("ALTER DATABASE app_db SET work_mem = '7MB'");
    cluster.psql("ALTER DATABASE app_db SET search_path = \"$user\", public, \"Odd, one\"");
    cluster.psql("ALTER ROLE app IN DATABASE app_db SET statement_timeout = '5s'");
    cluster.psql(
        "REVOKE ALL ON DATABASE app_db FROM PUBLIC; GRANT CONNECT ON DATABASE app_db TO other",
    );
    cluster.psql_in("app_db", "CREATE TABLE which AS SELECT 'old' AS which");
    cluster.psql_in("app_db", "GRANT SELECT ON which TO PUBLIC");
}

/// Publishes while clients ask; returns the old database's new name, and what the clients saw.
async fn publish_under_clients(
    cluster: &Arc<PgCluster>,
    server: &TargetServer,
) -> (String, Vec<String>) {
    let stop = Arc::new(AtomicBool::new(false));
    let seen = Arc::new(Mutex::new(Vec::new()));
    let clients = (0..3).map(|_| keep_asking(cluster, stop.clone(), seen.clone()));
    let clients: Vec<_> = clients.collect();
    let seen_so_far = || seen.lock().unwrap().len();
    while seen_so_far() < 50 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let stamp: Timestamp = "2026-03-04T05:06:07Z".parse().unwrap();
    let previous = server
        .publish(&unfinished(), "app_db", stamp)
        .await
        .unwrap();
    let until = seen_so_far() + 50;
    while seen_so_far() < until {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.unwrap();
    }
    (previous.unwrap(), seen.lock().unwrap().clone())
}

fn what_belongs_to_the_name_stayed(cluster: &PgCluster) {
    let ask = |sql: &str| cluster.psql_in("app_db", sql);
    assert_eq!(ask("SHOW work_mem"), "7MB");
    assert_eq!(ask("SHOW search_path"), "\"$user\", public, \"Odd, one\"");
    let of_role =
        "SELECT setconfig FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase
                    WHERE d.datname = 'app_db' AND setrole = 'app'::regrole";
    assert_eq!(ask(of_role), "{statement_timeout=5s}");
    let owner = "SELECT datdba::regrole FROM pg_database WHERE datname = 'app_db'";
    assert_eq!(ask(owner), "app");
    let may = |role: &str| {
        ask(&format!(
            "SELECT has_database_privilege('{role}', 'app_db', 'CONNECT')"
        ))
    };
    cluster.psql("CREATE ROLE stranger LOGIN");
    assert_eq!(
        (may("app"), may("other"), may("stranger")),
        ("t".into(), "t".into(), "f".into())
    );
    cluster.psql("DROP ROLE stranger");
}

/// A client that asks which database it is in, and comes back when it is thrown out.
fn keep_asking(
    cluster: &Arc<PgCluster>,
    stop: Arc<AtomicBool>,
    seen: Arc<Mutex<Vec<String>>>,
) -> tokio::task::JoinHandle<()> {
    let conninfo = conninfo_as(cluster, "app", "app_db");
    tokio::spawn(async move {
        while !stop.load(Ordering::Relaxed) {
            let Ok(session) = SqlSession::connect(&conninfo).await else {
                tokio::time::sleep(Duration::from_millis(1)).await;
                continue;
            };
            while !stop.load(Ordering::Relaxed) {
                let Ok(row) = session
                    .query_one("SELECT which FROM public.which", &[])
                    .await
                else {
                    break;
                };
                seen.lock().unwrap().push(row.get(0));
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
    })
}

#[tokio::test]
async fn what_a_server_lacks_is_told_before_anything_is_made() {
    let Some(cluster) = PgCluster::or_skip("what a server lacks") else {
        return;
    };
    cluster.psql("CREATE ROLE weak LOGIN");
    let source = LogicalSource::open(&conninfo(&cluster, "postgres"))
        .await
        .unwrap();
    let mut catalog = source.catalog().clone();
    catalog.policy_roles = vec!["postgres".to_owned(), "nobody_here".to_owned()];
    let weak = conninfo_as(&cluster, "weak", "somewhere");
    let server = TargetServer::connect(&weak).await.unwrap();
    let newer = source.version() + 10_000;
    let (target, newer_major) = (source.version() / 10_000, newer / 10_000);
    assert_eq!(
        server.check(&catalog, newer).await.unwrap(),
        [
            TargetProblem::Older {
                target,
                source: newer_major
            },
            TargetProblem::MayNotCreate("weak".to_owned()),
            TargetProblem::Role("nobody_here".to_owned()),
        ]
    );
}

#[tokio::test]
async fn two_refreshes_of_one_database_do_not_meet() {
    let Some(cluster) = PgCluster::or_skip("two refreshes") else {
        return;
    };
    let target = conninfo(&cluster, "app_db");
    let first = TargetServer::connect(&target).await.unwrap();
    let second = TargetServer::connect(&target).await.err().unwrap();
    assert_eq!(second.kind(), ErrorKind::Busy, "{second}");
    let elsewhere = TargetServer::connect(&conninfo(&cluster, "other_db")).await;
    assert!(elsewhere.is_ok());
    drop(first);
}

/// What is refreshed may be the very database that servers come with.
#[tokio::test]
async fn the_database_postgres_can_be_replaced() {
    let Some(cluster) = PgCluster::or_skip("replace postgres") else {
        return;
    };
    let target = conninfo(&cluster, "postgres");
    let settings = LogicalSource::open(&target)
        .await
        .unwrap()
        .catalog()
        .settings
        .clone();
    let server = TargetServer::connect(&target).await.unwrap();
    server
        .create("made_anew", "postgres", &settings, None)
        .await
        .unwrap();
    cluster.psql_in("made_anew", "CREATE TABLE new ()");
    let stamp: Timestamp = "2026-03-04T05:06:07Z".parse().unwrap();
    server
        .publish("made_anew", "postgres", stamp)
        .await
        .unwrap();
    assert_eq!(cluster.psql("SELECT to_regclass('new') IS NOT NULL"), "t");
}
