//! Names of cache refs inside the cache repo, and the way back from a tag to what it names.
//!
//! A tag is `[prefix]<scope>[--<image>][--stage-<stage>]` or `[prefix]<scope>[--<image>]--record`. `--` occurs in none of
//! the parts, and an image's part never begins with `stage-` and is never `record`, so that every tag has one reading. The longest is 6 + 47 + 2 + 30 + 8 + 30 = 123 characters; a
//! registry takes 128.

use crate::model::platform::Platform;
use crate::plan::scope::{Scope, hashed_slug, is_token, slug};

/// The longest part for an image, and the longest for a stage.
const LONGEST_PART: usize = 30;
const SEPARATOR: &str = "--";
const STAGE: &str = "stage-";
const RECORD: &str = "record";

/// What tells the images of one project apart. Paths are relative to the project, with `/`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Image<'a> {
    /// The Dockerfile: `services/api/Dockerfile`.
    pub dockerfile: &'a str,
    /// The context: `services/api`; empty or `.` for the project's root.
    pub context: &'a str,
    /// `--target`, where one is given.
    pub target: Option<&'a str>,
    /// What is built for. None is the same as `linux/amd64`.
    pub platforms: &'a [Platform],
    /// The compose service or bake target that it is: several of them may differ in nothing but build arguments, and each
    /// has a cache of its own.
    pub member: Option<&'a str>,
}

impl Image<'_> {
    /// Its part of a tag; `None` in the ordinary case: `Dockerfile` and context are the project's root's, no target,
    /// `linux/amd64`.
    fn part(&self) -> Option<String> {
        let (dockerfile, context) = (clean(self.dockerfile), clean(self.context));
        let target = self.target.unwrap_or_default();
        let mut platforms: Vec<String> = self.platforms.iter().map(Platform::to_string).collect();
        platforms.sort_unstable();
        platforms.dedup();
        if platforms == ["linux/amd64"] {
            platforms.clear();
        }
        let platforms = platforms.join(",");
        let member = self.member.unwrap_or_default();
        let ordinary = dockerfile == "Dockerfile" && context.is_empty() && target.is_empty();
        if ordinary && platforms.is_empty() && member.is_empty() {
            return None;
        }
        // What a person needs to tell it from the others; the hash is of everything. No path, stage name or platform
        // holds a zero byte.
        let mut whole = [dockerfile.as_str(), &context, target, &platforms].join("\0");
        if !member.is_empty() {
            whole = [whole.as_str(), member].join("\0");
        }
        let folder =
            dockerfile.strip_suffix("Dockerfile").map_or(dockerfile.as_str(), |it| it.trim_end_matches('/'));
        let context = if context == folder { "" } else { context.as_str() };
        let shown = match member {
            "" => [folder, context, target, &platforms.replace("linux/", "")].join("-"),
            member => [member, &platforms.replace("linux/", "")].join("-"),
        };
        let part = hashed_slug(&shown, &whole, LONGEST_PART);
        // A folder `stage`, or anything that becomes it.
        let taken = part.starts_with(STAGE);
        Some(if taken { hashed_slug(&format!("image-{shown}"), &whole, LONGEST_PART) } else { part })
    }
}

/// Drops what does not change a path: `./a//b/` is `a/b`.
fn clean(path: &str) -> String {
    let parts: Vec<&str> = path.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    parts.join("/")
}

/// Makes the tags of one image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keys {
    tag_prefix: String,
    image: Option<String>,
}

impl Keys {
    /// For an image in a cache repo whose tags begin with `tag_prefix` (see
    /// [`CacheRepo`](crate::plan::cache_repo::CacheRepo)).
    pub fn new(tag_prefix: &str, image: &Image<'_>) -> Self {
        Keys { tag_prefix: tag_prefix.to_owned(), image: image.part() }
    }

    /// The image's part of tags; empty in the ordinary case.
    pub fn image(&self) -> &str {
        self.image.as_deref().unwrap_or_default()
    }

    /// The tag of the scope's cache ref.
    pub fn cache_tag(&self, scope: &Scope) -> String {
        let image = self.image.as_ref().map(|image| format!("{SEPARATOR}{image}")).unwrap_or_default();
        format!("{}{scope}{image}", self.tag_prefix)
    }

