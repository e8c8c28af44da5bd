//! What a server's refusal means: the codes of S3, GCS and Azure in one table.
//!
//! A class decides whether an operation is repeated, so a code that is not known is judged by its status; nothing is judged by a
//! message.

use std::fmt;

use stillframe_core::error::ErrorClass;

/// Longest part of a server's message that is repeated.
const MAX_MESSAGE_CHARACTERS: usize = 300;

/// An answer of a server that is not a success.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    /// The HTTP status.
    pub(crate) status: u16,
    /// The vendor's code, such as `NoSuchKey`; empty where there is none.
    pub(crate) code: String,
    message: String,
    request_id: Option<String>,
}

impl Answer {
    /// Keeps what is fit for a message.
    pub(crate) fn new(status: u16, code: Option<&str>, message: Option<&str>, request_id: Option<&str>) -> Self {
        let fit = |text: &str, length: usize| -> String {
            text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).take(length).collect()
        };
        Self {
            status,
            code: fit(code.unwrap_or_default(), 80),
            message: fit(message.unwrap_or_default(), MAX_MESSAGE_CHARACTERS),
            request_id: request_id.map(|id| fit(id, 100)),
        }
    }

    /// Says whether trying again may help.
    pub(crate) fn class(&self) -> ErrorClass {
        match self.code.as_str() {
            "SlowDown"
            | "RequestTimeout"
            | "ConditionalRequestConflict"
            | "OperationAborted"
            | "NoSuchUpload"
            | "BadDigest"
            | "InvalidDigest"
            | "IncompleteBody"
            | "XAmzContentSHA256Mismatch"
            | "Md5Mismatch"
            | "ServerBusy"
            | "OperationTimedOut"
            | "ThrottlingException"
            | "Throttling"
            | "RequestLimitExceeded"
            | "TooManyRequestsException" => ErrorClass::Transient,
            _ => match self.status {
                // A server that does not know an operation will not learn it.
                501 | 505 => ErrorClass::Config,
                // Below 300 it said yes, and then something that no store says: a proxy, or a page that was cut.
                0..300 | 408 | 425 | 429 | 500.. => ErrorClass::Transient,
                // Rights, names, regions, keys: somebody must change something.
                _ => ErrorClass::Config,
            },
        }
    }

    /// Says what the operator can do.
    pub(crate) fn advice(&self) -> Option<&'static str> {
        let by_code = match self.code.as_str() {
            "NoSuchBucket" | "ContainerNotFound" | "ContainerBeingDeleted" => {
                "correct the bucket in `url`, or create it; Stillframe creates no buckets"
            }
            "SignatureDoesNotMatch" | "AuthenticationFailed" => {
                "the secret does not belong to the access key, or the clock of this machine is wrong: correct them"
            }
            "InvalidAccessKeyId" | "NotSignedUp" => {
                "the server does not know this access key: correct the credentials, or `endpoint`"
            }
            "ExpiredToken" | "ExpiredTokenException" | "TokenRefreshRequired" => {
                "the temporary credentials have expired: renew them, or use ones that renew themselves (a role, an instance's)"
            }
            "InvalidToken" | "InvalidClientTokenId" => "the session token is not valid: renew the temporary credentials",
            "RequestTimeTooSkewed" | "RequestExpired" => "set the clock of this machine",
            "PermanentRedirect" | "TemporaryRedirect" | "AuthorizationHeaderMalformed" | "IllegalLocationConstraintException" => {
                "the bucket is in another region: correct `region`"
            }
            "InvalidStorageClass" => "correct `storage_class`",
            "ServerSideEncryptionConfigurationNotFoundError" => "correct `sse`",
            "InvalidObjectState" => "the object was moved to an archive class: restore it there first",
            "ConditionalRequestConflict" => "another request for the same object was under way",
            "SlowDown" | "ServerBusy" | "Throttling" | "ThrottlingException" | "RequestLimitExceeded" => {
                "the server asks for fewer requests; raise `max_attempts`, or its limits"
            }
            code if code.starts_with("KMS.") || code.starts_with("Kms") => "correct `sse_kms_key`, or the rights on that key",
            _ => "",
        };
        let advice = match (by_code, self.status) {
            ("", 401) => "the server wants credentials that it knows: correct them",
            ("", 403) => {
                "give the credentials the right to read, write, delete and list below the prefix; without the right to list, an absent \
                 object looks like a forbidden one"
            }
            ("", 301 | 302 | 307 | 308) => "the server sends us elsewhere: correct `region` or `endpoint`",
            ("", 404 | 405) => "what answered may not be an object store: correct `endpoint` and `path_style`",
            ("", 501) => "the server lacks an operation that Stillframe needs: use another store",
            (advice, _) => advice,
        };
        (!advice.is_empty()).then_some(advice)
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.status)?;
        if !self.code.is_empty() {
            write!(formatter, " {}", self.code)?;
        }
        if !self.message.is_empty() {
            write!(formatter, " (`{}`)", self.message)?;
        }
        match &self.request_id {
            Some(id) => write!(formatter, ", request `{id}`"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use stillframe_core::error::ErrorClass;

    use super::Answer;

    fn class(status: u16, code: &str) -> ErrorClass {
        Answer::new(status, Some(code), None, None).class()
    }

    #[test]
    fn only_what_may_pass_by_itself_is_repeated() {
        for (status, code) in [
            (500, "InternalError"),
            (502, ""),
            (503, "SlowDown"),
            (503, ""),
            (429, ""),
            (408, ""),
            (400, "RequestTimeout"),
            (409, "ConditionalRequestConflict"),
            (409, "OperationAborted"),
            (404, "NoSuchUpload"),
            (400, "BadDigest"),
            (507, "XMinioStorageFull"),
        ] {
            assert_eq!(class(status, code), ErrorClass::Transient, "{status} {code}");
        }
        for (status, code) in [
            (403, "AccessDenied"),
            (403, "SignatureDoesNotMatch"),
            (403, "InvalidAccessKeyId"),
            (400, "ExpiredToken"),
            (403, "RequestTimeTooSkewed"),
            (404, "NoSuchBucket"),
            (404, ""),
            (301, "PermanentRedirect"),
            (400, "KMS.DisabledException"),
            (501, "NotImplemented"),
        ] {
            assert_eq!(class(status, code), ErrorClass::Config, "{status} {code}");
            assert!(Answer::new(status, Some(code), None, None).advice().is_some(), "{status} {code}");
        }
    }

    #[test]
    fn a_message_of_the_server_is_one_short_line() {
        let long = "x\n".repeat(10_000);
        let text = Answer::new(500, Some("A\u{1b}[31mB"), Some(&long), Some("id")).to_string();
        assert!(text.len() < 400 && !text.contains(['\n', '\u{1b}']), "{text}");
    }
}
