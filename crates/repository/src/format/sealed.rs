//! The envelope of index objects, commit records and wrapped keys.
//!
//! ```text
//! header (48) | public length, u32 LE | public bytes | sealed( raw length, u32 LE | zstd ) | tag (16)
//! ```
//! The public bytes can be read without a key and are authenticated with the rest.

use lifeboat_model::RepositoryId;
use lifeboat_runtime::Entropy;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::compress::decompress;
use crate::crypto::{Sealer, SymmetricKey};
use crate::error::Flaw;
use crate::format::{HEADER_LEN, Kind, header, parse_header};

/// No metadata object is larger than this when opened; a parser must not believe more.
const RAW_LEN_MAX: usize = 1 << 30;
const LABEL: &str = "lifeboat v1 sealed object";

/// Seals `body` under a key derived for this object.
pub(crate) fn seal<T: Serialize>(
    kind: Kind,
    repository: RepositoryId,
    key: &SymmetricKey,
    entropy: &dyn Entropy,
    public: &[u8],
    body: &T,
) -> Vec<u8> {
    let salt = entropy.bytes();
    let mut out = header(kind, &salt).to_vec();
    let public_len = u32::try_from(public.len()).expect("public parts are far below 4 GiB");
    out.extend_from_slice(&public_len.to_le_bytes());
    out.extend_from_slice(public);
    let sealer = Sealer::new(&key.for_object(LABEL, &salt), repository, &out);
    let plain = pack_body(body);
    sealer.seal(0, &plain, &mut out);
    out
}

/// Returns the part of an object that needs no key.
pub(crate) fn public(kind: Kind, bytes: &[u8]) -> Result<&[u8], Flaw> {
    parse_header(bytes, kind)?;
    Ok(split(bytes)?.0)
}

/// Opens an object and reads its body.
pub(crate) fn open<T: DeserializeOwned>(
    kind: Kind,
    repository: RepositoryId,
    key: &SymmetricKey,
    bytes: &[u8],
) -> Result<T, Flaw> {
    let salt = parse_header(bytes, kind)?;
    let (public, sealed) = split(bytes)?;
    let bound = &bytes[..HEADER_LEN + 4 + public.len()];
    let sealer = Sealer::new(&key.for_object(LABEL, &salt), repository, bound);
    let mut sealed = sealed.to_vec();
    let plain = sealer
        .open(0, &mut sealed)
        .ok_or_else(|| Flaw::damaged("it is not authentic"))?;
    unpack_body(plain)
}

fn split(bytes: &[u8]) -> Result<(&[u8], &[u8]), Flaw> {
    let rest = &bytes[HEADER_LEN..];
    let (len, rest) = rest
        .split_first_chunk()
        .ok_or_else(|| Flaw::damaged("it is cut short"))?;
    rest.split_at_checked(u32::from_le_bytes(*len) as usize)
        .ok_or_else(|| Flaw::damaged("it is cut short"))
}

/// Serializes and compresses: `raw length, u32 LE | zstd frame`.
fn pack_body<T: Serialize>(body: &T) -> Vec<u8> {
    let raw = postcard::to_allocvec(body).expect("our structs serialize into memory");
    let raw_len = u32::try_from(raw.len()).expect("metadata objects are far below 4 GiB");
    let mut plain = raw_len.to_le_bytes().to_vec();
    plain.extend(zstd::bulk::compress(&raw, 3).expect("compression into memory cannot fail"));
    plain
}

fn unpack_body<T: DeserializeOwned>(plain: &[u8]) -> Result<T, Flaw> {
    read_body(&decompress_body(plain)?)
}

fn broken() -> Flaw {
    Flaw::damaged("its body cannot be read")
}

/// Decompresses what was sealed.
pub(crate) fn decompress_body(plain: &[u8]) -> Result<Vec<u8>, Flaw> {
    let (len, compressed) = plain.split_first_chunk().ok_or_else(broken)?;
    let raw_len = u32::from_le_bytes(*len) as usize;
    if raw_len > RAW_LEN_MAX {
        return Err(broken());
    }
    decompress(compressed, raw_len).ok_or_else(broken)
}

/// Reads a body that was decompressed, to its last byte.
pub(crate) fn read_body<T: DeserializeOwned>(raw: &[u8]) -> Result<T, Flaw> {
    let (body, rest) = postcard::take_from_bytes(raw).map_err(|_| broken())?;
    if rest.is_empty() {
        Ok(body)
    } else {
        Err(broken())
    }
}

#[cfg(test)]
mod tests {
    use lifeboat_runtime::SeededEntropy;
    use proptest::prelude::*;

    use super::*;

    const REPOSITORY: RepositoryId = RepositoryId::from_bytes([1; 16]);

    fn sealed() -> Vec<u8> {
        let key = SymmetricKey([2; 32]);
        let body = vec!["a".to_owned(), "b".to_owned()];
        seal(
            Kind::Index,
            REPOSITORY,
            &key,
            &SeededEntropy::new(1),
            b"public",
            &body,
        )
    }

    #[test]
    fn every_flipped_byte_is_noticed() {
        let good = sealed();
        let key = SymmetricKey([2; 32]);
        assert!(open::<Vec<String>>(Kind::Index, REPOSITORY, &key, &good).is_ok());
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0x40;
            assert!(
                open::<Vec<String>>(Kind::Index, REPOSITORY, &key, &bad).is_err(),
                "byte {at}"
            );
        }
    }

    #[test]
    fn an_object_opens_only_as_its_kind_and_in_its_repository() {
        let good = sealed();
        let key = SymmetricKey([2; 32]);
        assert!(open::<Vec<String>>(Kind::Commit, REPOSITORY, &key, &good).is_err());
        let elsewhere = RepositoryId::from_bytes([9; 16]);
        assert!(open::<Vec<String>>(Kind::Index, elsewhere, &key, &good).is_err());
        assert_eq!(public(Kind::Index, &good).unwrap(), b"public");
    }

    #[test]
    fn a_newer_version_is_told_apart_from_damage() {
        let mut newer = sealed();
        newer[8] = 2;
        assert_eq!(public(Kind::Index, &newer), Err(Flaw::Newer(2)));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parser_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let key = SymmetricKey([2; 32]);
            let _ = open::<Vec<String>>(Kind::Index, REPOSITORY, &key, &bytes);
            let _ = unpack_body::<Vec<String>>(&bytes);
        }
    }
}
