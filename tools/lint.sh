#!/usr/bin/env bash
# Check style and syntax. Every tool runs, also after one has found something; the last line says how many passed.
#
#   tools/lint.sh              all of them
#   tools/lint.sh NAME...      those alone, for example: tools/lint.sh ruff ansible-lint
set -uo pipefail
cd "$(dirname "$0")/.." || exit
export PATH="$PWD/.venv/bin:$PATH"
export ANSIBLE_COLLECTIONS_PATH="$PWD/.cache/collections"

# Also what git does not know yet: a new file is looked at before it is committed.
files() { git ls-files -z --cached --others --exclude-standard -- "$@"; }

# Shell files by their name, or by their first line.
shell_files() {
  files '*.sh' '*.bash'
  files ':!*.sh' ':!*.bash' | xargs -0 -r grep -lIZm1 -E '^#!.*[/ ](ba|da)?sh( |$)' 2>/dev/null |
    while IFS= read -r -d '' file; do
      head -n 1 "$file" | grep -q '^#!' && printf '%s\0' "$file"
    done
}

ruff_() { ruff check --quiet --output-format=concise .; }
shellcheck_() { shell_files | xargs -0 -r shellcheck; }
yamllint_() { yamllint --strict .; }
ansible_lint_() { ansible-lint --nocolor -q; }
changelog_() { antsibull-changelog lint; }
committed_() { tools/check_committed.py; }

declare -A CHECKS=([ruff]=ruff_ [shellcheck]=shellcheck_ [yamllint]=yamllint_ [ansible-lint]=ansible_lint_
  [changelog]=changelog_ [committed]=committed_)
ORDER=(ruff shellcheck yamllint changelog committed ansible-lint)

passed=0 failed=0
for name in "${@:-${ORDER[@]}}"; do
  [ -n "${CHECKS[$name]:-}" ] || { echo "lint: no check is named $name; there are: ${ORDER[*]}" >&2; exit 2; }
  start=$SECONDS
  if output=$("${CHECKS[$name]}" 2>&1); then
    printf 'ok    %-14s %3d s\n' "$name" $((SECONDS - start))
    passed=$((passed + 1))
  else
    printf '%s\n' "$output"
    printf 'FAIL  %-14s %3d s\n' "$name" $((SECONDS - start))
    failed=$((failed + 1))
  fi
done
echo "lint: $passed passed, $failed failed"
[ "$failed" = 0 ]
