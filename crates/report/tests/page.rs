//! The page tells every recorded fact, invents none, and needs nothing but itself.

use jiff::Timestamp;
use lifeboat_drill::{Check, DrillReport, Phase, Scenario};
use lifeboat_model::{BackupKind, RunId, SnapshotId, SourceKind, Tier, Verdict};
use lifeboat_operations::{BackupReport, ReplicateReport};
use lifeboat_report::{GateView, MaskingView, Story, html};

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn snapshot(byte: u8) -> SnapshotId {
    SnapshotId::from_bytes(std::array::from_fn(|at| {
        byte.wrapping_add((at as u8).wrapping_mul(37))
    }))
}

fn run(byte: u8) -> RunId {
    RunId::from_bytes(std::array::from_fn(|at| {
        byte.wrapping_add((at as u8).wrapping_mul(53))
    }))
}

fn backup(byte: u8, tier: Tier, kind: BackupKind, read: u64, stored: u64) -> BackupReport {
    BackupReport {
        run: run(byte),
        environment: "production".parse().unwrap(),
        source: "shop-db".parse().unwrap(),
        snapshot: snapshot(byte),
        tier,
        kind,
        parent: None,
        instant: at("2026-03-02T04:00:00.25Z"),
        entries: 1,
        bytes: read,
        bytes_read: read,
        bytes_new: stored * 2,
        bytes_stored: stored,
        skipped: Vec::new(),
        secs: 2.4,
    }
}

fn backups() -> Vec<BackupReport> {
    vec![
        backup(
            0x31,
            Tier::Weekly,
            BackupKind::Full,
            1_288_490_188,
            412_316_860,
        ),
        backup(
            0x52,
            Tier::Daily,
            BackupKind::Incremental,
            1_291_845_632,
            9_437_184,
        ),
        backup(
            0x73,
            Tier::Hourly,
            BackupKind::Incremental,
            24_536_678,
            1_310_720,
        ),
    ]
}

fn replication() -> ReplicateReport {
    ReplicateReport {
        from: "frankfurt".parse().unwrap(),
        to: "dublin".parse().unwrap(),
        objects: 1_284,
        bytes: 423_064_764,
        present: 17,
        receipts: 14,
        receipts_new: vec![snapshot(0x31), snapshot(0x52)],
        lag_secs: Some(42.0),
        secs: 8.25,
    }
}

fn masking() -> MaskingView {
    let gate = |name: &str, verdict: Verdict, detail: &str| GateView {
        name: name.to_owned(),
        verdict: Some(verdict),
        detail: detail.to_owned(),
        findings: vec![("orders.status".to_owned(), format!("3 x <{name}>"))],
    };
    MaskingView {
        source: "production/shop-db".to_owned(),
        target: "staging/shop-db".to_owned(),
        tables: 12,
        rows: 1_204_331,
        secs: 6.1,
        verdict: Verdict::Pass,
        kept: vec!["orders.status".to_owned()],
        gates: vec![
            gate(
                "every column is decided",
                Verdict::Pass,
                "87 columns: 31 masked, 56 kept with a reason",
            ),
            gate(
                "canaries",
                Verdict::Pass,
                "40 planted values, none found in the copy",
            ),
            gate(
                "second scan",
                Verdict::Pass,
                "no column of the copy looks like an address or a card number",
            ),
            gate(
                "foreign keys",
                Verdict::Pass,
                "`foreign_key_check` found nothing",
            ),
        ],
        manifest: vec![
            ("Rules".to_owned(), "blake3:5f1c9e0d7ab2".to_owned()),
            ("Key".to_owned(), "00010203fafbfcfd".to_owned()),
        ],
    }
}

