//! Objects in parts: one condition for the whole, and nothing left of an upload that failed.

use bytes::Bytes;
use stillframe_core::error::ErrorClass;
use stillframe_core::store::PutOutcome;
use stillframe_tests::{FaultProxy, Loss, ObjectStoreServer};

use crate::remote::Wire as _;
use crate::s3::S3Wire;
use crate::testing::{moto_settings, s3_settings};
use crate::url::StoreUrl;

/// The smallest part that S3 takes, the last one apart.
const PART_BYTES: usize = 5 << 20;

async fn wire(settings: &crate::StoreSettings) -> S3Wire {
    let StoreUrl::S3(location) = &settings.url else { panic!("not S3") };
    let mut wire = S3Wire::connect(settings, location).await.unwrap();
    wire.part_bytes = PART_BYTES;
    wire
}

fn body(first: u8) -> Bytes {
    (0..2 * PART_BYTES + 17).map(|index| (index % 251).to_le_bytes()[0] ^ first).collect::<Vec<u8>>().into()
}

#[tokio::test]
async fn writes_in_parts_on_one_condition_and_leaves_nothing_of_what_failed() {
    let server = ObjectStoreServer::moto();
    let proxy = FaultProxy::before(server.endpoint());
    let wire = wire(&s3_settings(proxy.endpoint(), &moto_settings(&server).credentials_file.unwrap())).await;
    assert_eq!(wire.put_if_absent("x", body(1)).await.unwrap(), PutOutcome::Created);
    assert_eq!(proxy.take_requests().iter().filter(|request| request.contains("partNumber=")).count(), 3);
    assert!(wire.get("x").await.unwrap() == Some(body(1)), "the body came back changed");
    assert_eq!(wire.put_if_absent("x", body(2)).await.unwrap(), PutOutcome::AlreadyExists);
    assert!(wire.get("x").await.unwrap() == Some(body(1)), "the loser's body is there");
    wire.put("x", body(3)).await.unwrap();
    assert!(wire.get("x").await.unwrap() == Some(body(3)), "a put without a condition replaces");

    proxy.lose_next("PUT", "partNumber=2", Loss::Answer(503, "SlowDown"));
    assert_eq!(wire.put("y", body(4)).await.unwrap_err().class(), ErrorClass::Transient);
    assert_eq!(wire.get("y").await.unwrap(), None);
    let uploads = wire.client.list_multipart_uploads().bucket(&wire.bucket).send().await.unwrap();
    assert_eq!(uploads.uploads().len(), 0, "parts of a failed upload cost money until somebody finds them");
}
