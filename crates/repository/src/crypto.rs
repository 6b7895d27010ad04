//! Sealing and opening: AES-256-GCM under keys that are used for one object only.
//!
//! Every key here is fresh for each object (random salt or encapsulation), so a nonce is a plain
//! counter and can never repeat under one key.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use hpke::aead::ExportOnlyAead;
use hpke::kdf::HkdfSha256;
use hpke::kem::X25519HkdfSha256;
use hpke::rand_core::{TryCryptoRng, TryRng};
use hpke::{Deserializable as _, Kem as _, OpModeR, OpModeS, Serializable as _};
use lifeboat_model::RepositoryId;
use lifeboat_runtime::Entropy;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Bytes that AES-GCM adds to each sealed piece.
pub(crate) const TAG_LEN: usize = 16;

/// A 256-bit symmetric key, wiped on drop.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub(crate) struct SymmetricKey(pub(crate) [u8; 32]);

impl SymmetricKey {
    /// Derives a key for one object from this long-lived one.
    ///
    /// `label` says what for; `salt` is random and unique to the object.
    pub(crate) fn for_object(&self, label: &str, salt: &[u8; 32]) -> SymmetricKey {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        hasher
            .update(&(label.len() as u64).to_le_bytes())
            .update(label.as_bytes())
            .update(salt);
        SymmetricKey(*hasher.finalize().as_bytes())
    }

    /// Reports whether this is what memory holds that nobody wrote a key to.
    pub(crate) fn is_zero(&self) -> bool {
        self.0 == [0; 32]
    }

    fn cipher(&self) -> LessSafeKey {
        let key = UnboundKey::new(&AES_256_GCM, &self.0).expect("the key has 32 bytes");
        LessSafeKey::new(key)
    }
}

/// Seals a sequence of pieces under one fresh key; the piece's number is its nonce.
pub(crate) struct Sealer {
    key: LessSafeKey,
    aad: Vec<u8>,
}

impl Sealer {
    /// Makes a sealer. `aad` binds every piece to its repository and role.
    pub(crate) fn new(key: &SymmetricKey, repository: RepositoryId, header: &[u8]) -> Self {
        Self {
            key: key.cipher(),
            aad: [repository.as_bytes(), header].concat(),
        }
    }

    /// Seals `plain` as piece `number` and appends it to `out`.
    pub(crate) fn seal(&self, number: u64, plain: &[u8], out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(plain);
        let tag = self
            .key
            .seal_in_place_separate_tag(nonce(number), Aad::from(&self.aad), &mut out[start..])
            .expect("a piece is far below the cipher's length limit");
        out.extend_from_slice(tag.as_ref());
    }

    /// Opens piece `number` in place and returns its plaintext, or `None` if it is not authentic.
    pub(crate) fn open<'a>(&self, number: u64, sealed: &'a mut [u8]) -> Option<&'a [u8]> {
        let plain = self
            .key
            .open_in_place(nonce(number), Aad::from(&self.aad), sealed)
            .ok()?;
        Some(plain)
    }
}

fn nonce(number: u64) -> Nonce {
    let mut bytes = [0; 12];
    bytes[4..].copy_from_slice(&number.to_be_bytes());
    Nonce::assume_unique_for_key(bytes)
}

type PublicKey = <X25519HkdfSha256 as hpke::Kem>::PublicKey;
type PrivateKey = <X25519HkdfSha256 as hpke::Kem>::PrivateKey;
type EncappedKey = <X25519HkdfSha256 as hpke::Kem>::EncappedKey;

/// Length of an encapsulated key, bytes.
pub(crate) const ENCAPPED_LEN: usize = 32;

/// What a writer needs to lock content away from itself.
#[derive(Clone)]
pub(crate) struct ContentPublicKey(PublicKey);

/// What a reader needs to open content.
#[derive(Clone)]
pub(crate) struct ContentPrivateKey(PrivateKey);

impl ContentPrivateKey {
    /// Derives the key pair from secret material.
    pub(crate) fn derive(material: &[u8; 32]) -> Self {
        Self(X25519HkdfSha256::derive_keypair(material).0)
    }

    pub(crate) fn public(&self) -> ContentPublicKey {
        ContentPublicKey(X25519HkdfSha256::sk_to_pk(&self.0))
    }

    pub(crate) fn to_bytes(&self) -> [u8; 32] {
        self.0.to_bytes().into()
    }

