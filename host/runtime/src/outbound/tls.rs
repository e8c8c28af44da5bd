//! Connectors, each made when the first request needs it: reading the system's certificates takes milliseconds.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use aws_smithy_http_client::Connector;
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use aws_smithy_runtime_api::client::http::{HttpConnectorSettings, SharedHttpConnector};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use url::Url;

use super::{NoAnswer, is_loopback};

/// Longest time to reach a server; packets that are dropped in silence are repeated twice in it.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Connectors by kind.
pub(super) struct Connectors {
    /// Trusted besides the system's.
    ca_cert_file: Option<PathBuf>,
    made: Mutex<HashMap<Kind, SharedHttpConnector>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    Plain,
    Tls,
    TlsPerhapsThroughProxy,
}

impl Connectors {
    pub(super) fn new(ca_cert_file: Option<PathBuf>) -> Self {
        Self { ca_cert_file, made: Mutex::default() }
    }

    /// The connector for requests to this URL.
    pub(super) fn towards(&self, url: &Url) -> Result<SharedHttpConnector, NoAnswer> {
        let kind = match url.scheme() {
            "https" if is_loopback(url) => Kind::Tls,
            "https" => Kind::TlsPerhapsThroughProxy,
            _ => Kind::Plain,
        };
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(connector) = made.get(&kind) {
            return Ok(connector.clone());
        }
        let connector = self.make(kind)?;
        Ok(made.entry(kind).or_insert(connector).clone())
    }

    fn make(&self, kind: Kind) -> Result<SharedHttpConnector, NoAnswer> {
        let settings = HttpConnectorSettings::builder().connect_timeout(CONNECT_TIMEOUT).build();
        let builder = Connector::builder().connector_settings(settings);
        let proxy = match kind {
            Kind::Plain => return Ok(SharedHttpConnector::new(builder.proxy_config(ProxyConfig::disabled()).build_http())),
            Kind::Tls => ProxyConfig::disabled(),
            Kind::TlsPerhapsThroughProxy => ProxyConfig::from_env(),
        };
        let builder = builder.proxy_config(proxy).tls_provider(Provider::Rustls(CryptoMode::Ring));
        Ok(SharedHttpConnector::new(builder.tls_context(self.trust()?).build()))
    }

    fn trust(&self) -> Result<TlsContext, NoAnswer> {
        let mut trusted = TrustStore::default();
        if let Some(path) = &self.ca_cert_file {
            trusted = trusted.with_pem_certificate(certificates(path)?);
        }
        let context = TlsContext::builder().with_trust_store(trusted).build();
        context.map_err(|_| NoAnswer("TLS cannot be set up".to_owned()))
    }
}

/// Checked here: the client takes a certificate that it cannot read for a fault of the program.
fn certificates(path: &Path) -> Result<Vec<u8>, NoAnswer> {
    let unusable = |reason: String| NoAnswer(format!("the host cannot use its `ca_cert_file`: {reason}"));
    let text = fs::read(path).map_err(|error| unusable(error.to_string()))?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&text) {
        let certificate = certificate.map_err(|error| unusable(error.to_string()))?;
        roots.add(certificate).map_err(|error| unusable(error.to_string()))?;
    }
    if roots.is_empty() { Err(unusable("it holds no certificate in PEM".to_owned())) } else { Ok(text) }
}
