#!/usr/bin/env bash
# Rebuilds the guests beside their sources, byte for byte. `--check` builds into a temporary folder and compares instead.
# It installs nothing; it needs
#   split_pages    Go 1.26.8 (go.dev/dl), with golang.org/x/image from the Go module proxy or cache as go.sum fixes it
#   deskew         Debian 12: clang lld wasi-libc libclang-rt-14-dev-wasm32
#   thumbnail      Debian 12: rustc (1.63) libstd-rust-dev-wasm32, and lld
#   contact_sheet  PyPI: ziglang 0.15.2 (`pip install ziglang==0.15.2`); PYTHON names the interpreter that has it; and
#                  Debian 12: llvm (llvm-objcopy-14), which takes the debug sections away and leaves the functions' names
# or other compilers of these versions in the variables below.
set -euo pipefail
cd "$(dirname "$0")"
GO=${GO:-go} CLANG=${CLANG:-clang-14} RUSTC=${RUSTC:-/usr/bin/rustc} PYTHON=${PYTHON:-python3} OBJCOPY=${OBJCOPY:-llvm-objcopy-14}
to=.
if [ "${1:-}" = --check ]; then
  to=$(mktemp -d)
  trap 'rm -rf "$to"' EXIT
fi
to=$(realpath "$to")

need() { # need WHAT EXPECTED COMMAND…: the version that the committed modules were built with
  local what=$1 expected=$2 found
  shift 2
  found=$("$@" 2>/dev/null) || found="nothing"
  [[ $found == *"$expected"* ]] || {
    echo "build.sh: $what must be version $expected, found: ${found%%$'\n'*}; see the head of this script" >&2
    exit 1
  }
}
need GO go1.26.8 "$GO" version
need CLANG "clang version 14.0" "$CLANG" --version
need RUSTC "rustc 1.63.0" "$RUSTC" --version
need OBJCOPY "LLVM version 14.0" "$OBJCOPY" --version
need "PYTHON's ziglang" 0.15.2 "$PYTHON" -m ziglang version

(cd split_pages && CGO_ENABLED=0 GOFLAGS=-mod=readonly GOTOOLCHAIN=local GOOS=wasip1 GOARCH=wasm \
  "$GO" build -trimpath -buildvcs=false -ldflags "-s -w" -o "$to/split_pages.wasm" .)
(cd deskew && "$CLANG" --target=wasm32-wasi -O3 -Wall -Wextra -Werror -Wl,--strip-debug -o "$to/deskew.wasm" \
  deflate.c deskew.c inflate.c png.c -lm)
(cd thumbnail && "$RUSTC" --edition 2021 --target wasm32-wasi -C opt-level=3 -C lto=fat -C codegen-units=1 -C panic=abort \
  -C strip=debuginfo -o "$to/thumbnail.wasm" thumbnail.rs)
"$PYTHON" -m ziglang build-exe contact_sheet/contact_sheet.zig -target wasm32-wasi -O ReleaseSmall -fno-strip \
  -femit-bin="$to/contact_sheet.wasm"
"$OBJCOPY" --strip-debug "$to/contact_sheet.wasm"
chmod 644 "$to"/*.wasm
[ "$to" = "$PWD" ] && exit
for module in split_pages deskew thumbnail contact_sheet; do
  cmp "$to/$module.wasm" "$module.wasm"
done
echo "the four modules are what their sources give"
