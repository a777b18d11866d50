import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { after } from "node:test";
import { openArtifactStore } from "../../src/artifacts/mod.ts";
import { createLocalDispatcher, type Dispatcher } from "../../src/dispatch/mod.ts";
import type { Bundle, Step, Template } from "../../src/document/mod.ts";
import { createRunners } from "../../src/runner/mod.ts";
import { createTaskRunner } from "../../src/task/mod.ts";
import { openJournal, type Journal } from "../../src/workflow/mod.ts";

export const guests: string = resolve(import.meta.dirname, "../guests");
export const probe: string = join(guests, "probe/probe.wasm");

/** A workflow whose entrypoint `main` has these steps. */
export function bundle(
  steps: readonly (readonly Step[])[],
  templates: readonly Template[],
  more: Partial<Bundle["workflow"]["spec"]> = {},
): Bundle {
  return {
    workflow: {
      apiVersion: "argoproj.io/v1alpha1",
      kind: "Workflow",
      metadata: { generateName: "t-" },
      spec: { entrypoint: "main", templates: [{ name: "main", steps }, ...templates], ...more },
    },
    library: {},
    configMaps: {},
    places: {},
    folder: guests,
  };
}

/** A template that runs the probe guest. */
export function leaf(
  name: string,
  command: readonly string[],
  more: Partial<Template> = {},
): Template {
  return { name, wasm: { module: probe, command }, ...more };
}

export interface Setting extends AsyncDisposable {
  readonly folder: string;
  readonly journal: Journal;
  readonly dispatcher: Dispatcher;
  /** Keys of the tasks that were handed over, in order. */
  readonly dispatched: string[];
  /** How many were under way at once, at most. */
  readonly most: () => number;
}

const base = mkdtempSync(join(tmpdir(), "atalanta-test-"));
after(() => rmSync(base, { recursive: true, force: true }));
let folders = 0;
export const freshFolder = (): string => join(base, `home-${folders++}`);

/** A journal and an engine of its own; the dispatcher writes down what it is given. */
export async function openSetting(folder: string = freshFolder()): Promise<Setting> {
  const journal = openJournal({ folder });
  const artifacts = await openArtifactStore({ folder: join(folder, "artifacts") });
  const runner = createTaskRunner({ runners: createRunners(), artifacts });
  const local = createLocalDispatcher({ runner });
  const dispatched: string[] = [];
  let under = 0;
  let most = 0;
  const dispatcher: Dispatcher = {
    capacity: local.capacity,
    async dispatch(task, options) {
      dispatched.push(task.key);
      most = Math.max(most, ++under);
      try {
        return await local.dispatch(task, options);
      } finally {
        under -= 1;
      }
    },
    [Symbol.asyncDispose]: () => local[Symbol.asyncDispose](),
  };
  return {
    folder,
    journal,
    dispatcher,
    dispatched,
    most: () => most,
    async [Symbol.asyncDispose]() {
      await local[Symbol.asyncDispose]();
      await runner[Symbol.asyncDispose]();
      journal[Symbol.dispose]();
    },
  };
}
