//! A bake definition as `docker buildx bake --print` and `docker compose build --print` write it, and the members in it.
//!
//! Fields that hold several values are lists of texts or of objects, as the version of buildx has it (docker/buildx
//! `bake/bake.go`, `util/buildflags`). What is not known here does not disappear: such a member is built by bake all the
//! same, and says so in [`Member::unknown`].

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::Value;

use crate::model::member::{Member, source_flags};
use crate::model::request::{Flag, Request, csv_fields};

/// A whole definition, with everything resolved: groups, inheritance, variables, matrices.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Definition {
    #[serde(default)]
    group: BTreeMap<String, Group>,
    #[serde(default)]
    target: BTreeMap<String, serde_json::Map<String, Value>>,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct Group {
    #[serde(default)]
    targets: Vec<String>,
}

impl Definition {
    /// Reads what bake printed.
    pub fn parse(text: &str) -> Result<Self, String> {
        serde_json::from_str(text).map_err(|error| error.to_string())
    }

    /// What the group `default` builds, with everything that it builds on; a member comes after those that it needs.
    pub fn members(&self) -> Vec<Member> {
        let mut wanted = Vec::new();
        let mut seen = BTreeSet::new();
        let asked = match self.group.get("default") {
            Some(_) => {
                self.visit("default", &mut seen, &mut wanted);
                self.asked("default")
            }
            None => {
                self.target.keys().for_each(|name| self.visit(name, &mut seen, &mut wanted));
                self.target.keys().collect()
            }
        };
        for member in &mut wanted {
            member.asked = asked.contains(&member.name);
            if !member.asked {
                // As bake has it, whatever its definition says.
                member.request.flags.retain(|flag| flag.name != "output");
                member.request.flags.push(Flag::text("output", "type=cacheonly"));
            }
        }
        wanted
    }

    /// The targets of a group and of the groups in it.
    fn asked(&self, group: &str) -> BTreeSet<&String> {
        let (mut seen, mut targets) = (BTreeSet::new(), BTreeSet::new());
        let mut open: Vec<&str> = vec![group];
        while let Some(group) = open.pop() {
            if !seen.insert(group) {
                continue;
            }
            for name in self.group.get(group).iter().flat_map(|group| &group.targets) {
                match self.target.contains_key(name) {
                    true => drop(targets.insert(name)),
                    false => open.push(name),
                }
            }
        }
        targets
    }

    fn visit(&self, name: &str, seen: &mut BTreeSet<String>, members: &mut Vec<Member>) {
        if !seen.insert(name.to_owned()) {
            return;
        }
        // A group may have the name of a target; what is built is the target.
        match (self.target.get(name), self.group.get(name)) {
            (Some(target), _) => {
                let member = member(name, target);
                member.needs.iter().for_each(|needed| self.visit(needed, seen, members));
                members.push(member);
            }
            // compose lists them in an order that differs each time.
            (None, Some(group)) => {
                let targets: BTreeSet<&String> = group.targets.iter().collect();
                targets.into_iter().for_each(|target| self.visit(target, seen, members));
            }
            (None, None) => {}
        }
    }

    /// Variables of our environment that secrets are to be taken from.
    pub fn secret_variables(&self) -> BTreeSet<String> {
        let secrets = self.target.values().filter_map(|target| target.get("secret"));
        let fields = secrets.flat_map(texts).flat_map(|secret| csv_fields(&secret));
        fields.filter_map(|field| field.strip_prefix("env=").map(str::to_owned)).collect()
    }

    /// Folders of this machine that it reads, as compose allows bake to.
    pub fn folders(&self) -> BTreeSet<String> {
        let contexts = |target: &serde_json::Map<String, Value>| {
            let named = target.get("contexts").and_then(Value::as_object).cloned().unwrap_or_default();
            target.get("context").cloned().into_iter().chain(named.into_iter().map(|(_, value)| value))
        };
        let texts = self.target.values().flat_map(contexts).filter_map(|it| it.as_str().map(str::to_owned));
        texts.filter(|text| text.starts_with('/')).collect()
    }

    /// Rights beyond the ordinary that its members ask for: `network.host`, `security.insecure`.
    pub fn entitlements(&self) -> BTreeSet<String> {
        self.target.values().filter_map(|target| target.get("entitlements")).flat_map(texts).collect()
    }
}

/// What of this machine a definition asks for, beside what a Dockerfile may do anyway.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rights {
    /// `network.host`, `security.insecure`, `device=...`, `ssh`.
    pub entitlements: BTreeSet<String>,
    /// Paths that are read or written, as given: folders of contexts, secrets, outputs, caches.
    pub paths: BTreeSet<String>,
}

