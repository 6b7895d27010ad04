//! What S3's errors mean: which kind they are, and what the operator can do.

use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::RequestId as _;
use lifeboat_model::{ErrorKind, error_chain};

/// A request that failed.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Failure {
    pub(crate) kind: ErrorKind,
    pub(crate) hint: Option<String>,
    /// The code that the store gave, such as `SlowDown`.
    code: Option<String>,
    message: String,
}

/// The actions that a key needs, as policies name them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Action(pub(crate) &'static str);

impl Failure {
    /// Makes a failure of this program's own finding.
    pub(crate) fn found(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            hint: None,
            code: None,
            message: message.into(),
        }
    }

    /// Makes the failure of a body that broke off. Nothing is lost by asking again.
    pub(crate) fn broken_body(error: &(dyn std::error::Error + 'static)) -> Self {
        let why = format!("the body broke off: {}", error_chain(error));
        Self::found(ErrorKind::Transient, why)
    }

    /// Reads what the SDK says of a request that needed `action`.
    pub(crate) fn of<E>(error: &SdkError<E, HttpResponse>, action: Action) -> Self
    where
        E: std::error::Error + ProvideErrorMetadata + 'static,
    {
        match error {
            SdkError::ServiceError(refused) => {
                let status = refused.raw().status().as_u16();
                let region = refused.raw().headers().get("x-amz-bucket-region");
                Self::refused(refused.err(), status, region, action)
            }
            SdkError::TimeoutError(_) => Self {
                hint: Some("check the network, and whether the store is overloaded".to_owned()),
                ..Self::found(ErrorKind::Transient, "the store did not answer in time")
            },
            SdkError::DispatchFailure(failure) => {
                let why = failure.as_connector_error().map_or_else(
                    || error_chain(error),
                    |connector| error_chain(connector as &dyn std::error::Error),
                );
                Self::unsent(why, failure.is_other() || failure.is_user())
            }
            SdkError::ResponseError(_) => Self::found(ErrorKind::Transient, error_chain(error)),
            _ => Self::unsent(error_chain(error), true),
        }
    }

    /// The request never left, or never arrived.
    fn unsent(why: String, here: bool) -> Self {
        let about_credentials = why.contains("credential") || why.contains("identity");
        let (kind, hint) = if about_credentials {
            (
                ErrorKind::Denied,
                "no usable credentials: set `credentials` of the region, or AWS_ACCESS_KEY_ID and \
                 AWS_SECRET_ACCESS_KEY, or AWS_PROFILE",
            )
        } else if why.contains("region") && here {
            (ErrorKind::Usage, "set `s3_region` of the region")
        } else {
            (
                ErrorKind::Transient,
                "check the network and the region's `endpoint`",
            )
        };
        Self {
            hint: Some(hint.to_owned()),
            ..Self::found(kind, why)
        }
    }

    fn refused<E>(error: &E, status: u16, region: Option<&str>, action: Action) -> Self
    where
        E: std::error::Error + ProvideErrorMetadata + 'static,
    {
        let code = error.code().map(str::to_owned);
        let said = error.message().unwrap_or_default();
        let request = error.meta().request_id();
        let request = request.map_or(String::new(), |id| format!(" (request {id})"));
        let message = match (&code, said) {
            (Some(code), "") => format!("the store answered {status} `{code}`{request}"),
            (Some(code), said) => format!("the store answered {status} `{code}`: {said}{request}"),
            (None, _) => format!("the store answered {status}{request}"),
        };
        let region = region.map(str::to_owned).or_else(|| expected_region(said));
        let (kind, hint) = meaning(code.as_deref(), status, region.as_deref(), action);
        Self {
            kind,
            hint,
            code,
            message,
        }
    }

    /// Tells whether a conditional put found the object there.
    pub(crate) fn is_precondition(&self) -> bool {
        self.kind == ErrorKind::AlreadyExists
    }

    /// Tells whether the store does not know what was asked of it.
    pub(crate) fn is_unsupported(&self) -> bool {
        matches!(
            self.code.as_deref(),
            Some("NotImplemented" | "InvalidArgument")
        )
    }

    /// Tells whether a range starts past the end.
    pub(crate) fn is_range(&self) -> bool {
        self.code.as_deref() == Some("InvalidRange")
    }
}

/// Finds the region in `… the region 'a' is wrong; expecting 'b'`.
fn expected_region(said: &str) -> Option<String> {
    let (_, rest) = said.split_once("expecting '")?;
    Some(rest.split('\'').next()?.to_owned())
}

