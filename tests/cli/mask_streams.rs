//! CSV and JSON Lines from stream to stream, with no project anywhere.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Output, Stdio};

use crate::project::{assert_exit, lifeboat, text};

const RULES: &str = r#"
version = 1
[policy]
unlisted = "error"
key = "file:mask.key"
scope = "stable:test"
[domain.mail]
mask = "email"
[table.people]
keep = ["plan"]
[table.people.columns]
id = { mask = "permute_int", min = 1, max = 999999 }
name = "name"
mail = { domain = "mail" }
"#;

const CSV: &str = "id,name,mail,plan\r\n\
    1,\"Schmidt, Maria\",maria.schmidt@nordlicht.de,\"a \"\"b\"\"\"\r\n\
    2,,\"\",free\r\n";

/// A folder with rules and a key, and nothing else.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        folder.write("mask.key", &"k".repeat(32));
        folder.write("rules.toml", RULES);
        folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    fn run(&self, args: &[&str], input: &str) -> Output {
        let mut command = lifeboat();
        command
            .current_dir(self.0.path())
            .args(["mask", "run", "--rules", "rules.toml"])
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // A program that refuses its input may have gone before it is written.
        child.stdin.take().unwrap().write_all(input.as_bytes()).ok();
        child.wait_with_output().unwrap()
    }

    fn masked(&self, args: &[&str], input: &str) -> String {
        let output = self.run(args, input);
        assert_exit(&output, 0, &[], args);
        String::from_utf8(output.stdout).unwrap()
    }
}

#[test]
fn csv_goes_through_a_pipe_and_what_is_kept_stays_byte_for_byte() {
    let folder = Folder::new();
    let masked = folder.masked(&["--format", "csv"], CSV);
    let lines: Vec<&str> = masked.split("\r\n").collect();
    assert_eq!(lines[0], "id,name,mail,plan");
    assert!(
        lines[1].ends_with(",\"a \"\"b\"\"\"") && lines[1].contains("@example."),
        "{masked}"
    );
    // No name stays no name, an empty address an empty one.
    assert!(lines[2].ends_with(",,\"\",free"), "{masked}");
    assert!(!masked.contains("Schmidt") && !masked.contains("nordlicht"));
    assert_eq!(masked, folder.masked(&["--format", "csv"], CSV));
}

