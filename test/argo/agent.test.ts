import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { gzipSync } from "node:zlib";
import { StepEvents, type AgentObserver, type NodeResult, type Step } from "../../src/argo/mod.ts";
import { recordOf } from "../../src/kubernetes/mod.ts";
import type { Answer, Asked } from "./api-server.ts";
import { Agents, HandExecutor, saying, taskSet, tasksOf, until, waiting } from "./agents.ts";

setFlagsFromString("--expose-gc");
const collect: unknown = runInNewContext("gc");

/** What is held, and not what waits to be thrown away. */
function heapBytes(): number {
  assert(typeof collect === "function");
  collect();
  return process.memoryUsage().heapUsed;
}

describe("results of an agent", { concurrency: 4 }, () => {
  test("the first is written at once, and those that come close after it go together", async () => {
    await using agents = await Agents.start();
    const times: number[] = [];
    await agents.agent(new HandExecutor(), {
      observer: { written: (_step, { totalMs }) => void times.push(totalMs) },
    });
    agents.submit("one", { only: saying("x") });
    await until(() => agents.phase("one", "only") === "Succeeded");
    assert.deepEqual(agents.entry("one", "only"), {
      phase: "Succeeded",
      outputs: { result: "x" },
    });
    assert.equal(agents.patches, 1);
    const ids = Array.from({ length: 200 }, (_, index) => `n${index}`);
    agents.submit("many", Object.fromEntries(ids.map((id) => [id, saying(id)])));
    await until(() => ids.every((id) => agents.phase("many", id) === "Succeeded"));
    assert(agents.patches < 100, `${agents.patches} patches for 201 results`);
    await until(() => times.length === 201);
  });

  test("a write has the uid and the version that were seen; what vanished meanwhile is dropped, and the others are written", async () => {
    await using agents = await Agents.start();
    const executor = new HandExecutor();
    await agents.agent(executor);
    agents.submit("wf", { a: waiting, b: waiting });
    await until(() => executor.begun.length === 2);
    // The engine fails `a` in the moment in which its result is on its way.
    agents.api.instead = ({ subresource }) => {
      if (subresource !== "status") return undefined;
      agents.api.instead = undefined;
      agents.api.merge(tasksOf, "wf", { spec: { tasks: { a: null } } });
      return undefined;
    };
    executor.end("a");
    executor.end("b");
    await until(() => agents.phase("wf", "b") === "Succeeded");
    assert.equal(agents.phase("wf", "a"), undefined);
    const written = agents.api.asked.filter(({ subresource }) => subresource === "status");
    const { uid, resourceVersion } = recordOf(written[0]?.body["metadata"]);
    assert.equal(uid, agents.api.get(tasksOf, "wf")?.metadata.uid);
    assert.match(String(resourceVersion), /^\d+$/);
    assert.equal(written.length, 2, "a conflict and a write");
  });

  test("results that are about to come are waited for, the longer the slower the server writes, and a long step keeps none back", async () => {
    await using agents = await Agents.start();
    const executor = new HandExecutor();
    await agents.agent(executor, { runningAfterMs: 300 });
    agents.api.instead = async ({ subresource }) => {
      if (subresource === "status") await sleep(100);
      return undefined;
    };
    const writes = (): number =>
      agents.api.asked.filter(({ subresource }) => subresource === "status").length;
    for (const id of ["w1", "w2", "w3", "w4"]) {
      agents.submit(id, { [id]: saying("x") });
      await until(() => agents.phase(id, id) === "Succeeded");
    }
    const before = writes();
    agents.submit("wf", { a: waiting, b: waiting, c: waiting });
    await until(() => executor.begun.length === 7);
    for (const id of ["a", "b", "c"]) {
      executor.end(id);
      await sleep(20);
    }
    await until(() => ["a", "b", "c"].every((id) => agents.phase("wf", id)));
    assert.equal(writes() - before, 1);

    agents.submit("long", { d: waiting, e: waiting });
    await until(() => agents.phase("long", "d") === "Running");
    executor.end("d");
    await until(() => agents.phase("long", "d") === "Succeeded", 5);
    assert.equal(agents.phase("long", "e"), "Running");
  });

  test("a result of two who believe to be in charge counts once, and is not overwritten", async () => {
    await using agents = await Agents.start();
    const one = new HandExecutor();
    const other = new HandExecutor();
    await agents.agent(one);
    await agents.agent(other);
    agents.submit("wf", { a: waiting });
    await until(() => one.begun.length === 1 && other.begun.length === 1);
    // Both results are on their way before either is there.
    const gate = Promise.withResolvers<undefined>();
    let held = 0;
    agents.api.instead = ({ subresource }) => {
      if (subresource !== "status") return undefined;
      held += 1;
      if (held === 2) gate.resolve(undefined);
      return gate.promise;
    };
    one.end("a", { phase: "Succeeded", outputs: { result: "one" } });
    other.end("a", { phase: "Succeeded", outputs: { result: "other" } });
    await until(() => agents.phase("wf", "a") === "Succeeded");
    const first = agents.entry("wf", "a");
    await sleep(100);
    assert.deepEqual(agents.entry("wf", "a"), first);
    assert.equal(held, 2, "the loser reads, and writes no more");
  });

  test("a result that others have written ends what runs", async () => {
    await using agents = await Agents.start();
    const executor = new HandExecutor();
    await agents.agent(executor);
    agents.submit("wf", { a: waiting });
    await until(() => executor.begun.length === 1);
    agents.api.merge(tasksOf, "wf", { status: { nodes: { a: { phase: "Failed" } } } });
    await until(() => executor.stopped.includes("a"));
    await sleep(50);
    assert.equal(agents.phase("wf", "a"), "Failed");
    assert.deepEqual(executor.ids, ["a"]);
  });

  test("a result that the server does not take fails alone", async () => {
    await using agents = await Agents.start();
    await agents.agent(new HandExecutor());
    agents.api.instead = ({ subresource, body }) =>
      subresource === "status" && JSON.stringify(body).includes("poison")
        ? { status: 422, message: "status.nodes.bad: Invalid value" }
        : undefined;
    const tasks = Object.fromEntries(
      Array.from({ length: 30 }, (_, index) => [`n${index}`, saying("fine")]),
    );
    agents.submit("wf", { ...tasks, bad: saying("poison") });
    await until(() => [...Object.keys(tasks), "bad"].every((id) => agents.phase("wf", id)));
    for (const id of Object.keys(tasks)) assert.equal(agents.phase("wf", id), "Succeeded");
    const { phase, message } = agents.entry("wf", "bad");
    assert.equal(phase, "Error");
    assert.match(String(message), /did not take the result of \d+ bytes.*Invalid value/);
  });

  test("a result of which even the failure is refused keeps no other back", async () => {
    await using agents = await Agents.start();
    await agents.agent(new HandExecutor());
    agents.api.instead = ({ subresource, body }) =>
      subresource === "status" && JSON.stringify(body).includes('"bad"')
        ? { status: 422, message: "no" }
        : undefined;
    agents.submit("wf", { bad: saying("x"), good: saying("y") });
    await until(() => agents.phase("wf", "good") === "Succeeded");
    agents.api.merge(tasksOf, "wf", { spec: { tasks: { later: saying("z") } } });
    await until(() => agents.phase("wf", "later") === "Succeeded");
  });

  test("outputs that are too large become an error that says so", async () => {
    await using agents = await Agents.start();
    await agents.agent(new HandExecutor());
    agents.submit("wf", { large: saying("ä", 300_000), small: saying("x") });
    await until(() => agents.phase("wf", "large") && agents.phase("wf", "small"));
    assert.equal(agents.phase("wf", "small"), "Succeeded");
    assert.match(String(agents.entry("wf", "large")["message"]), /have 6\d{5} bytes together/);
  });

  test("a task set without room is written as the engine makes some, and no result is lost to it", async () => {
    await using agents = await Agents.start();
    await agents.agent(new HandExecutor());
    const ids = Array.from({ length: 60 }, (_, index) => `n${index}`);
    // 60 results of 40 KiB have no room in one object.
    agents.submit("wf", Object.fromEntries(ids.map((id) => [id, saying("x", 40_000)])));
    const taken = new Set<string>();
    await until(() => {
      for (const id of ids) {
        const phase = agents.phase("wf", id);
        if (phase === undefined) continue;
        assert.equal(phase, "Succeeded", JSON.stringify(agents.entry("wf", id)).slice(0, 300));
        taken.add(id);
        agents.take("wf", id);
      }
      return taken.size === ids.length;
    }, 15);
  });

  test("of a loop that fills an object nearly to the brim, all results come as the engine takes some", async () => {
    await using agents = await Agents.start();
    await agents.agent(new HandExecutor(), { ceilings: { workflowSteps: 200 } });
    const ids = Array.from({ length: 2200 }, (_, index) => `fan-out-of-many-${index}`);
    const template = {
      ...saying("x"),
      inputs: { parameters: [{ name: "p", value: "v".repeat(240) }] },
    };
    agents.submit("wf", Object.fromEntries(ids.map((id) => [id, template])));
    const taken = new Set<string>();
    await until(() => {
      const status = recordOf(recordOf(agents.api.get(tasksOf, "wf")?.["status"])["nodes"]);
      const here = Object.keys(status).filter((id) => !taken.has(id));
      for (const id of here) assert.equal(agents.phase("wf", id), "Succeeded");
      for (const id of here) taken.add(id);
      const nulls = Object.fromEntries(here.map((id) => [id, null]));
      if (here.length > 0) {
        agents.api.merge(tasksOf, "wf", { status: { nodes: nulls } });
        agents.api.merge(tasksOf, "wf", { spec: { tasks: nulls } });
      }
      return taken.size === ids.length;
    }, 30);
  });

  test("a task set that has no room for any result is told of, and goes on when there is some", async () => {
    await using agents = await Agents.start();
    const told: string[] = [];
    await agents.agent(new HandExecutor(), {
      observer: { trouble: (_view, { message }) => void told.push(message) },
    });
    agents.submit("wf", { a: saying("x"), filling: { other: "f".repeat(1_572_000) } });
    await until(() => told.some((message) => message.includes("request is too large")));
    agents.api.merge(tasksOf, "wf", { spec: { tasks: { filling: null } } });
    await until(() => agents.phase("wf", "a") === "Succeeded");
  });

  test("a server that turns everybody away for a while, cuts watches and forgets gets every result once", async () => {
    await using agents = await Agents.start();
    const executor = new HandExecutor();
    await agents.agent(executor);
    const ids = Array.from({ length: 20 }, (_, index) => `n${index}`);
    agents.submit("wf", Object.fromEntries(ids.map((id) => [id, waiting])));
    await until(() => executor.begun.length === ids.length);
    const till = performance.now() + 1500;
    agents.api.instead = () =>
      performance.now() < till ? { status: 429, message: "too many", retryAfter: 1 } : undefined;
    for (const id of ids) {
      executor.end(id);
      agents.api.cut();
      agents.api.compact();
      await sleep(20);
    }
    await until(() => ids.every((id) => agents.phase("wf", id) === "Succeeded"), 20);
    assert.deepEqual(executor.ids, ids, "nothing ran twice");
  });

  test("a result is sent again when nobody knows whether it arrived, and counts once", async () => {
    await using agents = await Agents.start();
    const executor = new HandExecutor();
    await agents.agent(executor);
    agents.submit("wf", { a: waiting });
    await until(() => executor.begun.length === 1);
    let cuts = 0;
    agents.api.instead = async ({ subresource }) => {
      if (subresource !== "status" || cuts >= 2) return undefined;
      cuts += 1;
      agents.api.cut();
      return { status: 500, message: "nobody hears this" };
    };
    executor.end("a", { phase: "Succeeded", outputs: { result: "once" } });
    await until(() => agents.phase("wf", "a") === "Succeeded", 10);
    assert.equal(cuts, 2);
    assert.deepEqual(executor.ids, ["a"]);
  });
});

