#!/usr/bin/env bash
# Gives the settings among the action's inputs to all later steps of the job, as LAYERLIFT_* variables.
set -euo pipefail

for name in CACHE_REPO STRATEGY SCOPE READ_ONLY REUSE MAX_AGE DETACH_CACHE REPORT HTML; do
    input=INPUT_$name
    case ${!input-} in
        "") ;;
        # A second line would set any variable it likes.
        *$'\n'*) echo "::error::layerlift: a setting has more than one line"; exit 1 ;;
        *) echo "LAYERLIFT_$name=${!input}" >> "$GITHUB_ENV" ;;
    esac
done
