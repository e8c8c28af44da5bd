//! The database host encrypts and cannot decrypt, and still tells a retry from a conflict and a whole object from half of one.

use stillframe_core::catalog::{
    ArchiveError, ArchiveSettings, Damage, Identities, IdentityError, IdentitySource, Proof, PushOutcome,
};
use stillframe_core::error::{Classify, ErrorClass, chain};
use stillframe_core::postgres::{SystemIdentifier, WalSegment};

use crate::place::{
    CLUSTER, Keys, Place, compressions, encrypting, history, plain, segment, segment_content, segment_name, segment_size,
    with_identities,
};

const ONE: &[u8] = b"1\t0/3000000\tone\n";
const OTHER: &[u8] = b"1\t0/4000000\tother\n";

#[tokio::test]
async fn each_of_several_recipients_can_decrypt_alone_and_nobody_else() {
    let (one, other, stranger) = (Keys::new(), Keys::new(), Keys::new());
    for compression in compressions() {
        let (place, settings) = (Place::new(), encrypting(compression, &[&one, &other]));
        place.push(history(), ONE, &settings).await.unwrap();
        for keys in [&[&one][..], &[&other], &[&stranger, &other]] {
            let settings = with_identities(&settings, keys);
            assert_eq!(place.archive(&settings).fetch(history()).await.unwrap().unwrap(), ONE);
        }
        let error = place.archive(&with_identities(&settings, &[&stranger])).fetch(history()).await.unwrap_err();
        assert!(matches!(error, ArchiveError::Identity { source: IdentityError::NoneFits, .. }), "{error}");
    }
}

#[tokio::test]
async fn nothing_of_the_content_is_readable_in_an_encrypted_object() {
    let keys = Keys::new();
    for compression in compressions() {
        let place = Place::new();
        place.push(history(), ONE, &encrypting(compression, &[&keys])).await.unwrap();
        let body = place.read(&place.objects()[0]).await;
        assert_eq!(place.objects().len(), 1);
        assert!(!body.windows(9).any(|part| part == &ONE[2..11]));
        assert!(body.starts_with(b"age-encryption.org/v1\n"));
    }
}

#[tokio::test]
async fn without_a_private_key_a_retry_is_told_from_a_conflict() {
    let (keys, new_keys) = (Keys::new(), Keys::new());
    for compression in compressions() {
        let (place, settings) = (Place::new(), encrypting(compression, &[&keys]));
        assert_eq!(place.push(history(), ONE, &settings).await.unwrap(), PushOutcome::Stored);
        let before = place.store.snapshot();
        // Other recipients, another compression, no encryption any more: it is the same file.
        for settings in compressions().into_iter().flat_map(|other| [encrypting(other, &[&new_keys]), plain(other)]) {
            assert_eq!(place.push(history(), ONE, &settings).await.unwrap(), PushOutcome::AlreadyStored);
            let error = place.push(history(), OTHER, &settings).await.unwrap_err();
            assert!(matches!(error, ArchiveError::Conflict { .. }), "{error}");
        }
        assert_eq!(place.store.snapshot(), before, "wal_never_overwritten");
    }
}

#[tokio::test]
async fn after_a_change_of_keys_old_wal_is_read_by_the_old_identity_and_new_wal_by_the_new_one() {
    let (old, new, place) = (Keys::new(), Keys::new(), Place::new());
    let compression = compressions()[0];
    place.push(history(), ONE, &encrypting(compression, &[&old])).await.unwrap();
    let settings = encrypting(compression, &[&new]);
    let newer = "00000003.history".parse().unwrap();
    place.push(newer, OTHER, &settings).await.unwrap();
    let both = with_identities(&settings, &[&new, &old]);
    assert_eq!(place.archive(&both).fetch(history()).await.unwrap().unwrap(), ONE);
    assert_eq!(place.archive(&both).fetch(newer).await.unwrap().unwrap(), OTHER);
    for (keys, readable, locked) in [(&old, history(), newer), (&new, newer, history())] {
        let settings = with_identities(&settings, &[keys]);
        assert!(place.archive(&settings).fetch(readable).await.unwrap().is_some());
        assert_eq!(place.archive(&settings).fetch(locked).await.unwrap_err().class(), ErrorClass::Config);
    }
}

