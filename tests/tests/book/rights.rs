//! The rights that the book names are enough, and none of them is too much.

use stillframe_tests::{BUCKET, Cluster, ConfigFile, ObjectStoreServer, Page, ScratchDirectory, Site, Stillframe, tested_major};

/// Actions of the policy for S3, in the order of the page.
fn documented() -> Vec<String> {
    let page = Page::open("object-stores.md").unwrap_or_else(|error| panic!("{error}"));
    let policy = page.blocks.iter().find(|block| block.language == "json" && block.text.contains("\"Statement\"")).unwrap();
    let policy: serde_json::Value = serde_json::from_str(&policy.text).unwrap();
    let statements = policy["Statement"].as_array().unwrap().iter();
    let actions = statements.flat_map(|statement| match &statement["Action"] {
        serde_json::Value::Array(all) => all.clone(),
        one => vec![one.clone()],
    });
    actions.map(|action| action.as_str().unwrap().to_owned()).collect()
}

fn server(actions: &[String]) -> ObjectStoreServer {
    let actions: Vec<&str> = actions.iter().map(String::as_str).collect();
    ObjectStoreServer::moto_that_allows(&actions)
}

/// Parts of an upload are only taken back when it fails, which nothing here does.
const OF_FAILED_UPLOADS: &str = "s3:AbortMultipartUpload";

#[test]
fn the_rights_that_the_page_names_for_s3_are_enough_and_each_is_needed() {
    let all = documented();
    assert!(all.len() == 5 && all.iter().any(|action| action == OF_FAILED_UPLOADS), "{all:?}");

    let enough = server(&all);
    let credentials = enough.credentials_file().display().to_string();
    let site = Site::with_small_segments().s3(&enough).value("store", "credentials_file", credentials).start();
    let name = site.backup(&[]);
    site.stillframe.succeed(["wal-verify", "--deep"]);
    site.stillframe.succeed(["delete", "target", &name, "--confirm"]);

    let (cluster, directory) = (Cluster::builder(tested_major()).create(), ScratchDirectory::create());
    for missing in all.iter().filter(|action| *action != OF_FAILED_UPLOADS) {
        let rest: Vec<String> = all.iter().filter(|action| *action != missing).cloned().collect();
        let server = server(&rest);
        let config = ConfigFile::new().cluster("main", &cluster).value("store", "url", format!("s3://{BUCKET}/an/archive"));
        let config = config.value("store", "endpoint", server.endpoint()).value("store", "max_attempts", 1);
        let config = config.value("store", "credentials_file", server.credentials_file().display().to_string());
        let created = Stillframe::new(config.write(directory.path())).run(["store", "create"]);
        assert!(!created.is_success() && created.stderr.contains("hint:"), "without {missing}: {created}");
    }
}
