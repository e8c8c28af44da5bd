//! The private keys with which encrypted WAL is read.
//!
//! They are wanted only where a restore runs, and only when an encrypted object is met: loading one may ask a key service. What
//! was loaded stays for the life of the process and is wiped from memory after that; it appears in no message and no debug output.

use std::error::Error;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use age::secrecy::ExposeSecret;
pub use age::secrecy::SecretString;
use age::x25519::Identity;
use thiserror::Error;

/// Longest file of identities that makes sense.
const MAX_BYTES: u64 = 1 << 20;

/// Gives the text of an identity file, by other means than reading a file: the output of a command, say.
///
/// Its error must not repeat what it read.
pub type IdentityReader = Arc<dyn Fn() -> Result<SecretString, Box<dyn Error + Send + Sync>> + Send + Sync>;

/// Where identities come from.
#[derive(Clone, Default)]
pub enum IdentitySource {
    /// From nowhere: this host cannot decrypt.
    #[default]
    None,
    /// From an identity file of age: one key in each line, comments begin with `#`.
    File(PathBuf),
    /// From somewhere else, in the same format.
    Reader {
        /// Names it in messages: `the command ...`.
        origin: String,
        /// Reads it.
        read: IdentityReader,
    },
}

impl IdentitySource {
    fn origin(&self) -> String {
        match self {
            Self::None => "nowhere".to_owned(),
            Self::File(path) => path.display().to_string(),
            Self::Reader { origin, .. } => origin.clone(),
        }
    }

    fn read(&self) -> Result<SecretString, IdentityError> {
        let unreadable = |source| IdentityError::Unreadable { origin: self.origin(), source };
        match self {
            Self::None => Err(IdentityError::NotConfigured),
            Self::File(path) => read_file(path).map_err(|error| unreadable(error.into())),
            Self::Reader { read, .. } => read().map_err(unreadable),
        }
    }
}

impl fmt::Debug for IdentitySource {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "IdentitySource({})", self.origin())
    }
}

/// Identities, loaded when they are first needed. Clones share them.
#[derive(Clone, Default)]
pub struct Identities(Arc<Loading>);

#[derive(Default)]
struct Loading {
    source: IdentitySource,
    loaded: OnceLock<Vec<Identity>>,
    /// Held while they are read: whoever asks meanwhile waits, for each reading may ask a key service.
    reading: Mutex<()>,
}

impl Identities {
    /// Takes them from this source, later.
    #[must_use]
    pub fn new(source: IdentitySource) -> Self {
        Self(Arc::new(Loading { source, ..Loading::default() }))
    }

    /// Loads them, unless that was done. A failure is not remembered.
    pub(super) fn load(&self) -> Result<&[Identity], IdentityError> {
        if let Some(loaded) = self.0.loaded.get() {
            return Ok(loaded);
        }
        let _reading = self.0.reading.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(loaded) = self.0.loaded.get() {
            return Ok(loaded);
        }
        let text = self.0.source.read()?;
        let identities = parse(text.expose_secret()).map_err(|line| match line {
            Some(line) => IdentityError::Invalid { origin: self.0.source.origin(), line },
            None => IdentityError::Empty { origin: self.0.source.origin() },
        })?;
        Ok(self.0.loaded.get_or_init(|| identities))
    }
}

impl fmt::Debug for Identities {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.source.fmt(formatter)
    }
}

