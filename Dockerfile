# One target per program: controller, nodeagent, cni, cli.
#
#   docker build --target controller -t palisade/controller .
#
# Every program is static and the images hold nothing else. All of them run with
# a read-only root file system.
#
# BUILDER is an argument so that the images can be built where no registry can be
# reached, from a Go toolchain at hand: hack/verify-dockerfile.sh does.
ARG BUILDER=docker.io/library/golang:1.26.5@sha256:3aff6657219a4d9c14e27fb1d8976c49c29fddb70ba835014f477e1c70636647

FROM ${BUILDER} AS build
ARG VERSION=v0.0.0-unknown
ENV CGO_ENABLED=0 GOFLAGS=-trimpath
WORKDIR /src
COPY go.mod go.sum ./
# A vendor directory or a filled module cache makes this do nothing.
RUN go mod download
COPY . .
RUN go build -buildvcs=false -ldflags "-s -w -X main.version=${VERSION}" -o /out/ \
      ./cmd/controller ./cmd/nodeagent ./cmd/palisade && \
    go build -buildvcs=false -ldflags "-s -w -X main.version=${VERSION}" -o /out/palisade-cni ./cmd/cni

FROM scratch AS controller
COPY --from=build /out/controller /controller
USER 65532:65532
ENTRYPOINT ["/controller"]

# Root, because loading BPF programs and adopting their pins needs it; which
# capabilities remain is said in config/. The CNI plugin is here to be copied to
# the host, palisade to look at the node from inside.
FROM scratch AS nodeagent
COPY --from=build /out/nodeagent /nodeagent
COPY --from=build /out/palisade-cni /palisade-cni
COPY --from=build /out/palisade /palisade
ENTRYPOINT ["/nodeagent"]

# The CNI plugin alone, for nodes that get their plugins by an image of their own.
FROM scratch AS cni
COPY --from=build /out/palisade-cni /palisade-cni
ENTRYPOINT ["/palisade-cni"]

FROM scratch AS cli
COPY --from=build /out/palisade /palisade
USER 65532:65532
ENTRYPOINT ["/palisade"]
