//! Loading sound projects: values, layers, explanations.

mod support;

use std::time::Duration;

use lifeboat_config::{Config, SourceSpec, starter_files};
use lifeboat_model::{Diagnose, EnvironmentClass, ErrorKind, Rto};
use support::{PROD, Project};

#[test]
fn a_sound_project_loads_whole_and_silent() {
    let project = Project::sound();
    let loaded = project.load().unwrap();
    assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
    let config = loaded.config;
    assert_eq!(config.project, "demo");
    let prod = config.environment("prod").unwrap();
    assert_eq!(prod.class, EnvironmentClass::Production);
    assert_eq!(
        prod.objectives.rto,
        Some(Rto::new(Duration::from_secs(3600)))
    );
    let regions: Vec<_> = prod.regions().map(|name| name.as_str()).collect();
    assert_eq!(regions, ["eu-central", "eu-west"]);
    let region = config.region("eu-west").unwrap();
    assert_eq!(
        region.folder(),
        Some(&*project.root().join("regions/eu-west"))
    );
    let shop = prod.source("shop").unwrap();
    assert_eq!(shop.path, Some(project.root().join("production/shop.db")));
    assert!(matches!(
        shop.spec,
        SourceSpec::Sqlite {
            fingerprint: true,
            ..
        }
    ));
    let refresh = config
        .environment("staging")
        .unwrap()
        .refresh
        .as_ref()
        .unwrap();
    assert_eq!(config.source(&refresh.from).unwrap().1, shop);
    assert_eq!(refresh.keep_previous, 1);
    assert_eq!(prod.retention().hourly, Some(48));
    assert!(
        config
            .environment("staging")
            .unwrap()
            .retention()
            .is_empty()
    );
}

#[test]
fn a_folder_without_a_project_says_what_to_do() {
    let project = Project::of(&[]);
    assert_eq!(
        project.problems(),
        ["lifeboat.toml: there is no `lifeboat.toml` in `ROOT` \
          (hint: run `lifeboat init` there, or pass `--project DIR`)"]
    );
}

#[test]
fn a_slip_in_a_name_is_answered_with_the_name_meant() {
    let config = Project::sound().load().unwrap().config;
    let error = config.environment("prdo").unwrap_err();
    assert_eq!(
        error.to_string(),
        "unknown environment `prdo`; did you mean `prod`?"
    );
    assert_eq!(error.hint().unwrap(), "known environments: prod, staging");
    assert_eq!(error.kind(), ErrorKind::Usage);
    let error = config
        .environment("prod")
        .unwrap()
        .source("web")
        .unwrap_err();
    assert_eq!(error.to_string(), "unknown source `web`");
}

fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
    list.iter()
        .map(|(a, b)| ((*a).to_owned(), (*b).to_owned()))
        .collect()
}

#[test]
fn later_layers_win_and_each_value_tells_its_layer() {
    let project = Project::sound();
    let variables = pairs(&[
        ("LIFEBOAT__REGION__EU_WEST__URL", "/mnt/west"),
        ("LIFEBOAT__environments__prod__objectives__rto", "2h"),
        ("LIFEBOAT__ENVIRONMENTS__PROD__REPLICAS", "[\"eu-west\"]"),
        ("LIFEBOAT_LOG", "debug"),
    ]);
    let flags = pairs(&[("environments.prod.objectives.rto", "3h")]);
    let config = Config::load(project.root(), &variables, &flags)
        .unwrap()
        .config;
    assert_eq!(
        config.region("eu-west").unwrap().folder().unwrap().to_str(),
        Some("/mnt/west")
    );
    let prod = config.environment("prod").unwrap();
    assert_eq!(
        prod.objectives.rto,
        Some(Rto::new(Duration::from_secs(3 * 3600)))
    );

    let explain = |key: &str| {
        let found = config.explain(key).unwrap();
        (found.value, found.origin)
    };
    let told = |value: &str, origin: &str| (value.to_owned(), origin.to_owned());
    assert_eq!(
        explain("environments.prod.objectives.rto"),
        told("\"3h\"", "flag environments.prod.objectives.rto")
    );
    assert_eq!(
        explain("region.eu-west.url"),
        told("\"/mnt/west\"", "LIFEBOAT__REGION__EU_WEST__URL")
    );
    assert_eq!(
        explain("environments.prod.class"),
        told("\"production\"", "environments/prod.toml:1")
    );
    assert_eq!(
        explain("region.eu-west.location"),
        told("\"eu\"", "lifeboat.toml:13")
    );
    assert_eq!(
        explain("environments.prod.source.shop.fingerprint"),
        told("true", "default")
    );
}

#[test]
fn a_key_that_has_no_value_is_answered_with_those_that_have() {
    let config = Project::sound().load().unwrap().config;
    let error = config
        .explain("environments.prod.objectives.rtoo")
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "unknown key `environments.prod.objectives.rtoo`; \
         did you mean `environments.prod.objectives.rto`?"
    );
    assert!(error.known().contains(&"region.eu-west.url".to_owned()));
    assert_eq!(error.kind(), ErrorKind::Usage);
}

