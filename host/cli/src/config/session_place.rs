//! Where backup mode is while the files of a standby are cut.

use clap::ValueEnum;

/// Where backup mode is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum SessionPlace {
    /// On the server that `conninfo` names, be it a primary or a standby
    #[default]
    Server,
    /// On the primary that `primary_conninfo` names, while the files of its standby are cut
    Primary,
}

impl SessionPlace {
    /// What the configuration says, which was checked before.
    pub(super) fn of(text: Option<&str>) -> Self {
        text.and_then(|text| Self::from_str(text, false).ok()).unwrap_or_default()
    }
}
