//! The WAL archive: WAL-G's names and compression, plus digests and encryption.
//!
//! Compressed objects begin with a skippable frame that holds the SHA-256 and the length of the content; decoders pass over it, so
//! that WAL-G, `zstd -d` and `lz4 -d` read our archive, and corruption is found here before PostgreSQL sees it. Beside an object
//! that is the file itself lies a small one with the digest; encrypted objects are age files. Objects without a digest, which
//! WAL-G wrote, are read as well. Nothing is ever overwritten: what exists is compared.

mod content;
mod damage;
mod decode;
mod digest;
mod encode;
mod envelope;
mod error;
mod form;
mod identity;
mod object;
mod parked;
mod pieces;
mod settings;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use bytes::Bytes;
use sha2::{Digest, Sha256};

use crate::catalog::{Layout, cluster_mark};
use crate::postgres::{SystemIdentifier, TimelineHistory, TimelineId, WalFileName, WalSegment, WalSegmentSize};
use crate::store::{self, Key, PutOutcome, Store};

pub use content::Content;
pub use damage::Damage;
use digest::ContentDigest;
pub use encode::EncodeError;
use encode::Encoded;
pub use error::ArchiveError;
use form::{Form, ObjectName, SIDECAR};
pub use identity::{Identities, IdentityError, IdentityReader, IdentitySource, SecretString};
use object::Likeness;
pub use object::{ArchivedObject, Proof, Restored};
pub use settings::{ArchiveSettings, Compression, InvalidRecipient, Recipient};

/// Archived WAL of one cluster.
pub struct WalArchive<'a> {
    store: &'a dyn Store,
    layout: &'a Layout,
    settings: &'a ArchiveSettings,
}

/// What became of a push.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PushOutcome {
    /// The file is in the archive, durable.
    Stored,
    /// The same content was there before: a retry of PostgreSQL after a crash.
    AlreadyStored,
    /// Its name is taken by other content, and it is kept beside the archive, durable.
    Parked,
}

/// One object of the archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchivedFile {
    /// The file that it holds.
    pub name: WalFileName,
    /// Its key.
    pub key: Key,
    /// Its size as stored.
    pub size_bytes: u64,
}

impl<'a> WalArchive<'a> {
    /// Opens the archive of the cluster that the layout describes.
    #[must_use]
    pub fn new(store: &'a dyn Store, layout: &'a Layout, settings: &'a ArchiveSettings) -> Self {
        Self { store, layout, settings }
    }

    /// Archives one file; returns when it is durable.
    pub async fn push(&self, name: WalFileName, content: impl Into<Content>) -> Result<PushOutcome, ArchiveError> {
        self.push_if(name, content, std::future::ready(Ok(()))).await
    }

    /// Archives one file if it is admitted, which is decided while it is compressed; until then nothing is written.
    pub async fn push_if<E: From<ArchiveError>>(
        &self,
        name: WalFileName,
        content: impl Into<Content>,
        admission: impl Future<Output = Result<(), E>>,
    ) -> Result<PushOutcome, E> {
        let (content, settings) = (content.into(), self.settings.clone());
        let form = settings.form();
        let encoding = object::off_thread(move || encode::encode(name, &content, &settings));
        // Another form of the file would shadow ours, or ours it, and differ unnoticed: looked for while this one is made.
        let (encoded, present, admitted) = tokio::join!(encoding, self.present(name), admission);
        admitted?;
        let encoded = encoded?.map_err(|source| ArchiveError::Encode { name, source })?;
        let present = present?;
        for stored in &present {
            self.accept(name, *stored, encoded.digest).await?;
        }
        if !present.is_empty() {
            return Ok(PushOutcome::AlreadyStored);
        }
        Ok(self.store_encoded(name, form, encoded).await?)
    }

    /// Encodes a segment that shall not lie among the archived ones: compressed, with its digest, encrypted where recipients are set.
    pub async fn wrap(&self, name: WalFileName, content: impl Into<Content>) -> Result<Bytes, ArchiveError> {
        let (content, settings) = (content.into(), self.settings.clone());
        // One form for all, since nothing but the object itself tells it.
        let settings = ArchiveSettings { compression: Compression::default(), ..settings };
        let encoded = object::off_thread(move || encode::encode(name, &content, &settings)).await?;
        Ok(encoded.map_err(|source| ArchiveError::Encode { name, source })?.body)
    }

