//! Names of cache refs inside the cache repo, and the way back from a tag to what it names.
//!
//! A tag is `[prefix]<scope>[--<image>]`, alone or with `--record`, `--stage-<stage>`, `--image-<inputs>` or
//! `--note-<inputs>`; the last two are a finished image and the note on it, by the first 32 hexadecimal digits of its input
//! digest. `--` occurs in none of the parts, and an image's part is never `record`, never begins with `stage-`, and is
//! shorter than `note-` with 32 digits, so that every tag has one reading. The longest is 6 + 47 + 2 + 30 + 8 + 32 = 125
//! characters; a registry takes 128.

use crate::model::platform::Platform;
use crate::model::reference::Digest;
use crate::plan::scope::{Scope, hashed_slug, is_token, slug};

/// The longest part for an image, and the longest for a stage.
const LONGEST_PART: usize = 30;
const SEPARATOR: &str = "--";
const STAGE: &str = "stage-";
const RECORD: &str = "record";
const IMAGE: &str = "image-";
const NOTE: &str = "note-";
/// How many digits of an input digest a tag has.
const INPUT_DIGITS: usize = 32;

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

    /// The tag of the image that was made in the scope from what has this input digest.
    pub fn image_tag(&self, scope: &Scope, inputs: &Digest) -> String {
        format!("{}{SEPARATOR}{IMAGE}{}", self.cache_tag(scope), &inputs.hex()[..INPUT_DIGITS])
    }

    /// The tag of the note on that image: when it was built, and where.
    pub fn note_tag(&self, scope: &Scope, inputs: &Digest) -> String {
        format!("{}{SEPARATOR}{NOTE}{}", self.cache_tag(scope), &inputs.hex()[..INPUT_DIGITS])
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
    /// Where it is a finished image, or the note on one: which of the two, and the input digest.
    pub finished: Option<Finished>,
}

/// What belongs to a finished image. It holds the first 32 hexadecimal digits of the input digest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Finished {
    /// The image itself.
    Image(String),
    /// The note on it.
    Note(String),
}

impl Finished {
    fn parse(part: &str) -> Option<Self> {
        let digits = |start: &str| {
            let digits = part.strip_prefix(start)?;
            let known = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
            (digits.len() == INPUT_DIGITS && digits.bytes().all(known)).then(|| digits.to_owned())
        };
        digits(IMAGE).map(Finished::Image).or_else(|| digits(NOTE).map(Finished::Note))
    }
}

/// The tag of the note on a finished image; `None` where it is none.
pub fn note_of(tag_prefix: &str, named: &Named) -> Option<String> {
    let Finished::Image(inputs) = named.finished.as_ref()? else { return None };
    let image = named.image.as_ref().map(|image| format!("{SEPARATOR}{image}")).unwrap_or_default();
    Some(format!("{tag_prefix}{}{image}{SEPARATOR}{NOTE}{inputs}", named.scope))
}

