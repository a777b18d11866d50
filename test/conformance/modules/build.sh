#!/usr/bin/env bash
# Rebuilds the modules beside their sources, byte for byte; `--check` compares with what is committed instead. PYTHON names an
# interpreter with the package `wasmtime`, whose text format reader does it.
set -euo pipefail
cd "$(dirname "$0")"
"${PYTHON:-python3}" - "${1:-}" <<'PYTHON_END'
import glob, sys, wasmtime
for source in sorted(glob.glob("*.wat")):
    built = bytes(wasmtime.wat2wasm(open(source).read()))
    target = source[:-4] + ".wasm"
    if sys.argv[1] == "--check":
        assert open(target, "rb").read() == built, f"{target} is not what {source} says"
    else:
        open(target, "wb").write(built)
PYTHON_END
