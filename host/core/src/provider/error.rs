//! Why a provider's operation failed, with the provider and the operation named.

use thiserror::Error;

use crate::error::{Classify, ErrorClass};
use crate::provider::ProviderName;

/// One failed operation of one provider.
#[derive(Debug, Error)]
#[error("provider `{provider}` cannot {operation}")]
pub struct ProviderError {
    /// Its name in the configuration.
    pub provider: ProviderName,
    /// What was asked of it: `create the snapshot set`, `be loaded`.
    pub operation: &'static str,
    /// The cause.
    #[source]
    pub fault: ProviderFault,
}

/// The cause: what the provider answered, or what the sandbox did with it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ProviderFault {
    /// Configuration or request wrong.
    #[error("`{field}` is invalid: {message}")]
    Invalid {
        /// Key or field.
        field: String,
        /// What is wrong.
        message: String,
    },
    /// No such feature.
    #[error("it does not support {0}")]
    Unsupported(String),
    /// Path not covered.
    #[error("it does not cover the path `{0}`")]
    UnmanagedPath(String),
    /// Something foreign is in the way.
    #[error("`{0}` exists and is not this backup's")]
    Conflict(String),
    /// The storage system refused.
    #[error("the storage system denied {0}")]
    Denied(String),
    /// Credentials missing, wrong or expired.
    #[error("not authenticated: {0}")]
    Unauthenticated(String),
    /// No such thing.
    #[error("`{0}` does not exist")]
    NotFound(String),
    /// Something else is going on.
    #[error("the storage system is busy")]
    Busy {
        /// When to try again.
        retry_after_ms: Option<u64>,
    },
    /// Rate limit.
    #[error("the storage system limits the rate of requests")]
    Throttled {
        /// When to try again.
        retry_after_ms: Option<u64>,
    },
    /// Something is full.
    #[error("no room is left: {0}")]
    Exhausted(String),
    /// May not be deleted yet.
    #[error("the snapshot set is locked until {until}")]
    Locked {
        /// Until when.
        until: jiff::Timestamp,
    },
    /// A dependent is in the way.
    #[error("the snapshot set is in use by `{0}`")]
    InUse(String),
    /// May work when tried again.
    #[error("{0}")]
    Transient(String),
    /// May have happened.
    #[error("the outcome is unknown: {0}")]
    Indeterminate(String),
    /// The provider's own fault.
    #[error("internal error of the provider: {0}")]
    Internal(String),
    /// The component is not what was pinned, cannot be loaded, or does not fit the interface; nothing was called.
    #[error("{0}")]
    Unusable(String),
    /// It imports a capability that the configuration does not grant; nothing was called.
    #[error("it needs the capability `{0}`, which the configuration does not grant")]
    NotGranted(String),
    /// The sandbox ended it at its deadline.
    #[error("it exceeded its deadline of {seconds} s and was stopped")]
    Deadline {
        /// The deadline.
        seconds: u64,
    },
    /// The sandbox ended it for another reason: a trap, a panic, too much memory, too much output.
    #[error("it was stopped: {0}")]
    Stopped(String),
    /// What it returned breaks the interface's rules.
    #[error("it answered what the interface forbids: {0}")]
    BadAnswer(String),
}

impl ProviderError {
    /// Whether the operation may have had its effect nevertheless, so that the storage system must be asked.
    #[must_use]
    pub fn may_have_happened(&self) -> bool {
        !matches!(self.fault, ProviderFault::Unusable(_) | ProviderFault::NotGranted(_))
    }
}

impl Classify for ProviderError {
    fn class(&self) -> ErrorClass {
        match self.fault {
            ProviderFault::Invalid { .. }
            | ProviderFault::Unsupported(_)
            | ProviderFault::UnmanagedPath(_)
            | ProviderFault::Denied(_)
            | ProviderFault::Unauthenticated(_)
            | ProviderFault::Unusable(_)
            | ProviderFault::NotGranted(_) => ErrorClass::Config,
            ProviderFault::Conflict(_) | ProviderFault::NotFound(_) | ProviderFault::Locked { .. } | ProviderFault::InUse(_) => {
                ErrorClass::Refused
            }
            ProviderFault::Busy { .. }
            | ProviderFault::Throttled { .. }
            | ProviderFault::Exhausted(_)
            | ProviderFault::Transient(_)
            | ProviderFault::Indeterminate(_)
            | ProviderFault::Deadline { .. } => ErrorClass::Transient,
            ProviderFault::Internal(_) | ProviderFault::Stopped(_) | ProviderFault::BadAnswer(_) => ErrorClass::Internal,
        }
    }

    fn hint(&self) -> Option<String> {
        let name = &self.provider;
        Some(match &self.fault {
            ProviderFault::Invalid { .. } => format!("see the keys that it knows with `stillframe provider inspect {name}`"),
            ProviderFault::UnmanagedPath(_) => {
                "every directory of the cluster must lie on a volume that a provider can cut".to_owned()
            }
            ProviderFault::NotGranted(_) => {
                format!(
                    "see what it asks for with `stillframe provider inspect {name}`, and grant it under `[provider.{name}.grants]`"
                )
            }
            ProviderFault::Exhausted(_) => "free some room, or let `stillframe delete retain` make some".to_owned(),
            ProviderFault::Deadline { .. } => format!("raise `deadline_secs` under `[provider.{name}]` if it only needs longer"),
            ProviderFault::Stopped(_) | ProviderFault::BadAnswer(_) | ProviderFault::Internal(_) => {
                format!("report it to the author of the provider `{name}`")
            }
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Classify, ErrorClass, ProviderError, ProviderFault};

    fn error(fault: ProviderFault) -> ProviderError {
        ProviderError { provider: "zfs".to_owned().try_into().unwrap(), operation: "be loaded", fault }
    }

    #[test]
    fn a_capability_that_is_not_granted_is_advised_to_be_granted() {
        let refused = error(ProviderFault::NotGranted("command".to_owned()));
        assert_eq!(refused.fault.to_string(), "it needs the capability `command`, which the configuration does not grant");
        let hint = refused.hint().unwrap();
        assert!(hint.contains("grant it under `[provider.zfs.grants]`"), "{hint}");
        assert_eq!(refused.class(), ErrorClass::Config);
        assert!(!refused.may_have_happened(), "nothing of it was called");
    }
}
