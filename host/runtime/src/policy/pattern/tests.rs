use proptest::prelude::{Just, Strategy, any, prop_oneof, proptest};
use serde_json::{Map, Value, json};

use super::Pattern;
use crate::policy::{Keys, PolicyError};

fn section() -> Map<String, Value> {
    let Value::Object(section) = json!({
        "pools": ["tank/pg", "fast"],
        "root": "/srv/snapshots",
        "none": [],
        "hyphen": "-r",
        "control": "a\nb",
        "number": 3,
        "empty": "",
        "with_bar": "a|b",
    }) else {
        unreachable!()
    };
    section
}

fn parse(text: &str) -> Result<Pattern, PolicyError> {
    Pattern::parse(text, "command.x.allow[0]", &Keys::new(&section()))
}

#[track_caller]
fn assert_matches(pattern: &str, matching: &[&str], others: &[&str]) {
    let parsed = parse(pattern).unwrap();
    for argument in matching {
        assert!(parsed.matches(argument), "`{pattern}` must match {argument:?}");
    }
    for argument in others {
        assert!(!parsed.matches(argument), "`{pattern}` must not match {argument:?}");
    }
}

#[test]
fn literal_text_matches_itself_as_a_whole() {
    assert_matches("-H", &["-H"], &["", "-", "-Hp", "x-H", "-h", " -H", "-H\n", "-H\0"]);
}

#[test]
fn a_name_cannot_become_an_option_or_hold_a_separator() {
    let long = "a".repeat(128);
    assert_matches(
        "{name}",
        &["a", "_x", "9", "a.b:c+d-e", &long],
        &["", "-r", ".hidden", "+x", ":x", "a b", "a,b", "a%b", "a@b", "a/b", "a\0", "a\n", "ä", &format!("{long}a")],
    );
}

#[test]
fn a_number_has_digits_and_an_end() {
    assert_matches("{number}", &["0", "18446744073709551615"], &["", "-1", "1.5", "0x1", "١", "111111111111111111111"]);
}

#[test]
fn a_text_is_printable_and_stands_behind_a_word() {
    let long = "x".repeat(4_096);
    assert_matches(
        "--addtag={text}",
        &["--addtag=", "--addtag=a b %,-r é", &format!("--addtag={long}")],
        &["--addtag", "--addtag=a\nb", "--addtag=a\0b", "--addtag=\u{1b}[0m", "--addtag=\u{202e}", &format!("--addtag={long}x")],
    );
    for wrong in ["{text}", "-{text}", "--{text}", "{name}{text}", "{name}-{text}"] {
        let error = parse(wrong).unwrap_err().to_string();
        assert!(error.contains("behind text that does not consist of `-` alone"), "{wrong}: {error}");
    }
}

#[test]
fn one_of_several_texts() {
    assert_matches("-{one:t|ts}", &["-t", "-ts"], &["-", "-s", "-tts", "-t|ts"]);
    assert_matches("{one:$with_bar}", &["a|b"], &["a", "b"]);
    assert_matches("{one:x|$pools}", &["x", "fast", "tank/pg"], &["$pools", "tank"]);
}

#[test]
fn a_path_lies_strictly_below_and_leads_nowhere_else() {
    assert_matches(
        "{below:$root}",
        &["/srv/snapshots/a", "/srv/snapshots/a b/-c/.d", "/srv/snapshots/..."],
        &[
            "",
            "/srv/snapshots",
            "/srv/snapshots/",
            "/srv/snapshotsevil",
            "/srv/snapshotsevil/a",
            "/srv/snapshots/a/",
            "/srv/snapshots//a",
            "/srv/snapshots/./a",
            "/srv/snapshots/..",
            "/srv/snapshots/../etc",
            "/srv/snapshots/a/../../etc",
            "srv/snapshots/a",
            "/srv/snapshots/a\nb",
            "/srv/snapshots/a\0",
            "/srv/x/srv/snapshots/a",
            "x/srv/snapshots/a",
        ],
    );
    assert_matches("{below:/}", &["/a", "/a/b"], &["/", "", "//", "/a/", "/..", "/a/..", "a"]);
    assert_matches(
        "--to={below:/m}/data",
        &["--to=/m/x/data", "--to=/m/x/y/data", "--to=/m/data/data"],
        &["--to=/m/data", "--to=/m/../data"],
    );
    let deep = format!("/m/{}", "d/".repeat(3_000));
    assert_matches("{below:/m}", &[], &[&format!("{deep}x")]);
}

#[test]
fn a_name_of_a_hierarchy_is_the_root_or_below_it() {
    assert_matches(
        "{under:$pools}",
        &["tank/pg", "tank/pg/a", "tank/pg/a.b:c_d-e/f", "fast", "fast/x"],
        &[
            "tank",
            "tank/",
            "tank/pg/",
            "tank/pgevil",
            "tank/pg-x",
            "tank/pg@x",
            "tank/pg%x",
            "tank/pg,x",
            "tank/pg x",
            "tank/pg//a",
            "tank/pg/.",
            "tank/pg/..",
            "tank/pg/../x",
            "tank/pg/-r",
            "-r",
            "",
            "tank/pg\n",
            "/tank/pg",
            "faster",
            "xfast",
        ],
    );
    assert_matches(
        "{under:$pools}@{name}",
        &["tank/pg@x", "fast/a@sf-1"],
        &[
            "tank/pg",
            "tank/pg@",
            "tank/pg@-r",
            "tank/pg@x,y",
            "tank/pg@x%y",
            "tank/pg@x -r",
            "tank/pg@x@y",
            "tank/pgevil@x",
            "tank@x",
        ],
    );
}