/// Why there are no identities.
#[derive(Debug, Error)]
pub enum IdentityError {
    /// None are configured.
    #[error("no identity is configured")]
    NotConfigured,
    /// They cannot be read.
    #[error("cannot read identities from `{origin}`")]
    Unreadable {
        /// Where from.
        origin: String,
        /// The cause.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// A line is no identity.
    #[error("line {line} of the identities from `{origin}` is no X25519 identity of age")]
    Invalid {
        /// Where from.
        origin: String,
        /// From 1.
        line: usize,
    },
    /// There is none in it.
    #[error("there are no identities in `{origin}`")]
    Empty {
        /// Where from.
        origin: String,
    },
    /// None of them opens the object.
    #[error("it is encrypted to other keys than the configured identities")]
    NoneFits,
}

impl IdentityError {
    /// What the operator can do.
    pub(super) fn hint(&self) -> String {
        match self {
            Self::NotConfigured => "where WAL is restored, set `identity_file` or `identity_command` under `[archive]`",
            Self::Unreadable { .. } => "the user who restores must be able to read it, and to run the command",
            Self::Invalid { .. } | Self::Empty { .. } => {
                "it must hold lines `AGE-SECRET-KEY-1...`, as `age-keygen` writes them; a file with a passphrase is read by \
                 `identity_command`, with a program that decrypts it"
            }
            Self::NoneFits => "after a change of keys keep the old identity in the file, beside the new one, for old WAL",
        }
        .to_owned()
    }
}

/// Reads a file without leaving copies of it behind in memory.
fn read_file(path: &Path) -> io::Result<SecretString> {
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    if length > MAX_BYTES {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it is longer than 1 MiB"));
    }
    // A string that never grows is never moved.
    let mut text = String::with_capacity(usize::try_from(length).unwrap_or(0) + 1);
    file.take(length).read_to_string(&mut text)?;
    Ok(SecretString::from(text))
}

/// Reads the lines; fails with the number of the first that is wrong, or with none when there are no identities.
fn parse(text: &str) -> Result<Vec<Identity>, Option<usize>> {
    let lines = text.lines().map(str::trim).enumerate();
    let meant = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    let identities: Vec<Identity> =
        meant.map(|(index, line)| line.parse().map_err(|_| Some(index + 1))).collect::<Result<_, _>>()?;
    if identities.is_empty() { Err(None) } else { Ok(identities) }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn secret(identity: &Identity) -> String {
        identity.to_string().expose_secret().to_owned()
    }

    #[test]
    fn reads_several_identities_between_comments_from_a_file() {
        let (one, other) = (Identity::generate(), Identity::generate());
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("identities");
        let text = format!("# created: 2025-01-01\n# public key: age1x\n{}\n\n  {}\r\n", secret(&one), secret(&other));
        std::fs::write(&path, text).unwrap();
        let identities = Identities::new(IdentitySource::File(path));
        let found: Vec<String> = identities.load().unwrap().iter().map(secret).collect();
        assert_eq!(found, [secret(&one), secret(&other)]);
    }

    #[test]
    fn no_message_and_no_debug_output_shows_a_secret() {
        let identity = secret(&Identity::generate());
        let damaged = identity.replace("KEY-1", "KEY-1Q");
        for text in [identity.clone(), format!("# x\n{damaged}\n")] {
            let read: IdentityReader = Arc::new(move || Ok(SecretString::from(text.clone())));
            let identities = Identities::new(IdentitySource::Reader { origin: "the command pass".to_owned(), read });
            let loaded = identities.load().map(<[Identity]>::len);
            let shown =
                format!("{identities:?} {:?} {loaded:?} {:?}", identities.0.source, loaded.as_ref().map_err(ToString::to_string));
            assert!(!shown.contains(&identity[15..]) && !shown.contains(&damaged[15..]), "{shown}");
            assert!(shown.contains("the command pass"));
        }
    }

    #[test]
    fn a_source_is_read_once_and_again_after_a_failure() {
        let reads = Arc::new(AtomicUsize::new(0));
        let (counter, text) = (Arc::clone(&reads), secret(&Identity::generate()));
        let read: IdentityReader = Arc::new(move || match counter.fetch_add(1, Ordering::SeqCst) {
            0 => Err("the key service is away".into()),
            _ => Ok(SecretString::from(text.clone())),
        });
        let identities = Identities::new(IdentitySource::Reader { origin: "x".to_owned(), read });
        assert!(matches!(identities.load(), Err(IdentityError::Unreadable { .. })));
        assert_eq!((identities.load().unwrap().len(), identities.clone().load().unwrap().len()), (1, 1));
        assert_eq!(reads.load(Ordering::SeqCst), 2);
    }

    #[test]
    fn those_who_ask_at_the_same_time_read_a_source_once() {
        const READERS: usize = 8;
        let (reads, text) = (Arc::new(AtomicUsize::new(0)), secret(&Identity::generate()));
        let together = Arc::new(std::sync::Barrier::new(READERS));
        let counter = Arc::clone(&reads);
        let read: IdentityReader = Arc::new(move || {
            counter.fetch_add(1, Ordering::SeqCst);
            std::thread::yield_now();
            Ok(SecretString::from(text.clone()))
        });
        let identities = Identities::new(IdentitySource::Reader { origin: "x".to_owned(), read });
        std::thread::scope(|scope| {
            for _ in 0..READERS {
                scope.spawn(|| {
                    together.wait();
                    assert_eq!(identities.load().unwrap().len(), 1);
                });
            }
        });
        assert_eq!(reads.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn says_what_is_wrong_with_a_source() {
        let of = |text: &'static str| {
            let read: IdentityReader = Arc::new(move || Ok(SecretString::from(text)));
            Identities::new(IdentitySource::Reader { origin: "x".to_owned(), read }).load().err().unwrap()
        };
        assert!(matches!(of("# nothing\n"), IdentityError::Empty { .. }));
        assert!(matches!(of("# x\nage-encryption.org/v1\n"), IdentityError::Invalid { line: 2, .. }));
        assert!(matches!(Identities::default().load().err().unwrap(), IdentityError::NotConfigured));
        let absent = Identities::new(IdentitySource::File(PathBuf::from("/nowhere/identities")));
        assert!(matches!(absent.load().err().unwrap(), IdentityError::Unreadable { .. }));
    }
}
