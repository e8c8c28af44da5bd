//! Encryption with certificates made here: what each `sslmode` accepts and refuses.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType, IsCa, KeyIdMethod, KeyPair,
    KeyUsagePurpose, RevokedCertParams, SerialNumber, date_time_ymd,
};
use stillframe_core::postgres::{Connection, ConnectionFault};
use stillframe_tests::{Account, Cluster, ScratchDirectory};

use super::{connect_to, connect_with, fault_of, words};

/// A certificate and its key, as PEM.
struct Pair {
    certificate: String,
    key: String,
}

/// An authority that signs for one test.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(DnType::CommonName, "authority of a test");
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// A list that revokes one certificate.
    fn revoke(&self, serial_number: &SerialNumber) -> String {
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(2020, 1, 1),
            next_update: date_time_ymd(4000, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: vec![RevokedCertParams {
                serial_number: serial_number.clone(),
                revocation_time: date_time_ymd(2020, 1, 1),
                reason_code: None,
                invalidity_date: None,
            }],
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.0).unwrap().pem().unwrap()
    }

    fn pem(&self) -> String {
        self.0.pem()
    }

    fn sign(&self, common_name: &str, names: &[&str]) -> Pair {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name.push(DnType::CommonName, common_name);
        let key = KeyPair::generate().unwrap();
        Pair { certificate: params.signed_by(&key, &self.0).unwrap().pem(), key: key.serialize_pem() }
    }
}

/// A server with TLS on, and a directory for the files of the client.
struct Server {
    cluster: Cluster,
    client: ScratchDirectory,
}

impl Server {
    fn start(major: u32, pair: &Pair, client_authority: &str, hba: &str) -> Self {
        let mut cluster = Cluster::builder(major).setting("ssl", "on").setting("ssl_ca_file", "ca.crt").create();
        let account = Account::unprivileged();
        for (name, contents) in
            [("server.crt", &pair.certificate), ("server.key", &pair.key), ("ca.crt", &client_authority.to_owned())]
        {
            let path = cluster.data_directory().join(name);
            account.write(&path, contents);
            fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        }
        cluster.write_hba(&format!("local all all trust\n{hba}\n"));
        cluster.start();
        Self { cluster, client: ScratchDirectory::create() }
    }

    /// Writes a file of the client.
    fn file(&self, name: &str, contents: &str) -> PathBuf {
        let path = self.client.join(name);
        fs::write(&path, contents).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        path
    }

    fn conninfo(&self, rest: &str) -> String {
        format!("host=localhost port={} user=postgres dbname=postgres {rest}", self.cluster.port())
    }

    /// Whether the sessions of this conninfo are encrypted, as the server sees them.
    async fn is_encrypted(&self, rest: &str) -> bool {
        let mut connection = connect_to(&self.conninfo(rest)).await.unwrap_or_else(|error| panic!("{rest}: {}", words(&error)));
        connection.ping().await.unwrap();
        let ssl = self
            .cluster
            .value("SELECT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE application_name = 'stillframe'");
        connection.close().await;
        self.cluster.wait_until("SELECT count(*) = 0 FROM pg_stat_activity WHERE application_name = 'stillframe'");
        ssl == "t"
    }

    /// Asserts that the connection is refused for its certificate.
    async fn assert_untrusted(&self, rest: &str) {
        let (fault, words) = fault_of(&self.conninfo(rest)).await;
        assert!(matches!(fault, ConnectionFault::Authentication(_)) && words.contains("certificate"), "{rest}: {words}");
    }
}

#[tokio::test]
async fn each_mode_trusts_what_libpq_trusts() {
    for major in [12, 15, 18] {
        let (authority, other) = (Authority::new(), Authority::new());
        let server = Server::start(major, &authority.sign("server", &["localhost"]), &authority.pem(), "host all all all trust");
        let root = server.file("root.crt", &authority.pem()).display().to_string();
        let wrong = server.file("wrong.crt", &other.pem()).display().to_string();
        assert!(!server.is_encrypted("sslmode=disable").await);
        assert!(!server.is_encrypted("sslmode=allow").await);
        for rest in ["sslmode=prefer".to_owned(), "sslmode=require".to_owned(), format!("sslmode=require sslrootcert={root}")] {
            assert!(server.is_encrypted(&rest).await, "{rest}");
        }
        for mode in ["verify-ca", "verify-full"] {
            assert!(server.is_encrypted(&format!("sslmode={mode} sslrootcert={root}")).await);
            server.assert_untrusted(&format!("sslmode={mode} sslrootcert={wrong}")).await;
            let (fault, words) = fault_of(&server.conninfo(&format!("sslmode={mode} sslrootcert={root}.not"))).await;
            assert!(matches!(fault, ConnectionFault::Settings(_)) && words.contains("root.crt.not"), "{words}");
        }
        // A root file turns `require` into `verify-ca`; that is where libpq surprises people, and what they rely on.
        server.assert_untrusted(&format!("sslmode=require sslrootcert={wrong}")).await;
        // The system's authorities have not signed for a test.
        server.assert_untrusted("sslrootcert=system").await;
    }
}

