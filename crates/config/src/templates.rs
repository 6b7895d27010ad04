//! What `lifeboat init` writes.

/// Returns the files of a new project called `project`: relative paths with their content.
pub fn starter_files(project: &str) -> Vec<(&'static str, String)> {
    let named = |text: &str| text.replace("{project}", &toml_string(project));
    vec![
        (
            "lifeboat.toml",
            named(include_str!("templates/lifeboat.toml")),
        ),
        (
            "environments/prod.toml",
            named(include_str!("templates/prod.toml")),
        ),
        (
            "environments/staging.toml",
            named(include_str!("templates/staging.toml")),
        ),
        ("schedules/production.toml", PRODUCTION.to_owned()),
        ("schedules/staging.toml", STAGING.to_owned()),
        ("schedules/development.toml", DEVELOPMENT.to_owned()),
    ]
}

const PRODUCTION: &str = include_str!("../../../schedules/production.toml");
const STAGING: &str = include_str!("../../../schedules/staging.toml");
const DEVELOPMENT: &str = include_str!("../../../schedules/development.toml");

/// Writes `text` as a basic string of TOML.
fn toml_string(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => quoted.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}
