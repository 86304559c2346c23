#!/usr/bin/env bash
# lint.sh: format, vet and linters, with pinned versions; nothing enters go.mod. Run by `make lint`.
set -euo pipefail
cd "$(dirname "$0")/.."

GO=${GO:-go}
GOFUMPT=mvdan.cc/gofumpt@v0.12.0
GOLANGCI=github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0

failed=0

unformatted=$(git ls-files --cached --others --exclude-standard '*.go' | xargs -r "$GO" run "$GOFUMPT" -l)
if [[ -n $unformatted ]]; then
  echo "not formatted (run: $GO run $GOFUMPT -w FILE…):"
  echo "$unformatted"
  failed=1
fi

"$GO" vet ./... || failed=1
"$GO" run "$GOLANGCI" run --timeout 10m ./... || failed=1

exit "$failed"
