//! What Docker's `config.json` says about who builds. A file that cannot be read says nothing here: Docker's client
//! complains of it better.

use std::io::Read;
use std::path::Path;

use serde::Deserialize;

/// The largest file that is read.
const LARGEST: u64 = 4 << 20;

/// The keys that matter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DockerConfig {
    /// `currentContext`.
    pub current_context: Option<String>,
    /// `aliases.builder`: the plugin that `docker build` is handed to.
    pub builder_alias: Option<String>,
}

impl DockerConfig {
    /// Reads the file in Docker's folder.
    pub fn read(folder: &Path) -> DockerConfig {
        #[derive(Default, Deserialize)]
        #[serde(rename_all = "camelCase", default)]
        struct File {
            current_context: Option<String>,
            aliases: Option<Aliases>,
        }
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Aliases {
            builder: Option<String>,
        }
        let mut bytes = Vec::new();
        let file = std::fs::File::open(folder.join("config.json"));
        let read = file.and_then(|file| file.take(LARGEST).read_to_end(&mut bytes));
        let file: File = read.ok().and_then(|_| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
        DockerConfig {
            current_context: file.current_context.filter(|name| !name.is_empty()),
            builder_alias: file.aliases.and_then(|aliases| aliases.builder),
        }
    }
}
