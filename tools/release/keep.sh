#!/bin/sh
# Tags what the environments run as deployed-<environment>-<build>, which the registry keeps longest. It reads git, so an image that is
# deployed outlives any number of builds. An image that was deployed and is gone is named and left.
set -eu
crane=$("$(dirname "$0")/crane.sh")
cd "${ROOT:-$(dirname "$0")/../..}"
for file in argocd/environments/*/values.yaml; do
	line=$(grep -E '^ +digest: "?sha256:[0-9a-f]{64}"? # build [0-9]+,' "$file" || true)
	[ -n "$line" ] || continue
	digest=$(echo "$line" | grep -oE 'sha256:[0-9a-f]{64}')
	tag=deployed-$(basename "$(dirname "$file")")-$(echo "$line" | sed -E 's/.*# build ([0-9]+),.*/\1/')
	if "$crane" digest "$IMAGE:$tag" >/dev/null 2>&1; then
		echo "$tag is there"
	elif "$crane" tag "$IMAGE@$digest" "$tag" >/dev/null 2>&1; then
		echo "tagged $tag"
	else
		echo "keep: $IMAGE has no $digest, which $file names" >&2
	fi
done
