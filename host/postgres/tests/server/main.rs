//! The connection against real servers.

#![expect(clippy::unwrap_used, reason = "helpers of tests, outside of the test functions that clippy knows")]

mod backup;
mod hosts;
mod loss;
mod pooler;
mod rights;
mod tls;

use std::collections::BTreeMap;
use std::error::Error;

use stillframe_core::postgres::{ConnectionError, ConnectionFault};
use stillframe_postgres::{ConnectSettings, Environment, PgConnection, connect};

/// Connects with nothing in the environment.
async fn connect_to(conninfo: &str) -> Result<PgConnection, ConnectionError> {
    connect_with(conninfo, &[]).await
}

/// Connects with these variables.
async fn connect_with(conninfo: &str, variables: &[(&str, &str)]) -> Result<PgConnection, ConnectionError> {
    let variables: BTreeMap<_, _> = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let settings = ConnectSettings::resolve(conninfo, &Environment::new(variables))?;
    connect(&settings).await
}

/// The fault of a connection that must fail, and its words.
async fn fault_of(conninfo: &str) -> (ConnectionFault, String) {
    let error = connect_to(conninfo).await.expect_err("the connection must fail");
    let words = words(&error);
    (error.fault, words)
}

fn words(error: &ConnectionError) -> String {
    format!("{error}: {}", error.source().expect("the fault is the source"))
}
