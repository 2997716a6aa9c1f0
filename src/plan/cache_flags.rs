//! The values of `--cache-from` and `--cache-to`, as buildx reads them (BUILDKIT.md 3).

use std::path::Path;

use crate::model::engine::{Driver, Engine, Frontend, ManifestForm};
use crate::model::reference::Reference;
use crate::model::settings::Settings;
use crate::plan::compression::Compression;

/// Reads a cache ref.
pub fn from_registry(engine: &Engine, settings: &Settings, reference: &Reference) -> String {
    match engine.frontend {
        Frontend::Buildx | Frontend::Buildctl => {
            format!("type=registry,ref={reference}{}", insecure(engine, settings, reference))
        }
        Frontend::BuildKit | Frontend::Classic | Frontend::Buildah => reference.to_string(),
    }
}

/// Writes a cache ref, with all stages in it.
pub fn to_registry(
    engine: &Engine,
    settings: &Settings,
    reference: &Reference,
    compression: Compression,
) -> String {
    // BuildKit before 0.12 knows neither `ignore-error` nor the image form.
    let form = match engine.manifest_form() {
        ManifestForm::Image => ",ignore-error=true,image-manifest=true,oci-mediatypes=true",
        ManifestForm::Index => ",oci-mediatypes=true",
    };
    let insecure = insecure(engine, settings, reference);
    format!("type=registry,ref={reference},mode=max{form}{}{insecure}", compression.fields())
}

/// Reads a cache folder.
pub fn from_folder(folder: &Path) -> String {
    format!("type=local,{}", field("src", folder))
}

/// Writes a cache folder, with all stages in it.
pub fn to_folder(folder: &Path, compression: Compression) -> String {
    format!("type=local,{},mode=max,ignore-error=true{}", field("dest", folder), compression.fields())
}

/// One field of a CSV record.
fn field(name: &str, path: &Path) -> String {
    let field = format!("{name}={}", path.display());
    if field.contains([',', '"']) { format!("\"{}\"", field.replace('"', "\"\"")) } else { field }
}

/// The engine's own BuildKit knows its insecure registries from the engine's configuration; other builders are told.
fn insecure(engine: &Engine, settings: &Settings, reference: &Reference) -> &'static str {
    let registry = reference.repository().registry();
    let listed = settings.insecure_registries.iter().any(|name| name == registry);
    if listed && engine.driver != Driver::Docker { ",registry.insecure=true" } else { "" }
}
