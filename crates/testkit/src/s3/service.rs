//! The operations over HTTP: from requests to the bucket's rules and back.

use std::sync::{Arc, MutexGuard};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use s3s::dto::*;
use s3s::{Body, S3, S3Request, S3Response, S3Result, s3_error};

use super::World;
use super::bucket::{Bucket, Bypass, Condition, Content, Lock, Mode, Retention, Version};
use super::checksum::{self, Claimed};
use super::multipart;

/// Keys that one page of a listing holds at most, as in S3.
const PAGE_MAX: usize = 1000;

/// The implementation behind the HTTP service.
#[derive(Debug)]
pub(super) struct Service(Arc<World>);

impl Service {
    pub(super) fn new(world: Arc<World>) -> Self {
        Self(world)
    }

    fn bucket(&self, name: &str) -> S3Result<MutexGuard<'_, Bucket>> {
        if name != self.0.options.bucket {
            return Err(s3_error!(
                NoSuchBucket,
                "The specified bucket does not exist"
            ));
        }
        Ok(self.0.bucket())
    }

    fn condition(
        &self,
        none_match: Option<&IfNoneMatch>,
        matches: Option<&IfMatch>,
    ) -> S3Result<Condition> {
        match (none_match, matches) {
            _ if self.0.options.ignores_conditions => Ok(Condition::None),
            (Some(ETagCondition::Any), None) => Ok(Condition::Absent),
            (None, Some(ETagCondition::ETag(tag))) => {
                Ok(Condition::Matches(tag.value().to_owned()))
            }
            (None, None) => Ok(Condition::None),
            _ => Err(s3_error!(NotImplemented, "no such condition on a write")),
        }
    }

    fn bypass(&self, asked: Option<bool>, credentials: Option<&str>) -> Bypass {
        let may = || self.0.access().may_bypass_governance(credentials);
        match asked {
            Some(true) if may() => Bypass::Yes,
            _ => Bypass::No,
        }
    }
}

fn access_key<T>(request: &S3Request<T>) -> Option<&str> {
    let credentials = request.credentials.as_ref();
    credentials.map(|credentials| credentials.access_key.as_str())
}

fn lock_of(
    mode: Option<&str>,
    until: Option<&Timestamp>,
    hold: Option<&ObjectLockLegalHoldStatus>,
) -> S3Result<Lock> {
    Ok(Lock {
        retention: retention_of(mode, until)?,
        legal_hold: hold.is_some_and(|hold| hold.as_str() == ObjectLockLegalHoldStatus::ON),
    })
}

fn retention_of(mode: Option<&str>, until: Option<&Timestamp>) -> S3Result<Option<Retention>> {
    let (mode, until) = match (mode, until) {
        (None, None) => return Ok(None),
        (Some(mode), Some(until)) => (mode, until),
        _ => {
            return Err(s3_error!(
                InvalidRequest,
                "a mode needs a date, a date a mode"
            ));
        }
    };
    let mode = match mode {
        ObjectLockMode::COMPLIANCE => Mode::Compliance,
        ObjectLockMode::GOVERNANCE => Mode::Governance,
        _ => return Err(s3_error!(MalformedXML, "no such retention mode")),
    };
    Ok(Some(Retention {
        mode,
        until: system_time(until)?,
    }))
}

fn system_time(stamp: &Timestamp) -> S3Result<SystemTime> {
    let mut text = Vec::new();
    let formatted = stamp.format(TimestampFormat::EpochSeconds, &mut text);
    formatted.map_err(|_| s3_error!(InvalidArgument, "no such date"))?;
    let secs = String::from_utf8_lossy(&text).parse::<f64>();
    let secs = secs.map_err(|_| s3_error!(InvalidArgument, "no such date"))?;
    Ok(SystemTime::UNIX_EPOCH + Duration::from_secs_f64(secs.max(0.0)))
}

fn etag(content: &Content) -> ETag {
    ETag::Strong(content.etag.clone())
}

/// Version ids are shown only where versions are kept.
fn id_of(version: &Version, bucket: &Bucket) -> Option<String> {
    bucket.is_locking().then(|| version.id.clone())
}

