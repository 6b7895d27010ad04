//! Making the SDK's client: credentials, region, address, timeouts and retries.

use std::time::Duration;

use aws_config::BehaviorVersion;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::{
    Builder, Credentials, Region, RequestChecksumCalculation, ResponseChecksumValidation,
};

use crate::settings::{AccessKeys, CredentialSource, S3Settings};

/// Attempts that the SDK makes of one request before it gives up, with growing, random pauses.
const ATTEMPTS: u32 = 4;
/// The first pause at most.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(5);
/// How long one attempt may take: a part of 8 MiB then comes at 140 kB/s at least.
const ATTEMPT: Duration = Duration::from_secs(60);

/// Makes a client. It asks for credentials when it first needs them, not now.
pub(crate) async fn connect(settings: &S3Settings) -> Client {
    let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12())
        .retry_config(retries())
        .timeout_config(timeouts());
    if let Some(region) = &settings.region {
        loader = loader.region(Region::new(region.clone()));
    }
    match &settings.credentials {
        CredentialSource::Chain => {}
        CredentialSource::Profile(name) => loader = loader.profile_name(name),
        CredentialSource::Keys(keys) => loader = loader.credentials_provider(credentials(keys)),
    }
    let shared = loader.load().await;
    let mut config = Builder::from(&shared).force_path_style(settings.path_style);
    if let Some(endpoint) = &settings.endpoint {
        config = config.endpoint_url(endpoint);
    }
    if settings.endpoint.is_some() {
        // Only AWS is sure to know the checksums that the SDK adds by default, and stores with locks
        // are: S3 takes no locked object without one.
        let checksums = match settings.lock {
            Some(_) => RequestChecksumCalculation::WhenSupported,
            None => RequestChecksumCalculation::WhenRequired,
        };
        config = config
            .request_checksum_calculation(checksums)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
        if shared.region().is_none() {
            // Most other stores have one region, and many call it this.
            config = config.region(Region::from_static("us-east-1"));
        }
    }
    Client::from_conf(config.build())
}

fn retries() -> RetryConfig {
    RetryConfig::standard()
        .with_max_attempts(ATTEMPTS)
        .with_initial_backoff(FIRST_PAUSE)
        .with_max_backoff(LONGEST_PAUSE)
}

fn timeouts() -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(CONNECT)
        .operation_attempt_timeout(ATTEMPT)
        .build()
}

fn credentials(keys: &AccessKeys) -> Credentials {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let token = keys.token.as_ref().map(|token| text(token.expose()));
    let secret = text(keys.secret.expose());
    Credentials::new(&keys.id, secret, token, None, "lifeboat configuration")
}
