#!/bin/sh
# Protects a repository on GitHub as the workflows expect it: main and the tags of releases by rulesets, and the environments whose
# names AWS roles trust. GitHub makes an environment that does not exist for any workflow that names it, without a rule: so run this
# before Terraform makes the roles.
#   REVIEWERS=12345 GITOPS_APP=67890 tools/protect.sh OWNER/REPOSITORY
# REVIEWERS: id of the team that approves prod and what Terraform applies, and makes the tags of releases
# (gh api orgs/ORG/teams/NAME --jq .id). GITOPS_APP: id of the GitHub App that writes releases; it alone may push to main without a
# pull request. Run it again after a change: it replaces what it made.
set -eu
repository=$1
ruleset() {
	id=$(gh api "repos/$repository/rulesets?includes_parents=false" --jq ".[] | select(.name == \"$1\") | .id")
	if [ -n "$id" ]; then
		gh api --method PUT "repos/$repository/rulesets/$id" --input - >/dev/null
	else
		gh api --method POST "repos/$repository/rulesets" --input - >/dev/null
	fi
	echo "ruleset $1"
}
ruleset main <<END
{
  "name": "main", "target": "branch", "enforcement": "active",
  "conditions": {"ref_name": {"include": ["refs/heads/main"], "exclude": []}},
  "bypass_actors": [{"actor_id": $GITOPS_APP, "actor_type": "Integration", "bypass_mode": "always"}],
  "rules": [
    {"type": "deletion"},
    {"type": "non_fast_forward"},
    {"type": "pull_request", "parameters": {"required_approving_review_count": 1, "dismiss_stale_reviews_on_push": true,
      "require_code_owner_review": true, "require_last_push_approval": true, "required_review_thread_resolution": true}},
    {"type": "required_status_checks", "parameters": {"strict_required_status_checks_policy": true,
      "required_status_checks": [{"context": "lint and test on Python 3.13"}, {"context": "image, chart, operator and GitOps on a real node"}]}}
  ]
}
END
ruleset releases <<END
{
  "name": "releases", "target": "tag", "enforcement": "active",
  "conditions": {"ref_name": {"include": ["refs/tags/v*"], "exclude": []}},
  "bypass_actors": [{"actor_id": $REVIEWERS, "actor_type": "Team", "bypass_mode": "always"}],
  "rules": [{"type": "creation"}, {"type": "update"}, {"type": "deletion"}]
}
END
policy() {
	gh api "repos/$repository/environments/$1/deployment-branch-policies" --jq '.branch_policies[] | "\(.type) \(.name)"' |
		grep -qxF "$2 $3" || gh api --method POST "repos/$repository/environments/$1/deployment-branch-policies" \
		--field "name=$3" --field "type=$2" >/dev/null
}
environment() {
	echo "{\"reviewers\": $2, \"deployment_branch_policy\": {\"protected_branches\": false, \"custom_branch_policies\": true}}" |
		gh api --method PUT "repos/$repository/environments/$1" --input - >/dev/null
	policy "$1" branch main
	echo "environment $1"
}
for name in registry-push registry-sign staging dev dev-rollback staging-rollback prod-rollback fly; do
	environment "$name" '[]'
done
# A release is signed at its tag, which is on no branch.
policy registry-sign tag 'v*'
for name in prod terraform; do
	environment "$name" "[{\"type\": \"Team\", \"id\": $REVIEWERS}]"
done