fn shown_lock(lock: &Lock) -> (Option<ObjectLockMode>, Option<Timestamp>) {
    let retention = lock.retention.as_ref();
    (
        retention.map(|retention| ObjectLockMode::from_static(mode_text(retention.mode))),
        retention.map(|retention| retention.until.into()),
    )
}

fn mode_text(mode: Mode) -> &'static str {
    match mode {
        Mode::Governance => ObjectLockMode::GOVERNANCE,
        Mode::Compliance => ObjectLockMode::COMPLIANCE,
    }
}

#[async_trait::async_trait]
impl S3 for Service {
    async fn put_object(
        &self,
        mut request: S3Request<PutObjectInput>,
    ) -> S3Result<S3Response<PutObjectOutput>> {
        let len = request.input.content_length;
        let body = checksum::read_body(request.input.body.take(), len).await?;
        let input = &request.input;
        let mut claimed = Claimed {
            md5: input.content_md5.clone(),
            crc32: input.checksum_crc32.clone(),
            crc32c: input.checksum_crc32c.clone(),
            crc64nvme: input.checksum_crc64nvme.clone(),
            sha1: input.checksum_sha1.clone(),
            sha256: input.checksum_sha256.clone(),
        };
        claimed.add_trailer(request.trailing_headers.as_ref());
        let (sums, etag_of_body) = claimed.check(&body)?;
        let lock = lock_of(
            input.object_lock_mode.as_ref().map(ObjectLockMode::as_str),
            input.object_lock_retain_until_date.as_ref(),
            input.object_lock_legal_hold_status.as_ref(),
        )?;
        if lock != Lock::default() && !claimed.is_some() {
            return Err(s3_error!(
                InvalidRequest,
                "Content-MD5 OR x-amz-checksum- HTTP header is required for Put Object requests \
                 with Object Lock parameters"
            ));
        }
        let content = Content {
            etag: etag_of_body,
            body,
            metadata: input.metadata.clone().unwrap_or_default(),
            storage_class: input
                .storage_class
                .as_ref()
                .map(|class| class.as_str().to_owned()),
            encryption: input
                .server_side_encryption
                .as_ref()
                .map(|sse| sse.as_str().to_owned()),
        };
        let tag = etag(&content);
        let condition = self.condition(input.if_none_match.as_ref(), input.if_match.as_ref())?;
        let mut bucket = self.bucket(&input.bucket)?;
        let version = bucket.put(&input.key, content, lock, &condition)?;
        Ok(S3Response::new(PutObjectOutput {
            e_tag: Some(tag),
            version_id: id_of(&version, &bucket),
            checksum_crc32: sums.checksum_crc32,
            checksum_crc32c: sums.checksum_crc32c,
            checksum_crc64nvme: sums.checksum_crc64nvme,
            checksum_sha1: sums.checksum_sha1,
            checksum_sha256: sums.checksum_sha256,
            ..PutObjectOutput::default()
        }))
    }

    async fn get_object(
        &self,
        request: S3Request<GetObjectInput>,
    ) -> S3Result<S3Response<GetObjectOutput>> {
        let input = request.input;
        let bucket = self.bucket(&input.bucket)?;
        let (version, content) = bucket.get(&input.key, input.version_id.as_deref())?;
        let (body, range) = slice(&content.body, input.range.as_ref())?;
        let (mode, until) = shown_lock(&version.lock);
        Ok(S3Response::new(GetObjectOutput {
            content_length: Some(length(&body)),
            body: Some(StreamingBlob::from(Body::from(body))),
            content_range: range,
            accept_ranges: Some("bytes".to_owned()),
            e_tag: Some(etag(content)),
            last_modified: Some(version.modified.into()),
            metadata: Some(content.metadata.clone()),
            version_id: id_of(version, &bucket),
            object_lock_mode: mode,
            object_lock_retain_until_date: until,
            ..GetObjectOutput::default()
        }))
    }

