//! Holds `docs/architecture.md` to the truth: every arrow between crates is drawn there, every
//! drawn arrow exists, and no crate knows what the page says it must never know.
//!
//! Development dependencies are ignored, because a test may know anything.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;
use std::process::Command;

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand};

const PAGE: &str = "docs/architecture.md";

/// Crate or package to the names behind its arrow.
type Arrows = BTreeMap<String, BTreeSet<String>>;

/// What the page draws, by crate names without the prefix.
struct Drawing {
    arrows: Arrows,
    /// Crate to the packages, by full name, that it must not reach.
    forbidden: Arrows,
}

/// What cargo knows.
struct Reality {
    /// Arrows between workspace crates, without the prefix.
    arrows: Arrows,
    /// Direct normal dependencies of every package, by full name.
    packages: Arrows,
}

#[test]
fn the_architecture_page_draws_every_arrow_and_no_other() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(root.join(PAGE)).expect("the page exists");
    let drawing = Drawing::parse(&page);
    let reality = Reality::of(&metadata(root));
    let problems = problems(&drawing, &reality);
    assert!(problems.is_empty(), "{PAGE}:\n{}", problems.join("\n"));
}

/// Returns everything in which drawing and reality differ.
fn problems(drawing: &Drawing, reality: &Reality) -> Vec<String> {
    let mut problems = Vec::new();
    for (name, used) in &reality.arrows {
        match drawing.arrows.get(name) {
            None => problems.push(format!("crate `{name}` is not named")),
            Some(drawn) => problems.extend(
                used.difference(drawn)
                    .map(|to| format!("arrow `{name} -> {to}` exists but is not drawn")),
            ),
        }
    }
    for (name, drawn) in &drawing.arrows {
        match reality.arrows.get(name) {
            None => problems.push(format!("crate `{name}` is drawn but does not exist")),
            Some(used) => problems.extend(
                drawn
                    .difference(used)
                    .map(|to| format!("arrow `{name} -> {to}` is drawn but does not exist")),
            ),
        }
    }
    for (name, forbidden) in &drawing.forbidden {
        if !reality.arrows.contains_key(name) {
            problems.push(format!("crate `{name}` has rules but does not exist"));
        }
        for package in forbidden {
            if let Some(way) = way(&reality.packages, &full_name(name), package) {
                let way = way.join(" -> ");
                problems.push(format!("crate `{name}` must not know `{package}`: {way}"));
            }
        }
    }
    problems
}

/// Returns the shortest way from one package to another, both included.
fn way(packages: &Arrows, from: &str, to: &str) -> Option<Vec<String>> {
    let mut reached = BTreeSet::from([from.to_owned()]);
    let mut ways = VecDeque::from([vec![from.to_owned()]]);
    while let Some(way) = ways.pop_front() {
        let last = way.last().expect("a way starts with its first package");
        for next in packages.get(last).into_iter().flatten() {
            let longer = [way.as_slice(), std::slice::from_ref(next)].concat();
            if next == to {
                return Some(longer);
            }
            if reached.insert(next.clone()) {
                ways.push_back(longer);
            }
        }
    }
    None
}

impl Drawing {
    fn parse(page: &str) -> Self {
        Self {
            arrows: arrows(page, "arrows", "->"),
            forbidden: arrows(page, "forbidden", ":"),
        }
    }
}

/// Reads the lines `name <separator> a, b, c` of the fenced block with the given tag.
fn arrows(page: &str, tag: &str, separator: &str) -> Arrows {
    let fence = format!("```{tag}");
    let mut lines = page.lines().skip_while(|line| *line != fence);
    assert!(lines.next().is_some(), "the page has no block `{fence}`");
    let mut arrows = Arrows::new();
    for line in lines.take_while(|line| *line != "```") {
        let (name, targets) = line
            .split_once(separator)
            .unwrap_or_else(|| panic!("`{line}` in `{fence}` has no `{separator}`"));
        let targets = targets.split(',').map(str::trim);
        let targets = targets.filter(|name| !name.is_empty()).map(str::to_owned);
        let earlier = arrows.insert(name.trim().to_owned(), targets.collect());
        assert!(earlier.is_none(), "`{fence}` names `{name}` twice");
    }
    arrows
}

impl Reality {
    fn of(metadata: &Metadata) -> Self {
        let members = metadata.workspace_packages();
        let names: BTreeSet<_> = members.iter().map(|member| member.name.as_str()).collect();
        let mut arrows = Arrows::new();
        for member in &members {
            let used = member
                .dependencies
                .iter()
                .filter(|used| used.kind != DependencyKind::Development)
                .filter(|used| names.contains(used.name.as_str()));
            let used = used.map(|used| short_name(&used.name).to_owned());
            arrows.insert(short_name(&member.name).to_owned(), used.collect());
        }
        Self {
            arrows,
            packages: resolved(metadata),
        }
    }
}

