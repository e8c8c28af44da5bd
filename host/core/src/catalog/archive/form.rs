//! The forms in which a file can lie in the archive, and how their objects are named.
//!
//! The suffixes of compression are WAL-G's. Encryption adds `.age`, as people name age files, so that nobody takes such an object
//! for one that WAL-G can read: it has no suffix for what it encrypts itself.

use crate::postgres::WalFileName;

/// How the content of an object is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Codec {
    Zstd,
    Lz4,
    /// Read, never written.
    Brotli,
    Raw,
}

/// How a file is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Form {
    pub(super) codec: Codec,
    pub(super) is_encrypted: bool,
}

/// Suffixes of forms that WAL-G writes and that cannot be read here.
const UNREADABLE: [&str; 3] = [".lzma", ".gz", ".lzo"];

/// Ends the name of the digest that lies beside an object whose form has no room for one.
///
/// It begins with the name of the file, so that WAL-G's deletions take both; and it has two suffixes, so that WAL-G, which cuts off
/// one, does not count it as a segment.
pub(super) const SIDECAR: &str = ".digest.sha256";

/// How an age file begins.
const AGE_MAGIC: &[u8] = b"age-encryption.org/v1";

impl Form {
    /// Every form that can be read, in the order in which they are looked for.
    pub(super) const ALL: [Self; 7] = [
        Self::plain(Codec::Zstd),
        Self::plain(Codec::Lz4),
        Self::encrypted(Codec::Zstd),
        Self::encrypted(Codec::Lz4),
        Self::plain(Codec::Raw),
        Self::encrypted(Codec::Raw),
        Self::plain(Codec::Brotli),
    ];

    const fn plain(codec: Codec) -> Self {
        Self { codec, is_encrypted: false }
    }

    const fn encrypted(codec: Codec) -> Self {
        Self { codec, is_encrypted: true }
    }

    /// The form of a segment that was encoded without a name to tell it.
    pub(super) fn of_wrapped(body: &[u8]) -> Self {
        Self { codec: Codec::Zstd, is_encrypted: body.starts_with(AGE_MAGIC) }
    }

    /// What the names of its objects end with, behind the name of the file.
    pub(super) const fn suffix(self) -> &'static str {
        match (self.codec, self.is_encrypted) {
            (Codec::Zstd, false) => ".zst",
            (Codec::Zstd, true) => ".zst.age",
            (Codec::Lz4, false) => ".lz4",
            (Codec::Lz4, true) => ".lz4.age",
            (Codec::Brotli, false) => ".br",
            (Codec::Brotli, true) => ".br.age",
            (Codec::Raw, false) => "",
            (Codec::Raw, true) => ".age",
        }
    }

    /// Whether its digest lies beside the object: the content has no room for one, and nothing around it has.
    pub(super) fn has_sidecar(self) -> bool {
        self == Self::plain(Codec::Raw)
    }
}

/// What the name of an object says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ObjectName {
    /// A file in a form that can be read.
    File(WalFileName, Form),
    /// The digest beside a file.
    Sidecar(WalFileName),
    /// A file in a form that cannot be read.
    Unreadable(WalFileName),
}

impl ObjectName {
    /// Reads the last part of a key; none when it names no WAL file in a form that anybody is known to write.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let file = |suffix: &str| text.strip_suffix(suffix)?.parse::<WalFileName>().ok();
        let form = Form::ALL.into_iter().find_map(|form| Some(Self::File(file(form.suffix())?, form)));
        let sidecar = || file(SIDECAR).map(Self::Sidecar);
        form.or_else(sidecar).or_else(|| UNREADABLE.into_iter().find_map(|suffix| file(suffix).map(Self::Unreadable)))
    }
}

/// Suffixes of all objects that could hold a file.
pub(super) fn suffixes() -> impl Iterator<Item = &'static str> {
    Form::ALL.into_iter().map(Form::suffix).chain(UNREADABLE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_every_file_is_known_by_its_name() {
        for name in ["0000000100000002000000AB", "0000000100000002000000AB.partial", "00000002.history"] {
            let file: WalFileName = name.parse().unwrap();
            for form in Form::ALL {
                assert_eq!(ObjectName::parse(&format!("{name}{}", form.suffix())), Some(ObjectName::File(file, form)));
            }
            assert_eq!(ObjectName::parse(&format!("{name}{SIDECAR}")), Some(ObjectName::Sidecar(file)));
            assert_eq!(ObjectName::parse(&format!("{name}.lzma")), Some(ObjectName::Unreadable(file)));
        }
    }

    #[test]
    fn what_walg_keeps_beside_segments_is_no_form_of_them() {
        for name in [
            "0000000100000002000000AB.json",
            "0000000100000002000000A0_delta.zst",
            "0000000100000002000000AB.zst.zst",
            "0000000100000002000000AB.br.age",
            "",
        ] {
            assert_eq!(ObjectName::parse(name), None, "{name}");
        }
    }

    #[test]
    fn walg_which_cuts_one_suffix_off_takes_a_sidecar_for_no_segment() {
        let (stem, _) = SIDECAR.rsplit_once('.').unwrap();
        assert!(format!("0000000100000002000000AB{stem}").parse::<WalFileName>().is_err());
    }
}
