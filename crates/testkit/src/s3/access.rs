//! Who may do what: access keys with rights, and requests signed for this region and this hour.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use s3s::access::{S3Access, S3AccessContext};
use s3s::auth::{S3Auth, SecretKey};
use s3s::{S3Result, s3_error};

use super::{AccessKey, World};

/// How far clocks may be apart, as in S3.
const SKEW_MAX: Duration = Duration::from_secs(15 * 60);

/// The access keys, and what came by.
#[derive(Debug, Default)]
pub(super) struct Access {
    keys: HashMap<String, Holder>,
    issued: u32,
    pub(super) requests: BTreeMap<String, u64>,
    pub(super) skew: Duration,
}

#[derive(Debug)]
struct Holder {
    secret: String,
    /// The operations it may call, or `None` for all.
    operations: Option<BTreeSet<String>>,
}

impl Access {
    pub(super) fn grant(&mut self, operations: Option<BTreeSet<String>>) -> AccessKey {
        self.issued += 1;
        let key = AccessKey {
            id: format!("AKIATESTKIT{:04}", self.issued),
            secret: format!("secret-of-test-key-{:04}", self.issued),
        };
        let holder = Holder {
            secret: key.secret.clone(),
            operations,
        };
        self.keys.insert(key.id.clone(), holder);
        key
    }

    pub(super) fn revoke(&mut self, id: &str) {
        self.keys.remove(id);
    }

    fn check_right(&self, id: &str, operation: &str) -> S3Result<()> {
        let holder = self
            .keys
            .get(id)
            .ok_or_else(|| s3_error!(InvalidAccessKeyId))?;
        match &holder.operations {
            Some(allowed) if !allowed.contains(operation) => Err(s3_error!(
                AccessDenied,
                "not authorized to perform: s3:{operation}"
            )),
            _ => Ok(()),
        }
    }

    /// Tells whether the key may do what the operation alone does not allow.
    pub(super) fn may_bypass_governance(&self, id: Option<&str>) -> bool {
        id.is_some_and(|id| self.check_right(id, "BypassGovernanceRetention").is_ok())
    }
}

/// Stands before every operation.
#[derive(Debug)]
pub(super) struct Gate(Arc<World>);

impl Gate {
    pub(super) fn new(world: Arc<World>) -> Self {
        Self(world)
    }
}

#[async_trait::async_trait]
impl S3Auth for Gate {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        let access = self.0.access();
        let holder = access.keys.get(access_key);
        let holder = holder.ok_or_else(|| s3_error!(InvalidAccessKeyId))?;
        Ok(SecretKey::from(holder.secret.as_str()))
    }
}

#[async_trait::async_trait]
impl S3Access for Gate {
    async fn check(&self, cx: &mut S3AccessContext<'_>) -> S3Result<()> {
        let delay = self.0.options.delay;
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        let mut access = self.0.access();
        let operation = operation_of(cx);
        *access.requests.entry(operation.clone()).or_default() += 1;
        let Some(credentials) = cx.credentials() else {
            return Err(s3_error!(AccessDenied, "requests must be signed"));
        };
        access.check_right(&credentials.access_key, &operation)?;
        check_region(cx, &self.0.options.region)?;
        check_skew(access.skew)
    }
}

/// Names the right that a request needs; deleting a version is a right of its own, as in S3.
fn operation_of(cx: &S3AccessContext<'_>) -> String {
    let name = cx.s3_op().name();
    let versioned = cx.uri().query().is_some_and(|query| {
        query
            .split('&')
            .any(|pair| pair.starts_with("versionId=") && pair != "versionId=")
    });
    match name {
        "DeleteObject" if versioned => "DeleteObjectVersion".to_owned(),
        "GetObject" if versioned => "GetObjectVersion".to_owned(),
        name => name.to_owned(),
    }
}

/// Refuses signatures made for another region, in the words of S3.
fn check_region(cx: &S3AccessContext<'_>, expected: &str) -> S3Result<()> {
    let header = cx.headers().get("authorization");
    let text = header.and_then(|value| value.to_str().ok()).unwrap_or("");
    // `Credential=ID/DATE/REGION/s3/aws4_request`
    let scope = text.split_once("Credential=").map_or("", |(_, rest)| rest);
    match scope.split('/').nth(2) {
        Some(region) if region != expected => Err(s3_error!(
            AuthorizationHeaderMalformed,
            "The authorization header is malformed; the region '{region}' is wrong; expecting \
             '{expected}'"
        )),
        _ => Ok(()),
    }
}

/// Refuses everyone if this server's clock is too far ahead of this machine's.
fn check_skew(ahead: Duration) -> S3Result<()> {
    if ahead <= SKEW_MAX {
        return Ok(());
    }
    Err(s3_error!(
        RequestTimeTooSkewed,
        "The difference between the request time and the current time is too large."
    ))
}

/// Returns this machine's time.
#[expect(
    clippy::disallowed_methods,
    reason = "the server is a part of the outside world"
)]
pub(super) fn now() -> SystemTime {
    SystemTime::now()
}
