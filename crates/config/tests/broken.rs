//! Broken projects: every mistake is told at once, at its line.

mod support;

use support::{BASE, PROD, Project, STAGING, assert_one};

#[test]
fn a_thoroughly_broken_project_is_told_every_mistake_in_one_go() {
    let project = Project::sound();
    project.write(
        "lifeboat.toml",
        r#"version = 2
projct = "demo"

[keys]
writer = "hunter2"
reader = "file:regions/home/reader.key"

[region.home]
url = "regions/home"
location = "eu"

[region.bucket]
url = "s3://Bucket/x"
location = "us"

[region.twin]
url = "./regions/home/"
location = "us"
"#,
    );
    project.write(
        "environments/prod.toml",
        r#"class = "production"
region = "home"
replicas = ["home", "twin", "hme"]
residency = ["eu"]
schedule = "prodction"

[objectives]
rto = "1"

[source.shop]
kind = "sqlite"
path = "production/shop.db"
include = ["**"]

[source.Config]
kind = "folder"
path = "production/config"
"#,
    );
    project.write(
        "environments/staging.toml",
        r#"class = "stagin"
region = "home"
"#,
    );
    project.write(
        "environments/dev.toml",
        r#"class = "development"
region = "home"

[refresh]
from = "prod/shp"
rules = "masking-rules/none.toml"
target = "production/shop.db"
keep_previous = -1
"#,
    );
    let errors = project.errors();
    let base = [
        (1, "version 2 of the configuration is not known"),
        (1, "`lifeboat.toml` needs `project`"),
        (
            2,
            "unknown key `projct` in `lifeboat.toml` (hint: did you mean `project`?)",
        ),
        (5, "the writer key is not a reference"),
        (6, "the reader key lies inside region `home`"),
        (
            13,
            "`s3://Bucket/x` does not name a bucket: its name has 3 to 63 of a-z, 0-9, `-` and `.`",
        ),
        (
            17,
            "regions `twin` and `home` (lifeboat.toml:9) have the same url",
        ),
    ];
    for (line, what) in base {
        assert_one(&errors, &format!("lifeboat.toml:{line}"), what);
    }
    let prod = [
        (3, "replica `home` is the home region itself"),
        (
            3,
            "region `twin` lies in `us` (lifeboat.toml:18), outside the residency `eu` of `prod` (environments/prod.toml:4)",
        ),
        (3, "there is no region `hme` (hint: did you mean `home`?)"),
        (
            5,
            "there is no `schedules/prodction.toml` (hint: did you mean `production`?)",
        ),
        (8, "`rto` must be a duration"),
        (7, "production environment `prod` has no `rpo` objective"),
        (13, "unknown key `include` in [source.shop]"),
        (15, "`Config` is not a valid source name"),
        (16, "`folder` is no source kind; one of: files, sqlite"),
    ];
    for (line, what) in prod {
        assert_one(&errors, &format!("environments/prod.toml:{line}"), what);
    }
    assert_one(
        &errors,
        "environments/staging.toml:1",
        "`stagin` is no environment class",
    );
    let dev = [
        (5, "unknown source `shp`; did you mean `shop`?"),
        (7, "would overwrite the production source `prod/shop`"),
        (8, "`keep_previous` must be 0 to 100, not -1"),
    ];
    for (line, what) in dev {
        assert_one(&errors, &format!("environments/dev.toml:{line}"), what);
    }
    assert_eq!(
        errors.len(),
        base.len() + prod.len() + 1 + dev.len(),
        "{errors:#?}"
    );
    assert!(!errors.concat().contains("hunter2"));
}

/// Loads the sound project with one passage changed and returns its errors.
fn with(path: &str, from: &str, to: &str) -> Vec<String> {
    let project = Project::sound();
    project.edit(path, from, to);
    project.errors()
}

#[test]
fn production_without_its_safeguards_is_refused() {
    let prod = "environments/prod.toml";
    let cases = [
        (
            "replicas = [\"eu-west\"]\n",
            "has no replica in another region",
        ),
        ("residency = [\"eu\"]\n", "has no residency"),
        ("schedule = \"production\"\n", "has no schedule"),
        ("rto = \"1h\"\n", "has no `rto` objective"),
        (
            "[objectives]\nrto = \"1h\"\nrpo = \"2h\"\n",
            "has no `rpo` objective",
        ),
    ];
    for (passage, what) in cases {
        let errors = with(prod, passage, "");
        assert!(
            errors.iter().any(|error| error.contains(what)),
            "{what}: {errors:#?}"
        );
    }
}

#[test]
fn production_databases_need_an_hourly_tier() {
    let errors = with(
        "schedules/production.toml",
        "name = \"hourly\"",
        "name = \"weekly\"",
    );
    assert_one(
        &errors,
        "environments/prod.toml:5",
        "schedule `production` has no hourly backup, which production environment `prod` needs",
    );
}