describe("what an agent runs", { concurrency: 4 }, () => {
  test("what vanishes, whose workflow is over, is deleted or made anew is stopped, and nothing is written of it", async () => {
    await using agents = await Agents.start();
    const executor = new HandExecutor();
    await agents.agent(executor);
    for (const name of ["vanishes", "over", "gone", "anew"])
      agents.submit(name, { [name]: waiting });
    await until(() => executor.begun.length === 4);
    agents.api.merge(tasksOf, "vanishes", { spec: { tasks: { vanishes: null } } });
    agents.api.merge(tasksOf, "over", {
      metadata: { labels: { "workflows.argoproj.io/completed": "true" } },
    });
    agents.api.delete(tasksOf, "gone");
    agents.api.delete(tasksOf, "anew");
    agents.submit("anew", { anew: waiting }, { uid: "another" });
    await until(() => executor.stopped.length === 4 && executor.begun.length === 5);
    assert.equal(executor.begun[4]?.workflow.uid, "another");
    for (const id of ["vanishes", "over"]) executor.end(id);
    await sleep(50);
    assert.equal(agents.patches, 0);
  });

  test("a retry that has the same node ids runs them again", async () => {
    await using agents = await Agents.start();
    const executor = new HandExecutor();
    await agents.agent(executor);
    agents.submit("wf", { a: saying("1") });
    await until(() => agents.phase("wf", "a") === "Succeeded");
    agents.take("wf", "a");
    const completed = (is: boolean): void =>
      void agents.api.merge(tasksOf, "wf", {
        metadata: { labels: { "workflows.argoproj.io/completed": String(is) } },
      });
    completed(true);
    await sleep(20);
    completed(false);
    agents.api.merge(tasksOf, "wf", { spec: { tasks: { a: saying("2") } } });
    await until(() => agents.phase("wf", "a") === "Succeeded");
    assert.deepEqual(agents.entry("wf", "a")["outputs"], { result: "2" });
    assert.deepEqual(executor.ids, ["a", "a"]);
  });

  test("a retry that came and went between two looks is found by asking the workflow", async () => {
    await using agents = await Agents.start();
    const executor = new HandExecutor();
    await agents.agent(executor);
    agents.submit("wf", { a: saying("1") });
    await until(() => agents.phase("wf", "a") === "Succeeded");
    // The agent sees only the end of it: the same task, and no result.
    agents.api.merge(tasksOf, "wf", { status: { nodes: { a: null } } });
    await until(() => executor.ids.length === 2 && agents.phase("wf", "a") === "Succeeded");
    // As long as the engine says that it has the result, it is not run again.
    agents.api.merge("workflows", "wf", { status: { nodes: { a: { phase: "Succeeded" } } } });
    agents.api.merge(tasksOf, "wf", { status: { nodes: { a: null } } });
    await sleep(600);
    assert.equal(executor.ids.length, 2);
  });

  test("an agent that starts runs neither what has a result, nor what the workflow is done with", async () => {
    await using agents = await Agents.start();
    agents.submit("wf", { done: saying("x"), taken: saying("x"), due: saying("y") });
    agents.api.merge(tasksOf, "wf", { status: { nodes: { done: { phase: "Failed" } } } });
    const nodes = { done: { phase: "Pending" }, taken: { phase: "Succeeded" } };
    const packed = gzipSync(JSON.stringify({ ...nodes, due: { phase: "Pending" } }));
    agents.api.merge("workflows", "wf", {
      status: { nodes: null, compressedNodes: packed.toString("base64") },
    });
    agents.submit("ended", { left: saying("x") }, { workflow: { phase: "Failed" } });
    const executor = new HandExecutor();
    await agents.agent(executor);
    await until(() => agents.phase("wf", "due") === "Succeeded");
    await sleep(200);
    assert.deepEqual(executor.ids, ["due"]);
  });

  test("where the engine never takes tasks away, steps end with their workflow and do not begin again", async () => {
    await using agents = await Agents.start();
    const executor = new HandExecutor();
    await agents.agent(executor, { lookEveryMs: 200 });
    agents.submit("wf", { a: waiting, b: waiting });
    await until(() => executor.begun.length === 2);
    agents.api.merge("workflows", "wf", { status: { nodes: { a: { phase: "Failed" } } } });
    await until(() => executor.stopped.length === 1);
    assert.deepEqual(executor.stopped, ["a"]);
    agents.api.merge("workflows", "wf", { spec: { shutdown: "Terminate" } });
    await until(() => executor.stopped.length === 2);
    agents.api.merge(tasksOf, "wf", { metadata: { annotations: { touched: "1" } } });
    agents.api.cut();
    agents.api.compact();
    await sleep(500);
    assert.equal(executor.begun.length, 2);
    assert.equal(agents.patches, 0);
  });

  test("a kind of task that it does not know is left alone", async () => {
    await using agents = await Agents.start();
    const executor = new HandExecutor();
    await agents.agent(executor);
    agents.submit("wf", { foreign: { plugin: { other: {} } }, odd: {}, a: saying("x") });
    await until(() => agents.phase("wf", "a") === "Succeeded");
    assert.deepEqual(executor.ids, ["a"]);
    assert.equal(agents.phase("wf", "foreign"), undefined);
  });

  test("what others wrote in place of an object ends nobody", async () => {
    await using agents = await Agents.start();
    await agents.agent(new HandExecutor());
    const tasks = ["x", null, 5, { spec: [] }];
    for (const [index, odd] of tasks.entries()) {
      agents.api.put(tasksOf, { ...taskSet(`odd${index}`, {}), spec: odd, status: odd });
    }
    agents.api.put(tasksOf, {
      metadata: { name: "no-owner" },
      spec: { tasks: { a: saying("x") } },
    });
    agents.submit("wf", { a: saying("x") });
    await until(() => agents.phase("wf", "a") === "Succeeded");
  });

  test("an entry of a node that the workflow does not know is taken away, and no other", async () => {
    await using agents = await Agents.start();
    const healed: string[] = [];
    await agents.agent(new HandExecutor(), {
      observer: { healed: ({ name }) => void healed.push(name) },
    });
    agents.submit("wf", { a: { plugin: { other: {} } } }, { workflow: { nodes: { known: {} } } });
    agents.api.merge(tasksOf, "wf", {
      status: { nodes: { stray: { phase: "Succeeded" }, known: { phase: "Succeeded" } } },
    });
    await until(() => healed.length > 0);
    assert.equal(agents.phase("wf", "stray"), undefined);
    assert.equal(agents.phase("wf", "known"), "Succeeded");
  });

  test("draining begins nothing more, gives up what waits, and writes down what runs", async () => {
    await using agents = await Agents.start();
    const executor = new HandExecutor();
    const agent = await agents.agent(executor, { ceilings: { steps: 1 } });
    agents.submit("wf", { a: waiting, b: waiting });
    await until(() => executor.begun.length === 1);
    const drained = agent.drain(AbortSignal.timeout(5000));
    agents.submit("next", { c: saying("x") });
    await sleep(50);
    executor.end("a");
    await drained;
    assert.equal(agents.phase("wf", "a"), "Succeeded");
    assert.deepEqual(executor.ids, ["a"]);
  });

  test("draining ends when its time is over", async () => {
    await using agents = await Agents.start();
    const executor = new HandExecutor();
    const agent = await agents.agent(executor);
    agents.submit("wf", { a: waiting });
    await until(() => executor.begun.length === 1);
    const begun = performance.now();
    await agent.drain(AbortSignal.timeout(200));
    assert(performance.now() - begun < 2000);
  });
});

