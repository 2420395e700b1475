#!/bin/sh
# A tag becomes a release: the chart as an OCI artifact beside the image, signed by digest, the section of the changelog as the text.
# TAG is vX.Y.Z and has to be the chart's version. The chart's digest is the output `digest`.
set -eu
cd "$(dirname "$0")/../.."
version=${TAG#v}
if [ "$(helm show chart charts/sluice | sed -n 's/^version: //p')" != "$version" ]; then
	echo "publish: charts/sluice/Chart.yaml does not have version $version" >&2
	exit 2
fi
sed -n "/^## \[$version\]/,/^## \[/p" CHANGELOG.md | sed '$d' >notes.md
if [ ! -s notes.md ]; then
	echo "publish: CHANGELOG.md has no section [$version]" >&2
	exit 2
fi
helm package charts/sluice --destination . >/dev/null
helm push "sluice-$version.tgz" "oci://${IMAGE%/*}/charts" 2>push.log || { cat push.log >&2; exit 1; }
digest=$(sed -n 's/^Digest: //p' push.log)
"${COSIGN:-cosign}" sign --yes "${IMAGE%/*}/charts/sluice@$digest"
echo "digest=$digest" | tee -a "${GITHUB_OUTPUT:-/dev/null}"