#[test]
fn a_refresh_must_not_overwrite_production_or_a_repository() {
    let staging = "environments/staging.toml";
    let errors = with(staging, "staging/shop.db", "./x/../production/shop.db");
    assert_one(
        &errors,
        "environments/staging.toml:8",
        "would overwrite the production source `prod/shop`",
    );
    let errors = with(staging, "staging/shop.db", "production/config/shop.db");
    assert_one(
        &errors,
        "environments/staging.toml:8",
        "would overwrite the production source `prod/config`",
    );
    let errors = with(staging, "staging/shop.db", "regions/eu-west/x.db");
    assert_one(
        &errors,
        "environments/staging.toml:8",
        "would write into region `eu-west`",
    );
}

#[test]
fn a_refresh_comes_from_a_database_that_exists_by_rules_that_exist() {
    let staging = "environments/staging.toml";
    let errors = with(staging, "prod/shop", "prod/shp");
    assert_one(
        &errors,
        "environments/staging.toml:6",
        "unknown source `shp`; did you mean `shop`?",
    );
    let errors = with(staging, "prod/shop", "prod/config");
    assert_one(
        &errors,
        "environments/staging.toml:6",
        "`target` asks for one of kind sqlite",
    );
    let errors = with(staging, "prod/shop", "prod");
    assert_one(
        &errors,
        "environments/staging.toml:6",
        "write `ENVIRONMENT/SOURCE`",
    );
}

#[test]
fn a_folder_that_a_refresh_replaces_holds_nothing_else() {
    let staging = "environments/staging.toml";
    let cases = [
        (
            "production",
            "would overwrite the production source `prod/config`",
        ),
        (
            "production/config/deeper",
            "would overwrite the production source `prod/config`",
        ),
        ("regions", "would write into region `eu-central`"),
        (".", "would replace the project"),
    ];
    for (folder, what) in cases {
        let project = Project::sound();
        project.edit(staging, "prod/shop", "prod/config");
        let target = "target = \"staging/shop.db\"";
        project.edit(staging, target, &format!("folder = \"{folder}\""));
        let errors = project.errors();
        let found = errors.iter().any(|error| error.contains(what));
        assert!(found, "{folder}: {errors:#?}");
    }
    let project = Project::sound();
    project.edit(staging, "prod/shop", "prod/config");
    let target = "target = \"staging/shop.db\"";
    project.edit(
        staging,
        target,
        "folder = \"staging/tables\"\nnull = \"NULL\"",
    );
    assert_eq!(project.errors(), [] as [&str; 0]);
    project.edit(
        staging,
        "folder =",
        "target = \"staging/shop.db\"\nfolder =",
    );
    assert_one(
        &project.errors(),
        "environments/staging.toml:9",
        "`target` and `folder` both say what is replaced",
    );
}

#[test]
fn two_environments_do_not_replace_the_same() {
    for target in [
        "target = \"staging/shop.db\"",
        "folder = \"staging/shop.db\"",
    ] {
        let project = Project::sound();
        let staging = "environments/staging.toml";
        if target.starts_with("folder") {
            project.edit(staging, "prod/shop", "prod/config");
            project.edit(staging, "target = \"staging/shop.db\"", target);
        }
        let text = std::fs::read_to_string(project.root().join(staging)).unwrap();
        project.write("environments/test.toml", &text);
        let errors = project.errors();
        let what = "the refresh of environment `staging` replaces it, too";
        let found = errors.iter().any(|error| error.contains(what));
        assert!(found, "{target}: {errors:#?}");
    }
}

#[test]
fn an_empty_folder_to_replace_is_told_what_it_is_for() {
    let project = Project::sound();
    let staging = "environments/staging.toml";
    project.edit(staging, "target = \"staging/shop.db\"", "folder = \"\"");
    let problems = project.load().unwrap_err();
    let mut problems = problems.iter();
    let empty = problems.find(|one| one.message.contains("`folder` must not be empty"));
    let hint = empty.and_then(|one| one.hint.clone()).unwrap_or_default();
    assert!(hint.contains("CSV"), "{hint:?}");
}

#[test]
fn missing_rules_of_staging_stop_nothing_in_production() {
    let project = Project::sound();
    project.edit("environments/staging.toml", "webshop.toml", "shop.toml");
    assert_eq!(project.errors(), [] as [&str; 0]);
    assert_one(
        &project.problems(),
        "environments/staging.toml:7",
        "there are no masking rules at `ROOT/masking-rules/shop.toml`",
    );
}

#[test]
fn no_refresh_replaces_production() {
    let refresh = STAGING.split_once("\n\n").unwrap().1;
    let project = Project::sound();
    project.write("environments/prod.toml", &format!("{PROD}\n{refresh}"));
    let errors = project.errors();
    assert_one(
        &errors,
        "environments/prod.toml:21",
        "masked production data must not be restored into a production environment",
    );
}

