use std::path::Path;
use std::time::Duration;

use stillframe_core::catalog::Compression;
use stillframe_core::error::Classify;
use stillframe_core::flows::Guarding;
use stillframe_core::spool::AheadSettings;
use stillframe_store::{Encryption, StoreSettings};

use super::{ArchiveConfig, Config, ConfigError, IdentitySource, Origin, Variables};

const SMALLEST: &str = r#"
[cluster]
name = "main"
pgdata = "/var/lib/postgresql/15/main"
[store]
url = "file:///var/lib/stillframe/store"
[provider.hardlink]
root = "/var/lib/stillframe/snapshots"
"#;

pub(super) fn load(text: &str, variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("stillframe.toml");
    std::fs::write(&path, text).unwrap();
    let variables: Variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Config::load(Some(&path), &variables)
}

fn refusal(text: &str) -> (String, String) {
    let error = load(text, &[]).unwrap_err();
    (error.to_string(), error.hint().unwrap_or_default())
}

#[test]
fn the_smallest_configuration_works() {
    let config = load(SMALLEST, &[]).unwrap();
    assert_eq!(config.cluster.as_str(), "main");
    assert_eq!(config.providers.len(), 1);
    assert_eq!(config.values["backup.checkpoint"].origin, Origin::Default);
}

#[test]
fn an_unknown_key_is_an_error_that_names_the_nearest() {
    let (message, hint) = refusal("[cluster]\nnmae = \"main\"\n");
    assert!(message.contains("`cluster.nmae`"), "{message}");
    assert!(hint.contains("`cluster.name`"), "{hint}");
    let (message, hint) = refusal("[sotre]\nurl = \"file:///x\"\n");
    assert!(message.contains("`sotre`") && hint.contains("`store`"), "{message} {hint}");
    let error = load(SMALLEST, &[("STILLFRAME_CLUSTER_NMAE", "x")]).unwrap_err();
    assert!(error.hint().unwrap().contains("STILLFRAME_CLUSTER_NAME"), "{error}");
}

#[test]
fn variables_overrule_the_file_and_say_so() {
    let config = load(SMALLEST, &[("STILLFRAME_CLUSTER_NAME", "other"), ("PGDATA", "/elsewhere")]).unwrap();
    assert_eq!(config.cluster.as_str(), "other");
    assert_eq!(config.values["cluster.name"].origin, Origin::Variable("STILLFRAME_CLUSTER_NAME".to_owned()));
    assert_eq!(config.pgdata.as_deref(), Some(Path::new("/var/lib/postgresql/15/main")), "PGDATA only fills a gap");
}

#[test]
fn a_missing_key_says_how_to_set_it() {
    let (message, hint) = refusal("[store]\nurl = \"file:///x\"\n");
    assert!(message.contains("`cluster.name`"), "{message}");
    assert!(hint.contains("[cluster]") && hint.contains("STILLFRAME_CLUSTER_NAME"), "{hint}");
}

#[test]
fn refuses_values_that_cannot_be() {
    for (text, key) in [
        ("[cluster]\nname = \"a/b\"\n[store]\nurl = \"file:///x\"\n", "cluster.name"),
        ("[cluster]\nname = \"a\"\npgdata = \"relative\"\n[store]\nurl = \"file:///x\"\n", "cluster.pgdata"),
        ("[cluster]\nname = [1]\n", "cluster.name"),
        ("cluster = 1\n", "cluster"),
        ("[cluster]\nname = \"a\"\n[store]\nurl = \"file:///x\"\n[backup]\ncut_timeout_secs = 0\n", "backup.cut_timeout_secs"),
        ("[provider.hardlink]\n", "provider.hardlink.root"),
        ("[provider.hardlink]\nroot = \"x\"\n", "provider.hardlink.root"),
        ("[provider.hardlink]\nroot = \"/x\"\nsha256 = \"zz\"\n", "provider.hardlink"),
        ("[provider.acme]\nroot = \"/x\"\n", "provider.acme"),
        ("[provider.acme]\ncomponent = \"acme.wasm\"\n", "provider.acme.component"),
        ("[provider.Acme]\ncomponent = \"/acme.wasm\"\n", "provider.Acme"),
        ("[provider.acme]\ncomponent = \"/acme.wasm\"\ngrants = { aws = true }\n", "provider.acme"),
    ] {
        let (message, _) = refusal(text);
        assert!(message.contains(&format!("`{key}`")), "{text}: {message}");
    }
    let (message, _) = refusal("[cluster\n");
    assert!(message.contains("TOML"), "{message}");
}

