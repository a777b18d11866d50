#!/usr/bin/env bash
# Rebuilds the guests beside their sources, byte for byte, with Debian 12's
# clang lld wasi-libc libclang-rt-14-dev-wasm32. `--check` compares with what is committed instead.
set -euo pipefail
cd "$(dirname "$0")"
check=${1:-}
for name in hello probe; do
  out=$name/$name.wasm
  [ "$check" = --check ] && out=$(mktemp)
  clang --target=wasm32-wasi -O2 -Wall -Werror -o "$out" "$name/$name.c"
  if [ "$check" = --check ]; then cmp "$out" "$name/$name.wasm" && rm "$out"; fi
done
