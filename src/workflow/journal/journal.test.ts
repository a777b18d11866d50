import assert from "node:assert/strict";
import { spawn, spawnSync, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { DatabaseSync } from "node:sqlite";
import { after, describe, test } from "node:test";
import type { Begin, RunEvent } from "../plan/mod.ts";
import { openJournal, type Summary } from "./mod.ts";

const base = mkdtempSync(join(tmpdir(), "atalanta-test-"));
after(() => rmSync(base, { recursive: true, force: true }));
let folders = 0;
const fresh = (): string => join(base, `journal-${folders++}`);

function begin(name: string): Begin {
  return {
    name,
    uid: `uid-${name}`,
    namespace: "default",
    bundle: {
      workflow: { apiVersion: "argoproj.io/v1alpha1", kind: "Workflow", metadata: {}, spec: {} },
      library: {},
      configMaps: {},
      places: {},
      folder: "/",
    },
    parameters: { text: "größer 🙂" },
    artifacts: {},
  };
}

const woke = (at: number): RunEvent => ({ type: "woke", at });
const running: Summary = { phase: "Running", suspended: false, progress: { done: 1, total: 2 } };
const ended: Summary = { ...running, phase: "Failed", message: "no paper", finishedAt: 9 };

const children = new Set<ChildProcess>();
after(() => {
  for (const child of children) child.kill("SIGKILL");
});

/** Another process with a journal of the folder open; `lines` is what it prints. */
function process2(folder: string, code: string, before = "") {
  const script = `
    import { writeSync } from "node:fs";
    import { openJournal } from ${JSON.stringify(import.meta.resolve("./mod.ts"))};
    const begin = ${JSON.stringify(begin("NAME"))};
    const say = (text) => writeSync(1, text + "\\n");
    const running = ${JSON.stringify(running)};
    const wait = (ms) => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
    ${before}
    const journal = openJournal({ folder: ${JSON.stringify(folder)} });
    const create = (name) => journal.create({ ...begin, name, uid: "uid-" + name }, 1);
    ${code}`;
  const args = ["--no-warnings", "--input-type=module", "-e", script];
  const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] });
  children.add(child);
  const lines = createInterface(child.stdout)[Symbol.asyncIterator]();
  return {
    pid: child.pid,
    next: async (): Promise<string> => String((await lines.next()).value),
    kill: async (): Promise<void> => {
      child.kill("SIGKILL");
      if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
    },
    end: async (): Promise<void> => {
      if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
      assert.equal(child.exitCode, 0);
    },
  };
}

const forever = "setInterval(() => {}, 1000);";

