//! Asks one provider for the volumes of its directories, and does not take its word for it.

use std::sync::Arc;

use crate::flows::Ports;
use crate::provider::{DataPath, Provider, ProviderError, ProviderFault, ProviderName, Volume};

use super::assign::comes_last;

/// A provider that works, and what it would cut.
pub(in crate::flows) struct Covered {
    pub(in crate::flows) provider: Arc<dyn Provider>,
    /// What it says that somebody should see to.
    pub(in crate::flows) warnings: Vec<String>,
    /// In cutting order.
    pub(in crate::flows) volumes: Vec<Volume>,
}

/// Opens a provider, lets it check itself, and proves that each of its directories lies on exactly one of its volumes.
pub(in crate::flows) async fn cover(ports: &Ports<'_>, name: &ProviderName, paths: &[DataPath]) -> Result<Covered, ProviderError> {
    let provider = ports.providers.open(name).await?;
    let warnings = provider.check().await?;
    let volumes = in_cutting_order(provider.resolve(paths).await?);
    check_covered(name, paths, &volumes)?;
    Ok(Covered { provider, warnings, volumes })
}

/// A volume with files that must come last is cut last.
fn in_cutting_order(mut volumes: Vec<Volume>) -> Vec<Volume> {
    volumes.sort_by_key(|volume| volume.paths.iter().any(comes_last));
    volumes
}

fn check_covered(provider: &ProviderName, paths: &[DataPath], volumes: &[Volume]) -> Result<(), ProviderError> {
    let fault = |fault| ProviderError { provider: provider.clone(), operation: "map the directories to volumes", fault };
    for path in paths {
        let holders = volumes.iter().flat_map(|volume| &volume.paths).filter(|held| held.name == path.name).count();
        match holders {
            1 => {}
            0 => return Err(fault(ProviderFault::UnmanagedPath(path.path.display().to_string()))),
            _ => return Err(fault(ProviderFault::BadAnswer(format!("`{}` lies on {holders} volumes", path.path.display())))),
        }
    }
    Ok(())
}
