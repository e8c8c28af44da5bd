//! One page of the book: its world, and its code blocks with what their fences say.
//!
//! A fence says a language, and after commas what shall be done with the block. What nobody can check is an error: an unknown language,
//! a shell block without prompts, a fence that is never closed, a command that is not run without a reason.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};

/// Languages of blocks, each with what a fence may add.
const LANGUAGES: [(&str, &[&str]); 7] = [
    ("console", &["exit", "until", "not-run"]),
    ("toml", &["file", "add", "instead", "source", "not-run"]),
    ("sql", &["file", "not-run"]),
    ("ini", &["file", "unit", "not-run"]),
    ("json", &["file"]),
    ("rust", &["source"]),
    ("text", &["file", "sudoers"]),
];

/// A code block.
#[derive(Debug, Clone)]
pub struct Block {
    /// The line of its fence, from 1.
    pub line: usize,
    /// The first word of the fence.
    pub language: String,
    /// The other words: `key`, or `key=value`.
    pub words: BTreeMap<String, String>,
    /// What it holds.
    pub text: String,
    /// Why it is not run.
    pub not_run: Option<String>,
}

/// A page.
#[derive(Debug, Clone)]
pub struct Page {
    /// Its path below `docs`.
    pub name: String,
    /// Where its commands work, from `<!-- world: NAME -->`.
    pub world: Option<String>,
    /// Its code blocks, in order.
    pub blocks: Vec<Block>,
    /// Places that other pages begin at, from `<!-- here begins: NAME -->`, with the number of blocks before.
    pub beginnings: BTreeMap<String, usize>,
    /// Targets of its links.
    pub links: Vec<String>,
    /// Its headings, as plain text.
    pub headings: Vec<String>,
    /// What it sets in the type of code within its text.
    pub names: Vec<String>,
}

/// Where the book is.
fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs")
}

/// Names of all pages: every file of Markdown below `docs`.
pub fn pages() -> Vec<String> {
    let root = docs();
    let files = crate::files(&root).into_iter().filter(|path| path.extension().is_some_and(|end| end == "md"));
    files.map(|path| path.strip_prefix(&root).expect("it lies there").display().to_string()).collect()
}

impl Page {
    /// Reads a page of the book.
    pub fn open(name: &str) -> Result<Self, String> {
        let text = fs::read_to_string(docs().join(name)).map_err(|error| format!("{name}: {error}"))?;
        Self::parse(name, &text)
    }

