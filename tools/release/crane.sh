#!/bin/sh
# Prints the path of crane: CRANE, or built from its pinned module (tools/crane).
set -eu
if [ -n "${CRANE:-}" ]; then
	echo "$CRANE"
	exit
fi
built=${RUNNER_TEMP:-/tmp}/crane-of-sluice
[ -x "$built" ] || (cd "$(dirname "$0")/../crane" && CGO_ENABLED=0 go build -trimpath -o "$built" github.com/google/go-containerregistry/cmd/crane)
echo "$built"
