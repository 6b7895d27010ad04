//! Every mistake in a rule file is told with its line and the next step.

mod shop;

use lifeboat_masking::{Plan, RuleSet};
use lifeboat_model::Problems;
use shop::{RULES, key, schema};

const HEAD: &str =
    "version = 1\n[policy]\nkey = 'env:K'\n[domain.who]\nmask = 'name'\n[table.t.columns]\n";

fn assert_helpful(problems: &Problems, what: &str) {
    for problem in problems.iter() {
        assert!(problem.line > 0, "{what}: no line: {problem}");
        assert!(problem.hint.is_some(), "{what}: no hint: {problem}");
        let text = problems.text_of(&problem.file);
        let shown = text.is_none_or(|text| text.get(problem.span.clone()).is_some());
        assert!(shown, "{what}: {problem}");
    }
}

#[test]
fn of_files_that_cannot_be_read() {
    for rule in [
        "c = 'nmae'",
        "c = { domain = 'woh' }",
        "c = { mask = 'email', uniqe = true }",
        "c = { mask = 'email', domain = 'who' }",
        "c = { }",
        "c = 5",
        "c = []",
        "c = { references = 'nothing' }",
        "c = [ { when = 'a = ', mask = 'null' }, { mask = 'null' } ]",
        "c = [ { mask = 'null' }, { mask = 'redact' } ]",
        "c = [ { when = 'a is null', mask = 'null' } ]",
        "c = { mask = 'name', normalize = 'upper' }",
        "c = { mask = 'hash', length = 4 }",
        "c = 'city'\n[risk]\nquasi = ['t']",
        "c = 'city'\n[risk]\nquasi = ['t.c']\nk = 1",
        "c = 'city'\n[risks]\nk = 1",
        "c = 'city'\n[tables.x]\nkeep = ['a']",
    ] {
        let problems = RuleSet::parse("r.toml", &format!("{HEAD}{rule}\n"))
            .map(|_| rule)
            .unwrap_err();
        assert!(!problems.is_empty());
        assert_helpful(&problems, rule);
    }
}

#[test]
fn of_rules_that_do_not_fit() {
    for (from, to, nearest) in [
        ("[table.heartbeat]", "[table.hartbeat]", "`heartbeat`"),
        ("full_name = ", "ful_name = ", "`full_name`"),
        (
            "author = {",
            "author = { references = \"customer.id\" } # {",
            "`customers`",
        ),
        (
            "author = {",
            "author = { references = \"customers.di\" } # {",
            "`id`",
        ),
        (
            "author = {",
            "author = [ { when = \"bodi = 'x'\", mask = \"null\" }, { mask = \"null\" } ] # {",
            "`body`",
        ),
        ("by = \"id\"", "by = \"ids\"", "`id`"),
    ] {
        let text = RULES.replacen(from, to, 1);
        assert_ne!(text, RULES, "{from}");
        let (rules, _) =
            RuleSet::parse("r.toml", &text).unwrap_or_else(|problems| panic!("{to}: {problems}"));
        let problems = Plan::compile(&rules, &schema(), &key()).unwrap_err();
        let nearby = problems
            .iter()
            .any(|problem| problem.to_string().contains(nearest));
        assert!(nearby, "{to}: no {nearest} in\n{problems}");
    }
}