    async fn head_object(
        &self,
        request: S3Request<HeadObjectInput>,
    ) -> S3Result<S3Response<HeadObjectOutput>> {
        let input = request.input;
        let bucket = self.bucket(&input.bucket)?;
        let (version, content) = bucket.get(&input.key, input.version_id.as_deref())?;
        let (mode, until) = shown_lock(&version.lock);
        let hold = version.lock.legal_hold;
        Ok(S3Response::new(HeadObjectOutput {
            content_length: Some(length(&content.body)),
            accept_ranges: Some("bytes".to_owned()),
            e_tag: Some(etag(content)),
            last_modified: Some(version.modified.into()),
            metadata: Some(content.metadata.clone()),
            version_id: id_of(version, &bucket),
            object_lock_mode: mode,
            object_lock_retain_until_date: until,
            object_lock_legal_hold_status: hold
                .then(|| ObjectLockLegalHoldStatus::from_static(ObjectLockLegalHoldStatus::ON)),
            storage_class: content.storage_class.clone().map(StorageClass::from),
            server_side_encryption: content.encryption.clone().map(ServerSideEncryption::from),
            ..HeadObjectOutput::default()
        }))
    }

    async fn list_objects_v2(
        &self,
        request: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        let input = request.input;
        let bucket = self.bucket(&input.bucket)?;
        let prefix = input.prefix.clone().unwrap_or_default();
        let start = input
            .continuation_token
            .clone()
            .or(input.start_after.clone());
        let start = start.unwrap_or_default();
        let limit = page_limit(input.max_keys);
        let mut page = Page::default();
        for (key, version, content) in bucket.list(&prefix, &start) {
            if page.is_full(limit) {
                page.truncated = true;
                break;
            }
            page.add(key, &prefix, input.delimiter.as_deref(), &start, || {
                Object {
                    key: Some(key.clone()),
                    size: Some(length(&content.body)),
                    e_tag: Some(etag(content)),
                    last_modified: Some(version.modified.into()),
                    ..Object::default()
                }
            });
        }
        let next = page.truncated.then(|| page.last.clone());
        let count = page.len();
        Ok(S3Response::new(ListObjectsV2Output {
            name: Some(input.bucket),
            prefix: Some(prefix),
            delimiter: input.delimiter,
            max_keys: Some(i32::try_from(limit).unwrap_or(i32::MAX)),
            key_count: Some(i32::try_from(count).unwrap_or(i32::MAX)),
            is_truncated: Some(page.truncated),
            continuation_token: input.continuation_token,
            next_continuation_token: next,
            start_after: input.start_after,
            common_prefixes: Some(page.folders()),
            contents: Some(page.objects),
            ..ListObjectsV2Output::default()
        }))
    }

    async fn list_object_versions(
        &self,
        request: S3Request<ListObjectVersionsInput>,
    ) -> S3Result<S3Response<ListObjectVersionsOutput>> {
        let input = request.input;
        let bucket = self.bucket(&input.bucket)?;
        let prefix = input.prefix.clone().unwrap_or_default();
        let limit = page_limit(input.max_keys);
        let marks = (
            input.key_marker.as_deref(),
            input.version_id_marker.as_deref(),
        );
        let (mut versions, mut markers, mut last) = (Vec::new(), Vec::new(), None);
        let mut truncated = false;
        for (key, version, newest) in after(bucket.list_versions(&prefix), marks) {
            if versions.len() + markers.len() == limit {
                truncated = true;
                break;
            }
            last = Some((key.clone(), version.id.clone()));
            match &version.content {
                Some(content) => versions.push(ObjectVersion {
                    key: Some(key.clone()),
                    version_id: Some(version.id.clone()),
                    is_latest: Some(newest),
                    size: Some(length(&content.body)),
                    e_tag: Some(etag(content)),
                    last_modified: Some(version.modified.into()),
                    ..ObjectVersion::default()
                }),
                None => markers.push(DeleteMarkerEntry {
                    key: Some(key.clone()),
                    version_id: Some(version.id.clone()),
                    is_latest: Some(newest),
                    last_modified: Some(version.modified.into()),
                    ..DeleteMarkerEntry::default()
                }),
            }
        }
        let (next_key, next_version) = last.filter(|_| truncated).unzip();
        Ok(S3Response::new(ListObjectVersionsOutput {
            name: Some(input.bucket),
            prefix: Some(prefix),
            is_truncated: Some(truncated),
            next_key_marker: next_key,
            next_version_id_marker: next_version,
            versions: Some(versions),
            delete_markers: Some(markers),
            ..ListObjectVersionsOutput::default()
        }))
    }