#[test]
fn a_bundled_provider_gets_the_narrowest_grant_that_works() {
    let config = load(SMALLEST, &[]).unwrap();
    let provider = config.providers.values().next().unwrap();
    let grant = provider.settings.grants.tree.clone().unwrap();
    assert_eq!(grant.roots.len(), 1);
    assert_eq!(grant.roots["snapshots"], Path::new("/var/lib/stillframe/snapshots"));
    assert!(grant.read_data && grant.write_restore);
}

#[test]
fn a_foreign_provider_is_granted_nothing_by_itself() {
    let text = format!("{SMALLEST}\n[provider.acme]\ncomponent = \"/acme.wasm\"\nsize = 3\n");
    let config = load(&text, &[]).unwrap();
    let acme = config.providers.iter().find(|(name, _)| name.as_str() == "acme").unwrap().1;
    assert_eq!(acme.settings.grants.tree, None);
    assert_eq!(acme.settings.config["size"], 3);
}

/// A public key of age, made for this test.
const RECIPIENT: &str = "age1un06tuec6aahgpjgdkqc6yytcmr7hadynymyp7drq0x2x4dlqytqz2lncl";

fn with(section: &str, lines: &str) -> String {
    SMALLEST.replace(&format!("[{section}]\n"), &format!("[{section}]\n{lines}\n"))
}

fn s3(lines: &str) -> String {
    format!("[cluster]\nname = \"main\"\n[store]\nurl = \"s3://bucket/prefix\"\n{lines}\n")
}

fn archive(lines: &str) -> String {
    format!("{SMALLEST}\n[archive]\n{lines}\n")
}

#[test]
fn every_key_of_the_store_reaches_its_setting() {
    let config = load(
        &s3("endpoint = \"https://minio:9000\"\nregion = \"eu-1\"\npath_style = true\nprofile = \"p\"\nrole_arn = \"arn:aws:iam::1:role/r\"\n\
             credentials_file = \"/c\"\nsse = \"aws:kms\"\nsse_kms_key = \"k\"\nstorage_class = \"STANDARD_IA\"\n\
             ca_cert_file = \"/ca\"\nmax_attempts = 7\ntimeout_secs = 9"),
        &[],
    )
    .unwrap();
    let expected = StoreSettings {
        endpoint: Some("https://minio:9000".to_owned()),
        region: Some("eu-1".to_owned()),
        path_style: Some(true),
        profile: Some("p".to_owned()),
        role_arn: Some("arn:aws:iam::1:role/r".to_owned()),
        credentials_file: Some("/c".into()),
        encryption: Some(Encryption::Kms { key: Some("k".to_owned()) }),
        storage_class: Some("STANDARD_IA".to_owned()),
        ca_cert_file: Some("/ca".into()),
        max_attempts: 7.try_into().unwrap(),
        timeout: Duration::from_secs(9),
        ..StoreSettings::new("s3://bucket/prefix".parse().unwrap())
    };
    assert_eq!(config.store, expected);
    let azure = s3("account = \"abc\"").replace("s3://", "az://");
    assert_eq!(load(&azure, &[]).unwrap().store.account.as_deref(), Some("abc"));
}

#[test]
fn what_nobody_configured_is_as_the_store_has_it() {
    let config = load(SMALLEST, &[]).unwrap();
    assert_eq!(config.store, StoreSettings::new("file:///var/lib/stillframe/store".parse().unwrap()));
}

