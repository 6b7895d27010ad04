//! Connection strings as people write them.

use std::os::unix::fs::PermissionsExt as _;

use lifeboat_model::Diagnose as _;
use proptest::prelude::*;

use super::*;

fn parse(text: &str) -> Result<Conninfo, ConninfoError> {
    parse_with(text, &[])
}

fn parse_with(text: &str, variables: &[(&str, &str)]) -> Result<Conninfo, ConninfoError> {
    let variable = |name: &str| {
        let found = variables.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| (*value).to_owned())
    };
    Conninfo::parse(
        text,
        Surroundings {
            variable: &variable,
        },
    )
}

fn hosts(text: &str) -> Vec<String> {
    let conninfo = parse(text).unwrap();
    conninfo.hosts.iter().map(Host::to_string).collect()
}

#[test]
fn a_url_says_all_there_is() {
    let url = "postgresql://ann:p%40ss%2Fword@db1:5433,[::1],db3:5435/shop%20db\
        ?sslmode=require&application_name=a%26b&connect_timeout=7&options=-c%20a%3Db";
    let conninfo = parse(url).unwrap();
    assert_eq!(conninfo.user, "ann");
    assert_eq!(conninfo.dbname, "shop db");
    assert_eq!(conninfo.password().unwrap().expose(), "p@ss/word");
    assert_eq!(conninfo.ssl.mode, SslMode::Require);
    assert_eq!(conninfo.application_name, "a&b");
    assert_eq!(conninfo.connect_timeout, Duration::from_secs(7));
    assert_eq!(conninfo.options.as_deref(), Some("-c a=b"));
    assert_eq!(hosts(url), ["db1:5433", "[::1]:5432", "db3:5435"]);
    assert_eq!(
        hosts("postgres:///shop?host=/run/pg&port=6000&user=a"),
        ["/run/pg/.s.PGSQL.6000"]
    );
    assert_eq!(
        hosts("postgresql://%2Frun%2Fpg/shop?user=a"),
        ["/run/pg/.s.PGSQL.5432"]
    );
}

#[test]
fn pairs_may_be_quoted_and_spaced() {
    let text = r"host = db1 user=ann  password = 'it\'s \\ here' dbname='' port=6000";
    let conninfo = parse(text).unwrap();
    assert_eq!(conninfo.password().unwrap().expose(), r"it's \ here");
    assert_eq!(
        conninfo.dbname, "ann",
        "the database is named after the user"
    );
    assert_eq!(
        hosts("host=a,b hostaddr=10.0.0.1,10.0.0.2 user=x"),
        ["a:5432", "b:5432"]
    );
}

#[test]
fn the_string_wins_over_the_service_and_that_over_variables() {
    let folder = tempfile::tempdir().unwrap();
    let services = folder.path().join("services");
    std::fs::write(
        &services,
        "# ours\n[shop]\nhost=from-service\nport=6001\n[x]\nport=1\n",
    )
    .unwrap();
    let variables = [
        ("PGSERVICEFILE", services.to_str().unwrap()),
        ("PGSERVICE", "shop"),
        ("PGHOST", "from-variable"),
        ("PGUSER", "from-variable"),
    ];
    let conninfo = parse_with("port=6002", &variables).unwrap();
    assert_eq!(conninfo.hosts[0].to_string(), "from-service:6002");
    assert_eq!(conninfo.user, "from-variable");
    let error = parse_with("service=none", &variables).unwrap_err();
    assert!(matches!(error, ConninfoError::NoService { .. }), "{error}");
}

#[test]
fn a_password_file_counts_only_if_nobody_else_reads_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pass");
    std::fs::write(
        &file,
        "# old\nother:*:*:*:no\nd\\:b:5432:*:ann:se\\:cret\n*:*:*:*:any\n",
    )
    .unwrap();
    let set_mode = |mode| {
        let permissions = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(&file, permissions).unwrap();
    };
    let text = format!(
        "hostaddr=10.0.0.1,10.0.0.2 host=d:b,x user=ann passfile={}",
        file.display()
    );
    set_mode(0o600);
    let conninfo = parse(&text).unwrap();
    let passwords: Vec<_> = conninfo
        .hosts
        .iter()
        .map(|host| host.password.clone())
        .collect();
    let passwords: Vec<_> = passwords.iter().flatten().map(Password::expose).collect();
    assert_eq!(passwords, ["se:cret", "any"]);
    set_mode(0o640);
    let conninfo = parse(&text).unwrap();
    assert!(conninfo.password().is_none());
    assert_eq!(conninfo.ignored_passfile.as_deref(), Some(file.as_path()));
}

#[test]
fn a_password_is_never_printed() {
    let bad = [
        "postgresql://ann:hunter2@db/%zz",
        "postgresql://ann:hunter2@db:port/x",
        "host=db password=hunter2 nonsense",
        "host=db password='hunter2",
        "host=db password=hunter2 sslmode=perhaps",
        "host=db password=hunter2 hots=x",
    ];
    for text in bad {
        let error = parse(text).unwrap_err();
        let shown = format!("{error} {error:?} {:?}", error.hint());
        assert!(!shown.contains("hunter2"), "{shown}");
    }
    let conninfo = parse("host=db user=ann password=hunter2").unwrap();
    let shown = format!("{conninfo} {conninfo:?} {}", conninfo.to_libpq());
    assert!(!shown.contains("hunter2"), "{shown}");
}

#[test]
fn what_cannot_be_honoured_is_refused_by_name() {
    for (text, name) in [
        ("user=a sslmode=maybe", "sslmode"),
        ("user=a port=0", "port"),
        ("user=a host=a,b port=1,2,3", "port"),
        ("user=a hostaddr=db", "hostaddr"),
        ("user=a requirepeer=postgres", "requirepeer"),
        ("user=a connect_timeout=soon", "connect_timeout"),
        ("user=a sslrootcert=system sslmode=require", "sslmode"),
        ("user=a replication=true", "replication"),
        ("user=a colour=red", "colour"),
    ] {
        let error = parse(text).unwrap_err();
        assert!(
            error.to_string().contains(&format!("`{name}`")),
            "{text}: {error}"
        );
        assert!(error.hint().is_some());
    }
    let variables = [("PGUSER", "a"), ("PGREQUIREPEER", "postgres")];
    let error = parse_with("host=db", &variables).unwrap_err();
    assert!(error.to_string().contains("`requirepeer`"), "{error}");
}

proptest! {
    #[test]
    fn what_is_written_for_children_is_read_back(
        dbname in "[ -~]{1,20}", options in "\\PC{1,20}",
    ) {
        let text = format!("host=db user=ann dbname={} options={}", text::quote(&dbname), text::quote(&options));
        let first = parse(&text).unwrap();
        prop_assert_eq!(&first.dbname, &dbname);
        prop_assert_eq!(parse(&first.to_libpq()).unwrap(), first);
    }

    #[test]
    fn any_text_is_parsed_or_refused(text in "(postgresql://)?\\PC{0,40}") {
        // Whatever comes, no panic; that it holds nothing odd is not asked.
        drop(parse(&text));
    }
}
