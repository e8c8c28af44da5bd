//! TLS: a certificate is trusted because the system or the operator says so, and not otherwise.

use std::fs;
use std::sync::Arc;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use serde_json::json;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use crate::harness::{TOKEN, aws_call, called, http_policy, query, runtime_without_keys, settings, token};
use crate::server::{Server, answer};

/// A server with a certificate that nobody knows, and the certificate.
async fn server(name: &str) -> (Server, String) {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed([name.to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    let config =
        ServerConfig::builder_with_provider(Arc::new(ring::default_provider())).with_safe_default_protocol_versions().unwrap();
    let config = config.with_no_client_auth().with_single_cert(vec![cert.der().clone()], key).unwrap();
    let server = Server::start_with(Some(TlsAcceptor::from(Arc::new(config))), |_| answer(200, &[], "over TLS")).await;
    (server, cert.pem())
}

#[tokio::test]
async fn trusts_the_certificates_of_the_system_and_of_the_operator_and_no_others() {
    let (place, token) = token();
    let file = place.path().join("ca.pem");
    for (name, is_trusted, ends_with) in [
        ("127.0.0.1", true, "8 bytes: over TLS found: []"),
        ("127.0.0.1", false, "UnknownIssuer\") found: []"),
        ("other.example", true, "found: []"),
    ] {
        let (server, certificate) = server(name).await;
        fs::write(&file, certificate).unwrap();
        let url = format!("https://{}", server.authority());
        let mut policy = http_policy(&url, &token);
        if is_trusted {
            policy = format!("{policy}ca_cert_file = \"{}\"\n", file.display());
        }
        let call = json!({ "method": "GET", "url": format!("{url}/api/"), "credential": "array" });
        let told = called(&runtime_without_keys(), settings(&policy, json!({ "calls": [{ "http": call }] }))).await.unwrap();
        assert!(told[0].ends_with(ends_with), "{name}: {told:?}");
        let is_reached = name == "127.0.0.1" && is_trusted;
        assert_eq!(told[0].starts_with("200 "), is_reached, "{name}: {told:?}");
        let received = server.received();
        assert_eq!(received.len(), usize::from(is_reached));
        assert!(received.iter().all(|request| request.head.contains(TOKEN)));
    }
}

#[tokio::test]
async fn signs_nothing_for_a_service_whose_certificate_is_not_trusted() {
    let (server, _) = server("127.0.0.1").await;
    let told = aws_call(&format!("https://{}", server.authority()), query("DescribeVolumes")).await;
    assert!(told.starts_with("AwsError::Failed(\"there is no answer: ") && told.contains("UnknownIssuer"), "{told}");
    assert!(server.received().is_empty());
}

#[tokio::test]
async fn a_file_of_certificates_that_cannot_be_used_is_named_by_its_key() {
    let (place, token) = token();
    for content in ["", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        let file = place.path().join("ca.pem");
        fs::write(&file, content).unwrap();
        let policy = format!("{}ca_cert_file = \"{}\"\n", http_policy("https://127.0.0.1:1", &token), file.display());
        let call = json!({ "http": { "method": "GET", "url": "https://127.0.0.1:1/api/" } });
        let told = called(&runtime_without_keys(), settings(&policy, json!({ "calls": [call] }))).await.unwrap();
        assert!(told[0].starts_with("HttpError::Failed(\"the host cannot use its `ca_cert_file`: "), "{told:?}");
    }
}