fn drill() -> DrillReport {
    let phase = |name, secs| Phase { name, secs };
    let check = |name: &str, verdict, detail: &str| Check {
        name: name.to_owned(),
        verdict,
        detail: detail.to_owned(),
    };
    DrillReport {
        drill: run(0x0d),
        scenario: Scenario::RegionLoss,
        environment: "production".parse().unwrap(),
        source: "shop-db".parse().unwrap(),
        source_kind: SourceKind::Sqlite,
        region: "dublin".parse().unwrap(),
        denied: vec!["frankfurt".parse().unwrap()],
        snapshot: snapshot(0x73),
        instant: at("2026-03-02T04:00:00.25Z"),
        declared: at("2026-03-02T04:12:40Z"),
        operator: "ana@example.com".to_owned(),
        host: "drill-runner-1".to_owned(),
        phases: vec![
            phase("detect the fault", None),
            phase("select the recovery point", Some(0.183)),
            phase("first byte", Some(0.412)),
            phase("restore the data", Some(5.27)),
            phase("open the engine", Some(0.004)),
            phase("check the data", Some(3.11)),
            phase("cut the service over", None),
        ],
        checks: vec![
            check(
                "content hashes",
                Verdict::Pass,
                "1291845632 bytes, each checked against its keyed hash",
            ),
            check("completeness", Verdict::Pass, "1 entries, none missing"),
            check("engine opens it", Verdict::Pass, "SQLite reads its schema"),
            check(
                "newest commit",
                Verdict::Pass,
                "committed at 2026-03-02T03:59:58Z",
            ),
            check(
                "integrity",
                Verdict::Pass,
                "integrity_check and foreign_key_check found nothing",
            ),
            check(
                "rows as at the backup",
                Verdict::Pass,
                "1204331 rows in 12 tables are the same",
            ),
            check(
                "assertion `SELECT count(*) > 0 FROM orders`",
                Verdict::Pass,
                "it holds",
            ),
        ],
        bytes: 1_291_845_632,
        rto_secs: 8.979,
        rto_target_secs: Some(900.0),
        rto_verdict: Some(Verdict::Pass),
        rpo_secs: Some(762.0),
        rpo_target_secs: Some(3600.0),
        rpo_verdict: Some(Verdict::Pass),
        checks_verdict: Verdict::Pass,
        verdict: Verdict::Pass,
        isolation: "restored into a private scratch folder; neither production nor any region's \
                    snapshots were written to"
            .to_owned(),
        cleaned_up: true,
    }
}

/// Everything that a whole page needs, owned.
struct Facts {
    backups: Vec<BackupReport>,
    replications: Vec<ReplicateReport>,
    masking: Vec<MaskingView>,
    drills: Vec<DrillReport>,
}

impl Facts {
    fn none() -> Self {
        Self {
            backups: Vec::new(),
            replications: Vec::new(),
            masking: Vec::new(),
            drills: Vec::new(),
        }
    }

    fn all() -> Self {
        Self {
            backups: backups(),
            replications: vec![replication()],
            masking: vec![masking()],
            drills: vec![drill()],
        }
    }

    fn of_drill(drill: DrillReport) -> Self {
        Self {
            drills: vec![drill],
            ..Self::none()
        }
    }

    fn page(&self) -> String {
        let page = html(&Story {
            title: "Recovery report",
            project: "example-shop",
            generated: at("2026-03-02T04:13:00Z"),
            program: "lifeboat 0.1.0",
            backups: &self.backups,
            replications: &self.replications,
            masking: &self.masking,
            drills: &self.drills,
        });
        assert_well_formed(&page);
        page
    }
}

/// Elements that have no end tag.
const VOID: [&str; 4] = ["meta", "br", "hr", "link"];

/// Fails unless every tag is closed in order and every id is there once.
fn assert_well_formed(page: &str) {
    let (before, rest) = page.split_once("<style>").unwrap();
    let (_, after) = rest.split_once("</style>").unwrap();
    let mut open: Vec<&str> = Vec::new();
    for piece in [before, after]
        .into_iter()
        .flat_map(|part| part.split('<').skip(1))
    {
        let (tag, text) = piece.split_once('>').expect("a tag ends");
        assert!(!text.contains('>'), "an unescaped `>` in {text:?}");
        assert_eq!(tag.matches('"').count() % 2, 0, "quotes in <{tag}>");
        let name = tag.split_whitespace().next().expect("a tag has a name");
        if let Some(name) = name.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name), "</{name}> closes something else");
        } else if !name.starts_with('!') && !VOID.contains(&name) {
            open.push(name);
        }
    }
    assert!(open.is_empty(), "never closed: {open:?}");
    let mut ids: Vec<&str> = page.split(" id=\"").skip(1).collect();
    ids.iter_mut()
        .for_each(|id| *id = id.split('"').next().unwrap());
    let all = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), all, "an id is there twice");
}

/// Returns the words of a page without its tags and style sheet.
fn words(page: &str) -> String {
    let (_, body) = page.split_once("<body>").unwrap();
    let texts = body.split('<').filter_map(|piece| piece.split_once('>'));
    let text: String = texts.map(|(_, text)| text).collect();
    text.replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&quot;", "\"")
        .replace("&amp;", "&")
}

