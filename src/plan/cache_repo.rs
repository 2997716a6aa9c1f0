//! The cache repo: the repository that holds the cache refs.
//!
//! The first that there is of: the user's setting, the CI system's own repository for images with `/cache` below it, the
//! first image that is built (`-t`) with `/cache` below it. Where a registry has no room below an image, the cache goes
//! beside the image, under tags of its own.

use crate::model::pipeline::Pipeline;
use crate::model::reference::{Reference, Repository};

/// Tags in a repository that may hold images as well begin with this: `pr-7` is a popular name for an image.
const TAG_PREFIX: &str = "cache-";
const NAME: &str = "cache";

/// Where cache refs live.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheRepo {
    /// The repository.
    pub repository: Repository,
    /// What the tags in it begin with: nothing, or `cache-`. It follows from the repository's name alone, so that every
    /// command finds the same tags.
    pub tag_prefix: &'static str,
    /// Why this one, as a sentence's fragment.
    pub reason: String,
}

/// Why there is no cache repo.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoCacheRepo {
    /// Nothing to derive it from.
    #[error("no cache repository is set, the CI system offers none, and no image is named by `-t`")]
    NothingNamed,
    /// `-t app` is `docker.io/library/app`, where only Docker's own images are.
    #[error(
        "no cache repository is set, the CI system offers none, and `-t {name}` names no registry to push to"
    )]
    NoRegistry {
        /// The image, without `docker.io/library/`.
        name: String,
    },
}

/// Finds the cache repo. `setting` is the user's own, `images` what `-t` names, in its order.
pub fn cache_repo(
    setting: Option<&Repository>,
    pipeline: &Pipeline,
    images: &[Reference],
) -> Result<CacheRepo, NoCacheRepo> {
    if let Some(repository) = setting {
        return Ok(CacheRepo {
            repository: repository.clone(),
            tag_prefix: tag_prefix(repository),
            reason: "as set".to_owned(),
        });
    }
    let offered = pipeline.image_repository.as_deref();
    if let Some(repository) = offered.and_then(|name| name.parse::<Repository>().ok()?.nested(NAME).ok()) {
        let reason = format!("below {}, which the CI system offers", offered.unwrap_or_default());
        return Ok(CacheRepo { tag_prefix: tag_prefix(&repository), repository, reason });
    }
    let pushable = |image: &&Reference| official_name(image.repository()).is_none();
    let Some(image) = images.iter().find(pushable).map(Reference::repository) else {
        return Err(images
            .first()
            .and_then(|image| official_name(image.repository()))
            .map_or(NoCacheRepo::NothingNamed, |name| NoCacheRepo::NoRegistry { name: name.to_owned() }));
    };
    match (no_room_below(image.registry()), image.nested(NAME)) {
        (None, Ok(repository)) => {
            let reason = format!("below {image}, which is built");
            Ok(CacheRepo { tag_prefix: tag_prefix(&repository), repository, reason })
        }
        (why, _) => Ok(CacheRepo {
            repository: image.clone(),
            tag_prefix: tag_prefix(image),
            reason: format!(
                "beside {image}, which is built: {}",
                why.unwrap_or("its name has no room below")
            ),
        }),
    }
}

/// Nothing in a repository below an image that is named for the purpose, `cache-` in any other: on Docker Hub `me/cache`
/// is an image like `me/app`.
pub fn tag_prefix(repository: &Repository) -> &'static str {
    let named_for_it = repository.path().rsplit('/').next() == Some(NAME);
    if named_for_it && no_room_below(repository.registry()).is_none() { "" } else { TAG_PREFIX }
}

/// The name of one of Docker Hub's official images: what a name without a registry stands for.
fn official_name(repository: &Repository) -> Option<&str> {
    repository.path().strip_prefix("library/").filter(|_| repository.registry() == "docker.io")
}

