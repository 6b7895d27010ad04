//! `lifeboat demo`, the README's first command.

use serde_json::Value;

use crate::project::{assert_exit, lifeboat};

#[test]
fn the_demo_tells_the_whole_story_as_one_json_document() {
    let parent = tempfile::tempdir().unwrap();
    let place = parent.path().join("demo");
    let output = lifeboat()
        .args(["demo", "--json", "--customers", "1500", "--keep"])
        .arg(&place)
        .output()
        .unwrap();
    assert_exit(&output, 0, &[], &["demo"]);
    let story: Value = serde_json::from_slice(&output.stdout).unwrap();

    let snapshots = story["snapshots"].as_array().unwrap();
    let shop: Vec<&Value> = snapshots.iter().filter(|s| s["source"] == "shop").collect();
    assert_eq!(
        (&shop[0]["tier"], &shop[0]["kind"]),
        (&"daily".into(), &"full".into())
    );
    assert_eq!(
        (&shop[1]["tier"], &shop[1]["kind"]),
        (&"hourly".into(), &"incremental".into())
    );
    assert!(shop.iter().all(|s| s["bytes_read"].as_u64() > Some(0)));
    assert!(
        shop[1]["bytes_stored"].as_u64() > Some(0),
        "the writer changed nothing"
    );
    assert!(story["commits_by_writer"].as_u64() >= Some(500));

    let replication = &story["replication"];
    assert_eq!(replication["receipts"], 4);
    assert!(replication["objects"].as_u64() > Some(4));

    let masking = &story["masking"];
    assert!(masking["rows"].as_u64() > Some(1500));
    let gates = masking["leak_report"]["gates"].as_array().unwrap();
    for name in [
        "coverage",
        "row_accounting",
        "same_row_identity",
        "value_reuse",
        "detectors",
        "integrity",
        "manifest",
    ] {
        let gate = gates.iter().find(|gate| gate["name"] == name);
        assert_eq!(gate.expect(name)["verdict"], "pass", "{name}");
    }

    let drill = &story["drill"];
    assert_eq!(
        (&drill["scenario"], &drill["region"]),
        (&"region-loss".into(), &"eu-west".into())
    );
    assert_eq!(drill["denied"][0], "eu-central");
    assert!(drill["rto_secs"].as_f64() < drill["rto_target_secs"].as_f64());
    assert!(drill["rpo_secs"].as_f64() < drill["rpo_target_secs"].as_f64());
    assert!(drill["rpo_secs"].as_f64() > Some(0.0));
    assert_eq!(drill["verdict"], "pass");
    assert!(drill["cleaned_up"].as_bool().unwrap());
    assert!(
        drill["phases"]
            .as_array()
            .unwrap()
            .iter()
            .any(|phase| phase["secs"].is_null())
    );

    let html = std::fs::read_to_string(place.join("report.html")).unwrap();
    assert!(html.contains("region-loss") && !html.contains("<script"));
    let leftovers = std::fs::read_dir(place.join(".lifeboat/scratch"))
        .unwrap()
        .count();
    assert_eq!(leftovers, 0, "scratch folders were left behind");
}

#[test]
fn the_demo_refuses_a_folder_that_is_in_use() {
    let place = tempfile::tempdir().unwrap();
    std::fs::write(place.path().join("mine"), "x").unwrap();
    let output = lifeboat()
        .args(["demo", "--keep"])
        .arg(place.path())
        .output()
        .unwrap();
    assert_exit(&output, 2, &["is not empty", "hint:"], &["demo"]);
    assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 1);
}
