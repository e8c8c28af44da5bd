//! Writes XML as EC2 does: lists are elements named `item` within an element of their own.

use std::fmt::Display;

/// Elements in the making.
#[derive(Debug, Default)]
pub(super) struct Xml {
    text: String,
}

impl Xml {
    /// An element with nothing but text.
    pub(super) fn leaf(&mut self, name: &str, value: impl Display) {
        self.element(name, |xml| xml.text.push_str(&escaped(&value.to_string())));
    }

    /// An element that may be absent.
    pub(super) fn optional(&mut self, name: &str, value: Option<impl Display>) {
        if let Some(value) = value {
            self.leaf(name, value);
        }
    }

    /// An element with others in it.
    pub(super) fn element(&mut self, name: &str, fill: impl FnOnce(&mut Self)) {
        self.open(name);
        fill(self);
        // An attribute is no part of the name.
        let name = name.split(' ').next().unwrap_or(name);
        self.text.push_str("</");
        self.text.push_str(name);
        self.text.push('>');
    }

    /// A list.
    pub(super) fn list<Item>(&mut self, name: &str, items: impl IntoIterator<Item = Item>, fill: impl Fn(&mut Self, Item)) {
        self.element(name, |xml| {
            for item in items {
                xml.element("item", |xml| fill(xml, item));
            }
        });
    }

    /// The whole, with its declaration.
    pub(super) fn document(self) -> String {
        format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{}", self.text)
    }

    /// The answer to an action, around what was written.
    pub(super) fn answer(self, action: &str, request_id: &str) -> String {
        let mut whole = Self::default();
        whole.element(&format!("{action}Response xmlns=\"http://ec2.amazonaws.com/doc/2016-11-15/\""), |xml| {
            xml.leaf("requestId", request_id);
            xml.text.push_str(&self.text);
        });
        whole.document()
    }

    /// The same for an action of STS.
    pub(super) fn answer_of_sts(self, action: &str, request_id: &str) -> String {
        let mut whole = Self::default();
        whole.element(&format!("{action}Response xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\""), |xml| {
            xml.element(&format!("{action}Result"), |xml| xml.text.push_str(&self.text));
            xml.element("ResponseMetadata", |xml| xml.leaf("RequestId", request_id));
        });
        whole.document()
    }

    fn open(&mut self, name: &str) {
        self.text.push('<');
        self.text.push_str(name);
        self.text.push('>');
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
