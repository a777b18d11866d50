#!/usr/bin/env bash
# Rebuilds the guests beside their sources, byte for byte, with Debian 12's
# clang lld wasi-libc libclang-rt-14-dev-wasm32. `--check` compares with what is committed instead.
set -euo pipefail
cd "$(dirname "$0")"
check=${1:-}
for source in hello/hello.c probe/probe.c bulk/bulk.c act/act.c call/call.c ../../examples/words/guests/words.c; do
  committed=${source%.c}.wasm
  out=$committed
  [ "$check" = --check ] && out=$(mktemp)
  clang --target=wasm32-wasi -O2 -Wall -Werror -Wl,--strip-debug -o "$out" "$source"
  if [ "$check" = --check ]; then cmp "$out" "$committed" && rm "$out"; fi
done