#[tokio::test]
async fn only_verify_full_looks_at_the_name() {
    let authority = Authority::new();
    let server = Server::start(15, &authority.sign("server", &["other.example"]), &authority.pem(), "host all all all trust");
    let root = server.file("root.crt", &authority.pem()).display().to_string();
    assert!(server.is_encrypted(&format!("sslmode=verify-ca sslrootcert={root}")).await);
    server.assert_untrusted(&format!("sslmode=verify-full sslrootcert={root}")).await;
    // `hostaddr` says where, `host` says who.
    let elsewhere = format!(
        "host=other.example hostaddr=127.0.0.1 port={} user=postgres sslmode=verify-full sslrootcert={root}",
        server.cluster.port()
    );
    connect_to(&elsewhere).await.unwrap();
}

#[tokio::test]
async fn a_self_signed_certificate_can_be_its_own_root_until_it_expires() {
    let self_signed = |not_after| {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        // As `openssl req -x509` makes it: marked as an authority.
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.not_after = not_after;
        let key = KeyPair::generate().unwrap();
        Pair { certificate: params.self_signed(&key).unwrap().pem(), key: key.serialize_pem() }
    };
    for (not_after, is_valid) in [(date_time_ymd(4000, 1, 1), true), (date_time_ymd(2001, 1, 1), false)] {
        let pair = self_signed(not_after);
        let server = Server::start(15, &pair, &pair.certificate, "host all all all trust");
        let root = server.file("root.crt", &pair.certificate).display().to_string();
        let rest = format!("sslmode=verify-full sslrootcert={root}");
        if is_valid {
            assert!(server.is_encrypted(&rest).await);
        } else {
            server.assert_untrusted(&rest).await;
        }
    }
}

#[tokio::test]
async fn a_revoked_certificate_is_refused() {
    let authority = Authority::new();
    let serials = [1, 2].map(|number| SerialNumber::from(vec![number]));
    for (revoked, is_refused) in [(&serials[0], true), (&serials[1], false)] {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.serial_number = Some(serials[0].clone());
        let key = KeyPair::generate().unwrap();
        let pair = Pair { certificate: params.signed_by(&key, &authority.0).unwrap().pem(), key: key.serialize_pem() };
        let server = Server::start(15, &pair, &authority.pem(), "host all all all trust");
        let root = server.file("root.crt", &authority.pem()).display().to_string();
        let list = server.file("root.crl", &authority.revoke(revoked)).display().to_string();
        let rest = format!("sslmode=verify-ca sslrootcert={root} sslcrl={list}");
        if is_refused {
            server.assert_untrusted(&rest).await;
        } else {
            assert!(server.is_encrypted(&rest).await);
        }
        // A list that cannot be read must not pass for an empty one.
        server.file("root.crl", "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n");
        let (fault, _) = fault_of(&server.conninfo(&rest)).await;
        assert!(matches!(fault, ConnectionFault::Settings(_)), "{fault:?}");
    }
}

