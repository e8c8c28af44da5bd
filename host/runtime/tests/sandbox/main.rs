//! The sandbox against a component that misbehaves in every way that its configuration can name (`tests/guests/hostile`).

#![expect(clippy::unwrap_used, reason = "in the helpers of a test, too, a panic is the report")]

mod access;
mod answers;
mod engines;
mod escapes;
mod harness;
mod inspection;
mod limits;
mod loading;
mod trees;
mod versions;
mod words;
