//! The book as a whole: its table of contents, its links, and what is left out.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use stillframe_tests::{Page, pages};

use crate::chapters::FOLLOWED;

const SUMMARY: &str = "SUMMARY.md";

/// Blocks that no test runs, by page. Each says its reason on the page, and who else proves it; another one is no small matter.
const NOT_RUN: [(&str, usize); 7] = [
    ("fuzzing.md", 1),
    ("providers/ebs.md", 1),
    ("providers/lvm.md", 1),
    ("providers/zfs.md", 4),
    ("quick-start.md", 1),
    ("torture.md", 1),
    ("writing-a-provider.md", 1),
];

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs")
}

fn open(name: &str) -> Page {
    Page::open(name).unwrap_or_else(|error| panic!("{error}"))
}

/// Pages that a reader can turn to.
fn chapters() -> Vec<String> {
    pages().into_iter().filter(|name| name != SUMMARY).collect()
}

#[test]
fn every_page_is_in_the_table_of_contents_once_and_every_entry_is_a_page() {
    let listed = open(SUMMARY).links;
    let once: BTreeSet<&String> = listed.iter().collect();
    assert_eq!(once.len(), listed.len(), "mdBook refuses a page that is listed twice");
    assert_eq!(once, chapters().iter().collect());
    let config: toml::Table = fs::read_to_string(docs().join("book.toml")).unwrap().parse().unwrap();
    assert_eq!(config["book"]["src"].as_str(), Some("."));
}

#[test]
fn every_link_of_the_book_leads_somewhere_in_it() {
    for name in chapters() {
        let page = open(&name);
        for link in page.links.iter().filter(|link| !link.contains("://")) {
            let (file, anchor) = link.split_once('#').map_or((link.as_str(), None), |(file, anchor)| (file, Some(anchor)));
            let target = if file.is_empty() { PathBuf::from(&name) } else { Path::new(&name).parent().unwrap().join(file) };
            let target = plain(&target);
            assert!(pages().contains(&target), "docs/{name}: `{link}` leads out of the book");
            if let Some(anchor) = anchor {
                let anchors: Vec<String> = open(&target).headings.iter().map(|heading| anchor_of(heading)).collect();
                assert!(anchors.iter().any(|known| known == anchor), "docs/{name}: `{link}`: {target} has only {anchors:?}");
            }
        }
    }
}

/// A path without `..`.
fn plain(path: &Path) -> String {
    let mut parts: Vec<String> = Vec::new();
    for part in path.components() {
        let part = part.as_os_str().to_str().unwrap();
        if part == ".." { drop(parts.pop()) } else { parts.push(part.to_owned()) }
    }
    parts.join("/")
}

/// As mdBook and GitHub make it.
fn anchor_of(heading: &str) -> String {
    let kept = heading.chars().filter(|character| character.is_alphanumeric() || matches!(character, ' ' | '-' | '_'));
    kept.map(|character| if character == ' ' { '-' } else { character }).collect::<String>().to_lowercase()
}

#[test]
fn every_page_with_a_block_is_followed_by_a_test() {
    let is_run = |name: &String| open(name).blocks.iter().any(|block| block.not_run.is_none());
    let with_blocks = chapters().into_iter().filter(is_run);
    let missing: Vec<String> = with_blocks.filter(|name| !FOLLOWED.contains(&name.as_str())).collect();
    assert_eq!(missing, Vec::<String>::new(), "a page needs a line in tests/tests/book/chapters.rs");
    let gone: Vec<&&str> = FOLLOWED.iter().filter(|name| !chapters().iter().any(|known| known == **name)).collect();
    assert!(gone.is_empty(), "{gone:?} are no pages");
}

#[test]
fn every_proof_that_the_book_names_is_there() {
    let is_proof = |name: &String| name.contains(".rs") && name.contains('/') && !name.contains([' ', '<']);
    let proofs: Vec<String> = chapters().into_iter().flat_map(|name| open(&name).names).filter(is_proof).collect();
    assert!(proofs.len() > 20, "{proofs:?}");
    for proof in proofs {
        assert_exists(&proof);
    }
}

#[test]
fn no_prompt_is_overlooked() {
    for name in chapters() {
        // Looked for without the parser, so that a mistake of one shows.
        let text = fs::read_to_string(docs().join(&name)).unwrap();
        let page = open(&name);
        let left_out = page.blocks.iter().filter(|block| block.not_run.is_some() || block.language != "console");
        let left_out: usize = left_out.flat_map(|block| block.text.lines()).filter(|line| line.starts_with("$ ")).count();
        let users = text.lines().filter(|line| line.trim_start().starts_with("$ ")).count();
        let run = page.blocks.iter().filter(|block| block.language == "console" && block.not_run.is_none());
        let counted = run.flat_map(|block| block.text.lines()).filter(|line| line.starts_with("$ ")).count();
        assert_eq!(users, counted + left_out, "docs/{name}");
    }
}

#[test]
fn what_is_not_run_says_why_and_is_counted() {
    let mut found = BTreeMap::new();
    for name in chapters() {
        for block in open(&name).blocks.iter().filter(|block| block.words.contains_key("not-run")) {
            let reason = block.not_run.as_deref().unwrap_or_default();
            println!("docs/{name}:{}: {reason}", block.line);
            *found.entry(name.clone()).or_insert(0) += 1;
            let proofs: Vec<&str> = reason.split('`').skip(1).step_by(2).collect();
            assert!(!proofs.is_empty(), "docs/{name}:{}: no test is named", block.line);
            for proof in proofs {
                assert_exists(proof);
            }
        }
    }
    assert_eq!(found, NOT_RUN.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect());
}

/// A proof is `path::function` or a path, in the repository.
#[track_caller]
fn assert_exists(proof: &str) {
    let (path, function) = proof.split_once("::").map_or((proof, None), |(path, function)| (path, Some(function)));
    let path = docs().join("..").join(path);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("`{proof}`: {error}"));
    if let Some(function) = function {
        assert!(text.contains(&format!("fn {function}(")), "`{proof}` is no test");
    }
}
