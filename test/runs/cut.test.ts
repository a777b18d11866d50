import assert from "node:assert/strict";
import { globSync, readFileSync } from "node:fs";
import { basename, join, resolve } from "node:path";
import { describe, test } from "node:test";
import { readBundle } from "../../src/document/mod.ts";
import { createPlanner, type RunEvent } from "../../src/workflow/plan/mod.ts";
import { beginRun, openJournal, runWorkflow, type RunState } from "../../src/workflow/mod.ts";
import { freshFolder, openSetting } from "./setting.ts";

/** Most places at which one workflow is cut. */
const cuts = 12;
const folder = resolve(import.meta.dirname, "../workflows");

function told({ phase, message, outputs, nodes }: RunState) {
  return {
    phase,
    message,
    outputs,
    nodes: [...nodes.values()]
      .map((node) => ({
        name: node.name,
        type: node.type,
        phase: node.phase,
        message: node.message,
        outputs: node.outputs,
        children: node.children.length,
      }))
      .toSorted((left, right) => (left.name < right.name ? -1 : 1)),
  };
}

/** What a process that died after these events has left in its journal. */
function leave(
  path: string,
  begin: Parameters<typeof createPlanner>[0],
  events: readonly RunEvent[],
): void {
  using journal = openJournal({ folder: path });
  using claim = journal.create(begin, events[0]?.at ?? 0);
  const planner = createPlanner(begin);
  for (const event of events) planner.apply(event);
  const { phase, message, finishedAt, suspended, progress } = planner.state;
  claim.append(events, {
    phase,
    ...(message === undefined ? {} : { message }),
    ...(finishedAt === undefined ? {} : { finishedAt }),
    suspended,
    progress: { ...progress },
  });
}

describe(
  "a run that dies after any of its records comes to the same end when it is resumed",
  { concurrency: 4 },
  () => {
    for (const file of globSync("*.yaml", { cwd: folder }).toSorted()) {
      const text = readFileSync(join(folder, file), "utf8");
      // What a person asks at a time has another effect when the time is another one.
      if (/^# act:/m.test(text)) continue;
      test(basename(file, ".yaml"), { timeout: 60_000 }, async () => {
        const { bundle } = readBundle([{ file, text }], { folder });
        assert(bundle);
        const home = freshFolder();
        await using setting = await openSetting(home);
        using claim = beginRun({ ...setting, bundle });
        const whole = told(await runWorkflow({ ...setting, claim }));
        const { begin, events: recorded } = setting.journal.read(claim.name);
        const events = [...recorded];
        const stride = Math.max(1, Math.ceil(events.length / cuts));
        const works = new Set(setting.dispatched).size;
        for (let count = 1; count < events.length; count += stride) {
          const path = join(home, `cut-${count}`);
          leave(path, begin, events.slice(0, count));
          using journal = openJournal({ folder: path });
          using again = journal.claim(claim.name);
          setting.dispatched.length = 0;
          // As if the next process had begun at once: deadlines do not wait for the dead.
          const late = Date.now() - (events[count - 1]?.at ?? 0);
          const now = (): number => Date.now() - late;
          const state = await runWorkflow({ ...setting, claim: again, now });
          assert.deepEqual(told(state), whole, `cut after ${count} of ${events.length}`);
          const accepted = events
            .slice(0, count)
            .filter((event) => event.type === "ended")
            .map(({ node, attempt }) => `${begin.uid}/${node}/${attempt}`);
          for (const key of accepted) assert.ok(!setting.dispatched.includes(key), key);
          assert.ok(new Set(setting.dispatched).size <= works);
        }
      });
    }
  },
);
