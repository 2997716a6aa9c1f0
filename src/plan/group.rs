//! Which members of a group one bake builds, and what it is told beside the definition: `--set` for every member.
//!
//! BuildKit loses hits where two targets of one bake read a cache, share a step that takes in files, and differ after it:
//! the step is looked up in the cache of the target that came first, and what follows is not found in the other's. With
//! two targets that share a `COPY`, one of them missed in 8 of 8 builds, with two refs, with all refs for both and with
//! one ref for both; one after the other, neither missed in 8 of 8 (Docker 28.5.2, buildx 0.29.1, 2026-11-23; the cause is
//! that of moby/buildkit#6418). So members that share files are built by one bake after the other. A group that reads no
//! cache, or whose members share no files, is built by one.
//!
//! An override on the command line needs no file, holds for definitions at an address too, and replaces where a file
//! would append. It reaches members that inherit from the one that it names; so each member's whole list is given, where
//! any member's is.

use std::path::{Path, PathBuf};

use crate::model::member::Member;
use crate::model::request::{Context, Flag};
use crate::plan::command::Build;

/// A member and the build that was planned for it.
#[derive(Debug, Clone, Copy)]
pub struct Planned<'a> {
    /// The member.
    pub member: &'a Member,
    /// Its line, rewritten.
    pub build: &'a Build,
}

/// What becomes of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// An image that is there answers for it.
    Answered,
    /// It is built.
    Built,
    /// It is not built: only others need it, and none of them is built.
    Unneeded,
}

/// What becomes of each member. `found`: whether there is an image that answers for it.
///
/// What a member that is built stands on is built too, although there is an image of it: bake takes a target that others
/// need from the engine, never from a registry. Where a step gives another result each time and the cache does not have
/// it, the image under the target's name would not be the one that the other target stands on.
pub fn fates(members: &[&Member], found: &[bool]) -> Vec<Fate> {
    let mut fates: Vec<Fate> = Vec::new();
    let found = found.iter().chain(std::iter::repeat(&false));
    for (member, found) in members.iter().zip(found) {
        fates.push(match (member.asked, found) {
            (false, _) => Fate::Unneeded,
            (true, true) => Fate::Answered,
            (true, false) => Fate::Built,
        });
    }
    // Members come after those that they need.
    for index in (0..members.len()).rev() {
        if fates[index] != Fate::Built {
            continue;
        }
        for (other, member) in members.iter().enumerate() {
            if members[index].needs.contains(&member.name) {
                fates[other] = Fate::Built;
            }
        }
    }
    fates
}

/// The bakes, in their order, each with the places of its members in the list. Members come after those that they need.
pub fn waves(members: &[Planned<'_>]) -> Vec<Vec<usize>> {
    let reads = |it: &Planned<'_>| !values(it.build, "cache-from").is_empty();
    // A second bake would make it once more, and others stand on the first.
    let is_made_twice = |it: &Planned<'_>| {
        let is_needed = members.iter().any(|other| other.member.needs.contains(&it.member.name));
        is_needed && it.member.is_made_anew()
    };
    if members.iter().filter(|it| reads(it)).count() < 2 || members.iter().any(is_made_twice) {
        return vec![(0..members.len()).collect()];
    }
    let mut waves: Vec<Vec<usize>> = Vec::new();
    for (index, it) in members.iter().enumerate() {
        let fits =
            |wave: &Vec<usize>| !wave.iter().any(|other| shares_files(it.member, members[*other].member));
        let needed = |wave: &Vec<usize>| {
            wave.iter().any(|other| it.member.needs.contains(&members[*other].member.name))
        };
        // What it needs must be in an earlier one.
        let earliest = waves.iter().rposition(needed).map_or(0, |wave| wave + 1);
        match waves[earliest..].iter().position(fits) {
            Some(wave) => waves[earliest + wave].push(index),
            None => waves.push(vec![index]),
        }
    }
    waves
}

/// Whether two members take files from one place.
fn shares_files(one: &Member, other: &Member) -> bool {
    let places = |member: &Member| -> Vec<PathBuf> {
        let named = member.request.build_contexts().map(|(_, place)| Context::parse(place));
        let all = std::iter::once(member.request.context.clone()).chain(named);
        all.map(|context| match context {
            Context::Folder(path) => path.components().collect(),
            Context::Remote(address) => PathBuf::from(address),
            Context::Stdin => PathBuf::from("-"),
        })
        .collect()
    };
    let others = places(other);
    places(one).iter().any(|place| others.contains(place))
}

