//! What `--help` shows below the flags: examples, and the exit codes.

pub(super) const EXIT_CODES: &str = "Exit codes:
  0    done
  1    `lint --error` has something to say
  2    the command line makes no sense
  65   the Dockerfile has an error, or the target is not in it
  66   a file or folder that was named is not there
  69   no engine that could build
  70   a mistake in layerlift
  73   a file that was asked for cannot be written
  74   the image could not be pushed, or the registry failed a command that only talks to it
  75   the build succeeded with cache warnings, and --strict was given
  76   the build succeeded, but a step ran, and --fail-on-miss was given
  78   the settings are invalid
  126  the command of `run`, or the program behind a shim, cannot be executed (127: it was not found)
  130  interrupted (143: terminated)
  any other code is the engine's own";

pub(super) const EXPLAIN_EXAMPLES: &str = "Examples:
  layerlift explain
  layerlift explain main
  layerlift explain --against main --build-arg VERSION=2 -t registry.example.com/group/app .
  layerlift explain mr-12 --cache-repo registry.example.com/group/app/cache
  layerlift explain registry.example.com/group/app:1 --format json";

pub(super) const LINT_EXAMPLES: &str = "Examples:
  layerlift lint
  layerlift lint -f docker/Dockerfile --target prod --record main .
  layerlift lint --error --format json .
Rules:
  copy-before-install  sources are copied before an installation that needs none of them but a manifest
  volatile-argument    an ARG of every build (GIT_SHA, CI_COMMIT_...) stands above steps that do not use it
  needless-files       a step takes .git, node_modules, logs or large files of the build context along
  update-alone         `apt-get update` is a step of its own
  unverified-download  an ADD fetches something without a checksum or a commit: the image is never reused
  moving-frontend      `# syntax=` names no version
  unknown              something that layerlift does not know: the image is never reused";

pub(super) const REPORT_EXAMPLES: &str = "Examples:
  layerlift report --html report.html
  layerlift report main --html main.html
  layerlift report registry.example.com/group/app:1 --html -
  layerlift explain mr-12 --format json | layerlift report - --html report.html";

pub(super) const INIT_EXAMPLES: &str = "Examples:
  layerlift init gitlab
  layerlift init github --sha256 SUM --dry-run | git apply --check
  layerlift init circleci --image registry.example.com/group/app services/api/Dockerfile";

pub(super) const RUN_EXAMPLES: &str = "Examples:
  layerlift run -- docker build -t app .
  layerlift run --report report.json -- docker --context remote buildx build --push -t ghcr.io/me/app .
  layerlift run --shell 'cd app && docker build . | tee log'";

pub(super) const SHIM_EXAMPLES: &str = "Examples:
  eval \"$(layerlift shim)\"
  layerlift shim --shell fish | source
  layerlift shim --github          # in a step of GitHub Actions, for the later ones
  eval \"$(layerlift shim --remove)\"";

pub(super) const BUILD_EXAMPLES: &str = "Examples:
  layerlift build -t $CI_REGISTRY_IMAGE:$CI_COMMIT_SHORT_SHA --push .
  layerlift build -f docker/Dockerfile --target prod -t ghcr.io/me/app --push --report report.json .
  layerlift build --strategy local --cache-dir .cache/layers -t app .";

pub(super) const FLUSH_EXAMPLES: &str = "Examples:
  layerlift build --detach-cache -t $CI_REGISTRY_IMAGE:$CI_COMMIT_SHORT_SHA --push . && ./deploy
  layerlift cache flush       # in after_script, or in a later step of the same job";

pub(super) const BAKE_EXAMPLES: &str = "Examples:
  layerlift bake --push
  layerlift bake -f docker-bake.hcl --set '*.platform=linux/amd64' api web
  layerlift bake --report report.json --dry-run release
Settings of layerlift come first; what follows the first other word is bake's.";

pub(super) const COMPOSE_EXAMPLES: &str = "Examples:
  layerlift compose build --push
  layerlift compose -f compose.yaml -f compose.ci.yaml --profile test build --build-arg VERSION=2
  layerlift compose up --build --detach
  layerlift compose --report report.json run --build --rm api ./test
Settings of layerlift come first; what follows the first other word is compose's.";

pub(super) const BUILDAH_EXAMPLES: &str = "Examples:
  layerlift buildah build -t $CI_REGISTRY_IMAGE:$CI_COMMIT_SHORT_SHA .
  layerlift buildah --report report.json --storage-driver vfs bud --isolation chroot -t app .
  layerlift podman --dry-run build --target prod -t app .
Settings of layerlift come first; what follows the first other word is buildah's.";

pub(super) const BUILDCTL_EXAMPLES: &str = "Examples:
  layerlift buildctl build --frontend dockerfile.v0 --local context=. --local dockerfile=. \\
    --output type=image,name=ghcr.io/me/app,push=true
  layerlift buildctl --addr tcp://buildkitd:1234 build --frontend dockerfile.v0 --local context=.
Settings of layerlift come first; what follows the first other word is buildctl's.";
