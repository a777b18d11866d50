"""Runs guests in wasmtime (PyPI) on real directories: a line of JSON in, a line of JSON out.

In:  {"module": path, "arguments": [...], "environment": [[name, value]...], "stdin": hex, "preopens": [{"path": guest's, "readOnly": bool,
      "entries": [{"kind": "file"|"directory"|"symlink", "path", "content": hex, "target"}]}], "trees": bool}
Out: {"told": text, "stdout": hex, "end": "exit N", "trap: why" or "refused: why", "trees": [[entry...]...] when asked for}
A module is run as wasmtime's command line does: a command by its _start, and of any other what its export "" does, or nothing.
"""

import importlib.metadata
import json
import os
import re
import shutil
import sys
import tempfile

import wasmtime

engine = wasmtime.Engine()
modules = {}


def build(root, entries):
    for entry in entries:
        path = os.path.join(root, entry["path"])
        if entry["kind"] == "directory":
            os.makedirs(path, exist_ok=True)
        elif entry["kind"] == "symlink":
            os.symlink(entry["target"], path)
        else:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "wb") as file:
                file.write(bytes.fromhex(entry["content"]))


def walk(root):
    found = []
    for folder, folders, files in os.walk(os.fsencode(root)):
        for name in folders + files:
            path = os.path.join(folder, name)
            entry = {"path": os.path.relpath(path, os.fsencode(root)).decode("utf-8", "surrogateescape")}
            if os.path.islink(path):
                entry.update(kind="symlink", target=os.fsdecode(os.readlink(path)))
            elif os.path.isdir(path):
                entry.update(kind="directory")
            else:
                with open(path, "rb") as file:
                    entry.update(kind="file", content=file.read().hex())
            found.append(entry)
    return sorted(found, key=lambda entry: entry["path"])


def run(asked, folder):
    config = wasmtime.WasiConfig()
    config.argv = asked["arguments"]
    config.env = asked["environment"]
    with open(os.path.join(folder, "in"), "wb") as file:
        file.write(bytes.fromhex(asked["stdin"]))
    config.stdin_file = os.path.join(folder, "in")
    config.stdout_file = os.path.join(folder, "out")
    config.stderr_file = os.path.join(folder, "told")
    roots = []
    for index, preopen in enumerate(asked["preopens"]):
        root = os.path.join(folder, f"d{index}")
        os.mkdir(root)
        build(root, preopen["entries"])
        config.preopen_dir(root, preopen["path"], not preopen["readOnly"])
        roots.append(root)
    store = wasmtime.Store(engine)
    store.set_wasi(config)
    linker = wasmtime.Linker(engine)
    linker.define_wasi()
    stage = "refused"
    try:
        path = asked["module"]
        if path not in modules:
            modules[path] = wasmtime.Module.from_file(engine, path)
        linker.define_module(store, "", modules[path])
        entry = linker.get_default(store, "")
        stage = "trap"
        entry(store)
        end = "exit 0"
    except wasmtime.ExitTrap as thrown:
        end = f"exit {thrown.code}"
    except (wasmtime.Trap, wasmtime.WasmtimeError) as thrown:
        causes = re.split(r"\n+\s*\d+: ", str(thrown).strip())
        end = f"{stage}: " + causes[-1].strip().splitlines()[-1].strip()
    linker.close()
    del store
    with open(os.path.join(folder, "told"), "rb") as file:
        told = file.read().decode()
    with open(os.path.join(folder, "out"), "rb") as file:
        stdout = file.read().hex()
    answer = {"told": told, "stdout": stdout, "end": end}
    if asked["trees"]:
        answer["trees"] = [walk(root) for root in roots]
    return answer


print(json.dumps({"wasmtime": importlib.metadata.version("wasmtime")}), flush=True)
for line in sys.stdin:
    folder = tempfile.mkdtemp(prefix="conformance-")
    try:
        answer = run(json.loads(line), folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(json.dumps(answer), flush=True)
