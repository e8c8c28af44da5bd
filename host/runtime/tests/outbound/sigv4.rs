//! Signature Version 4 once more, from its description and without the vendor's code: what a service does to verify a request.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};

use crate::harness::{ACCESS_KEY, SECRET_KEY};
use crate::server::Received;

/// What a signature was made for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Scope {
    pub(crate) region: String,
    pub(crate) service: String,
}

/// The signature that a request has.
pub(crate) fn signature(request: &Received) -> String {
    field(request, "Signature=").to_owned()
}

/// Checks the signature of a request to `/` without a query, as the service that knows the secret; panics where it is wrong.
pub(crate) fn verify(request: &Received) -> Scope {
    let signed = field(request, "SignedHeaders=");
    let names: Vec<&str> = signed.split(';').collect();
    for needed in ["host", "content-type", "x-amz-date", "x-amz-security-token"] {
        assert!(names.contains(&needed), "`{needed}` is not signed: {signed}");
    }
    let headers = names
        .iter()
        .map(|name| format!("{name}:{}\n", request.header(name).unwrap_or_else(|| panic!("no `{name}`")).trim()))
        .collect::<Vec<_>>()
        .concat();
    let method = request.head.split(' ').next().unwrap();
    let canonical = format!("{method}\n/\n\n{headers}\n{signed}\n{}", hex(&Sha256::digest(request.body.as_bytes())));

    let scope: Vec<&str> = field(request, "Credential=").split('/').collect();
    let [access_key, day, region, service, end] = scope[..] else { panic!("{scope:?}") };
    assert_eq!((access_key, end), (ACCESS_KEY, "aws4_request"));
    let time = request.header("x-amz-date").unwrap();
    assert!(time.starts_with(day), "{time} {day}");
    let to_sign =
        format!("AWS4-HMAC-SHA256\n{time}\n{day}/{region}/{service}/aws4_request\n{}", hex(&Sha256::digest(canonical.as_bytes())));
    let key = [day, region, service, "aws4_request"]
        .into_iter()
        .fold(format!("AWS4{SECRET_KEY}").into_bytes(), |key, part| mac(&key, part.as_bytes()));
    assert_eq!(signature(request), hex(&mac(&key, to_sign.as_bytes())), "{}", request.head);
    Scope { region: region.to_owned(), service: service.to_owned() }
}

fn field<'a>(request: &'a Received, begin: &str) -> &'a str {
    let header = request.header("authorization").unwrap();
    let fields = header.strip_prefix("AWS4-HMAC-SHA256 ").unwrap();
    fields.split(", ").find_map(|field| field.strip_prefix(begin)).unwrap_or_else(|| panic!("no `{begin}` in {header}"))
}

fn mac(key: &[u8], text: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(text);
    mac.finalize().into_bytes().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat()
}
