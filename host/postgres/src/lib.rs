//! The one crate that talks to a PostgreSQL server: core's `Connection` over tokio-postgres, from version 10.
//!
//! Settings follow libpq to the letter (`conninfo` before the service file before `PG*` variables before defaults), so that
//! whatever works for `psql` works here. Two deliberate differences: the default database is `postgres` (libpq takes the user's
//! name, which suits a person and not a backup tool), and a keyword that changes what is trusted and cannot be honoured is an
//! error, never ignored. The crate reads no environment variable itself; its caller passes them.

mod connect;
mod connection;
mod fault;
mod rights;
mod session;
mod settings;
mod transport;

pub use connect::connect;
pub use connection::PgConnection;
pub use rights::required_grants;
pub use settings::{ConnectSettings, Environment};
