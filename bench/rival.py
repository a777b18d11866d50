# The rival of bench/sandbox.ts: the same hello in wasmtime, compiled once, a fresh store and instance for each run.
import importlib.metadata, json, os, sys, tempfile, time
import wasmtime

path, count = sys.argv[1], int(sys.argv[2])
engine = wasmtime.Engine()
module = wasmtime.Module.from_file(engine, path)
linker = wasmtime.Linker(engine)
linker.define_wasi()
folder = tempfile.mkdtemp()
out = os.path.join(folder, "out")


def run():
    start = time.perf_counter()
    wasi = wasmtime.WasiConfig()
    wasi.argv = ["hello"]
    wasi.stdout_file = out
    store = wasmtime.Store(engine)
    store.set_wasi(wasi)
    entry = linker.instantiate(store, module).exports(store)["_start"]
    try:
        entry(store)
    except wasmtime.ExitTrap as end:
        assert end.code == 0
    with open(out) as file:
        assert file.read() == "hello\n"
    return (time.perf_counter() - start) * 1e6


for _ in range(count):
    run()
times = [run() for _ in range(count)]
os.remove(out)
os.rmdir(folder)
print(json.dumps({"version": importlib.metadata.version("wasmtime"), "times": times}))
