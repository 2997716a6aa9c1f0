#!/usr/bin/env bash
# Runs `layerlift build` with the action's inputs, which come as INPUT_* variables: none of them is ever part of a script.
#
# Lists have one item a line. Secrets go to layerlift as files of mode 0600, which are deleted at the end.
set -euo pipefail

arguments=()

fail() {
    echo "::error::layerlift: $*"
    exit 1
}

# each VARIABLE: its lines without white space around them, and without empty ones.
each() {
    local line
    while IFS= read -r line || [ -n "$line" ]; do
        line=${line#"${line%%[![:space:]]*}"}
        line=${line%"${line##*[![:space:]]}"}
        [ -z "$line" ] || printf '%s\n' "$line"
    done <<< "${!1-}"
}

# value FLAG VARIABLE, list FLAG VARIABLE
value() { [ -z "${!2-}" ] || arguments+=("$1" "${!2}"); }
list() {
    local item
    while IFS= read -r item; do arguments+=("$1" "$item"); done < <(each "$2")
}

# is_true VARIABLE INPUT
is_true() {
    case ${!1-} in
        true) return 0 ;;
        "" | false) return 1 ;;
        *) fail "input \`$2\` is \`${!1}\`, neither true nor false" ;;
    esac
}

# Whether a stranger may have written what is built. A deleted fork has no name.
is_foreign() {
    [ "${GITHUB_ACTOR-}" != 'dependabot[bot]' ] || return 0
    case ${GITHUB_EVENT_NAME-} in
        pull_request*) [ "${HEAD_REPOSITORY,,}" != "${GITHUB_REPOSITORY,,}" ] ;;
        *) return 1 ;;
    esac
}

# ID=VALUE becomes a file; what begins with id= is in Docker's own form and is handed on.
secrets() {
    local line file
    while IFS= read -r line; do
        case $line in
            id=*) arguments+=(--secret "$line") ;;
            [A-Za-z_]*=*)
                file=$secrets_folder/${line%%=*}
                case ${line%%=*} in *[!A-Za-z0-9_.-]*) fail "a secret's name may have letters, digits and _.- only" ;; esac
                (umask 077 && printf '%s' "${line#*=}" > "$file")
                arguments+=(--secret "id=${line%%=*},src=$file")
                ;;
            # The line itself may be the secret.
            *) fail "a line of \`secrets\` is neither NAME=VALUE nor id=NAME,src=FILE nor id=NAME,env=VARIABLE" ;;
        esac
    done < <(each INPUT_SECRETS)
}

secrets_folder=$(mktemp -d "${RUNNER_TEMP:-/tmp}/layerlift-secrets.XXXXXX")
trap 'rm -rf "$secrets_folder"' EXIT

report=${INPUT_REPORT:-${RUNNER_TEMP:-/tmp}/layerlift-report-$$.json}
arguments+=(--report "$report")
value --html INPUT_HTML
value --cache-repo INPUT_CACHE_REPO
value --strategy INPUT_STRATEGY
value --scope INPUT_SCOPE
value --reuse INPUT_REUSE
value --max-age INPUT_MAX_AGE
case ${INPUT_READ_ONLY-} in
    "") ;;
    true | false) arguments+=("--read-only=$INPUT_READ_ONLY") ;;
    *) fail "input \`read-only\` is \`$INPUT_READ_ONLY\`, neither true nor false" ;;
esac
if is_true INPUT_DETACH_CACHE detach-cache; then arguments+=(--detach-cache); fi

value --file INPUT_FILE
value --target INPUT_TARGET
INPUT_TAGS=$(printf '%s' "${INPUT_TAGS-}" | tr ',' '\n')
list --tag INPUT_TAGS
list --build-arg INPUT_BUILD_ARGS
list --label INPUT_LABELS
list --output INPUT_OUTPUTS
list --platform INPUT_PLATFORMS
secrets
if is_true INPUT_NO_CACHE no-cache; then arguments+=(--no-cache); fi
if is_true INPUT_LOAD load; then arguments+=(--load); fi
case ${INPUT_PUSH-} in
    auto)
        if is_foreign; then
            echo "::notice::layerlift: the image is built and not pushed: this run comes from a fork or from Dependabot"
        else
            arguments+=(--push)
        fi
        ;;
    *) if is_true INPUT_PUSH push; then arguments+=(--push); fi ;;
esac
while IFS= read -r argument; do arguments+=("$argument"); done < <(each INPUT_ARGS)

# Before the build: a build that fails has a report, too.
case $report in /*) ;; *) report=$PWD/$report ;; esac
case $report in *$'\n'*) fail "input \`report\` has more than one line" ;; esac
echo "report=$report" >> "$GITHUB_OUTPUT"
layerlift build "${arguments[@]}" "${INPUT_CONTEXT:-.}"
