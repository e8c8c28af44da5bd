//! Writes of one request, or of parts where a body is large.
//!
//! A server makes an object of parts visible at the last request and not before, and the condition is part of that request. Parts
//! of an upload that failed are removed; those of a process that was killed stay until a lifecycle rule of the bucket ends them.

use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart, ServerSideEncryption, StorageClass};
use bytes::Bytes;
use stillframe_core::store::PutOutcome;

use super::{S3Wire, failure};
use crate::remote::{Fault, within};
use crate::settings::Encryption;

/// Bodies above this go in parts of this size: a segment of 16 MiB takes one request, and a part fits into a minute at 5 Mbit/s.
pub(super) const PART_BYTES: usize = 32 << 20;

/// Under what condition an object is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Condition {
    None,
    IfAbsent,
}

impl Condition {
    fn if_none_match(self) -> Option<String> {
        (self == Self::IfAbsent).then(|| "*".to_owned())
    }
}

impl S3Wire {
    /// Writes a whole object.
    pub(super) async fn upload(&self, name: &str, body: Bytes, condition: Condition) -> Result<PutOutcome, Fault> {
        let outcome = if body.len() <= self.part_bytes {
            within(self.timeout, self.put_at_once(name, body, condition)).await
        } else {
            self.put_in_parts(name, body, condition).await
        };
        match outcome {
            Ok(()) => Ok(PutOutcome::Created),
            // The condition did not hold. A conflict with a request under way has another status, and says nothing yet.
            Err(Fault::Refused { answer }) if condition == Condition::IfAbsent && answer.status == 412 => {
                Ok(PutOutcome::AlreadyExists)
            }
            Err(fault) => Err(fault),
        }
    }

    async fn put_at_once(&self, name: &str, body: Bytes, condition: Condition) -> Result<(), Fault> {
        let (encryption, kms_key) = self.encryption();
        let request =
            self.client.put_object().bucket(&self.bucket).key(self.key(name)).set_if_none_match(condition.if_none_match());
        let request = request.set_server_side_encryption(encryption).set_ssekms_key_id(kms_key);
        let request = request.set_storage_class(self.storage_class());
        request.body(ByteStream::from(body)).send().await.map(|_| ()).map_err(failure::fault)
    }

    async fn put_in_parts(&self, name: &str, body: Bytes, condition: Condition) -> Result<(), Fault> {
        let id = within(self.timeout, self.begin(name)).await?;
        let outcome = async {
            let parts = self.send_parts(name, &id, body).await?;
            within(self.timeout, self.complete(name, &id, parts, condition)).await
        };
        let outcome = outcome.await;
        if outcome.is_err() {
            self.abort(name, &id).await;
        }
        outcome
    }

    async fn begin(&self, name: &str) -> Result<String, Fault> {
        let (encryption, kms_key) = self.encryption();
        let request = self.client.create_multipart_upload().bucket(&self.bucket).key(self.key(name));
        let request = request.set_server_side_encryption(encryption).set_ssekms_key_id(kms_key);
        let answer = request.set_storage_class(self.storage_class()).send().await.map_err(failure::fault)?;
        answer.upload_id.ok_or_else(|| failure::malformed("no identifier of the upload"))
    }

    /// One after the other: who pushes several files at once fills the line anyway.
    async fn send_parts(&self, name: &str, id: &str, mut body: Bytes) -> Result<Vec<CompletedPart>, Fault> {
        let mut parts = Vec::new();
        while !body.is_empty() {
            let part = body.split_to(body.len().min(self.part_bytes));
            let number = i32::try_from(parts.len() + 1).map_err(|_| Fault::TooLarge { size_bytes: body.len() as u64 })?;
            let request = self.client.upload_part().bucket(&self.bucket).key(self.key(name)).upload_id(id).part_number(number);
            let sent = async { request.body(ByteStream::from(part)).send().await.map_err(failure::fault) };
            let tag = within(self.timeout, sent).await?.e_tag.ok_or_else(|| failure::malformed("no tag of the part"))?;
            parts.push(CompletedPart::builder().part_number(number).e_tag(tag).build());
        }
        Ok(parts)
    }

    async fn complete(&self, name: &str, id: &str, parts: Vec<CompletedPart>, condition: Condition) -> Result<(), Fault> {
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
        let request = self.client.complete_multipart_upload().bucket(&self.bucket).key(self.key(name)).upload_id(id);
        let request = request.multipart_upload(parts).set_if_none_match(condition.if_none_match());
        request.send().await.map(|_| ()).map_err(failure::fault)
    }

    async fn abort(&self, name: &str, id: &str) {
        let request = self.client.abort_multipart_upload().bucket(&self.bucket).key(self.key(name)).upload_id(id);
        let aborted = within(self.timeout, async { request.send().await.map(|_| ()).map_err(failure::fault) }).await;
        if let Err(fault) = aborted {
            // The upload has failed already, and its fault is what the caller gets.
            let cause = stillframe_core::error::chain(&fault);
            tracing::warn!(name, upload = id, %cause, "the parts of a failed upload could not be removed");
        }
    }

    fn encryption(&self) -> (Option<ServerSideEncryption>, Option<String>) {
        match &self.encryption {
            None => (None, None),
            Some(Encryption::Aes256) => (Some(ServerSideEncryption::Aes256), None),
            Some(Encryption::Kms { key }) => (Some(ServerSideEncryption::AwsKms), key.clone()),
        }
    }

    fn storage_class(&self) -> Option<StorageClass> {
        self.storage_class.as_deref().map(StorageClass::from)
    }
}
