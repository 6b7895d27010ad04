//! Secrets: what a holder of a key can do is decided by which of them the key holds.
//!
//! One root secret derives everything. A key object in the store wraps the part of it that a role
//! needs under a secret that its holder keeps outside the repository. A secret of nothing but zeros
//! is never taken for one, whoever offers it.

use std::fmt;

use lifeboat_model::{KeyId, RepositoryId};
use lifeboat_runtime::{Entropy, SecretBytes};
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::crypto::{ContentPrivateKey, ContentPublicKey, SymmetricKey};
use crate::error::RepositoryError;
use crate::role::{Action, Role};

/// The secret everything else derives from. Kept on paper, not on a host.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct RootSecret([u8; 32]);

/// Digits of the text form of secrets (Crockford's base32, which has no letters that look alike).
const BASE32: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

impl RootSecret {
    /// Draws a new one.
    pub fn generate(entropy: &dyn Entropy) -> Self {
        Self(entropy.bytes())
    }

    /// Returns the printed form: `LIFEBOAT-ROOT-` and groups that survive a telephone call.
    pub fn recovery_code(&self) -> SecretBytes {
        SecretBytes::new(format!("{ROOT_PREFIX}{}", to_groups(&self.0)).into_bytes())
    }

    /// Reports whether the text begins as a recovery code does.
    pub fn is_recovery_code(text: &SecretBytes) -> bool {
        // Trimmed as the reader below does: a copied text may begin with a no-break space.
        let text = std::str::from_utf8(text.expose()).unwrap_or_default();
        let prefix = text.trim_start().get(..ROOT_PREFIX.len());
        prefix.is_some_and(|start| start.eq_ignore_ascii_case(ROOT_PREFIX))
    }

    /// Reads the printed form; case, spaces and dashes do not matter.
    ///
    /// # Errors
    /// Fails if the code has a wrong length or a mistyped character.
    pub fn from_recovery_code(code: &SecretBytes) -> Result<Self, RepositoryError> {
        let malformed = |what| RepositoryError::MalformedKey {
            secret: "recovery code".to_owned(),
            what,
        };
        let text = std::str::from_utf8(code.expose()).map_err(|_| malformed("it is not text"))?;
        let upper = text.trim().to_ascii_uppercase();
        let groups = upper
            .strip_prefix(ROOT_PREFIX)
            .ok_or_else(|| malformed("it does not start with LIFEBOAT-ROOT-"))?;
        from_groups(groups).map(Self).map_err(malformed)
    }

    fn derive(&self, context: &str) -> SymmetricKey {
        SymmetricKey(blake3::derive_key(context, &self.0))
    }

    /// Derives all that this root can do.
    pub(crate) fn key_ring(&self) -> KeyRing {
        let material = self.derive("lifeboat v1 content key pair");
        let private = ContentPrivateKey::derive(&material.0);
        KeyRing {
            role: Role::Root,
            metadata: self.derive("lifeboat v1 metadata key"),
            id: Some(self.derive("lifeboat v1 id key")),
            content_public: Some(private.public()),
            content_private: Some(private),
            revocation: Some(self.derive("lifeboat v1 revocation key")),
        }
    }
}

const ROOT_PREFIX: &str = "LIFEBOAT-ROOT-";
const SECRET_PREFIX: &str = "LIFEBOAT-KEY-";

/// The secret a key's holder keeps: it names a key object and unwraps it.
#[derive(Clone)]
pub struct KeySecret {
    /// The key object it belongs to.
    pub(crate) key: KeyId,
    pub(crate) secret: SymmetricKey,
}

impl KeySecret {
    pub(crate) fn generate(entropy: &dyn Entropy) -> Self {
        Self {
            key: KeyId::from_bytes(entropy.bytes()),
            secret: SymmetricKey(entropy.bytes()),
        }
    }

    /// Returns which key object it belongs to.
    pub fn key(&self) -> KeyId {
        self.key
    }

    /// Returns the text form that goes into a key file or a vault.
    pub fn to_text(&self) -> SecretBytes {
        let groups = to_groups(&self.secret.0);
        SecretBytes::new(format!("{SECRET_PREFIX}{}-{groups}", self.key).into_bytes())
    }

