//! S3 and what speaks like it.
//!
//! One attempt of each request; the vendor's client repeats nothing, since its repetition of a conditional write would be told
//! that its own object exists. Checksums that only newer servers know are sent where they are required and not otherwise: every
//! body is signed, so that a server notices a changed one.

use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_s3::Client;
use aws_sdk_s3::operation::get_object::GetObjectError;
use aws_sdk_s3::operation::head_object::HeadObjectError;
use bytes::Bytes;
use stillframe_core::store::PutOutcome;
use tracing::instrument::WithSubscriber as _;
use tracing::subscriber::NoSubscriber;

use crate::remote::{Fault, Page, Wire, within};
use crate::settings::{Encryption, StoreSettings};
use crate::url::Location;

mod body;
mod connect;
mod credentials;
mod failure;
mod identity;
mod upload;

pub use identity::{AwsIdentity, AwsIdentityError, aws_credentials};

#[cfg(test)]
mod tests;

/// Pages without an object in a row before a listing counts as endless: a server that passes over what it has deleted gives a few.
const MAX_EMPTY_PAGES: usize = 1_000;

/// A bucket and a prefix of an S3 server.
pub(crate) struct S3Wire {
    client: Client,
    name: String,
    bucket: String,
    prefix: String,
    encryption: Option<Encryption>,
    storage_class: Option<String>,
    timeout: Duration,
    part_bytes: usize,
}

impl S3Wire {
    /// Makes a client with the operator's settings; nothing is asked of the server yet.
    pub(crate) async fn connect(settings: &StoreSettings, location: &Location) -> Result<Self, Fault> {
        // The vendor's log of what it reads in files and variables quotes them, endpoints with passwords among them.
        let (client, name) = connect::client(settings).with_subscriber(NoSubscriber::default()).await?;
        Ok(Self {
            client,
            name,
            bucket: location.bucket().to_owned(),
            prefix: location.prefix().to_owned(),
            encryption: settings.encryption.clone(),
            storage_class: settings.storage_class.clone(),
            timeout: settings.timeout,
            part_bytes: upload::PART_BYTES,
        })
    }

    fn key(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }
}

#[async_trait]
impl Wire for S3Wire {
    fn name(&self) -> String {
        self.name.clone()
    }

    async fn get(&self, name: &str) -> Result<Option<Bytes>, Fault> {
        within(self.timeout, async {
            match self.client.get_object().bucket(&self.bucket).key(self.key(name)).send().await {
                Ok(answer) => body::read(answer).await.map(Some),
                // The code names the object; a 404 without it may come from anybody.
                Err(error) if matches!(error.as_service_error(), Some(GetObjectError::NoSuchKey(_))) => Ok(None),
                Err(error) => Err(failure::fault(error)),
            }
        })
        .await
    }

    async fn put(&self, name: &str, body: Bytes) -> Result<(), Fault> {
        self.upload(name, body, upload::Condition::None).await.map(|_| ())
    }

    async fn put_if_absent(&self, name: &str, body: Bytes) -> Result<PutOutcome, Fault> {
        self.upload(name, body, upload::Condition::IfAbsent).await
    }

    async fn head(&self, name: &str) -> Result<Option<u64>, Fault> {
        within(self.timeout, async {
            match self.client.head_object().bucket(&self.bucket).key(self.key(name)).send().await {
                Ok(answer) => {
                    answer.content_length().and_then(|length| u64::try_from(length).ok()).map(Some).ok_or(Fault::NoLength)
                }
                // An answer to HEAD has no body and so no code; that the bucket is there, the marker has proven.
                Err(error) if matches!(error.as_service_error(), Some(HeadObjectError::NotFound(_))) => Ok(None),
                Err(error) => Err(failure::fault(error)),
            }
        })
        .await
    }

    async fn delete(&self, name: &str) -> Result<(), Fault> {
        within(self.timeout, async {
            match self.client.delete_object().bucket(&self.bucket).key(self.key(name)).send().await {
                Ok(_) => Ok(()),
                // S3 answers 204 to a deletion of what is absent; some of its likes do not.
                Err(error) if failure::code(&error) == Some("NoSuchKey") => Ok(()),
                Err(error) => Err(failure::fault(error)),
            }
        })
        .await
    }

    async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Page, Fault> {
        let mut token = None;
        for _ in 0..MAX_EMPTY_PAGES {
            match within(self.timeout, self.list_once(prefix, after, limit, token.clone())).await? {
                // A page may be empty and yet not be the last; but then it leads on.
                (page, Some(next)) if page.entries.is_empty() && token.as_ref() != Some(&next) => token = Some(next),
                (page, Some(_)) if page.entries.is_empty() => break,
                (page, _) => return Ok(page),
            }
        }
        Err(Fault::EndlessListing)
    }
}

impl S3Wire {
    /// One request; the token is that of the next page.
    async fn list_once(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
        token: Option<String>,
    ) -> Result<(Page, Option<String>), Fault> {
        let request = self.client.list_objects_v2().bucket(&self.bucket).prefix(self.key(prefix));
        let request = request.set_start_after(after.map(|after| self.key(after))).set_continuation_token(token);
        let answer = request.max_keys(i32::try_from(limit).unwrap_or(i32::MAX)).send().await.map_err(failure::fault)?;
        let malformed = || failure::malformed("a listing that does not say all that it must");
        let mut entries = Vec::with_capacity(answer.contents().len());
        for object in answer.contents() {
            let name = object.key().and_then(|key| key.strip_prefix(self.prefix.as_str()));
            let size = object.size().and_then(|size| u64::try_from(size).ok());
            let (Some(name), Some(size)) = (name, size) else { return Err(malformed()) };
            entries.push((name.to_owned(), size));
        }
        // What is cut must say where it goes on: otherwise the rest would pass for absent.
        let next = match (answer.is_truncated(), answer.next_continuation_token) {
            (Some(true), Some(token)) => Some(token),
            (Some(false), _) => None,
            (Some(true) | None, _) => return Err(malformed()),
        };
        Ok((Page { entries, is_last: next.is_none() }, next))
    }
}