describe("deadlines of an agent's steps", { concurrency: 4 }, () => {
  test("a short step is never told to run, a long one is, and one that waits for its turn is not", async () => {
    await using agents = await Agents.start();
    const executor = new HandExecutor();
    await agents.agent(executor, { runningAfterMs: 150, ceilings: { steps: 1 } });
    agents.submit("wf", { a: waiting, b: waiting });
    await until(() => agents.phase("wf", "a") === "Running");
    assert.equal(agents.phase("wf", "b"), undefined);
    executor.end("a", { phase: "Succeeded", outputs: { result: "late" } });
    await until(() => agents.phase("wf", "a") === "Succeeded");
    assert.deepEqual(agents.entry("wf", "a")["outputs"], { result: "late" });
    executor.end("b");
    await until(() => agents.phase("wf", "b") === "Succeeded");
  });

  test("a step with a pendingTimeout is told to run when it does", async () => {
    await using agents = await Agents.start();
    await agents.agent(new HandExecutor());
    agents.submit("wf", { a: { ...waiting, pendingTimeout: "10s" } });
    await until(() => agents.phase("wf", "a") === "Running");
  });

  test("of a step that is told to run, the timeout is ours", async () => {
    await using agents = await Agents.start();
    const executor = new HandExecutor();
    await agents.agent(executor, { runningAfterMs: 50 });
    agents.submit("wf", {
      a: { ...waiting, timeout: "400ms" },
      odd: { ...waiting, timeout: "{{x}}" },
    });
    await until(() => agents.phase("wf", "a") === "Failed");
    assert.equal(agents.entry("wf", "a")["message"], "The step exceeded its timeout of 400ms");
    assert(executor.stopped.includes("a"));
    assert.equal(agents.phase("wf", "odd"), "Running");
  });

  test("and so is the workflow's deadline, by the cluster's clock", async () => {
    for (const hours of [-5, 5]) {
      await using agents = await Agents.start();
      agents.api.clockMs = hours * 3_600_000;
      const executor = new HandExecutor();
      await agents.agent(executor, { runningAfterMs: 50, lookEveryMs: 10_000 });
      agents.submit("wf", { a: waiting }, { spec: { activeDeadlineSeconds: 3 } });
      const begun = performance.now();
      await until(() => agents.phase("wf", "a") === "Failed");
      assert.equal(agents.entry("wf", "a")["message"], "Step exceeded its deadline");
      const ms = performance.now() - begun;
      assert(ms > 1500 && ms < 60_000, `after ${ms} ms`);
    }
  });

  test("an agent that takes over a step that is told to run takes over its deadline", async () => {
    await using agents = await Agents.start();
    const startedAt = new Date(Date.now() - 60_000).toISOString();
    agents.submit(
      "wf",
      { a: { ...waiting, timeout: "61s" } },
      { workflow: { nodes: { a: { phase: "Running", startedAt } } } },
    );
    agents.api.merge(tasksOf, "wf", { status: { nodes: { a: { phase: "Running" } } } });
    const executor = new HandExecutor();
    await agents.agent(executor);
    await until(() => agents.phase("wf", "a") === "Failed");
    assert.match(String(agents.entry("wf", "a")["message"]), /timeout of 61s/);
  });
});

