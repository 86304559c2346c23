#!/usr/bin/env bash
# dist.sh: release archives in dist/, the same bytes for the same commit and Go version. Run by `make dist`.
set -euo pipefail
cd "$(dirname "$0")/.."

GO=${GO:-go}
version=$(git describe --tags --always --dirty)
build=github.com/rootd/rootd/cmd/internal/build
epoch=$(git log -1 --format=%ct)

rm -rf dist
mkdir dist
stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT

for platform in linux/amd64 linux/arm64 darwin/amd64 darwin/arm64 freebsd/amd64; do
  name=rootd-$version-${platform/\//-}
  mkdir "$stage/$name"
  CGO_ENABLED=0 GOOS=${platform%/*} GOARCH=${platform#*/} \
    "$GO" build -buildvcs=true -trimpath -ldflags "-s -w -buildid= -X $build.version=$version" -o "$stage/$name/" ./cmd/rootd ./cmd/rootctl ./cmd/rootswarm
  cp -R README.md CHANGELOG.md CONTRIBUTING.md SECURITY.md LICENSE docs "$stage/$name/"
  for extra in scripts/rootd.toml scripts/rootd.service; do
    [[ ! -e $extra ]] || cp "$extra" "$stage/$name/"
  done
  tar --create --directory "$stage" --sort=name --mtime="@$epoch" --owner=0 --group=0 --numeric-owner \
    --mode='u+rwX,go+rX,go-w' "$name" | gzip -n9 >"dist/$name.tar.gz"
  echo "dist/$name.tar.gz"
done
(cd dist && sha256sum -- *.tar.gz >SHA256SUMS)