    /// Reads the text form. `what` names the secret in errors (`writer key`).
    ///
    /// # Errors
    /// Fails if the text is not a key that Lifeboat wrote, or was cut or mistyped.
    pub fn from_text(text: &SecretBytes, what: &str) -> Result<Self, RepositoryError> {
        let malformed = |reason| RepositoryError::MalformedKey {
            secret: what.to_owned(),
            what: reason,
        };
        let text = std::str::from_utf8(text.expose()).map_err(|_| malformed("it is not text"))?;
        let rest = text
            .trim()
            .strip_prefix(SECRET_PREFIX)
            .ok_or_else(|| malformed("it does not start with LIFEBOAT-KEY-"))?;
        let (key, groups) = rest
            .split_once('-')
            .ok_or_else(|| malformed("it is cut short"))?;
        let key = key
            .parse()
            .map_err(|_| malformed("its key id is damaged"))?;
        let secret = SymmetricKey(from_groups(groups).map_err(malformed)?);
        Ok(Self { key, secret })
    }
}

/// 32 bytes and a 24-bit check as 56 base32 digits in groups of four.
fn to_groups(bytes: &[u8; 32]) -> String {
    let check = blake3::hash(bytes);
    let mut all = bytes.to_vec();
    all.extend_from_slice(&check.as_bytes()[..3]);
    let mut text = String::with_capacity(70);
    for (n, five) in all.chunks(5).enumerate() {
        let mut word = [0_u8; 8];
        word[3..].copy_from_slice(five);
        let word = u64::from_be_bytes(word);
        for digit in 0..8 {
            if digit % 4 == 0 && (n, digit) != (0, 0) {
                text.push('-');
            }
            text.push(char::from(BASE32[(word >> (35 - 5 * digit)) as usize & 31]));
        }
    }
    all.zeroize();
    text
}

fn from_groups(text: &str) -> Result<[u8; 32], &'static str> {
    let digits: Vec<u8> = text
        .bytes()
        .filter(|byte| *byte != b'-' && !byte.is_ascii_whitespace())
        .map(|byte| match byte.to_ascii_uppercase() {
            // Crockford's base32 forgives what people misread.
            b'O' => b'0',
            b'I' | b'L' => b'1',
            other => other,
        })
        .collect();
    if digits.len() != 56 {
        return Err("it has a wrong number of characters");
    }
    let mut all = Vec::with_capacity(35);
    for eight in digits.chunks(8) {
        let mut word = 0_u64;
        for digit in eight {
            let value = BASE32.iter().position(|known| known == digit);
            word = word << 5 | value.ok_or("it holds a character that no key has")? as u64;
        }
        all.extend_from_slice(&word.to_be_bytes()[3..]);
    }
    let bytes: [u8; 32] = all[..32].try_into().expect("35 bytes were decoded");
    if blake3::hash(&bytes).as_bytes()[..3] != all[32..] {
        return Err("its check digits do not fit, so a character is wrong");
    }
    if bytes == [0; 32] {
        return Err("it is all zeros, which no key is");
    }
    Ok(bytes)
}

/// The secrets at hand. Which are present decides what can be done.
#[derive(Clone)]
pub struct KeyRing {
    role: Role,
    metadata: SymmetricKey,
    id: Option<SymmetricKey>,
    content_public: Option<ContentPublicKey>,
    content_private: Option<ContentPrivateKey>,
    revocation: Option<SymmetricKey>,
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyRing({})", self.role)
    }
}

impl KeyRing {
    /// Returns the role these secrets make up.
    pub fn role(&self) -> Role {
        self.role
    }

    /// Fails unless the role may do `action`.
    ///
    /// # Errors
    /// Names the role at hand and the weakest one that may.
    pub fn require(&self, action: Action) -> Result<(), RepositoryError> {
        match self.role.may(action) {
            true => Ok(()),
            false => Err(self.too_weak(action.as_str(), action.weakest_role())),
        }
    }

    pub(crate) fn metadata(&self) -> &SymmetricKey {
        &self.metadata
    }

    pub(crate) fn id(&self, action: &'static str) -> Result<&SymmetricKey, RepositoryError> {
        self.id.as_ref().ok_or(self.too_weak(action, Role::Writer))
    }

    pub(crate) fn content_public(&self) -> Result<&ContentPublicKey, RepositoryError> {
        self.content_public
            .as_ref()
            .ok_or(self.too_weak("back up", Role::Writer))
    }

    pub(crate) fn content_private(&self) -> Result<&ContentPrivateKey, RepositoryError> {
        self.content_private
            .as_ref()
            .ok_or(self.too_weak("read content", Role::Reader))
    }

