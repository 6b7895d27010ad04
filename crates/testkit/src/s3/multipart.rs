//! Uploads in parts.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use s3s::{S3Result, s3_error};

use super::bucket::{Content, Lock};
use super::checksum;

/// The smallest part that is not the last, as in S3.
const PART_MIN: usize = 5 << 20;

/// The uploads under way.
#[derive(Debug, Default)]
pub(super) struct Uploads {
    started: u64,
    under_way: BTreeMap<String, Upload>,
}

/// One upload under way.
#[derive(Debug)]
pub(super) struct Upload {
    pub(super) key: String,
    /// What the object will be, without its body.
    pub(super) shell: Content,
    pub(super) lock: Lock,
    pub(super) parts: BTreeMap<i32, Part>,
}

/// One part that has arrived.
#[derive(Debug, Clone)]
pub(super) struct Part {
    pub(super) body: Bytes,
    pub(super) etag: String,
}

impl Uploads {
    pub(super) fn start(&mut self, key: &str, shell: Content, lock: Lock) -> String {
        self.started += 1;
        let id = format!("upload-{}", self.started);
        let upload = Upload {
            key: key.to_owned(),
            shell,
            lock,
            parts: BTreeMap::new(),
        };
        self.under_way.insert(id.clone(), upload);
        id
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&String, &Upload)> {
        self.under_way.iter()
    }

    pub(super) fn get(&self, id: &str, key: &str) -> S3Result<&Upload> {
        let found = self.under_way.get(id).filter(|upload| upload.key == key);
        found.ok_or_else(|| s3_error!(NoSuchUpload))
    }

    pub(super) fn add_part(
        &mut self,
        id: &str,
        key: &str,
        number: i32,
        part: Part,
    ) -> S3Result<()> {
        self.get(id, key)?;
        let upload = self.under_way.get_mut(id).expect("it was found above");
        upload.parts.insert(number, part);
        Ok(())
    }

    pub(super) fn abort(&mut self, id: &str, key: &str) -> S3Result<()> {
        self.get(id, key)?;
        self.under_way.remove(id);
        Ok(())
    }

    /// Joins the named parts into the object's content. The upload stays until it is ended.
    pub(super) fn join(
        &self,
        id: &str,
        key: &str,
        named: &[(i32, String)],
    ) -> S3Result<(Content, Lock)> {
        let upload = self.get(id, key)?;
        let ordered = named.windows(2).all(|pair| pair[0].0 < pair[1].0);
        if !ordered || named.is_empty() {
            return Err(s3_error!(InvalidPartOrder));
        }
        let mut bodies = Vec::new();
        for (index, (number, etag)) in named.iter().enumerate() {
            let part = upload.parts.get(number).filter(|part| part.etag == *etag);
            let part = part.ok_or_else(|| s3_error!(InvalidPart))?;
            if part.body.len() < PART_MIN && index + 1 < named.len() {
                return Err(s3_error!(EntityTooSmall));
            }
            bodies.push(part.body.clone());
        }
        let mut whole = BytesMut::new();
        for body in &bodies {
            whole.extend_from_slice(body);
        }
        let content = Content {
            body: whole.freeze(),
            etag: checksum::etag_of_parts(&bodies),
            ..upload.shell.clone()
        };
        Ok((content, upload.lock.clone()))
    }

    pub(super) fn end(&mut self, id: &str) {
        self.under_way.remove(id);
    }
}