    /// The object that such an encoding is.
    #[must_use]
    pub fn unwrap(&self, name: WalFileName, key: Key, body: Bytes) -> ArchivedObject {
        let form = Form::of_wrapped(&body);
        ArchivedObject { name, key, form, body, sidecar: None, identities: self.settings.identities.clone() }
    }

    async fn store_encoded(&self, name: WalFileName, form: Form, encoded: Encoded) -> Result<PushOutcome, ArchiveError> {
        let (key, Encoded { body, digest }) = (self.layout.wal_file(name, form.suffix()), encoded);
        let outcome = match self.store.put_if_absent(&key, body).await? {
            PutOutcome::Created if form.has_sidecar() => self.put_sidecar(name, digest).await.map(|()| PushOutcome::Stored)?,
            PutOutcome::Created => PushOutcome::Stored,
            PutOutcome::AlreadyExists => self.accept(name, form, digest).await.map(|()| PushOutcome::AlreadyStored)?,
        };
        // A segment has one writer, the one that its claim names: nobody puts it in another form meanwhile. The other files need no
        // claim. Of two who have both seen nothing and write in two forms, whoever looks last sees both.
        if !matches!(name, WalFileName::Segment { .. }) {
            for other in self.present(name).await?.into_iter().filter(|other| *other != form) {
                self.accept(name, other, digest).await?;
            }
        }
        Ok(outcome)
    }

    /// Whether an object of the file is there now, in whatever form, and none of them is empty. Nothing of it is read.
    pub(crate) async fn holds(&self, name: WalFileName) -> Result<bool, ArchiveError> {
        let sizes: Vec<u64> = match self.looked_up(name).await? {
            None => self.listed(name).await?.0.into_iter().map(|(_, size_bytes)| size_bytes).collect(),
            Some(forms) => {
                let mut sizes = Vec::new();
                for form in forms {
                    sizes.push(self.store.head(&self.layout.wal_file(name, form.suffix())).await?.unwrap_or(0));
                }
                sizes
            }
        };
        Ok(!sizes.is_empty() && !sizes.contains(&0))
    }

    /// The forms in which the file lies in the archive.
    async fn present(&self, name: WalFileName) -> Result<Vec<Form>, ArchiveError> {
        match self.looked_up(name).await? {
            Some(forms) => Ok(forms),
            None => Ok(self.listed(name).await?.0.into_iter().map(|(form, _)| form).collect()),
        }
    }

    /// The same, asked for name by name; none where a listing costs less.
    async fn looked_up(&self, name: WalFileName) -> Result<Option<Vec<Form>>, ArchiveError> {
        let keys: Vec<Key> = form::suffixes().map(|suffix| self.layout.wal_file(name, suffix)).collect();
        let Some(are_there) = self.store.look_up(&keys).await? else { return Ok(None) };
        let found = keys.into_iter().zip(are_there).filter(|(_, is_there)| *is_there);
        let form = |(key, _): (Key, bool)| match ObjectName::parse(key.file_name()) {
            Some(ObjectName::File(_, form)) => Ok(form),
            // Whether it is the same cannot be known.
            _ => Err(ArchiveError::UnknownForm { key }),
        };
        found.map(form).collect::<Result<_, _>>().map(Some)
    }

    /// The forms in which the file lies in the archive, with the sizes of their objects, and an object of it in a form that nobody is
    /// known to write.
    async fn listed(&self, name: WalFileName) -> Result<(Vec<(Form, u64)>, Option<Key>), ArchiveError> {
        let plain = self.layout.wal_file(name, "");
        let (mut forms, mut unknown) = (Vec::new(), None);
        for entry in store::list(self.store, plain.as_str()).await? {
            let file_name = entry.key.file_name();
            let suffix = entry.key.as_str().strip_prefix(plain.as_str()).unwrap_or_default();
            match ObjectName::parse(file_name) {
                Some(ObjectName::File(found, form)) if found == name => forms.push((form, entry.size_bytes)),
                // Whether it is the same cannot be known.
                Some(ObjectName::Unreadable(found)) if found == name => return Err(ArchiveError::UnknownForm { key: entry.key }),
                // Other files of the segment are other files.
                Some(_) => {}
                // WAL-G keeps facts about a segment beside it; what follows the name without a dot is another name.
                None if suffix == ".json" || !suffix.starts_with('.') => {}
                None if file_name.rsplit_once('.').is_some_and(|(stem, _)| is_another(stem, name)) => {}
                None => unknown = unknown.or(Some(entry.key)),
            }
        }
        forms.sort_by_key(|(form, _)| Form::ALL.iter().position(|other| other == form));
        Ok((forms, unknown))
    }