describe("turns", { concurrency: 4 }, () => {
  test("namespaces take turns, and so do the workflows of one", async () => {
    await using agents = await Agents.start();
    const executor = new HandExecutor();
    const agent = await agents.agent(executor, { ceilings: { steps: 1 } });
    agents.submit("first", { blocker: waiting });
    await until(() => executor.begun.length === 1);
    const many = (name: string): Record<string, typeof waiting> =>
      Object.fromEntries(
        Array.from({ length: 20 }, (_, index) => [`${name}${index}`, saying("x")]),
      );
    agents.submit("large", many("large"));
    agents.submit("small", { small: saying("x") });
    agents.submit("other", { other: saying("x") }, { namespace: "second" });
    await until(() => agent.waiting === 22);
    executor.end("blocker");
    await until(() => executor.begun.length === 23);
    const at = (id: string): number => executor.ids.indexOf(id);
    assert(at("other") <= 2, `the other namespace comes at ${at("other")}`);
    assert(at("small") <= 4, `the small workflow comes at ${at("small")}`);
  });

  test("ceilings hold for all, for a namespace and for a workflow", async () => {
    await using agents = await Agents.start();
    const executor = new HandExecutor();
    const agent = await agents.agent(executor, {
      ceilings: { steps: 5, namespaceSteps: 4, workflowSteps: 3 },
    });
    const many = (name: string): Record<string, typeof waiting> =>
      Object.fromEntries(Array.from({ length: 6 }, (_, index) => [`${name}${index}`, waiting]));
    agents.submit("a", many("a"));
    await until(() => executor.begun.length === 3);
    agents.submit("b", many("b"));
    await until(() => executor.begun.length === 4);
    agents.submit("c", many("c"), { namespace: "second" });
    await until(() => executor.begun.length === 5);
    await sleep(50);
    assert.equal(agent.running, 5);
    assert.equal(agent.waiting, 13);
    executor.end("a0");
    await until(() => executor.begun.length === 6);
    // Whoever waits and vanishes needs no turn.
    for (const name of ["a", "b"]) agents.api.delete(tasksOf, name);
    await until(() => agent.waiting === 3 && executor.stopped.length === 4);
  });
});

