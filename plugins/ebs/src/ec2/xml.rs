//! Reading EC2's XML.
//!
//! Elements are found by their local names, for the namespace has the version of the API in it; sets are lists of `item`. A
//! document with a DTD is refused, so that no entity can grow.

use roxmltree::{Document, ParsingOptions};

pub(super) type Node<'a, 'input> = roxmltree::Node<'a, 'input>;

/// Nodes of one document: 500 snapshots with 50 tags each have a third of that.
const MAX_NODES: u32 = 500_000;

/// Parses a document; none when it is not XML.
pub(super) fn parse(body: &str) -> Option<Document<'_>> {
    let options = ParsingOptions { nodes_limit: MAX_NODES, ..ParsingOptions::default() };
    Document::parse_with_options(body, options).ok()
}

/// The root of an answer; none when it is one of an error, or of no service: an absent set in it would be taken for an empty one.
pub(super) fn answer<'a, 'input>(document: &'a Document<'input>) -> Option<Node<'a, 'input>> {
    let root = document.root_element();
    root.tag_name().name().strip_suffix("Response").is_some_and(|action| !action.is_empty()).then_some(root)
}

/// The child of this name.
pub(super) fn child<'a, 'input>(node: Node<'a, 'input>, name: &str) -> Option<Node<'a, 'input>> {
    node.children().find(|child| child.tag_name().name() == name)
}

/// The text of the child of this name.
pub(super) fn text(node: Node<'_, '_>, name: &str) -> Option<String> {
    Some(child(node, name)?.text().unwrap_or_default().trim().to_owned())
}

/// What is in the set of this name; an absent set is an empty one.
pub(super) fn items<'a, 'input: 'a>(node: Node<'a, 'input>, name: &str) -> impl Iterator<Item = Node<'a, 'input>> {
    let members = child(node, name).map(|set| set.children());
    members.into_iter().flatten().filter(|item| item.tag_name().name() == "item")
}

/// The tags of an object.
pub(super) fn tags(node: Node<'_, '_>) -> std::collections::BTreeMap<String, String> {
    // A value may begin with a blank that is part of it.
    let whole = |tag, name| Some(child(tag, name)?.text().unwrap_or_default().to_owned());
    items(node, "tagSet").filter_map(|tag| Some((whole(tag, "key")?, whole(tag, "value").unwrap_or_default()))).collect()
}
