//! Parameters of the query protocol: `Filter.1.Value.2`.

/// One request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Query {
    pub(crate) action: &'static str,
    pub(crate) params: Vec<(String, String)>,
    filters: usize,
}

/// A request without parameters.
pub(crate) fn query(action: &'static str) -> Query {
    Query { action, params: Vec::new(), filters: 0 }
}

impl Query {
    /// Adds a parameter.
    pub(crate) fn with(mut self, key: &str, value: impl Into<String>) -> Self {
        self.params.push((key.to_owned(), value.into()));
        self
    }

    /// Adds a parameter, if there is a value.
    pub(crate) fn maybe(self, key: &str, value: Option<impl ToString>) -> Self {
        match value {
            Some(value) => self.with(key, value.to_string()),
            None => self,
        }
    }

    /// Adds a list: `VolumeId.1`, `VolumeId.2`, ...
    pub(crate) fn list<'a>(mut self, key: &str, values: impl IntoIterator<Item = &'a str>) -> Self {
        for (number, value) in (1..).zip(values) {
            self = self.with(&format!("{key}.{number}"), value);
        }
        self
    }

    /// Adds a filter: any of the values.
    pub(crate) fn filter<'a>(mut self, name: &str, values: impl IntoIterator<Item = &'a str>) -> Self {
        self.filters += 1;
        let filter = format!("Filter.{}", self.filters);
        self.with(&format!("{filter}.Name"), name).list(&format!("{filter}.Value"), values)
    }

    /// Adds tags for what the request makes.
    pub(crate) fn tagged(self, resource_type: &str, tags: &[(String, String)]) -> Self {
        let mut request = self.with("TagSpecification.1.ResourceType", resource_type);
        for (number, (key, value)) in (1..).zip(tags) {
            let tag = format!("TagSpecification.1.Tag.{number}");
            request = request.with(&format!("{tag}.Key"), key).with(&format!("{tag}.Value"), value);
        }
        request
    }
}