    pub(crate) fn revocation_key(&self) -> Result<&SymmetricKey, RepositoryError> {
        let action = Action::ManageKeys;
        self.revocation
            .as_ref()
            .ok_or(self.too_weak(action.as_str(), action.weakest_role()))
    }

    fn too_weak(&self, action: &'static str, need: Role) -> RepositoryError {
        RepositoryError::RoleTooWeak {
            have: self.role,
            action,
            need,
        }
    }

    /// Returns the part of these secrets that `role` needs.
    pub(crate) fn narrowed(&self, role: Role) -> KeyRing {
        let all = self.clone();
        KeyRing {
            role,
            metadata: all.metadata,
            id: all.id.filter(|_| role.may(Action::BackUp)),
            content_public: all.content_public.filter(|_| role.may(Action::BackUp)),
            content_private: all
                .content_private
                .filter(|_| role.may(Action::ReadContent)),
            revocation: all.revocation.filter(|_| role.may(Action::ManageKeys)),
        }
    }

    /// Writes the secrets for wrapping: metadata key, then what the role adds.
    pub(crate) fn to_bytes(&self) -> SecretBytes {
        let mut bytes = self.metadata.0.to_vec();
        if let (Some(id), Some(public)) = (&self.id, &self.content_public) {
            bytes.extend_from_slice(&id.0);
            bytes.extend_from_slice(&public.to_bytes());
        }
        if let Some(private) = &self.content_private {
            bytes.extend_from_slice(&private.to_bytes());
        }
        SecretBytes::new(bytes)
    }

    /// Reads what [`KeyRing::to_bytes`] wrote, or `None` if it does not fit the role.
    ///
    /// No object holds the root secret, so none makes a root's ring.
    pub(crate) fn from_bytes(role: Role, bytes: &[u8]) -> Option<KeyRing> {
        if !Role::ISSUED.contains(&role) {
            return None;
        }
        let mut parts = bytes.chunks_exact(32).map(|part| {
            let part = <[u8; 32]>::try_from(part).ok();
            part.filter(|part| *part != [0; 32])
        });
        let mut next = || parts.next().flatten();
        let metadata = SymmetricKey(next()?);
        let mut ring = KeyRing {
            role,
            metadata,
            id: None,
            content_public: None,
            content_private: None,
            revocation: None,
        };
        if role.may(Action::BackUp) {
            ring.id = Some(SymmetricKey(next()?));
            ring.content_public = Some(ContentPublicKey::from_bytes(&next()?)?);
        }
        if role.may(Action::ReadContent) {
            ring.content_private = Some(ContentPrivateKey::from_bytes(&next()?)?);
        }
        (bytes.len().is_multiple_of(32) && next().is_none()).then_some(ring)
    }
}

/// Tells a key ring's secrets apart from those of another repository, in errors and tests.
pub(crate) fn wrap_context(repository: RepositoryId, key: KeyId, role: Role) -> Vec<u8> {
    [
        repository.as_bytes().as_slice(),
        key.as_bytes(),
        role.to_string().as_bytes(),
    ]
    .concat()
}

#[cfg(test)]
mod tests {
    use lifeboat_runtime::SeededEntropy;

    use super::*;

    #[test]
    fn a_recovery_code_survives_a_telephone_call_and_a_typo_does_not() {
        let root = RootSecret::generate(&SeededEntropy::new(1));
        let code = String::from_utf8(root.recovery_code().expose().to_vec()).unwrap();
        let spoken =
            code.to_lowercase()
                .replace('-', " ")
                .replacen("lifeboat root ", "LIFEBOAT-ROOT-", 1);
        let back = RootSecret::from_recovery_code(&SecretBytes::new(spoken.into_bytes())).unwrap();
        assert_eq!(back.0, root.0);
        let last = if code.ends_with('7') { '8' } else { '7' };
        let typo = format!("{}{last}", &code[..code.len() - 1]);
        assert!(RootSecret::from_recovery_code(&SecretBytes::new(typo.into_bytes())).is_err());
    }

    #[test]
    fn a_recovery_code_is_known_as_one_whatever_blanks_stand_before_it() {
        let code = RootSecret::generate(&SeededEntropy::new(1)).recovery_code();
        for blanks in ["", "\r\n ", "\u{a0}"] {
            let text = SecretBytes::new([blanks.as_bytes(), code.expose()].concat());
            assert!(RootSecret::is_recovery_code(&text), "{blanks:?}");
            assert!(RootSecret::from_recovery_code(&text).is_ok(), "{blanks:?}");
        }
    }