    /// Reads a page from its text.
    pub fn parse(name: &str, text: &str) -> Result<Self, String> {
        let mut page = Self {
            name: name.to_owned(),
            world: None,
            blocks: Vec::new(),
            beginnings: BTreeMap::new(),
            links: Vec::new(),
            headings: Vec::new(),
            names: Vec::new(),
        };
        let line_of = |offset: usize| text[..offset].matches('\n').count() + 1;
        let options = Options::ENABLE_TABLES | Options::ENABLE_FOOTNOTES;
        let (mut heading, mut open): (Option<String>, Option<Block>) = (None, None);
        for (event, range) in Parser::new_ext(text, options).into_offset_iter() {
            let line = line_of(range.start);
            match event {
                Event::Start(Tag::CodeBlock(CodeBlockKind::Indented)) => {
                    return Err(format!("{name}:{line}: indented code: nobody can say what it is; use a fence"));
                }
                Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(info))) => {
                    if !is_closed(&text[range]) {
                        return Err(format!("{name}:{line}: the fence is never closed"));
                    }
                    open = Some(block(line, &info).map_err(|error| format!("{name}:{line}: {error}"))?);
                }
                Event::End(TagEnd::CodeBlock) => page.blocks.extend(open.take()),
                Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
                Event::End(TagEnd::Heading(_)) => page.headings.extend(heading.take()),
                Event::Start(Tag::Link { dest_url, .. }) => page.links.push(dest_url.into_string()),
                Event::Text(words) | Event::Code(words) => {
                    if text[range].starts_with('`') {
                        page.names.push(words.to_string());
                    }
                    if let Some(block) = &mut open {
                        block.text.push_str(&words);
                    } else if let Some(heading) = &mut heading {
                        heading.push_str(&words);
                    }
                }
                Event::Html(words) | Event::InlineHtml(words) => {
                    page.comment(words.trim()).map_err(|error| format!("{name}:{line}: {error}"))?;
                }
                _ => {}
            }
        }
        page.blocks
            .iter()
            .try_for_each(|block| complaint(block).map_or(Ok(()), |what| Err(format!("{name}:{}: {what}", block.line))))?;
        Ok(page)
    }

    /// Prompts of the blocks that are run.
    pub fn prompts(&self) -> usize {
        let run = self.blocks.iter().filter(|block| block.language == "console" && block.not_run.is_none());
        run.flat_map(|block| block.text.lines()).filter(|line| is_prompt(line)).count()
    }

    fn comment(&mut self, text: &str) -> Result<(), String> {
        let Some(comment) = text.strip_prefix("<!--").and_then(|rest| rest.strip_suffix("-->")) else {
            return Err(format!("`{text}`: no HTML but comments, since it is not shown everywhere"));
        };
        let (key, value) = comment.trim().split_once(": ").unwrap_or((comment.trim(), ""));
        match key {
            "world" => self.world = Some(value.to_owned()),
            "here begins" => {
                self.beginnings.insert(value.to_owned(), self.blocks.len());
            }
            "not run" => {
                let block = self.blocks.last_mut().filter(|block| block.words.contains_key("not-run"));
                block.ok_or("a reason without a block before it that says `not-run`")?.not_run = Some(value.to_owned());
            }
            _ => return Err(format!("`{key}`: an unknown comment")),
        }
        Ok(())
    }
}

/// Whether a line of a console block is a command.
pub(super) fn is_prompt(line: &str) -> bool {
    line.starts_with("$ ") || line.starts_with("# ")
}

/// A block without text, from what its fence says.
fn block(line: usize, info: &str) -> Result<Block, String> {
    let mut parts = info.trim().split(',');
    let language = parts.next().unwrap_or_default().to_owned();
    let known = LANGUAGES.iter().find(|(name, _)| *name == language);
    let (_, words) =
        known.ok_or_else(|| format!("`{language}` is no language of this book: commands are `console`, with prompts"))?;
    let pair = |part: &str| {
        part.split_once('=').map_or((part.to_owned(), String::new()), |(key, value)| (key.to_owned(), value.to_owned()))
    };
    let found: BTreeMap<String, String> = parts.map(pair).collect();
    match found.keys().find(|key| !words.contains(&key.as_str())) {
        Some(unknown) => Err(format!("`{unknown}` says nothing about a block of `{language}`")),
        None => Ok(Block { line, language, words: found, text: String::new(), not_run: None }),
    }
}

/// The parser ends an open fence with the page.
fn is_closed(source: &str) -> bool {
    let mut lines = source.trim_end().lines();
    let (first, last) = (lines.next().unwrap_or_default().trim(), lines.next_back().unwrap_or_default().trim());
    let fence: String = first.chars().take_while(|character| matches!(character, '`' | '~')).collect();
    last.starts_with(&fence) && last.chars().all(|character| fence.contains(character))
}

/// What is wrong with a block as a whole.
fn complaint(block: &Block) -> Option<&'static str> {
    let has_prompt = block.text.lines().any(is_prompt);
    let begins_with_prompt = block.text.lines().next().is_some_and(is_prompt);
    match block.language.as_str() {
        _ if block.text.trim().is_empty() => Some("an empty block"),
        _ if block.words.contains_key("not-run") && block.not_run.as_deref().is_none_or(str::is_empty) => {
            Some("`not-run` without `<!-- not run: REASON -->` behind the block")
        }
        "console" if !begins_with_prompt => Some("a console block begins with a prompt, `$ ` (postgres) or `# ` (root)"),
        "text" if has_prompt && block.text.lines().any(|line| line.starts_with("$ ")) => Some("a command in a block of text"),
        _ => None,
    }
}
