//! What EC2's error codes mean: the one table.

use stillframe_sdk::aws::Response;
use stillframe_sdk::{Error, invalid};

use super::xml;

/// Pause that EC2 asks for between two snapshots of one volume.
const PER_VOLUME_PAUSE_MS: u32 = 15_000;

/// Pause after which another try of a throttled request makes sense.
const THROTTLED_PAUSE_MS: u32 = 2_000;

/// Pause after which a state may have changed.
const BUSY_PAUSE_MS: u64 = 15_000;

/// Bytes of a foreign text that an error quotes.
const MAX_QUOTED_BYTES: usize = 300;

/// What a fault means for the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// A right is missing, or the host's policy does not allow it.
    Denied,
    /// Credentials are missing, wrong or expired.
    Unauthenticated,
    /// Refused because of the rate: it did not happen.
    Throttled,
    /// It may have happened.
    Unknown,
    /// What the request names does not exist, or is not visible yet.
    NotFound,
    /// Something depends on it.
    InUse,
    /// A lock forbids it.
    Locked,
    /// A quota is reached, or there is no capacity.
    Exhausted,
    /// The object is in a state that will pass.
    Busy,
    /// A parameter is wrong.
    Invalid,
    /// The service cannot do it.
    Unsupported,
    /// Anything else.
    Other,
}

/// The table. Codes that are not in it are judged by the HTTP status.
const CODES: &[(Class, &[&str])] = &[
    (
        Class::Denied,
        &["UnauthorizedOperation", "AccessDenied", "AccessDeniedException", "Blocked", "OperationNotPermitted", "OptInRequired"],
    ),
    (
        Class::Unauthenticated,
        &[
            "AuthFailure",
            "ExpiredToken",
            "IncompleteSignature",
            "InvalidClientTokenId",
            "MissingAuthenticationToken",
            "RequestExpired",
            "SignatureDoesNotMatch",
            "UnrecognizedClientException",
        ],
    ),
    (
        Class::Throttled,
        &[
            "EC2ThrottledException",
            "RequestLimitExceeded",
            "RequestThrottled",
            "SnapshotCreationPerVolumeRateExceeded",
            "Throttling",
            "ThrottlingException",
        ],
    ),
    (
        Class::Unknown,
        &["InternalError", "InternalFailure", "RequestTimeout", "ServerInternal", "ServiceUnavailable", "Unavailable"],
    ),
    (
        Class::NotFound,
        &["InvalidInstanceID.NotFound", "InvalidSnapshot.NotFound", "InvalidVolume.NotFound", "InvalidAttachment.NotFound"],
    ),
    (Class::InUse, &["InvalidSnapshot.InUse", "VolumeInUse"]),
    (Class::Locked, &["SnapshotLocked"]),
    (
        Class::Exhausted,
        &[
            "AttachmentLimitExceeded",
            "InsufficientCapacity",
            "InsufficientVolumeCapacity",
            "MaxIOPSLimitExceeded",
            "ResourceCountExceeded",
            "SnapshotLimitExceeded",
            "TagLimitExceeded",
            "VolumeIOPSLimit",
            "VolumeLimitExceeded",
        ],
    ),
    (Class::Busy, &["ConcurrentSnapshotLimitExceeded", "IncorrectInstanceState", "IncorrectState", "IncorrectStateException"]),
    (
        Class::Invalid,
        &[
            "IdempotentParameterMismatch",
            "InvalidDevice.InUse",
            "InvalidKmsKey.InvalidState",
            "InvalidParameter",
            "InvalidParameterCombination",
            "InvalidParameterDependency",
            "InvalidParameterValue",
            "InvalidSnapshotID.Malformed",
            "InvalidVolume.ZoneMismatch",
            "InvalidVolumeID.Malformed",
            "InvalidInstanceID.Malformed",
            "InvalidZone.NotFound",
            "MissingParameter",
            "TagPolicyViolation",
            "UnknownParameter",
            "UnknownVolumeType",
            "ValidationError",
            "VolumeTypeNotAvailableInZone",
        ],
    ),
    (Class::Unsupported, &["InvalidAction", "Unsupported", "UnsupportedOperation"]),
];

