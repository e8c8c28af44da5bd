//! What cannot be loaded, or is not what the operator accepted, is refused before anything begins.

use std::fs;

use stillframe_tests::{ConfigFile, Site, Stillframe, tested_major};

use crate::guests::{component, installed, push, section, sha256};
use crate::stops::assert_failed;

/// Any digest but the right one.
const WRONG_SHA256: &str = "0000000000000000000000000000000000000000000000000000000000000000";

#[test]
fn what_cannot_be_loaded_is_refused_before_anything_begins() {
    let site = Site::start(tested_major());
    let bytes_of_it = fs::read(component("hostile")).unwrap();
    let wat = |text: &str| wat::parse_str(text).unwrap();
    let export =
        |version: &str| format!(r#"(instance $provider) (export "stillframe:provider/provider@{version}" (instance $provider))"#);
    let cases = [
        ("no component", b"#!/bin/sh\nexit 0\n".to_vec(), "it is not a WebAssembly component"),
        ("a core module", wat("(module)"), "it is a core module; build it for `wasm32-wasip2`"),
        ("half of a component", bytes_of_it[..bytes_of_it.len() / 2].to_vec(), "it cannot be compiled"),
        (
            "no export",
            wat(r#"(component (instance $i) (export "wasi:cli/run@0.2.0" (instance $i)))"#),
            "but not `stillframe:provider/provider@1`",
        ),
        ("an empty export", wat(&format!("(component {})", export("1.0.0"))), "it does not fit the interface"),
        ("another major version", wat(&format!("(component {})", export("2.0.0"))), "this host speaks version 1"),
        (
            "a foreign import",
            wat(&format!(r#"(component (import "wasi:http/outgoing-handler@0.2.0" (instance)) {})"#, export("1.0.0"))),
            "it imports `wasi:http/outgoing-handler@0.2.0`, which this host does not provide",
        ),
        (
            "a capability of a later version",
            wat(&format!(r#"(component (import "stillframe:provider/aws@1.0.0" (instance)) {})"#, export("1.0.0"))),
            "it needs the capability `aws`",
        ),
    ];
    for (what, bytes, words) in cases {
        let file = installed(&site, &bytes);
        let stillframe = site.configured(|config| section(config, &file));
        assert_refused(&site, what, &stillframe, words);
    }
}

#[test]
fn a_component_without_its_grant_or_with_another_digest_is_refused_before_anything_begins() {
    let site = Site::start(tested_major());
    let file = installed(&site, &fs::read(component("hostile")).unwrap());
    let path = file.display().to_string();
    let own = |config: ConfigFile, sha256: &str| {
        config.value("provider.hostile", "component", path.as_str()).value("provider.hostile", "sha256", sha256)
    };
    let ungranted = site.configured(|config| own(config, &sha256(&file)));
    assert_refused(&site, "no grants", &ungranted, "it needs the capability `tree`, which the configuration does not grant");
    let other = site.configured(|config| section(config, &file).value("provider.hostile", "sha256", WRONG_SHA256));
    assert_refused(&site, "another digest", &other, &format!("has the SHA-256 `{}`, but the configuration pins", sha256(&file)));
    let unpinned = site.configured(|config| {
        config.value("provider.hostile", "component", path.as_str()).value("provider.hostile.grants.tree", "read_data", false)
    });
    assert_refused(&site, "no digest", &unpinned, "pins none");
    let absent = site.configured(|config| section(config, &file).value("provider.hostile", "component", "/nonexistent.wasm"));
    assert_refused(&site, "no file", &absent, "`/nonexistent.wasm` cannot be read");
}

#[track_caller]
fn assert_refused(site: &Site, what: &str, stillframe: &Stillframe, words: &str) {
    let before = site.everything();
    let finished = push(stillframe);
    assert!(!finished.stderr.contains("entering backup mode"), "{what}: {finished}");
    assert_failed(site, &finished, 3, &["be loaded", words]);
    assert_eq!(site.everything(), before, "{what}: not even an intent");
}