describe("replicas of an agent", { concurrency: 4 }, () => {
  test("share workflows; of one that leaves, the other does what has no result", async () => {
    await using agents = await Agents.start();
    const one = new HandExecutor();
    const other = new HandExecutor();
    const leaving = await agents.agent(one, { replica: "one" });
    await agents.agent(other, { replica: "other" });
    // Both know of each other.
    await sleep(1200);
    const names = Array.from({ length: 12 }, (_, index) => `wf${index}`);
    for (const name of names)
      agents.submit(name, { [`${name}-a`]: waiting, [`${name}-b`]: saying("x") });
    await until(() => one.begun.length + other.begun.length === 24);
    await until(() => names.every((name) => agents.phase(name, `${name}-b`)));
    assert(one.begun.length > 0 && other.begun.length > 0);
    const left = one.ids.filter((id) => id.endsWith("-a"));
    const had = other.begun.length;
    await leaving[Symbol.asyncDispose]();
    await until(() => other.begun.length === had + left.length);
    assert.deepEqual(other.ids.slice(had).toSorted(), left.toSorted());
    for (const name of names) other.end(`${name}-a`);
    await until(() => names.every((name) => agents.phase(name, `${name}-a`) === "Succeeded"));
  });

  test("one that comes gets a share, and what has ended here is still written", async () => {
    await using agents = await Agents.start();
    const one = new HandExecutor();
    await agents.agent(one, { replica: "one" });
    const names = Array.from({ length: 8 }, (_, index) => `wf${index}`);
    for (const name of names) agents.submit(name, { [name]: waiting });
    await until(() => one.begun.length === names.length);
    const other = new HandExecutor();
    await agents.agent(other, { replica: "other" });
    await until(() => other.begun.length > 0);
    await until(() => one.stopped.length === other.begun.length);
    for (const name of names) {
      one.end(name);
      other.end(name);
    }
    await until(() => names.every((name) => agents.phase(name, name) === "Succeeded"));
    assert.equal(other.begun.length < names.length, true);
  });
});

