#!/bin/sh
# Pushes OCI layouts, one for each architecture, by digest to IMAGE, and one index of them as sha-COMMIT. What is there is left alone:
# tags do not move. The index's digest is the output `digest`.
#   push.sh image-amd64 image-arm64
set -eu
crane=$("$(dirname "$0")/crane.sh")
tag=$IMAGE:sha-$COMMIT
if ! digest=$("$crane" digest "$tag" 2>/dev/null); then
	count=$#
	for layout; do
		"$crane" push "$layout" "$IMAGE@$("$(dirname "$0")/layout.py" "$layout")" >/dev/null
		set -- "$@" --manifest "$IMAGE@$("$(dirname "$0")/layout.py" "$layout")"
	done
	shift "$count"
	"$crane" index append "$@" --tag "$tag" >/dev/null
	digest=$("$crane" digest "$tag")
fi
echo "digest=$digest" | tee -a "${GITHUB_OUTPUT:-/dev/null}"
