#!/bin/sh
# ENVIRONMENT back to the release before, held there for PIN, because of REASON.
set -eu
"$(dirname "$0")/install.sh"
gh auth setup-git
${PYTHON:-python3} -m tools.release rollback "$ENVIRONMENT" --reason "$REASON" --pin "$PIN"