describe("journal", () => {
  test("what was appended comes back in order, and the list shows the last summary", () => {
    const folder = fresh();
    {
      using journal = openJournal({ folder });
      using claim = journal.create(begin("a"), 5);
      claim.append([{ type: "begun", at: 5 }], running);
      claim.append(
        Array.from({ length: 1200 }, (_, at) => woke(6 + at)),
        ended,
      );
      using other = journal.create(begin("b"), 7);
      other.append([], running);
    }
    using journal = openJournal({ folder, durability: "full" });
    const { begin: found, events, count } = journal.read("a");
    assert.deepEqual(found, begin("a"));
    assert.equal(count, 1201);
    assert.deepEqual([...events].slice(-2), [woke(1204), woke(1205)]);
    assert.deepEqual(journal.list(), [
      { name: "b", uid: "uid-b", startedAt: 7, ...running, live: false },
      { name: "a", uid: "uid-a", startedAt: 5, ...ended, live: false },
    ]);
  });

  test("a name is taken once, and a slip in a name gets a suggestion", () => {
    using journal = openJournal({ folder: fresh() });
    journal.create(begin("letters-x2f4k"), 1)[Symbol.dispose]();
    const again = { ...begin("letters-x2f4k"), uid: "other" };
    assert.throws(() => journal.create(again, 2), { code: "invalid-argument", hint: /delete/ });
    for (const slip of ["letters-x2f4", "leters-x2f4k", "letters"]) {
      assert.throws(() => journal.read(slip), { code: "not-found", hint: /"letters-x2f4k"/ });
    }
    assert.throws(() => journal.claim("quite-different"), { code: "not-found", hint: /list/ });
  });

  test("a deleted run is gone and its name is free; a run that a process has is not deleted", () => {
    const folder = fresh();
    using journal = openJournal({ folder });
    const claim = journal.create(begin("a"), 1);
    claim.append([woke(1)], running);
    assert.throws(() => journal.delete("a"), { code: "journal-busy" });
    claim[Symbol.dispose]();
    journal.delete("a");
    assert.deepEqual(journal.list(), []);
    assert.deepEqual(readdirSync(join(folder, "locks")), []);
    using next = journal.create(begin("a"), 2);
    assert.equal(next.recorded.count, 0);
  });

  test("requests reach whoever has the run, stay until an append answers them, and are refused after the end", () => {
    const folder = fresh();
    using mine = openJournal({ folder });
    using claim = mine.create(begin("a"), 1);
    using theirs = openJournal({ folder });
    claim.changed();
    assert.equal(claim.changed(), false);
    theirs.request("a", { type: "suspended" });
    theirs.request("a", { type: "shutdown", strategy: "Stop", message: "enough" });
    assert.equal(claim.changed(), true);
    const asked = claim.requests();
    assert.deepEqual(
      asked.map(({ requested }) => requested.type),
      ["suspended", "shutdown"],
    );
    claim.append([{ type: "suspended", at: 2 }], running, [asked[0]?.id ?? 0]);
    assert.deepEqual(
      claim.requests().map(({ requested }) => requested),
      [{ type: "shutdown", strategy: "Stop", message: "enough" }],
    );
    claim.append([woke(3)], ended);
    assert.deepEqual(claim.requests(), []);
    assert.throws(() => theirs.request("a", { type: "suspended" }), {
      code: "invalid-argument",
      message: /ended: Failed/,
    });
  });

  test("remembered outputs are recalled over runs while they are new enough, and older ones do not replace newer ones", () => {
    const folder = fresh();
    using journal = openJournal({ folder });
    using first = journal.create(begin("a"), 1);
    using second = journal.create(begin("b"), 1);
    const memory = { cache: "pages", key: "7" };
    const outputs = { result: "new", parameters: [], artifacts: [] };
    first.remember(memory, outputs, 100);
    second.remember(memory, { ...outputs, result: "old" }, 50);
    assert.deepEqual(second.recall(memory, 100), outputs);
    assert.equal(second.recall(memory, 101), null);
    assert.equal(second.recall({ cache: "other", key: "7" }, 0), null);
  });
});

