//! The store against a real S3 server over HTTP.

mod conforms;
mod errors;
mod faults;
mod locks;
mod production;

use std::sync::Arc;

use bytes::Bytes;
use lifeboat_runtime::{ComputePool, OsEntropy, SystemClock, World};
use lifeboat_storage::ObjectKey;
use lifeboat_storage_s3::{CredentialSource, S3Settings, S3Store};
use lifeboat_testkit::s3::{AccessKey, S3Options, S3Server};

/// Returns settings for a server, with its admin's key.
fn settings(server: &S3Server) -> S3Settings {
    settings_as(server, server.admin(), &server.endpoint())
}

fn settings_as(server: &S3Server, key: &AccessKey, endpoint: &str) -> S3Settings {
    let url = format!("s3://{}/repository", server.bucket());
    let keys = format!("{}:{}", key.id, key.secret);
    S3Settings {
        endpoint: Some(endpoint.to_owned()),
        region: Some(server.region().to_owned()),
        path_style: true,
        credentials: CredentialSource::Keys(keys.parse().unwrap()),
        ..S3Settings::new(url.parse().unwrap())
    }
}

fn open(settings: S3Settings) -> S3Store {
    S3Store::new(settings, &world())
}

fn world() -> World {
    World {
        clock: Arc::new(SystemClock::new()),
        entropy: Arc::new(OsEntropy),
        pool: ComputePool::inline(),
    }
}

fn start(change: impl FnOnce(&mut S3Options)) -> S3Server {
    let mut options = S3Options::default();
    change(&mut options);
    S3Server::start(options).unwrap()
}

fn key(text: &str) -> ObjectKey {
    ObjectKey::new(text).unwrap()
}

fn noise(size: usize, seed: u8) -> Bytes {
    let mut bytes = vec![0; size];
    let mut hasher = blake3::Hasher::new();
    hasher.update(&[seed]);
    hasher.finalize_xof().fill(&mut bytes);
    bytes.into()
}
