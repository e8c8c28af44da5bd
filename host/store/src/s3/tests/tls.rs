//! A server with a certificate of the operator's own authority: trusted when it is named, refused with a hint when it is not.

use std::sync::Arc;

use stillframe_core::error::ErrorClass;
use stillframe_core::store::Store as _;
use stillframe_tests::{Dialect, OwnServer, Precondition};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::StoreSettings;
use crate::testing::{key, s3_settings_of_any_key, s3_store, whole};

/// Decrypts in front of a server; returns the base URL and the certificate.
async fn tls_before(server: &OwnServer) -> (String, String) {
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(certified.signing_key.serialize_der()).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
    let config = config.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    let config = config.with_single_cert(vec![certified.cert.der().clone()], key).unwrap();
    let (acceptor, listener) = (TlsAcceptor::from(Arc::new(config)), TcpListener::bind("127.0.0.1:0").await.unwrap());
    let port = listener.local_addr().unwrap().port();
    let host = server.endpoint().trim_start_matches("http://").to_owned();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let (acceptor, host) = (acceptor.clone(), host.clone());
            tokio::spawn(async move {
                // A client that does not trust the certificate leaves here.
                let Ok(mut client) = acceptor.accept(client).await else { return };
                let mut server = TcpStream::connect(host).await.unwrap();
                let _ended = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
    (format!("https://localhost:{port}"), certified.cert.pem())
}

#[tokio::test]
async fn trusts_the_named_authority_and_no_other() {
    let server = OwnServer::start(Dialect::S3, Precondition::Honoured);
    let (endpoint, certificate) = tls_before(&server).await;
    let (settings, directory) = s3_settings_of_any_key(&endpoint);
    let error = s3_store(&settings).await.create().await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Config, "{}", whole(&error));
    assert!(error.advice.as_deref().is_some_and(|advice| advice.contains("ca_cert_file")), "{error:?}");

    let file = directory.path().join("ca.pem");
    std::fs::write(&file, certificate).unwrap();
    let settings = StoreSettings { ca_cert_file: Some(file), ..settings };
    let store = s3_store(&settings).await;
    store.create().await.unwrap();
    store.put(&key("x"), "body".into()).await.unwrap();
    assert_eq!(store.get(&key("x")).await.unwrap().as_deref(), Some(b"body".as_slice()));
}

#[tokio::test]
async fn refuses_a_file_without_a_certificate_by_its_name() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("ca.pem");
    let (settings, _credentials) = s3_settings_of_any_key("https://127.0.0.1:1");
    let settings = StoreSettings { ca_cert_file: Some(file.clone()), ..settings };
    for text in [None, Some(""), Some("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")] {
        if let Some(text) = text {
            std::fs::write(&file, text).unwrap();
        }
        let error = crate::open(&settings).await.err().unwrap();
        assert_eq!(error.class, ErrorClass::Config, "{text:?}");
        assert!(whole(&error).contains("ca_cert_file"), "{error:?}");
    }
}
