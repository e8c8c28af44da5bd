//! Checks the signature of a request, version 4, from the specification alone: no code in common with what signs.

use std::hash::{BuildHasher as _, RandomState};

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use sha2::{Digest as _, Sha256};

use super::refusal::Refusal;
use crate::http::Request;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
/// Further away from our clock a signature has expired.
const LIFETIME: SignedDuration = SignedDuration::from_mins(5);
/// Block of SHA-256, by which HMAC fills up its key.
const BLOCK_BYTES: usize = 64;

/// An access key and its secret.
#[derive(Debug)]
pub(super) struct Credentials {
    pub(super) access_key: String,
    pub(super) secret_key: String,
}

/// What the header `Authorization` says.
struct Authorization<'a> {
    access_key: &'a str,
    date: &'a str,
    region: &'a str,
    service: &'a str,
    signed_headers: Vec<&'a str>,
    signature: &'a str,
}

impl Credentials {
    /// A pair that nobody else has, so that a search for the secret finds nothing else.
    pub(super) fn generate() -> Self {
        let keys = RandomState::new();
        let letters = |what: &str| format!("{:016x}", keys.hash_one(what));
        Self {
            access_key: format!("AKIA{}", letters("key").to_uppercase()),
            // As in a real one, with characters that a form or a URL would have to encode.
            secret_key: format!("{}+{}/{}", letters("a"), letters("b"), &letters("c")[..6]),
        }
    }

    /// Refuses what is not signed with these credentials, now, for this service in this region.
    pub(super) fn check(&self, request: &Request, service: &str, region: &str, now: Timestamp) -> Result<(), Refusal> {
        let header = request.header("authorization").ok_or_else(|| {
            let message = "The request must contain a valid (registered) AWS access key ID.";
            Refusal::new("MissingAuthenticationToken", message).with_status(403)
        })?;
        let authorization = Authorization::read(header)
            .ok_or_else(|| Refusal::new("IncompleteSignature", "The request signature does not conform to AWS standards."))?;
        let moment = request.header("x-amz-date").ok_or_else(|| Refusal::missing_parameter("X-Amz-Date"))?;
        let signed_at = read_moment(moment).ok_or_else(|| Refusal::invalid_parameter("X-Amz-Date", moment))?;
        if now.duration_since(signed_at).abs() > LIFETIME {
            return Err(Refusal::new("RequestExpired", format!("Request has expired. Timestamp date is {signed_at}.")));
        }
        let is_scoped =
            authorization.region == region && authorization.service == service && moment.starts_with(authorization.date);
        let is_complete = ["host", "x-amz-date"].iter().all(|name| authorization.signed_headers.contains(name));
        let expected = self.signature(request, &authorization, moment);
        let is_ours = authorization.access_key == self.access_key && authorization.signature == expected;
        if is_scoped && is_complete && is_ours && payload_is_as_named(request) {
            return Ok(());
        }
        // One answer for all: EC2 does not tell which it was.
        Err(Refusal::new("AuthFailure", "AWS was not able to validate the provided access credentials").with_status(401))
    }

    fn signature(&self, request: &Request, authorization: &Authorization<'_>, moment: &str) -> String {
        let Authorization { date, region, service, signed_headers, .. } = authorization;
        let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
        let mut parameters: Vec<&str> = query.split('&').filter(|pair| !pair.is_empty()).collect();
        parameters.sort_unstable();
        let headers: Vec<String> =
            signed_headers.iter().map(|name| format!("{name}:{}\n", canonical_value(request, name))).collect();
        let canonical = format!(
            "{}\n{path}\n{}\n{}\n{}\n{}",
            request.method,
            parameters.join("&"),
            headers.concat(),
            signed_headers.join(";"),
            hexadecimal(&Sha256::digest(&request.body)),
        );
        let scope = format!("{date}/{region}/{service}/aws4_request");
        let to_sign = format!("{ALGORITHM}\n{moment}\n{scope}\n{}", hexadecimal(&Sha256::digest(canonical)));
        let key = [*date, *region, *service, "aws4_request"]
            .iter()
            .fold(format!("AWS4{}", self.secret_key).into_bytes(), |key, part| hmac(&key, part.as_bytes()).to_vec());
        hexadecimal(&hmac(&key, to_sign.as_bytes()))
    }
}

impl<'a> Authorization<'a> {
    fn read(header: &'a str) -> Option<Self> {
        let fields: Vec<(&str, &str)> =
            header.strip_prefix(ALGORITHM)?.split(',').filter_map(|field| field.trim().split_once('=')).collect();
        let field = |name: &str| fields.iter().find(|(candidate, _)| *candidate == name).map(|(_, value)| *value);
        let credential: Vec<&str> = field("Credential")?.split('/').collect();
        let [access_key, date, region, service, "aws4_request"] = credential[..] else { return None };
        let signed_headers = field("SignedHeaders")?.split(';').collect();
        Some(Self { access_key, date, region, service, signed_headers, signature: field("Signature")? })
    }
}

/// A client may name the digest of the body; then it must be right.
fn payload_is_as_named(request: &Request) -> bool {
    let named = request.header("x-amz-content-sha256");
    named.is_none_or(|named| named == hexadecimal(&Sha256::digest(&request.body)))
}

/// Without the spaces that do not count.
fn canonical_value(request: &Request, name: &str) -> String {
    request.header(name).unwrap_or_default().split(' ').filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
}

fn read_moment(text: &str) -> Option<Timestamp> {
    let moment = DateTime::strptime("%Y%m%dT%H%M%SZ", text).ok()?;
    Some(moment.to_zoned(TimeZone::UTC).ok()?.timestamp())
}

fn hmac(key: &[u8], message: &[u8]) -> [u8; 32] {
    let mut block = [0; BLOCK_BYTES];
    let short = if key.len() > BLOCK_BYTES { Sha256::digest(key).to_vec() } else { key.to_vec() };
    block[..short.len()].copy_from_slice(&short);
    let padded = |pad: u8| block.map(|byte| byte ^ pad);
    let inner = Sha256::new().chain_update(padded(0x36)).chain_update(message).finalize();
    Sha256::new().chain_update(padded(0x5c)).chain_update(inner).finalize().into()
}

pub(super) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}