    /// Accepts what is stored only after reading all of it: PostgreSQL recycles the segment on our word.
    async fn accept(&self, name: WalFileName, form: Form, digest: ContentDigest) -> Result<(), ArchiveError> {
        let key = self.layout.wal_file(name, form.suffix());
        let Some(object) = self.get(name, form).await? else { return Err(ArchiveError::Vanished { key }) };
        match object.compare(digest).await? {
            // Whoever made the object may have died before the digest was there, or may be another tool.
            Likeness::Same if form.has_sidecar() => self.put_sidecar(name, digest).await,
            Likeness::Same => Ok(()),
            Likeness::Other => Err(ArchiveError::Conflict { name, key }),
        }
    }

    /// Puts the digest beside an object that is now known to have it.
    async fn put_sidecar(&self, name: WalFileName, digest: ContentDigest) -> Result<(), ArchiveError> {
        let key = self.layout.wal_file(name, SIDECAR);
        let line = Bytes::from(digest.to_line(name));
        if self.store.put_if_absent(&key, line.clone()).await? == PutOutcome::Created {
            return Ok(());
        }
        // One that says otherwise was left there by an object that is gone, or is damaged; it is no WAL, and the truth replaces it.
        match self.store.get(&key).await? {
            Some(found) if found == line => Ok(()),
            _ => Ok(self.store.put(&key, line).await?),
        }
    }

    /// Reads a small file; none when it is certain that the archive does not have it.
    pub async fn fetch(&self, name: WalFileName) -> Result<Option<Vec<u8>>, ArchiveError> {
        let Some(object) = self.find(name).await? else { return Ok(None) };
        let (_, content) = object.write_to(Vec::new()).await?;
        Ok(Some(content))
    }

    /// Finds a file and reads its object; none when it is certain that the archive does not have it.
    pub async fn find(&self, name: WalFileName) -> Result<Option<ArchivedObject>, ArchiveError> {
        // What is looked for is almost always what is written now.
        if let Some(object) = self.get(name, self.settings.form()).await? {
            return Ok(Some(object));
        }
        let known = self.looked_up(name).await?.unwrap_or_default();
        if let Some(object) = self.get_first(name, known).await? {
            return Ok(Some(object));
        }
        // Only a listing proves an absence: the file may be there in a form that nobody is known to write.
        let (forms, unknown) = self.listed(name).await?;
        if let Some(object) = self.get_first(name, forms.into_iter().map(|(form, _)| form).collect()).await? {
            return Ok(Some(object));
        }
        if let Some(key) = unknown {
            return Err(ArchiveError::UnknownForm { key });
        }
        // Where nothing lies below the name of the cluster, that name may be the mistake.
        if cluster_mark::is_known(self.store, self.layout).await? {
            return Ok(None);
        }
        Err(ArchiveError::UnknownCluster { cluster: self.layout.cluster().clone(), store: self.store.url() })
    }

    async fn get_first(&self, name: WalFileName, forms: Vec<Form>) -> Result<Option<ArchivedObject>, ArchiveError> {
        for form in forms {
            if let Some(object) = self.get(name, form).await? {
                return Ok(Some(object));
            }
        }
        Ok(None)
    }

    /// Reads an object, and the digest beside it where that is its place; none when the object is not there.
    async fn get(&self, name: WalFileName, form: Form) -> Result<Option<ArchivedObject>, ArchiveError> {
        let key = self.layout.wal_file(name, form.suffix());
        let (body, sidecar) = if form.has_sidecar() {
            let beside = self.layout.wal_file(name, SIDECAR);
            tokio::try_join!(self.store.get(&key), self.store.get(&beside))?
        } else {
            (self.store.get(&key).await?, None)
        };
        let Some(body) = body else { return Ok(None) };
        let identities = self.settings.identities.clone();
        Ok(Some(ArchivedObject { name, key, form, body, sidecar, identities }))
    }