/// Returns the direct normal dependencies of every package. Versions of one package fall together,
/// which can only make a check stricter.
fn resolved(metadata: &Metadata) -> Arrows {
    let name = |id| metadata[id].name.to_string();
    let nodes = &metadata.resolve.as_ref().expect("cargo resolves").nodes;
    let mut packages = Arrows::new();
    for node in nodes {
        let normal = node.deps.iter().filter(|used| {
            let mut kinds = used.dep_kinds.iter();
            kinds.any(|kind| kind.kind == DependencyKind::Normal)
        });
        let used = packages.entry(name(&node.id)).or_default();
        used.extend(normal.map(|used| name(&used.pkg)));
    }
    packages
}

/// Asks cargo, for this machine's platform only: packages of other platforms may not be downloaded.
fn metadata(root: &Path) -> Metadata {
    let version = Command::new(env!("CARGO")).arg("-vV").output();
    let version = String::from_utf8(version.expect("cargo runs").stdout).expect("it is text");
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    MetadataCommand::new()
        .cargo_path(env!("CARGO"))
        .current_dir(root)
        .other_options(vec![
            "--locked".to_owned(),
            "--filter-platform".to_owned(),
            host.expect("cargo names its host").to_owned(),
        ])
        .exec()
        .expect("cargo describes the workspace")
}

fn short_name(package: &str) -> &str {
    package.strip_prefix("lifeboat-").unwrap_or(package)
}

/// Returns the package of a crate as the page names it; the inverse of [`short_name`].
fn full_name(name: &str) -> String {
    match name {
        "lifeboat" | "xtask" => name.to_owned(),
        _ => format!("lifeboat-{name}"),
    }
}

mod the_checker {
    //! The checker itself, on a made-up workspace: each promise broken once.

    use super::*;

    const PAGE: &str = "\
# A page
```arrows
model ->
masking -> model
cli -> masking, model
```
Words between the blocks.
```forbidden
masking: tokio, rusqlite
```
";

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn reality() -> Reality {
        let arrows = |list: &[(&str, &[&str])]| {
            let pairs = list.iter();
            pairs
                .map(|(name, used)| ((*name).to_owned(), set(used)))
                .collect()
        };
        Reality {
            arrows: arrows(&[
                ("model", &[]),
                ("masking", &["model"]),
                ("cli", &["masking", "model"]),
            ]),
            packages: arrows(&[
                ("lifeboat-model", &["serde"]),
                ("lifeboat-masking", &["lifeboat-model", "rayon"]),
                (
                    "lifeboat-cli",
                    &["lifeboat-masking", "lifeboat-model", "tokio"],
                ),
            ]),
        }
    }

    fn found(page: &str, reality: &Reality) -> Vec<String> {
        problems(&Drawing::parse(page), reality)
    }

    #[test]
    fn accepts_a_true_page() {
        assert_eq!(found(PAGE, &reality()), [""; 0]);
    }

    #[test]
    fn notices_an_arrow_that_is_not_drawn() {
        let page = PAGE.replace("cli -> masking, model", "cli -> model");
        assert_eq!(
            found(&page, &reality()),
            ["arrow `cli -> masking` exists but is not drawn"]
        );
    }

    #[test]
    fn notices_a_drawn_arrow_that_does_not_exist() {
        let page = PAGE.replace("model ->\n", "model -> cli\n");
        assert_eq!(
            found(&page, &reality()),
            ["arrow `model -> cli` is drawn but does not exist"]
        );
    }

    #[test]
    fn notices_a_crate_that_is_not_named_and_a_name_without_a_crate() {
        let page = PAGE.replace("model ->\n", "modell ->\n");
        assert_eq!(
            found(&page, &reality()),
            [
                "crate `model` is not named",
                "crate `modell` is drawn but does not exist"
            ]
        );
    }

    #[test]
    fn notices_a_forbidden_package_behind_another() {
        let mut reality = reality();
        let rayon = ("rayon".to_owned(), set(&["tokio"]));
        reality.packages.extend([rayon]);
        assert_eq!(
            found(PAGE, &reality),
            ["crate `masking` must not know `tokio`: lifeboat-masking -> rayon -> tokio"]
        );
    }

    #[test]
    fn notices_a_rule_about_no_crate() {
        let page = PAGE.replace("masking: tokio", "maskin: tokio");
        assert_eq!(
            found(&page, &reality()),
            ["crate `maskin` has rules but does not exist"]
        );
    }
}
