// Wasm steps of Argo's workflows on a real API server, with the tests' stand-in for the controller: one step, chains, loops, many workflows, an idle agent; beside an agent that answers at once.
import { readFileSync } from "node:fs";
import { cpus } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import { createAgent } from "../src/argo/mod.ts";
import { recordOf, type KubeObject } from "../src/kubernetes/mod.ts";
import { taskSets, workflows } from "../test/cluster/controller.ts";
import { AgentProcess } from "../test/cluster/process.ts";
import { ClusterSetting, isOver } from "../test/cluster/setting.ts";

const say = (line: string): void => void process.stderr.write(`${line}\n`);
const asJson = process.argv.includes("--json");
const port = 19_464;
type Json = Readonly<Record<string, unknown>>;

function started(): Promise<AgentProcess> {
  const more = [`--listen=127.0.0.1:${port}`, "--log-level=info"];
  return new AgentProcess(setting, setting.cluster.kubeconfig, more).ready();
}

/** Time from when a step is seen until its result is written, in buckets: milliseconds and how many took at most that. */
async function totals(): Promise<ReadonlyMap<number, number>> {
  const text = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
  const rows = text.matchAll(
    /^atalanta_step_seconds_bucket\{le="([\d.]+|\+Inf)",part="total"\} (\d+)$/gm,
  );
  return new Map(
    [...rows].map(([, le = "", count]) => [
      Number(le.replace("+Inf", "Infinity")) * 1000,
      Number(count),
    ]),
  );
}

/** Of an agent and its runner processes. */
function usageOf({ child }: AgentProcess): {
  readonly cpuSeconds: number;
  readonly residentMib: number;
  readonly allMib: number;
} {
  const family = [child.pid ?? 0, ...childrenOf(child.pid ?? 0)];
  const stats = family.map((pid) => statOf(pid));
  return {
    cpuSeconds: stats.reduce((sum, { cpuSeconds }) => sum + cpuSeconds, 0),
    residentMib: Math.round(stats[0]?.mib ?? 0),
    allMib: Math.round(stats.reduce((sum, { ownMib }) => sum + ownMib, 0)),
  };
}

function childrenOf(pid: number): number[] {
  const direct = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8")
    .trim()
    .split(" ")
    .filter(Boolean)
    .map(Number);
  return direct.flatMap((child) => [child, ...childrenOf(child)]);
}

function statOf(pid: number): {
  readonly cpuSeconds: number;
  readonly mib: number;
  /** What several processes share is counted in parts. */
  readonly ownMib: number;
} {
  try {
    const fields = readFileSync(`/proc/${pid}/stat`, "utf8")
      .replace(/^.*\) /, "")
      .split(" ");
    const status = readFileSync(`/proc/${pid}/status`, "utf8");
    const kib = Number(/^VmRSS:\s+(\d+)/m.exec(status)?.[1] ?? 0);
    const rollup = readFileSync(`/proc/${pid}/smaps_rollup`, "utf8");
    const ownKib = Number(/^Pss:\s+(\d+)/m.exec(rollup)?.[1] ?? 0);
    const cpuSeconds = (Number(fields[11]) + Number(fields[12])) / 100;
    return { cpuSeconds, mib: kib / 1024, ownMib: ownKib / 1024 };
  } catch {
    return { cpuSeconds: 0, mib: 0, ownMib: 0 };
  }
}

function quantile(
  before: ReadonlyMap<number, number>,
  after: ReadonlyMap<number, number>,
  share: number,
): number {
  const rows = [...after].map(([le, count]) => [le, count - (before.get(le) ?? 0)] as const);
  const all = rows.at(-1)?.[1] ?? 0;
  let lastLe = 0;
  let lastCount = 0;
  for (const [le, count] of rows) {
    if (count >= all * share) {
      const part = (all * share - lastCount) / Math.max(1, count - lastCount);
      return le === Number.POSITIVE_INFINITY ? lastLe : lastLe + (le - lastLe) * part;
    }
    [lastLe, lastCount] = [le, count];
  }
  return lastLe;
}

await using setting = await ClusterSetting.start();
let number = 0;

const step = (): Json => ({
  name: "say",
  plugin: { wasm: { image: setting.image, args: ["echo", "1"] } },
});
const one = (): Json => ({ entrypoint: "say", templates: [step()] });
const chain = (count: number): Json => ({
  entrypoint: "main",
  templates: [
    step(),
    {
      name: "main",
      steps: Array.from({ length: count }, (_, at) => [{ name: `s${at}`, template: "say" }]),
    },
  ],
});
const loop = (count: number): Json => ({
  entrypoint: "main",
  templates: [
    step(),
    {
      name: "main",
      steps: [[{ name: "all", template: "say", withSequence: { count: String(count) } }]],
    },
  ],
});

