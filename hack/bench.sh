#!/usr/bin/env bash
# bench.sh: measures, each beside a baseline of the same run.
#
#   hack/bench.sh verdict   one verdict, the empty program, one hash look-up: bin/bench-verdict.json
#   hack/bench.sh runtime   one answer of runtime rules at 10, 1k and 100k rules: bin/bench-runtime.json;
#                           then exec+exit and open+close in a guest with 0 to 1,000 policies
#   hack/bench.sh path      throughput and latency between two pods with and without the hook
set -euo pipefail
cd "$(dirname "$0")/.."

case ${1-} in
  verdict) args=(-o bin/bench-verdict.json) ;;
  runtime) args=(-o bin/bench-runtime.json) ;;
  path) args=() ;;
  *) sed -n '2,7s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac
[[ $EUID -eq 0 ]] || { echo "bench.sh: run as root: sudo make bench-$1" >&2; exit 1; }
[[ $1 != path ]] || hack/deps.sh cluster lite # ip, nft, sysctl

mkdir -p bin
go build -o "bin/bench-$1" "./hack/bench/$1"
code=0
"bin/bench-$1" "${args[@]}" || code=$?
[[ $1 == runtime ]] || exit "$code"

# Guests count instructions: emulation is no place for times.
hack/deps.sh vm
PALISADE_FULL=1 go test -count=1 -timeout=1h ./test/vm -run 'TestRuntimeCost$' -v | grep -E '^(kernel |--- |FAIL|ok )'
exit "$code" # answers that take longer with more rules: both halves are worth seeing