#[test]
fn a_key_with_an_empty_list_matches_nothing() {
    for text in ["{below:$none}", "{under:$none}", "{one:$none}"] {
        let pattern = parse(text).unwrap();
        assert!(!pattern.can_match() && !pattern.matches("") && !pattern.matches("/") && !pattern.matches("a"), "{text}");
    }
    assert!(parse("{one:a|$none}").unwrap().matches("a"));
}

#[test]
fn a_value_that_would_change_the_rule_is_refused_by_its_key() {
    for (text, key, reason) in [
        ("{one:$hyphen}", "hyphen", "begins with `-`"),
        ("{one:$control}", "control", "control characters"),
        ("{one:$number}", "number", "must be a text"),
        ("{one:$empty}", "empty", "is empty"),
        ("{under:$datasets}", "datasets", "it is missing"),
        ("{below:$pools}", "pools", "`tank/pg` is not an absolute path"),
        ("{under:$root}", "root", "`/srv/snapshots` is not a name of letters"),
    ] {
        let error = parse(text).unwrap_err();
        assert!(
            matches!(&error, PolicyError::Key { key: found, reason: told } if found == key && told.contains(reason)),
            "{text}: {error}"
        );
    }
}

#[test]
fn a_pattern_that_cannot_be_read_says_what_would_be_right() {
    for (text, reason) in [
        ("", "describes no argument"),
        ("...", "describes no argument"),
        ("?", "describes no argument"),
        ("{nmae}", "there is no placeholder `{nmae}`; there are `{name}`"),
        ("{name:x}", "there is no placeholder"),
        ("{below}", "there is no placeholder"),
        ("{name", "not closed"),
        ("{{name}}", "not closed"),
        ("name}", "nothing has opened"),
        ("{one:a||b}", "empty alternative"),
        ("{below:relative}", "`relative` is not an absolute path"),
        ("{below:/a/../b}", "is not an absolute path"),
        ("{below:/a/}", "is not an absolute path"),
        ("{under:a//b}", "`a//b` is not a name"),
        ("{under:-r}", "`-r` is not a name"),
        ("a\nb", "printable"),
    ] {
        let error = parse(text).unwrap_err().to_string();
        assert!(error.contains(reason) && error.contains("`command.x.allow[0]`"), "{text}: {error}");
    }
}

/// Any text that could be an argument, with many that are nearly one of ours.
fn argument() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        Just("/srv/snapshots".to_owned()),
        Just("tank/pg".to_owned()),
        Just("/".to_owned()),
        Just("..".to_owned()),
        Just(".".to_owned()),
        Just("-".to_owned()),
        Just("@".to_owned()),
        Just("a".to_owned()),
        Just("=".to_owned()),
        any::<char>().prop_map(String::from),
    ];
    proptest::collection::vec(part, 0..8).prop_map(|parts| parts.concat())
}

proptest! {
    #[test]
    fn whatever_matches_a_path_is_below_it_for_the_kernel_too(argument in argument()) {
        if parse("{below:$root}").unwrap().matches(&argument) {
            let rest = argument.strip_prefix("/srv/snapshots/").expect("it begins with the root");
            assert!(rest.split('/').all(|part| !part.is_empty() && part != "." && part != ".."), "{argument:?}");
            assert!(!argument.contains('\0'));
        }
    }

    #[test]
    fn no_placeholder_lets_an_option_through(argument in argument()) {
        for text in ["{name}", "{number}", "{below:$root}", "{under:$pools}", "{under:$pools}@{name}"] {
            let matches = parse(text).unwrap().matches(&argument);
            assert!(!(matches && (argument.starts_with('-') || argument.is_empty())), "{text} {argument:?}");
            assert!(!(matches && argument.contains(char::is_control)), "{text} {argument:?}");
        }
    }

    #[test]
    fn a_pattern_made_of_parts_matches_what_its_parts_match(name in "[a-z][a-z0-9.:+-]{0,5}", text in "[ -~]{0,9}", below in "(/[a-z]{1,3}){1,3}") {
        let parsed = parse("-o{name}={text}:{below:/m}/{name}").unwrap();
        let argument = format!("-o{name}={text}:/m{below}/{name}");
        assert!(parsed.matches(&argument), "{argument:?}");
        let spoilt = format!("-o={text}:/m{below}/{name}");
        assert!(!parsed.matches(&spoilt), "{spoilt:?}");
    }

    #[test]
    fn reading_any_pattern_ends_in_a_pattern_or_an_error(text in ".{0,40}") {
        let _ = parse(&text);
    }
}

#[test]
fn no_text_stands_behind_a_path_which_it_could_lead_out_of() {
    for wrong in [
        "--file=/srv/{text}",
        "--file=/srv/x{name}{text}",
        "--file={below:$root}{text}",
        "--file={below:/}/{text}",
        "a{under:$pools}@{text}",
        "--file={one:x|$root}{text}",
    ] {
        let error = parse(wrong).unwrap_err().to_string();
        assert!(error.contains("`{text}` could lead out of the path"), "{wrong}: {error}");
    }
    for right in ["-ostillframe:{name}={text}", "a{text}:{below:$root}", "{one:a|b}={text}"] {
        assert!(parse(right).is_ok(), "{right}");
    }
}

#[test]
fn takes_time_in_proportion_to_the_argument() {
    let pattern = parse("a{text}1{text}1{name}{text}1{below:/a}b").unwrap();
    let argument = "1/a".repeat(10 << 10);
    let begin = std::time::Instant::now();
    assert!(!pattern.matches(&format!("a{argument}")));
    assert!(begin.elapsed() < std::time::Duration::from_secs(5), "a pattern that tries every way takes years");
}
