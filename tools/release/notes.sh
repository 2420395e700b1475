#!/bin/sh
# Makes the GitHub release of TAG from its section of the changelog, with the digest of the CHART.
set -eu
cd "$(dirname "$0")/../.."
sed -n "/^## \[${TAG#v}\]/,/^## \[/p" CHANGELOG.md | sed '1d;$d' >notes.md
printf '\nChart: %s. How to verify it: SECURITY.md.\n' "$CHART" >>notes.md
gh release view "$TAG" >/dev/null 2>&1 || gh release create "$TAG" --verify-tag --title "$TAG" --notes-file notes.md
