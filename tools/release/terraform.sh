#!/bin/sh
# What can be said of the Terraform code without AWS, in each root. PROVIDER=newest: not by the lock file.
set -eu
cd "$(dirname "$0")/../../terraform"
terraform fmt -recursive -check
judge() {
	if [ "${PROVIDER:-locked}" = newest ]; then
		terraform -chdir="$1" init -backend=false -input=false -upgrade -test-directory="$2"
	else
		terraform -chdir="$1" init -backend=false -input=false -lockfile=readonly -test-directory="$2"
	fi
	terraform -chdir="$1" validate
	terraform -chdir="$1" test -test-directory="$2"
}
# The folder with the runs: Terraform looks into no folder below it.
judge . tests/short
judge bootstrap tests
