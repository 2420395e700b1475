"""Builds the images of this project without a container engine and without a registry: by buildah and debootstrap, as root.

`build()` gives a docker-archive, from the cache when nothing that goes into it changed, and `postgres()` a database for the
tests. `base()` is the stand-in for the base image that the Dockerfiles name, and `missing()` says why this machine cannot
build. Everything is kept under `folders.cache()/images`, buildah's storage too, so that other images stay untouched.
"""

from tools.images.archive import Image
from tools.images.builder import BuildFailed, build, postgres
from tools.images.debian import base, missing

__all__ = ["BuildFailed", "Image", "base", "build", "missing", "postgres"]
