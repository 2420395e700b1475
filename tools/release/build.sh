#!/bin/sh
# Builds the image for ARCH into the OCI layout OUT, from the base image that its tag names now. Pushes nothing, has no credentials.
# SOURCE: the repository's address, for the image's label.
set -eu
docker buildx create --use >/dev/null
base=$(docker buildx imagetools inspect debian:trixie-slim --format '{{.Manifest.Digest}}')
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export SOURCE_DATE_EPOCH
docker buildx build --platform "linux/$ARCH" --provenance=false --sbom=false --build-arg "BASE_DIGEST=$base" \
	--build-arg "REVISION=$(git rev-parse HEAD)" --build-arg "CREATED=$(git log -1 --format=%cI)" --build-arg "SOURCE=$SOURCE" \
	--output "type=oci,dest=$OUT,tar=false,rewrite-timestamp=true" .
