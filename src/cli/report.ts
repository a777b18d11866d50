import type { ArtifactSource } from "../task/mod.ts";
import type { Place as SourcePlace } from "../errors/mod.ts";
import type { Place } from "../places/mod.ts";
import { usageSum, type RunNode, type RunState } from "../workflow/mod.ts";
import { bytes, counted, duration } from "./format.ts";
import { NodeTree, type Branch } from "./nodetree.ts";
import { mark, nodeMessage } from "./phase.ts";
import type { Paint } from "./style.ts";
import { usageText } from "./usage.ts";
import { oneLine, printable, table } from "./text.ts";

/** Failed nodes that are explained one by one. */
const explained = 5;
const steps = ["queue", "pull", "compile", "instantiate", "run", "artifacts"] as const;

/** How a run ended, what came out and where it lies, and where the time went. */
export function endLines(
  state: RunState,
  look: { readonly paint: Paint; readonly files: ReadonlyMap<string, string> },
): string[] {
  const { paint, files } = look;
  const took = duration((state.finishedAt ?? Date.now()) - state.startedAt);
  const leaves = [...state.nodes.values()].filter((node) => node.timings);
  const message = state.message === undefined ? "" : `: ${oneLine(state.message)}`;
  const lines = [
    "",
    `${mark(state.phase, paint)} ${paint("bold", state.begin.name)}: ${state.phase} in ${took}, ${counted(leaves.length, "step")}${message}`,
  ];
  const { parameters, artifacts } = state.outputs;
  if (parameters.length + artifacts.length > 0) lines.push("", paint("bold", "Outputs"));
  const rows = parameters.map(({ name, value }) => [`  ${name}`, "parameter", short(value)]);
  for (const { name, artifact } of artifacts) {
    const file = files.get(name);
    rows.push([
      `  ${name}`,
      "artifact",
      `${described(artifact)}${file === undefined ? "" : `  → ${file}`}`,
    ]);
  }
  lines.push(...table(rows));
  if (leaves.length > 0) lines.push("", ...timeLines(leaves, paint));
  const usage = usageSum(leaves);
  if (usage) lines.push("", `${paint("dim", "used")}  ${usageText(usage)}`);
  return lines;
}

function short(value: string): string {
  const text = oneLine(value);
  return text.length > 200
    ? `${text.slice(0, 200)}… (${counted(value.length, "character")})`
    : text;
}

/** What an artifact is, with its size and digest where it is stored. */
export function described(source: ArtifactSource): string {
  if (source.kind === "raw") return `${bytes(Buffer.byteLength(source.data))}  raw`;
  if (source.kind === "key") return `key ${source.key}`;
  if (source.kind === "store") return placed(source.place);
  const { size, digest, count } = source.artifact;
  const files = count === undefined ? "" : `  ${counted(count, "file")}`;
  const copy = source.copy
    ? `  ${placed(source.copy.place)}${source.copy.deleted ? " (deleted)" : ""}`
    : "";
  return `${bytes(size)}${files}  ${digest.slice(0, "sha256:".length + 16)}${copy}`;
}

/** A place as one word. */
function placed({ s3, gcs, oss, azure, http, artifactory, git }: Place): string {
  if (s3) return oneLine(`s3://${s3.bucket}/${s3.key}`);
  if (gcs) return oneLine(`gs://${gcs.bucket}/${gcs.key}`);
  if (oss) return oneLine(`oss://${oss.bucket}/${oss.key}`);
  if (azure) return oneLine(`${azure.endpoint}/${azure.container}/${azure.blob}`);
  return oneLine(http?.url ?? artifactory?.url ?? git?.repo ?? "");
}

/** A row for each template, with the sum of its steps. */
function timeLines(leaves: readonly RunNode[], paint: Paint): string[] {
  const sums = new Map<string, { count: number; readonly ms: number[] }>();
  const all = { count: 0, ms: steps.map(() => 0) };
  for (const { template = "", timings } of leaves) {
    if (!timings) continue;
    const own = sums.get(template) ?? { count: 0, ms: steps.map(() => 0) };
    sums.set(template, own);
    for (const sum of [own, all]) {
      sum.count += 1;
      for (const [at, step] of steps.entries())
        sum.ms[at] = (sum.ms[at] ?? 0) + timings[`${step}Ms`];
    }
  }
  const rows = [...sums].map(([template, sum]) => ({ name: template, ...sum }));
  if (rows.length > 1) rows.push({ name: "all", ...all });
  const cells = rows.map(({ name, count, ms }) => [
    `  ${oneLine(name)}`,
    String(count),
    ...ms.map((time) => (time === 0 ? "-" : time < 10 ? `${time.toFixed(1)} ms` : duration(time))),
  ]);
  const [head = "", ...body] = table([["  time in", "steps", ...steps], ...cells]);
  return [paint("dim", head), ...body];
}

/** What failed, where it is written, what the program last said, and the commands that look closer. */
export function failureLines(
  state: RunState,
  look: { readonly paint: Paint; readonly places: Readonly<Record<string, SourcePlace>> },
): string[] {
  const { paint, places } = look;
  const failed = failedLeaves(new NodeTree(state.nodes.values()).roots);
  const { name } = state.begin;
  const lines: string[] = [];
  for (const node of failed.slice(0, explained)) {
    const { template } = node;
    const place = template === undefined ? undefined : places[template];
    const where = place ? ` at ${place.file}:${place.line}` : "";
    const code = node.failure ? `[${node.failure.code}]` : "";
    const said =
      node.message === undefined ? node.phase : `${node.phase}${code}: ${nodeMessage(node)}`;
    lines.push(
      "",
      `${mark(node.phase, paint)} ${paint("bold", oneLine(node.name))}  ${paint("red", said)}`,
    );
    if (template !== undefined) lines.push(`  template "${oneLine(template)}"${where}`);
    for (const frame of node.stack ?? []) lines.push(`  at ${oneLine(frame)}`);
    if (node.stderrTail) {
      lines.push(
        "  stderr:",
        ...printable(node.stderrTail)
          .split("\n")
          .map((line) => `  | ${line}`),
      );
    }
    for (const limit of node.limitsReached ?? []) {
      lines.push(
        `  ${paint("cyan", "limit")}: ${oneLine(`${limit.message}. ${limit.hint ?? ""}`)}`,
      );
    }
    const hint = node.failure?.hint;
    if (hint !== undefined) lines.push(`  ${paint("cyan", "hint")}: ${oneLine(hint)}`);
  }
  if (failed.length > explained) lines.push("", `… and ${failed.length - explained} more`);
  const [first] = failed;
  lines.push("", paint("bold", "Look closer"));
  const commands = [[`  atalanta get ${name}`, "the whole tree with messages and outputs"]];
  if (first)
    commands.push([`  atalanta logs ${name} ${shellWord(first.displayName)}`, "what it printed"]);
  commands.push([`  atalanta retry ${name}`, "runs what failed once more, keeps what succeeded"]);
  lines.push(...table(commands));
  return lines;
}

/** The leaves that a failure came from: not those that were retried with success, or whose failure was tolerated. */
function failedLeaves(branches: readonly Branch[]): RunNode[] {
  return branches.flatMap(({ node, children }) => {
    // A group has ended well when the failures in it were tolerated; a loop or group knows how it ended like any other node.
    if (node.phase !== "Failed" && node.phase !== "Error") return [];
    const inside = node.type === "Retry" ? children.slice(-1) : children;
    const causes = failedLeaves(inside);
    return causes.length > 0 ? causes : [node];
  });
}

/** A word as a shell takes it. */
function shellWord(text: string): string {
  return /^[\w.:/@%+=-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}
