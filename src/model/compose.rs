//! A compose project as `docker compose config --format json` writes it, and the images that its services build.
//!
//! The model is compose's own: files merged, variables replaced, profiles applied, paths absolute. Names, labels and order
//! are those of docker/compose (`pkg/compose/build*.go`, `pkg/api/labels.go`), so that the images are what compose would
//! make.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::model::engine::{Frontend, Version};
use crate::model::member::{Member, source_flags};
use crate::model::request::{Flag, Request};

/// A project.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Project {
    name: String,
    #[serde(default)]
    services: BTreeMap<String, Service>,
    #[serde(default)]
    secrets: BTreeMap<String, Secret>,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct Service {
    image: Option<String>,
    platform: Option<String>,
    build: Option<Map<String, Value>>,
    #[serde(default)]
    depends_on: BTreeMap<String, Value>,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct Secret {
    file: Option<String>,
    environment: Option<String>,
}

/// What the command line adds to every image.
#[derive(Debug, Clone, Copy)]
pub struct Added<'a> {
    /// Flags of every build: `--build-arg`, `--no-cache`, `--pull`, `--ssh`.
    pub flags: &'a [Flag],
    /// Images that have a name are pushed.
    pub push: bool,
    /// compose's version, which stands in a label.
    pub version: Option<Version>,
    /// What builds: the classic builder gets another label.
    pub frontend: Frontend,
}

impl Project {
    /// Reads what compose printed.
    pub fn parse(text: &str) -> Result<Self, String> {
        serde_json::from_str(text).map_err(|error| error.to_string())
    }

    /// The images of services, each after those that it needs. `services`: none means all. An error is what only compose
    /// can do.
    pub fn members(
        &self,
        services: &[String],
        with_dependencies: bool,
        added: Added<'_>,
    ) -> Result<Vec<Member>, String> {
        let mut wanted: Vec<&str> = services.iter().map(String::as_str).collect();
        if wanted.is_empty() {
            wanted.extend(self.services.keys().map(String::as_str));
        }
        let mut order = Vec::new();
        let mut seen = BTreeSet::new();
        for name in wanted {
            self.visit(name, with_dependencies, &mut seen, &mut order)?;
        }
        let builds = |name: &&str| self.services.get(*name).is_some_and(|service| service.build.is_some());
        order.into_iter().filter(builds).map(|name| self.member(name, added)).collect()
    }

