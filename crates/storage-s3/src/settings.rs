//! What there is to say about a bucket before it is used.

use std::fmt;
use std::str::FromStr;

use lifeboat_model::{BucketUrl, LockTerms};
use lifeboat_runtime::SecretBytes;

/// How a bucket is reached and what is asked of it.
#[derive(Debug, Clone)]
pub struct S3Settings {
    /// The bucket and the prefix of all keys.
    pub url: BucketUrl,
    /// The store's address, unless it is AWS.
    pub endpoint: Option<String>,
    /// The region that requests are signed for; by default what the environment or profile says.
    pub region: Option<String>,
    /// Whether the bucket stands in the path and not in the host's name, as most other stores need.
    pub path_style: bool,
    /// The storage class of new objects.
    pub storage_class: Option<String>,
    /// How the store encrypts at rest what is encrypted already.
    pub encryption: Option<Encryption>,
    /// The lock that new objects get.
    pub lock: Option<LockRules>,
    /// Where the credentials come from.
    pub credentials: CredentialSource,
}

impl S3Settings {
    /// Returns settings for a bucket with nothing else said.
    pub fn new(url: BucketUrl) -> Self {
        Self {
            url,
            endpoint: None,
            region: None,
            path_style: false,
            storage_class: None,
            encryption: None,
            lock: None,
            credentials: CredentialSource::Chain,
        }
    }
}

/// Server-side encryption.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Encryption {
    /// With the store's own key.
    Aes256,
    /// With a key in the store's key management, by default the account's.
    Kms {
        /// The key.
        key: Option<String>,
    },
}

/// Which objects are locked, and for how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockRules {
    /// What a lock promises.
    pub terms: LockTerms,
    /// Prefixes of keys whose objects come and go and are never locked.
    pub except: Vec<String>,
}

impl LockRules {
    /// Returns the terms for an object, or `None` if it is not to be locked.
    pub(crate) fn terms_for(&self, key: &str) -> Option<&LockTerms> {
        let excepted = |prefix: &String| key.starts_with(prefix.as_str());
        (!self.except.iter().any(excepted)).then_some(&self.terms)
    }
}

/// Where credentials come from.
#[derive(Debug, Clone)]
pub enum CredentialSource {
    /// The SDK's own chain: variables, profiles, SSO, container, instance.
    Chain,
    /// A profile of the shared configuration files.
    Profile(String),
    /// Keys that the configuration refers to.
    Keys(AccessKeys),
}

/// An access key with its secret, and the token of a session if it belongs to one.
#[derive(Clone)]
pub struct AccessKeys {
    pub(crate) id: String,
    pub(crate) secret: SecretBytes,
    pub(crate) token: Option<SecretBytes>,
}

impl fmt::Debug for AccessKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessKeys").finish_non_exhaustive()
    }
}

/// The text is not an access key. It is not repeated: it may be most of one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the credentials are not `ACCESS-KEY-ID:SECRET` or `ACCESS-KEY-ID:SECRET:SESSION-TOKEN`")]
pub struct BadAccessKeys;

impl FromStr for AccessKeys {
    type Err = BadAccessKeys;

    fn from_str(text: &str) -> Result<Self, BadAccessKeys> {
        let mut parts = text.trim().splitn(3, ':');
        let part = |text: Option<&str>| text.filter(|text| !text.is_empty()).map(str::to_owned);
        let (id, secret) = (part(parts.next()), part(parts.next()));
        let token = part(parts.next());
        match (id, secret) {
            (Some(id), Some(secret)) => Ok(Self {
                id,
                secret: SecretBytes::new(secret.into_bytes()),
                token: token.map(|token| SecretBytes::new(token.into_bytes())),
            }),
            _ => Err(BadAccessKeys),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_access_key_is_never_shown() {
        let keys: AccessKeys = "AKIAEXAMPLE:very-secret:token".parse().unwrap();
        let shown = format!("{:?}", CredentialSource::Keys(keys));
        assert!(
            !shown.contains("very-secret") && !shown.contains("AKIA"),
            "{shown}"
        );
        let error = "no-colon-in-this-secret".parse::<AccessKeys>().unwrap_err();
        assert!(!error.to_string().contains("no-colon"));
        assert!("id:".parse::<AccessKeys>().is_err());
    }

    #[test]
    fn what_comes_and_goes_is_not_locked() {
        let rules = LockRules {
            terms: LockTerms {
                mode: lifeboat_model::LockMode::Governance,
                days: 30,
                legal_hold: false,
            },
            except: vec!["leases/".to_owned()],
        };
        assert!(rules.terms_for("leases/a/0").is_none());
        assert!(rules.terms_for("packs/aa/bb").is_some());
    }
}
