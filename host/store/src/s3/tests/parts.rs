//! Objects in parts: one condition for the whole, and nothing left of an upload that failed.

use bytes::Bytes;
use stillframe_core::error::{Classify as _, ErrorClass};
use stillframe_core::store::PutOutcome;
use stillframe_tests::{FaultProxy, Loss, ObjectStoreServer};

use crate::remote::Wire as _;
use crate::testing::{s3_settings, s3_wire};

/// The smallest part that S3 takes, the last one apart.
const PART_BYTES: usize = 5 << 20;

fn body(first: u8) -> Bytes {
    (0..2 * PART_BYTES + 17).map(|index| (index % 251).to_le_bytes()[0] ^ first).collect::<Vec<u8>>().into()
}

#[tokio::test]
async fn writes_in_parts_on_one_condition_and_leaves_nothing_of_what_failed() {
    let server = ObjectStoreServer::moto();
    let proxy = FaultProxy::before(server.endpoint());
    let mut wire = s3_wire(&s3_settings(proxy.endpoint(), &server.credentials_file())).await;
    wire.part_bytes = PART_BYTES;
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