/// Why a request has no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) class: Class,
    /// EC2's code; empty when it did not come from EC2.
    pub(crate) code: String,
    /// For people: the action, the code and EC2's message.
    pub(crate) text: String,
    /// Whether something answered that does not speak EC2's language.
    is_foreign: bool,
}

impl Fault {
    pub(super) fn new(class: Class, action: &str, text: impl std::fmt::Display) -> Self {
        Self { class, code: String::new(), text: format!("`{action}`: {text}"), is_foreign: false }
    }

    /// What an answer with an error says: the code decides, and where there is none the HTTP status.
    pub(super) fn of_response(action: &str, response: &Response) -> Self {
        let (code, message) = xml::parse(&response.body)
            .and_then(|document| {
                let error = document.descendants().find(|node| node.tag_name().name() == "Error")?;
                Some((xml::text(error, "Code")?, xml::text(error, "Message").unwrap_or_default()))
            })
            .unwrap_or_default();
        let class = CODES.iter().find(|(_, codes)| codes.contains(&code.as_str())).map(|(class, _)| *class);
        let class = class.unwrap_or(match response.status {
            401 => Class::Unauthenticated,
            403 => Class::Denied,
            // Not every service that speaks EC2's language answers in it.
            404 | 501 if code.is_empty() => Class::Unsupported,
            429 => Class::Throttled,
            // From something between here and EC2, which may have got the request.
            408 | 500.. => Class::Unknown,
            _ => Class::Other,
        });
        let message: String = message.chars().take(MAX_QUOTED_BYTES).collect();
        let id = response.request_id.as_deref().map(|id| format!(" (request {id})")).unwrap_or_default();
        let said = if code.is_empty() { format!("HTTP status {}", response.status) } else { format!("{code}: {message}") };
        let is_foreign = code.is_empty();
        Self { class, code, text: format!("`{action}`: {said}{id}"), is_foreign }
    }

    /// The least pause before a repetition.
    pub(super) fn pause_ms(&self) -> u32 {
        if self.code == "SnapshotCreationPerVolumeRateExceeded" { PER_VOLUME_PAUSE_MS } else { 0 }
    }

    /// Whether nobody knows if the request was carried out.
    pub(crate) fn may_have_happened(&self) -> bool {
        self.class == Class::Unknown
    }

    /// Whether the same question may have an answer later. One that EC2 itself did not answer may never have: an imitation says so
    /// of what it does not know.
    pub(crate) fn may_pass(&self) -> bool {
        self.class == Class::Throttled || self.class == Class::Unknown && !self.is_foreign
    }

    /// The error for a request whose parameter came from this key or field.
    pub(crate) fn about(self, field: &str) -> Error {
        match self.class {
            Class::Invalid | Class::NotFound => invalid(field, self.text),
            _ => self.into(),
        }
    }
}

/// What the host is told when the provider did not expect it.
///
/// `not-found` is not passed on under that name: the host takes it for the answer that the set does not exist.
impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        let Fault { class, text, .. } = &fault;
        let text = text.clone();
        match class {
            Class::Denied => Self::Denied(text),
            Class::Unauthenticated => Self::Unauthenticated(text),
            Class::Throttled => Self::Throttled(Some(u64::from(fault.pause_ms().max(THROTTLED_PAUSE_MS)))),
            Class::Unknown => Self::Transient(text),
            Class::InUse => Self::InUse(text),
            Class::Exhausted => Self::Exhausted(text),
            Class::Busy => Self::Busy(Some(BUSY_PAUSE_MS)),
            Class::Invalid => invalid("request", text),
            Class::Unsupported => Self::Unsupported(text),
            Class::NotFound | Class::Locked | Class::Other => Self::Internal(text),
        }
    }
}
