#!/bin/sh
# What can be said of the Terraform code without AWS, in each root. PROVIDER=newest: not by the lock file.
set -eu
cd "$(dirname "$0")/../../terraform"
terraform fmt -recursive -check
for root in . bootstrap; do
	if [ "${PROVIDER:-locked}" = newest ]; then
		terraform -chdir="$root" init -backend=false -input=false -upgrade
	else
		terraform -chdir="$root" init -backend=false -input=false -lockfile=readonly
	fi
	terraform -chdir="$root" validate
	terraform -chdir="$root" test
done
