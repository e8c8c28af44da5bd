//! The section `[external_archive]`: where another tool keeps the WAL of the server, for backups that are taken beside it.

use stillframe_core::catalog::ExternalKind;
use stillframe_store::{StoreSettings, StoreUrl};

use super::reader::Reader;
use super::{ConfigError, kind};

/// The archive of another tool.
#[derive(Debug)]
pub struct ExternalConfig {
    /// Which tool.
    pub kind: ExternalKind,
    /// How its place is reached; none where it is not read.
    pub place: Option<StoreSettings>,
}

/// Reads the section; none when the file has none.
pub(super) fn read(read: &Reader<'_>) -> Result<Option<ExternalConfig>, ConfigError> {
    let url: Option<StoreUrl> =
        read.parsed("external_archive.url", |text| text.parse().map_err(|error| kind::store_url(&error)))?;
    let kind = match (read.text("external_archive.kind").as_deref(), &url) {
        (None, None) => return Ok(None),
        (None, Some(_)) => return Err(ConfigError::Missing { key: "external_archive.kind" }),
        (Some("wal-g"), None) => return Err(ConfigError::Missing { key: "external_archive.url" }),
        (Some("wal-g"), Some(_)) => ExternalKind::WalG,
        (Some(_), None) => ExternalKind::Other,
        (Some(_), Some(_)) => {
            return Err(read.clash(
                "external_archive.url",
                "only the layout of `wal-g` can be read".to_owned(),
                "remove `url`, or set `kind = \"wal-g\"`".to_owned(),
            ));
        }
    };
    let place = url.map(|url| StoreSettings {
        endpoint: read.text("external_archive.endpoint"),
        region: read.text("external_archive.region"),
        path_style: read.flag("external_archive.path_style"),
        profile: read.text("external_archive.profile"),
        credentials_file: read.path("external_archive.credentials_file"),
        ca_cert_file: read.path("external_archive.ca_cert_file"),
        ..StoreSettings::new(url)
    });
    if let Some(settings) = &place {
        settings.check().map_err(|error| {
            let hint = stillframe_core::error::Classify::hint(&error).unwrap_or_default();
            read.clash("external_archive.url", error.to_string(), hint.replace("[store]", "[external_archive]"))
        })?;
    }
    Ok(Some(ExternalConfig { kind, place }))
}
