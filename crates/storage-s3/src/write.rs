//! Writing: an object is put if there is none, whole or in parts, with what the region asks for.

use aws_sdk_s3::operation::complete_multipart_upload::builders::CompleteMultipartUploadFluentBuilder;
use aws_sdk_s3::operation::put_object::builders::PutObjectFluentBuilder;
use aws_sdk_s3::primitives::{ByteStream, DateTime};
use aws_sdk_s3::types::{
    CompletedMultipartUpload, CompletedPart, ObjectLockLegalHoldStatus, ObjectLockMode,
    ServerSideEncryption, StorageClass,
};
use bytes::Bytes;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use lifeboat_model::{ErrorKind, LockMode, LockTerms};
use lifeboat_storage::{ObjectKey, Put};

use crate::failure::{Action, Failure};
use crate::probe::ConditionalPut;
use crate::retry::retried;
use crate::settings::Encryption;
use crate::store::S3Store;
use crate::task::as_task;

/// Objects longer than this go in parts, bytes.
const PARTS_ABOVE: usize = 16 << 20;
/// The length of a part, bytes. S3 asks for 5 MiB at least.
const PART: usize = 8 << 20;
/// Parts of one object on their way at the same time.
const PARTS_AT_ONCE: usize = 4;
/// The name under which an object says which put made it.
const MARK: &str = "lifeboat-put";
const PUT: Action = Action("s3:PutObject");
const SECS_PER_DAY: i64 = 24 * 60 * 60;

impl S3Store {
    pub(crate) async fn put_once(&self, key: &ObjectKey, body: Bytes) -> Result<Put, Failure> {
        if self.is_hidden(key).await? {
            return Ok(Put::AlreadyExists);
        }
        let mark = self.mark();
        match self.conditional().await? {
            ConditionalPut::Honoured => {
                match retried(|| self.send(key, &body, &mark, Condition::Absent)).await {
                    Ok(()) => Ok(Put::Created),
                    // A request whose answer was lost is sent again and meets its own object.
                    Err(failure) if failure.is_precondition() => self.who_put(key, &mark).await,
                    Err(failure) => Err(failure),
                }
            }
            ConditionalPut::Ignored => {
                if self.mark_of(key).await?.is_some() {
                    return Ok(Put::AlreadyExists);
                }
                retried(|| self.send(key, &body, &mark, Condition::None)).await?;
                self.who_put(key, &mark).await
            }
        }
    }

    /// Puts a small object on the condition that there is none, with nothing else.
    pub(crate) async fn put_if_absent_plain(&self, key: &str, body: Bytes) -> Result<(), Failure> {
        retried(|| async {
            let request = self.client().await.put_object().bucket(self.bucket());
            let request = request.key(self.full(key)).if_none_match("*");
            let sent = request.body(ByteStream::from(body.clone())).send().await;
            sent.map_err(|error| Failure::of(&error, PUT))?;
            Ok(())
        })
        .await
    }

    /// Makes what an object carries so that its writer knows it again.
    fn mark(&self) -> String {
        let random: [u8; 16] = self.entropy.bytes();
        format!("{:032x}", u128::from_be_bytes(random))
    }

    async fn who_put(&self, key: &ObjectKey, mark: &str) -> Result<Put, Failure> {
        Ok(match self.mark_of(key).await? {
            Some(found) if found == mark => Put::Created,
            Some(_) => Put::AlreadyExists,
            None => {
                let what = "another process took the name and deleted the object again";
                return Err(Failure::found(ErrorKind::Transient, what));
            }
        })
    }