/// Says what a refusal means. The codes are those of the S3 API reference; `status` decides for
/// answers without a body, as those to `HEAD` are.
fn meaning(
    code: Option<&str>,
    status: u16,
    region: Option<&str>,
    action: Action,
) -> (ErrorKind, Option<String>) {
    let hinted = |kind, hint: &str| (kind, Some(hint.to_owned()));
    match (code, status) {
        (Some("NoSuchBucket"), _) => hinted(
            ErrorKind::NoRepository,
            "create the bucket first, with Object Lock on if it is to be locked; lifeboat makes none",
        ),
        (Some("NoSuchKey" | "NoSuchVersion" | "NotFound"), _) | (None, 404) => {
            (ErrorKind::NotFound, None)
        }
        (Some("PreconditionFailed"), _) | (None, 412) => (ErrorKind::AlreadyExists, None),
        // Two conditional puts met: the store asks to try again.
        (Some("ConditionalRequestConflict" | "OperationAborted"), _) => {
            (ErrorKind::Transient, None)
        }
        (Some("InvalidRange"), _) | (None, 416) => (ErrorKind::Corrupt, None),
        (
            Some(
                "AuthorizationHeaderMalformed"
                | "PermanentRedirect"
                | "TemporaryRedirect"
                | "IllegalLocationConstraintException",
            ),
            _,
        )
        | (_, 301) => (ErrorKind::Usage, Some(wrong_region(region))),
        (Some("RequestTimeTooSkewed" | "RequestExpired"), _) => hinted(
            ErrorKind::Failed,
            "this machine's clock and the store's are more than 15 minutes apart: set this one right",
        ),
        (Some("InvalidAccessKeyId" | "NotSignedUp"), _) => hinted(
            ErrorKind::Denied,
            "the store does not know this access key: check `credentials` of the region",
        ),
        (Some("SignatureDoesNotMatch"), _) => hinted(
            ErrorKind::Denied,
            "the secret does not fit the access key: check `credentials` of the region",
        ),
        (Some("ExpiredToken" | "InvalidToken" | "TokenRefreshRequired"), _) => hinted(
            ErrorKind::Denied,
            "the session's credentials have expired: sign in again",
        ),
        (Some("AccessDenied"), _) | (_, 403) => (
            ErrorKind::Denied,
            Some(format!(
                "allow `{}` to this key, in its policy and the bucket's; an object under a lock is \
                 kept in any case",
                action.0
            )),
        ),
        (Some("SlowDown" | "ServiceUnavailable" | "InternalError" | "RequestTimeout"), _)
        | (_, 429 | 500..=599) => (ErrorKind::Transient, None),
        (Some("BadDigest" | "IncompleteBody" | "XAmzContentSHA256Mismatch"), _) => {
            (ErrorKind::Transient, None)
        }
        _ => (ErrorKind::Failed, None),
    }
}

fn wrong_region(region: Option<&str>) -> String {
    match region {
        Some(region) => format!("the bucket lies in `{region}`: set `s3_region = \"{region}\"`"),
        None => "set `s3_region` of the region to where the bucket lies".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PUT: Action = Action("s3:PutObject");

    #[test]
    fn a_refusal_tells_the_next_step() {
        let (kind, hint) = meaning(Some("AccessDenied"), 403, None, PUT);
        assert_eq!(kind, ErrorKind::Denied);
        assert!(hint.unwrap().contains("`s3:PutObject`"));
        let said = "The authorization header is malformed; the region 'us-east-1' is wrong; \
                    expecting 'eu-central-1'";
        let region = expected_region(said);
        let (kind, hint) = meaning(
            Some("AuthorizationHeaderMalformed"),
            400,
            region.as_deref(),
            PUT,
        );
        assert_eq!(kind, ErrorKind::Usage);
        assert!(hint.unwrap().contains("s3_region = \"eu-central-1\""));
        assert_eq!(
            meaning(Some("NoSuchBucket"), 404, None, PUT).0,
            ErrorKind::NoRepository
        );
    }

    #[test]
    fn answers_without_a_body_are_told_by_their_status() {
        assert_eq!(meaning(None, 404, None, PUT).0, ErrorKind::NotFound);
        assert_eq!(meaning(None, 503, None, PUT).0, ErrorKind::Transient);
        assert_eq!(meaning(None, 403, None, PUT).0, ErrorKind::Denied);
    }
}