    pub(crate) fn from_bytes(bytes: &[u8; 32]) -> Option<Self> {
        PrivateKey::from_bytes(bytes).ok().map(Self)
    }

    /// Recovers the key that [`ContentPublicKey::encapsulate`] gave, or `None` if `encapped` is no
    /// valid encapsulation.
    pub(crate) fn decapsulate(
        &self,
        repository: RepositoryId,
        encapped: &[u8; ENCAPPED_LEN],
    ) -> Option<SymmetricKey> {
        let encapped = EncappedKey::from_bytes(encapped).ok()?;
        let context = hpke::setup_receiver::<ExportOnlyAead, HkdfSha256, X25519HkdfSha256>(
            &OpModeR::Base,
            &self.0,
            &encapped,
            &pack_info(repository),
        )
        .ok()?;
        let mut key = SymmetricKey([0; 32]);
        context.export(EXPORT_LABEL, &mut key.0).ok()?;
        Some(key)
    }
}

impl ContentPublicKey {
    pub(crate) fn to_bytes(&self) -> [u8; 32] {
        self.0.to_bytes().into()
    }

    pub(crate) fn from_bytes(bytes: &[u8; 32]) -> Option<Self> {
        PublicKey::from_bytes(bytes).ok().map(Self)
    }

    /// Makes a fresh key that only the private key's holder can recover (RFC 9180, base mode,
    /// DHKEM X25519, export only).
    pub(crate) fn encapsulate(
        &self,
        repository: RepositoryId,
        entropy: &dyn Entropy,
    ) -> ([u8; ENCAPPED_LEN], SymmetricKey) {
        let (encapped, context) =
            hpke::setup_sender_with_rng::<ExportOnlyAead, HkdfSha256, X25519HkdfSha256>(
                &OpModeS::Base,
                &self.0,
                &pack_info(repository),
                &mut EntropyRng(entropy),
            )
            .expect("encapsulation to a valid public key cannot fail");
        let mut key = SymmetricKey([0; 32]);
        context
            .export(EXPORT_LABEL, &mut key.0)
            .expect("32 bytes is a valid export length");
        (encapped.to_bytes().into(), key)
    }
}

const EXPORT_LABEL: &[u8] = b"lifeboat v1 pack frames";

fn pack_info(repository: RepositoryId) -> Vec<u8> {
    [b"lifeboat v1 pack ".as_slice(), repository.as_bytes()].concat()
}

/// Shows our entropy to hpke as the generator it expects.
struct EntropyRng<'a>(&'a dyn Entropy);

impl TryRng for EntropyRng<'_> {
    type Error = std::convert::Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        Ok(u32::from_le_bytes(self.0.bytes()))
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        Ok(u64::from_le_bytes(self.0.bytes()))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Self::Error> {
        self.0.fill(bytes);
        Ok(())
    }
}

impl TryCryptoRng for EntropyRng<'_> {}

#[cfg(test)]
mod tests {
    use lifeboat_runtime::SeededEntropy;

    use super::*;

    const REPOSITORY: RepositoryId = RepositoryId::from_bytes([7; 16]);

    #[test]
    fn only_the_private_key_recovers_a_pack_key() {
        let private = ContentPrivateKey::derive(&[1; 32]);
        let (encapped, key) = private
            .public()
            .encapsulate(REPOSITORY, &SeededEntropy::new(1));
        assert_eq!(private.decapsulate(REPOSITORY, &encapped).unwrap().0, key.0);
        let other = ContentPrivateKey::derive(&[2; 32]);
        assert_ne!(other.decapsulate(REPOSITORY, &encapped).unwrap().0, key.0);
        let elsewhere = RepositoryId::from_bytes([8; 16]);
        assert_ne!(private.decapsulate(elsewhere, &encapped).unwrap().0, key.0);
    }

    #[test]
    fn a_piece_opens_only_in_its_place_and_unchanged() {
        let sealer = Sealer::new(&SymmetricKey([3; 32]), REPOSITORY, b"header");
        let mut sealed = Vec::new();
        sealer.seal(5, b"plain", &mut sealed);
        assert_eq!(
            sealer.open(5, &mut sealed.clone()),
            Some(b"plain".as_slice())
        );
        assert_eq!(sealer.open(6, &mut sealed.clone()), None);
        sealed[2] ^= 1;
        assert_eq!(sealer.open(5, &mut sealed), None);
    }
}