    async fn delete_object(
        &self,
        request: S3Request<DeleteObjectInput>,
    ) -> S3Result<S3Response<DeleteObjectOutput>> {
        let bypass = self.bypass(
            request.input.bypass_governance_retention,
            access_key(&request),
        );
        let input = request.input;
        let mut bucket = self.bucket(&input.bucket)?;
        let gone = bucket.delete(&input.key, input.version_id.as_deref(), bypass)?;
        Ok(S3Response::new(DeleteObjectOutput {
            delete_marker: gone.as_ref().map(|version| version.content.is_none()),
            version_id: gone.map(|version| version.id),
            ..DeleteObjectOutput::default()
        }))
    }

    async fn delete_objects(
        &self,
        request: S3Request<DeleteObjectsInput>,
    ) -> S3Result<S3Response<DeleteObjectsOutput>> {
        let bypass = self.bypass(
            request.input.bypass_governance_retention,
            access_key(&request),
        );
        let input = request.input;
        let mut bucket = self.bucket(&input.bucket)?;
        let (mut deleted, mut errors) = (Vec::new(), Vec::new());
        for object in input.delete.objects {
            match bucket.delete(&object.key, object.version_id.as_deref(), bypass) {
                Ok(_) => deleted.push(DeletedObject {
                    key: Some(object.key),
                    version_id: object.version_id,
                    ..DeletedObject::default()
                }),
                Err(error) => errors.push(Error {
                    code: Some(error.code().as_str().to_owned()),
                    key: Some(object.key),
                    message: error.message().map(str::to_owned),
                    version_id: object.version_id,
                }),
            }
        }
        Ok(S3Response::new(DeleteObjectsOutput {
            deleted: Some(deleted),
            errors: Some(errors),
            ..DeleteObjectsOutput::default()
        }))
    }

    async fn copy_object(
        &self,
        request: S3Request<CopyObjectInput>,
    ) -> S3Result<S3Response<CopyObjectOutput>> {
        let input = request.input;
        let CopySource::Bucket {
            bucket: from,
            key,
            version_id,
        } = &input.copy_source
        else {
            return Err(s3_error!(NotImplemented, "copies come from a bucket"));
        };
        let mut bucket = self.bucket(&input.bucket)?;
        if **from != input.bucket {
            return Err(s3_error!(NoSuchBucket));
        }
        let content = bucket.get(key, version_id.as_deref())?.1.clone();
        let lock = lock_of(
            input.object_lock_mode.as_ref().map(ObjectLockMode::as_str),
            input.object_lock_retain_until_date.as_ref(),
            input.object_lock_legal_hold_status.as_ref(),
        )?;
        let tag = etag(&content);
        let version = bucket.put(&input.key, content, lock, &Condition::None)?;
        Ok(S3Response::new(CopyObjectOutput {
            copy_object_result: Some(CopyObjectResult {
                e_tag: Some(tag),
                last_modified: Some(version.modified.into()),
                ..CopyObjectResult::default()
            }),
            version_id: id_of(&version, &bucket),
            ..CopyObjectOutput::default()
        }))
    }

