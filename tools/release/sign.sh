#!/bin/sh
# Signs IMAGE@DIGEST and attests its provenance and SBOMs. What proves it goes beside the image, and into a folder for those who have
# no access to the registry.
#   sign.sh FOLDER [SBOM.spdx.json | SBOM.cdx.json ...]
# KMS_KEY, if set, signs once more for verifiers that only know keys. SIGN_FLAGS: for tests, with a key and without a transparency log.
set -eu
folder=$1
shift
mkdir -p "$folder"
cd "$(dirname "$0")/../.."
signed=$IMAGE@$DIGEST
predicate=$folder/predicate.json
${PYTHON:-python3} -m tools.release.proof "$SOURCE" "$COMMIT" .github/workflows/deliver.yml "$RUN" >"$predicate"
sign() {
	verb=$1
	shift
	# Word by word: flags hold no spaces.
	# shellcheck disable=SC2086
	"${COSIGN:-cosign}" "$verb" --yes ${SIGN_FLAGS:-} "$@" "$signed"
}
sign sign --bundle "$folder/signature.json"
sign attest --bundle "$folder/provenance.json" --type slsaprovenance1 --predicate "$predicate"
for sbom; do
	case $sbom in
	*.spdx.json) type=spdxjson ;;
	*) type=cyclonedx ;;
	esac
	sign attest --type "$type" --predicate "$sbom"
done
if [ -n "${KMS_KEY:-}" ]; then
	"${COSIGN:-cosign}" sign --yes --key "$KMS_KEY" "$signed"
fi
