#!/usr/bin/env bash
# verify.sh: fails if committed generated code differs from what its sources
# give, or if Go code is not formatted. It leaves the tree regenerated.
set -euo pipefail
cd "$(dirname "$0")/.."

unformatted=$(gofmt -l $(git ls-files '*.go'))
[[ -z $unformatted ]] || { printf 'verify.sh: not formatted, run gofmt -w:\n%s\n' "$unformatted" >&2; exit 1; }

# What is generated. The pattern is over paths, so that a file that a generator
# newly makes counts as a difference too.
generated() {
  find api bpf config snapshot nodeagent \
    \( -name 'zz_generated*' -o -name '*.pb.go' -o -path 'config/crd/*' -o -name '*.o' -o -name '*_bpfel.go' \) \
    -type f -exec sha256sum {} + 2>/dev/null | sort -k2
}

before=$(mktemp) after=$(mktemp)
trap 'rm -f "$before" "$after"' EXIT
generated >"$before"
hack/generate.sh
generated >"$after"
if ! cmp -s "$before" "$after"; then
  echo "verify.sh: generated files are stale; run make generate and commit:" >&2
  diff "$before" "$after" | sed -n 's/^[<>] [0-9a-f]*  /  /p' | sort -u >&2
  exit 1
fi
echo "verify.sh: $(wc -l <"$after") generated files are fresh"
