#!/bin/sh
# What can be said of the Terraform code without AWS, in each root.
set -eu
cd "$(dirname "$0")/../../terraform"
terraform fmt -recursive -check
for root in . bootstrap; do
	terraform -chdir="$root" init -backend=false -input=false
	terraform -chdir="$root" validate
	terraform -chdir="$root" test
done
