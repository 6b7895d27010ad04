//! The shipped rules for the web shop, against its schema and rows.

mod shop;

use lifeboat_masking::{Cell, MaskKey, Plan, RuleSet};

use shop::{RULES, TABLES, batch, key, plan, schema};

#[test]
fn the_shipped_rules_fit_the_schema_without_a_word() {
    let (rules, warnings) =
        RuleSet::parse("webshop.toml", RULES).unwrap_or_else(|problems| panic!("{problems}"));
    assert!(warnings.is_empty(), "{warnings}");
    let (_, warnings) =
        Plan::compile(&rules, &schema(), &key()).unwrap_or_else(|problems| panic!("{problems}"));
    assert!(warnings.is_empty(), "{warnings}");
}

#[test]
fn foreign_keys_join_and_people_keep_one_name() {
    let plan = plan();
    let masked: Vec<_> = TABLES
        .iter()
        .map(|name| plan.table(name).unwrap().mask(&batch(name, 300)).unwrap())
        .collect();
    let originals: Vec<_> = TABLES.iter().map(|name| batch(name, 300)).collect();
    for (child, fk) in [(1, 1), (3, 1)] {
        for (row, original) in masked[child].rows().zip(originals[child].rows()) {
            let parent = originals[0]
                .rows()
                .position(|parent| parent.cell(0) == original.cell(fk))
                .unwrap();
            assert_eq!(masked[0].rows().nth(parent).unwrap().cell(0), row.cell(fk));
        }
    }
    for n in 0..300 {
        let customer = masked[0].rows().nth(n).unwrap();
        let order = masked[1].rows().nth(n).unwrap();
        assert_eq!(customer.cell(2), order.cell(7));
        let Cell::Text(profile) = customer.cell(11) else {
            panic!("no profile")
        };
        let Cell::Text(email) = customer.cell(1) else {
            panic!("no email")
        };
        let profile: serde_json::Value = serde_json::from_slice(profile).unwrap();
        assert_eq!(
            profile["contact"]["email"].as_str().unwrap().as_bytes(),
            email
        );
        assert_eq!(profile["newsletter"], true);
    }
}

#[test]
fn the_result_does_not_depend_on_the_number_of_threads() {
    let plan = plan();
    let table = plan.table("customers").unwrap();
    let batches = || (0..8).map(|_| batch("customers", 40)).collect::<Vec<_>>();
    let with = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| table.mask_all(batches()).unwrap())
    };
    assert_eq!(with(1), with(4));
}

#[test]
fn another_snapshot_has_other_pseudonyms() {
    let (rules, _) = RuleSet::parse("webshop.toml", RULES).unwrap();
    let other = MaskKey::new(&[9; 32], "snapshot:other").unwrap();
    let (other, _) = Plan::compile(&rules, &schema(), &other).unwrap();
    let rows = batch("customers", 50);
    let ours = plan().table("customers").unwrap().mask(&rows).unwrap();
    let theirs = other.table("customers").unwrap().mask(&rows).unwrap();
    for (a, b) in ours.rows().zip(theirs.rows()) {
        assert_ne!(a.cell(0), b.cell(0));
        assert_ne!(a.cell(1), b.cell(1));
    }
}
