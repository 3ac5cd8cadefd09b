#!/usr/bin/env bash
# All of the reliability tests, one after the other: the machine is theirs alone. Ends with their tables and totals.
#
#   tests/reliability/run.sh                   everything; writes docs/reliability.md
#   tests/reliability/run.sh -k T3-12          a part of it, by pytest's expressions
#   RATE=200 DEPLOYS=30 tests/reliability/run.sh    fewer requests a second, fewer deploys in a row
#   RELIABILITY=sample tests/reliability/run.sh     what tools/test.sh does
set -uo pipefail
cd "$(dirname "$0")/../.." || exit
export PATH="$PWD/.venv/bin:$PATH" NO_COLOR=1 RELIABILITY=${RELIABILITY:-full}
ANSIBLE_SSH_CONTROL_PATH_DIR=$HOME/.ansible/cp-$(printf %s "$PWD" | sha256sum | cut -c1-8)
export ANSIBLE_SSH_CONTROL_PATH_DIR

present() { tools/testhosts.py status | awk 'NR > 1 { print $1 }' | sort; }

# Hosts that were there before stay.
# shellcheck disable=SC2317  # called by the trap
clean_up() {
  local left
  mapfile -t left < <(comm -13 <(echo "$before") <(present))
  [ ${#left[@]} = 0 ] || tools/testhosts.py down "${left[@]}" >/dev/null
}

before=$(present)
trap clean_up EXIT
trap 'exit 130' INT TERM
rm -rf .cache/reliability
tools/testhosts.py image 12 13 >/dev/null || exit

pytest -v --tb=short -p no:cacheprovider ${JUNIT:+--junit-xml="$JUNIT"} tests/reliability "$@"
code=$?
write=()
if [ "$RELIABILITY" = full ] && [ $# = 0 ]; then
  write=(--write)
fi
tests/reliability/report.py --seconds "$SECONDS" "${write[@]}" || code=1
exit "$code"
