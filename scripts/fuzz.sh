#!/usr/bin/env bash
# fuzz.sh TIME [PACKAGE…]: fuzzes each target of the packages for TIME (30s, or 1000x). Run by `make fuzz`.
# A failing input is written to the package's testdata/fuzz, from where `make test` repeats it.
set -euo pipefail
cd "$(dirname "$0")/.."

GO=${GO:-go}
fuzztime=$1
shift

failed=0 targets=0
for dir in $("$GO" list -f '{{.Dir}}' "${@:-./...}"); do
  while read -r target; do
    targets=$((targets + 1))
    echo "--- ${dir#"$PWD"/} $target"
    "$GO" test -run '^$' -fuzz "^$target\$" -fuzztime "$fuzztime" "$dir" </dev/null || failed=$((failed + 1))
  done < <(sed -nE 's/^func (Fuzz[A-Za-z0-9_]*)\(.*/\1/p' /dev/null "$dir"/*_test.go 2>/dev/null)
done
echo "fuzz targets: $targets, failing: $failed"
exit $((failed > 0))
