import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { copyFileSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { DatabaseSync } from "node:sqlite";
import { describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { Bundle } from "../../src/document/mod.ts";
import {
  beginRun,
  deleteRun,
  getRun,
  listRuns,
  logsOf,
  openJournal,
  resumeRun,
  retryRun,
  runWorkflow,
  stopRun,
  suspendRun,
  terminateRun,
  type Journal,
  type RunNode,
  type RunState,
} from "../../src/workflow/mod.ts";
import { bundle, freshFolder, guests, leaf, openSetting, probe } from "./setting.ts";

/** What a state says, without the functions that a view may have. */
function told(state: RunState) {
  const nodes = [...state.nodes.values()].map((node) => ({
    id: node.id,
    name: node.name,
    type: node.type,
    phase: node.phase,
    message: node.message,
    startedAt: node.startedAt,
    finishedAt: node.finishedAt,
    children: node.children,
    outputs: node.outputs,
    log: node.log,
  }));
  const { phase, message, startedAt, finishedAt, progress, outputs } = state;
  return { phase, message, startedAt, finishedAt, progress: { ...progress }, outputs, nodes };
}

/** How often each piece of work ended, by node and attempt. */
function ends(journal: Journal, name: string): Map<string, number> {
  const counts = new Map<string, number>();
  for (const event of journal.read(name).events) {
    if (event.type !== "ended") continue;
    const key = `${event.node} ${event.attempt}`;
    counts.set(key, (counts.get(key) ?? 0) + 1);
  }
  return counts;
}

const node = (state: RunState, displayName: string): RunNode | undefined =>
  [...state.nodes.values()].find((item) => item.displayName === displayName);

async function until(what: () => boolean): Promise<void> {
  for (let waited = 0; !what(); waited += 5) {
    assert.ok(waited < 20_000, "it did not happen within 20 s");
    await sleep(5);
  }
}

const three = bundle(
  [
    [{ name: "a", template: "echo" }],
    [{ name: "b", template: "echo", withItems: [1, 2, 3] }],
    [{ name: "c", template: "echo" }],
  ],
  [leaf("echo", ["echo", "hi"])],
);

describe("a run", () => {
  test("is told only what the journal has, and its journal leads to the state in which it ended", async () => {
    await using setting = await openSetting();
    using watcher = openJournal({ folder: setting.folder });
    using claim = beginRun({ ...setting, bundle: three });
    let most = 0;
    const state = await runWorkflow({
      ...setting,
      claim,
      onChange(nodes) {
        const recorded = new Set<string>();
        for (const event of watcher.read(claim.name).events) {
          if (event.type === "ended") recorded.add(event.node);
        }
        for (const { id, type, phase } of nodes) {
          if (type === "Plugin" && phase === "Succeeded") assert.ok(recorded.has(id));
        }
        most = Math.max(most, nodes.length);
      },
    });
    assert.equal(state.phase, "Succeeded");
    assert.ok(most > 0);
    assert.deepEqual(told(getRun(watcher, claim.name)), told(state));
    assert.deepEqual([...ends(watcher, claim.name).values()], [1, 1, 1, 1, 1]);
    const [listed] = listRuns(watcher);
    assert.deepEqual(
      [listed?.phase, listed?.progress, listed?.live],
      ["Succeeded", { done: 5, total: 5 }, false],
    );
  });

  test("hands over only a few tasks more than the dispatcher can run at once", async () => {
    await using setting = await openSetting();
    const items = Array.from({ length: 60 }, (_, at) => at);
    const wide = bundle(
      [[{ name: "all", template: "echo", withItems: items }]],
      [leaf("echo", ["echo"])],
    );
    using claim = beginRun({ ...setting, bundle: wide });
    assert.equal((await runWorkflow({ ...setting, claim })).phase, "Succeeded");
    assert.equal(setting.dispatched.length, 60);
    assert.ok(setting.most() > setting.dispatcher.capacity);
    assert.ok(setting.most() <= setting.dispatcher.capacity + 4);
  });

  test("that is interrupted stops its guests, writes nothing false, and goes on when it is resumed", async () => {
    await using setting = await openSetting();
    const file = bundle(
      [[{ name: "a", template: "echo" }], [{ name: "b", template: "slow" }]],
      [leaf("echo", ["echo", "hi"]), leaf("slow", ["sleep", "400"])],
    );
    const stop = new AbortController();
    let name: string;
    {
      using claim = beginRun({ ...setting, bundle: file });
      ({ name } = claim);
      const run = runWorkflow({ ...setting, claim, signal: stop.signal });
      await until(() => setting.dispatched.length === 2);
      stop.abort();
      await assert.rejects(run, { code: "aborted", hint: new RegExp(`resume ${name}`) });
      assert.throws(() => setting.journal.claim(name), { code: "journal-busy" });
    }
    assert.equal(ends(setting.journal, name).size, 1);
    assert.equal(listRuns(setting.journal)[0]?.phase, "Running");
    const outcome = await resumeRun({ ...setting, name });
    assert.ok(outcome.kind === "done" && outcome.state.phase === "Succeeded");
    assert.equal(setting.dispatched.length, 3);
    assert.equal(new Set(setting.dispatched).size, 2, "the same piece of work has the same key");
    assert.deepEqual([...ends(setting.journal, name).values()], [1, 1]);
  });

  test("is interrupted also while it waits for nothing but time", async () => {
    await using setting = await openSetting();
    const file = bundle(
      [[{ name: "wait", template: "wait" }], [{ name: "b", template: "echo" }]],
      [{ name: "wait", suspend: { duration: "1" } }, leaf("echo", ["echo"])],
    );
    using claim = beginRun({ ...setting, bundle: file });
    const run = runWorkflow({ ...setting, claim, signal: AbortSignal.timeout(100) });
    await assert.rejects(run, { code: "aborted" });
    claim[Symbol.dispose]();
    const start = Date.now();
    const outcome = await resumeRun({ ...setting, name: claim.name });
    assert.ok(outcome.kind === "done" && outcome.state.phase === "Succeeded");
    const waited = Date.now() - start;
    assert.ok(waited > 500 && waited < 5000, `${waited} ms: the rest of the time is waited for`);
  });

  test("says that a module is another one than before", async () => {
    await using setting = await openSetting();
    const folder = freshFolder();
    mkdirSync(folder, { recursive: true });
    const path = join(folder, "step.wasm");
    copyFileSync(join(guests, "hello/hello.wasm"), path);
    const step = { name: "step", wasm: { module: path } };
    const file = bundle(
      [
        [{ name: "a", template: "step" }],
        [{ name: "wait", template: "wait" }],
        [{ name: "b", template: "step" }],
      ],
      [step, { name: "wait", suspend: {} }],
    );
    let name: string;
    {
      using claim = beginRun({ ...setting, bundle: file });
      ({ name } = claim);
      const stop = new AbortController();
      const run = runWorkflow({ ...setting, claim, signal: stop.signal });
      await until(() => ends(setting.journal, name).size === 1);
      stop.abort();
      await assert.rejects(run, { code: "aborted" });
    }
    copyFileSync(probe, path);
    const notices: string[] = [];
    await resumeRun({ ...setting, name, onNotice: (text) => notices.push(text) });
    assert.equal(notices.length, 1);
    assert.match(notices[0] ?? "", /step\.wasm" has changed.*sha256:.*sha256:/);
  });
});

/** Another process that runs the workflow in the folder and says when a piece of work is handed over and when a node is told. */
function otherProcess(folder: string, file: Bundle, shell?: string) {
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, "bundle.json"), JSON.stringify(file));
  const script = `
    import { readFileSync } from "node:fs";
    const bundle = JSON.parse(readFileSync(${JSON.stringify(join(folder, "bundle.json"))}, "utf8"));
    import { openSetting } from ${JSON.stringify(import.meta.resolve("./setting.ts"))};
    import { beginRun, runWorkflow } from ${JSON.stringify(import.meta.resolve("../../src/workflow/mod.ts"))};
    const setting = await openSetting(${JSON.stringify(folder)});
    const say = (text) => process.stdout.write(text + "\\n");
    const dispatcher = { ...setting.dispatcher, dispatch(task, options) { say("start " + task.key); return setting.dispatcher.dispatch(task, options); } };
    const claim = beginRun({ ...setting, bundle, name: "t" });
    try {
      await runWorkflow({ claim, dispatcher, onChange: (nodes) => nodes.forEach((node) => say(node.phase + " " + node.id)) });
      say("ended");
    } catch (error) { say("failure " + error.code); process.exit(0); }
    process.exit(0);`;
  const node26 = [process.execPath, "--no-warnings", "--input-type=module", "-e", script];
  const child =
    shell === undefined
      ? spawn(process.execPath, node26.slice(1), { stdio: ["ignore", "pipe", "inherit"] })
      : spawn("sh", ["-c", `${shell} && exec "$0" "$@"`, ...node26], {
          stdio: ["ignore", "pipe", "inherit"],
        });
  const lines: string[] = [];
  createInterface(child.stdout).on("line", (line) => lines.push(line));
  const exit = once(child, "close");
  return {
    lines,
    exit,
    async kill(): Promise<void> {
      child.kill("SIGKILL");
      await exit;
    },
  };
}

describe("a run and other processes", () => {
  const long = bundle(
    [
      [{ name: "a", template: "echo" }],
      [{ name: "b", template: "slow" }],
      [{ name: "c", template: "echo" }],
    ],
    [leaf("echo", ["echo", "hi"]), leaf("slow", ["sleep", "1500"])],
  );

  test("killed while a step runs, it goes on in the next process without running again what was accepted", async () => {
    const folder = freshFolder();
    const other = otherProcess(folder, long);
    await until(() => other.lines.filter((line) => line.startsWith("start")).length === 2);
    await using setting = await openSetting(folder);
    assert.equal(listRuns(setting.journal)[0]?.live, true);
    assert.throws(() => setting.journal.claim("t"), { code: "journal-busy" });
    assert.throws(() => deleteRun(setting.journal, "t"), { code: "journal-busy" });
    await other.kill();
    assert.equal(listRuns(setting.journal)[0]?.live, false);
    const outcome = await resumeRun({ ...setting, name: "t" });
    assert.ok(outcome.kind === "done" && outcome.state.phase === "Succeeded");
    const before = other.lines.filter((line) => line.startsWith("start"));
    assert.equal(setting.dispatched[0], before[1]?.slice("start ".length));
    assert.equal(setting.dispatched.length, 2);
    assert.deepEqual([...ends(setting.journal, "t").values()], [1, 1, 1]);
    deleteRun(setting.journal, "t");
    assert.throws(() => getRun(setting.journal, "t"), { code: "not-found" });
  });

  test("stop, terminate, suspend and resume reach the process that runs it", async () => {
    for (const verb of [stopRun, terminateRun]) {
      const folder = freshFolder();
      const other = otherProcess(
        folder,
        bundle(
          [[{ name: "a", template: "slow" }], [{ name: "b", template: "slow" }]],
          [leaf("slow", ["sleep", "2000"])],
        ),
      );
      await until(() => other.lines.some((line) => line.startsWith("start")));
      await using setting = await openSetting(folder);
      const start = Date.now();
      assert.deepEqual(await verb({ ...setting, name: "t" }), { kind: "asked" });
      await other.exit;
      const took = Date.now() - start;
      if (verb === terminateRun) assert.ok(took < 1500, `${took} ms`);
      const state = getRun(setting.journal, "t");
      assert.equal(state.phase, "Failed");
      assert.equal(node(state, "b"), undefined);
      assert.equal(setting.dispatched.length, 0);
    }
    const folder = freshFolder();
    const other = otherProcess(folder, long);
    await until(() => other.lines.some((line) => line.startsWith("start")));
    await using setting = await openSetting(folder);
    await suspendRun({ ...setting, name: "t" });
    await until(() => listRuns(setting.journal)[0]?.suspended === true);
    assert.deepEqual(await resumeRun({ ...setting, name: "t" }), { kind: "asked" });
    await other.exit;
    assert.equal(getRun(setting.journal, "t").phase, "Succeeded");
  });

  test("a full disk ends the process with what was accepted kept, and it goes on when there is room", async () => {
    const folder = freshFolder();
    const items = Array.from({ length: 1500 }, (_, at) => at);
    const wide = bundle(
      [[{ name: "all", template: "echo", withItems: items }]],
      [leaf("echo", ["echo", "hi"])],
    );
    // The ceiling on the size of files hits the journal as a full disk does; the folder is made before.
    (await openSetting(folder)).journal[Symbol.dispose]();
    const other = otherProcess(folder, wide, "ulimit -f 1500");
    await other.exit;
    assert.equal(other.lines.at(-1), "failure storage");
    const toldDone = new Set(
      other.lines.filter((line) => line.startsWith("Succeeded t") && line.includes("(")),
    );
    await using setting = await openSetting(folder);
    const kept = ends(setting.journal, "t").size;
    assert.ok(kept > 0 && kept < 1500, `${kept}`);
    assert.ok(toldDone.size <= kept);
    const outcome = await resumeRun({ ...setting, name: "t" });
    assert.ok(outcome.kind === "done" && outcome.state.phase === "Succeeded");
    assert.equal(setting.dispatched.length, 1500 - kept);
    assert.ok([...ends(setting.journal, "t").values()].every((count) => count === 1));
  });

  test("a mutex holds over runs, and a run takes its locks back before it goes on after its process died", async () => {
    const folder = freshFolder();
    const locked = bundle(
      [[{ name: "a", template: "slow" }]],
      [leaf("slow", ["sleep", "700"], { synchronization: { mutex: { name: "m" } } })],
    );
    const other = otherProcess(folder, locked);
    await until(() => other.lines.some((line) => line.startsWith("start")));
    await other.kill();
    await using setting = await openSetting(folder);
    using claim = beginRun({ ...setting, bundle: locked, name: "second" });
    const second = runWorkflow({ ...setting, claim });
    await until(() => setting.dispatched.length === 1);
    const notices: string[] = [];
    const first = resumeRun({ ...setting, name: "t", onNotice: (text) => notices.push(text) });
    const [state, outcome] = await Promise.all([second, first]);
    assert.match(notices[0] ?? "", /Waits for locks/);
    assert.equal(state.phase, "Succeeded");
    assert.ok(outcome.kind === "done" && outcome.state.phase === "Succeeded");
    const again = [...outcome.state.nodes.values()].find(({ type }) => type === "Plugin");
    assert.ok((again?.finishedAt ?? 0) >= (state.finishedAt ?? Infinity) + 650);
  });

  test("the command that runs an interrupted workflow again is told to resume it", async () => {
    const folder = freshFolder();
    await using setting = await openSetting(folder);
    const named = (spec: Bundle): Bundle => ({
      ...spec,
      workflow: { ...spec.workflow, metadata: { name: "letters" } },
    });
    beginRun({ ...setting, bundle: named(long) })[Symbol.dispose]();
    assert.throws(() => beginRun({ ...setting, bundle: named(long) }), {
      code: "invalid-argument",
      hint: /resume letters/,
    });
    await terminateRun({ ...setting, name: "letters" });
    using next = beginRun({ ...setting, bundle: named(long) });
    assert.match(next.name, /^letters-[a-z0-9]{5}$/);
  });
});

describe("verbs on a run that no process has", () => {
  async function interruptedRun(file: Bundle, starts: number) {
    const setting = await openSetting();
    const stop = new AbortController();
    using claim = beginRun({ ...setting, bundle: file, name: "t" });
    const run = runWorkflow({ ...setting, claim, signal: stop.signal });
    await until(() => setting.dispatched.length === starts);
    if (starts === 0) await sleep(50);
    stop.abort();
    await assert.rejects(run, { code: "aborted" });
    return setting;
  }
  const slow = bundle(
    [[{ name: "a", template: "slow" }], [{ name: "b", template: "echo" }]],
    [leaf("slow", ["sleep", "300"]), leaf("echo", ["echo", "hi"])],
  );

  test("terminate ends it without starting anything", async () => {
    await using setting = await interruptedRun(slow, 1);
    const outcome = await terminateRun({ ...setting, name: "t" }, { message: "enough" });
    assert.ok(outcome.kind === "done" && outcome.state.phase === "Failed");
    assert.equal(setting.dispatched.length, 1);
    await assert.rejects(stopRun({ ...setting, name: "t" }), {
      code: "invalid-argument",
      message: /ended/,
    });
    await assert.rejects(resumeRun({ ...setting, name: "t" }), { code: "invalid-argument" });
  });

  test("suspend is written down and nothing starts; resume goes on", async () => {
    await using setting = await interruptedRun(slow, 1);
    const outcome = await suspendRun({ ...setting, name: "t" });
    assert.ok(outcome.kind === "done" && outcome.state.suspended);
    assert.equal(setting.dispatched.length, 1);
    assert.equal(listRuns(setting.journal)[0]?.suspended, true);
    const resumed = await resumeRun({ ...setting, name: "t" });
    assert.ok(resumed.kind === "done" && resumed.state.phase === "Succeeded");
  });

  test("resume goes on with suspend nodes that wait for a person, all or the selected ones", async () => {
    const gates = bundle(
      [
        [
          { name: "one", template: "gate" },
          { name: "two", template: "gate" },
        ],
      ],
      [{ name: "gate", suspend: {} }],
    );
    await using setting = await interruptedRun(gates, 0);
    await assert.rejects(
      resumeRun(
        { ...setting, name: "t" },
        { select: ({ displayName }) => displayName === "three" },
      ),
      { code: "invalid-argument", hint: /one, two/ },
    );
    const stop = new AbortController();
    const half = resumeRun(
      { ...setting, name: "t", signal: stop.signal },
      { select: ({ displayName }) => displayName === "one" },
    );
    await until(() => node(getRun(setting.journal, "t"), "one")?.phase === "Succeeded");
    assert.equal(node(getRun(setting.journal, "t"), "two")?.phase, "Running");
    stop.abort();
    await assert.rejects(half, { code: "aborted" });
    const outcome = await resumeRun({ ...setting, name: "t" });
    assert.ok(outcome.kind === "done" && outcome.state.phase === "Succeeded");
  });

  test("retry runs again what failed and keeps what succeeded; a run that succeeded or goes on is refused", async () => {
    await using setting = await openSetting();
    const folder = freshFolder();
    mkdirSync(folder, { recursive: true });
    const path = join(folder, "step.wasm");
    const file = bundle(
      [
        [{ name: "a", template: "echo" }],
        [{ name: "b", template: "missing" }],
        [{ name: "c", template: "echo" }],
      ],
      [leaf("echo", ["echo", "hi"]), { name: "missing", wasm: { module: path } }],
    );
    using claim = beginRun({ ...setting, bundle: file, name: "t" });
    const failed = await runWorkflow({ ...setting, claim });
    claim[Symbol.dispose]();
    assert.notEqual(failed.phase, "Succeeded");
    copyFileSync(join(guests, "hello/hello.wasm"), path);
    const state = await retryRun({ ...setting, name: "t" });
    assert.equal(state.phase, "Succeeded");
    assert.equal(setting.dispatched.length, 4);
    assert.equal(new Set(setting.dispatched).size, 4, "another attempt has another key");
    await assert.rejects(retryRun({ ...setting, name: "t" }), {
      code: "invalid-argument",
      message: /succeeded/,
    });
    const logs = logsOf(getRun(setting.journal, "t"));
    assert.deepEqual(
      logs.map((item) => item.node.displayName),
      ["a", "b", "c"],
    );
    assert.equal(logsOf(getRun(setting.journal, "t"), "b").length, 1);
    assert.throws(() => logsOf(state, "nobody"), { code: "not-found" });
  });

  test("memoized outputs come from an earlier run", async () => {
    await using setting = await openSetting();
    const file = bundle(
      [[{ name: "a", template: "echo" }]],
      [
        leaf("echo", ["echo", "hi"], {
          memoize: { key: "k", maxAge: "1h", cache: { configMap: { name: "c" } } },
        }),
      ],
    );
    for (const expected of [1, 1]) {
      using claim = beginRun({ ...setting, bundle: file });
      const state = await runWorkflow({ ...setting, claim });
      assert.equal(state.phase, "Succeeded");
      assert.equal(setting.dispatched.length, expected);
    }
  });
});

describe("a journal that tells another story", () => {
  test("a run whose records lead to another state than the one it was left in is not gone on with", async () => {
    await using setting = await openSetting();
    using claim = beginRun({ ...setting, bundle: three, name: "t" });
    const run = runWorkflow({ ...setting, claim, signal: AbortSignal.timeout(30) });
    await run.catch(() => undefined);
    claim[Symbol.dispose]();
    const database = new DatabaseSync(join(setting.folder, "journal.db"));
    database.exec("UPDATE run SET done = 77, finishedAt = NULL");
    database.close();
    await assert.rejects(resumeRun({ ...setting, name: "t" }), { code: "journal-format" });
  });
});
