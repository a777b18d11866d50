# Runs a module in wasmtime again and again: a line of standard input is a JSON list of arguments, a line of standard output what
# the guest wrote and how long a fresh store, instance and run took: `again.py MODULE FOLDER`. FOLDER is the guest's /tmp.
import importlib.metadata, json, os, sys, time
import wasmtime

path, folder = sys.argv[1], sys.argv[2]
engine = wasmtime.Engine()
module = wasmtime.Module.from_file(engine, path)
linker = wasmtime.Linker(engine)
linker.define_wasi()
out = os.path.join(folder, "..", os.path.basename(folder) + ".out")


def run(arguments):
    start = time.perf_counter()
    wasi = wasmtime.WasiConfig()
    wasi.argv = arguments
    wasi.stdout_file = out
    wasi.inherit_stderr()
    wasi.preopen_dir(folder, "/tmp")
    store = wasmtime.Store(engine)
    store.set_wasi(wasi)
    entry = linker.instantiate(store, module).exports(store)["_start"]
    try:
        entry(store)
    except wasmtime.ExitTrap as end:
        assert end.code == 0, end.code
    with open(out) as file:
        text = file.read()
    return {"tookMs": (time.perf_counter() - start) * 1e3, "stdout": text}


print(json.dumps({"version": importlib.metadata.version("wasmtime")}), flush=True)
for line in sys.stdin:
    print(json.dumps(run(json.loads(line))), flush=True)
os.remove(out)
