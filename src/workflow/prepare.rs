//! Before the build: the merged cache ref is written, stage images are pulled (classic). Nothing here can fail a build.

use futures_util::stream::{self, StreamExt};

use crate::base::process::Interrupts;
use crate::engine::docker::Docker;
use crate::model::reference::Reference;
use crate::plan::chain::Put;
use crate::plan::command::Build;
use crate::registry::{Client, Content, Error};

/// Pulls under way at once.
const PULLS_AT_ONCE: usize = 4;

/// Writes a cache ref: the config as a blob, then the manifest. The layers are in the repository already.
pub async fn put(client: &Client, put: &Put) -> Result<(), Error> {
    let authored = &put.authored;
    let repository = put.reference.repository();
    let config = Content::Bytes(authored.config.clone().into());
    client.put_blob(repository, &authored.config_digest, &config).await?;
    let manifest = authored.manifest.clone().into();
    client.put_manifest(&put.reference, authored.manifest_media_type, manifest).await?;
    Ok(())
}

/// Makes the build read another ref, or none.
pub fn read_instead(build: &mut Build, planned: &Reference, instead: Option<&Reference>) {
    let planned = planned.to_string();
    build.flags.retain_mut(|flag| {
        if flag.name != "cache-from" {
            return true;
        }
        let names = |text: &&str| text.split([',', '=']).any(|part| part == planned);
        let Some(text) = flag.value.text().filter(names) else { return true };
        let Some(instead) = instead else { return false };
        flag.value = crate::model::request::Value::Text(text.replace(&planned, &instead.to_string()));
        true
    });
}

/// Pulls images in parallel; those that cannot be pulled are taken out of the build, with a warning.
pub async fn pull(
    docker: &Docker,
    images: &[Reference],
    build: &mut Build,
    interrupts: &Interrupts,
) -> Vec<String> {
    let pulls = images.iter().map(|image| async move {
        let mut interrupts = interrupts.clone();
        (image, docker.pull(&image.to_string(), &mut interrupts).await)
    });
    let results: Vec<_> = stream::iter(pulls).buffer_unordered(PULLS_AT_ONCE).collect().await;
    let mut warnings = Vec::new();
    for (image, result) in results {
        if let Err(error) = result {
            warnings.push(format!("a stage image cannot be read: {error}"));
            read_instead(build, image, None);
        }
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::request::{Context, Flag, arguments};

    #[test]
    fn another_ref_takes_the_place() {
        let read: Reference = "r.io/c:own".parse().expect("reference");
        let flags = vec![Flag::text("cache-from", "type=registry,ref=r.io/c:own"), Flag::on("pull")];
        let mut build = Build { flags, context: Context::Stdin };
        let mut other = build.clone();
        read_instead(&mut build, &read, Some(&"r.io/c:main".parse().expect("reference")));
        assert_eq!(arguments(&build.flags), ["--cache-from", "type=registry,ref=r.io/c:main", "--pull"]);
        read_instead(&mut other, &read, None);
        assert_eq!(arguments(&other.flags), ["--pull"]);
    }
}
