import type { Bundle, Step, Template, WorkflowSpec } from "../../src/document/mod.ts";
import type { Chance } from "../../fuzz/chance.ts";
import { bundleOf } from "./drive.ts";

const seconds = ["1", "2s", "5s", "20"];

/** A workflow of everything: nested steps and DAGs, loops, conditions, retries, hooks, locks, deadlines. */
export function randomBundle(chance: Chance): Bundle {
  const templates: Template[] = [];
  let made = 0;
  const add = (template: Template): string => {
    templates.push(template);
    return template.name;
  };

  function container(depth: number): string {
    made += 1;
    const name = `t${made}`;
    const place = templates.length;
    templates.push({ name });
    const common = {
      name,
      ...(chance.one(4) ? { parallelism: 1 + chance.below(3) } : {}),
      ...(chance.one(6) ? { failFast: true } : {}),
      ...(chance.one(6) ? { retryStrategy: retries() } : {}),
      ...locks(depth),
      ...memory(),
    };
    const word = chance.one(2) ? "steps" : "tasks";
    const body =
      word === "steps"
        ? {
            steps: Array.from({ length: 1 + chance.below(3) }, (_, group) =>
              Array.from({ length: 1 + chance.below(3) }, (_, index) =>
                step(`s${group}${index}`, depth, word, group > 0 ? [`s${group - 1}0`] : []),
              ),
            ),
          }
        : { dag: dag(depth) };
    const read = word === "steps" ? "steps.s00" : "tasks.d0";
    templates[place] = {
      ...common,
      ...body,
      ...(chance.one(5)
        ? {
            outputs: {
              parameters: [
                {
                  name: "out",
                  globalName: "seen",
                  valueFrom: { parameter: `{{${read}.outputs.result}}`, default: "none" },
                },
              ],
            },
          }
        : {}),
    };
    return name;
  }

  function dag(depth: number): NonNullable<Template["dag"]> {
    const count = 1 + chance.below(5);
    const tasks = Array.from({ length: count }, (_, index) => {
      const before = Array.from({ length: index }, (_, at) => `d${at}`).filter(() => chance.one(2));
      const task = step(`d${index}`, depth, "tasks", before);
      if (before.length === 0) return task;
      if (chance.one(2)) return { ...task, dependencies: before };
      const results = ["", ".Succeeded", ".Failed", ".Errored", ".Skipped", ".Omitted"];
      const terms = before.map((name) => {
        const either = `(${name}${chance.pick(results)} || ${name}.Succeeded)`;
        return chance.one(3) ? `${name}${chance.pick(results)}` : either;
      });
      return { ...task, depends: terms.join(chance.one(2) ? " && " : " || ") };
    });
    return {
      tasks,
      ...(chance.one(2) ? { failFast: false } : {}),
      ...(chance.one(6) ? { target: `d${chance.below(count)}` } : {}),
    };
  }

  function step(
    name: string,
    depth: number,
    word: "steps" | "tasks",
    before: readonly string[],
  ): Step {
    const template = depth < 3 && chance.one(3) ? container(depth + 1) : leaf(depth + 1);
    const [first] = before;
    const when = first === undefined ? "1 == 1" : `{{${word}.${first}.status}} == Succeeded`;
    return {
      name,
      template,
      ...loop(),
      ...(chance.one(5) ? { when: chance.one(3) ? "1 == 2" : when } : {}),
      ...(chance.one(5) ? { continueOn: { failed: chance.one(2), error: chance.one(2) } } : {}),
      ...hooks(name, word),
    };
  }

  function loop(): Partial<Step> {
    if (!chance.one(4)) return {};
    const items = Array.from({ length: chance.below(5) }, (_, index) => index);
    if (chance.one(20)) return { withParam: "no list" };
    return chance.pick<Partial<Step>>([
      { withItems: items.length === 0 ? [0] : items },
      { withParam: JSON.stringify(items) },
      { withSequence: { count: chance.below(4) } },
    ]);
  }

  function hooks(name: string, word: string): Partial<Step> {
    if (!chance.one(5)) return {};
    const template = leaf(9, true);
    if (chance.one(3)) return { onExit: template };
    const phase = chance.pick(["Running", "Succeeded", "Failed"]);
    return {
      hooks: {
        ...(chance.one(2) ? { exit: { template } } : {}),
        seen: { template, expression: `${word}.${name}.status == "${phase}"` },
      },
    };
  }

  function retries(): NonNullable<Template["retryStrategy"]> {
    return {
      limit: chance.below(3),
      ...(chance.one(2)
        ? { retryPolicy: chance.pick(["Always", "OnFailure", "OnError", "OnTransientError"]) }
        : {}),
      ...(chance.one(2)
        ? {
            backoff: {
              duration: chance.pick(seconds),
              factor: 1 + chance.below(2),
              ...(chance.one(3) ? { maxDuration: "30s" } : {}),
              ...(chance.one(3) ? { cap: "3s" } : {}),
            },
          }
        : {}),
      ...(chance.one(4) ? { expression: "asInt(lastRetry.exitCode) < 3" } : {}),
    };
  }

  /** Locks of one depth have names of their own, so that nobody waits for each other in a circle. */
  function locks(depth: number): Partial<Template> {
    if (!chance.one(6)) return {};
    return {
      synchronization: chance.one(2)
        ? { mutex: { name: `m${depth}` } }
        : { semaphores: [{ configMapKeyRef: { name: "limits", key: `s${depth}` } }] },
    };
  }

  function memory(): Partial<Template> {
    if (!chance.one(10)) return {};
    const key = `k${chance.below(3)}`;
    return { memoize: { key, maxAge: "1m", cache: { configMap: { name: "cache" } } } };
  }

  function leaf(depth: number, plain = false): string {
    made += 1;
    const name = `t${made}`;
    if (!plain && chance.one(8)) {
      return add({ name, suspend: chance.one(2) ? { duration: chance.pick(seconds) } : {} });
    }
    return add({
      name,
      wasm: { module: "leaf.wasm", args: [argument()] },
      ...(chance.one(4) ? { retryStrategy: retries() } : {}),
      ...(chance.one(8) ? { timeout: chance.pick(seconds) } : {}),
      ...(chance.one(8) ? { activeDeadlineSeconds: 1 + chance.below(10) } : {}),
      ...(plain ? {} : locks(depth)),
      ...(plain ? {} : memory()),
    });
  }

  function argument(): string {
    if (chance.one(80)) return "{{nothing.known}}";
    return chance.one(3) ? "{{=sprig.randAlpha(5)}}" : "{{node.name}}";
  }

  const main = container(0);
  const exit = leaf(9, true);
  const spec: Partial<WorkflowSpec> = {
    entrypoint: main,
    ...(chance.one(3) ? { parallelism: 1 + chance.below(4) } : {}),
    ...(chance.one(6) ? { activeDeadlineSeconds: 5 + chance.below(60) } : {}),
    ...(chance.one(3) ? { onExit: exit } : {}),
    ...(chance.one(20) ? { retryStrategy: { limit: 1 } } : {}),
    ...(chance.one(12) ? { suspend: true } : {}),
    ...(chance.one(12) ? { synchronization: { mutex: { name: "run" } } } : {}),
    ...(chance.one(6)
      ? {
          hooks: {
            seen: {
              template: exit,
              expression: `workflow.status == "${chance.pick(["Running", "Failed", "Succeeded"])}"`,
            },
          },
        }
      : {}),
  };
  const limits = Object.fromEntries(
    Array.from({ length: 10 }, (_, depth) => [`s${depth}`, String(1 + (depth % 3))]),
  );
  return bundleOf(templates, { spec, configMaps: { limits } });
}
