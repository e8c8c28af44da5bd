//! The suite on moto, and what the server is told to do with the objects.

use aws_sdk_s3::types::{ServerSideEncryption, StorageClass};
use bytes::Bytes;
use stillframe_core::error::ErrorClass;
use stillframe_tests::ObjectStoreServer;

use crate::remote::Wire as _;
use crate::settings::Encryption;
use crate::testing::{key, moto_settings, s3_wire};
use crate::{StoreSettings, conformance, create, open};

#[tokio::test]
async fn passes_the_whole_suite_on_moto() {
    let server = ObjectStoreServer::moto();
    let store = create(&moto_settings(&server)).await.unwrap();
    conformance::run(&store, "conformance").await;
}

#[tokio::test]
async fn opens_what_was_created_and_nothing_else() {
    let server = ObjectStoreServer::moto();
    let settings = moto_settings(&server);
    let created = create(&settings).await.unwrap();
    created.put(&key("a/b"), Bytes::from_static(b"x")).await.unwrap();
    // Again: an existing store is opened, and keeps what it has.
    create(&settings).await.unwrap();
    let opened = open(&settings).await.unwrap();
    assert_eq!(opened.get(&key("a/b")).await.unwrap().as_deref(), Some(b"x".as_slice()));
    assert_eq!(opened.url(), format!("s3://stillframe-tests/some/prefix (at {})", server.endpoint()));

    let elsewhere = StoreSettings { url: "s3://stillframe-tests/some/prefixx".parse().unwrap(), ..settings.clone() };
    let wrong = open(&elsewhere).await.unwrap();
    let error = wrong.get(&key("a/b")).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Config);
    assert!(error.advice.as_deref().unwrap().contains("stillframe store create"), "{error:?}");

    let no_bucket = StoreSettings { url: "s3://no-such-bucket/some/prefix".parse().unwrap(), ..settings };
    let error = open(&no_bucket).await.unwrap().get(&key("a/b")).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Config);
    assert!(error.source.to_string().contains("NoSuchBucket"), "{error:?}");
    assert!(create(&no_bucket).await.is_err());
}

#[tokio::test]
async fn tells_the_server_how_to_encrypt_and_where_to_keep() {
    let server = ObjectStoreServer::moto();
    let settings = StoreSettings {
        encryption: Some(Encryption::Kms { key: Some("alias/of-the-test".to_owned()) }),
        storage_class: Some("STANDARD_IA".to_owned()),
        ..moto_settings(&server)
    };
    let mut wire = s3_wire(&settings).await;
    wire.part_bytes = 5 << 20;
    for (name, size) in [("one-request", 10), ("in-parts", 6 << 20)] {
        wire.put(name, vec![1; size].into()).await.unwrap();
        let head = wire.client.head_object().bucket(&wire.bucket).key(wire.key(name)).send().await.unwrap();
        assert_eq!(head.server_side_encryption().map(ServerSideEncryption::as_str), Some("aws:kms"), "{name}");
        assert!(head.ssekms_key_id().is_some_and(|id| id.contains("alias/of-the-test")), "{name}");
        assert_eq!(head.storage_class().map(StorageClass::as_str), Some("STANDARD_IA"), "{name}");
    }
}
