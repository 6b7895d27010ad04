//! `cargo xtask bench-refresh`: one PostgreSQL database copied into staging by Lifeboat, masked and
//! unmasked, and by the tools that people copy databases with, in one run.

mod report;

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::bench::account::Account;
use crate::bench::folder::{absolute, at, remove};
use crate::bench::measure::{Cost, Run};
use crate::bench::{clock, limits, program};
use crate::bench_postgres::number;
use crate::bench_postgres::server::{self, Server};
use crate::install;

/// What `cargo xtask bench-refresh` was asked to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Request {
    customers: u32,
    runs: u32,
    /// None builds a release.
    lifeboat: Option<PathBuf>,
    bin: Option<PathBuf>,
    /// None is a dated file in `benches/results`.
    out: Option<PathBuf>,
}

impl Default for Request {
    fn default() -> Self {
        Self {
            customers: 5_000_000,
            runs: 3,
            lifeboat: None,
            bin: None,
            out: None,
        }
    }
}

/// Reads the arguments after `bench-refresh`.
pub(crate) fn parse(args: &[String]) -> Result<Request, String> {
    let mut request = Request::default();
    let mut args = args.iter().map(String::as_str);
    while let Some(option) = args.next() {
        let mut value = || args.next().ok_or(format!("`{option}` needs a value"));
        match option {
            "--customers" => request.customers = number(option, value()?)?,
            "--runs" => request.runs = number(option, value()?)?,
            "--lifeboat" => request.lifeboat = Some(value()?.into()),
            "--bin" => request.bin = Some(value()?.into()),
            "--out" => request.out = Some(value()?.into()),
            _ => return Err(format!("`{option}` is not an option of `bench-refresh`")),
        }
    }
    Ok(request)
}

/// What a copy cost.
#[derive(Debug, Clone, Copy)]
struct Copied {
    tool: Cost,
    /// Processor time of the server, which is source and target.
    server_cpu_secs: f64,
}

/// Who copies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tool {
    Masked,
    Unmasked,
    DumpRestore,
    PgCopyDb,
}

impl Tool {
    const ALL: [Tool; 4] = [
        Tool::Masked,
        Tool::Unmasked,
        Tool::DumpRestore,
        Tool::PgCopyDb,
    ];

    const fn name(self) -> &'static str {
        match self {
            Tool::Masked => "lifeboat refresh, masked",
            Tool::Unmasked => "lifeboat refresh, everything kept",
            Tool::DumpRestore => "pg_dump -Fd -j2, then pg_restore -j2",
            Tool::PgCopyDb => "pgcopydb clone",
        }
    }
}

/// Does it.
pub(crate) fn run(request: &Request) -> Result<(), String> {
    let out = match &request.out {
        Some(out) => out.clone(),
        None => format!("benches/results/{}-refresh.md", clock::today()?).into(),
    };
    let mut bench = Bench::set_up(request)?;
    let mut results: Vec<(Tool, Vec<Copied>)> = Tool::ALL
        .map(|tool| (tool, Vec::new()))
        .into_iter()
        .collect();
    let mut notes = Vec::new();
    for round in 0..request.runs {
        println!("\n==> round {}", round + 1);
        for (tool, copies) in &mut results {
            match bench.copy(*tool) {
                Ok(copied) => copies.push(copied),
                Err(problem) if *tool == Tool::PgCopyDb => {
                    eprintln!("SKIPPED: {}, because {problem}", tool.name());
                    let first = problem.lines().next().unwrap_or_default();
                    notes.push(format!("{} was not measured: {first}", tool.name()));
                }
                Err(problem) => return Err(problem),
            }
        }
    }
    let page = report::page(&report::Facts {
        date: clock::today()?,
        machine: limits::machine(),
        server: bench.server.version()?,
        customers: request.customers,
        runs: request.runs,
        results,
        phases: &bench.phases,
        notes,
    });
    let folder = bench.folder.clone();
    drop(bench);
    remove(&folder.join("server"))?;
    fs::write(&out, page).map_err(|error| at(&out, &error))?;
    println!("written: {}", out.display());
    Ok(())
}