    /// Returns the mark of the object that is there, empty if it bears none.
    async fn mark_of(&self, key: &ObjectKey) -> Result<Option<String>, Failure> {
        let head = retried(|| async {
            let request = self.client().await.head_object().bucket(self.bucket());
            let head = request.key(self.full(key.as_str())).send().await;
            head.map_err(|error| Failure::of(&error, Action("s3:GetObject")))
        });
        match head.await {
            Ok(head) => {
                let mark = head.metadata().and_then(|all| all.get(MARK)).cloned();
                Ok(Some(mark.unwrap_or_default()))
            }
            Err(failure) if failure.kind == ErrorKind::NotFound => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    async fn send(
        &self,
        key: &ObjectKey,
        body: &Bytes,
        mark: &str,
        condition: Condition,
    ) -> Result<(), Failure> {
        if body.len() > PARTS_ABOVE {
            return self.send_parts(key, body, mark, condition).await;
        }
        let request = self.client().await.put_object().bucket(self.bucket());
        let request = request.key(self.full(key.as_str())).metadata(MARK, mark);
        let request = condition.on_put(self.dressed(request, key));
        let request = request.body(ByteStream::from(body.clone()));
        as_task(async move {
            let sent = request.send().await;
            sent.map_err(|error| Failure::of(&error, PUT))?;
            Ok(())
        })
        .await
    }

    /// Adds what the region asks for: class, encryption, lock.
    fn dressed(&self, request: PutObjectFluentBuilder, key: &ObjectKey) -> PutObjectFluentBuilder {
        let lock = self.lock_for(key);
        request
            .set_storage_class(self.storage_class())
            .set_server_side_encryption(self.encryption())
            .set_ssekms_key_id(self.encryption_key())
            .set_object_lock_mode(lock.as_ref().map(|lock| lock.mode.clone()))
            .set_object_lock_retain_until_date(lock.as_ref().map(|lock| lock.until))
            .set_object_lock_legal_hold_status(lock.and_then(|lock| lock.hold))
    }

    async fn send_parts(
        &self,
        key: &ObjectKey,
        body: &Bytes,
        mark: &str,
        condition: Condition,
    ) -> Result<(), Failure> {
        let upload = self.begin_upload(key, mark).await?;
        let done = async {
            let parts = self.upload_parts(key, body, &upload).await?;
            let request = self.client().await.complete_multipart_upload();
            let request = request.bucket(self.bucket()).key(self.full(key.as_str()));
            let parts = CompletedMultipartUpload::builder()
                .set_parts(Some(parts))
                .build();
            let request = request.upload_id(&upload).multipart_upload(parts);
            let sent = condition.on_complete(request).send().await;
            sent.map_err(|error| Failure::of(&error, PUT))?;
            Ok(())
        };
        let outcome = done.await;
        if outcome.is_err() {
            self.abort_upload(key, &upload).await;
        }
        outcome
    }

    async fn begin_upload(&self, key: &ObjectKey, mark: &str) -> Result<String, Failure> {
        let lock = self.lock_for(key);
        let request = self.client().await.create_multipart_upload();
        let request = request
            .bucket(self.bucket())
            .key(self.full(key.as_str()))
            .metadata(MARK, mark)
            .set_storage_class(self.storage_class())
            .set_server_side_encryption(self.encryption())
            .set_ssekms_key_id(self.encryption_key())
            .set_object_lock_mode(lock.as_ref().map(|lock| lock.mode.clone()))
            .set_object_lock_retain_until_date(lock.as_ref().map(|lock| lock.until))
            .set_object_lock_legal_hold_status(lock.and_then(|lock| lock.hold));
        let begun = request.send().await;
        let begun = begun.map_err(|error| Failure::of(&error, PUT))?;
        let id = begun.upload_id().map(str::to_owned);
        id.ok_or_else(|| Failure::found(ErrorKind::Failed, "the store gave the upload no id"))
    }

    async fn upload_parts(
        &self,
        key: &ObjectKey,
        body: &Bytes,
        upload: &str,
    ) -> Result<Vec<CompletedPart>, Failure> {
        let parts = (0..body.len())
            .step_by(PART)
            .zip(1..)
            .map(|(start, number)| {
                // A view of the body: parts take no memory of their own.
                let part = body.slice(start..body.len().min(start + PART));
                async move {
                    retried(|| async {
                        let request = self.client().await.upload_part().bucket(self.bucket());
                        let request = request.key(self.full(key.as_str())).upload_id(upload);
                        let request = request.part_number(number);
                        let request = request.body(ByteStream::from(part.clone()));
                        let sent = as_task(async move {
                            let sent = request.send().await;
                            sent.map_err(|error| Failure::of(&error, PUT))
                        });
                        let sent = sent.await?;
                        let part = CompletedPart::builder().part_number(number);
                        let part =
                            part.set_checksum_crc32(sent.checksum_crc32().map(str::to_owned));
                        Ok(part.set_e_tag(sent.e_tag().map(str::to_owned)).build())
                    })
                    .await
                }
            });
        let parts: Vec<_> = parts.collect();
        stream::iter(parts)
            .buffered(PARTS_AT_ONCE)
            .try_collect()
            .await
    }

    /// Gives up an upload. What stays if this fails, a rule of the bucket should clear away.
    async fn abort_upload(&self, key: &ObjectKey, upload: &str) {
        let request = self.client().await.abort_multipart_upload();
        let request = request.bucket(self.bucket()).key(self.full(key.as_str()));
        if let Err(error) = request.upload_id(upload).send().await {
            let failure = Failure::of(&error, Action("s3:AbortMultipartUpload"));
            tracing::debug!(%failure, "an unfinished upload of `{key}` is left in the bucket");
        }
    }

    fn storage_class(&self) -> Option<StorageClass> {
        self.settings
            .storage_class
            .as_deref()
            .map(StorageClass::from)
    }

    fn encryption(&self) -> Option<ServerSideEncryption> {
        Some(match self.settings.encryption.as_ref()? {
            Encryption::Aes256 => ServerSideEncryption::Aes256,
            Encryption::Kms { .. } => ServerSideEncryption::AwsKms,
        })
    }

    fn encryption_key(&self) -> Option<String> {
        match self.settings.encryption.as_ref()? {
            Encryption::Kms { key } => key.clone(),
            Encryption::Aes256 => None,
        }
    }

    fn lock_for(&self, key: &ObjectKey) -> Option<Lock> {
        let terms = self.settings.lock.as_ref()?.terms_for(key.as_str())?;
        Some(Lock {
            mode: mode_of(terms.mode),
            until: self.until(terms),
            hold: terms.legal_hold.then_some(ObjectLockLegalHoldStatus::On),
        })
    }

    /// Returns when a lock put now ends.
    pub(crate) fn until(&self, terms: &LockTerms) -> DateTime {
        let now = self.clock.now().as_second();
        DateTime::from_secs(now + i64::from(terms.days) * SECS_PER_DAY)
    }
}

struct Lock {
    mode: ObjectLockMode,
    until: DateTime,
    hold: Option<ObjectLockLegalHoldStatus>,
}

fn mode_of(mode: LockMode) -> ObjectLockMode {
    match mode {
        LockMode::Governance => ObjectLockMode::Governance,
        LockMode::Compliance => ObjectLockMode::Compliance,
    }
}

/// What a put demands of the object that is there.
#[derive(Debug, Clone, Copy)]
enum Condition {
    None,
    Absent,
}

impl Condition {
    fn on_put(self, request: PutObjectFluentBuilder) -> PutObjectFluentBuilder {
        match self {
            Self::Absent => request.if_none_match("*"),
            Self::None => request,
        }
    }

    fn on_complete(
        self,
        request: CompleteMultipartUploadFluentBuilder,
    ) -> CompleteMultipartUploadFluentBuilder {
        match self {
            Self::Absent => request.if_none_match("*"),
            Self::None => request,
        }
    }
}
