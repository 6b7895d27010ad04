//! Checksums that a client sent with a body.

use bytes::{Bytes, BytesMut};
use futures::StreamExt as _;
use s3s::checksum::ChecksumHasher;
use s3s::crypto::{Checksum as _, Crc32, Crc32c, Crc64Nvme, Md5, Sha1, Sha256};
use s3s::dto::{Checksum, StreamingBlob};
use s3s::{S3Result, TrailingHeaders, s3_error};

/// Room that is made for a body because its client says how long it is, bytes.
const BODY_EXPECTED_MAX: usize = 64 << 20;

/// The checksums of one request, by algorithm.
#[derive(Debug, Default)]
pub(super) struct Claimed {
    pub(super) md5: Option<String>,
    pub(super) crc32: Option<String>,
    pub(super) crc32c: Option<String>,
    pub(super) crc64nvme: Option<String>,
    pub(super) sha1: Option<String>,
    pub(super) sha256: Option<String>,
}

impl Claimed {
    /// Tells whether the client sent any.
    pub(super) fn is_some(&self) -> bool {
        let any = [
            &self.md5,
            &self.crc32,
            &self.crc32c,
            &self.crc64nvme,
            &self.sha1,
            &self.sha256,
        ];
        any.into_iter().any(Option::is_some)
    }

    /// Adds what came after the body.
    pub(super) fn add_trailer(&mut self, trailer: Option<&TrailingHeaders>) {
        let Some(headers) = trailer.and_then(TrailingHeaders::take) else {
            return;
        };
        for (place, name) in [
            (&mut self.crc32, "x-amz-checksum-crc32"),
            (&mut self.crc32c, "x-amz-checksum-crc32c"),
            (&mut self.crc64nvme, "x-amz-checksum-crc64nvme"),
            (&mut self.sha1, "x-amz-checksum-sha1"),
            (&mut self.sha256, "x-amz-checksum-sha256"),
        ] {
            let value = headers.get(name).and_then(|value| value.to_str().ok());
            if let Some(value) = value {
                *place = Some(value.to_owned());
            }
        }
    }

    /// Compares a body with every checksum the client sent. Returns its entity tag, too.
    pub(super) fn check(&self, body: &[u8]) -> S3Result<(Checksum, String)> {
        // The dearest of all, so it is computed once.
        let md5 = Md5::checksum(body);
        if let Some(claimed) = &self.md5
            && *claimed != base64(&md5)
        {
            return Err(s3_error!(BadDigest, "the Content-MD5 is another"));
        }
        let mut hasher = ChecksumHasher {
            crc32: self.crc32.is_some().then(Crc32::new),
            crc32c: self.crc32c.is_some().then(Crc32c::new),
            crc64nvme: self.crc64nvme.is_some().then(Crc64Nvme::new),
            sha1: self.sha1.is_some().then(Sha1::new),
            sha256: self.sha256.is_some().then(Sha256::new),
        };
        hasher.update(body);
        let found = hasher.finalize();
        let same = found.checksum_crc32 == self.crc32
            && found.checksum_crc32c == self.crc32c
            && found.checksum_crc64nvme == self.crc64nvme
            && found.checksum_sha1 == self.sha1
            && found.checksum_sha256 == self.sha256;
        if same {
            Ok((found, hex(&md5)))
        } else {
            Err(s3_error!(BadDigest, "the checksum is another"))
        }
    }
}

/// Reads a body to its end.
pub(super) async fn read_body(body: Option<StreamingBlob>, len: Option<i64>) -> S3Result<Bytes> {
    let Some(mut body) = body else {
        return Ok(Bytes::new());
    };
    let len = len.and_then(|len| usize::try_from(len).ok());
    let mut all = BytesMut::with_capacity(len.unwrap_or_default().min(BODY_EXPECTED_MAX));
    while let Some(part) = body.next().await {
        let part = part.map_err(|source| {
            let mut error = s3_error!(IncompleteBody, "the body broke off");
            error.set_source(source);
            error
        })?;
        all.extend_from_slice(&part);
    }
    Ok(all.freeze())
}

/// Returns the entity tag that S3 gives a body stored in one piece.
pub(super) fn etag(body: &[u8]) -> String {
    hex(&Md5::checksum(body))
}

/// Returns the entity tag that S3 gives an object made of parts.
pub(super) fn etag_of_parts(bodies: &[Bytes]) -> String {
    let mut hasher = Md5::new();
    for body in bodies {
        hasher.update(&Md5::checksum(body));
    }
    format!("{}-{}", hex(&hasher.finalize()), bodies.len())
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a string cannot fail");
        text
    })
}

/// Encodes the few bytes of a digest.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digit =
        |group: u32, place: u32| char::from(DIGITS[(group >> (18 - 6 * place)) as usize & 63]);
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let byte = |index: usize| u32::from(chunk.get(index).copied().unwrap_or_default());
        let group = byte(0) << 16 | byte(1) << 8 | byte(2);
        let used = chunk.len() as u32 + 1;
        text.extend((0..4).map(|place| {
            if place < used {
                digit(group, place)
            } else {
                '='
            }
        }));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_written_as_s3_writes_them() {
        assert_eq!(base64(b""), "");
        assert_eq!(base64(b"f"), "Zg==");
        assert_eq!(base64(b"fo"), "Zm8=");
        assert_eq!(base64(b"foobar"), "Zm9vYmFy");
        assert_eq!(etag(b""), "d41d8cd98f00b204e9800998ecf8427e");
    }
}