    fn visit<'a>(
        &'a self,
        name: &'a str,
        with_dependencies: bool,
        seen: &mut BTreeSet<&'a str>,
        order: &mut Vec<&'a str>,
    ) -> Result<(), String> {
        if !seen.insert(name) {
            return Ok(());
        }
        let service = self.services.get(name).ok_or_else(|| format!("no service `{name}` is known"))?;
        for (_, place) in service.contexts() {
            let needed = place.strip_prefix("service:").and_then(|it| self.services.get_key_value(it));
            if let Some((needed, _)) = needed {
                self.visit(needed, with_dependencies, seen, order)?;
            }
        }
        if with_dependencies {
            for needed in service.depends_on.keys().filter(|name| self.services.contains_key(*name)) {
                self.visit(needed, with_dependencies, seen, order)?;
            }
        }
        order.push(name);
        Ok(())
    }

    /// The name of a service's image.
    fn image(&self, name: &str) -> String {
        let own = self.services.get(name).and_then(|service| service.image.clone());
        own.unwrap_or_else(|| format!("{}-{name}", self.name))
    }

    fn member(&self, name: &str, added: Added<'_>) -> Result<Member, String> {
        let empty = Map::new();
        let service = self.services.get(name).ok_or_else(|| format!("no service `{name}` is known"))?;
        let build = service.build.as_ref().unwrap_or(&empty);
        let text = |key: &str| build.get(key).and_then(Value::as_str).map(unescaped);
        let inline = text("dockerfile_inline");
        let (context, file) = source_flags(
            &text("context").unwrap_or_default(),
            text("dockerfile").as_deref(),
            inline.is_some(),
        );
        let mut flags: Vec<Flag> = file.into_iter().collect();
        for (key, value) in build {
            let list = |name: &'static str| texts(value).into_iter().map(move |text| Flag::text(name, text));
            match key.as_str() {
                "context" | "dockerfile" | "dockerfile_inline" | "additional_contexts" | "isolation" => {}
                "args" => flags.extend(pairs("build-arg", value)),
                "labels" => flags.extend(pairs("label", value)),
                "cache_from" => flags.extend(list("cache-from")),
                "cache_to" => flags.extend(list("cache-to")),
                "entitlements" => flags.extend(list("allow")),
                "network" => flags.extend(list("network")),
                "platforms" => flags.extend(list("platform")),
                "provenance" => flags.extend(list("provenance")),
                "sbom" => flags.extend(list("sbom")),
                "shm_size" => flags.extend(list("shm-size")),
                "ssh" => flags.extend(list("ssh")),
                "tags" => flags.extend(list("tag")),
                "target" => flags.extend(list("target")),
                "no_cache_filter" => flags.extend(list("no-cache-filter")),
                "no_cache" if value == &Value::Bool(true) => flags.push(Flag::on("no-cache")),
                "pull" if value == &Value::Bool(true) => flags.push(Flag::on("pull")),
                "no_cache" | "pull" => {}
                "extra_hosts" => flags.extend(
                    texts(value).into_iter().map(|text| Flag::text("add-host", text.replacen('=', ":", 1))),
                ),
                "ulimits" => flags.extend(ulimits(value)),
                "secrets" => flags.extend(self.secrets(value)?),
                "privileged" if value == &Value::Bool(false) => {}
                other => return Err(format!("service `{name}` has `build.{other}`")),
            }
        }
        if let Some(platform) = service.platform.as_ref().filter(|_| !build.contains_key("platforms")) {
            flags.push(Flag::text("platform", platform.clone()));
        }
        let mut needs = Vec::new();
        for (context, place) in service.contexts() {
            let place = match place.strip_prefix("service:") {
                Some(other) => {
                    needs.push(other.to_owned());
                    format!("docker-image://{}", self.image(other))
                }
                None => place,
            };
            flags.push(Flag::text("build-context", format!("{context}={place}")));
        }
        flags.extend(added.flags.iter().cloned());
        flags.extend(self.labels(name, added));
        flags.push(Flag::text("tag", self.image(name)));
        if added.push && service.image.is_some() {
            flags.push(Flag::on("push"));
        }
        let request = Request { flags, context };
        Ok(Member { name: name.to_owned(), request, inline, needs, asked: true, unknown: Vec::new() })
    }

    fn labels(&self, service: &str, added: Added<'_>) -> Vec<Flag> {
        let label =
            |name: &str, value: &str| Flag::text("label", format!("com.docker.compose.{name}={value}"));
        if added.frontend == Frontend::Classic {
            return vec![label("image.builder", "classic")];
        }
        let version = added.version.map(|version| label("version", &version.to_string()));
        let mut labels = vec![label("project", &self.name), label("service", service)];
        labels.extend(version);
        labels
    }

    fn secrets(&self, value: &Value) -> Result<Vec<Flag>, String> {
        let given = value.as_array().into_iter().flatten().map(|secret| {
            let text = |key: &str| secret.get(key).and_then(Value::as_str);
            let source = text("source").or(secret.as_str()).unwrap_or_default();
            // A target may be a path below /run/secrets; the id is its last part, as compose has it.
            let id = text("target").and_then(|path| path.rsplit('/').next()).unwrap_or(source);
            match self.secrets.get(source) {
                Some(Secret { file: Some(file), .. }) => Ok(format!("id={id},type=file,src={file}")),
                Some(Secret { environment: Some(name), .. }) => Ok(format!("id={id},type=env,env={name}")),
                _ => Err(format!("secret `{source}` is neither a file nor a variable")),
            }
        });
        given.map(|secret| secret.map(|text| Flag::text("secret", text))).collect()
    }

    /// Variables that secrets are taken from.
    pub fn secret_variables(&self) -> impl Iterator<Item = &str> {
        self.secrets.values().filter_map(|secret| secret.environment.as_deref())
    }
}

impl Service {
    fn contexts(&self) -> impl Iterator<Item = (String, String)> {
        let named = self.build.as_ref().and_then(|build| build.get("additional_contexts"));
        let pairs: Vec<(String, String)> = match named {
            Some(Value::Object(map)) => {
                let text = |value: &Value| value.as_str().map(unescaped);
                map.iter().filter_map(|(name, value)| Some((name.clone(), text(value)?))).collect()
            }
            Some(list) => texts(list)
                .iter()
                .filter_map(|text| text.split_once('='))
                .map(|(name, place)| (name.to_owned(), place.to_owned()))
                .collect(),
            None => Vec::new(),
        };
        pairs.into_iter()
    }
}

fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::Array(values) => values.iter().flat_map(texts).collect(),
        Value::String(text) => vec![unescaped(text)],
        Value::Object(map) => map
            .iter()
            .flat_map(|(key, value)| texts(value).into_iter().map(move |text| format!("{key}={text}")))
            .collect(),
        Value::Null => Vec::new(),
        other => vec![other.to_string()],
    }
}

