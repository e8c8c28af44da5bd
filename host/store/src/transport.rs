//! HTTP and TLS for every vendor: one client, with ring, the system's certificates and the operator's own.
//!
//! Certificates are read when the first `https` request is made and not before, since reading them takes milliseconds and a plain
//! endpoint needs none. Proxies come from the environment, as everywhere.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_sdk_s3::config::SharedHttpClient;
use aws_smithy_http_client::Connector;
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::result::ConnectorError;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use crate::remote::{Fault, Reason};

/// Longest time to reach a server; the packets of a connection that is refused by silence are repeated twice in it.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Where requests go out. Clones share their connections.
#[derive(Debug, Clone)]
pub(crate) struct Transport {
    context: TlsContext,
    connectors: Arc<Mutex<HashMap<Kind, SharedHttpConnector>>>,
}

/// What tells connectors apart: TLS, and the times to connect and to read; instance metadata wants shorter ones than a store.
type Kind = (bool, Option<Duration>, Option<Duration>);

impl Transport {
    /// Reads the operator's certificates, if there are some.
    pub(crate) fn new(ca_cert_file: Option<&Path>) -> Result<Self, Fault> {
        let mut trusted = TrustStore::default();
        if let Some(path) = ca_cert_file {
            let file = |source: Reason| Fault::File { key: "ca_cert_file", path: path.to_owned(), source };
            let text = fs::read(path).map_err(|error| file(Reason::of(&error)))?;
            // The client takes a certificate that it cannot read for a fault of the program.
            check_certificates(&text).map_err(file)?;
            trusted = trusted.with_pem_certificate(text);
        }
        let context = TlsContext::builder().with_trust_store(trusted).build();
        let context = context.map_err(|error| Fault::Settings { source: Reason::of(&error) })?;
        Ok(Self { context, connectors: Arc::default() })
    }

    /// A client for the vendor's library.
    pub(crate) fn client(&self) -> SharedHttpClient {
        let transport = self.clone();
        http_client_fn(move |settings, _| transport.route(settings.clone()))
    }

    /// A connector for requests that we make ourselves.
    pub(crate) fn connector(&self) -> SharedHttpConnector {
        self.route(HttpConnectorSettings::builder().connect_timeout(CONNECT_TIMEOUT).build())
    }

    fn route(&self, settings: HttpConnectorSettings) -> SharedHttpConnector {
        SharedHttpConnector::new(Route { transport: self.clone(), settings })
    }

    fn of(&self, is_tls: bool, settings: &HttpConnectorSettings) -> SharedHttpConnector {
        let mut connectors = self.connectors.lock().unwrap_or_else(PoisonError::into_inner);
        let kind = (is_tls, settings.connect_timeout(), settings.read_timeout());
        connectors.entry(kind).or_insert_with(|| self.make(is_tls, settings.clone())).clone()
    }

    fn make(&self, is_tls: bool, settings: HttpConnectorSettings) -> SharedHttpConnector {
        let builder = Connector::builder().connector_settings(settings).proxy_config(ProxyConfig::from_env());
        if !is_tls {
            return SharedHttpConnector::new(builder.build_http());
        }
        let builder = builder.tls_provider(Provider::Rustls(CryptoMode::Ring));
        SharedHttpConnector::new(builder.tls_context(self.context.clone()).build())
    }
}

/// Chooses the connector by the scheme of each request.
#[derive(Debug)]
struct Route {
    transport: Transport,
    settings: HttpConnectorSettings,
}

impl HttpConnector for Route {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let is_tls = match request.uri().split_once("://") {
            Some(("https", _)) => true,
            Some(("http", _)) => false,
            _ => return HttpConnectorFuture::ready(Err(ConnectorError::user("a URL that is neither https nor http".into()))),
        };
        self.transport.of(is_tls, &self.settings).call(request)
    }
}

fn check_certificates(text: &[u8]) -> Result<(), Reason> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(text) {
        let certificate = certificate.map_err(|error| Reason::of(&error))?;
        roots.add(certificate).map_err(|error| Reason::of(&error))?;
    }
    if roots.is_empty() { Err(Reason::new("it holds no certificate in PEM")) } else { Ok(()) }
}
