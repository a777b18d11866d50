#!/usr/bin/env bash
# Rebuilds the guests of the benchmarks beside their sources, byte for byte. `--check` compares with what is committed instead.
# It installs nothing; it needs Debian 12's clang lld wasi-libc libclang-rt-14-dev-wasm32.
set -euo pipefail
cd "$(dirname "$0")"
check=${1:-}
to=$(mktemp -d)
trap 'rm -rf "$to"' EXIT

for source in *.c; do
  clang --target=wasm32-wasi -O2 -msimd128 -Wall -Wextra -Werror -Wl,--strip-debug -o "$to/out.wasm" "$source"
  chmod 644 "$to/out.wasm"
  if [ "$check" = --check ]; then cmp "$to/out.wasm" "${source%.c}.wasm"; else cp "$to/out.wasm" "${source%.c}.wasm"; fi
done
