#!/bin/sh
# Verifies the image by what is in ./proof, and lets ENVIRONMENT run it: a commit, or for prod a pull request.
set -eu
here=$(dirname "$0")
"$here/install.sh"
gh auth setup-git
${PYTHON:-python3} -m tools.release bump "$ENVIRONMENT" --digest "$DIGEST" --commit "$COMMIT" --build "$(git rev-list --count "$COMMIT")" \
	--run "$RUN" --proof proof --body body.md
branch=release/$ENVIRONMENT-$(git rev-list --count "$COMMIT")
if [ -s body.md ] && git ls-remote --exit-code --heads origin "$branch" >/dev/null; then
	# Of the open ones: `gh pr view` finds one that was closed, too.
	[ -n "$(gh pr list --head "$branch" --state open --json number --jq '.[].number')" ] ||
		gh pr create --head "$branch" --title "$(head -n 1 body.md)" --body-file body.md
fi