    #[test]
    fn each_role_holds_what_it_needs_and_nothing_more() {
        let ring = RootSecret::generate(&SeededEntropy::new(2)).key_ring();
        let auditor = ring.narrowed(Role::Auditor);
        assert!(auditor.id("back up").is_err() && auditor.content_private().is_err());
        let pruner = ring.narrowed(Role::Pruner);
        assert!(pruner.id("back up").is_err() && pruner.content_public().is_err());
        assert!(pruner.content_private().is_err());
        assert_eq!(pruner.to_bytes().expose().len(), 32);
        let writer = ring.narrowed(Role::Writer);
        assert!(writer.content_public().is_ok() && writer.content_private().is_err());
        assert!(ring.narrowed(Role::Reader).content_private().is_ok());
        for role in Role::ISSUED {
            assert!(ring.narrowed(role).revocation_key().is_err(), "{role}");
        }
        assert_eq!(
            writer.to_bytes().expose().len(),
            96,
            "a writer's key holds no private key"
        );
    }

    #[test]
    fn a_key_ring_survives_wrapping_and_refuses_another_roles_bytes() {
        let ring = RootSecret::generate(&SeededEntropy::new(3)).key_ring();
        for role in Role::ISSUED {
            let bytes = ring.narrowed(role).to_bytes();
            assert!(KeyRing::from_bytes(role, bytes.expose()).is_some());
            assert!(KeyRing::from_bytes(role, &bytes.expose()[1..]).is_none());
        }
        let writer = ring.narrowed(Role::Writer).to_bytes();
        assert!(KeyRing::from_bytes(Role::Reader, writer.expose()).is_none());
    }

    #[test]
    fn nothing_that_a_weak_key_holds_recovers_a_pack_key_or_makes_an_id() {
        let repository = RepositoryId::from_bytes([6; 16]);
        let ring = RootSecret::generate(&SeededEntropy::new(6)).key_ring();
        let public = ring.content_public().unwrap();
        let (encapped, pack_key) = public.encapsulate(repository, &SeededEntropy::new(7));
        let private = ring.content_private().unwrap();
        let recovered = private.decapsulate(repository, &encapped).unwrap();
        assert_eq!(recovered.0, pack_key.0, "the reader's own key does");
        for role in [Role::Auditor, Role::Pruner, Role::Writer] {
            let held = ring.narrowed(role).to_bytes();
            for part in held.expose().chunks(32) {
                let part: [u8; 32] = part.try_into().unwrap();
                // Whatever it holds, taken for a private key or for what one is derived from.
                let tries = [
                    ContentPrivateKey::from_bytes(&part),
                    Some(ContentPrivateKey::derive(&part)),
                ];
                for private in tries.into_iter().flatten() {
                    let found = private.decapsulate(repository, &encapped);
                    assert!(found.is_none_or(|key| key.0 != pack_key.0), "{role}");
                }
                assert_ne!(part, pack_key.0, "{role}");
                let makes_ids = part == ring.id("test").unwrap().0;
                assert!(!makes_ids || role == Role::Writer, "{role}");
            }
        }
    }

    #[test]
    fn zeros_are_no_key() {
        let zeros = to_groups(&[0; 32]);
        let secret = |text: String| SecretBytes::new(text.into_bytes());
        let root = secret(format!("{ROOT_PREFIX}{zeros}"));
        let error = RootSecret::from_recovery_code(&root).err().unwrap();
        assert!(
            error
                .to_string()
                .ends_with("it is all zeros, which no key is")
        );
        let key = secret(format!("{SECRET_PREFIX}0123456789abcdef-{zeros}"));
        assert!(KeySecret::from_text(&key, "writer key").is_err());
        let ring = RootSecret::generate(&SeededEntropy::new(5)).key_ring();
        for role in Role::ISSUED {
            let good = ring.narrowed(role).to_bytes();
            for part in 0..good.expose().len() / 32 {
                let mut bytes = good.expose().to_vec();
                bytes[32 * part..32 * (part + 1)].fill(0);
                assert!(
                    KeyRing::from_bytes(role, &bytes).is_none(),
                    "{role}, {part}"
                );
            }
        }
    }

    #[test]
    fn key_secrets_round_trip_as_text() {
        let secret = KeySecret::generate(&SeededEntropy::new(4));
        let back = KeySecret::from_text(&secret.to_text(), "writer key").unwrap();
        assert_eq!((back.key, back.secret.0), (secret.key, secret.secret.0));
    }
}
