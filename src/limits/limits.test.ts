import assert from "node:assert/strict";
import { test } from "node:test";
import { codes, type Failure } from "../errors/mod.ts";
import {
  ceilings,
  defaultLimits,
  formatLimit,
  hostLimits,
  limitFailure,
  resolveLimits,
  type LimitKey,
} from "./mod.ts";

const rows = Object.entries(ceilings) as [LimitKey, (typeof ceilings)[LimitKey]][];

test("every ceiling has a code, a field and a unit of its own place, and a default below what we are built for", () => {
  assert.equal(new Set(rows.map(([, { field }]) => field)).size, rows.length);
  assert.equal(new Set(rows.map(([, { code }]) => code)).size, rows.length);
  const most = hostLimits();
  for (const [key, { code, field, scope, summary }] of rows) {
    assert.ok(codes[code].summary.length > 5, key);
    assert.ok(summary.length > 10 && !summary.endsWith("."), key);
    assert.ok(defaultLimits[field] >= 1, key);
    assert.ok(defaultLimits[field] <= most[field], key);
    if (scope === "host") assert.equal(most[field], defaultLimits[field], key);
  }
});

test("what nobody asks for is the default, and is lowered to what the host allows", () => {
  assert.deepEqual(resolveLimits(), defaultLimits);
  const host = hostLimits({ memory: "64Mi", time: "10s", moduleSize: "1Mi" });
  const limits = resolveLimits({}, host);
  assert.equal(limits.memoryBytes, 64 * 1024 * 1024);
  assert.equal(limits.timeMs, 10_000);
  assert.equal(limits.moduleBytes, 1024 * 1024);
  assert.equal(limits.fileCount, defaultLimits.fileCount);
});

test("a step may ask for as much as the host allows, and for nothing more", () => {
  const host = hostLimits({ memory: "64Mi" });
  assert.equal(resolveLimits({ memory: "64Mi" }, host).memoryBytes, 64 * 1024 * 1024);
  assert.throws(
    () => resolveLimits({ memory: "65Mi" }, host),
    (failure: Failure) => {
      assert.equal(failure.code, "limit-above-host");
      assert.equal(
        failure.message,
        "The step asks for limits.memory of 65Mi; this host allows 64Mi",
      );
      assert.match(
        failure.hint ?? "",
        /limits\.memory in the file for --config or with --limit memory=/,
      );
      return true;
    },
  );
});

test("every ceiling of a step can be asked for up to the host's, and no further", () => {
  for (const [key, { field, scope }] of rows) {
    if (scope === "host") continue;
    const written = formatLimit(key, defaultLimits[field]);
    const host = hostLimits({ [key]: written });
    assert.equal(resolveLimits({ [key]: written }, host)[field], defaultLimits[field], key);
    const above = formatLimit(key, defaultLimits[field] + 1);
    assert.throws(() => resolveLimits({ [key]: above }, host), { code: "limit-above-host" }, key);
  }
});

test("no host may allow more than the machinery is built for", () => {
  for (const [key, { most }] of rows) {
    assert.equal(typeof hostLimits({ [key]: most }), "object", key);
    assert.throws(
      () => hostLimits({ [key]: most.replace(/^\d+/, (number) => String(Number(number) + 1)) }),
      { code: "invalid-argument", message: new RegExp(`^limits\\.${key} is .*highest value is`) },
      key,
    );
  }
});

test("who raises the time raises the CPU time too, and who raises files raises the size of one", () => {
  const limits = resolveLimits({ time: "1h", files: "2Gi" });
  assert.equal(limits.cpuMs, 3_600_000);
  assert.equal(limits.fileBytes, 2 * 1024 ** 3);
  const host = hostLimits({ cpuTime: "1m" });
  assert.equal(resolveLimits({ time: "1h" }, host).cpuMs, 60_000);
  assert.equal(resolveLimits({ time: "1h", cpuTime: "5s" }).cpuMs, 5000);
});

test("a stack that our own code has no room on is refused", () => {
  assert.equal(hostLimits({ stack: "512Ki" }).stackBytes, 512 * 1024);
  assert.throws(() => hostLimits({ stack: "256Ki" }), {
    code: "invalid-argument",
    message: "limits.stack is 256Ki; the lowest value is 512Ki",
  });
});

test("unlimited is not a value", () => {
  for (const value of ["unlimited", "0", "-1", "", "Infinity", 0, -5, Number.NaN, "1e9"]) {
    for (const [key] of rows) {
      assert.throws(() => hostLimits({ [key]: value }), { code: "invalid-argument" }, key);
    }
  }
});

test("a ceiling that was reached is told with the value, the ceiling and the key that raises it", () => {
  const limits = { ...defaultLimits, fileCount: 10, moduleBytes: 2048 };
  const step = limitFailure("fileCount", limits, "The guest made 11 files");
  assert.equal(step.code, "limit-file-count");
  assert.equal(step.message, "The guest made 11 files; the ceiling is 10");
  assert.equal(
    step.hint,
    "Raise limits.fileCount of the step, or of exec with --limit fileCount=VALUE.",
  );
  const host = limitFailure("moduleSize", limits, '"x" has 4096 bytes', "Build it smaller.");
  assert.equal(host.message, '"x" has 4096 bytes; the ceiling is 2Ki');
  assert.equal(
    host.hint,
    "Build it smaller. Raise limits.moduleSize in the file for --config, or give --limit moduleSize=VALUE.",
  );
});
