//! Encrypts a connection: asks the server, reads the certificate files, shakes hands.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use stillframe_core::postgres::ConnectionFault;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::Transport;
use super::verifier::{Roots, Trust, Verifier};
use crate::settings::{ConnectSettings, Endpoint, Host, SslMode, SslNegotiation, TlsFiles, TlsVersion};

/// The message that asks a PostgreSQL server for TLS: its length, and the code 1234.5679.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];
/// The protocol name that `sslnegotiation=direct` must announce.
const ALPN: &[u8] = b"postgresql";

/// What the server made of the wish for TLS.
#[derive(Debug)]
pub(crate) enum Encryption {
    /// The stream is encrypted.
    On(Transport),
    /// The server has no TLS; the stream is as it was.
    NotOffered(Transport),
    /// The handshake failed.
    Failed(ConnectionFault),
}

/// Asks for TLS on a fresh connection; a Unix socket is never encrypted.
pub(crate) async fn encrypt(transport: Transport, host: &Host, settings: &ConnectSettings) -> Result<Encryption, ConnectionFault> {
    let Transport::Tcp(mut stream) = transport else { return Ok(Encryption::NotOffered(transport)) };
    // Before a byte is sent: a certificate file that is wrong is the operator's to mend, not a reason to go on without TLS.
    let config = client_config(settings).map_err(ConnectionFault::Settings)?;
    let name = server_name(host, settings.ssl_mode)?;
    if settings.ssl_negotiation == SslNegotiation::Postgres && !is_offered(&mut stream).await? {
        return Ok(Encryption::NotOffered(Transport::Tcp(stream)));
    }
    match TlsConnector::from(Arc::new(config)).connect(name, stream).await {
        Ok(stream) => Ok(Encryption::On(Transport::Tls(Box::new(stream)))),
        Err(error) => Ok(Encryption::Failed(handshake_fault(&error))),
    }
}

/// Asks the server in clear. Only one byte is read: whatever follows it must come through TLS.
async fn is_offered(stream: &mut TcpStream) -> Result<bool, ConnectionFault> {
    let lost = |error: std::io::Error| ConnectionFault::Lost(error.to_string());
    stream.write_all(&SSL_REQUEST).await.map_err(lost)?;
    match stream.read_u8().await.map_err(lost)? {
        b'S' => Ok(true),
        b'N' => Ok(false),
        _ => Err(ConnectionFault::Lost("what listens there does not speak PostgreSQL's protocol".to_owned())),
    }
}

fn handshake_fault(error: &std::io::Error) -> ConnectionFault {
    let about_certificate = error
        .get_ref()
        .and_then(|cause| cause.downcast_ref::<rustls::Error>())
        .is_some_and(|cause| matches!(cause, rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented));
    let message = format!("TLS: {error}");
    if about_certificate { ConnectionFault::Authentication(message) } else { ConnectionFault::Lost(message) }
}

fn server_name(host: &Host, mode: SslMode) -> Result<ServerName<'static>, ConnectionFault> {
    let Endpoint::Network { name, address } = &host.endpoint else {
        return Err(ConnectionFault::Settings("a Unix socket is never encrypted".to_owned()));
    };
    match (name, address) {
        (Some(name), _) => ServerName::try_from(name.clone())
            .map_err(|_| ConnectionFault::Settings(format!("`{name}` is not a name that a certificate can have"))),
        (None, Some(_)) if mode == SslMode::VerifyFull => {
            Err(ConnectionFault::Settings("`sslmode=verify-full` needs `host`, not only `hostaddr`".to_owned()))
        }
        (None, Some(address)) => Ok(ServerName::from(*address)),
        (None, None) => Err(ConnectionFault::Settings("there is no `host`".to_owned())),
    }
}

