//! `provider list` and `provider inspect`: which providers there are, and what each asks for and is granted.

use std::process::ExitCode;

use clap::Subcommand;
use serde::Serialize;
use stillframe_core::provider::ProviderName;
use stillframe_runtime::{ComponentSource, Grants, Inspection};

use crate::common::Common;
use crate::config::{Config, ConfigError, ProviderConfig, bundled};
use crate::exit::Failure;
use crate::output::{applying, bytes, print, table};
use crate::wiring::{ConfiguredProviders, variables};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// List the configured and the bundled providers
    List,
    /// Show what a provider is, what it asks for and what it is granted
    Inspect {
        /// Its name in the configuration
        #[arg(value_parser = |text: &str| ProviderName::try_from(text.to_owned()))]
        name: ProviderName,
    },
}

/// Looks at providers. The store is not touched.
pub async fn run(common: &Common, command: &Command, json: bool) -> Result<ExitCode, Failure> {
    let config = Config::load(common.config.as_deref(), &variables())?;
    match command {
        Command::List => list(&config, json),
        Command::Inspect { name } => return inspect(&config, name, json).await,
    }
    Ok(ExitCode::SUCCESS)
}

#[derive(Serialize)]
struct Listing {
    providers: Vec<Listed>,
    bundled: Vec<&'static str>,
}

#[derive(Serialize)]
struct Listed {
    name: String,
    component: String,
}

fn list(config: &Config, json: bool) {
    let listed =
        |(name, provider): (&ProviderName, &ProviderConfig)| Listed { name: name.to_string(), component: component(provider) };
    let listing = Listing {
        providers: config.providers.iter().map(listed).collect(),
        bundled: bundled().iter().map(|bundled| bundled.name).collect(),
    };
    print(json, &listing, || {
        let rows: Vec<Vec<String>> = listing.providers.iter().map(|row| vec![row.name.clone(), row.component.clone()]).collect();
        format!("{}\n\nbundled with this program: {}", table(&["NAME", "COMPONENT"], &rows), listing.bundled.join(", "))
    });
}

fn component(provider: &ProviderConfig) -> String {
    match &provider.settings.component {
        ComponentSource::Embedded { .. } => "bundled".to_owned(),
        ComponentSource::File { path, .. } => path.display().to_string(),
    }
}

async fn inspect(config: &Config, name: &ProviderName, json: bool) -> Result<ExitCode, Failure> {
    let Some(provider) = config.providers.get(name) else {
        return Err(ConfigError::NoSuchProvider { name: name.clone(), known: config.providers.keys().cloned().collect() }.into());
    };
    let providers = ConfiguredProviders::new(config.runtime.clone(), config.providers.clone());
    let inspection = providers.runtime().inspect(&provider.settings).await?;
    print(json, &inspection, || describe(name, provider, &inspection));
    Ok(ExitCode::SUCCESS)
}

fn describe(name: &ProviderName, provider: &ProviderConfig, inspection: &Inspection) -> String {
    let mut lines = vec![
        format!("provider     {name}"),
        format!("component    {}, {}", component(provider), bytes(inspection.size_bytes)),
        format!("sha256       {}", inspection.sha256),
        format!("interface    {}", inspection.interface_version.as_deref().unwrap_or("none that this host knows")),
    ];
    if let Some(description) = &inspection.description {
        lines.push(format!("says         {} {}: {}", description.name, description.version, description.summary));
        lines.push(format!("can          {}", features(inspection)));
    }
    if let Some(problem) = &inspection.description_problem {
        lines.push(format!("says         nothing: {problem}"));
    }
    for capability in &inspection.capabilities {
        let reason = match &capability.reason {
            Some(reason) => reason,
            None if capability.imported => "it does not say why",
            None => "nothing of it, although it is granted",
        };
        lines.push(format!("wants        {}: {reason}", capability.capability));
        if capability.granted.is_empty() {
            lines.push("granted      nothing".to_owned());
        }
        lines.extend(capability.granted.iter().map(|granted| format!("granted      {granted}")));
    }
    if provider.settings.grants == Grants::default() && inspection.capabilities.is_empty() {
        lines.push("wants        nothing".to_owned());
    }
    if !inspection.command_prefix.is_empty() {
        lines.push(format!("granted      every program is started through `{}`", inspection.command_prefix.join(" ")));
    }
    lines.extend(inspection.restore_below.iter().map(|directory| {
        format!("granted      a restore may lie below `{}`, and the directory asked for becomes a link to it", directory.display())
    }));
    lines.extend(inspection.problems.iter().map(|problem| format!("problem      {problem}")));
    if let Some(description) = &inspection.description {
        lines.push(format!("keys         {}", keys(&description.config_schema)));
    }
    lines.join("\n")
}

fn features(inspection: &Inspection) -> String {
    let Some(description) = &inspection.description else { return String::new() };
    let features = description.features;
    applying(&[
        (features.isolated, "isolated"),
        (features.atomic_group, "atomic groups"),
        (features.immediate, "ready at once"),
        (features.incremental, "incremental"),
        (features.restore, "restore"),
        (features.lock, "lock"),
    ])
}

/// The keys of its configuration, from its JSON Schema.
fn keys(schema: &str) -> String {
    let schema: serde_json::Value = serde_json::from_str(schema).unwrap_or_default();
    let properties = schema.get("properties").and_then(serde_json::Value::as_object);
    properties.map_or_else(|| "none".to_owned(), |properties| properties.keys().cloned().collect::<Vec<_>>().join(", "))
}
