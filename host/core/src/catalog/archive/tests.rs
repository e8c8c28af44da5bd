//! What every form must stand: whatever happens to an object, what comes out of it is the content or an error.

use std::sync::{Arc, OnceLock};

use age::secrecy::ExposeSecret;
use proptest::prelude::*;

use super::content::Content;
use super::damage::Damage;
use super::decode::{DecodeError, decode};
use super::encode::{EncodeError, encode};
use super::form::{Codec, Form};
use super::identity::{Identities, IdentityError, IdentitySource, SecretString};
use super::settings::{ArchiveSettings, Compression};
use crate::postgres::WalFileName;

/// A file that may hold anything, also nothing.
fn name() -> WalFileName {
    "000000010000000000000003.00000028.backup".parse().unwrap()
}

/// One key pair for all cases: making one takes longer than a case.
fn keys() -> &'static age::x25519::Identity {
    static KEYS: OnceLock<age::x25519::Identity> = OnceLock::new();
    KEYS.get_or_init(age::x25519::Identity::generate)
}

fn identities_of(identity: &age::x25519::Identity) -> Identities {
    let text = identity.to_string().expose_secret().to_owned();
    let read = Arc::new(move || Ok(SecretString::from(text.clone())));
    Identities::new(IdentitySource::Reader { origin: "a test".to_owned(), read })
}

/// Every form that is written.
fn written() -> Vec<ArchiveSettings> {
    let compressions = [Compression::Zstd(1), Compression::Zstd(-3), Compression::Lz4, Compression::None];
    let settings = |recipients: Vec<_>| {
        compressions.map(|compression| ArchiveSettings {
            compression,
            recipients: recipients.clone(),
            identities: identities_of(keys()),
        })
    };
    [settings(Vec::new()), settings(vec![super::Recipient(keys().to_public())])].concat()
}

/// An object, with what lies beside it.
fn object(content: &[u8], settings: &ArchiveSettings) -> (Vec<u8>, Option<String>) {
    let encoded = encode(name(), &content.to_vec().into(), settings).unwrap();
    (encoded.body.to_vec(), settings.form().has_sidecar().then(|| encoded.digest.to_line(name())))
}

fn content_of(body: &[u8], sidecar: Option<&str>, settings: &ArchiveSettings) -> Result<Vec<u8>, DecodeError> {
    let mut content = Vec::new();
    let sidecar = sidecar.map(str::as_bytes);
    decode(name(), settings.form(), body, sidecar, &settings.identities, &mut content)?;
    Ok(content)
}

fn is_damage(error: &DecodeError) -> bool {
    matches!(error, DecodeError::Damage(_))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn every_form_gives_back_what_was_stored(content: Vec<u8>) {
        for settings in written() {
            let (body, sidecar) = object(&content, &settings);
            prop_assert_eq!(&content_of(&body, sidecar.as_deref(), &settings).unwrap(), &content, "{:?}", settings);
        }
    }

    #[test]
    fn a_flipped_bit_never_gives_other_content_and_is_damage_where_nothing_is_without_meaning(
        content in proptest::collection::vec(any::<u8>(), 1..500), place: prop::sample::Index, bit in 0u8..8,
    ) {
        for settings in written() {
            let (mut body, sidecar) = object(&content, &settings);
            let place = place.index(body.len());
            body[place] ^= 1 << bit;
            let is_compressed = settings.form().codec != Codec::Raw;
            match content_of(&body, sidecar.as_deref(), &settings) {
                // Of a compressor's header not every bit has a meaning, and the digest's magic number has others beside it.
                Ok(found) => prop_assert!(found == content && is_compressed && !settings.form().is_encrypted, "{:?} {}", settings, place),
                Err(error) => prop_assert!(is_damage(&error), "{:?} {:?}", settings, error),
            }
        }
    }

    #[test]
    fn a_flipped_bit_in_the_digest_beside_an_object_is_damage(content: Vec<u8>, place: prop::sample::Index, bit in 0u8..7) {
        let settings = ArchiveSettings { compression: Compression::None, ..ArchiveSettings::default() };
        let (body, sidecar) = object(&content, &settings);
        let mut line = sidecar.unwrap().into_bytes();
        let place = place.index(line.len());
        line[place] ^= 1 << bit;
        let error = content_of(&body, Some(str::from_utf8(&line).unwrap()), &settings).unwrap_err();
        prop_assert!(matches!(error, DecodeError::Damage(Damage::Sidecar | Damage::Digest)), "{:?}", error);
    }

    #[test]
    fn a_truncation_is_damage_in_every_form(content in proptest::collection::vec(any::<u8>(), 1..500), place: prop::sample::Index) {
        for settings in written() {
            let (body, sidecar) = object(&content, &settings);
            let cut = &body[..place.index(body.len())];
            let error = content_of(cut, sidecar.as_deref(), &settings).unwrap_err();
            prop_assert!(is_damage(&error), "{:?} {:?}", settings, error);
        }
    }

    #[test]
    fn what_follows_an_object_is_not_passed_over(content: Vec<u8>, more in proptest::collection::vec(any::<u8>(), 1..50)) {
        for settings in written() {
            let (body, sidecar) = object(&content, &settings);
            let error = content_of(&[&body[..], &more].concat(), sidecar.as_deref(), &settings).unwrap_err();
            prop_assert!(is_damage(&error), "{:?} {:?}", settings, error);
        }
    }

    #[test]
    fn no_foreign_object_makes_a_reader_panic(body: Vec<u8>) {
        for form in Form::ALL {
            let _ = decode(name(), form, &body, Some(&body), &identities_of(keys()), &mut Vec::new());
        }
    }
}