#[test]
fn json_lines_keep_their_form_and_agree_with_csv() {
    let folder = Folder::new();
    let row = r#"{ "plan":1.50, "mail" : "maria.schmidt@nordlicht.de", "id":1, "name":null }"#;
    let masked = folder.masked(&["--format", "jsonl"], &format!("{row}\n\n"));
    assert!(
        masked.starts_with(r#"{ "plan":1.50, "mail" : ""#),
        "{masked}"
    );
    assert!(masked.ends_with("\"name\":null }\n\n"), "{masked}");
    let mail = masked.split('"').nth(5).unwrap();
    assert!(
        folder.masked(&["--format", "csv"], CSV).contains(mail),
        "{mail}"
    );
    let unknown = folder.run(&["--format", "jsonl"], "{\"maria\":1}\n");
    assert_exit(&unknown, 7, &["a member that no rule names", "row 1"], &[]);
    assert!(!text(&unknown).contains("maria"));
}

#[test]
fn packed_files_are_read_and_written() {
    let folder = Folder::new();
    folder.write("people.csv", CSV);
    let plain = folder.masked(&["--input", "people.csv"], "");
    for packed in ["people.csv.gz", "people.csv.zst"] {
        folder.masked(&["--input", "people.csv", "--output", packed], "");
        let again = folder.masked(&["--input", packed, "--output", "again.csv"], "");
        assert!(again.contains("2 rows masked"), "{again}");
        std::fs::remove_file(folder.path("again.csv")).unwrap();
    }
    let mut unpacked = String::new();
    let zst = std::fs::File::open(folder.path("people.csv.zst")).unwrap();
    std::io::Read::read_to_string(&mut zstd::Decoder::new(zst).unwrap(), &mut unpacked).unwrap();
    assert_eq!(unpacked, plain);
}

#[test]
fn a_file_appears_only_if_every_gate_passes_and_a_pipe_ends_with_7() {
    let folder = Folder::new();
    let leaky = CSV.replace("free", "maria.schmidt@nordlicht.de");
    folder.write("people.csv", &leaky);
    let to_file = folder.run(&["--input", "people.csv", "--output", "out.csv"], "");
    assert_exit(
        &to_file,
        7,
        &["value_reuse", "people.plan", "nothing was written"],
        &[],
    );
    assert!(!text(&to_file).contains("maria"));
    let left: Vec<_> = std::fs::read_dir(folder.0.path()).unwrap().collect();
    assert_eq!(left.len(), 3, "{left:?}");
    let piped = folder.run(&["--format", "csv"], &leaky);
    assert_exit(&piped, 7, &["value_reuse", "must not be used"], &[]);
}

#[test]
fn what_the_rules_do_not_cover_is_refused_before_a_row_moves() {
    let folder = Folder::new();
    for (csv, code, says) in [
        ("id,name,mail,plan,phone\n1,a,b,c,d\n", 7, "people.phone"),
        ("id,name,mail\n1,a,b\n", 7, "people.plan"),
        ("id,id\n", 4, "twice"),
        ("", 4, "no header that ends"),
        (
            "id,name,mail,plan\n1,secret\n",
            4,
            "2 fields and the header 4",
        ),
        (
            "id,name,mail,plan\nsecret,a,b,c\n",
            7,
            "`people.id` in row 1",
        ),
    ] {
        let output = folder.run(&["--format", "csv"], csv);
        assert_exit(&output, code, &[says], &[csv]);
        assert!(!text(&output).contains("secret"), "{}", text(&output));
    }
    let unnamed = folder.run(&[], CSV);
    assert_exit(&unnamed, 2, &["--format csv"], &[]);
}

/// Packs `bytes`, and cuts off the end.
fn cut_off(name: &str, bytes: &[u8]) -> Vec<u8> {
    let mut packed = match name.ends_with(".gz") {
        true => {
            let mut packed =
                flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
            packed.write_all(bytes).unwrap();
            packed.finish().unwrap()
        }
        false => zstd::encode_all(bytes, 3).unwrap(),
    };
    packed.truncate(packed.len() - 10);
    packed
}

#[test]
fn what_is_not_in_its_format_ends_with_4_and_names_the_file_and_the_row() {
    let folder = Folder::new();
    let long = format!("id,name,mail,plan\n{}", "1,secret,b,c\n".repeat(1_000));
    let cases: [(&str, Vec<u8>, &str, &str); 10] = [
        (
            "people.csv",
            b"id,name,mail,plan\n1,a,b,c\n2,secret\n".to_vec(),
            "row 2",
            "line 3",
        ),
        (
            "people.csv",
            b"id,name,mail,plan\n1,\"secret,b,c\n".to_vec(),
            "row 1",
            "line 2",
        ),
        ("people.csv", b"".to_vec(), "no header", "no header"),
        (
            "people.csv",
            b"id,id\n1,secret\n".to_vec(),
            "twice",
            "twice",
        ),
        (
            "people.csv",
            b"id;secret;mail\n1;secret;c\n".to_vec(),
            "`;` seems to part its columns",
            "`;` seems to part its columns",
        ),
        (
            "people.jsonl",
            b"{\"id\":1}\nsecret\n".to_vec(),
            "row 2",
            "line 2",
        ),
        (
            "people.jsonl",
            b"{\"name\":\"secret\"".to_vec(),
            "row 1",
            "line 1",
        ),
        (
            "people.jsonl",
            b"[\"secret\"]\n".to_vec(),
            "row 1",
            "line 1",
        ),
        (
            "people.csv.gz",
            cut_off("people.csv.gz", long.as_bytes()),
            "gzip",
            "gzip",
        ),
        (
            "people.csv.zst",
            cut_off("people.csv.zst", long.as_bytes()),
            "Zstandard",
            "Zstandard",
        ),
    ];
    for (name, bytes, row, line) in cases {
        std::fs::write(folder.path(name), &bytes).unwrap();
        let masked = folder.run(&["--input", name, "--output", "out"], "");
        let discovered = lifeboat()
            .current_dir(folder.0.path())
            .args(["mask", "discover", "--input", name])
            .output()
            .unwrap();
        for (output, place) in [(masked, row), (discovered, line)] {
            let says = ["error: ", name, place, "hint: "];
            assert_exit(
                &output,
                4,
                &says,
                &[
                    name,
                    &String::from_utf8_lossy(&bytes[..bytes.len().min(60)]),
                ],
            );
            assert!(!text(&output).contains("secret"), "{}", text(&output));
        }
        assert!(!folder.path("out").exists());
    }
    let whole = zstd::encode_all(CSV.as_bytes(), 3).unwrap();
    std::fs::write(folder.path("people.csv.zst"), whole).unwrap();
    let discovered = lifeboat()
        .current_dir(folder.0.path())
        .args(["mask", "discover", "--input", "people.csv.zst"])
        .output()
        .unwrap();
    assert_exit(&discovered, 0, &["[table.people.columns]"], &[]);
}

#[test]
fn what_nobody_has_decided_is_no_unknown_column() {
    let folder = Folder::new();
    folder.write("rules.toml", &format!("{RULES}extra = \"decide\"\n"));
    let output = folder.run(
        &["--format", "jsonl", "--table", "people"],
        "{\"extra\":1}\n",
    );
    let expected = "nobody has decided yet what happens to `people.extra`";
    assert_exit(&output, 7, &[expected], &[]);
    assert!(!text(&output).contains("there is no column"));
}

/// The name of a member may be somebody's address.
#[test]
fn a_member_that_no_rule_names_goes_with_its_name() {
    let folder = Folder::new();
    for unlisted in ["null", "redact"] {
        folder.write(
            "rules.toml",
            &RULES.replace("\"error\"", &format!("{unlisted:?}")),
        );
        for (line, masked) in [
            (r#"{"maria@post.de":1}"#, "{}"),
            (
                r#"{ "a" : [1, {"x":","}] , "plan" : "p" , "b":null}"#,
                r#"{  "plan" : "p" }"#,
            ),
            (r#"{"a":1,"b":"}","plan":"p"}"#, r#"{"plan":"p"}"#),
            (r#"{"plan":"p","a":1,"b":2}"#, r#"{"plan":"p"}"#),
            (
                r#"{"a":1, "plan":"p","b":2,"name":null,"c":3 }"#,
                r#"{ "plan":"p","name":null }"#,
            ),
        ] {
            let args = ["--format", "jsonl", "--table", "people"];
            assert_eq!(folder.masked(&args, line), masked, "{line}");
        }
    }
}