fn client_config(settings: &ConnectSettings) -> Result<ClientConfig, String> {
    let files = &settings.tls;
    // Named here and never installed for the process: other parts of the program may use another one.
    let crypto = Arc::new(ring::default_provider());
    let trust = trust(settings.ssl_mode, files, &crypto)?;
    let builder = ClientConfig::builder_with_provider(Arc::clone(&crypto))
        .with_protocol_versions(&versions(files))
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Verifier { trust, crypto }));
    let mut config = match client_certificate(files)? {
        Some((chain, key)) => {
            builder.with_client_auth_cert(chain, key).map_err(|error| format!("the client certificate and its key: {error}"))?
        }
        None => builder.with_no_client_auth(),
    };
    config.enable_sni = files.server_name_indication;
    if settings.ssl_negotiation == SslNegotiation::Direct {
        config.alpn_protocols = vec![ALPN.to_vec()];
    }
    Ok(config)
}

fn versions(files: &TlsFiles) -> Vec<&'static SupportedProtocolVersion> {
    let all = [(TlsVersion::V1_2, &TLS12), (TlsVersion::V1_3, &TLS13)];
    all.into_iter().filter(|(version, _)| (files.oldest..=files.newest).contains(version)).map(|(_, version)| version).collect()
}

/// As libpq: a root file that exists is used in every mode; the `verify` modes need one.
fn trust(mode: SslMode, files: &TlsFiles, crypto: &Arc<rustls::crypto::CryptoProvider>) -> Result<Trust, String> {
    let certificates = if files.system_roots {
        rustls_native_certs::load_native_certs().certs
    } else {
        match &files.root {
            Some(path) => certificates_of(path)?.unwrap_or_default(),
            None => Vec::new(),
        }
    };
    if certificates.is_empty() {
        let path = files.root.as_ref().map_or_else(|| "~/.postgresql/root.crt".to_owned(), |path| path.display().to_string());
        return match mode {
            _ if files.system_roots => {
                Err("the system has no trusted certificates: install the package ca-certificates".to_owned())
            }
            SslMode::VerifyCa | SslMode::VerifyFull => {
                Err(format!("the root certificate file `{path}` does not exist or is empty"))
            }
            _ => Ok(Trust::Anybody),
        };
    }
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(certificates.iter().cloned());
    let mut chains = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(crypto));
    if let Some(path) = files.revoked.as_ref().filter(|path| path.exists()) {
        let lists: Result<Vec<_>, _> = CertificateRevocationListDer::pem_file_iter(path).and_then(Iterator::collect);
        chains = chains.with_crls(lists.map_err(|error| format!("the revocation list `{}`: {error}", path.display()))?);
    }
    let chains = chains.build().map_err(|error| format!("the trusted certificates: {error}"))?;
    let roots = Roots { chains, certificates };
    Ok(if mode == SslMode::VerifyFull { Trust::AuthorityAndName(roots) } else { Trust::Authority(roots) })
}

fn client_certificate(files: &TlsFiles) -> Result<Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>, String> {
    let Some(path) = &files.certificate else { return Ok(None) };
    let Some(chain) = certificates_of(path)? else {
        // Where libpq goes on without it, we say so: somebody named this file.
        let missing = || Err(format!("the client certificate `{}` does not exist", path.display()));
        return if files.certificate_is_named { missing() } else { Ok(None) };
    };
    let key_path = files.key.as_ref().ok_or("there is a client certificate and no `sslkey`")?;
    let metadata = fs::metadata(key_path).map_err(|error| format!("the key `{}`: {error}", key_path.display()))?;
    // As libpq: root may keep one key for a group, everybody else keeps it to himself.
    let too_open = if metadata.uid() == 0 { 0o037 } else { 0o077 };
    if !metadata.is_file() || metadata.mode() & too_open != 0 {
        return Err(format!("others can read the key `{}`: its permissions should be u=rw (0600) or less", key_path.display()));
    }
    let unreadable = |error| format!("the key `{}`, which must not be encrypted: {error}", key_path.display());
    Ok(Some((chain, PrivateKeyDer::from_pem_file(key_path).map_err(unreadable)?)))
}

/// The certificates of a file; none when it does not exist.
fn certificates_of(path: &Path) -> Result<Option<Vec<CertificateDer<'static>>>, String> {
    match fs::read(path) {
        Ok(pem) => CertificateDer::pem_slice_iter(&pem)
            .collect::<Result<Vec<_>, _>>()
            .map(Some)
            .map_err(|error| format!("the certificate file `{}`: {error}", path.display())),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(format!("the certificate file `{}` cannot be read: {error}", path.display())),
    }
}
