//! The integration tests: the real binary, on real engines, against a real registry (`tests/testbed`).
//!
//! They need `tests/testbed/setup`, which `tests/run` calls. Every test makes what it needs and removes it: an engine
//! with empty state, a repository name of its own, a folder of its own.
#![allow(
    clippy::disallowed_methods,
    reason = "tests start programs and read the environment; the doors are src's"
)]
#![allow(clippy::unwrap_used, reason = "in a test a surprise is a failure")]

mod architecture;
mod auth;
mod bad_input;
mod bake;
mod bench;
mod buildah;
mod buildctl;
mod builder_auto;
mod circleci_template;
mod commands;
mod compose;
mod compression;
mod differential;
mod dockerfile_oracle;
mod dockerfile_recorded;
mod engines;
mod explain;
mod export;
mod failure;
mod flags;
mod github_templates;
mod gitlab_templates;
mod ignore_oracle;
mod init;
mod link;
mod link_group;
mod lint;
mod modes;
mod plan;
mod plugin;
mod readme;
mod recipes;
mod records;
mod registry;
mod report_html;
mod repro;
mod repro_gitlab;
mod reuse;
mod reuse_group;
mod run;
mod scenario;
mod shim;
mod support;
mod unnamed;
mod worth;
