//! A bounded torture with btrfs on a loop device, which only root can mount.
#![allow(missing_docs, reason = "a test crate has no readers of its documentation")]

use stillframe_torture::{Provider, StoreKind, survives};

#[test]
fn btrfs_on_s3_loses_nothing_and_leaves_nothing() {
    survives(Provider::Btrfs, StoreKind::S3, 1);
}