#[test]
fn an_environment_has_its_own_keys_where_it_names_them() {
    let project = Project::sound();
    let keys = "\n[keys]\nreader = \"env:PROD_READER\"\n";
    project.write("environments/prod.toml", &format!("{PROD}{keys}"));
    let config = project.load().unwrap().config;
    let keys = |name: &str| {
        let keys = &config.environment(name).unwrap().keys;
        keys.iter()
            .map(|(role, key)| format!("{role}={}", key.value))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        keys("prod"),
        ["writer=file:keys/writer.key", "reader=env:PROD_READER"]
    );
    assert_eq!(keys("staging"), ["writer=file:keys/writer.key"]);

    let variables = pairs(&[("LIFEBOAT__KEYS__READER", "env:OTHER")]);
    let config = Config::load(project.root(), &variables, &[])
        .unwrap()
        .config;
    for name in ["prod", "staging"] {
        let reader = config.environment(name).unwrap().keys.reader.clone();
        assert_eq!(reader.unwrap().value, "env:OTHER", "{name}");
    }
}

#[test]
fn a_variable_or_flag_that_sets_nothing_known_is_an_error() {
    let project = Project::sound();
    let variables = pairs(&[("LIFEBOAT__PROJCT", "x")]);
    let flags = pairs(&[("environments.prod.objectives.rto", "soon")]);
    let problems = Config::load(project.root(), &variables, &flags).unwrap_err();
    let told: Vec<_> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "flag environments.prod.objectives.rto: \
             `rto` must be a duration such as `5min` or `1h 30m`, not `soon`",
            "LIFEBOAT__PROJCT: unknown key `projct` in `lifeboat.toml` \
             (hint: did you mean `project`?)",
        ]
    );
}

#[test]
fn a_secret_given_by_variable_is_repeated_nowhere() {
    let project = Project::sound();
    let variables = pairs(&[("LIFEBOAT__KEYS__WRITER", "hunter2")]);
    let problems = Config::load(project.root(), &variables, &[]).unwrap_err();
    let text = problems.to_string();
    assert!(
        text.starts_with("LIFEBOAT__KEYS__WRITER: the writer key is not a reference"),
        "{text}"
    );
    assert!(!format!("{problems:?}").contains("hunter2"));
}

#[test]
fn a_secret_in_place_of_the_whole_table_is_repeated_nowhere() {
    let project = Project::sound();
    let keys = "[keys]\nwriter = \"file:keys/writer.key\"\n";
    project.edit("lifeboat.toml", keys, "");
    project.edit("lifeboat.toml", "version", "keys = \"hunter2\"\nversion");
    let problems = project.load().unwrap_err();
    assert!(
        problems
            .to_string()
            .starts_with("lifeboat.toml:1: `keys` must be a table")
    );
    assert!(!format!("{problems:?}").contains("hunter2"));
}

/// Which table tells the newest commit only the user can know.
fn assert_only_newest_commit_is_missing(warnings: &lifeboat_model::Problems) {
    assert_eq!(warnings.len(), 1, "{warnings}");
    assert!(
        warnings.to_string().contains("add `newest_commit`"),
        "{warnings}"
    );
}

#[test]
fn the_starter_project_loads_and_asks_for_one_thing() {
    for name in ["my shop", "quo\"te\\d"] {
        let project = Project::of(&[]);
        for (path, text) in starter_files(name) {
            project.write(path, &text);
        }
        let loaded = project.load().unwrap();
        assert_only_newest_commit_is_missing(&loaded.warnings);
        assert_eq!(loaded.config.project, name);
        assert_eq!(loaded.config.environments.len(), 2);
    }
}

#[test]
fn the_commented_refresh_of_the_starter_project_works_once_uncommented() {
    let project = Project::of(&[("masking-rules/app.toml", "")]);
    for (path, text) in starter_files("demo") {
        project.write(path, &text);
    }
    let file = "environments/staging.toml";
    for line in [
        "[refresh]",
        "from =",
        "rules =",
        "target =",
        "keep_previous =",
    ] {
        project.edit(file, &format!("# {line}"), line);
    }
    project.edit(file, "\"development\"", "\"staging\"");
    let loaded = project.load().unwrap();
    assert_only_newest_commit_is_missing(&loaded.warnings);
    assert!(
        loaded
            .config
            .environment("staging")
            .unwrap()
            .refresh
            .is_some()
    );
}

#[test]
fn a_receiver_has_a_slot_unless_it_is_to_have_none() {
    let slot = |lines: &str| {
        let project = Project::sound();
        let text = format!(
            "{PROD}\n[source.main]\nkind = \"postgres\"\nurl = \"host=/run/postgresql\"\n{lines}\n"
        );
        project.write("environments/prod.toml", &text);
        let config = project.load().unwrap().config;
        let source = config.environment("prod").unwrap().source("main").unwrap();
        source.cluster().unwrap().slot.clone()
    };
    let temporary = slot("").unwrap();
    assert_eq!((temporary.name, temporary.keep_bytes_max), (None, 16 << 30));
    let named = slot("slot = \"mine\"\nslot_keep_gib = 2").unwrap();
    assert_eq!(named.name.as_deref(), Some("mine"));
    assert_eq!(named.keep_bytes_max, 2 << 30);
    assert_eq!(slot("slot_keep_gib = 0"), None);
}