    async fn create_multipart_upload(
        &self,
        request: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        let input = request.input;
        let lock = lock_of(
            input.object_lock_mode.as_ref().map(ObjectLockMode::as_str),
            input.object_lock_retain_until_date.as_ref(),
            input.object_lock_legal_hold_status.as_ref(),
        )?;
        let shell = Content {
            body: Bytes::new(),
            etag: String::new(),
            metadata: input.metadata.unwrap_or_default(),
            storage_class: input.storage_class.map(|class| class.as_str().to_owned()),
            encryption: input
                .server_side_encryption
                .map(|sse| sse.as_str().to_owned()),
        };
        let mut bucket = self.bucket(&input.bucket)?;
        let id = bucket.uploads.start(&input.key, shell, lock);
        Ok(S3Response::new(CreateMultipartUploadOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            upload_id: Some(id),
            checksum_algorithm: input.checksum_algorithm,
            ..CreateMultipartUploadOutput::default()
        }))
    }

    async fn upload_part(
        &self,
        mut request: S3Request<UploadPartInput>,
    ) -> S3Result<S3Response<UploadPartOutput>> {
        let len = request.input.content_length;
        let body = checksum::read_body(request.input.body.take(), len).await?;
        let input = &request.input;
        let mut claimed = Claimed {
            md5: input.content_md5.clone(),
            crc32: input.checksum_crc32.clone(),
            crc32c: input.checksum_crc32c.clone(),
            crc64nvme: input.checksum_crc64nvme.clone(),
            sha1: input.checksum_sha1.clone(),
            sha256: input.checksum_sha256.clone(),
        };
        claimed.add_trailer(request.trailing_headers.as_ref());
        let (sums, tag) = claimed.check(&body)?;
        let mut bucket = self.bucket(&input.bucket)?;
        let etag = tag.clone();
        let part = multipart::Part { body, etag };
        let uploads = &mut bucket.uploads;
        uploads.add_part(&input.upload_id, &input.key, input.part_number, part)?;
        Ok(S3Response::new(UploadPartOutput {
            e_tag: Some(ETag::Strong(tag)),
            checksum_crc32: sums.checksum_crc32,
            checksum_crc32c: sums.checksum_crc32c,
            checksum_crc64nvme: sums.checksum_crc64nvme,
            checksum_sha1: sums.checksum_sha1,
            checksum_sha256: sums.checksum_sha256,
            ..UploadPartOutput::default()
        }))
    }

    async fn complete_multipart_upload(
        &self,
        request: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        let input = request.input;
        let condition = self.condition(input.if_none_match.as_ref(), input.if_match.as_ref())?;
        let named = input.multipart_upload.and_then(|upload| upload.parts);
        let named: Option<Vec<(i32, String)>> = named
            .unwrap_or_default()
            .into_iter()
            .map(|part| Some((part.part_number?, part.e_tag?.into_value())))
            .collect();
        let named = named.ok_or_else(|| s3_error!(InvalidPart))?;
        let mut bucket = self.bucket(&input.bucket)?;
        let (content, lock) = bucket.uploads.join(&input.upload_id, &input.key, &named)?;
        let tag = etag(&content);
        let version = bucket.put(&input.key, content, lock, &condition)?;
        bucket.uploads.end(&input.upload_id);
        Ok(S3Response::new(CompleteMultipartUploadOutput {
            version_id: id_of(&version, &bucket),
            bucket: Some(input.bucket),
            key: Some(input.key),
            e_tag: Some(tag),
            ..CompleteMultipartUploadOutput::default()
        }))
    }

    async fn abort_multipart_upload(
        &self,
        request: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        let input = request.input;
        let mut bucket = self.bucket(&input.bucket)?;
        bucket.uploads.abort(&input.upload_id, &input.key)?;
        Ok(S3Response::new(AbortMultipartUploadOutput::default()))
    }

    async fn list_parts(
        &self,
        request: S3Request<ListPartsInput>,
    ) -> S3Result<S3Response<ListPartsOutput>> {
        let input = request.input;
        let bucket = self.bucket(&input.bucket)?;
        let upload = bucket.uploads.get(&input.upload_id, &input.key)?;
        let parts = upload.parts.iter().map(|(number, part)| Part {
            part_number: Some(*number),
            size: Some(length(&part.body)),
            e_tag: Some(ETag::Strong(part.etag.clone())),
            ..Part::default()
        });
        Ok(S3Response::new(ListPartsOutput {
            parts: Some(parts.collect()),
            is_truncated: Some(false),
            upload_id: Some(input.upload_id.clone()),
            ..ListPartsOutput::default()
        }))
    }

    async fn list_multipart_uploads(
        &self,
        request: S3Request<ListMultipartUploadsInput>,
    ) -> S3Result<S3Response<ListMultipartUploadsOutput>> {
        let input = request.input;
        let bucket = self.bucket(&input.bucket)?;
        let prefix = input.prefix.unwrap_or_default();
        let uploads = bucket.uploads.iter();
        let uploads = uploads.filter(|(_, upload)| upload.key.starts_with(&prefix));
        let uploads = uploads.map(|(id, upload)| MultipartUpload {
            key: Some(upload.key.clone()),
            upload_id: Some(id.clone()),
            ..MultipartUpload::default()
        });
        Ok(S3Response::new(ListMultipartUploadsOutput {
            uploads: Some(uploads.collect()),
            is_truncated: Some(false),
            ..ListMultipartUploadsOutput::default()
        }))
    }

    async fn head_bucket(
        &self,
        request: S3Request<HeadBucketInput>,
    ) -> S3Result<S3Response<HeadBucketOutput>> {
        drop(self.bucket(&request.input.bucket)?);
        Ok(S3Response::new(HeadBucketOutput {
            bucket_region: Some(self.0.options.region.clone()),
            ..HeadBucketOutput::default()
        }))
    }

    async fn get_bucket_location(
        &self,
        request: S3Request<GetBucketLocationInput>,
    ) -> S3Result<S3Response<GetBucketLocationOutput>> {
        drop(self.bucket(&request.input.bucket)?);
        // The oldest region has no name here, in S3 too.
        let region = Some(self.0.options.region.clone()).filter(|name| name != "us-east-1");
        Ok(S3Response::new(GetBucketLocationOutput {
            location_constraint: region.map(BucketLocationConstraint::from),
        }))
    }

    async fn get_bucket_versioning(
        &self,
        request: S3Request<GetBucketVersioningInput>,
    ) -> S3Result<S3Response<GetBucketVersioningOutput>> {
        let locking = self.bucket(&request.input.bucket)?.is_locking();
        Ok(S3Response::new(GetBucketVersioningOutput {
            status: locking
                .then(|| BucketVersioningStatus::from_static(BucketVersioningStatus::ENABLED)),
            ..GetBucketVersioningOutput::default()
        }))
    }

    async fn get_object_lock_configuration(
        &self,
        request: S3Request<GetObjectLockConfigurationInput>,
    ) -> S3Result<S3Response<GetObjectLockConfigurationOutput>> {
        if !self.bucket(&request.input.bucket)?.is_locking() {
            return Err(s3_error!(ObjectLockConfigurationNotFoundError));
        }
        let enabled = ObjectLockEnabled::from_static(ObjectLockEnabled::ENABLED);
        Ok(S3Response::new(GetObjectLockConfigurationOutput {
            object_lock_configuration: Some(ObjectLockConfiguration {
                object_lock_enabled: Some(enabled),
                rule: None,
            }),
        }))
    }

    async fn put_object_retention(
        &self,
        request: S3Request<PutObjectRetentionInput>,
    ) -> S3Result<S3Response<PutObjectRetentionOutput>> {
        let bypass = self.bypass(
            request.input.bypass_governance_retention,
            access_key(&request),
        );
        let input = request.input;
        let wanted = match &input.retention {
            None => None,
            Some(wanted) => {
                let mode = wanted.mode.as_ref().map(ObjectLockRetentionMode::as_str);
                retention_of(mode, wanted.retain_until_date.as_ref())?
            }
        };
        let mut bucket = self.bucket(&input.bucket)?;
        bucket.set_retention(&input.key, input.version_id.as_deref(), wanted, bypass)?;
        Ok(S3Response::new(PutObjectRetentionOutput::default()))
    }

    async fn get_object_retention(
        &self,
        request: S3Request<GetObjectRetentionInput>,
    ) -> S3Result<S3Response<GetObjectRetentionOutput>> {
        let input = request.input;
        let bucket = self.bucket(&input.bucket)?;
        let (version, _) = bucket.get(&input.key, input.version_id.as_deref())?;
        let retention = version.lock.retention.as_ref();
        let retention = retention.ok_or_else(|| s3_error!(NoSuchObjectLockConfiguration))?;
        let mode = ObjectLockRetentionMode::from_static(mode_text(retention.mode));
        Ok(S3Response::new(GetObjectRetentionOutput {
            retention: Some(ObjectLockRetention {
                mode: Some(mode),
                retain_until_date: Some(retention.until.into()),
            }),
        }))
    }

    async fn put_object_legal_hold(
        &self,
        request: S3Request<PutObjectLegalHoldInput>,
    ) -> S3Result<S3Response<PutObjectLegalHoldOutput>> {
        let input = request.input;
        let status = input.legal_hold.and_then(|hold| hold.status);
        let on = status.is_some_and(|status| status.as_str() == ObjectLockLegalHoldStatus::ON);
        let mut bucket = self.bucket(&input.bucket)?;
        bucket.set_legal_hold(&input.key, input.version_id.as_deref(), on)?;
        Ok(S3Response::new(PutObjectLegalHoldOutput::default()))
    }
}

