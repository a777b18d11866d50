import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import {
  chmodSync,
  closeSync,
  cpSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { defaultLimits } from "../../src/limits/mod.ts";
import { createRunners } from "../../src/runner/mod.ts";
import { nodeOf } from "./processes.ts";

const probe = resolve(import.meta.dirname, "../guests/probe/probe.wasm");
const linux = process.platform === "linux";
const root = process.getuid?.() === 0;

describe("a runner process seen from outside", { skip: linux ? false : "needs /proc" }, () => {
  const folder = mkdtempSync(join(tmpdir(), "atalanta-test-"));
  const runners = createRunners({ threads: 1, spares: 0, stagingFolder: join(folder, "staging") });
  let pid = 0;
  let other = 0;
  let missing: readonly string[] = [];
  before(async () => {
    process.env["ATALANTA_TEST_SECRET"] = "do not hand on";
    for (const owner of ["a", "b"]) {
      const engine = runners.engine({ trust: "process", owner });
      const module = await engine.load({ path: probe });
      await engine.run(module, {
        arguments: ["probe", "echo"],
        environment: new Map(),
        mounts: [],
        collect: [],
        limits: defaultLimits,
      });
    }
    const [a, b] = ["a", "b"].map((owner) =>
      runners.processes().find((process) => process.owner === owner),
    );
    assert.ok(a && b);
    pid = nodeOf(a.pid);
    other = nodeOf(b.pid);
    missing = await runners.weaknesses();
  });
  after(async () => {
    await runners[Symbol.asyncDispose]();
    rmSync(folder, { recursive: true });
  });

  const status = (name: string): string =>
    new RegExp(`^${name}:[ \\t]*(.*)$`, "m").exec(
      readFileSync(`/proc/${pid}/status`, "utf8"),
    )?.[1] ?? "";

  test("its environment is empty", () => {
    assert.equal(readFileSync(`/proc/${pid}/environ`, "utf8"), "");
  });

  test("it has no descriptor but its channel, its stderr, /dev/null and what Node makes itself", () => {
    const open = readdirSync(`/proc/${pid}/fd`).map((descriptor) => ({
      descriptor: Number(descriptor),
      to: readlinkSync(`/proc/${pid}/fd/${descriptor}`),
    }));
    const sockets = open.filter(({ to }) => to.startsWith("socket:"));
    assert.ok(sockets.some(({ descriptor }) => descriptor === 3));
    // Node's own: event loops, wake-ups of threads, the pipes between its threads.
    const nodes =
      /^(anon_inode:\[(eventfd|eventpoll|io_uring|timerfd|signalfd)\]|pipe:\[\d+\]|\/dev\/null)$/;
    const others = open.filter(({ to }) => !nodes.test(to) && !to.startsWith("socket:"));
    assert.deepEqual(others, []);
    assert.ok(sockets.length <= 2, JSON.stringify(sockets));
    // What it shares with us is the channel and the pipe of its stderr, no more.
    const ours = new Set(
      readdirSync("/proc/self/fd").flatMap((descriptor) => {
        try {
          return [readlinkSync(`/proc/self/fd/${descriptor}`)];
        } catch {
          return [];
        }
      }),
    );
    const shared = open.filter(({ to }) => to.startsWith("pipe:") && ours.has(to));
    assert.deepEqual(
      shared.map(({ descriptor }) => descriptor).filter((descriptor) => descriptor !== 2),
      [],
    );
  });

  test("it may gain no rights and has none", (context) => {
    if (missing.includes("no new privileges")) return context.skip("there is no setpriv here");
    assert.equal(status("NoNewPrivs"), "1");
    for (const set of ["CapInh", "CapPrm", "CapEff", "CapAmb"]) {
      assert.match(status(set), /^0+$/, set);
    }
    // Nobody but root may take from the bounding set; without new privileges it gives nothing.
    if (root) assert.match(status("CapBnd"), /^0+$/);
  });

  test("it has a user of its own, and so has every other", (context) => {
    if (missing.includes("a user of its own")) return context.skip("only root can give it one");
    const users = [pid, other].map((at) => statSync(`/proc/${at}`).uid);
    const [first = 0, second = 0] = users;
    assert.ok(first > 1000 && second > 1000 && first !== second, users.join());
    assert.deepEqual(new Set(status("Uid").split(/\s+/)), new Set([`${first}`]));
    assert.deepEqual(new Set(status("Gid").split(/\s+/)), new Set([`${first}`]));
    assert.equal(status("Groups").trim(), "");
  });

  test("it has limits of the system's: no core file, descriptors, memory, processes", (context) => {
    if (missing.includes("limits of the system")) return context.skip("there is no prlimit here");
    const limits = readFileSync(`/proc/${pid}/limits`, "utf8");
    const limit = (name: string): string =>
      new RegExp(`^${name}\\s+(\\S+)\\s+(\\S+)`, "m").exec(limits)?.[2] ?? "";
    assert.equal(limit("Max core file size"), "0");
    assert.equal(limit("Max open files"), "4096");
    assert.match(limit("Max data size"), /^\d+$/);
    if (root) assert.equal(limit("Max processes"), "512");
    assert.equal(readFileSync(`/proc/${pid}/oom_score_adj`, "utf8").trim(), "1000");
  });

  test("it has a network without anything in it, and sees no process but its own", (context) => {
    if (missing.includes("no network of the system's, no sight of other processes")) {
      return context.skip("namespaces are not allowed here");
    }
    const names = readFileSync(`/proc/${pid}/net/dev`, "utf8")
      .split("\n")
      .slice(2)
      .map((line) => line.trim().split(":")[0])
      .filter((name) => name !== "");
    const own = readlinkSync("/proc/self/ns/net");
    assert.notEqual(readlinkSync(`/proc/${pid}/ns/net`), own);
    assert.notEqual(readlinkSync(`/proc/${pid}/ns/net`), readlinkSync(`/proc/${other}/ns/net`));
    assert.deepEqual(
      names.filter(
        (name) =>
          !/^(lo|sit0|tunl0|ip6tnl0|gre0|gretap0|erspan0|ip_vti0|ip6_vti0|ip6gre0|dummy0|bond0)$/.test(
            name ?? "",
          ),
      ),
      [],
    );
    assert.equal(status("NSpid").split(/\s+/).at(-1), "2");
  });

  test("what it was given is gone when the guest has ended", async () => {
    const engine = runners.engine({ trust: "process", owner: "a" });
    const module = await engine.load({ path: probe });
    const host = join(folder, "input");
    writeFileSync(host, Buffer.alloc(100_000));
    const part = { kind: "slice", path: host, offset: 0, size: 100_000 } as const;
    const gone = { ...part, path: join(folder, "gone") };
    for (const contents of [[part], [part, gone]]) {
      const entries = contents.map(
        (content, at) => ({ kind: "file", path: `${at}`, mode: 0o644, content }) as const,
      );
      await engine.run(module, {
        arguments: ["probe", "ls", "/d"],
        environment: new Map(),
        mounts: [{ path: "/d", readOnly: false, content: { kind: "directory", entries } }],
        collect: [],
        limits: defaultLimits,
      });
      assert.deepEqual(readdirSync(`/proc/${pid}/cwd/in`), []);
    }
  });

  test("its folders are closed to every other one, and what it is given cannot be written", () => {
    const place = readlinkSync(`/proc/${pid}/cwd`);
    const mode = (path: string): string => (statSync(path).mode & 0o777).toString(8);
    assert.equal(mode(resolve(place, "..")), "700");
    assert.equal(mode(join(place, "out")), "700");
    if (!root || missing.includes("a user of its own")) return;
    const { uid } = statSync(`/proc/${pid}`);
    assert.equal(statSync(join(place, "out")).uid, uid);
    assert.equal(statSync(join(place, "in")).uid, 0);
    assert.equal(statSync(place).uid, 0);
  });
});

test(
  "a runner process gets no file that was left open, and ends when the process that started it is killed",
  { skip: !linux },
  async () => {
    const source = `
    import { createRunners } from ${JSON.stringify(resolve(import.meta.dirname, "../../src/runner/mod.ts"))};
    import { defaultLimits } from ${JSON.stringify(resolve(import.meta.dirname, "../../src/limits/mod.ts"))};
    const runners = createRunners({ threads: 1, spares: 1 });
    const engine = runners.engine({ trust: "process", owner: "a" });
    const module = await engine.load({ path: ${JSON.stringify(probe)} });
    void engine.run(module, { arguments: ["probe", "loop"], environment: new Map(), mounts: [], collect: [], limits: defaultLimits });
    setTimeout(() => console.log(JSON.stringify(runners.processes())), 500);`;
    // A killed process cannot remove what it made.
    const temporary = mkdtempSync(join(tmpdir(), "atalanta-test-"));
    chmodSync(temporary, 0o755);
    const file = "/etc/passwd";
    const left = openSync(file, "r");
    const parent = spawn(process.execPath, ["--no-warnings", "--input-type=module", "-e", source], {
      env: { ...process.env, TMPDIR: temporary },
      // A file that whoever starts us left open, so far up that Node does not see to it itself.
      stdio: [
        "ignore",
        "pipe",
        "inherit",
        ...Array.from({ length: 37 }, () => "ignore" as const),
        left,
      ],
    });
    assert.ok(parent.stdout);
    const [line] = await parent.stdout.take(1).toArray();
    const pids = (JSON.parse(String(line)) as readonly { readonly pid: number }[]).map((item) =>
      nodeOf(item.pid),
    );
    assert.ok(pids.length >= 1);
    const open = (pid: number | undefined): readonly string[] =>
      readdirSync(`/proc/${pid}/fd`).map((name) => readlinkSync(`/proc/${pid}/fd/${name}`));
    assert.ok(open(parent.pid).includes(file));
    for (const pid of pids) assert.ok(!open(pid).includes(file));
    closeSync(left);
    parent.kill("SIGKILL");
    const start = performance.now();
    const lives = (): readonly number[] =>
      pids.filter((pid) => {
        try {
          return !/^State:\s*Z/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
        } catch {
          return false;
        }
      });
    while (lives().length > 0 && performance.now() - start < 5000) await sleep(20);
    assert.deepEqual(lives(), []);
    rmSync(temporary, { recursive: true });
  },
);

test(
  "where Atalanta lies in a folder that others may not enter, a user of its own gets a copy to run from",
  { skip: linux && root ? false : "only root gives a process a user of its own" },
  async () => {
    const folder = mkdtempSync(join(tmpdir(), "atalanta-test-"));
    try {
      const source = resolve(import.meta.dirname, "../../src");
      for (const part of ["errors", "limits", "wasi", "engine", "runner"]) {
        cpSync(join(source, part), join(folder, "src", part), { recursive: true });
      }
      writeFileSync(join(folder, "package.json"), '{"type":"module"}');
      writeFileSync(
        join(folder, "main.ts"),
        `import { createRunners } from "./src/runner/mod.ts";
        import { defaultLimits } from "./src/limits/mod.ts";
        await using runners = createRunners({ threads: 1, spares: 0 });
        const engine = runners.engine({ trust: "process", owner: "a" });
        const module = await engine.load({ path: ${JSON.stringify(probe)} });
        const { stdout } = await engine.run(module, { arguments: ["probe", "echo", "reached"], environment: new Map(), mounts: [], collect: [], limits: defaultLimits });
        console.log(Buffer.from(stdout).toString());`,
      );
      const { stdout, stderr } = spawnSync(
        process.execPath,
        ["--no-warnings", join(folder, "main.ts")],
        { encoding: "utf8", env: { TMPDIR: tmpdir() } },
      );
      assert.equal(stdout.trim(), "reached", stderr);
      assert.deepEqual(
        readdirSync(tmpdir()).filter((name) => name.startsWith("atalanta-program-")),
        [],
      );
    } finally {
      rmSync(folder, { recursive: true });
    }
  },
);
