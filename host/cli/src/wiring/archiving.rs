//! From the section `[archive]` to what the archive writes and reads with.
//!
//! Private keys are not touched here: a source is handed on, and the archive asks it when it meets an encrypted object.

use std::sync::Arc;

use stillframe_core::catalog::{ArchiveSettings, Identities, IdentitySource};

use super::identity_command;
use crate::config::{self, ArchiveConfig};

/// Converts the section, but for the file of recipients: that is wanted only where WAL is archived.
pub(super) fn settings(config: &ArchiveConfig) -> ArchiveSettings {
    let source = match &config.identity {
        None => IdentitySource::None,
        Some(config::IdentitySource::File(path)) => IdentitySource::File(path.clone()),
        Some(config::IdentitySource::Command { program, arguments }) => {
            let (program, arguments) = (program.clone(), arguments.clone());
            // The arguments may name what nobody needs to see.
            let origin = format!("the command {}", program.display());
            IdentitySource::Reader { origin, read: Arc::new(move || identity_command::run(&program, &arguments)) }
        }
    };
    ArchiveSettings { compression: config.compression, recipients: config.recipients.clone(), identities: Identities::new(source) }
}