#[track_caller]
fn assert_says(page: &str, facts: &[&str]) {
    let words = words(page);
    for fact in facts {
        assert!(
            words.contains(fact),
            "the page does not say {fact:?}:\n{words}"
        );
    }
}

#[test]
fn every_recorded_fact_of_a_drill_is_on_the_page() {
    let drill = drill();
    let page = Facts::of_drill(drill.clone()).page();
    let (id, snapshot) = (drill.drill.to_string(), drill.snapshot.to_string());
    assert_says(
        &page,
        &[
            &id,
            &snapshot,
            "region-loss",
            "production/shop-db",
            "dublin",
            "frankfurt",
        ],
    );
    assert_says(
        &page,
        &[
            "ana@example.com",
            "drill-runner-1",
            &drill.isolation,
            "2026-03-02 04:12:40",
        ],
    );
    assert_says(
        &page,
        &[
            "9.0s",
            "target 15m 00s",
            "12m 42s",
            "target 1h 00m",
            "1.20 GiB",
        ],
    );
    for phase in &drill.phases {
        assert_says(&page, &[phase.name]);
    }
    for check in &drill.checks {
        assert_says(&page, &[&check.name.replace('`', ""), &check.detail]);
    }
}

#[test]
fn every_backup_copy_and_gate_is_on_the_page() {
    let facts = Facts::all();
    let page = facts.page();
    for backup in &facts.backups {
        assert_says(
            &page,
            &[
                &backup.snapshot.short(),
                backup.tier.as_str(),
                backup.kind.as_str(),
            ],
        );
    }
    assert_says(
        &page,
        &[
            "23.4 MiB",
            "1.25 MiB",
            "frankfurt → dublin",
            "1,284",
            "403 MiB",
            "8.2s",
        ],
    );
    assert_says(&page, &["12 tables, 1,204,331 rows", "4 of 4 gates passed"]);
    for gate in &facts.masking[0].gates {
        assert_says(&page, &[&gate.name, &gate.detail.replace('`', "")]);
    }
    for (name, value) in &facts.masking[0].manifest {
        assert_says(&page, &[name, value]);
    }
}

#[test]
fn a_phase_that_was_not_exercised_is_never_a_zero() {
    let page = Facts::of_drill(drill()).page();
    for name in ["detect the fault", "cut the service over"] {
        let (_, row) = page.split_once(&format!(">{name}</th>")).unwrap();
        let (row, _) = row.split_once("</tr>").unwrap();
        assert!(row.contains("not measured"), "{row}");
        assert!(!row.contains("<rect"), "{row}");
    }
}

#[test]
fn an_rpo_that_was_not_measured_says_so_and_is_no_pass() {
    let unproven = DrillReport {
        rpo_secs: None,
        rpo_verdict: Some(Verdict::NotVerified),
        verdict: Verdict::NotVerified,
        phases: Vec::new(),
        ..drill()
    };
    let page = Facts::of_drill(unproven).page();
    // Once in its tile, once in its gauge, once in the words at the foot.
    assert_eq!(words(&page).matches("not measured").count(), 3);
    // Its tile, its gauge and the drill; and the words at the foot.
    assert_eq!(words(&page).matches("not verified").count(), 4);
}

#[test]
fn a_folder_without_targets_is_judged_by_none() {
    let folder = DrillReport {
        source_kind: SourceKind::Files,
        rto_target_secs: None,
        rto_verdict: None,
        rpo_secs: None,
        rpo_target_secs: None,
        rpo_verdict: None,
        ..drill()
    };
    let page = Facts::of_drill(folder).page();
    assert_eq!(words(&page).matches("no target to meet").count(), 2);
    assert_says(&page, &["a folder has no transactions"]);
    assert!(!page.contains("class=\"mark\""), "a mark without a target");
}

#[test]
fn the_head_line_shows_the_drill_that_did_worst_by_its_own_target() {
    // Slower than the other, but within its target.
    let slow = DrillReport {
        drill: run(0x77),
        rto_secs: 800.0,
        ..drill()
    };
    let missed = DrillReport {
        rto_secs: 75.0,
        rto_target_secs: Some(60.0),
        rto_verdict: Some(Verdict::Fail),
        verdict: Verdict::Fail,
        ..drill()
    };
    for drills in [vec![slow.clone(), missed.clone()], vec![missed, slow]] {
        let facts = Facts {
            drills,
            ..Facts::none()
        };
        let page = facts.page();
        let (tiles, _) = page.split_once("</ul>").unwrap();
        assert_says(
            tiles,
            &["1m 15s", "target 1m 00s, worst of 2 drills", "fail"],
        );
    }
}