impl Definition {
    /// What its targets ask for (docker/buildx `bake/entitlements.go`). A text that is no address counts as a path.
    pub fn rights(&self) -> Rights {
        let mut rights = Rights { entitlements: self.entitlements(), paths: BTreeSet::new() };
        for target in self.target.values() {
            let of = |key: &str| target.get(key).map(texts).unwrap_or_default();
            let context = of("context");
            let named = target.get("contexts").and_then(Value::as_object).into_iter().flatten();
            let contexts = context.iter().cloned().chain(named.flat_map(|(_, value)| texts(value)));
            rights.paths.extend(contexts.filter(|place| !is_elsewhere(place)));
            if let (Some(context), Some(file)) = (context.first(), of("dockerfile").first())
                && !is_elsewhere(context)
                && !is_elsewhere(file)
            {
                let folder = std::path::Path::new(context).join(file);
                rights.paths.extend(folder.parent().map(|folder| folder.to_string_lossy().into_owned()));
            }
            for key in ["secret", "output", "cache-from", "cache-to"] {
                let fields = of(key).into_iter().flat_map(|text| csv_fields(&text));
                let places = fields.filter_map(|field| {
                    let Some((name, place)) = field.split_once('=') else {
                        // An output without a name is a folder.
                        return (key == "output").then_some(field);
                    };
                    let name = name.trim().to_ascii_lowercase();
                    ["src", "source", "dest"].contains(&name.as_str()).then(|| place.to_owned())
                });
                rights.paths.extend(places.filter(|place| place != "-"));
            }
            if target.contains_key("ssh") {
                rights.entitlements.insert("ssh".to_owned());
            }
        }
        rights
    }
}

fn is_elsewhere(place: &str) -> bool {
    place.contains("://") && !place.starts_with("cwd://") || place.starts_with("target:")
}

fn member(name: &str, target: &serde_json::Map<String, Value>) -> Member {
    let text = |key: &str| target.get(key).and_then(Value::as_str);
    let inline = text("dockerfile-inline").map(unescaped);
    let (context, file) = source_flags(text("context").unwrap_or("."), text("dockerfile"), inline.is_some());
    let mut flags: Vec<Flag> = file.into_iter().collect();
    let (mut needs, mut unknown) = (Vec::new(), Vec::new());
    for (key, value) in target {
        let list = |name: &'static str, value: &Value| -> Vec<Flag> {
            texts(value).into_iter().map(|text| Flag::text(name, text)).collect()
        };
        match key.as_str() {
            "context" | "dockerfile" | "dockerfile-inline" | "description" | "name" | "matrix"
            | "inherits" => {}
            "args" => flags.extend(pairs("build-arg", "=", value)),
            "labels" => flags.extend(pairs("label", "=", value)),
            "extra-hosts" => flags.extend(pairs("add-host", ":", value)),
            "contexts" => {
                for flag in pairs("build-context", "=", value) {
                    let other = flag.value.text().and_then(|text| Some(text.split_once("=target:")?.1));
                    needs.extend(other.map(str::to_owned));
                    flags.push(flag);
                }
            }
            "tags" => flags.extend(list("tag", value)),
            "annotations" => flags.extend(list("annotation", value)),
            "attest" => flags.extend(list("attest", value)),
            "cache-from" => flags.extend(list("cache-from", value)),
            "cache-to" => flags.extend(list("cache-to", value)),
            "entitlements" => flags.extend(list("allow", value)),
            "no-cache-filter" => flags.extend(list("no-cache-filter", value)),
            "output" => flags.extend(list("output", value)),
            "platforms" => flags.extend(list("platform", value)),
            "policy" => flags.extend(list("policy", value)),
            "secret" => flags.extend(list("secret", value)),
            "ssh" => flags.extend(list("ssh", value)),
            "ulimits" => flags.extend(list("ulimit", value)),
            "network" => flags.extend(list("network", value)),
            "shm-size" => flags.extend(list("shm-size", value)),
            "target" => flags.extend(list("target", value)),
            "call" => flags.extend(list("call", value)),
            "no-cache" if value == &Value::Bool(true) => flags.push(Flag::on("no-cache")),
            "pull" if value == &Value::Bool(true) => flags.push(Flag::on("pull")),
            "no-cache" | "pull" => {}
            other => unknown.push(other.to_owned()),
        }
    }
    let request = Request { flags, context };
    Member { name: name.to_owned(), request, inline, needs, asked: false, unknown }
}

/// A list's values as buildx takes them on a command line; a single value is a list of one.
fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::Array(values) => values.iter().flat_map(texts).collect(),
        Value::Object(fields) => {
            let mut fields: Vec<String> = fields
                .iter()
                .flat_map(|(key, value)| texts(value).into_iter().map(move |text| field(key, &text)))
                .collect();
            // `type=` first, as people write it.
            fields.sort_by_key(|field| !field.starts_with("type="));
            vec![fields.join(",")]
        }
        Value::String(text) => vec![unescaped(text)],
        Value::Null => Vec::new(),
        other => vec![other.to_string()],
    }
}

