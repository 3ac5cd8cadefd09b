#!/usr/bin/env bash
# All of the reliability tests, one after the other: the machine is theirs alone. Ends with their tables and totals.
#
#   tests/reliability/run.sh                   everything, from the start; writes docs/reliability.md
#   tests/reliability/run.sh --resume          goes on where a run was stopped, or RESUME=1: what has passed is left out
#   tests/reliability/run.sh --resume -k T3-12      a part of it, by pytest's expressions; what was done before stays
#   tests/reliability/run.sh --list            how many tests there are at each place, and how many have passed
#   RATE=200 DEPLOYS=30 tests/reliability/run.sh    fewer requests a second, fewer deploys in a row
#   SOAK=all tests/reliability/run.sh          many deploys in a row at four places instead of two: hours more
#   RELIABILITY=sample tests/reliability/run.sh     what tools/test.sh does
set -uo pipefail
cd "$(dirname "$0")/../.." || exit
export PATH="$PWD/.venv/bin:$PATH" NO_COLOR=1 RELIABILITY=${RELIABILITY:-full}
ANSIBLE_SSH_CONTROL_PATH_DIR=$HOME/.ansible/cp-$(printf %s "$PWD" | sha256sum | cut -c1-8)
export ANSIBLE_SSH_CONTROL_PATH_DIR

resume=${RESUME:-} arguments=()
for word in "$@"; do
  case $word in
    --list) exec tests/reliability/report.py --list ;;
    --resume) resume=1 ;;
    *) arguments+=("$word") ;;
  esac
done

present() { tools/testhosts.py status | awk '/^(rel|kill)-/ { print $1 }' | sort; }

# Hosts that were there before stay, and so do those of others.
# shellcheck disable=SC2317  # called by the trap
clean_up() {
  local left
  mapfile -t left < <(comm -13 <(echo "$before") <(present))
  [ ${#left[@]} = 0 ] || tools/testhosts.py down "${left[@]}" >/dev/null
}

tools/testhosts.py image 12 13 >/dev/null || exit
before=$(present)
trap clean_up EXIT
trap 'exit 130' INT TERM HUP
[ -n "$resume" ] || rm -f ".cache/reliability/$RELIABILITY.jsonl"

# In the background, for bash hears of a signal only then; a run that is stopped still gets its tables.
pytest -v --tb=short -p no:cacheprovider ${JUNIT:+--junit-xml="$JUNIT"} ${resume:+--resume} tests/reliability \
  "${arguments[@]}" &
tests=$!
trap 'kill -TERM "$tests"' INT TERM HUP
wait "$tests"
code=$?
while kill -0 "$tests" 2>/dev/null; do
  wait "$tests"
  code=$?
done
trap 'exit 130' INT TERM HUP

write=()
if [ "$RELIABILITY" = full ] && { [ -n "$resume" ] || [ ${#arguments[@]} = 0 ]; }; then
  write=(--write)
fi
tests/reliability/report.py "${write[@]}" || code=1
exit "$code"
