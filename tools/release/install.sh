#!/bin/sh
# What `python -m tools.release` needs, by hash, into the Python that runs it.
set -eu
${PYTHON:-python3} -m pip install --quiet --disable-pip-version-check --require-hashes -r "$(dirname "$0")/requirements.txt"
