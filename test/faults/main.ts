// `npm run test:faults -- [FILE ARGUMENT…]`: ATALANTA_RUNS runs (default 100) of a workflow, each killed with SIGKILL at random moments (ATALANTA_SEED) and resumed.
import { disturb } from "./faults.ts";

const given = process.argv.slice(2);
const workflow =
  given.length > 0
    ? given
    : ["examples/letterflow/workflow.yaml", "-a", "doc=examples/letterflow/letter.tiff"];
const runs = Number(process.env["ATALANTA_RUNS"] ?? 100);
const seed = Number(process.env["ATALANTA_SEED"] ?? Date.now() % 1_000_000);

process.stdout.write(`${runs} runs of ${workflow.join(" ")}, ATALANTA_SEED=${seed}\n`);
const report = await disturb({
  workflow,
  runs,
  seed,
  say: (line) => process.stdout.write(`${line}\n`),
});
const { beforeBegin, underWay, afterEnd } = report.kills;
const spread = [...report.acceptedAtKill]
  .toSorted(([left], [right]) => left - right)
  .map(([accepted, times]) => `${accepted}: ${times}`)
  .join(", ");
process.stdout.write(
  `${report.runs} runs give what the undisturbed one (${report.undisturbedMs.toFixed(0)} ms) gives.
${beforeBegin + underWay + afterEnd} processes were killed: ${beforeBegin} before the run began, ${underWay} under way, ${afterEnd} after it had ended.
Steps accepted at a kill under way, and how often: ${spread}
No record was lost or changed, no step was accepted twice or ran after it was accepted; ${report.repeated} that had not been accepted ran again.
`,
);