/// `NAME=VALUE`; a name without a value takes it from the environment.
fn pairs(name: &'static str, value: &Value) -> Vec<Flag> {
    let map = value.as_object().into_iter().flatten();
    map.map(|(key, value)| match texts(value).first() {
        Some(text) => Flag::text(name, format!("{key}={text}")),
        None => Flag::text(name, key.clone()),
    })
    .collect()
}

fn ulimits(value: &Value) -> Vec<Flag> {
    let map = value.as_object().into_iter().flatten();
    let limit = |(name, value): (&String, &Value)| {
        let text = match (value.get("soft"), value.get("hard")) {
            (Some(soft), Some(hard)) => format!("{name}={soft}:{hard}"),
            _ => format!("{name}={value}"),
        };
        Flag::text("ulimit", text)
    };
    map.map(limit).collect()
}

/// `config` doubles every `$`, so that its output could be read again.
fn unescaped(text: &str) -> String {
    text.replace("$$", "$")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::request::arguments;

    /// From `docker compose config --format json` of 2.26, with what the tests of this file need.
    const PROJECT: &str = r#"{
      "name": "p",
      "secrets": {"sec": {"name": "p_sec", "file": "/p/secret"}},
      "services": {
        "api": {"build": {"context": "/p", "dockerfile": "Dockerfile", "target": "api", "network": "host",
          "args": {"WHO": "me $$1", "TOKEN": null}, "ulimits": {"nofile": {"soft": 1, "hard": 2}, "nproc": 3},
          "extra_hosts": ["db=10.0.0.1"], "tags": ["r.io/extra:1"]}, "image": "r.io/api:1", "platform": "linux/arm64"},
        "db": {"image": "postgres"},
        "web": {"build": {"context": "/p/web", "dockerfile_inline": "FROM api\n", "secrets": [{"source": "sec"}],
          "additional_contexts": {"api": "service:api", "shared": "/p/shared"}}, "depends_on": {"zero": {}}},
        "zero": {"build": {"context": "/p/zero", "dockerfile": "dev.Dockerfile"}}
      }}"#;

    fn members(services: &[&str], with_dependencies: bool, frontend: Frontend) -> Vec<Member> {
        let added = Added {
            flags: &[Flag::text("build-arg", "X=1")],
            push: true,
            version: Some(Version(2, 26, 1)),
            frontend,
        };
        let services: Vec<String> = services.iter().map(|name| (*name).to_owned()).collect();
        let project = Project::parse(PROJECT).expect("JSON");
        project.members(&services, with_dependencies, added).expect("members")
    }

    fn names(members: &[Member]) -> Vec<&str> {
        members.iter().map(|member| member.name.as_str()).collect()
    }

    #[test]
    fn images_are_what_compose_would_make() {
        let members = members(&["web"], false, Frontend::Buildx);
        assert_eq!(names(&members), ["api", "web"], "what a context needs comes first");
        let line = |member: &Member| arguments(&member.request.flags).join(" ");
        insta::assert_snapshot!(line(&members[0]), @"--build-arg TOKEN --build-arg WHO=me $1 --add-host db:10.0.0.1 --network host --tag r.io/extra:1 --target api --ulimit nofile=1:2 --ulimit nproc=3 --platform linux/arm64 --build-arg X=1 --label com.docker.compose.project=p --label com.docker.compose.service=api --label com.docker.compose.version=2.26.1 --tag r.io/api:1 --push");
        insta::assert_snapshot!(line(&members[1]), @"--file - --secret id=sec,type=file,src=/p/secret --build-context api=docker-image://r.io/api:1 --build-context shared=/p/shared --build-arg X=1 --label com.docker.compose.project=p --label com.docker.compose.service=web --label com.docker.compose.version=2.26.1 --tag p-web");
        assert_eq!(members[1].inline.as_deref(), Some("FROM api\n"));
    }

    #[test]
    fn services_are_chosen_as_compose_does() {
        assert_eq!(names(&members(&[], false, Frontend::Buildx)), ["api", "web", "zero"]);
        assert_eq!(names(&members(&["web"], true, Frontend::Buildx)), ["api", "zero", "web"]);
        let classic = members(&["zero"], false, Frontend::Classic);
        let labels: Vec<&str> = classic[0].request.all("label").collect();
        assert_eq!(labels, ["com.docker.compose.image.builder=classic"]);
    }

    #[test]
    fn what_only_compose_can_do_is_left_to_it() {
        let text = r#"{"name": "p", "services": {"a": {"build": {"context": "/p", "newest": 1}}}}"#;
        let added = Added { flags: &[], push: false, version: None, frontend: Frontend::Buildx };
        let error = Project::parse(text).expect("JSON").members(&[], false, added).expect_err("unknown");
        assert_eq!(error, "service `a` has `build.newest`");
    }
}
