#!/usr/bin/env bash
# What a change must pass: style, unit tests, a scenario for each role on fresh hosts, then whole topologies.
#
#   tools/test.sh                everything
#   tools/test.sh NAME...        these alone: lint, units, a part of tests/stack (below), or the name of a scenario
#   WORKERS=2 tools/test.sh      how many run side by side
#
# Nothing stops for a failure. Each part has its log in .cache/logs; the last line counts what passed and failed.
set -uo pipefail
cd "$(dirname "$0")/.." || exit
export PATH="$PWD/.venv/bin:$PATH" NO_COLOR=1
# Of this checkout alone: the hosts of another one have the same names, and shared connections go by name.
ANSIBLE_SSH_CONTROL_PATH_DIR=$HOME/.ansible/cp-$(printf %s "$PWD" | sha256sum | cut -c1-8)
export ANSIBLE_SSH_CONTROL_PATH_DIR
export MOLECULE_GLOB='molecule/*/molecule.yml'
LOGS=$PWD/.cache/logs
LIMIT=1800 # seconds for one part
# More than there are processors, for a scenario waits for its hosts and the network much of the time.
WORKERS=${WORKERS:-3}
TOPOLOGIES=(topologies-13 topologies-12 sandbox releases-13 releases-12 sources fleet backup-13 backup-12 assets-13
  assets-12 asgi bad-input reliability)

# The slow ones first, so that none of them is left running alone at the end.
parts() {
  local first=(nginx uwsgi django python_app gunicorn postgresql app_server lint flask units vue) name
  for name in "${first[@]}"; do
    [ "$name" = lint ] || [ "$name" = units ] || [ -d "molecule/$name" ] || continue
    echo "$name"
  done
  for name in molecule/*/molecule.yml; do
    name=$(basename "$(dirname "$name")")
    [ "$name" = default ] || [[ " ${first[*]} " = *" $name "* ]] || echo "$name"
  done
}

# run NAME COMMAND...: into the log of that name; says how it went, and leaves the exit code and the time in a file.
run() {
  local name=$1 start=$SECONDS code
  shift
  timeout --kill-after=60 "$LIMIT" "$@" </dev/null >"$LOGS/$name.log" 2>&1
  code=$?
  echo "$code $((SECONDS - start))" >"$LOGS/$name.result"
  if [ "$code" = 0 ]; then
    printf 'ok    %-12s %4d s\n' "$name" $((SECONDS - start))
  else
    printf 'FAIL  %-12s %4d s   exit code %s, .cache/logs/%s.log:\n%s\n' "$name" $((SECONDS - start)) "$code" "$name" \
      "$(tail -n 60 "$LOGS/$name.log" | sed 's/^/      /')"
  fi
}

# stack NAME FILE...: whole topologies; what they measured is shown.
stack() {
  local name=$1 file=$2
  shift 2
  run "$name" pytest -v -s -p no:cacheprovider --junit-xml="$LOGS/junit/$name.xml" "tests/stack/$file" "$@"
  grep -aoE '[A-Za-z0-9 ,]*(three releases|second run|from a bare host|rollback:|deploy of one app)[^[]*$' "$LOGS/$name.log" | sed "s/^/      $name: /"
}

part() {
  case $1 in
    lint) run lint tools/lint.sh ;;
    units) run units pytest -q -p no:cacheprovider --junit-xml="$LOGS/junit/units.xml" tests/unit tests/mutants/test_inventory.py ;;
    topologies-1[23] | releases-1[23] | backup-1[23] | assets-1[23])
      stack "$1" "test_${1%-*}.py" -k "${1##*-}"
      ;;
    fleet | bad-input | sandbox | sources | asgi) stack "$1" "test_${1//-/_}.py" ;;
    # A fixed sample of what `make reliability` does; its tables are shown.
    reliability)
      RELIABILITY=sample JUNIT=$LOGS/junit/reliability.xml run "$1" tests/reliability/run.sh
      sed -n '/^## /,$p' "$LOGS/reliability.log" | sed 's/^/      /'
      ;;
    *)
      # Molecule names its folder after the checkout's last part alone: two checkouts would meet in one.
      rm -rf ".cache/molecule/$1"
      MOLECULE_EPHEMERAL_DIRECTORY=$PWD/.cache/molecule/$1 run "$1" molecule test --scenario-name "$1"
      ;;
  esac
}

if [ "${1:-}" = --part ]; then # of this script itself, below
  part "$2"
  exit
fi

present() { tools/testhosts.py status | awk 'NR > 1 { print $1 }' | sort; }

# Hosts that were there before, a demo's for example, stay.
clean_up() {
  local left
  mapfile -t left < <(comm -13 <(echo "$before") <(present))
  [ ${#left[@]} = 0 ] || tools/testhosts.py down "${left[@]}" >/dev/null
}

wanted=("$@")
rm -rf "$LOGS"
mkdir -p "$LOGS/junit"
before=$(present)
trap clean_up EXIT
trap 'exit 130' INT TERM

if [ ${#wanted[@]} = 0 ]; then
  mapfile -t wanted < <(parts)
  wanted+=("${TOPOLOGIES[@]}")
fi
side_by_side=() last=() alone=()
for name in "${wanted[@]}"; do
  case $name in
    reliability) alone+=("$name") ;; # it measures
    lint | units) side_by_side+=("$name") ;;
    *)
      # Under load, so the scenarios have come to their end before.
      if [[ " ${TOPOLOGIES[*]} " = *" $name "* ]]; then
        last+=("$name")
        continue
      fi
      [ -f "molecule/$name/molecule.yml" ] || { echo "test: no part is named $name" >&2; exit 2; }
      side_by_side+=("$name")
      ;;
  esac
done

tools/testhosts.py image 12 13 >/dev/null || exit # once, and not in three scenarios at the same time
[ ${#side_by_side[@]} = 0 ] || printf '%s\n' "${side_by_side[@]}" | xargs -P "$WORKERS" -I{} "$0" --part {}
[ ${#last[@]} = 0 ] || printf '%s\n' "${last[@]}" | xargs -P 2 -I{} "$0" --part {}
[ ${#alone[@]} = 0 ] || printf '%s\n' "${alone[@]}" | xargs -P 1 -I{} "$0" --part {}
tools/count_tests.py "$LOGS" "$SECONDS" "${wanted[@]}"
