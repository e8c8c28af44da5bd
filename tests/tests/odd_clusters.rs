//! Clusters as they are found: odd letters, encodings and locales, long paths, spaces and quotes, other segments, no checksums.
//!
//! Each is backed up and restored to a restore point, and its rows are compared: those before the point are there, and no others.
#![allow(missing_docs, reason = "a test crate has no readers of its documentation")]
#![allow(clippy::unwrap_used, reason = "a test panics with what is wrong")]

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use stillframe_tests::{Account, Cluster, ClusterBuilder, ScratchDirectory, Session, Site, SiteBuilder, StopMode, tested_major};

/// What a shell, a configuration file, SQL and PostgreSQL's own `%f` could each stumble over.
const ODD: &str = r#" it's "odd" & 100%f $HOME;#"#;

/// The longest path of a Unix socket, without the zero behind it.
const LONGEST_SOCKET: usize = 107;

/// One database, and what fills a table in it.
struct Database<'a> {
    name: &'a str,
    /// An expression of `i` that gives a text.
    text: &'a str,
}

const PLAIN: Database<'_> = Database { name: "postgres", text: "md5(i::text)" };

fn session(cluster: &Cluster, database: &str) -> Session {
    Session::open(&cluster.conninfo_to(database)).unwrap_or_else(|error| panic!("`{database}`: {error}\n{}", cluster.log()))
}