/// The server, which is source and target, and a project for each way to refresh.
struct Bench {
    folder: PathBuf,
    account: Account,
    server: Server,
    lifeboat: PathBuf,
    /// What each step of the last masked refresh took.
    phases: Vec<(String, f64)>,
}

const SOURCE: &str = "shop";
const TARGET: &str = "staging";

impl Bench {
    fn set_up(request: &Request) -> Result<Self, String> {
        let account = Account::unprivileged();
        let folder = absolute(Path::new("target/bench-refresh"))?;
        account.own(&folder)?;
        for name in ["logs", "programs"] {
            account.make_folder(&folder.join(name))?;
        }
        let bin = server::programs(request.bin.as_deref())?;
        let built = program::lifeboat(request.lifeboat.as_deref())?;
        let lifeboat = folder.join("programs/lifeboat");
        fs::copy(&built, &lifeboat).map_err(|error| at(&built, &error))?;
        account.own(&lifeboat)?;
        println!("making {} customers", request.customers);
        let server = Server::create(&bin, &folder.join("server"), account)?;
        server.sql(&format!("CREATE DATABASE {SOURCE}"))?;
        let script =
            include_str!("data.sql").replace("@CUSTOMERS@", &request.customers.to_string());
        let file = folder.join("data.sql");
        account.write(&file, script)?;
        server.script(SOURCE, &file)?;
        let bench = Self {
            folder,
            account,
            server,
            lifeboat,
            phases: Vec::new(),
        };
        for (name, rules) in [
            ("masked", include_str!("masked.toml")),
            ("kept", include_str!("kept.toml")),
        ] {
            bench.write_project(name, rules)?;
        }
        Ok(bench)
    }

    fn write_project(&self, name: &str, rules: &str) -> Result<(), String> {
        let project = self.folder.join(name);
        remove(&project)?;
        let url = |database: &str| {
            self.server
                .url()
                .replace("dbname=postgres", &format!("dbname={database}"))
        };
        let bin = self.server.bin().display();
        let files = [
            (
                "lifeboat.toml",
                program::project_base(&project.join("repository")),
            ),
            ("rules.toml", rules.to_owned()),
            (
                "environments/prod.toml",
                format!(
                    "class = \"test\"\nregion = \"home\"\n\n[source.main]\nkind = \"postgres\"\n\
                     url = \"{}\"\nprograms = '{bin}'\nwal = \"in-snapshot\"\n",
                    url(SOURCE)
                ),
            ),
            (
                "environments/staging.toml",
                format!(
                    "class = \"staging\"\nregion = \"home\"\n\n[refresh]\nfrom = \"prod/main\"\n\
                     rules = \"rules.toml\"\ndatabase = \"{}\"\nread = \"server\"\nkeep_previous = 0\n\
                     jobs = 2\n",
                    url(TARGET)
                ),
            ),
        ];
        for folder in ["", "environments"] {
            self.account.make_folder(&project.join(folder))?;
        }
        for (name, text) in files {
            self.account.write(&project.join(name), text)?;
        }
        self.measure("init", &self.refresh_run(&project, &["init"]))
            .map(drop)
    }

    /// Copies the database into one that is not there, and returns what that cost.
    fn copy(&mut self, tool: Tool) -> Result<Copied, String> {
        self.server
            .sql(&format!("DROP DATABASE IF EXISTS {TARGET}"))?;
        self.server.rest()?;
        let server_cpu_secs = self.server.cpu_secs()?;
        let cost = match tool {
            Tool::Masked => self.refresh("masked")?,
            Tool::Unmasked => self.refresh("kept")?,
            Tool::DumpRestore => self.dump_and_restore()?,
            Tool::PgCopyDb => self.pgcopydb()?,
        };
        let server_cpu_secs = self.server.cpu_secs()? - server_cpu_secs;
        println!(
            "{:40} {:7.2} s wall {:7.1} s CPU {server_cpu_secs:7.1} s of the server {:6.0} MB memory",
            tool.name(),
            cost.wall_secs,
            cost.cpu_secs,
            cost.rss_mb
        );
        Ok(Copied {
            tool: cost,
            server_cpu_secs,
        })
    }

