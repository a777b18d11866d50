import assert from "node:assert/strict";
import { fork } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { LockFile } from "./mod.ts";

const folder = mkdtempSync(join(tmpdir(), "locks-"));
after(() => rmSync(folder, { recursive: true }));

test("a lock is for one alone, or shared by many", () => {
  const path = join(folder, "here");
  {
    using first = LockFile.take(path);
    assert.ok(first);
    assert.equal(LockFile.take(path), undefined);
    assert.equal(LockFile.share(path), undefined);
    assert.ok(LockFile.isTaken(path));
  }
  assert.ok(!LockFile.isTaken(path));
  using one = LockFile.share(path);
  using other = LockFile.share(path);
  assert.ok(one && other);
  assert.equal(LockFile.take(path), undefined);
  assert.ok(!LockFile.isTaken(path));
});

for (const kind of ["take", "share"] as const) {
  test(`a process that is killed lets go of what it ${kind}s`, async () => {
    const path = join(folder, kind);
    const program = join(folder, `${kind}.ts`);
    const face = join(import.meta.dirname, "mod.ts");
    writeFileSync(
      program,
      `import { LockFile } from ${JSON.stringify(face)};
       const lock = LockFile.${kind}(${JSON.stringify(path)});
       process.send?.(lock !== undefined);
       setInterval(() => lock, 1000);`,
    );
    const child = fork(program, { execArgv: ["--no-warnings"] });
    assert.deepEqual(await once(child, "message"), [true, undefined]);
    assert.equal(LockFile.take(path), undefined);
    child.kill("SIGKILL");
    await once(child, "exit");
    using free = LockFile.take(path);
    assert.ok(free);
  });
}
