#!/bin/sh
# A tag becomes a release: the chart as an OCI artifact beside the image, signed by digest. What is there is left alone, and signed
# again: tags do not move, and another package of the same files has another digest.
# TAG is vX.Y.Z and has to be the chart's version, with a section in the changelog. The chart's digest is the output `digest`.
set -eu
cd "$(dirname "$0")/../.."
version=${TAG#v}
if [ "$(helm show chart charts/sluice | sed -n 's/^version: //p')" != "$version" ]; then
	echo "publish: charts/sluice/Chart.yaml does not have version $version" >&2
	exit 2
fi
if ! grep -qF "## [$version]" CHANGELOG.md; then
	echo "publish: CHANGELOG.md has no section [$version]" >&2
	exit 2
fi
chart=${IMAGE%/*}/charts/sluice
if ! digest=$("$(tools/release/crane.sh)" digest "$chart:$version" 2>/dev/null); then
	work=$(mktemp -d)
	trap 'rm -rf "$work"' EXIT
	helm package charts/sluice --destination "$work" >/dev/null
	helm push "$work/sluice-$version.tgz" "oci://${IMAGE%/*}/charts" 2>"$work/log" || { cat "$work/log" >&2; exit 1; }
	digest=$(sed -n 's/^Digest: //p' "$work/log")
fi
"${COSIGN:-cosign}" sign --yes "$chart@$digest"
echo "digest=$digest" | tee -a "${GITHUB_OUTPUT:-/dev/null}"