#[test]
fn every_key_of_the_archive_reaches_its_setting() {
    let text = archive(&format!(
        "compression = \"zstd\"\nlevel = 3\nrecipients = [\"{RECIPIENT}\"]\nrecipients_file = \"/r\"\n\
         identity_command = [\"/usr/bin/key\", \"of the archive\"]\nworkers = 2\npush_ahead = 0\nfetch_ahead = 1\nspool = \"/spool\"\n\
         guard = \"warn\"\ninstance = \"db-1\""
    ));
    let expected = ArchiveConfig {
        compression: Compression::Zstd(3),
        recipients: vec![RECIPIENT.parse().unwrap()],
        recipients_file: Some("/r".into()),
        identity: Some(IdentitySource::Command { program: "/usr/bin/key".into(), arguments: vec!["of the archive".to_owned()] }),
        ahead: AheadSettings { spool: Some("/spool".into()), workers: 2, push_files: 0, fetch_files: 1 },
        guard: Guarding::Warn,
        instance: Some("db-1".to_owned()),
    };
    assert_eq!(load(&text, &[]).unwrap().archive, expected);
}

#[test]
fn a_server_without_a_name_is_not_taken_for_another_but_asked_for_one() {
    let named = load(&archive("instance = \"db-1\""), &[]).unwrap().archive;
    assert_eq!(named.instance().unwrap(), "db-1");
    let error = ArchiveConfig { instance: None, ..named }.instance().unwrap_err();
    assert!(error.hint().unwrap().contains("`instance` under `[archive]`"), "{error}");
}

#[test]
fn the_archive_has_defaults_and_its_spool_lies_in_the_users_cache() {
    let archive = load(SMALLEST, &[("HOME", "/home/me")]).unwrap().archive;
    assert_eq!((archive.compression, archive.guard), (Compression::default(), Guarding::Refuse));
    let spool = Some("/home/me/.cache/stillframe/spool".into());
    assert_eq!(archive.ahead, AheadSettings { spool, workers: 4, push_files: 32, fetch_files: 8 });
    let cache = load(SMALLEST, &[("HOME", "/home/me")]).unwrap().runtime.cache.unwrap();
    assert!(!archive.ahead.spool.unwrap().starts_with(&cache), "the engine clears its cache of what it does not know");
    assert_eq!((archive.recipients, archive.recipients_file, archive.identity), (vec![], None, None));
    assert_eq!(load(SMALLEST, &[]).unwrap().archive.ahead.spool, None, "without a home nothing happens ahead");
}

#[test]
fn a_list_in_a_variable_is_parted_by_commas_and_white_space() {
    let both = format!("{RECIPIENT},\n {RECIPIENT}");
    let variables = [("STILLFRAME_ARCHIVE_RECIPIENTS", both.as_str()), ("STILLFRAME_ARCHIVE_IDENTITY_COMMAND", "/bin/key a b")];
    let archive = load(SMALLEST, &variables).unwrap().archive;
    assert_eq!(archive.recipients.len(), 2);
    let arguments = vec!["a".to_owned(), "b".to_owned()];
    assert_eq!(archive.identity, Some(IdentitySource::Command { program: "/bin/key".into(), arguments }));
}

#[test]
fn refuses_values_beyond_their_bounds_and_says_the_bounds() {
    for (line, key, part) in [
        ("workers = 0", "archive.workers", "1 to 64"),
        ("workers = 65", "archive.workers", "1 to 64"),
        ("workers = -1", "archive.workers", "1 to 64"),
        ("push_ahead = 1001", "archive.push_ahead", "0 to 1000"),
        ("fetch_ahead = 257", "archive.fetch_ahead", "0 to 256"),
        ("level = 23", "archive.level", "1 to 22"),
        ("compression = \"brotli\"", "archive.compression", "`zstd`, `lz4` and `none`"),
        ("guard = \"on\"", "archive.guard", "`refuse`, `warn` and `off`"),
        ("spool = \"spool\"", "archive.spool", "absolute"),
        ("instance = \"a/b\"", "archive.instance", "letters"),
        ("identity_command = [\"key\"]", "archive.identity_command", "absolute path"),
        ("identity_command = []", "archive.identity_command", "must name a program"),
        ("identity_command = [1]", "archive.identity_command", "text"),
        ("recipients = []", "archive.recipients", "nobody"),
        ("recipients = [\"age1short\"]", "archive.recipients", "entry 1"),
        ("recipients = [\"ssh-ed25519\"]", "archive.recipients", "entry 1"),
        ("workers = [1]", "archive.workers", "a text or a number"),
    ] {
        let (message, _) = refusal(&archive(line));
        assert!(message.contains(&format!("`{key}`")) && message.contains(part), "{line}: {message}");
    }
    for (line, key) in [
        ("max_attempts = 0", "store.max_attempts"),
        ("timeout_secs = 3601", "store.timeout_secs"),
        ("path_style = \"yes\"", "store.path_style"),
        ("sse = \"aes256\"", "store.sse"),
        ("role_arn = \"role\"", "store.role_arn"),
        ("endpoint = \"minio:9000\"", "store.endpoint"),
        ("region = \"\"", "store.region"),
    ] {
        let (message, _) = refusal(&s3(line));
        assert!(message.contains(&format!("`{key}`")), "{line}: {message}");
    }
}