describe("replicas whose server was away", { concurrency: 4 }, () => {
  test("go on with what each had, and none takes the other for dead", async () => {
    await using agents = await Agents.start();
    const executors = [new HandExecutor(), new HandExecutor()];
    const [one, other] = executors;
    assert(one && other);
    await agents.agent(one, { replica: "one" });
    await agents.agent(other, { replica: "other" });
    // Both know of each other.
    await sleep(1200);
    const names = Array.from({ length: 12 }, (_, index) => `wf${index}`);
    for (const name of names) agents.submit(name, { [name]: waiting });
    await until(() => one.begun.length + other.begun.length === names.length);
    assert(one.begun.length > 0 && other.begun.length > 0);
    const away = { status: 503, message: "away" };
    const otherIsNotHeard = ({ plural, method, body }: Asked): Answer | undefined =>
      plural === "leases" &&
      method === "PATCH" &&
      recordOf(body["spec"])["holderIdentity"] === "other"
        ? away
        : undefined;
    // One of them has said its last word a moment before.
    agents.api.instead = otherIsNotHeard;
    await sleep(1200);
    agents.api.instead = () => away;
    agents.api.cut();
    await sleep(300);
    for (const name of names.slice(0, 6)) for (const executor of executors) executor.end(name);
    await sleep(4500);
    // And it is heard again a moment later than the other.
    agents.api.instead = otherIsNotHeard;
    await sleep(700);
    agents.api.instead = undefined;
    await sleep(3000);
    for (const name of names) for (const executor of executors) executor.end(name);
    await until(() => names.every((name) => agents.phase(name, name) === "Succeeded"), 15);
    assert.equal(one.begun.length + other.begun.length, names.length, "nothing ran twice");
    assert.deepEqual([...one.stopped, ...other.stopped], []);
  });
});

