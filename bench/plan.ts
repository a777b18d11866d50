// Events a second of the planner, and the live heap that a finished item of a loop keeps.
// node --expose-gc bench/plan.ts [--json]
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import type { Bundle, Step, Template } from "../src/document/mod.ts";
import type { TaskResult } from "../src/task/mod.ts";
import { createPlanner, type Planner, type Work } from "../src/workflow/plan/mod.ts";

setFlagsFromString("--expose-gc");
// oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the flag above makes it a function
const collect = runInNewContext("gc") as () => void;

const say: Template = {
  name: "say",
  inputs: { parameters: [{ name: "text" }] },
  wasm: { module: "say.wasm", args: ["{{inputs.parameters.text}}"] },
};

function bundle(main: Template): Bundle {
  return {
    workflow: {
      apiVersion: "argoproj.io/v1alpha1",
      kind: "Workflow",
      metadata: { name: "bench" },
      spec: { entrypoint: "main", templates: [main, say] },
    },
    library: {},
    configMaps: {},
    places: {},
    folder: "/",
  };
}

function step(name: string, text: string, more: Partial<Step> = {}): Step {
  return {
    name,
    template: "say",
    arguments: { parameters: [{ name: "text", value: text }] },
    ...more,
  };
}

const items = 10_000;
const tasks = 5000;

const loop: Template = {
  name: "main",
  steps: [
    [step("each", "item {{item}}", { withSequence: { count: items } })],
    [step("all", "{{steps.each.outputs.result}}")],
  ],
};

const chain: Template = {
  name: "main",
  steps: Array.from({ length: tasks }, (_, at) => [
    step(`s${at}`, at === 0 ? "first" : `{{steps.s${at - 1}.outputs.result}}`),
  ]),
};

const graph: Template = {
  name: "main",
  dag: {
    tasks: Array.from({ length: tasks }, (_, at) =>
      step(
        `t${at}`,
        at < 10 ? "first" : `{{tasks.t${at - 10}.outputs.result}}`,
        at < 10 ? {} : { dependencies: [`t${at - 10}`, `t${at - 10 + ((at * 7) % 9)}`] },
      ),
    ),
  },
};

let clock = Date.UTC(2026, 0, 1);

/** As the task runner reports it: values that no two results share. */
function result(work: Work): TaskResult {
  return {
    phase: "Succeeded",
    exitCode: 0,
    outputs: { result: `done ${work.nodeName.length}`, parameters: [], artifacts: [] },
    timings: {
      queueMs: Math.random(),
      pullMs: 0,
      compileMs: 0,
      instantiateMs: Math.random() / 10,
      runMs: Math.random() * 10,
      artifactsMs: Math.random(),
    },
    usage: {
      cpuMs: Math.random() * 10,
      wallMs: Math.random() * 10,
      memoryBytes: 1_114_112,
      filesCreated: 1,
      filesBytesWritten: 9,
    },
  };
}

function create(main: Template): Planner {
  return createPlanner({
    name: "bench",
    uid: "00000000-0000-4000-8000-000000000000",
    namespace: "default",
    bundle: bundle(main),
    parameters: {},
    artifacts: {},
  });
}

/** Plays a run to its end, and counts its events. */
function play(planner: Planner): number {
  const open: (Work | undefined)[] = [];
  let events = 1;
  const take = (effects: ReturnType<Planner["apply"]>): void => {
    for (const effect of effects) if (effect.type === "start") open.push(effect.work);
    planner.changed();
  };
  take(planner.apply({ type: "begun", at: clock }));
  for (let next = 0; next < open.length; next += 1) {
    const work = open[next];
    if (!work) continue;
    clock += 1;
    const { node, attempt } = work;
    take(
      planner.apply({
        type: "ended",
        at: clock,
        node,
        attempt,
        startedAt: clock - 1,
        result: result(work),
      }),
    );
    events += 1;
    // What has been done is forgotten, as a run loop forgets it.
    open[next] = undefined;
  }
  if (planner.state.phase !== "Succeeded") throw new Error(planner.state.message);
  return events;
}

/** On its own, so that nothing of it is left on the stack. */
function warm(main: Template): void {
  play(create(main));
}

function measure(name: string, main: Template) {
  warm(main);
  collect();
  const before = process.memoryUsage().heapUsed;
  const planner = create(main);
  const start = performance.now();
  const events = play(planner);
  const tookMs = performance.now() - start;
  collect();
  const heap = process.memoryUsage().heapUsed - before;
  return {
    name,
    events,
    eventsPerSecond: Math.round((events / tookMs) * 1000),
    heapBytesPerItem: Math.round(heap / planner.state.progress.done),
  };
}

const report = [
  measure(`a loop of ${items}`, loop),
  measure(`a chain of ${tasks} groups`, chain),
  measure(`a DAG of ${tasks} tasks`, graph),
];
process.stdout.write(`${JSON.stringify(report, null, process.argv.includes("--json") ? 0 : 2)}\n`);