    /// Reads a segment that a backup needs and proves that it is this cluster's; false while it is absent.
    ///
    /// An object of the right name proves nothing: another cluster, or this one before it was rolled back, may have written it.
    /// Needs no private key: of an encrypted one, what stands on its outside is proven.
    pub async fn holds_segment(
        &self,
        segment: WalSegment,
        size: WalSegmentSize,
        cluster: SystemIdentifier,
    ) -> Result<bool, ArchiveError> {
        let Some(object) = self.find(segment.file_name(size)).await? else { return Ok(false) };
        object.prove_of_cluster(cluster).await?;
        Ok(true)
    }

    /// Reads a file and proves as much about it as can be; none when it is certain that the archive does not have it.
    pub async fn prove(&self, name: WalFileName) -> Result<Option<Proof>, ArchiveError> {
        let Some(object) = self.find(name).await? else { return Ok(None) };
        object.prove().await.map(Some)
    }

    /// Whether a file is archived with just this content; none when it is certain that the archive does not have it.
    ///
    /// Without the private key, what stands on the outside of an encrypted object is compared.
    pub async fn agrees(&self, name: WalFileName, content: &[u8]) -> Result<Option<bool>, ArchiveError> {
        let Some(object) = self.find(name).await? else { return Ok(None) };
        let digest = ContentDigest::of(Sha256::new_with_prefix(content), content.len() as u64);
        Ok(Some(object.compare(digest).await? == Likeness::Same))
    }

    /// Lists every WAL file in the archive, by timeline and segment: one entry for each object, what lies beside it included.
    ///
    /// Objects with other names are not ours and are left out.
    pub async fn list(&self) -> Result<Vec<ArchivedFile>, ArchiveError> {
        let (mut files, mut sidecars) = (Vec::new(), BTreeMap::new());
        for entry in store::list(self.store, &self.layout.wal()).await? {
            match ObjectName::parse(entry.key.file_name()) {
                Some(ObjectName::File(name, form)) => {
                    files.push((form, ArchivedFile { name, key: entry.key, size_bytes: entry.size_bytes }));
                }
                Some(ObjectName::Sidecar(name)) => _ = sidecars.insert(name, entry.size_bytes),
                Some(ObjectName::Unreadable(_)) | None => {}
            }
        }
        let with_sidecar = |(form, file): (Form, ArchivedFile)| {
            let beside = if form.has_sidecar() { sidecars.get(&file.name).copied().unwrap_or(0) } else { 0 };
            ArchivedFile { size_bytes: file.size_bytes + beside, ..file }
        };
        let mut files: Vec<ArchivedFile> = files.into_iter().map(with_sidecar).collect();
        files.sort_by_key(|file| file.name.order());
        Ok(files)
    }

    /// Reads the history of a timeline; the first timeline has none, and its history is trivial.
    pub async fn history(&self, timeline: TimelineId) -> Result<Option<TimelineHistory>, ArchiveError> {
        if timeline == TimelineId::FIRST {
            return Ok(Some(TimelineHistory::root(timeline)));
        }
        let name = WalFileName::History { timeline };
        let Some(content) = self.fetch(name).await? else { return Ok(None) };
        let text = String::from_utf8_lossy(&content);
        let history = TimelineHistory::parse(timeline, &text);
        history.map(Some).map_err(|source| ArchiveError::History { name, reason: source.to_string() })
    }

    /// Removes one object and what lies beside it. Absent is a success.
    pub async fn remove(&self, file: &ArchivedFile) -> Result<(), ArchiveError> {
        if matches!(ObjectName::parse(file.key.file_name()), Some(ObjectName::File(_, form)) if form.has_sidecar()) {
            // First: a digest without its object would belie the next one of this name.
            self.store.delete(&self.layout.wal_file(file.name, SIDECAR)).await?;
        }
        Ok(self.store.delete(&file.key).await?)
    }
}

/// Whether the name is that of another file of the same segment, in whatever form.
fn is_another(text: &str, name: WalFileName) -> bool {
    matches!(ObjectName::parse(text), Some(ObjectName::File(found, _)) if found != name)
}
