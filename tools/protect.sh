#!/bin/sh
# Protects a repository on GitHub as the workflows expect it: main by a ruleset, and the environments whose names AWS roles trust.
#   REVIEWERS=12345 GITOPS_APP=67890 tools/protect.sh OWNER/REPOSITORY
# REVIEWERS: id of the team that approves prod (gh api orgs/ORG/teams/NAME --jq .id). GITOPS_APP: id of the GitHub App that writes
# releases; it alone may push to main without a pull request. Run it again after a change: it replaces what it made.
set -eu
repository=$1
rules=$(
	cat <<END
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
)
id=$(gh api "repos/$repository/rulesets" --jq '.[] | select(.name == "main") | .id')
if [ -n "$id" ]; then
	echo "$rules" | gh api --method PUT "repos/$repository/rulesets/$id" --input - >/dev/null
else
	echo "$rules" | gh api --method POST "repos/$repository/rulesets" --input - >/dev/null
fi
environment() {
	echo "{\"reviewers\": $2, \"deployment_branch_policy\": {\"protected_branches\": false, \"custom_branch_policies\": true}}" |
		gh api --method PUT "repos/$repository/environments/$1" --input - >/dev/null
	gh api "repos/$repository/environments/$1/deployment-branch-policies" --jq '.branch_policies[].name' | grep -qx main ||
		gh api --method POST "repos/$repository/environments/$1/deployment-branch-policies" --field name=main >/dev/null
	echo "environment $1"
}
for name in registry-push registry-sign staging dev dev-rollback staging-rollback prod-rollback fly; do
	environment "$name" '[]'
done
environment prod "[{\"type\": \"Team\", \"id\": $REVIEWERS}]"
