#!/usr/bin/env bash
# Regenerates everything that is generated from source and committed.
# `make verify` runs it and fails if anything changed.
set -euo pipefail
cd "$(dirname "$0")/.."

CONTROLLER_GEN=sigs.k8s.io/controller-tools/cmd/controller-gen@v0.21.0

# Deep copies and CRDs, from the markers in api/. The tool is run at a pinned
# version outside go.mod: its dependencies are none of the project's.
generate_api() {
	go run "$CONTROLLER_GEN" \
		object paths=./api/... \
		crd output:crd:artifacts:config=config/crd/bases
}

generate_api
hack/generate-proto.sh
hack/generate-bpf.sh