/// Why nothing can be pushed below an image in this registry.
pub(super) fn no_room_below(registry: &str) -> Option<&'static str> {
    match registry {
        // docker/hub-feedback#1404.
        "docker.io" => Some("Docker Hub's names have two parts"),
        // Quay has nested names since quay/quay#814 (2021), as a switch of each installation; what is known of quay.io
        // itself is contradictory (plexsystems/sinker#21).
        "quay.io" => Some("quay.io may refuse names of more than two parts"),
        // A push creates a repository only where the account has a template for it (aws/containers-roadmap#853).
        _ if registry.ends_with(".amazonaws.com") || registry == "public.ecr.aws" => {
            Some("Amazon ECR may not create a repository on push")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::pipeline::{Provider, Trigger, Trust};

    fn pipeline(offered: Option<&str>) -> Pipeline {
        Pipeline {
            provider: Provider::GitLab,
            trigger: Trigger::Unknown,
            default_branch: None,
            trust: Trust::Trusted,
            commit: None,
            url: None,
            image_repository: offered.map(str::to_owned),
            project_folder: None,
        }
    }

    fn found(setting: Option<&str>, offered: Option<&str>, images: &[&str]) -> String {
        let setting = setting.map(|text| text.parse().unwrap());
        let images: Vec<Reference> = images.iter().map(|text| text.parse().unwrap()).collect();
        match cache_repo(setting.as_ref(), &pipeline(offered), &images) {
            Ok(it) => format!("{}:{} ({})\n", it.repository, it.tag_prefix, it.reason),
            Err(none) => format!("{none}\n"),
        }
    }

    #[test]
    fn the_first_of_the_order_is_taken() {
        let gitlab = Some("registry.gitlab.com/group/app");
        let text = [
            found(Some("ghcr.io/o/r/cache"), gitlab, &["ghcr.io/o/r"]),
            found(Some("ghcr.io/o/r"), None, &[]),
            found(Some("localhost:5000/cache"), None, &[]),
            found(None, gitlab, &["docker.io/me/app"]),
            found(None, Some("no repository:"), &["ghcr.io/o/r:1"]),
            found(None, None, &["ghcr.io/o/r:1", "ghcr.io/o/other"]),
            found(None, None, &["localhost:5000/app"]),
        ]
        .concat();
        insta::assert_snapshot!(text, @"
        ghcr.io/o/r/cache: (as set)
        ghcr.io/o/r:cache- (as set)
        localhost:5000/cache: (as set)
        registry.gitlab.com/group/app/cache: (below registry.gitlab.com/group/app, which the CI system offers)
        ghcr.io/o/r/cache: (below ghcr.io/o/r, which is built)
        ghcr.io/o/r/cache: (below ghcr.io/o/r, which is built)
        localhost:5000/app/cache: (below localhost:5000/app, which is built)
        ");
    }

    #[test]
    fn registries_without_room_get_a_prefix() {
        let text = [
            found(None, None, &["me/app:1"]),
            found(None, None, &["me/cache"]),
            found(None, None, &["quay.io/me/app"]),
            found(None, None, &["0123.dkr.ecr.eu-west-1.amazonaws.com/app"]),
        ]
        .concat();
        insta::assert_snapshot!(text, @"
        docker.io/me/app:cache- (beside docker.io/me/app, which is built: Docker Hub's names have two parts)
        docker.io/me/cache:cache- (beside docker.io/me/cache, which is built: Docker Hub's names have two parts)
        quay.io/me/app:cache- (beside quay.io/me/app, which is built: quay.io may refuse names of more than two parts)
        0123.dkr.ecr.eu-west-1.amazonaws.com/app:cache- (beside 0123.dkr.ecr.eu-west-1.amazonaws.com/app, which is built: Amazon ECR may not create a repository on push)
        ");
    }

    #[test]
    fn a_name_without_a_registry_is_nobodys() {
        let text = [
            found(None, None, &[]),
            found(None, None, &["app"]),
            found(None, None, &["library/app:1"]),
            found(None, None, &["app", "ghcr.io/o/app"]),
        ]
        .concat();
        insta::assert_snapshot!(text, @"
        no cache repository is set, the CI system offers none, and no image is named by `-t`
        no cache repository is set, the CI system offers none, and `-t app` names no registry to push to
        no cache repository is set, the CI system offers none, and `-t app` names no registry to push to
        ghcr.io/o/app/cache: (below ghcr.io/o/app, which is built)
        ");
    }
}