#[test]
fn raw_production_files_are_no_source_of_another_class() {
    let project = Project::sound();
    let source = "\n[source.copy]\nkind = \"sqlite\"\npath = \"staging/../production/shop.db\"\n";
    project.write("environments/staging.toml", &format!("{STAGING}{source}"));
    assert_one(
        &project.errors(),
        "environments/staging.toml:12",
        "source `copy` of staging environment `staging` is the production source `prod/shop`",
    );
}

#[test]
fn a_source_that_holds_its_own_backups_is_refused() {
    let errors = with("environments/prod.toml", "production/config", "regions");
    assert_eq!(errors.len(), 2, "{errors:#?}");
    assert!(errors[0].contains("source `config` and region `eu-central` lie one in the other"));
}

#[test]
fn what_only_could_be_better_does_not_stop_anything() {
    let project = Project::sound();
    project.edit("environments/prod.toml", "rpo = \"2h\"", "rpo = \"5min\"");
    project.edit(
        "environments/prod.toml",
        "newest_commit",
        "fingerprint = false\n#",
    );
    project.edit("environments/prod.toml", "production/config", "production");
    project.edit(
        "lifeboat.toml",
        "[keys]",
        "[keys]\nroot = \"file:root.key\"\nreader = \"file:keys/writer.key\"",
    );
    assert!(project.load().is_ok());
    let told = project.problems();
    let prod = [
        (
            9,
            "an `rpo` of 5m 00s cannot be met: schedule `production` leaves up to 1h 00m between backups",
        ),
        (11, "no drill can prove the `rpo` of source `shop`"),
        (14, "drills cannot compare source `shop`"),
        (17, "folder `config` holds the database of source `shop`"),
    ];
    for (line, what) in prod {
        assert_one(&told, &format!("environments/prod.toml:{line}"), what);
    }
    assert_one(
        &told,
        "lifeboat.toml:5",
        "the root key is configured on a host for daily use",
    );
    assert_one(
        &told,
        "lifeboat.toml:6",
        "the reader key and the writer key are one and the same",
    );
    assert_eq!(told.len(), 6, "{told:#?}");
}

#[test]
fn an_exclude_that_covers_the_database_silences_the_advice() {
    let project = Project::sound();
    project.edit(
        "environments/prod.toml",
        "production/config\"",
        "production\"\nexclude = [\"shop.db*\"]",
    );
    assert_eq!(project.problems(), [""; 0]);
}

#[test]
fn a_bad_glob_and_a_bad_file_name_are_told() {
    let project = Project::sound();
    project.edit(
        "environments/prod.toml",
        "production/config\"",
        "production/config\"\nexclude = [\"a[\"]",
    );
    project.write(
        "environments/Dev.toml",
        "class = \"development\"\nregion = \"eu-west\"\n",
    );
    let errors = project.errors();
    assert_one(&errors, "environments/prod.toml:19", "`a[` is not a glob");
    assert_one(
        &errors,
        "environments/Dev.toml:1",
        "`Dev` is not a valid environment name",
    );
}

#[test]
fn a_syntax_error_hides_no_other_file_s_mistakes() {
    let project = Project::sound();
    project.write("lifeboat.toml", &format!("{BASE}\nx = \n"));
    project.edit("environments/prod.toml", "rto = \"1h\"", "rto = 1");
    let errors = project.errors();
    assert!(
        errors
            .iter()
            .any(|error| error.starts_with("lifeboat.toml:15: ")),
        "{errors:#?}"
    );
    assert_one(
        &errors,
        "environments/prod.toml:8",
        "`rto` must be a duration",
    );
}

#[test]
fn a_value_of_the_wrong_type_is_told_once() {
    let errors = with("lifeboat.toml", "\"demo\"", "7");
    assert_eq!(
        errors,
        ["lifeboat.toml:2: `project` must be a string, not an integer"]
    );
    let errors = with("lifeboat.toml", "location = \"eu\"", "");
    assert_eq!(errors.len(), 2, "{errors:#?}");
    assert_one(
        &errors,
        "lifeboat.toml:7",
        "[region.eu-central] needs `location`",
    );
}

#[test]
fn a_slot_that_may_keep_nothing_is_told() {
    let project = Project::sound();
    let text = format!(
        "{PROD}\n[source.main]\nkind = \"postgres\"\nurl = \"host=/run/postgresql\"\n\
         slot = \"mine\"\nslot_keep_gib = 0\n"
    );
    project.write("environments/prod.toml", &text);
    let errors = format!("{:?}", project.errors());
    assert!(
        errors.contains("`slot_keep_gib` must be 1 to 1048576"),
        "{errors}"
    );
}