/// Reads a tag of a cache repo. `None`: not one of ours.
pub fn parse(tag_prefix: &str, tag: &str) -> Option<Named> {
    if let Some(cache_tag) = tag.strip_suffix(RECORD).and_then(|tag| tag.strip_suffix(SEPARATOR)) {
        let of = parse(tag_prefix, cache_tag)?;
        let is_cache = of.stage.is_none() && of.finished.is_none() && !of.record;
        return is_cache.then_some(Named { record: true, ..of });
    }
    let mut parts: Vec<&str> = tag.strip_prefix(tag_prefix)?.split(SEPARATOR).collect();
    // The first part is the scope, whatever it looks like.
    let last = parts.last().filter(|_| parts.len() > 1);
    let finished = last.and_then(|last| Finished::parse(last));
    let stage = last.and_then(|last| last.strip_prefix(STAGE));
    if finished.is_some() || stage.is_some() {
        parts.pop();
    }
    let part = |text: &str| is_token(text, LONGEST_PART).then(|| text.to_owned());
    let stage = match stage {
        Some(stage) => Some(part(stage)?),
        None => None,
    };
    let (scope, image) = match parts.as_slice() {
        [scope] => (scope, None),
        [scope, image] if !image.starts_with(STAGE) => (scope, Some(part(image)?)),
        _ => return None,
    };
    Some(Named { scope: Scope::parse(scope)?, image, stage, record: false, finished })
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
        let digits = "0123456789abcdef0123456789abcdef";
        let finished = |tag: String| parse("cache-", &tag).map(|it| (it.image, it.stage, it.finished));
        let made = |of: fn(String) -> Finished| Some(of(digits.to_owned()));
        assert_eq!(
            finished(format!("cache-mr-12--image-{digits}")),
            Some((None, None, made(Finished::Image)))
        );
        assert_eq!(
            finished(format!("cache-mr-12--api--note-{digits}")),
            Some((text("api"), None, made(Finished::Note)))
        );
        let image = parse("cache-", &format!("cache-mr-12--api--image-{digits}")).expect("parsed");
        assert_eq!(note_of("cache-", &image), Some(format!("cache-mr-12--api--note-{digits}")));
        assert_eq!(
            finished("cache-mr-12--image-12345678".to_owned()),
            Some((text("image-12345678"), None, None))
        );
        let foreign = ["v1", "latest", "cache-", "cache--a", "cache-a--b--c", "cache-a--stage-", "cache-A"];
        assert_eq!(finished(format!("cache-a--image-{digits}0")), None);
        assert_eq!(finished(format!("cache-a--b--c--image-{digits}")), None);
        assert_eq!(
            finished(format!("cache-image-{digits}")),
            Some((None, None, None)),
            "a scope that was named so"
        );
        for tag in foreign.iter().chain(&["cache-a--stage-b--stage-c", "cache-a--b--stage-c--d"]) {
            assert_eq!(read(tag), None, "{tag}");
        }
    }

    /// Everything that a tag is made of.
    type Parts = (String, String, String, Option<String>, bool, Last);

    /// The last part of a tag.
    type Last = Result<Option<String>, (bool, u8)>;

    fn parts() -> impl Strategy<Value = Parts> {
        let word = || prop_oneof!["stage[-/]?[ab]?", "[aA_.-]{1,4}", "[a-z/-]{40,60}", "\\PC{1,12}"];
        let path =
            prop_oneof![word(), word().prop_map(|it| it + "/Dockerfile"), Just("Dockerfile".to_owned())];
        let optional = || proptest::option::of(word());
        let last = prop_oneof![optional().prop_map(Ok), (any::<bool>(), 0..3u8).prop_map(Err)];
        (word(), path, prop_oneof![word(), Just(String::new())], optional(), any::<bool>(), last)
    }

    proptest! {
        #[test]
        fn tags_are_valid_distinct_and_read_back(one in parts(), other in parts(), prefixed: bool) {
            let prefix = if prefixed { "cache-" } else { "" };
            let arm = platforms(&["linux/arm64"]);
            let make = |parts: &Parts| {
                let (branch, dockerfile, context, target, arm64, last) = parts;
                let image = Image {
                    dockerfile,
                    context,
                    target: target.as_deref(),
                    platforms: if *arm64 { &arm } else { &[] },
                    member: None,
                };
                let keys = Keys::new(prefix, &image);
                let scope = Scope::branch(branch);
                let mut named = Named {
                    scope: scope.clone(),
                    image: image.part(),
                    stage: None,
                    record: false,
                    finished: None,
                };
                let tag = match last {
                    Ok(Some(stage)) => {
                        named.stage = Some(slug(stage, LONGEST_PART));
                        keys.stage_tag(&scope, stage)
                    }
                    Ok(None) => keys.cache_tag(&scope),
                    Err((is_note, inputs)) => {
                        let inputs = Digest::of(&[*inputs]);
                        let digits = inputs.hex()[..32].to_owned();
                        named.finished =
                            Some(if *is_note { Finished::Note(digits) } else { Finished::Image(digits) });
                        match is_note {
                            true => keys.note_tag(&scope, &inputs),
                            false => keys.image_tag(&scope, &inputs),
                        }
                    }
                };
                (tag, named)
            };
            let (tag, named) = make(&one);
            let repository: Repository = "registry.example.com/app/cache".parse().unwrap();
            prop_assert!(repository.with_tag(&tag).is_ok(), "{}", tag);
            prop_assert!(tag.len() <= 125, "{}", tag);
            prop_assert_eq!(parse(prefix, &tag), Some(named));
            let same = |it: &Parts| (it.0.clone(), clean(&it.1), clean(&it.2), it.3.clone(), it.4, it.5.clone());
            prop_assert_eq!(make(&other).0 == tag, same(&one) == same(&other), "{}", tag);
        }
    }
}