/// The overrides of one bake: `app.cache-from=type=registry,ref=...`. `built`: members that it takes in because others
/// need them, and that were built already; the engine has their results.
pub fn overrides(members: &[Planned<'_>], built: &[&str]) -> Vec<String> {
    let mut overrides: Vec<String> = built
        .iter()
        .flat_map(|name| ["cache-from", "cache-to"].map(|half| format!("{name}.{half}=")))
        .collect();
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
        // Where several bakes build the group, a member that only others need is named to one of them, which would push it.
        let is_same = member.asked && planned.iter().copied().eq(member.request.all("output"));
        if !planned.is_empty() && !is_same {
            overrides.extend(set(&member.name, "output", &planned));
        }
        let is_added =
            |name: &&'static str| build.flags.contains(&Flag::on(name)) && !member.request.is_on(name);
        for name in ["no-cache", "pull"].into_iter().filter(is_added) {
            overrides.extend(set(&member.name, name, &["true"]));
        }
    }
    overrides
}

/// Overrides of Dockerfiles, where any member is built from another than its definition names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Dockerfiles {
    /// For members that are built from their own: one that inherits from a member would inherit its override.
    pub own: Vec<String>,
    /// For members that are built from another, which was written for them.
    pub replaced: Vec<String>,
}

/// Finds them. `working`: the folder that names of files count from; bake has them count from the context.
pub fn dockerfiles(members: &[Planned<'_>], working: &Path) -> Dockerfiles {
    let mut found = Dockerfiles::default();
    for Planned { member, build } in members {
        let (given, planned) = (member.request.last("file"), values(build, "file").pop());
        let is_replaced = given != planned;
        let file = match (if is_replaced { planned } else { given }, &member.request.context) {
            // Its text stands in the definition, and wins over any name.
            (Some("-"), _) => continue,
            (None, _) => "Dockerfile".to_owned(),
            (Some(file), Context::Folder(_)) if !file.contains("://") => {
                working.join(file).to_string_lossy().into_owned()
            }
            (Some(file), _) => file.to_owned(),
        };
        let list = if is_replaced { &mut found.replaced } else { &mut found.own };
        list.extend(set(&member.name, "dockerfile", &[&file]));
    }
    match found.replaced.is_empty() {
        true => Dockerfiles::default(),
        false => found,
    }
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
    use crate::model::request::Request;

    fn member(name: &str, flags: &[(&'static str, &str)]) -> Member {
        let flags = flags.iter().map(|(name, value)| Flag::text(name, *value)).collect();
        let request = Request { flags, context: Context::Folder(".".into()) };
        Member {
            name: name.to_owned(),
            request,
            inline: None,
            needs: Vec::new(),
            asked: true,
            unknown: Vec::new(),
        }
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
        insta::assert_snapshot!(overrides(&planned, &[]).join("\n"), @"
        api.cache-from=type=registry,ref=r.io/c:api
        web.cache-from=
        own.cache-from=r.io/a
        api.cache-to=type=inline
        web.cache-to=
        web.output=type=image,push=true,store=false
        ");
        assert_eq!(overrides(&planned[2..], &[]), [""; 0], "nothing of ours, nothing to say");
    }

    #[test]
    fn what_a_built_member_stands_on_is_built_too() {
        let of = |name: &str, needs: &[&str], asked: bool| {
            let needs = needs.iter().map(|name| (*name).to_owned()).collect();
            Member { needs, asked, ..member(name, &[]) }
        };
        let members = [
            of("tools", &[], false),
            of("base", &[], true),
            of("api", &["base"], true),
            of("job", &["tools", "api"], true),
            of("web", &[], true),
        ];
        let shown = |found: [bool; 5]| {
            let letter = |fate: Fate| match fate {
                Fate::Answered => 'a',
                Fate::Built => 'b',
                Fate::Unneeded => '-',
            };
            let members: Vec<&Member> = members.iter().collect();
            fates(&members, &found).into_iter().map(letter).collect::<String>()
        };
        assert_eq!(shown([false; 5]), "bbbbb");
        assert_eq!(shown([true; 5]), "-aaaa");
        assert_eq!(shown([false, true, true, true, false]), "-aaab");
        assert_eq!(shown([false, true, false, true, true]), "-bbaa");
        assert_eq!(shown([false, true, true, false, true]), "bbbba");
    }

    #[test]
    fn a_member_that_only_others_need_goes_nowhere() {
        let mut tools = member("tools", &[("output", "type=cacheonly")]);
        tools.asked = false;
        let build = build(&tools, &[]);
        let planned = Planned { member: &tools, build: &build };
        assert_eq!(overrides(&[planned], &[]), ["tools.output=type=cacheonly"]);
    }

    #[test]
    fn a_dockerfile_of_ours_is_for_one_member_alone() {
        let own = member("own", &[("file", "api/Dockerfile")]);
        let (api, inline) = (member("api", &[]), member("inline", &[("file", "-")]));
        let builds = [build(&own, &[]), build(&api, &[]), build(&inline, &[])];
        let shown = |builds: &[Build]| {
            let members = [&own, &api, &inline];
            let planned = members.into_iter().zip(builds).map(|(member, build)| Planned { member, build });
            let Dockerfiles { own, replaced } = dockerfiles(&planned.collect::<Vec<_>>(), Path::new("/work"));
            format!("{} | {}", own.join(" "), replaced.join(" "))
        };
        assert_eq!(shown(&builds), " | ");
        let linked = [builds[0].reading("/tmp/x/Dockerfile"), builds[1].clone(), builds[2].clone()];
        assert_eq!(shown(&linked), "api.dockerfile=Dockerfile | own.dockerfile=/tmp/x/Dockerfile");
        let linked = [builds[0].clone(), builds[1].reading("/tmp/x/Dockerfile"), builds[2].clone()];
        assert_eq!(shown(&linked), "own.dockerfile=/work/api/Dockerfile | api.dockerfile=/tmp/x/Dockerfile");
    }

    #[test]
    fn one_member_is_built_from_nothing() {
        let mut given = member("api", &[]);
        given.request.flags.push(Flag::on("pull"));
        let mut build = build(&given, &[]);
        build.flags.push(Flag::on("no-cache"));
        let planned = Planned { member: &given, build: &build };
        assert_eq!(overrides(&[planned], &[]), ["api.no-cache=true"]);
    }

    #[test]
    fn members_that_share_files_and_read_a_cache_are_built_one_after_the_other() {
        let at = |name: &str, context: &str, needs: &[&str], reads: bool| {
            let mut member = member(name, &[]);
            member.request.context = Context::Folder(context.into());
            member.needs = needs.iter().map(|name| (*name).to_owned()).collect();
            let added: &[(&'static str, &str)] = if reads { &[("cache-from", "r.io/c")] } else { &[] };
            let build = build(&member, added);
            (member, build)
        };
        let shown = |members: &[(Member, Build)]| {
            let planned: Vec<Planned<'_>> =
                members.iter().map(|(member, build)| Planned { member, build }).collect();
            waves(&planned)
        };
        let cold = [at("a", ".", &[], false), at("b", ".", &[], true), at("c", ".", &["a"], false)];
        assert_eq!(shown(&cold), [[0, 1, 2]], "one reader has no other to lose to");
        let warm = [
            at("a", ".", &[], true),
            at("b", "./", &[], true),
            at("c", "c", &[], true),
            at("d", "d", &["b"], true),
            at("e", ".", &[], true),
        ];
        assert_eq!(shown(&warm), [vec![0, 2], vec![1], vec![3, 4]]);
        let mut anew = warm.clone();
        anew[1].0.request.flags.push(Flag::on("no-cache"));
        assert_eq!(shown(&anew), [[0, 1, 2, 3, 4]], "another bake would make it once more");
        let mut named = [at("a", "a", &[], true), at("b", "b", &[], true)];
        named[1].0.request.flags.push(Flag::text("build-context", "shared=a"));
        assert_eq!(shown(&named), [[0], [1]]);
        assert_eq!(overrides(&[], &["base"]), ["base.cache-from=", "base.cache-to="]);
    }
}
