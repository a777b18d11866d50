#!/usr/bin/env bash
# Rebuilds guest.wasm, byte for byte; `--check` compares with what is committed instead. It needs Debian 12's clang and lld.
set -euo pipefail
cd "$(dirname "$0")"
to=$(mktemp)
trap 'rm -f "$to"' EXIT
clang --target=wasm32 -O2 -nostdlib -ffreestanding -fno-builtin -Wall -Werror -Wno-int-conversion -Wno-pointer-to-int-cast \
  -Wl,--strip-debug -o "$to" guest.c
if [ "${1:-}" = --check ]; then cmp "$to" guest.wasm; else cp "$to" guest.wasm; chmod 644 guest.wasm; fi