#[test]
fn an_empty_variable_does_not_turn_encryption_off() {
    let text = archive(&format!("recipients = [\"{RECIPIENT}\"]"));
    let error = load(&text, &[("STILLFRAME_ARCHIVE_RECIPIENTS", "")]).unwrap_err();
    assert!(error.to_string().contains("STILLFRAME_ARCHIVE_RECIPIENTS"), "{error}");
}

#[test]
fn values_that_contradict_each_other_are_refused_with_a_way_out() {
    let none = |text: String| (text, vec![]);
    for ((text, variables), key) in [
        (none(s3("sse_kms_key = \"k\"")), "store.sse_kms_key"),
        (none(s3("sse = \"AES256\"\nsse_kms_key = \"k\"")), "store.sse_kms_key"),
        (none(s3("storage_class = \"GLACIER\"")), "store.storage_class"),
        (none(s3("account = \"abc\"")), "store.account"),
        (none(with("store", "sse = \"AES256\"")), "store.sse"),
        (none(with("store", "region = \"eu\"")), "store.region"),
        (none(with("store", "endpoint = \"https://h\"")), "store.endpoint"),
        (none(with("store", "profile = \"p\"")), "store.profile"),
        (none(with("store", "path_style = false")), "store.path_style"),
        (none(with("store", "role_arn = \"arn:x\"")), "store.role_arn"),
        (none(with("store", "storage_class = \"STANDARD\"")), "store.storage_class"),
        (none(archive("identity_file = \"/i\"\nidentity_command = [\"/bin/key\"]")), "archive.identity_command"),
        (none(archive("compression = \"lz4\"\nlevel = 3")), "archive.level"),
        (none(archive("compression = \"none\"\nlevel = 3")), "archive.level"),
        (none(archive("spool = \"/var/lib/postgresql/15/main/spool\"")), "archive.spool"),
        (none(archive("spool = \"/cache/spool\"\n[runtime]\ncache = \"/cache\"")), "archive.spool"),
        ((SMALLEST.replace("pgdata", "# "), vec![("PGDATA", "/pg"), ("STILLFRAME_ARCHIVE_SPOOL", "/pg/spool")]), "archive.spool"),
    ] {
        let error = load(&text, &variables).unwrap_err();
        assert!(matches!(&error, ConfigError::Clash { key: clashing, .. } if *clashing == key), "{text}: {error}");
        assert!(error.hint().is_some_and(|hint| !hint.is_empty()), "{error}");
    }
}

#[test]
fn a_spool_that_a_link_leads_into_the_data_directory_is_refused() {
    let scratch = tempfile::tempdir().unwrap();
    let (pgdata, link) = (scratch.path().join("pgdata"), scratch.path().join("link"));
    std::fs::create_dir(&pgdata).unwrap();
    std::os::unix::fs::symlink(&pgdata, &link).unwrap();
    let (pgdata, spool) = (pgdata.to_str().unwrap(), link.join("not/there/yet"));
    let variables = [("STILLFRAME_CLUSTER_PGDATA", pgdata), ("STILLFRAME_ARCHIVE_SPOOL", spool.to_str().unwrap())];
    let error = load(SMALLEST, &variables).unwrap_err();
    assert!(error.to_string().contains("archive.spool"), "{error}");
}

#[test]
fn a_spool_that_only_the_default_put_into_the_data_directory_does_not_stop_the_archive() {
    let config = load(SMALLEST, &[("HOME", "/var/lib/postgresql/15/main")]).unwrap();
    assert_eq!(config.archive.ahead.spool, None);
}

