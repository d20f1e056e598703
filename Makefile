# Every target has a line of help after "##"; a test in test/arch checks it.

SHELL       := bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS   += --no-print-directory
.DEFAULT_GOAL := help

export PALISADE_CACHE ?= $(HOME)/.cache/palisade
# Static everywhere, so that tests, the demo and the programs share one build cache.
export CGO_ENABLED    ?= 0

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo v0.0.0-unknown)
LDFLAGS := -s -w -X main.version=$(VERSION)
GOBUILD := go build -ldflags '$(LDFLAGS)'

##@ Building

.PHONY: build
build: ## Build every program into bin/, static
	$(GOBUILD) -o bin/palisade ./cmd/palisade
	ln -f bin/palisade bin/kubectl-palisade
	$(GOBUILD) -o bin/controller ./cmd/controller
	$(GOBUILD) -o bin/nodeagent ./cmd/nodeagent
	$(GOBUILD) -o bin/palisade-cni ./cmd/cni

.PHONY: generate
generate: ## Regenerate deep copies, CRDs, protobuf code and BPF objects
	hack/deps.sh build bpf
	hack/generate.sh

.PHONY: verify
verify: ## Check that generated code is fresh and that the tree is formatted
	hack/deps.sh build bpf
	hack/verify.sh

.PHONY: image
image: ## Build the container images into bin/images with buildah and run each once (no registry needed)
	hack/deps.sh image
	VERSION=$(VERSION) hack/verify-dockerfile.sh

.PHONY: clean
clean: ## Remove bin/ (not the cache of tools and Kubernetes binaries)
	rm -rf bin

##@ Testing (each stage prints what it ran and how long it took)

.PHONY: test
test: ## Everything, shortened to at most 40 minutes on two cores with warm caches
	hack/test.sh all

.PHONY: test-full
test-full: ## Everything with the full counts, and verify, image and test-cluster; what acceptance uses
	PALISADE_FULL=1 hack/test.sh all

.PHONY: test-fast
test-fast: ## Under three minutes, no cluster: unit, property (short), fuzz seeds, Rego, architecture
	hack/test.sh fast

.PHONY: test-unit
test-unit: ## Unit tests, properties and fuzz seeds of every package
	hack/test.sh unit

.PHONY: test-cel
test-cel: ## CEL rules of the CRDs against a real API server
	hack/test.sh cel

.PHONY: test-rego
test-rego: ## Admission rules: their opa test cases and the engine
	hack/test.sh rego

.PHONY: test-bpf
test-bpf: ## BPF programs: test-run, and real packets between namespaces (root)
	hack/test.sh bpf

.PHONY: test-torn
test-torn: ## No verdict mixes two generations (TORN_SECONDS=30 shortens it; root)
	hack/test.sh torn

.PHONY: test-vm
test-vm: ## What needs another kernel, in virtual machines with those of the distribution
	hack/test.sh vm

.PHONY: test-controller
test-controller: ## Controller and webhook against a real API server
	hack/test.sh controller

.PHONY: test-e2e
test-e2e: ## End to end on the local cluster, or on KUBECONFIG=... / KIND=1 (root)
	hack/test.sh e2e

.PHONY: test-cluster
test-cluster: ## The local cluster itself: its networks, what down leaves behind, also after a failure (root)
	hack/test.sh cluster

.PHONY: test-lite
test-lite: ## The demo without Kubernetes: network namespaces as pods (root)
	hack/test.sh lite

.PHONY: test-race
test-race: ## Go's race detector over the tests of what has goroutines and needs no cluster; in no other target (root)
	hack/test.sh race

.PHONY: lint
lint: ## golangci-lint with the import rules of .golangci.yml
	hack/lint.sh

.PHONY: mutate
mutate: ## Check the tests: plant defects one by one; each has to be noticed (root)
	go run ./hack/mutate

##@ Measuring

.PHONY: bench
bench: bench-verdict bench-runtime bench-path ## All benchmarks; each prints ratios against a baseline of the same run

.PHONY: bench-verdict
bench-verdict: ## Time of one verdict against an empty program; writes bin/bench-verdict.json (root)
	hack/bench.sh verdict

.PHONY: bench-runtime
bench-runtime: ## One answer of runtime rules at 10 to 100k rules (bin/bench-runtime.json); exec and open in a VM (root)
	hack/bench.sh runtime

.PHONY: bench-path
bench-path: ## Throughput and latency between two pods with and without the hook (root)
	hack/bench.sh path

##@ Trying it out

.PHONY: demo
demo: ## A small shop on a local cluster (KEEP=1 leaves it up; LITE=1: no Kubernetes, one minute)
	@if [[ -n "$${LITE:-}" ]]; then hack/demo/lite.sh; else hack/demo/demo.sh; fi

.PHONY: cluster-up
cluster-up: ## Start the local cluster of two nodes (root)
	hack/cluster/cluster up

.PHONY: cluster-down
cluster-down: ## Stop the local cluster and remove all traces of it (root)
	hack/cluster/cluster down

.PHONY: help
help: ## Show this list
	@awk 'BEGIN { FS = ":.*## " } \
	  /^##@/ { printf "\n%s\n", substr($$0, 5) } \
	  /^[a-z][a-z0-9-]*:.*## / { printf "  %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
