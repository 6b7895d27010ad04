//! Encrypted connections, with certificates that openssl makes for the test.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use lifeboat_source_postgres::connect::{ConnectError, SqlSession};
use lifeboat_source_postgres::replication::WalSender;
use lifeboat_testkit::{PgCluster, PgInstallation, StopMode};

use crate::support::parse;

fn openssl(folder: &Path, arguments: &str) {
    let output = Command::new("openssl")
        .args(arguments.split_whitespace())
        .current_dir(folder)
        .output()
        .expect("openssl is installed");
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "openssl {arguments}: {message}");
}

/// Makes a root, a certificate for `db.example` signed by it, and a root that signed nothing.
fn make_certificates(folder: &Path) {
    std::fs::write(
        folder.join("names"),
        "subjectAltName=DNS:db.example\nbasicConstraints=CA:FALSE\n",
    )
    .unwrap();
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    for root in ["root", "other"] {
        openssl(
            folder,
            &format!("req -x509 {key} -days 2 -subj /CN={root} -keyout {root}.key -out {root}.crt"),
        );
    }
    openssl(
        folder,
        &format!("req {key} -subj /CN=server -keyout server.key -out server.csr"),
    );
    openssl(
        folder,
        "x509 -req -in server.csr -CA root.crt -CAkey root.key -CAcreateserial -days 2 -sha384 \
         -extfile names -out server.crt",
    );
}

/// Starts a server with encryption: the newest installed one that was compiled with it.
fn encrypted_cluster() -> Option<(PgCluster, PathBuf)> {
    for installation in PgInstallation::all_or_skip("encryption").iter().rev() {
        let mut cluster = PgCluster::on(installation).loopback("secret").start();
        if cluster.psql("SHOW ssl_library") != "OpenSSL" {
            continue;
        }
        let folder = cluster.make_folder("certificates");
        make_certificates(&folder);
        for name in ["server.crt", "server.key"] {
            let copy = cluster.data_dir().join(name);
            std::fs::copy(folder.join(name), &copy).unwrap();
            let owner = std::fs::metadata(cluster.data_dir()).unwrap();
            std::os::unix::fs::chown(&copy, Some(owner.uid()), Some(owner.gid())).unwrap();
            let private = std::fs::Permissions::from_mode(0o600);
            std::fs::set_permissions(&copy, private).unwrap();
        }
        cluster.append_conf("ssl = on");
        cluster.stop(StopMode::Fast);
        let hba = "local all all trust\nhostssl all all all scram-sha-256\n\
                   hostssl replication all all scram-sha-256\n";
        std::fs::write(cluster.data_dir().join("pg_hba.conf"), hba).unwrap();
        cluster.start();
        return Some((cluster, folder));
    }
    None
}

#[tokio::test(flavor = "multi_thread")]
async fn the_mode_decides_which_servers_are_trusted() {
    let Some((cluster, folder)) = encrypted_cluster() else {
        return;
    };
    let text = |name: &str, more: &str| {
        format!(
            "hostaddr=127.0.0.1 host={name} port={} user=postgres password=secret dbname=postgres {more}",
            cluster.port()
        )
    };
    let root = format!("sslrootcert={}", folder.join("root.crt").display());
    let other = format!("sslrootcert={}", folder.join("other.crt").display());
    let pinned = format!("sslrootcert={}", folder.join("server.crt").display());
    let trusted = [
        text("any.example", "sslmode=prefer"),
        text("any.example", "sslmode=allow"),
        text("any.example", "sslmode=require"),
        text("any.example", &format!("sslmode=verify-ca {root}")),
        text("db.example", &format!("sslmode=verify-full {root}")),
        text("db.example", &format!("sslmode=verify-full {pinned}")),
        text(
            "db.example",
            &format!("sslmode=verify-full {root} channel_binding=require"),
        ),
    ];
    for way in trusted {
        let session = SqlSession::connect(&parse(&way)).await;
        let session = session.unwrap_or_else(|error| panic!("{way}: {error:?}"));
        let row = session
            .query_one(
                "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()",
                &[],
            )
            .await;
        assert!(row.unwrap().get::<_, bool>(0), "{way} is not encrypted");
        let mut sender = WalSender::connect(&parse(&way)).await.unwrap();
        sender.identify_system().await.unwrap();
    }
    let refused = [
        text("any.example", &format!("sslmode=verify-full {root}")),
        text("any.example", &format!("sslmode=verify-full {pinned}")),
        text("db.example", &format!("sslmode=verify-ca {other}")),
        text("db.example", &format!("sslmode=require {other}")),
    ];
    for way in refused {
        let error = SqlSession::connect(&parse(&way)).await.unwrap_err();
        assert!(
            matches!(error, ConnectError::Tls { .. }),
            "{way}: {error:?}"
        );
    }
    let error = SqlSession::connect(&parse(&text("db.example", "sslmode=verify-full"))).await;
    assert!(matches!(error, Err(ConnectError::NoRoots)), "{error:?}");
    let error = SqlSession::connect(&parse(&text("db.example", "sslmode=disable"))).await;
    assert!(
        matches!(error, Err(ConnectError::TlsRequired { .. })),
        "{error:?}"
    );
}