/// Every table of these databases with the number of its rows and a digest of them.
fn rows(cluster: &Cluster, databases: &[Database<'_>]) -> Vec<String> {
    let mut found = Vec::new();
    for database in databases {
        let session = session(cluster, database.name);
        let tables =
            "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables WHERE schemaname !~ '^(pg_|information)' ORDER BY 1";
        for table in session.sql(tables).into_iter().map(|row| row[0].clone().unwrap()) {
            let digest = format!(
                "SELECT count(*) || ' ' || coalesce(md5(string_agg(md5(t::text), '' ORDER BY md5(t::text))), '') FROM {table} t"
            );
            found.push(format!("{} {table}: {}", database.name, session.sql(&digest)[0][0].clone().unwrap()));
        }
    }
    found
}

/// A name that every encoding below has letters for.
const TABLE: &str = r#""Größe it's; ""y"" %f""#;

/// Writes rows, backs up, writes more up to a restore point of this name and still more behind it, restores to that point, and compares.
#[track_caller]
fn comes_back(site: &Site, databases: &[Database<'_>], point: &str, further: &[&str]) -> Cluster {
    let write = |from: u32, to: u32| {
        for database in databases {
            let insert = format!("INSERT INTO {TABLE} SELECT i, {} FROM generate_series({from}, {to}) AS i", database.text);
            session(&site.cluster, database.name).sql(&insert);
        }
    };
    for database in databases {
        session(&site.cluster, database.name).sql(&format!("CREATE TABLE {TABLE} (\"Zähler\" int PRIMARY KEY, \"text\" text)"));
    }
    write(1, 1000);
    let name = site.backup(&[]);
    write(1001, 1500);
    site.cluster.sql(&format!("SELECT pg_create_restore_point('{}')", point.replace('\'', "''")));
    let expected = rows(&site.cluster, databases);
    write(1501, 2500);
    site.switch_wal();
    assert_eq!(site.cluster.value("SELECT failed_count FROM pg_stat_archiver"), "0", "{}", site.cluster.log());
    assert_ne!(rows(&site.cluster, databases), expected, "what came after the point can be told");

    let target = [&name, "--target-name", point, "--target-action", "promote", "--archiving", "off"];
    let restored = site.restore(PLACE, &[&target, further].concat());
    assert_eq!(rows(&restored, databases), expected);
    assert!(expected.iter().all(|table| table.contains(": 1500 ")), "{expected:?}");
    restored
}

/// Where it is restored to.
const PLACE: &str = r#"re "stored" it's here"#;

fn odd_site() -> SiteBuilder {
    Site::builder(tested_major()).in_directory_ending(ODD)
}

/// A directory of the server's user for what the harness would put elsewhere.
fn directory_below(parent: &ScratchDirectory, name: impl AsRef<Path>) -> PathBuf {
    let directory = parent.join(name);
    Account::unprivileged().create_directory(directory.parent().unwrap());
    directory
}

#[test]
fn spaces_and_quotes_in_every_path_and_name_survive_a_point_in_time_recovery() {
    let own = ScratchDirectory::create_ending_with(ODD);
    let site = odd_site()
        .cluster(|cluster| {
            let cluster = cluster.data_at(directory_below(&own, r#"the "data" of it's"#)).wal_at(own.join(r#"wal's "place""#));
            cluster.socket_in(own.join("a socket's"))
        })
        .start();
    assert!(site.cluster.conninfo().contains("\\'"), "{}", site.cluster.conninfo());
    let wal = own.join(r#"its "new" wal's"#);
    let restored = comes_back(&site, &[PLAIN], r#"it's "the" point \ 100%f"#, &["--wal-directory", wal.to_str().unwrap()]);
    assert_eq!(fs::read_link(restored.data_directory().join("pg_wal")).unwrap(), wal);
    assert!(restored.log().contains("restored log file"), "the archive was asked: {}", restored.log());
}

#[test]
fn tablespaces_in_places_with_spaces_are_restored_to_others_with_spaces() {
    // PostgreSQL takes no single quote there.
    let own = ScratchDirectory::create_ending_with(r#" of "tables""#);
    let old = own.join(r#"one "old" & 50% $X;"#);
    let site = odd_site().cluster(|cluster| cluster.tablespace_at(&old)).start();
    site.cluster.sql(r#"ALTER TABLESPACE ts1 RENAME TO "its ""odd"" space's""#);
    site.cluster.sql(
        r#"CREATE TABLE elsewhere (i int) TABLESPACE "its ""odd"" space's"; INSERT INTO elsewhere SELECT generate_series(1, 1500)"#,
    );
    let new = own.join(r#"a "new" one & 60%"#);
    let mapping = format!("{}={}", old.display(), new.display());
    let restored = comes_back(&site, &[PLAIN], "a point", &["--tablespace-mapping", &mapping]);
    let location = "SELECT pg_tablespace_location(oid) FROM pg_tablespace WHERE oid > 16383";
    assert_eq!(restored.value(location), new.to_str().unwrap());
    restored.sql("INSERT INTO elsewhere VALUES (0); CHECKPOINT");
    assert_eq!(site.cluster.value("SELECT count(*) FROM elsewhere"), "1500", "the original is untouched");
}

#[test]
fn paths_of_more_than_300_bytes_survive_a_point_in_time_recovery() {
    // No name has more than 255 bytes.
    let long = format!("{}/{}", "a".repeat(150), "ß".repeat(75));
    let own = ScratchDirectory::create();
    let data = directory_below(&own, &long);
    assert!(data.as_os_str().len() > 300);
    let site = Site::builder(tested_major())
        .in_directory_ending(&"z".repeat(200))
        .cluster(|cluster| cluster.data_at(&data).tablespace_at(own.join(format!("t/{}", "b".repeat(200)))))
        .start();
    site.cluster.sql("CREATE TABLE elsewhere TABLESPACE ts1 AS SELECT generate_series(1, 1500) AS i");
    let old = site.cluster.value("SELECT pg_tablespace_location(oid) FROM pg_tablespace WHERE spcname = 'ts1'");
    let place = site.place(PLACE);
    // The place of the restore is long as well.
    assert!(place.as_os_str().as_bytes().len() > 230);
    let mapping = format!("{old}={}", own.join(format!("n/{}", "c".repeat(200))).display());
    comes_back(&site, &[PLAIN], &"p".repeat(63), &["--tablespace-mapping", &mapping]);
}

#[test]
fn a_socket_whose_path_is_as_long_as_the_kernel_takes_is_reached() {
    let own = ScratchDirectory::create();
    let rest = LONGEST_SOCKET - own.path().as_os_str().len() - "//.s.PGSQL.54321".len();
    let directory = own.join("s".repeat(rest));
    let site = Site::builder(tested_major()).cluster(|cluster| cluster.socket_in(&directory)).start();
    let socket = directory.join(format!(".s.PGSQL.{}", site.cluster.port()));
    assert_eq!(socket.as_os_str().len(), LONGEST_SOCKET);
    assert!(socket.exists());
    comes_back(&site, &[PLAIN], "a point", &[]);
}

#[test]
fn databases_of_other_encodings_and_names_beside_each_other_are_restored() {
    let site = Site::start(tested_major());
    let databases = [
        Database { name: r#"Größe "L" it's 1"#, text: "'Größe ' || chr(160 + i % 90)" },
        Database { name: "日本 100% \\", text: "'日本語 ' || i" },
        // Bytes that are no text in any other encoding.
        Database { name: "ascii; DROP TABLE t", text: "chr(128 + i % 120) || chr(255)" },
        PLAIN,
    ];
    for (database, encoding) in databases.iter().zip(["LATIN1", "EUC_JP", "SQL_ASCII"]) {
        let name = database.name.replace('"', "\"\"");
        site.cluster
            .sql(&format!(r#"CREATE DATABASE "{name}" TEMPLATE template0 ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C'"#));
        let found = session(&site.cluster, database.name).sql("SHOW server_encoding");
        assert_eq!(found[0][0].as_deref(), Some(encoding));
    }
    comes_back(&site, &databases, "Übergabe 日本 'x'", &[]);
}

#[test]
fn clusters_that_have_no_unicode_at_all_are_restored() {
    for (encoding, text) in [("LATIN1", "'Größe ' || i"), ("SQL_ASCII", "chr(128 + i % 120)"), ("EUC_JP", "'日本語 ' || i")] {
        let site = Site::builder(tested_major())
            .cluster(|cluster| cluster.initdb_argument("--locale=C").initdb_argument(&format!("--encoding={encoding}")))
            .start();
        assert_eq!(site.cluster.value("SHOW server_encoding"), encoding);
        comes_back(&site, &[Database { name: "postgres", text }], "it's here", &[]);
    }
}

/// `initdb` arguments of collations that sort otherwise than `C`, as far as the version has them.
fn locales() -> Vec<Vec<&'static str>> {
    let mut locales = vec![vec!["--locale=C.UTF-8"], vec!["--lc-collate=C.UTF-8", "--lc-ctype=C"]];
    if tested_major() >= 15 {
        locales.push(vec!["--locale=C.UTF-8", "--locale-provider=icu", "--icu-locale=de-AT-u-co-phonebk"]);
    }
    if tested_major() >= 17 {
        locales.push(vec!["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]);
    }
    locales
}

#[test]
fn an_index_of_every_kind_of_locale_finds_after_a_restore_what_it_found_before() {
    for arguments in locales() {
        let site = Site::builder(tested_major())
            .cluster(|cluster| {
                arguments
                    .iter()
                    .fold(cluster.initdb_argument("--encoding=UTF8"), |cluster, argument| cluster.initdb_argument(argument))
            })
            .start();
        site.cluster.sql("CREATE TABLE sorted (word text PRIMARY KEY)");
        site.cluster
            .sql("INSERT INTO sorted SELECT chr(65 + i % 60) || chr(192 + i % 200) || i FROM generate_series(1, 1500) AS i");
        let by_index = "SET enable_seqscan = off; SET enable_sort = off; SELECT md5(string_agg(word, ' ')) FROM (SELECT word FROM sorted ORDER BY word) AS s";
        let before = site.cluster.value(by_index);
        let restored = comes_back(&site, &[PLAIN], "a point", &[]);
        assert_eq!(restored.value(by_index), before, "{arguments:?}");
        let by_sorting = by_index.replace("enable_sort", "enable_indexscan").replace("seqscan", "bitmapscan");
        assert_eq!(restored.value(&by_sorting), before, "{arguments:?}: the index is in the order of the collation");
    }
}

#[test]
fn a_cluster_of_64_mib_segments_is_restored() {
    let site = Site::builder(tested_major()).cluster(|cluster| cluster.wal_segment_size(64)).start();
    assert_eq!(site.cluster.value("SHOW wal_segment_size"), "64MB");
    comes_back(&site, &[PLAIN], "a point", &[]);
}

#[test]
fn clusters_with_and_without_checksums_are_restored_as_they_were() {
    for has_checksums in [true, false] {
        let site = Site::builder(tested_major());
        let site = if has_checksums { site } else { site.cluster(ClusterBuilder::without_checksums) }.start();
        let expected = if has_checksums { "on" } else { "off" };
        assert_eq!(site.cluster.value("SHOW data_checksums"), expected);
        let restored = comes_back(&site, &[PLAIN], "a point", &[]);
        assert_eq!(restored.value("SHOW data_checksums"), expected);
    }
}

#[test]
fn unlogged_tables_are_empty_and_usable_after_a_restore() {
    let site = Site::builder(tested_major()).cluster(|cluster| cluster.tablespaces(1)).start();
    let make = |name: &str, place: &str| {
        format!(
            "CREATE UNLOGGED TABLE {name} (i serial PRIMARY KEY, t text) {place}; INSERT INTO {name} (t) SELECT repeat('x', 3000) FROM generate_series(1, 700)"
        )
    };
    site.cluster.sql(&make("u", ""));
    site.cluster.sql(&make("v", "TABLESPACE ts1"));
    site.cluster.sql("CHECKPOINT");
    let old = site.cluster.value("SELECT pg_tablespace_location(oid) FROM pg_tablespace WHERE spcname = 'ts1'");
    let mapping = format!("{old}={}", site.place("space").display());
    site.cluster.sql("CREATE TABLE logged AS SELECT generate_series(1, 10) AS i");
    let name = site.backup(&[]);
    for statement in [
        "INSERT INTO u (t) VALUES ('later'); INSERT INTO logged VALUES (11)",
        "SELECT pg_create_restore_point('a point')",
        "INSERT INTO logged VALUES (12)",
    ] {
        site.cluster.sql(statement);
    }
    site.switch_wal();
    let target =
        [&name, "--target-name", "a point", "--target-action", "promote", "--archiving", "off", "--tablespace-mapping", &mapping];
    let mut restored = site.restore("restored", &target);
    assert_eq!(restored.value("SELECT count(*) FROM logged"), "11");
    for table in ["u", "v"] {
        assert_eq!(restored.value(&format!("SELECT count(*) FROM {table}")), "0", "{table}");
        restored.sql(&format!("INSERT INTO {table} (t) SELECT 'new' FROM generate_series(1, 50)"));
        assert_eq!(restored.value(&format!("SELECT relpersistence FROM pg_class WHERE relname = '{table}'")), "u");
    }
    // A clean stop keeps them: the copy is a cluster like any other.
    restored.stop(StopMode::Fast);
    restored.start();
    assert_eq!(restored.value("SELECT (SELECT count(*) FROM u) || ' ' || (SELECT count(*) FROM v)"), "50 50");
    assert_eq!(site.cluster.value("SELECT count(*) FROM u"), "701", "the original is untouched");
}

#[test]
fn a_server_that_speaks_german_is_understood_by_its_codes() {
    // `LANGUAGE` holds for every locale but `C`, and the messages come with the server.
    let mut site = Site::builder(tested_major()).cluster(|cluster| cluster.setting("lc_messages", "C.UTF-8")).start();
    site.cluster.set_variable("LANGUAGE", "de");
    site.cluster.restart();
    let said = site.cluster.try_sql("SELECT 1/0").unwrap_err();
    assert!(said.contains("Division durch Null"), "the test can fail: {said}");
    comes_back(&site, &[PLAIN], "a point", &[]);

    // What is refused is classed by its code.
    site.cluster.sql("CREATE ROLE watcher LOGIN");
    let as_role = |role: &str| {
        let conninfo = site.cluster.conninfo().replace("user=postgres", &format!("user={role}"));
        site.configured(|config| config.value("cluster", "conninfo", conninfo)).run(["snapshot-push", "--provider", "hardlink"])
    };
    let without_rights = as_role("watcher");
    assert_eq!(without_rights.code(), Some(3), "{without_rights}");
    assert!(without_rights.stderr.contains("hint: run as a superuser: GRANT"), "{without_rights}");
    let unknown = as_role("nobody_at_all");
    assert_eq!(unknown.code(), Some(3), "{unknown}");
}

/// The server keeps the name in the letters of the database in which it was made, and we look for it in Unicode.
#[test]
fn a_restore_point_in_letters_of_another_encoding_is_refused_by_name_and_reached_by_its_position() {
    let site = Site::builder(tested_major())
        .cluster(|cluster| cluster.initdb_argument("--locale=C").initdb_argument("--encoding=LATIN1"))
        .start();
    site.cluster.sql("CREATE TABLE t AS SELECT 1 AS i");
    let name = site.backup(&[]);
    let position = site.cluster.value("SELECT pg_create_restore_point('Übergabe')");
    site.cluster.sql("INSERT INTO t VALUES (2)");
    site.switch_wal();
    let refused = site.fetch("by-name", &[&name, "--target-name", "Übergabe", "--archiving", "off"]);
    assert_eq!(refused.code(), Some(4), "{refused}");
    assert!(!site.place("by-name").exists());
    let restored =
        site.restore("restored", &[&name, "--target-lsn", &position, "--target-action", "promote", "--archiving", "off"]);
    assert_eq!(restored.value("SELECT count(*) FROM t"), "1");
}
