#!/usr/bin/env bash
# lint.sh: runs golangci-lint at a pinned version, built once into the cache.
#
#   hack/lint.sh [ARGS of golangci-lint run...]
set -euo pipefail
cd "$(dirname "$0")/.."

readonly VERSION=v2.15.0
tool=${PALISADE_CACHE:-${HOME:-/root}/.cache/palisade}/tools/golangci-lint-$VERSION

if [[ ! -x $tool ]]; then
  echo "lint.sh: building golangci-lint $VERSION (once, some minutes)" >&2
  mkdir -p "$(dirname "$tool")"
  tmp=$(mktemp -d)
  trap 'rm -rf "$tmp"' EXIT
  GOBIN=$tmp GOFLAGS= go install "github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$VERSION"
  mv "$tmp/golangci-lint" "$tool"
fi
exec "$tool" run "$@"