describe("a journal of several processes", () => {
  test("a run belongs to one process, named in the refusal, until it dies by SIGKILL", async () => {
    const folder = fresh();
    const other = process2(
      folder,
      `const claim = create("a"); claim.append([{ type: "begun", at: 1 }], running); say("has it"); ${forever}`,
    );
    assert.equal(await other.next(), "has it");
    using journal = openJournal({ folder });
    assert.equal(journal.list()[0]?.live, true);
    assert.throws(() => journal.claim("a"), {
      code: "journal-busy",
      message: new RegExp(`process ${other.pid}`),
    });
    assert.throws(() => journal.delete("a"), { code: "journal-busy" });
    await other.kill();
    assert.equal(journal.list()[0]?.live, false);
    using claim = journal.claim("a");
    assert.deepEqual([...claim.recorded.events], [{ type: "begun", at: 1 }]);
  });

  test("a process killed while it appends loses nothing that it was told is kept, and no batch is torn", async () => {
    const seed = Number(process.env["ATALANTA_SEED"] ?? Date.now() % 1_000_000);
    for (let round = 0; round < 4; round += 1) {
      const folder = fresh();
      const other = process2(
        folder,
        `const claim = create("a"); const text = "x".repeat(3000);
        for (let batch = 0; ; batch += 1) {
          claim.append(Array.from({ length: 5 }, () => ({ type: "woke", at: batch, text })), running);
          say(String(batch));
        }`,
      );
      await other.next();
      const delay = (seed * (round + 7)) % 97;
      const end = performance.now() + delay;
      let told = 0;
      while (performance.now() < end) told = Number(await other.next());
      await other.kill();
      using journal = openJournal({ folder });
      const batches = [...journal.read("a").events].map(({ at }) => at);
      const label = `seed ${seed} round ${round}`;
      assert.equal(batches.length % 5, 0, label);
      assert.ok(batches.length / 5 > told, label);
      assert.deepEqual(
        batches,
        batches.map((_, index) => Math.floor(index / 5)),
        label,
      );
    }
  });

  test("a mutex lets one process in at a time, and nobody is forgotten", async () => {
    const folder = fresh();
    const counter = join(base, "counter");
    writeFileSync(counter, "0");
    const rounds = 60;
    const work = (name: string): string => `
      import("node:fs").then(({ readFileSync, writeFileSync }) => {
        const claim = create(${JSON.stringify(name)});
        for (let round = 0; round < ${rounds}; round += 1) {
          claim.askLocks("n" + round, [{ key: "default/Mutex/m", limit: 1 }]);
          while (claim.takeLocks().length === 0) wait(1);
          const before = Number(readFileSync(${JSON.stringify(counter)}, "utf8"));
          wait(1);
          writeFileSync(${JSON.stringify(counter)}, String(before + 1));
          claim.unlock("n" + round);
        }
      });`;
    await Promise.all(["a", "b", "c"].map((name) => process2(folder, work(name)).end()));
    assert.equal(readFileSync(counter, "utf8"), String(3 * rounds));
  });

  test("a lock is taken in the order of asking, over its limit never, and from a dead process", async () => {
    const folder = fresh();
    const lock = { key: "default/ConfigMap/limits/pages", limit: 2 };
    const other = process2(
      folder,
      `const claim = create("a");
      claim.askLocks("x", [${JSON.stringify(lock)}]); claim.takeLocks();
      claim.askLocks("y", [${JSON.stringify(lock)}]); claim.takeLocks(); say("two"); ${forever}`,
    );
    assert.equal(await other.next(), "two");
    using journal = openJournal({ folder });
    using claim = journal.create(begin("b"), 1);
    using late = journal.create(begin("c"), 1);
    claim.askLocks("p", [lock, { key: "default/Mutex/m", limit: 1 }]);
    late.askLocks("q", [lock]);
    late.askLocks("r", [lock]);
    assert.deepEqual([claim.takeLocks(), late.takeLocks()], [[], []]);
    await other.kill();
    await new Promise((resolve) => setTimeout(resolve, 600));
    assert.deepEqual(late.takeLocks(), ["q"]);
    assert.deepEqual(claim.takeLocks(), ["p"]);
    late.unlock("q");
    assert.deepEqual(late.takeLocks(), ["r"]);
  });

  test("what a run held is taken back all or none, once nobody else has it", () => {
    using journal = openJournal({ folder: fresh() });
    const mutex = { key: "default/Mutex/m", limit: 1 };
    const held = new Map([
      ["x", [mutex]],
      ["y", [{ key: "default/Mutex/n", limit: 1 }]],
    ]);
    using other = journal.create(begin("b"), 1);
    other.askLocks("z", [mutex]);
    assert.deepEqual(other.takeLocks(), ["z"]);
    using claim = journal.create(begin("a"), 1);
    assert.equal(claim.retakeLocks(held), false);
    other.unlock("z");
    assert.equal(claim.retakeLocks(held), true);
    other.askLocks("w", [{ key: "default/Mutex/n", limit: 1 }]);
    assert.deepEqual(other.takeLocks(), []);
  });

  test("many processes may open a new folder at once", async () => {
    const folder = fresh();
    const names = ["a", "b", "c", "d"];
    await Promise.all(names.map((name) => process2(folder, `create("${name}");`).end()));
    using journal = openJournal({ folder });
    assert.deepEqual(
      journal
        .list()
        .map(({ name }) => name)
        .toSorted(),
      names,
    );
  });
});

