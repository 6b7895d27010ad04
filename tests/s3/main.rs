//! The whole program with regions in buckets: two S3 servers over HTTP, and a line that fails.

#[path = "../cli/project.rs"]
#[expect(dead_code, reason = "the other whole-program tests use the rest")]
mod project;

mod everyday;
mod faults;
mod locks;
mod replicas;
mod residency;

use lifeboat_testkit::s3::{AccessKey, S3Options, S3Server};

use crate::project::Project;

const HOME: &str = "eu-central";
const AWAY: &str = "eu-west";

/// A project with a region in each of two servers, or a folder where there is none.
struct Buckets {
    project: Project,
    home: Option<S3Server>,
    away: Option<S3Server>,
}

impl Buckets {
    /// Makes a project whose home and replica are buckets.
    fn new() -> Self {
        let mut buckets =
            Self::without_repository(Some(server("eu-central-1")), Some(server("eu-west-1")));
        buckets.init();
        buckets
    }

    fn without_repository(home: Option<S3Server>, away: Option<S3Server>) -> Self {
        let buckets = Self {
            project: Project::without_repository(),
            home,
            away,
        };
        for (region, server) in [(HOME, &buckets.home), (AWAY, &buckets.away)] {
            if let Some(server) = server {
                buckets.put_in_bucket(region, server, &server.endpoint(), "");
            }
        }
        buckets
    }

    fn init(&mut self) {
        self.project.ok(&["init"]);
    }

    fn home(&self) -> &S3Server {
        self.home.as_ref().expect("the home is a bucket")
    }

    fn away(&self) -> &S3Server {
        self.away.as_ref().expect("the replica is a bucket")
    }

    /// Lets a region lie in a server's bucket, reached at `endpoint`.
    fn put_in_bucket(&self, region: &str, server: &S3Server, endpoint: &str, more: &str) {
        let url = format!("url = \"regions/{region}\"");
        let place = format!(
            "url = \"s3://{}/shop\"\nendpoint = \"{endpoint}\"\ns3_region = \"{}\"\n\
             credentials = \"file:keys/{region}.s3\"\n{more}",
            server.bucket(),
            server.region(),
        );
        self.project.edit("lifeboat.toml", &url, &place);
        self.set_credentials(region, server.admin());
    }

    fn set_credentials(&self, region: &str, key: &AccessKey) {
        let text = format!("{}:{}\n", key.id, key.secret);
        self.project.write(&format!("keys/{region}.s3"), &text);
    }

    /// Reaches a region at another address from now on.
    fn reach_by(&self, server: &S3Server, endpoint: &str) {
        self.project
            .edit("lifeboat.toml", &server.endpoint(), endpoint);
    }

    /// Adds a file of production that does not compress, and backs it up.
    fn back_up_noise(&self, number: u8, bytes: usize) {
        let mut noise = vec![0; bytes];
        let mut hasher = blake3::Hasher::new();
        hasher.update(&[number]);
        hasher.finalize_xof().fill(&mut noise);
        let file = self
            .project
            .path(&format!("production/config/noise-{number}"));
        std::fs::write(file, noise).unwrap();
        self.project.ok(&["backup", "prod", "config"]);
    }

    /// Restores the folder and compares it with production.
    fn assert_restores(&self, args: &[&str]) {
        let out = self.project.path("out");
        let mut all = vec!["restore", "prod", "config", "--to", out.to_str().unwrap()];
        all.extend(args);
        self.project.ok(&all);
        for entry in std::fs::read_dir(self.project.path("production/config")).unwrap() {
            let file = entry.unwrap().path();
            if file.is_file() {
                let restored = out.join(file.file_name().unwrap());
                let same = std::fs::read(&file).unwrap() == std::fs::read(restored).unwrap();
                assert!(same, "{} differs", file.display());
            }
        }
        std::fs::remove_dir_all(out).unwrap();
    }
}

fn server(region: &str) -> S3Server {
    server_with(region, |_| {})
}

fn server_with(region: &str, change: impl FnOnce(&mut S3Options)) -> S3Server {
    let mut options = S3Options {
        region: region.to_owned(),
        ..S3Options::default()
    };
    change(&mut options);
    S3Server::start(options).unwrap()
}

/// Counts a server's objects whose key below the repository starts so.
fn count(server: &S3Server, prefix: &str) -> usize {
    let prefix = format!("shop/{prefix}");
    let objects = server.objects();
    objects
        .keys()
        .filter(|key| key.starts_with(&prefix))
        .count()
}