#[tokio::test]
async fn a_client_certificate_logs_in_and_its_key_must_be_private() {
    let authority = Authority::new();
    let server = Server::start(
        15,
        &authority.sign("server", &["localhost"]),
        &authority.pem(),
        "hostssl all all all cert\nhost all all all reject",
    );
    let pair = authority.sign("postgres", &[]);
    let certificate = server.file("postgresql.crt", &pair.certificate).display().to_string();
    let key = server.file("postgresql.key", &pair.key);
    let named = format!("sslmode=require sslcert={certificate} sslkey={}", key.display());
    assert!(server.is_encrypted(&named).await);

    let stranger = authority.sign("stranger", &[]);
    let strange = server.file("strange.crt", &stranger.certificate).display().to_string();
    let strange_key = server.file("strange.key", &stranger.key).display().to_string();
    let (fault, _) = fault_of(&server.conninfo(&format!("sslmode=require sslcert={strange} sslkey={strange_key}"))).await;
    assert!(matches!(fault, ConnectionFault::Authentication(_)), "{fault:?}");
    let (fault, _) = fault_of(&server.conninfo("sslmode=require")).await;
    assert!(matches!(fault, ConnectionFault::Authentication(_)), "{fault:?}");

    for (rest, word) in [
        (format!("sslmode=require sslcert={certificate} sslkey={strange_key}"), "certificate"),
        (format!("sslmode=require sslcert={certificate}.not sslkey={}", key.display()), "does not exist"),
    ] {
        let (fault, words) = fault_of(&server.conninfo(&rest)).await;
        assert!(matches!(fault, ConnectionFault::Settings(_)) && words.contains(word), "{words}");
    }
    fs::set_permissions(&key, Permissions::from_mode(0o644)).unwrap();
    let (fault, words) = fault_of(&server.conninfo(&named)).await;
    assert!(matches!(fault, ConnectionFault::Settings(_)) && words.contains("0600"), "{words}");
}

#[tokio::test]
async fn files_below_home_are_found() {
    let authority = Authority::new();
    let server = Server::start(15, &authority.sign("server", &["localhost"]), &authority.pem(), "hostssl all all all cert");
    let pair = authority.sign("postgres", &[]);
    fs::create_dir(server.client.join(".postgresql")).unwrap();
    for (name, contents) in [("root.crt", &authority.pem()), ("postgresql.crt", &pair.certificate), ("postgresql.key", &pair.key)] {
        server.file(&format!(".postgresql/{name}"), contents);
    }
    let home = server.client.path().to_str().unwrap();
    connect_with(&server.conninfo("sslmode=verify-full"), &[("HOME", home)]).await.unwrap();
}

#[tokio::test]
async fn allow_and_prefer_go_the_other_way_when_the_server_refuses_the_first() {
    let authority = Authority::new();
    let pair = authority.sign("server", &["localhost"]);
    let only_tls = Server::start(15, &pair, &authority.pem(), "hostssl all all all trust");
    assert!(only_tls.is_encrypted("sslmode=allow").await);
    let (fault, _) = fault_of(&only_tls.conninfo("sslmode=disable")).await;
    assert!(matches!(fault, ConnectionFault::Authentication(_)), "{fault:?}");
    let only_clear = Server::start(15, &pair, &authority.pem(), "hostnossl all all all trust");
    assert!(!only_clear.is_encrypted("sslmode=prefer").await);
    let (fault, _) = fault_of(&only_clear.conninfo("sslmode=require")).await;
    assert!(matches!(fault, ConnectionFault::Authentication(_)), "{fault:?}");
}

#[tokio::test]
async fn require_never_goes_without_tls() {
    let cluster = Cluster::builder(15).start();
    let (fault, words) = fault_of(&format!("{} sslmode=require", cluster.tcp_conninfo())).await;
    assert!(matches!(fault, ConnectionFault::Settings(_)) && words.contains("does not support TLS"), "{words}");
    connect_to(&format!("{} sslmode=prefer", cluster.tcp_conninfo())).await.unwrap();
}

#[tokio::test]
async fn scram_binds_to_the_channel() {
    for major in [12, 15, 18] {
        let authority = Authority::new();
        let pair = authority.sign("server", &["localhost"]);
        let server = Server::start(major, &pair, &authority.pem(), "host all all all scram-sha-256");
        server.cluster.sql("SET password_encryption = 'scram-sha-256'; ALTER ROLE postgres PASSWORD 'open sesame'");
        let rest = "password='open sesame' channel_binding=require";
        assert!(server.is_encrypted(&format!("{rest} sslmode=require")).await);
        let (fault, _) = fault_of(&server.conninfo(&format!("{rest} sslmode=disable"))).await;
        assert!(matches!(fault, ConnectionFault::Authentication(_)), "{fault:?}");
    }
}

#[tokio::test]
async fn direct_negotiation_works_from_17() {
    let authority = Authority::new();
    let server = Server::start(17, &authority.sign("server", &["localhost"]), &authority.pem(), "host all all all trust");
    let root = server.file("root.crt", &authority.pem()).display().to_string();
    assert!(server.is_encrypted(&format!("sslmode=verify-full sslrootcert={root} sslnegotiation=direct")).await);
}
