//! What one bake of several images is told beside its definition: `--set` for every member.
//!
//! An override on the command line needs no file, holds for definitions at an address too, and replaces where a file
//! would append. It reaches members that inherit from the one that it names; so each member's whole list is given, where
//! any member's is.

use crate::model::member::Member;
use crate::plan::command::Build;

/// A member and the build that was planned for it.
#[derive(Debug, Clone, Copy)]
pub struct Planned<'a> {
    /// The member.
    pub member: &'a Member,
    /// Its line, rewritten.
    pub build: &'a Build,
}

/// The overrides: `app.cache-from=type=registry,ref=...`.
pub fn overrides(members: &[Planned<'_>]) -> Vec<String> {
    let mut overrides = Vec::new();
    for half in ["cache-from", "cache-to"] {
        let own = |it: &Planned<'_>| !it.member.request.has(half) && !values(it.build, half).is_empty();
        if !members.iter().any(own) {
            continue;
        }
        for Planned { member, build } in members {
            let list = match member.request.has(half) {
                // A list of the user's that holds a credential stays where it is.
                true => member.shown(half),
                false => Some(values(build, half)),
            };
            overrides.extend(list.into_iter().flat_map(|list| set(&member.name, half, &list)));
        }
    }
    for Planned { member, build } in members {
        let planned = values(build, "output");
        if !planned.is_empty() && !planned.iter().copied().eq(member.request.all("output")) {
            overrides.extend(set(&member.name, "output", &planned));
        }
    }
    overrides
}

fn values<'a>(build: &'a Build, name: &str) -> Vec<&'a str> {
    build.flags.iter().filter(|flag| flag.name == name).filter_map(|flag| flag.value.text()).collect()
}

/// A list of none clears what is inherited.
fn set(member: &str, key: &str, values: &[&str]) -> Vec<String> {
    match values {
        [] => vec![format!("{member}.{key}=")],
        values => values.iter().map(|value| format!("{member}.{key}={value}")).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::request::{Context, Flag, Request};

    fn member(name: &str, flags: &[(&'static str, &str)]) -> Member {
        let flags = flags.iter().map(|(name, value)| Flag::text(name, *value)).collect();
        let request = Request { flags, context: Context::Folder(".".into()) };
        Member { name: name.to_owned(), request, inline: None, needs: Vec::new(), beyond: Vec::new() }
    }

    fn build(member: &Member, added: &[(&'static str, &str)]) -> Build {
        let added = added.iter().map(|(name, value)| Flag::text(name, *value));
        Build {
            flags: member.request.flags.iter().cloned().chain(added).collect(),
            context: member.request.context.clone(),
        }
    }

    #[test]
    fn every_list_is_given_where_one_is() {
        let (api, web, own) = (
            member("api", &[]),
            member("web", &[("output", "type=image,push=true")]),
            member("own", &[("cache-from", "r.io/a"), ("cache-to", "type=s3,secret_access_key=x")]),
        );
        let builds = [
            build(&api, &[("cache-from", "type=registry,ref=r.io/c:api"), ("cache-to", "type=inline")]),
            Build {
                flags: vec![Flag::text("output", "type=image,push=true,store=false")],
                ..build(&web, &[])
            },
            build(&own, &[]),
        ];
        let members = [&api, &web, &own];
        let planned: Vec<Planned<'_>> =
            members.iter().zip(&builds).map(|(member, build)| Planned { member, build }).collect();
        insta::assert_snapshot!(overrides(&planned).join("\n"), @"
        api.cache-from=type=registry,ref=r.io/c:api
        web.cache-from=
        own.cache-from=r.io/a
        api.cache-to=type=inline
        web.cache-to=
        web.output=type=image,push=true,store=false
        ");
        assert_eq!(overrides(&planned[2..]), [""; 0], "nothing of ours, nothing to say");
    }
}
