//! One image of several that are built together: a compose service, a bake target.

use std::path::PathBuf;

use crate::model::request::{Context, Flag, Request, csv_fields};

/// What is to be built under which name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its name: of the target or the service.
    pub name: String,
    /// The `docker build` that it stands for.
    pub request: Request,
    /// The Dockerfile's text, where it stands in the definition. The request then reads it from standard input.
    pub inline: Option<String>,
    /// Other members whose result it builds on.
    pub needs: Vec<String>,
    /// Somebody asked for it; a member that nobody asked for is built where another one needs it, and goes nowhere.
    pub asked: bool,
    /// Keys of its definition that are not known here; empty for nearly all.
    pub unknown: Vec<String>,
}

impl Member {
    /// What of it no `docker build` can say, in words; empty for nearly all.
    pub fn beyond(&self) -> Vec<String> {
        let unknown = self.unknown.iter().map(|key| format!("`{key}`"));
        unknown.chain(self.needs.iter().map(|needed| format!("the context of target `{needed}`"))).collect()
    }

    /// The members that it builds on, and those below them. `all`: each after those that it needs.
    pub fn below<'a>(&self, all: impl DoubleEndedIterator<Item = &'a Member>) -> Vec<&'a Member> {
        let mut below: Vec<&Member> = Vec::new();
        for other in all.rev() {
            if std::iter::once(self).chain(below.iter().copied()).any(|it| it.needs.contains(&other.name)) {
                below.push(other);
            }
        }
        below
    }

    /// Whether every build runs steps of it, whatever the engine has.
    pub fn is_made_anew(&self) -> bool {
        self.request.is_on("no-cache") || self.request.has("no-cache-filter")
    }

    /// The values that its definition gives for a half of the cache, `cache-from` or `cache-to`, where they may stand on
    /// a command line. `None` where one of them holds a credential.
    pub fn shown<'a>(&'a self, half: &'a str) -> Option<Vec<&'a str>> {
        // Of the attributes of the cache backends (BuildKit's README): those that are no secrets.
        const PLAIN: [&str; 14] = [
            "type",
            "ref",
            "mode",
            "src",
            "dest",
            "tag",
            "digest",
            "scope",
            "name",
            "compression",
            "ignore-error",
            "oci-mediatypes",
            "image-manifest",
            "force-compression",
        ];
        let plain = |value: &str| {
            csv_fields(value)
                .iter()
                .all(|field| field.split_once('=').is_none_or(|(key, _)| PLAIN.contains(&key)))
        };
        let values: Vec<&str> = self.request.all(half).collect();
        values.iter().all(|value| plain(value)).then_some(values)
    }
}

/// The flags that say where the files come from. `dockerfile` counts from the context, as bake and compose have it.
pub(crate) fn source_flags(context: &str, dockerfile: Option<&str>, inline: bool) -> (Context, Option<Flag>) {
    let context = match context.strip_prefix("cwd://") {
        Some("") => Context::Folder(PathBuf::from(".")),
        Some(path) => Context::Folder(PathBuf::from(path)),
        None => Context::parse(if context.is_empty() { "." } else { context }),
    };
    let file = match (&context, dockerfile) {
        _ if inline => Some("-".to_owned()),
        // The default name is looked for in BuildKit's two spellings.
        (_, None | Some("Dockerfile")) => None,
        (_, Some(address)) if address.contains("://") && !address.starts_with("cwd://") => {
            Some(address.to_owned())
        }
        (_, Some(path)) if path.starts_with("cwd://") => Some(path.trim_start_matches("cwd://").to_owned()),
        (Context::Folder(folder), Some(path)) => Some(folder.join(path).to_string_lossy().into_owned()),
        (Context::Remote(_) | Context::Stdin, Some(path)) => Some(path.to_owned()),
    };
    (context, file.map(|file| Flag::text("file", file)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dockerfiles_count_from_the_context() {
        let file = |context: &str, dockerfile: Option<&str>| {
            source_flags(context, dockerfile, false).1.and_then(|flag| flag.value.text().map(str::to_owned))
        };
        assert_eq!(file("app", Some("Dockerfile")), None);
        assert_eq!(file("app", Some("dev.Dockerfile")).as_deref(), Some("app/dev.Dockerfile"));
        assert_eq!(file("/a", Some("/b/Dockerfile")).as_deref(), Some("/b/Dockerfile"));
        assert_eq!(file("https://host/a.git", Some("dev/Dockerfile")).as_deref(), Some("dev/Dockerfile"));
        assert_eq!(file("app", Some("cwd://x/Dockerfile")).as_deref(), Some("x/Dockerfile"));
        let (context, inline) = source_flags("", None, true);
        assert_eq!((context, inline), (Context::Folder(".".into()), Some(Flag::text("file", "-"))));
    }

    #[test]
    fn what_is_below_is_found_at_any_depth() {
        let member = |name: &str, needs: &[&str]| Member {
            name: name.to_owned(),
            request: Request { flags: Vec::new(), context: Context::Stdin },
            inline: None,
            needs: needs.iter().map(|name| (*name).to_owned()).collect(),
            asked: true,
            unknown: Vec::new(),
        };
        let all = [
            member("base", &[]),
            member("other", &[]),
            member("tools", &["base"]),
            member("app", &["tools"]),
        ];
        let names = |of: &Member| of.below(all.iter()).iter().map(|it| it.name.as_str()).collect::<Vec<_>>();
        assert_eq!(names(&all[3]), ["tools", "base"]);
        assert!(names(&all[1]).is_empty());
    }

    #[test]
    fn credentials_are_not_shown() {
        let member = |value: &str| Member {
            name: "app".to_owned(),
            request: Request { flags: vec![Flag::text("cache-to", value)], context: Context::Stdin },
            inline: None,
            needs: Vec::new(),
            asked: true,
            unknown: Vec::new(),
        };
        let value = "type=registry,ref=r.io/a:b,mode=max";
        assert_eq!(member(value).shown("cache-to"), Some(vec![value]));
        assert_eq!(member("r.io/a:b").shown("cache-to"), Some(vec!["r.io/a:b"]));
        assert_eq!(member("type=s3,bucket=b,secret_access_key=x").shown("cache-to"), None);
        assert_eq!(member(value).shown("cache-from"), Some(Vec::new()));
    }
}
