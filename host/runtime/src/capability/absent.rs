//! `command`, `aws` and `http`: declared by version 1.0 of the interface, not implemented by this host.
//!
//! They are linked only while a provider describes itself, so that one that imports them can be inspected.

use crate::bindings::stillframe::provider::{aws, command, http};
use crate::capability::OFF;
use crate::state::State;

impl command::Host for State {
    async fn run(&mut self, _: command::Invocation) -> wasmtime::Result<Result<command::Output, command::CommandError>> {
        Ok(Err(command::CommandError::Denied(OFF.to_owned())))
    }
}

impl aws::Host for State {
    async fn call(&mut self, _: aws::Request) -> wasmtime::Result<Result<aws::Response, aws::AwsError>> {
        Ok(Err(aws::AwsError::Denied(OFF.to_owned())))
    }
}

impl http::Host for State {
    async fn send(&mut self, _: http::Request) -> wasmtime::Result<Result<http::Response, http::HttpError>> {
        Ok(Err(http::HttpError::Denied(OFF.to_owned())))
    }
}