#[test]
fn among_drills_with_one_verdict_the_head_line_shows_the_slowest() {
    let slow = DrillReport {
        drill: run(0x77),
        rto_secs: 800.0,
        ..drill()
    };
    for drills in [vec![slow.clone(), drill()], vec![drill(), slow]] {
        let facts = Facts {
            drills,
            ..Facts::none()
        };
        let page = facts.page();
        let (tiles, _) = page.split_once("</ul>").unwrap();
        assert_says(tiles, &["13m 20s", "target 15m 00s, worst of 2 drills"]);
    }
}

#[test]
fn a_backup_that_skipped_something_does_not_pass() {
    let mut facts = Facts::none();
    facts.backups = backups();
    assert!(!words(&facts.page()).contains("fail"));
    facts.backups[1].skipped = vec!["uploads/a.jpg: permission denied".to_owned()];
    assert_says(
        &facts.page(),
        &[
            "fail",
            "1 item could not be read",
            "uploads/a.jpg: permission denied",
        ],
    );
}

#[test]
fn a_copy_without_receipts_is_not_verified() {
    let mut facts = Facts::none();
    facts.replications = vec![ReplicateReport {
        receipts: 0,
        ..replication()
    }];
    let page = facts.page();
    let (tiles, _) = page.split_once("</ul>").unwrap();
    assert_says(tiles, &["Second region", "not verified"]);
}

#[test]
fn what_people_wrote_is_escaped_everywhere() {
    let evil = "\"'><script>alert(1)</script>&";
    let mut facts = Facts::all();
    facts.backups[0].skipped = vec![evil.to_owned()];
    let view = &mut facts.masking[0];
    view.source = evil.to_owned();
    view.target = evil.to_owned();
    view.gates[0].name = evil.to_owned();
    view.gates[0].detail = format!("`{evil}`");
    view.manifest[0] = (evil.to_owned(), evil.to_owned());
    let drill = &mut facts.drills[0];
    drill.operator = evil.to_owned();
    drill.host = evil.to_owned();
    drill.isolation = evil.to_owned();
    drill.checks[0].name = evil.to_owned();
    drill.checks[0].detail = evil.to_owned();
    let page = html(&Story {
        title: evil,
        project: evil,
        generated: at("2026-03-02T04:13:00Z"),
        program: evil,
        backups: &facts.backups,
        replications: &facts.replications,
        masking: &facts.masking,
        drills: &facts.drills,
    });
    assert_well_formed(&page);
    assert!(!page.contains("<script"));
    assert_eq!(words(&page).matches(evil).count(), 16);
}

#[test]
fn the_page_loads_nothing_and_runs_nothing() {
    let page = Facts::all().page();
    for word in [
        "http://", "https://", "<script", "<link", "<img", "<iframe", " src=", "href", "url(",
        "@import",
    ] {
        assert!(!page.contains(word), "the page holds {word:?}");
    }
}

#[test]
fn every_colour_of_a_verdict_comes_with_its_word() {
    let page = Facts::all().page();
    let badges = page.split("class=\"badge ").skip(1);
    for badge in badges {
        let (_, after_shape) = badge.split_once("</svg>").unwrap();
        let word = after_shape.split('<').next().unwrap();
        assert!(["pass", "fail", "not verified"].contains(&word), "{word:?}");
    }
}

#[test]
fn an_empty_story_is_a_page_that_claims_nothing() {
    let page = Facts::none().page();
    assert_says(
        &page,
        &[
            "Recovery report",
            "example-shop",
            "Nothing is recorded yet",
            "lifeboat 0.1.0",
        ],
    );
    assert!(!page.contains("class=\"badge"));
}

#[test]
fn the_whole_page_is_small_enough_to_mail() {
    let page = Facts::all().page();
    assert!(page.len() < 64 << 10, "{} bytes", page.len());
}

#[test]
fn findings_are_listed_and_stand_open_where_a_gate_did_not_pass() {
    let mut facts = Facts::none();
    let mut view = masking();
    view.gates[1].verdict = Some(Verdict::Fail);
    let gates = view.gates.len();
    facts.masking.push(view);
    let page = facts.page();
    assert_eq!(page.matches("<details open>").count(), 1);
    assert_eq!(page.matches("Findings of").count(), gates);
    assert!(page.contains("3 x &lt;canaries&gt;") && !page.contains("<canaries>"));
    assert!(page.contains("Kept as they are"));
}
