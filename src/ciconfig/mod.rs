//! PURE: the files that define CI jobs (GitLab, GitHub Actions, CircleCI) -> jobs with their scripts and variables.
