#!/bin/sh
# What an environment runs, as outputs of a workflow: digest, commit, run (the id of the run that signed it).
#   status.sh staging
set -eu
"$(dirname "$0")/install.sh"
json=$(${PYTHON:-python3} -m tools.release status "$1")
field() {
	echo "$json" | "${PYTHON:-python3}" -c 'import json, sys; print(json.load(sys.stdin)[sys.argv[1]] or sys.exit(1))' "$1"
}
digest=$(field digest) || { echo "status: $1 runs nothing yet" >&2; exit 1; }
# A rollback names the digest too, and no run.
run=$(git log --grep "^Sluice-Digest: $digest$" --format='%(trailers:key=Sluice-Run,valueonly,separator=)' \
	-- "argocd/environments/$1/values.yaml" | grep -m 1 .) || { echo "status: no commit says which run signed $digest" >&2; exit 1; }
{
	echo "digest=$digest"
	echo "commit=$(field commit)"
	echo "run=${run##*/}"
} | tee -a "${GITHUB_OUTPUT:-/dev/null}"
