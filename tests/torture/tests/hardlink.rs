//! A bounded torture with the provider that needs no root, on both kinds of store.
#![allow(missing_docs, reason = "a test crate has no readers of its documentation")]

use stillframe_torture::{Provider, StoreKind, survives};

#[test]
fn hardlink_on_a_directory_loses_nothing_and_leaves_nothing() {
    survives(Provider::Hardlink, StoreKind::Local, 2);
}

#[test]
fn hardlink_on_s3_loses_nothing_and_leaves_nothing() {
    survives(Provider::Hardlink, StoreKind::S3, 2);
}