/// One field of a CSV record.
fn field(key: &str, value: &str) -> String {
    let field = format!("{key}={value}");
    if field.contains([',', '"']) { format!("\"{}\"", field.replace('"', "\"\"")) } else { field }
}

fn pairs(name: &'static str, separator: &str, value: &Value) -> Vec<Flag> {
    let pairs = value.as_object().into_iter().flatten();
    let flags = pairs.flat_map(|(key, value)| {
        texts(value).into_iter().map(move |text| Flag::text(name, format!("{key}{separator}{text}")))
    });
    flags.collect()
}

/// compose doubles the `$` of what bake would take for a variable of its own.
fn unescaped(text: &str) -> String {
    text.replace("$${", "${").replace("%%{", "%{")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::request::{Context, arguments};

    /// From `docker buildx bake --print` of buildx 0.29, shortened.
    const OBJECTS: &str = r#"{
      "group": {"default": {"targets": ["api", "mx"]}, "mx": {"targets": ["mx-one"]}},
      "target": {
        "api": {"context": ".", "dockerfile": "Dockerfile", "args": {"WHO": "me", "NONE": null}, "labels": {"x": "y"},
          "tags": ["r.io/api:dev"], "target": "api", "platforms": ["linux/amd64"], "network": "host",
          "output": [{"push": "true", "type": "image"}], "attest": [{"disabled": true, "type": "provenance"}],
          "entitlements": ["network.host"]},
        "base": {"context": ".", "dockerfile": "Dockerfile", "target": "tools", "output": [{"type": "cacheonly"}]},
        "mx-one": {"context": "sub", "contexts": {"b": "target:base"}, "dockerfile": "Dockerfile",
          "dockerfile-inline": "FROM b\n", "secret": [{"id": "s", "env": "TOKEN"}], "pull": true, "newest": 1},
        "unused": {"context": "."}
      }}"#;

    fn line(member: &Member) -> String {
        arguments(&member.request.flags).join(" ")
    }

    #[test]
    fn members_are_requests_in_the_order_of_need() {
        let definition = Definition::parse(OBJECTS).expect("JSON");
        let members = definition.members();
        let names: Vec<&str> = members.iter().map(|member| member.name.as_str()).collect();
        assert_eq!(names, ["api", "base", "mx-one"]);
        insta::assert_snapshot!(line(&members[0]), @"--build-arg WHO=me --attest type=provenance,disabled=true --allow network.host --label x=y --network host --output type=image,push=true --platform linux/amd64 --tag r.io/api:dev --target api");
        assert!(members[0].beyond().is_empty());
        insta::assert_snapshot!(line(&members[2]), @"--file - --build-context b=target:base --pull --secret env=TOKEN,id=s");
        assert_eq!(members[2].request.context, Context::Folder("sub".into()));
        assert_eq!(
            (members[2].inline.as_deref(), &members[2].needs),
            (Some("FROM b\n"), &vec!["base".to_owned()])
        );
        assert_eq!(members[2].beyond(), ["`newest`", "the context of target `base`"]);
        assert_eq!(definition.secret_variables().into_iter().collect::<Vec<_>>(), ["TOKEN"]);
    }

    #[test]
    fn rights_are_named() {
        let rights = Definition::parse(OBJECTS).expect("JSON").rights();
        assert_eq!(rights.entitlements.into_iter().collect::<Vec<_>>(), ["network.host"]);
        assert_eq!(rights.paths.into_iter().collect::<Vec<_>>(), [".", "sub"]);
        let text = r#"{"target": {"a": {"context": "https://host/a.git", "contexts": {"x": "../x", "y": "target:b"},
            "ssh": ["default"], "secret": ["id=s,src=/etc/s"], "output": ["type=local,DEST=out", "../o"]}}}"#;
        let rights = Definition::parse(text).expect("JSON").rights();
        assert_eq!(rights.entitlements.into_iter().collect::<Vec<_>>(), ["ssh"]);
        assert_eq!(rights.paths.into_iter().collect::<Vec<_>>(), ["../o", "../x", "/etc/s", "out"]);
    }

    #[test]
    fn texts_are_read_as_well() {
        let text = r#"{"target": {"web": {"context": "/p", "contexts": {"shared": "/p/shared"}, "cache-from": ["r.io/c:1"],
            "output": ["type=docker"], "extra-hosts": {"db": "10.0.0.1"}, "args": {"A": "$${HOME} $X"}}}}"#;
        let definition = Definition::parse(text).expect("JSON");
        insta::assert_snapshot!(line(&definition.members()[0]), @"--build-arg A=${HOME} $X --cache-from r.io/c:1 --build-context shared=/p/shared --add-host db:10.0.0.1 --output type=docker");
        assert_eq!(definition.folders().into_iter().collect::<Vec<_>>(), ["/p", "/p/shared"]);
        assert!(Definition::parse("no JSON").is_err());
    }
}
