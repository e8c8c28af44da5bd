//! An error of EC2, with the codes of its documentation.

use super::xml::Xml;

/// Why a request is refused.
#[derive(Debug, Clone)]
pub(super) struct Refusal {
    pub(super) status: u16,
    pub(super) code: String,
    pub(super) message: String,
}

impl Refusal {
    /// A fault of the client.
    pub(super) fn new(code: &str, message: impl Into<String>) -> Self {
        Self { status: 400, code: code.to_owned(), message: message.into() }
    }

    /// The same with another HTTP status.
    pub(super) fn with_status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    pub(super) fn missing_parameter(name: &str) -> Self {
        Self::new("MissingParameter", format!("The request must contain the parameter {name}"))
    }

    pub(super) fn invalid_parameter(name: &str, value: &str) -> Self {
        Self::new("InvalidParameterValue", format!("Value ({value}) for parameter {name} is invalid."))
    }

    pub(super) fn no_snapshot(id: &str) -> Self {
        Self::new("InvalidSnapshot.NotFound", format!("The snapshot '{id}' does not exist."))
    }

    pub(super) fn no_volume(id: &str) -> Self {
        Self::new("InvalidVolume.NotFound", format!("The volume '{id}' does not exist."))
    }

    pub(super) fn no_instance(id: &str) -> Self {
        Self::new("InvalidInstanceID.NotFound", format!("The instance ID '{id}' does not exist"))
    }

    /// The document.
    pub(super) fn document(&self, request_id: &str) -> String {
        let mut xml = Xml::default();
        xml.element("Response", |xml| {
            xml.element("Errors", |xml| {
                xml.element("Error", |xml| {
                    xml.leaf("Code", &self.code);
                    xml.leaf("Message", &self.message);
                });
            });
            xml.leaf("RequestID", request_id);
        });
        xml.document()
    }
}
