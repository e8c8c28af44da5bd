//! From tokio-postgres's errors to core's faults.

use std::error::Error;
use std::io;

use stillframe_core::postgres::ConnectionFault;
use tokio_postgres::error::DbError;

/// What `PgBouncer` and its like answer to a startup parameter that they cannot pass on.
const REFUSED_PARAMETER: &str = "unsupported startup parameter";

/// The fault of an attempt to log in.
pub(crate) fn of_login(error: &tokio_postgres::Error, user: &str, database: &str) -> ConnectionFault {
    let Some(refusal) = error.as_db_error() else {
        // Past the socket, what remains is a way to authenticate that one side does not have: no password, no channel binding.
        return if is_lost(error) {
            ConnectionFault::Lost(explain(error))
        } else {
            ConnectionFault::Authentication(explain(error))
        };
    };
    match refusal.code().code() {
        "08P01" if refusal.message().contains(REFUSED_PARAMETER) => ConnectionFault::Pooler,
        "3D000" => ConnectionFault::Settings(describe(refusal)),
        "42501" => {
            let grant = format!("GRANT CONNECT ON DATABASE {} TO {};", quoted(database), quoted(user));
            ConnectionFault::MissingRight { message: describe(refusal), grant }
        }
        // Every connection is taken now.
        "53300" => ConnectionFault::Lost(describe(refusal)),
        _ => of_refusal(refusal),
    }
}

/// The fault of a request; `grants` is what an administrator must run when a right is missing.
pub(crate) fn of_request(error: &tokio_postgres::Error, grants: impl FnOnce() -> String) -> ConnectionFault {
    match error.as_db_error() {
        Some(refusal) if refusal.code().code() == "42501" => {
            ConnectionFault::MissingRight { message: describe(refusal), grant: grants() }
        }
        Some(refusal) => of_refusal(refusal),
        None if is_lost(error) => ConnectionFault::Lost(explain(error)),
        None => ConnectionFault::Unexpected(explain(error)),
    }
}

fn of_refusal(refusal: &DbError) -> ConnectionFault {
    let code = refusal.code().code();
    match code {
        // Shutdown, crash of another process, start-up, the database dropped, an idle timeout: the session has ended.
        "57P01" | "57P02" | "57P03" | "57P04" | "57P05" | "25P03" | "25P04" => ConnectionFault::Lost(describe(refusal)),
        _ if code.starts_with("08") => ConnectionFault::Lost(describe(refusal)),
        _ if code.starts_with("28") => ConnectionFault::Authentication(describe(refusal)),
        _ => ConnectionFault::Server { code: code.to_owned(), message: describe(refusal), hint: refusal.hint().map(str::to_owned) },
    }
}

fn is_lost(error: &tokio_postgres::Error) -> bool {
    error.is_closed() || error.source().is_some_and(<dyn Error>::is::<io::Error>)
}

/// The server's words: message and detail.
fn describe(refusal: &DbError) -> String {
    refusal.detail().map_or_else(|| refusal.message().to_owned(), |detail| format!("{}: {detail}", refusal.message()))
}

/// The words of an error and its causes.
pub(crate) fn explain(error: &tokio_postgres::Error) -> String {
    if let Some(refusal) = error.as_db_error() {
        return describe(refusal);
    }
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        words = format!("{words}: {inner}");
        cause = inner.source();
    }
    words
}

/// A name as SQL writes it.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
