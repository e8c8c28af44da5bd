//! The body of an answer, whole or not at all.

use aws_sdk_s3::operation::get_object::GetObjectOutput;
use bytes::{Bytes, BytesMut};

use crate::MAX_OBJECT_BYTES;
use crate::remote::{Fault, Reason};

/// Reads a body into one piece of memory and compares its length with what was promised.
pub(super) async fn read(mut answer: GetObjectOutput) -> Result<Bytes, Fault> {
    let expected_bytes = answer.content_length().and_then(|length| u64::try_from(length).ok()).ok_or(Fault::NoLength)?;
    if expected_bytes > MAX_OBJECT_BYTES {
        return Err(Fault::TooLarge { size_bytes: expected_bytes });
    }
    let mut body = BytesMut::with_capacity(usize::try_from(expected_bytes).unwrap_or_default());
    while let Some(piece) = answer.body.next().await {
        let piece = piece.map_err(|error| Fault::Broken { source: Reason::of(&error) })?;
        body.extend_from_slice(&piece);
        if body.len() as u64 > expected_bytes {
            break;
        }
    }
    if body.len() as u64 != expected_bytes {
        return Err(Fault::Truncated { expected_bytes, read_bytes: body.len() as u64 });
    }
    Ok(body.freeze())
}