#[tokio::test]
async fn a_missing_and_a_wrong_identity_are_the_operators_and_damage_is_not() {
    let (keys, stranger, place) = (Keys::new(), Keys::new(), Place::new());
    let settings = encrypting(compressions()[0], &[&keys]);
    place.push(history(), ONE, &settings).await.unwrap();
    let fetch = async |settings: &ArchiveSettings| place.archive(settings).fetch(history()).await.unwrap_err();
    let missing = fetch(&settings).await;
    assert!(missing.hint().unwrap().contains("identity_file"), "{missing:?}");
    let wrong = fetch(&with_identities(&settings, &[&stranger])).await;
    assert!(wrong.hint().unwrap().contains("old identity"), "{wrong:?}");
    let source = IdentitySource::File("/nowhere/identities".into());
    let unreadable = fetch(&ArchiveSettings { identities: Identities::new(source), ..settings.clone() }).await;
    assert!(chain(&unreadable).contains("/nowhere/identities"), "{unreadable:?}");
    for error in [missing, wrong, unreadable] {
        assert_eq!(error.class(), ErrorClass::Config, "{error}");
    }
    let mut body = place.read("00000002.history.zst.age").await;
    let middle = body.len() - 30;
    body[middle] ^= 1;
    place.put("00000002.history.zst.age", body).await;
    assert_eq!(fetch(&with_identities(&settings, &[&keys])).await.class(), ErrorClass::Corrupt);
}

#[tokio::test]
async fn without_a_private_key_a_segment_is_known_to_be_whole_and_of_this_cluster() {
    let keys = Keys::new();
    for compression in compressions() {
        let (place, settings) = (Place::new(), encrypting(compression, &[&keys]));
        let archive = place.archive(&settings);
        let holds = async |segment: WalSegment, cluster| archive.holds_segment(segment, segment_size(), cluster).await;
        assert!(!holds(segment(), CLUSTER).await.unwrap());
        place.push(segment_name(), &segment_content(), &settings).await.unwrap();
        assert!(holds(segment(), CLUSTER).await.unwrap());
        let error = holds(segment(), SystemIdentifier(1)).await.unwrap_err();
        assert!(matches!(error, ArchiveError::ForeignCluster { found: CLUSTER, .. }), "{error}");
        // Cut off, and under another name.
        let object = place.objects()[0].clone();
        let body = place.read(&object).await;
        place.put(&object.replace("03.", "04."), body.clone()).await;
        place.put(&object, body[..body.len() - 1].to_vec()).await;
        let next = WalSegment { number: 4, ..segment() };
        let errors = (holds(segment(), CLUSTER).await.unwrap_err(), holds(next, CLUSTER).await.unwrap_err());
        assert!(matches!(errors.0, ArchiveError::Damaged { source: Damage::Length { .. }, .. }), "{}", chain(&errors.0));
        assert!(matches!(errors.1, ArchiveError::Damaged { source: Damage::Misplaced { .. }, .. }), "{}", chain(&errors.1));
    }
}

#[tokio::test]
async fn what_is_no_segment_does_not_pass_for_one_because_it_is_encrypted() {
    let (keys, place) = (Keys::new(), Place::new());
    let settings = encrypting(compressions()[0], &[&keys]);
    place.push(segment_name(), &vec![0; 1 << 20], &settings).await.unwrap();
    let error = place.archive(&settings).holds_segment(segment(), segment_size(), CLUSTER).await.unwrap_err();
    assert!(matches!(error, ArchiveError::Header { .. }), "{error}");
}

