//! The operator's key stays with the host.

use std::fs;
use std::path::Path;

use stillframe_tests::{CommandLines, Fault, files, with_own_mounts};

use crate::site::EbsSite;

/// Of a session; no part of it is a word that could appear otherwise.
const TOKEN: &str = "IQoJb3JpZ2luX2VjE7sQ2kLr7dQwXzhGt4nRcWk";

#[test]
fn a_wrong_secret_is_told_clearly_and_no_secret_is_shown() {
    with_own_mounts("secrets::a_wrong_secret_is_told_clearly_and_no_secret_is_shown", || {
        let ebs = EbsSite::start();
        let wrong = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
        let stranger = ebs.site.stillframe.clone().env("AWS_SECRET_ACCESS_KEY", wrong);
        let refused = stranger.run(["-vv", "snapshot-push", "--provider", "ebs"]);
        assert!(!refused.is_success() && refused.stderr.contains("AuthFailure"), "{refused}");
        assert!(!refused.says(wrong), "{refused}");
        ebs.assert_nothing_is_left();
    });
}

/// A service that explains its refusal with what it was sent is not repeated to anybody.
#[test]
fn what_a_service_quotes_of_a_request_is_not_shown() {
    with_own_mounts("secrets::what_a_service_quotes_of_a_request_is_not_shown", || {
        let ebs = EbsSite::start_with(|builder| builder.variable("AWS_SESSION_TOKEN", TOKEN));
        ebs.ec2.fail("*", 100, Fault::Echo);
        for options in [&["-vv"][..], &["-vv", "--json"]] {
            let refused = ebs.site.stillframe.run([options, &["snapshot-push", "--provider", "ebs"]].concat());
            assert!(!refused.is_success() && refused.stderr.contains("not with"), "{refused}");
            let shown = [TOKEN, ebs.ec2.secret_key()].into_iter().find(|text| refused.says(text));
            assert_eq!(shown, None, "{refused}");
            let (_, signature) =
                refused.stderr.split_once("Signature=").unwrap_or_else(|| panic!("the signature is not quoted: {refused}"));
            assert!(!signature.starts_with(|first: char| first.is_ascii_hexdigit()), "{refused}");
        }
    });
}

#[test]
fn no_key_is_said_run_or_stored_in_a_whole_life() {
    with_own_mounts("secrets::no_key_is_said_run_or_stored_in_a_whole_life", || {
        let ebs = EbsSite::start_with(|builder| builder.variable("AWS_SESSION_TOKEN", TOKEN));
        let secret = ebs.ec2.secret_key().to_owned();
        let processes = CommandLines::watch(vec![secret.clone(), TOKEN.to_owned()]);
        // The header's own word tells of signatures.
        let texts = [secret, TOKEN.to_owned(), "AWS4-HMAC-SHA256".to_owned()];
        let talkative = ebs.site.stillframe.clone().env("RUST_LOG", "trace");
        let name = ebs.backup(&[]);
        let (place, beside) = (ebs.site.place("restored").display().to_string(), ebs.beside(&name, &[]));
        let restore = [&["snapshot-fetch", &place], beside.iter().map(String::as_str).collect::<Vec<_>>().as_slice()].concat();
        let commands = [
            vec!["config", "show"],
            vec!["provider", "inspect", "ebs"],
            vec!["snapshot-push", "--provider", "ebs"],
            vec!["backup-list"],
            vec!["backup-show", &name],
            restore,
            vec!["snapshot-release", &place],
            vec!["delete", "everything", "--confirm"],
        ];
        for command in &commands {
            let finished = talkative.run([&["-vv"], command.as_slice()].concat());
            assert!(finished.is_success(), "{command:?}: {finished}");
            assert!(!texts.iter().any(|text| finished.says(text)), "{command:?} shows a secret");
        }
        let found = processes.found();
        assert!(found.is_empty(), "{found:?}");
        let stored: Vec<_> = files(ebs.site.directory.path()).into_iter().filter(|path| holds(path, &texts)).collect();
        assert!(stored.is_empty(), "{stored:?}");
        let parameters = format!("{:?}", ebs.ec2.seen());
        assert!(parameters.contains("CreateSnapshots") && !texts.iter().any(|text| parameters.contains(text)));
    });
}

fn holds(path: &Path, texts: &[String]) -> bool {
    let bytes = fs::read(path).unwrap_or_default();
    let content = String::from_utf8_lossy(&bytes);
    texts.iter().any(|text| content.contains(text))
}