#[test]
fn a_private_key_is_refused_wherever_it_stands_and_never_shown() {
    const SECRET: &str = "AGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX";
    let texts = [
        archive(&format!("recipients = [\"{SECRET}\"]")),
        archive(&format!("recipients = [\"{RECIPIENT}\", \"{}\"]", SECRET.to_lowercase())),
        archive(&format!("identity_file = \"{SECRET}\"")),
        archive(&format!("identity_command = [\"/bin/echo\", \"{SECRET}\"]")),
        with("cluster", &format!("primary_conninfo = \"{SECRET}\"")),
        format!("{SMALLEST}\nkey = \"{SECRET}\"\n"),
        format!("{SMALLEST}\n[provider.hardlink.grants]\n{SECRET} = 1\n"),
    ];
    for text in texts {
        let error = load(&text, &[]).unwrap_err();
        assert!(matches!(error, ConfigError::PrivateKey { .. }), "{error}");
        let all = format!("{error} {error:?} {:?}", error.hint()).to_uppercase();
        assert!(!all.contains("GFPYYSJZ"), "{all}");
    }
    let error = load(SMALLEST, &[("STILLFRAME_ARCHIVE_RECIPIENTS", SECRET)]).unwrap_err();
    assert!(matches!(error, ConfigError::PrivateKey { .. }), "{error}");
    // Not even where the file is no TOML at all.
    let error = load(&format!("[archive]\nrecipients = [\"{SECRET}\n"), &[]).unwrap_err();
    let chain = stillframe_core::error::chain(&error);
    assert!(chain.contains("line 2") && !chain.contains("GFPYYSJZ"), "{chain}");
}

#[test]
fn a_password_in_a_url_is_refused_and_never_shown() {
    for text in [
        s3("").replace("s3://", "s3://me:hunter2@"),
        s3("").replace("prefix\"", "prefix?sig=hunter2\""),
        s3("endpoint = \"https://me:hunter2@host\""),
        s3("endpoint = \"https://host/?token=hunter2\""),
    ] {
        let (message, hint) = refusal(&text);
        assert!(!message.contains("hunter2") && !hint.contains("hunter2"), "{message} {hint}");
    }
}

#[test]
fn recipients_in_a_file_join_the_list_and_an_empty_file_is_no_plain_archive() {
    let scratch = tempfile::tempdir().unwrap();
    let file = scratch.path().join("recipients");
    let text = archive(&format!("recipients = [\"{RECIPIENT}\"]\nrecipients_file = \"{}\"", file.display()));
    let config = load(&text, &[]).unwrap();
    assert!(matches!(config.archive.all_recipients(), Err(ConfigError::Recipients { .. })));
    let one_letter_wrong = RECIPIENT.replace(&RECIPIENT[10..11], if &RECIPIENT[10..11] == "q" { "p" } else { "q" });
    load(&archive(&format!("recipients = [\"{one_letter_wrong}\"]")), &[]).unwrap_err();
    for (content, part) in [
        ("", "nobody"),
        ("# nobody\n\n", "nobody"),
        ("age1\n", "line 1"),
        (&one_letter_wrong, "line 1"),
        ("AGE-SECRET-KEY-1QQ", "private key"),
    ] {
        std::fs::write(&file, content).unwrap();
        let error = config.archive.all_recipients().unwrap_err();
        assert!(error.to_string().contains(part) && !error.to_string().contains("SECRET"), "{error}");
    }
    std::fs::write(&file, format!("# the second one\n{RECIPIENT}\n")).unwrap();
    assert_eq!(config.archive.all_recipients().unwrap().len(), 2);
}

#[test]
fn every_default_and_every_variable_is_what_its_key_says() {
    for key in &super::KEYS {
        if let Some(default) = key.default {
            let value = super::Value::new(default, Origin::Default);
            assert_eq!(key.kind.check(&value), Ok(()), "{}", key.name);
        }
    }
    let variables: Vec<String> = super::KEYS.iter().map(|key| super::keys::variable(key.name)).collect();
    assert!(variables.contains(&"STILLFRAME_STORE_SSE_KMS_KEY".to_owned()));
    let sections: Vec<&str> = super::keys::sections().collect();
    assert_eq!(
        sections,
        ["cluster", "store", "archive", "external_archive", "backup", "session", "drill", "retention", "runtime"],
        "those of one section stand together"
    );
}