#[tokio::test]
async fn bit_rot_in_the_ciphertext_is_found_with_an_identity_and_only_then() {
    let (keys, place) = (Keys::new(), Place::new());
    let settings = encrypting(compressions()[1], &[&keys]);
    place.push(segment_name(), &segment_content(), &settings).await.unwrap();
    let with_key = with_identities(&settings, &[&keys]);
    let proof = async |settings: &ArchiveSettings| place.archive(settings).prove(segment_name()).await.map(Option::unwrap);
    assert!(matches!(proof(&settings).await, Ok(Proof::Outside)));
    assert!(matches!(proof(&with_key).await, Ok(Proof::Content(Some(_)))));
    let object = place.objects()[0].clone();
    let mut body = place.read(&object).await;
    let middle = body.len() - 2000;
    body[middle] ^= 1;
    place.put(&object, body).await;
    assert!(matches!(proof(&settings).await, Ok(Proof::Outside)));
    assert_eq!(proof(&with_key).await.unwrap_err().class(), ErrorClass::Corrupt);
}

#[tokio::test]
async fn a_retry_over_bit_rot_is_a_success_only_where_nobody_can_see_it() {
    let (keys, stranger) = (Keys::new(), Keys::new());
    for compression in compressions() {
        let (place, settings) = (Place::new(), encrypting(compression, &[&keys]));
        let with_key = with_identities(&settings, &[&keys]);
        place.push(history(), ONE, &settings).await.unwrap();
        assert_eq!(place.push(history(), ONE, &with_key).await.unwrap(), PushOutcome::AlreadyStored);
        assert!(matches!(place.push(history(), OTHER, &with_key).await, Err(ArchiveError::Conflict { .. })));
        let object = place.objects()[0].clone();
        let mut body = place.read(&object).await;
        let near_the_end = body.len() - 5;
        body[near_the_end] ^= 1;
        place.put(&object, body).await;
        assert_eq!(place.push(history(), ONE, &with_key).await.unwrap_err().class(), ErrorClass::Corrupt);
        // Whoever has only other keys, as after a change of them, knows as much as whoever has none.
        for blind in [settings.clone(), with_identities(&settings, &[&stranger])] {
            assert_eq!(place.push(history(), ONE, &blind).await.unwrap(), PushOutcome::AlreadyStored);
            assert!(matches!(place.push(history(), OTHER, &blind).await, Err(ArchiveError::Conflict { .. })));
        }
    }
}

#[tokio::test]
async fn an_age_file_of_another_tool_is_read_with_its_key_and_never_taken_for_the_same_without() {
    let (keys, place) = (Keys::new(), Place::new());
    let recipient: age::x25519::Recipient = keys.public.parse().unwrap();
    place.put("00000002.history.age", age::encrypt(&recipient, ONE).unwrap()).await;
    let settings = encrypting(compressions()[0], &[&keys]);
    let with_key = with_identities(&settings, &[&keys]);
    assert_eq!(place.archive(&with_key).fetch(history()).await.unwrap().unwrap(), ONE);
    let error = place.push(history(), ONE, &settings).await.unwrap_err();
    assert!(matches!(error, ArchiveError::Identity { .. }), "{error}");
    assert_eq!(place.push(history(), ONE, &with_key).await.unwrap(), PushOutcome::AlreadyStored);
    assert_eq!(place.push(history(), OTHER, &with_key).await.unwrap_err().class(), ErrorClass::Refused);
}

#[tokio::test]
async fn no_error_and_no_debug_output_shows_a_private_key() {
    let (keys, stranger, place) = (Keys::new(), Keys::new(), Place::new());
    let settings = with_identities(&encrypting(compressions()[0], &[&keys]), &[&stranger]);
    place.push(history(), ONE, &settings).await.unwrap();
    let error = place.archive(&settings).fetch(history()).await.unwrap_err();
    let object = place.archive(&settings).find(history()).await.unwrap();
    let shown = format!("{error:?} {} {:?} {settings:?} {object:?}", chain(&error), error.hint());
    assert!(!shown.contains(&stranger.secret[20..]), "{shown}");
}