/// What compresses to about half, of any length.
fn long_content(length: usize) -> Vec<u8> {
    (0..length as u64).map(|at| if at % 3 == 0 { at.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_le_bytes()[7] } else { 7 }).collect()
}

#[test]
fn content_of_several_pieces_is_read_from_a_file_as_it_is() {
    let content = long_content((2 << 20) + 12_345);
    let mut file = tempfile::tempfile().unwrap();
    std::io::Write::write_all(&mut file, &content).unwrap();
    for settings in written() {
        let encoded = encode(name(), &Content::from_file(file.try_clone().unwrap()).unwrap(), &settings).unwrap();
        assert!(content_of(&encoded.body, None, &settings).unwrap() == content, "{settings:?}");
    }
}

#[test]
fn a_long_object_that_ends_between_two_blocks_is_damaged() {
    // The LZ4 decoder takes the end of its source between two blocks for the end of the content.
    let content = long_content(3 << 20);
    for settings in written() {
        let (body, _) = object(&content, &settings);
        for cut in (1..body.len()).step_by(body.len() / 200).chain(body.len() - 20..body.len()) {
            // Without a digest as well: as if WAL-G had written it.
            for begin in [0, 52] {
                if settings.form().codec != Codec::Raw && (begin == 0 || !settings.form().is_encrypted) && cut > begin {
                    let error = content_of(&body[begin..cut], None, &settings).unwrap_err();
                    assert!(is_damage(&error), "{settings:?} {begin}..{cut} {error:?}");
                }
            }
        }
    }
}

#[test]
fn a_file_that_shrinks_while_it_is_read_is_an_error() {
    let file = tempfile::tempfile().unwrap();
    file.set_len(1 << 20).unwrap();
    let content = Content::from_file(file.try_clone().unwrap()).unwrap();
    file.set_len(1 << 19).unwrap();
    for settings in written() {
        assert!(matches!(encode(name(), &content, &settings), Err(EncodeError::Read(_))));
    }
}

#[test]
fn a_level_that_does_not_exist_does_not_panic() {
    for level in [i32::MIN, i32::MAX] {
        let settings = ArchiveSettings { compression: Compression::Zstd(level), ..ArchiveSettings::default() };
        if let Ok(encoded) = encode(name(), &b"content".to_vec().into(), &settings) {
            assert_eq!(content_of(&encoded.body, None, &settings).unwrap(), b"content");
        }
    }
}

#[test]
fn an_object_that_expands_without_end_is_refused() {
    let mut bomb = zstd::Encoder::new(Vec::new(), 1).unwrap();
    let zeros = vec![0; 1 << 20];
    for _ in 0..1025 {
        std::io::Write::write_all(&mut bomb, &zeros).unwrap();
    }
    let settings = ArchiveSettings::default();
    let body = bomb.finish().unwrap();
    let found = decode(name(), settings.form(), &body, None, &settings.identities, &mut std::io::sink());
    assert!(matches!(found, Err(DecodeError::Damage(Damage::TooLong { .. }))));
}

#[test]
fn damage_a_missing_identity_and_a_wrong_one_are_three_errors() {
    let sealed = written().into_iter().filter(|settings| !settings.recipients.is_empty());
    for settings in sealed {
        let (mut body, _) = object(b"content", &settings);
        let with = |identities: Identities| ArchiveSettings { identities, ..settings.clone() };
        let missing = content_of(&body, None, &with(Identities::default())).unwrap_err();
        assert!(matches!(missing, DecodeError::Identity(IdentityError::NotConfigured)), "{missing:?}");
        let wrong = content_of(&body, None, &with(identities_of(&age::x25519::Identity::generate()))).unwrap_err();
        assert!(matches!(wrong, DecodeError::Identity(IdentityError::NoneFits)), "{wrong:?}");
        // In the stanza of the recipient: to age, a damaged one is one for another key.
        let place = body.windows(7).position(|text| text == b"X25519 ").unwrap() + 60;
        body[place] ^= 1;
        let damaged = content_of(&body, None, &with(Identities::default())).unwrap_err();
        assert!(matches!(damaged, DecodeError::Damage(Damage::Envelope)), "{damaged:?}");
    }
}

#[test]
fn an_encrypted_object_under_another_name_is_refused_without_a_key() {
    for settings in written().into_iter().filter(|settings| !settings.recipients.is_empty()) {
        let (body, _) = object(b"content", &settings);
        let other = "00000003.history".parse().unwrap();
        let found = decode(other, settings.form(), &body, None, &Identities::default(), &mut Vec::new());
        assert!(matches!(found, Err(DecodeError::Damage(Damage::Misplaced { .. }))), "{found:?}");
    }
}

#[test]
fn a_place_to_write_to_that_is_full_is_no_damage() {
    struct Full;
    impl std::io::Write for Full {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    for settings in written() {
        for content in [long_content(100), long_content(3 << 20)] {
            let (body, _) = object(&content, &settings);
            let found = decode(name(), settings.form(), &body, None, &settings.identities, &mut Full);
            assert!(matches!(found, Err(DecodeError::Sink(_))), "{settings:?} {found:?}");
        }
    }
}
