#!/bin/sh
# Logs in to the ECR of IMAGE, for crane and cosign.
set -eu
registry=${IMAGE%%/*}
aws ecr get-login-password | "$("$(dirname "$0")/crane.sh")" auth login --username AWS --password-stdin "$registry"
