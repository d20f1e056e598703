#!/usr/bin/env bash
# test.sh: runs stages of the test suite and says what each took.
#
#   hack/test.sh all|fast|STAGE...     STAGE: arch unit rego cel bpf torn vm controller lite e2e,
#                                      in "all" with PALISADE_FULL=1: verify image cluster,
#                                      and by its name alone: race
#
# A failed stage does not stop the ones after it; the exit code is 1 if any
# failed. PALISADE_FULL=1 asks the tests for their full counts. A stage that
# needs what the machine lacks installs it (hack/deps.sh) or fails: nothing is
# skipped unless test/skips.txt lists it with a reason.
set -uo pipefail
cd "$(dirname "$0")/.."

export PALISADE_CACHE=${PALISADE_CACHE:-${HOME:-/root}/.cache/palisade}
readonly ALL="arch unit rego cel bpf torn vm controller lite e2e"
# What the rest stands on: generated code, the Dockerfile, the local cluster itself.
readonly HOUSE="verify image cluster"

# Packages of the stages that need more than Go. What is in none of them is "unit".
readonly REGO="./webhooks/..."
readonly CEL="./api/... ./test/cel/..."
readonly BPF="./bpf/... ./nodeagent/... ./cmd/nodeagent/... ./cmd/cni/... ./test/datapath/..."
readonly VM="./hack/vm/... ./test/vm/..."
readonly CONTROLLER="./controllers/... ./cmd/controller/... ./test/kubetest/... ./test/webhook/... ./test/controller/... ./test/cli/..."
# Where goroutines meet and no cluster or virtual machine is needed; again, not instead.
readonly RACE="./webhooks/... ./snapshot/... ./nodeagent/... ./controllers/... ./cmd/palisade/..."
readonly ELSEWHERE="./test/arch/... ./test/torn/... ./test/e2e/... ./test/bench/... $REGO $CEL $BPF $VM $CONTROLLER"

counts=$(mktemp)
table=$(mktemp)
trap 'rm -f "$counts" "$table" "$counts".*' EXIT

# packages DIR/...: the packages below directories that there are. A pattern
# without a directory would make go list print nothing at all.
packages() {
  local pattern there=()
  for pattern in "$@"; do
    [[ ! -d ${pattern%/...} ]] || there+=("$pattern")
  done
  go list "${there[@]}"
}

# gotest FLAGS... -- PACKAGES...: runs them, prints a digest, adds up the counts.
gotest() {
  local flags=()
  while [[ $1 != -- ]]; do flags+=("$1"); shift; done
  shift
  local list
  list=$(packages "$@") && go build -o "$counts.testsum" ./hack/testsum || return
  # shellcheck disable=SC2086
  go test -json -count=1 "${flags[@]}" $list | "$counts.testsum" -skips test/skips.txt -counts "$counts"
}

# limit TIME: how long a package may take. Nobody knows beforehand for full counts.
limit() { [[ -n ${PALISADE_FULL:-} ]] && echo 3h || echo "$1"; }

# counted COMMAND...: a program that is one test.
counted() {
  if "$@"; then echo 1 0 0 >>"$counts"; else echo 0 1 0 >>"$counts"; return 1; fi
}

as_root() { # WHAT: fails with what to do
  [[ $EUID -eq 0 ]] || { echo "test.sh: $1 needs root: sudo make test-$stage" >&2; return 1; }
}

# An API server to test against: Kubernetes' binaries, built once into the cache.
kubernetes() { hack/deps.sh build cluster && hack/cluster/cluster build; }

stage_arch() { gotest -- ./test/arch/...; }
stage_unit() {
  local unit
  unit=$(comm -23 <(packages ./... | sort) <(packages $ELSEWHERE | sort) | sed "s,^palisade.dev/palisade/*,./,")
  gotest -timeout="$(limit 20m)" ${PALISADE_FAST:+-short} -- $unit
}
stage_rego() { gotest -- $REGO; }
stage_cel() { kubernetes && gotest -timeout="$(limit 15m)" -- $CEL; }
stage_bpf() { as_root "loading BPF programs" && hack/deps.sh cluster && gotest -timeout="$(limit 20m)" -p=1 -- $BPF; }
stage_vm() { hack/deps.sh vm && gotest -timeout="$(limit 45m)" -p=1 -- $VM; }
stage_torn() {
  as_root "loading BPF programs" || return
  mkdir -p bin && go build -o bin/torn ./test/torn && counted bin/torn | tee "$counts.torn"
}
stage_controller() { kubernetes && gotest -timeout="$(limit 15m)" -p=1 -- $CONTROLLER; }
stage_lite() { as_root "making network namespaces" && hack/deps.sh build cluster && counted hack/demo/lite.sh; }
stage_race() {
  as_root "loading BPF programs" && kubernetes || return
  # The detector is linked by C's tools. The result is static nevertheless, since tests of
  # nodeagent/runtime run their own binary in an image that has nothing else in it. By
  # GOFLAGS, programs that tests build have the detector too. Full counts are for other
  # stages: the same goroutines meet in the ordinary ones.
  (
    unset PALISADE_FULL
    export CGO_ENABLED=1
    export GOFLAGS="${GOFLAGS:-} -race -tags=netgo,osusergo '-ldflags=-linkmode=external -extldflags=-static'"
    gotest -timeout=30m -p=1 -- $RACE
  )
}
stage_verify() { hack/deps.sh build bpf && counted hack/verify.sh; }
stage_image() { as_root "building images" && hack/deps.sh image && counted hack/verify-dockerfile.sh; }
stage_cluster() { as_root "the local cluster" && kubernetes && counted hack/cluster/test.sh; }
stage_e2e() {
  # On a cluster of the user's there is nothing to build, and nothing to be root for.
  if (. hack/cluster/target.sh && [[ $TARGET == local ]]); then as_root "the local cluster" && kubernetes || return; fi
  gotest -timeout="$(limit 40m)" -- ./test/e2e/...
}

run() { # STAGE
  stage=$1
  local begin=$SECONDS result=ok
  printf '\n=== %s\n' "$stage"
  "stage_$stage" || { result=FAILED failed=1; }
  printf '=== %s: %s after %d s\n' "$stage" "$result" $((SECONDS - begin))
  printf '%-12s %6d s  %s\n' "$stage" $((SECONDS - begin)) "$result" >>"$table"
}

stages=()
for arg in "$@"; do
  case $arg in
    all) stages+=($ALL ${PALISADE_FULL:+$HOUSE}) ;;
    fast) stages+=(arch unit rego); export PALISADE_FAST=1 ;;
    *)
      declare -F "stage_$arg" >/dev/null || { echo "test.sh: no stage \"$arg\": use all, fast or ${ALL// /, }, ${HOUSE// /, }, race" >&2; exit 2; }
      stages+=("$arg")
      ;;
  esac
done
[[ ${#stages[@]} -gt 0 ]] || { sed -n '2,11s/^# \{0,1\}//p' "$0" >&2; exit 2; }

failed=0
for s in "${stages[@]}"; do run "$s"; done

printf '\n=== summary (%d s)\n' $SECONDS
cat "$table"
awk '{ p += $1; f += $2; s += $3 } END { printf "%d passed, %d failed, %d skipped\n", p, f, s }' "$counts"
# Scripts read the verdict about torn state from the last line of "make test-torn".
if [[ ${stages[*]} == torn ]]; then tail -n 1 "$counts.torn"; fi
exit $failed