fn page_limit(asked: Option<i32>) -> usize {
    let asked = asked.and_then(|limit| usize::try_from(limit).ok());
    asked.unwrap_or(PAGE_MAX).min(PAGE_MAX)
}

fn length(body: &Bytes) -> i64 {
    i64::try_from(body.len()).expect("a body in memory is shorter than that")
}

/// Cuts what a range asks for; one that starts past the end cannot be had.
fn slice(body: &Bytes, range: Option<&Range>) -> S3Result<(Bytes, Option<String>)> {
    let Some(range) = range else {
        return Ok((body.clone(), None));
    };
    let whole = body.len() as u64;
    let found = range.check(whole).map_err(|_| s3_error!(InvalidRange))?;
    let place = |offset| usize::try_from(offset).expect("it lies within a body in memory");
    let text = format!("bytes {}-{}/{whole}", found.start, found.end - 1);
    Ok((body.slice(place(found.start)..place(found.end)), Some(text)))
}

/// Skips a listing of versions to after the key and version that the last page ended with.
fn after<'b>(
    all: impl Iterator<Item = (&'b String, &'b Version, bool)>,
    (key, version): (Option<&str>, Option<&str>),
) -> impl Iterator<Item = (&'b String, &'b Version, bool)> {
    let mut passed = key.is_none();
    all.filter(move |(found, at, _)| {
        let Some(key) = key else { return true };
        let was_passed = passed;
        match version {
            Some(version) => passed |= found.as_str() == key && at.id == version,
            None => passed |= found.as_str() > key,
        }
        // A version mark is the last one seen; a bare key mark excludes all of its versions.
        match version {
            Some(_) => was_passed || found.as_str() > key,
            None => passed,
        }
    })
}