describe("a journal that cannot be trusted or written", () => {
  /** A journal with the runs a and b, three records each, changed behind its back. */
  function spoiled(sql: string): string {
    const folder = fresh();
    {
      using journal = openJournal({ folder });
      for (const name of ["a", "b"]) {
        using claim = journal.create(begin(name), 1);
        claim.append([woke(1), woke(2), woke(3)], running);
      }
    }
    const database = new DatabaseSync(join(folder, "journal.db"));
    database.exec(sql);
    database.close();
    return folder;
  }

  const files: readonly (readonly [string, () => string, RegExp])[] = [
    ["of a newer format", () => spoiled("PRAGMA user_version = 2"), /format 2/],
    ["of another program", () => spoiled("PRAGMA application_id = 7"), /no journal of Atalanta/],
    [
      "that is no database",
      () => {
        const folder = fresh();
        mkdirSync(folder);
        writeFileSync(join(folder, "journal.db"), "Dear Sir or Madam, ".repeat(1000));
        return folder;
      },
      /not a database/,
    ],
    [
      "that is another database, empty of marks",
      () => {
        const folder = fresh();
        mkdirSync(folder);
        const other = new DatabaseSync(join(folder, "journal.db"));
        other.exec("CREATE TABLE letter (page INTEGER)");
        other.close();
        return folder;
      },
      /no journal of Atalanta/,
    ],
  ];
  for (const [name, make, message] of files) {
    test(`a file ${name} is refused and left as it is`, () => {
      const folder = make();
      const path = join(folder, "journal.db");
      const bytes = readFileSync(path);
      assert.throws(() => openJournal({ folder }), { code: "journal-format", message });
      assert.ok(bytes.equals(readFileSync(path)));
    });
  }

  const records: readonly (readonly [string, string])[] = [
    [
      "with a changed letter",
      `UPDATE event SET body = replace(body, 'woke', 'wake') WHERE run = 1 AND sequence = 1`,
    ],
    ["that is missing", `DELETE FROM event WHERE run = 1 AND sequence = 1`],
    ["missing at the end", `DELETE FROM event WHERE run = 1 AND sequence = 2`],
    [
      "that changed places with another",
      `UPDATE event SET sequence = 9 WHERE run = 1 AND sequence = 1;
       UPDATE event SET sequence = 1 WHERE run = 1 AND sequence = 2;
       UPDATE event SET sequence = 2 WHERE run = 1 AND sequence = 9`,
    ],
    [
      "at the beginning that is not whole",
      `UPDATE run SET begin = substr(begin, 1, 40) WHERE id = 1`,
    ],
  ];
  for (const [name, sql] of records) {
    test(`a record ${name} is noticed, and other runs are as before`, () => {
      using journal = openJournal({ folder: spoiled(sql) });
      assert.throws(() => [...journal.read("a").events], {
        code: "journal-format",
        message: /"a"/,
      });
      assert.equal([...journal.read("b").events].length, 3);
      assert.equal(journal.list().length, 2);
    });
  }

  test("a file whose middle is overwritten is noticed as damaged", () => {
    const folder = fresh();
    {
      using journal = openJournal({ folder });
      using claim = journal.create(begin("a"), 1);
      claim.append(
        Array.from({ length: 2000 }, (_, at) => woke(at)),
        running,
      );
    }
    const path = join(folder, "journal.db");
    const bytes = readFileSync(path);
    bytes.fill(0xa5, 4096 * 12);
    writeFileSync(path, bytes);
    using journal = openJournal({ folder });
    assert.throws(() => [...journal.read("a").events], { code: "journal-format" });
  });

  test("a folder that cannot be written is a storage failure with its path", () => {
    const folder = fresh();
    mkdirSync(folder);
    chmodSync(folder, 0o555);
    // The superuser may write everywhere, so somebody else tries.
    const drop = process.getuid?.() === 0 ? "process.setuid(65534);" : "";
    chmodSync(base, 0o755);
    const { stdout } = spawnSync(
      process.execPath,
      [
        "--no-warnings",
        "--input-type=module",
        "-e",
        `const { openJournal } = await import(${JSON.stringify(import.meta.resolve("./mod.ts"))}); ${drop}
        try { openJournal({ folder: ${JSON.stringify(folder)} }); console.log("opened"); }
        catch (error) { console.log(error.code, error.message, error.hint); }`,
      ],
      { encoding: "utf8" },
    );
    assert.match(stdout, /^storage .*journal-\d+.* resume/);
  });

  test("a disk that is full fails the append as a whole, and what was kept before is there", () => {
    const folder = fresh();
    openJournal({ folder })[Symbol.dispose]();
    // A ceiling on the size of files stands in the way of the write just as a full disk does.
    const script = `
      const { openJournal } = await import(${JSON.stringify(import.meta.resolve("./mod.ts"))});
      const journal = openJournal({ folder: ${JSON.stringify(folder)} });
      const claim = journal.create(${JSON.stringify(begin("a"))}, 1);
      let kept = 0;
      try { for (;;) { claim.append([{ type: "woke", at: kept, text: "x".repeat(5000) }], ${JSON.stringify(running)}); kept += 1; } }
      catch (error) { console.log(error.code, kept); }`;
    const { stdout } = spawnSync(
      "sh",
      [
        "-c",
        'ulimit -f 1000 && exec "$0" --no-warnings --input-type=module -e "$1"',
        process.execPath,
        script,
      ],
      { encoding: "utf8" },
    );
    const [, kept] = /^storage (\d+)/.exec(stdout) ?? [];
    assert.ok(Number(kept) > 10, stdout);
    using journal = openJournal({ folder });
    using claim = journal.claim("a");
    assert.equal([...claim.recorded.events].length, Number(kept));
    claim.append([woke(1)], running);
  });
});