    /// The tag of a stage's image in the scope. `stage` is its name, or its number where it has none.
    pub fn stage_tag(&self, scope: &Scope, stage: &str) -> String {
        format!("{}{SEPARATOR}{STAGE}{}", self.cache_tag(scope), slug(stage, LONGEST_PART))
    }

    /// The tag of the record of the last build that wrote the scope's cache ref.
    pub fn record_tag(&self, scope: &Scope) -> String {
        record_tag(&self.cache_tag(scope))
    }
}

/// The tag of the record that belongs to a cache ref's tag.
pub fn record_tag(cache_tag: &str) -> String {
    format!("{cache_tag}{SEPARATOR}{RECORD}")
}

/// Whether a tag is a record's, whatever comes before.
pub fn is_record_tag(tag: &str) -> bool {
    tag.strip_suffix(RECORD).is_some_and(|rest| rest.ends_with(SEPARATOR))
}

/// What a tag names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// The scope.
    pub scope: Scope,
    /// The image's part, where the project has several images.
    pub image: Option<String>,
    /// The stage's part, where it is a stage's image.
    pub stage: Option<String>,
    /// It is a build's record, and no cache.
    pub record: bool,
}

/// Reads a tag of a cache repo. `None`: not one of ours.
pub fn parse(tag_prefix: &str, tag: &str) -> Option<Named> {
    if let Some(cache_tag) = tag.strip_suffix(RECORD).and_then(|tag| tag.strip_suffix(SEPARATOR)) {
        let of = parse(tag_prefix, cache_tag)?;
        return (of.stage.is_none() && !of.record).then_some(Named { record: true, ..of });
    }
    let mut parts = tag.strip_prefix(tag_prefix)?.split(SEPARATOR);
    let scope = Scope::parse(parts.next()?)?;
    let part = |text: &str| is_token(text, LONGEST_PART).then(|| text.to_owned());
    let (image, stage) = match (parts.next(), parts.next(), parts.next()) {
        (None, ..) => (None, None),
        (Some(one), None, _) => match one.strip_prefix(STAGE) {
            Some(stage) => (None, Some(part(stage)?)),
            None => (Some(part(one)?), None),
        },
        (Some(image), Some(stage), None) if !image.starts_with(STAGE) => {
            (Some(part(image)?), Some(part(stage.strip_prefix(STAGE)?)?))
        }
        _ => return None,
    };
    Some(Named { scope, image, stage, record: false })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::reference::Repository;

    const ROOT: Image<'_> =
        Image { dockerfile: "Dockerfile", context: ".", target: None, platforms: &[], member: None };

    fn platforms(names: &[&str]) -> Vec<Platform> {
        names.iter().map(|name| name.parse().unwrap()).collect()
    }

    #[test]
    fn the_ordinary_image_needs_no_name() {
        let amd64 = platforms(&["linux/amd64"]);
        let ordinary = [
            ROOT,
            Image { dockerfile: "./Dockerfile", context: "", ..ROOT },
            Image { target: Some(""), platforms: &amd64, ..ROOT },
        ];
        for image in ordinary {
            assert_eq!(Keys::new("", &image).cache_tag(&Scope::branch("main")), "branch-main", "{image:?}");
        }
    }

    #[test]
    fn images_are_told_apart() {
        let both = platforms(&["linux/arm64", "linux/amd64", "linux/arm64"]);
        let arm = platforms(&["linux/arm64"]);
        let api = Image { dockerfile: "services/api/Dockerfile", context: "services/api", ..ROOT };
        let images = [
            api,
            Image { context: ".", ..api },
            Image { target: Some("test"), ..api },
            Image { target: Some("test"), ..ROOT },
            Image { platforms: &arm, ..ROOT },
            Image { platforms: &both, ..ROOT },
            Image { dockerfile: "Dockerfile.dev", ..ROOT },
            Image { dockerfile: "stage/Dockerfile", ..ROOT },
            Image { dockerfile: "Dockerfile", context: "Stage/..", ..ROOT },
            Image { member: Some("web"), ..ROOT },
            Image { member: Some("web"), target: Some("web"), ..ROOT },
            Image { member: Some("web"), platforms: &arm, ..ROOT },
        ];
        let tags = images.map(|image| Keys::new("", &image).cache_tag(&Scope::branch("main")) + "\n");
        let text = tags.concat();
        insta::assert_snapshot!(text, @"
        branch-main--services-api-e40f90ba
        branch-main--services-api-f4f79ec8
        branch-main--services-api-test-758092d1
        branch-main--test-93782b0e
        branch-main--arm64-28209c66
        branch-main--amd64-arm64-a264a244
        branch-main--dockerfile.dev-acde99fb
        branch-main--image-stage-5b1c43db
        branch-main--image-stage-457e4151
        branch-main--web-80647b6a
        branch-main--web-6b6c8193
        branch-main--web-arm64-278fad01
        ");
    }

    #[test]
    fn a_tag_has_one_reading() {
        let read = |tag: &str| parse("cache-", tag).map(|it| (it.scope.to_string(), it.image, it.stage));
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(read("cache-mr-12"), Some(("mr-12".to_owned(), None, None)));
        assert_eq!(read("cache-mr-12--api"), Some(("mr-12".to_owned(), text("api"), None)));
        assert_eq!(read("cache-mr-12--stage-build"), Some(("mr-12".to_owned(), None, text("build"))));
        assert_eq!(read("cache-mr-12--api--stage-0"), Some(("mr-12".to_owned(), text("api"), text("0"))));
        let record = parse("cache-", "cache-mr-12--api--record").unwrap();
        assert!(record.record && record.image.as_deref() == Some("api") && record.stage.is_none());
        assert!(parse("", "mr-12--record").unwrap().record);
        for tag in ["mr-12--stage-a--record", "mr-12--record--record", "--record"] {
            assert_eq!(parse("", tag), None, "{tag}");
        }
        let foreign = ["v1", "latest", "cache-", "cache--a", "cache-a--b--c", "cache-a--stage-", "cache-A"];
        for tag in foreign.iter().chain(&["cache-a--stage-b--stage-c", "cache-a--b--stage-c--d"]) {
            assert_eq!(read(tag), None, "{tag}");
        }
    }

    /// Everything that a tag is made of.
    type Parts = (String, String, String, Option<String>, bool, Option<String>);

    fn parts() -> impl Strategy<Value = Parts> {
        let word = || prop_oneof!["stage[-/]?[ab]?", "[aA_.-]{1,4}", "[a-z/-]{40,60}", "\\PC{1,12}"];
        let path =
            prop_oneof![word(), word().prop_map(|it| it + "/Dockerfile"), Just("Dockerfile".to_owned())];
        let optional = || proptest::option::of(word());
        (word(), path, prop_oneof![word(), Just(String::new())], optional(), any::<bool>(), optional())
    }

    proptest! {
        #[test]
        fn tags_are_valid_distinct_and_read_back(one in parts(), other in parts(), prefixed: bool) {
            let prefix = if prefixed { "cache-" } else { "" };
            let arm = platforms(&["linux/arm64"]);
            let make = |parts: &Parts| {
                let (branch, dockerfile, context, target, arm64, stage) = parts;
                let image = Image {
                    dockerfile,
                    context,
                    target: target.as_deref(),
                    platforms: if *arm64 { &arm } else { &[] },
                    member: None,
                };
                let keys = Keys::new(prefix, &image);
                let scope = Scope::branch(branch);
                let tag = match stage {
                    Some(stage) => keys.stage_tag(&scope, stage),
                    None => keys.cache_tag(&scope),
                };
                let named = Named {
                    scope,
                    image: image.part(),
                    stage: stage.as_ref().map(|stage| slug(stage, LONGEST_PART)),
                    record: false,
                };
                (tag, named)
            };
            let (tag, named) = make(&one);
            let repository: Repository = "registry.example.com/app/cache".parse().unwrap();
            prop_assert!(repository.with_tag(&tag).is_ok(), "{}", tag);
            prop_assert!(tag.len() <= 123, "{}", tag);
            prop_assert_eq!(parse(prefix, &tag), Some(named));
            let same = |it: &Parts| (it.0.clone(), clean(&it.1), clean(&it.2), it.3.clone(), it.4, it.5.clone());
            prop_assert_eq!(make(&other).0 == tag, same(&one) == same(&other), "{}", tag);
        }
    }
}