/// One page of a listing.
#[derive(Debug, Default)]
struct Page {
    objects: Vec<Object>,
    prefixes: Vec<String>,
    last: String,
    truncated: bool,
}

impl Page {
    fn len(&self) -> usize {
        self.objects.len() + self.prefixes.len()
    }

    fn is_full(&self, limit: usize) -> bool {
        self.len() >= limit
    }

    fn add(
        &mut self,
        key: &str,
        prefix: &str,
        delimiter: Option<&str>,
        start: &str,
        object: impl FnOnce() -> Object,
    ) {
        let rest = &key[prefix.len()..];
        let folder = delimiter
            .filter(|delimiter| !delimiter.is_empty())
            .and_then(|delimiter| {
                let end = rest.find(delimiter)? + delimiter.len();
                Some(format!("{prefix}{}", &rest[..end]))
            });
        self.last = key.to_owned();
        match folder {
            // The page before may have shown it.
            Some(folder) if self.prefixes.contains(&folder) || start.starts_with(&folder) => {}
            Some(folder) => self.prefixes.push(folder),
            None => self.objects.push(object()),
        }
    }

    fn folders(&self) -> Vec<CommonPrefix> {
        let folders = self.prefixes.iter().cloned();
        let folder = |prefix| CommonPrefix {
            prefix: Some(prefix),
        };
        folders.map(folder).collect()
    }
}
