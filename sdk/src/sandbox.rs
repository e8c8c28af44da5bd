//! The host as a component sees it.

/// Reaches the capabilities through the component's imports.
///
/// A provider is generic over what it needs and never names this type: so a component imports only what its bounds name.
#[derive(Debug, Clone, Copy)]
pub struct Sandbox;
