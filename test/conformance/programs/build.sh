#!/usr/bin/env bash
# Rebuilds the programs beside their sources, byte for byte; `--check` compares with what is committed instead. It needs Debian 12's
# clang lld wasi-libc libclang-rt-14-dev-wasm32, and its rustc 1.63 with libstd-rust-dev-wasm32.
set -euo pipefail
cd "$(dirname "$0")"
to=$(mktemp)
trap 'rm -f "$to"' EXIT
finish() {
  if [ "${check:-}" = --check ]; then cmp "$to" "$1"; else cp "$to" "$1" && chmod 644 "$1"; fi
}
check=${1:-}
clang --target=wasm32-wasi -O2 -Wall -Werror -Wl,--strip-debug -o "$to" posix.c
finish posix.wasm
"${RUSTC:-/usr/bin/rustc}" --edition 2021 --target wasm32-wasi -C opt-level=s -C lto=fat -C codegen-units=1 -C panic=abort \
  -C strip=debuginfo -o "$to" files.rs
finish files.wasm