describe("events of an agent's steps", () => {
  test("are told of the workflow and of its task set; what comes again is counted, and what is too much is dropped", async () => {
    await using agents = await Agents.start();
    const events = new StepEvents(await agents.cluster(), "test");
    const executor = new HandExecutor();
    await agents.agent(executor, {
      observer: {
        ended: (step, result, _times, taskSet) => events.failed(step, result, taskSet),
      },
    });
    const ids = Array.from({ length: 60 }, (_, index) => `n${index}`);
    agents.submit("wf", Object.fromEntries(ids.map((id) => [id, waiting])));
    await until(() => executor.begun.length === ids.length);
    executor.end("n0", { phase: "Failed", message: "exit code 1" });
    await until(() => agents.api.list("events").length === 2);
    for (const id of ids) executor.end(id, { phase: "Failed", message: "exit code 1" });
    const told = (): readonly Readonly<Record<string, unknown>>[] => agents.api.list("events");
    await until(() => told().every(({ count }) => count === 60));
    const uids = told().map(({ involvedObject }) => recordOf(involvedObject)["uid"]);
    const taskSetUid = agents.api.get(tasksOf, "wf")?.metadata.uid;
    assert.deepEqual(new Set(uids), new Set(["uid-wf", taskSetUid]));
    for (const { reason, message, type } of told()) {
      assert.equal(type, "Warning");
      assert.equal(reason, "WasmStepFailed");
      assert.equal(message, "n0: exit code 1");
    }
  });

  test("a role that does not allow writing is told of where people look, and then the results come", async () => {
    await using agents = await Agents.start();
    const events = new StepEvents(await agents.cluster(), "test");
    let may = false;
    agents.api.instead = ({ subresource }) =>
      subresource === "status" && !may
        ? { status: 403, reason: "Forbidden", message: "cannot patch workflowtasksets/status" }
        : undefined;
    const executor = new HandExecutor();
    await agents.agent(executor, {
      observer: { trouble: (view, failure) => events.trouble(view, failure) },
    });
    agents.submit("wf", { a: saying("x") });
    await until(() => agents.api.list("events").length === 2);
    assert.match(
      String(agents.api.list("events")[0]?.["message"]),
      /tried again.*cannot patch workflowtasksets\/status/,
    );
    may = true;
    await until(() => agents.phase("wf", "a") === "Succeeded");
    assert.deepEqual(executor.ids, ["a"]);
  });

  test("an engine that takes a result late is told once how to be faster", async () => {
    await using agents = await Agents.start();
    const events = new StepEvents(await agents.cluster(), "test");
    const workflow = { namespace: "team", name: "wf", uid: "uid" };
    for (const afterMs of [100, 10_000, 10_000]) {
      events.taken({ workflow, nodeId: "a", template: {} }, { afterMs });
    }
    await until(() => agents.api.list("events").length > 0);
    await sleep(50);
    assert.equal(agents.api.list("events").length, 1);
    assert.match(
      String(agents.api.list("events")[0]?.["message"]),
      /10\.0 s after.*DEFAULT_REQUEUE_TIME=100ms/,
    );
  });
});

describe("an agent beside thousands of finished workflows", () => {
  test("holds next to nothing of each", async () => {
    await using agents = await Agents.start();
    const filling = "f".repeat(20_000);
    for (let index = 0; index < 2000; index += 1) {
      const finished = taskSet(`wf${index}`, { a: { ...saying("x"), filling } });
      agents.api.put(tasksOf, {
        ...finished,
        metadata: { ...finished.metadata, labels: { "workflows.argoproj.io/completed": "true" } },
      });
    }
    const before = heapBytes();
    const seen: [Step, NodeResult][] = [];
    const observer: AgentObserver = { ended: (step, result) => void seen.push([step, result]) };
    await agents.agent(new HandExecutor(), { observer });
    agents.submit("live", { a: saying("x") });
    await until(() => agents.phase("live", "a") === "Succeeded");
    const grown = heapBytes() - before;
    // What they hold together has 40 MB.
    assert(grown < 8e6, `${grown} bytes more`);
    assert.equal(seen.length, 1);
  });
});
