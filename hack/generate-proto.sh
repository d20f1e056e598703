#!/bin/sh
# Generates the Go code of snapshot/wire from its .proto file. Needs protoc
# (Debian: protobuf-compiler); the Go plugins come at the versions below.
set -eu
cd "$(dirname "$0")/.."

grpc_plugin=v1.6.0

command -v protoc >/dev/null || {
	echo "generate-proto: protoc is missing: apt-get install protobuf-compiler" >&2
	exit 2
}
bin=$(mktemp -d)
trap 'rm -rf "$bin"' EXIT

go build -o "$bin/protoc-gen-go" google.golang.org/protobuf/cmd/protoc-gen-go
GOBIN=$bin go install "google.golang.org/grpc/cmd/protoc-gen-go-grpc@$grpc_plugin"

PATH=$bin:$PATH protoc \
	--go_out=. --go_opt=module=palisade.dev/palisade \
	--go-grpc_out=. --go-grpc_opt=module=palisade.dev/palisade \
	snapshot/wire/snapshot.proto
