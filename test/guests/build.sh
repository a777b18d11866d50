#!/usr/bin/env bash
# Rebuilds the guests beside their sources, byte for byte. `--check` compares with what is committed instead.
# It installs nothing; it needs Debian 12's clang lld wasi-libc libclang-rt-14-dev-wasm32 for those in C, and for the others
# what examples/letterflow/guests/build.sh names: Go 1.26.8, Debian's rustc 1.63 with libstd-rust-dev-wasm32, ziglang 0.15.2 from
# PyPI (PYTHON names the interpreter that has it), llvm-objcopy-14, and AssemblyScript 0.28.20 from npm (ASC names its compiler). `build.sh c [--check]` does those in C alone.
set -euo pipefail
cd "$(dirname "$0")"
GO=${GO:-go} RUSTC=${RUSTC:-/usr/bin/rustc} PYTHON=${PYTHON:-python3} OBJCOPY=${OBJCOPY:-llvm-objcopy-14} ASC=${ASC:-asc}
only=all
if [ "${1:-}" = c ]; then
  only=c
  shift
fi
check=${1:-}
to=$(mktemp -d)
trap 'rm -rf "$to"' EXIT

finish() { # finish COMMITTED: takes over or compares $to/out.wasm
  chmod 644 "$to/out.wasm"
  if [ "$check" = --check ]; then cmp "$to/out.wasm" "$1"; else cp "$to/out.wasm" "$1"; fi
}

for source in hello/hello.c probe/probe.c bulk/bulk.c act/act.c call/call.c http/http.c http/edges.c functions/functions.c ../../examples/functions/words.c ../../examples/words/guests/words.c; do
  clang --target=wasm32-wasi -O2 -Wall -Werror -Wl,--strip-debug -o "$to/out.wasm" "$source"
  finish "${source%.c}.wasm"
done
[ "$only" = c ] && exit

(cd go && CGO_ENABLED=0 GOTOOLCHAIN=local GOOS=wasip1 GOARCH=wasm "$GO" build -trimpath -buildvcs=false -ldflags "-s -w" -o "$to/out.wasm" .)
finish go/tried.wasm
for name in tried http; do
  (cd rust && "$RUSTC" --edition 2021 --target wasm32-wasi -C opt-level=s -C lto=fat -C codegen-units=1 -C panic=abort \
    -C strip=debuginfo -o "$to/out.wasm" "$name.rs")
  finish "rust/$name.wasm"
done
(cd ../../guests/rust && "$RUSTC" --edition 2021 --target wasm32-wasi -C opt-level=s -C lto=fat -C codegen-units=1 -C panic=abort \
  -C strip=debuginfo -o "$to/out.wasm" words.rs)
finish ../../guests/rust/words.wasm
(cd ../../guests/assemblyscript && "$ASC" words.ts -o "$to/out.wasm" -O --exportStart _start --use abort=atalanta/aborted)
finish ../../guests/assemblyscript/words.wasm
"$PYTHON" -m ziglang build-exe zig/tried.zig -target wasm32-wasi -O ReleaseSafe -fno-strip -femit-bin="$to/out.wasm"
"$OBJCOPY" --strip-debug "$to/out.wasm"
finish zig/tried.wasm
