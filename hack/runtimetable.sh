#!/usr/bin/env bash
# runtimetable.sh: writes the tables of docs/runtime.md from recorded results.
#
#   hack/runtimetable.sh           after: go test ./test/vm -run TestRuntime -update
#   hack/runtimetable.sh --check   changes nothing; exit code 1 if they are stale
#
# Tests record what they found in testdata/runtime-results*.jsonl of their package.
set -euo pipefail
cd "$(dirname "$0")/.."

mapfile -t results < <(git ls-files --cached --others --exclude-standard '*/testdata/runtime-results*.jsonl' | LC_ALL=C sort)
go run ./hack/runtimetable "$@" docs/runtime.md "${results[@]}"