/** From before the first is submitted until the last is over, in milliseconds. */
async function measure(specs: readonly Json[], seconds = 120): Promise<number> {
  const names = specs.map(() => `bench-${(number += 1)}`);
  const left = new Set(names);
  const failed: string[] = [];
  const done = Promise.withResolvers<void>();
  await using following = setting.admin.follow(workflows, {
    namespace: "default",
    onChange: (now) => {
      const name = now?.metadata.name ?? "";
      if (!now || !isOver(now) || !left.delete(name)) return;
      if (recordOf(now["status"])["phase"] !== "Succeeded") failed.push(name);
      if (left.size === 0) done.resolve();
    },
  });
  await following.ready;
  const begun = performance.now();
  await Promise.all(specs.map((spec, at) => setting.submit(names[at] ?? "", spec)));
  await Promise.race([done.promise, sleep(seconds * 1000, undefined, { ref: false })]);
  if (left.size > 0)
    throw new Error(`${left.size} of ${names.length} workflows did not end in ${seconds} s`);
  if (failed.length > 0) throw new Error(`${failed.length} workflows failed`);
  return performance.now() - begun;
}

async function median(spec: () => Json, rounds: number): Promise<number> {
  const times: number[] = [];
  for (let round = 0; round < rounds; round += 1) times.push(await measure([spec()]));
  return Math.round(times.toSorted((left, right) => left - right)[Math.floor(rounds / 2)] ?? 0);
}

interface Rows {
  readonly oneMs: number;
  readonly chain10Ms: number;
  readonly loop10Ms: number;
  readonly loop100Ms: number;
  readonly loop1000Ms: number;
  readonly workflows100Ms: number;
}

async function rows(): Promise<Rows> {
  await measure([one()]);
  return {
    oneMs: await median(one, 7),
    chain10Ms: await median(() => chain(10), 3),
    loop10Ms: await median(() => loop(10), 5),
    loop100Ms: await median(() => loop(100), 3),
    loop1000Ms: await median(() => loop(1000), 3),
    workflows100Ms: Math.round(await measure(Array.from({ length: 100 }, one))),
  };
}

const results: Record<string, unknown> = {};
for (const requeueMs of [20, 100]) {
  const key = `requeue${requeueMs}`;
  {
    await using stack = new AsyncDisposableStack();
    stack.use(await setting.controller({ requeueMs, onError: () => undefined }));
    await using agent = await createAgent({
      cluster: setting.admin,
      executors: [
        {
          accepts: () => true,
          execute: async () => ({ phase: "Succeeded", outputs: { result: "1" } }),
        },
      ],
    });
    await agent.ready;
    say(`requeue after ${requeueMs} ms, an agent that answers at once`);
    results[`${key}AtOnce`] = await rows();
  }
  await clear();
  await using stack = new AsyncDisposableStack();
  stack.use(await setting.controller({ requeueMs, onError: () => undefined }));
  await using agent = await started();
  say(`requeue after ${requeueMs} ms, ours`);
  await measure([one()]);
  const before = await totals();
  await median(one, 15);
  const after = await totals();
  const mine = await rows();
  const steady = await measure(Array.from({ length: 20 }, () => loop(50)));
  results[key] = {
    ...mine,
    ourPartOfOneMs: {
      p50: round(quantile(before, after, 0.5)),
      p99: round(quantile(before, after, 0.99)),
    },
    steadyStepsPerSecond: Math.round(1000 / (steady / 1000)),
    agent: usageOf(agent),
  };
  await clear();
}

{
  say("an idle agent, without and with 5,000 finished workflows");
  const idle = async (): Promise<object> => {
    await using agent = await started();
    await sleep(3000);
    const before = usageOf(agent);
    await sleep(10_000);
    const after = usageOf(agent);
    return {
      percentOfACore: round((after.cpuSeconds - before.cpuSeconds) * 10),
      residentMib: after.residentMib,
      withRunnersMib: after.allMib,
    };
  };
  const alone = await idle();
  for (let from = 0; from < 5000; from += 50) {
    await Promise.all(Array.from({ length: 50 }, (_, at) => finished(`done-${from + at}`)));
  }
  results["idle"] = { alone, beside5000: await idle() };
}

async function finished(name: string): Promise<void> {
  const labels = { "workflows.argoproj.io/completed": "true" };
  const workflow = await setting.admin.create(workflows, {
    apiVersion: "argoproj.io/v1alpha1",
    kind: "Workflow",
    metadata: { name, namespace: "default", labels },
    spec: { ...one() },
    status: { phase: "Succeeded" },
  });
  await setting.admin.create(taskSets, {
    apiVersion: "argoproj.io/v1alpha1",
    kind: "WorkflowTaskSet",
    metadata: {
      name,
      namespace: "default",
      labels,
      ownerReferences: [
        {
          apiVersion: "argoproj.io/v1alpha1",
          kind: "Workflow",
          name,
          uid: workflow.metadata.uid ?? "",
        },
      ],
    },
    spec: {},
  });
}

async function clear(): Promise<void> {
  for (const kind of [workflows, taskSets]) {
    const { items } = await setting.admin.list(kind, { namespace: "default" });
    const remove = ({ metadata }: KubeObject): Promise<void> =>
      setting.admin.delete(kind, metadata.name ?? "", { namespace: "default" });
    for (let from = 0; from < items.length; from += 20)
      await Promise.all(items.slice(from, from + 20).map(remove));
  }
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}

const [cpu] = cpus();
const machine = `${cpus().length} × ${cpu?.model.replace(/ @.*/, "") ?? "?"}, Node ${process.version}`;
const all = { machine, ...results };
process.stdout.write(
  asJson ? `${JSON.stringify(all)}\n` : `${JSON.stringify(all, undefined, 2)}\n`,
);
process.exit(0);