    fn refresh(&mut self, name: &str) -> Result<Cost, String> {
        let project = self.folder.join(name);
        let run = self.refresh_run(&project, &["refresh", TARGET, "--json"]);
        let cost = self.measure(name, &run)?;
        if name == "masked" {
            let log = self.folder.join("logs/masked.log");
            let text = fs::read_to_string(&log).map_err(|error| at(&log, &error))?;
            self.phases = phases_in(&text);
        }
        Ok(cost)
    }

    fn refresh_run(&self, project: &Path, args: &[&str]) -> Run {
        let before = [
            "-C".to_owned(),
            project.display().to_string(),
            "-q".to_owned(),
        ];
        let args = args.iter().map(|arg| (*arg).to_owned());
        self.run(&self.lifeboat, before.into_iter().chain(args).collect())
    }

    fn dump_and_restore(&self) -> Result<Cost, String> {
        let dump = self.folder.join("dump");
        remove(&dump)?;
        let to = dump.display().to_string();
        let dumped = self.client("pg_dump", &["-Fd", "-j2", "-Z1", "-f", &to, SOURCE]);
        let dumped = self.measure("pg_dump", &dumped)?;
        self.server.sql(&format!("CREATE DATABASE {TARGET}"))?;
        let restored = self.client("pg_restore", &["-j2", "-d", TARGET, &to]);
        let restored = self.measure("pg_restore", &restored)?;
        Ok(Cost {
            wall_secs: dumped.wall_secs + restored.wall_secs,
            cpu_secs: dumped.cpu_secs + restored.cpu_secs,
            rss_mb: dumped.rss_mb.max(restored.rss_mb),
        })
    }

    fn pgcopydb(&self) -> Result<Cost, String> {
        let program = match install::find_in_path("pgcopydb") {
            Some(program) => program,
            None => {
                install::debian_packages(&["pgcopydb"])?;
                install::find_in_path("pgcopydb").ok_or("it is still not found")?
            }
        };
        self.server.sql(&format!("CREATE DATABASE {TARGET}"))?;
        let url = |database: &str| {
            let (socket, user) = (self.server.socket().display(), server::USER);
            format!("host={socket} user={user} dbname={database}")
        };
        let work = self.folder.join("pgcopydb");
        remove(&work)?;
        let words = [
            "clone",
            "--source",
            &url(SOURCE),
            "--target",
            &url(TARGET),
            "--table-jobs",
            "2",
            "--index-jobs",
            "2",
            "--no-owner",
            "--dir",
            &work.display().to_string(),
        ];
        self.measure(
            "pgcopydb",
            &self.run(&program, words.map(str::to_owned).to_vec()),
        )
    }

    fn client(&self, program: &str, args: &[&str]) -> Run {
        let socket = self.server.socket().display().to_string();
        let before = ["-h", &socket, "-p", server::PORT, "-U", server::USER];
        let args = before.iter().chain(args).map(|arg| (*arg).to_owned());
        self.run(&self.server.bin().join(program), args.collect())
    }

    fn run(&self, program: &Path, args: Vec<String>) -> Run {
        let path = format!("{}:/usr/bin:/bin", self.server.bin().display());
        Run {
            program: program.to_owned(),
            args,
            folder: self.folder.clone(),
            variables: vec![
                ("HOME", self.folder.display().to_string()),
                (
                    "MASK_KEY",
                    "a benchmark's key, long enough at last".to_owned(),
                ),
                ("PATH", path),
            ],
            account: self.account,
        }
    }

    fn measure(&self, step: &str, run: &Run) -> Result<Cost, String> {
        run.measure(&self.folder.join(format!("logs/{step}.log")))
    }
}

/// Reads the phases out of a report that was printed with messages around it.
fn phases_in(text: &str) -> Vec<(String, f64)> {
    let report = text
        .find('{')
        .map(|start| &text[start..])
        .unwrap_or_default();
    let report: Value = serde_json::from_str(report).unwrap_or_default();
    let phases = report["phases"].as_array().cloned().unwrap_or_default();
    let one = |phase: &Value| Some((phase["name"].as_str()?.to_owned(), phase["secs"].as_f64()?));
    phases.iter().filter_map(one).collect()
}
