import assert from "node:assert/strict";
import { globSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join, resolve } from "node:path";
import { describe, test } from "node:test";
import { openArtifactStore, type ArtifactStore } from "../src/artifacts/mod.ts";
import { createLocalDispatcher } from "../src/dispatch/mod.ts";
import { readBundle } from "../src/document/mod.ts";
import { createRunners } from "../src/runner/mod.ts";
import { createTaskRunner, type ArtifactSource } from "../src/task/mod.ts";
import {
  openJournal,
  runWorkflow,
  type Requested,
  type RunNode,
  type RunState,
} from "../src/workflow/mod.ts";

/**
 * Each `workflows/NAME.yaml` is run with real guests, and its tree of nodes compared with `NAME.json`: what Argo's own controller
 * (v4.1.2) made of the same document, its plugin tasks answered as the guest `act` would.
 */
const folder = resolve(import.meta.dirname, "workflows");

interface Expected {
  readonly phase: string;
  readonly message?: string;
  readonly parameters?: Readonly<Record<string, string>>;
  readonly nodes: readonly ExpectedNode[];
}

interface ExpectedNode {
  readonly id: string;
  readonly name: string;
  readonly displayName: string;
  readonly type: string;
  readonly template?: string;
  readonly boundary?: string;
  readonly phase: string;
  readonly message?: string;
  readonly inputs?: Readonly<Record<string, string>>;
  readonly result?: string;
  readonly exitCode?: string;
  readonly parameters?: Readonly<Record<string, string>>;
  readonly artifacts?: Readonly<Record<string, string>>;
}

/** `# act: stop 700` in a document: what a user asks of the run so many milliseconds after its start. */
const asked: Readonly<Record<string, Requested>> = {
  stop: { type: "shutdown", strategy: "Stop" },
  terminate: { type: "shutdown", strategy: "Terminate" },
  resume: { type: "resumed" },
};

async function run(file: string, artifacts: ArtifactStore, data: string): Promise<RunState> {
  const text = readFileSync(file, "utf8");
  const { bundle, problems } = readBundle([{ file, text }], { folder });
  assert.deepEqual(problems, []);
  assert(bundle);
  const name = bundle.workflow.metadata.name ?? "";
  await using runner = createTaskRunner({
    runners: createRunners(),
    artifacts,
  });
  await using dispatcher = createLocalDispatcher({ runner });
  using journal = openJournal({ folder: data });
  const begin = {
    name,
    uid: `uid-of-${name}`,
    namespace: "default",
    bundle,
    parameters: {},
    artifacts: {},
  };
  using claim = journal.create(begin, Date.now());
  const [, act = "", time = ""] = /^# act: (\w+) (\d+)$/m.exec(text) ?? [];
  const request = asked[act];
  // Asked from outside, as another process would.
  using outside = openJournal({ folder: data });
  const timer = request && setTimeout(() => outside.request(name, request), Number(time));
  try {
    return await runWorkflow({ claim, dispatcher });
  } finally {
    clearTimeout(timer);
  }
}

async function content(source: ArtifactSource, artifacts: ArtifactStore): Promise<string> {
  if (source.kind === "raw") return `raw:${source.data}`;
  if (source.kind === "key") return `key:${source.key}`;
  if (source.kind === "store") return `store:${JSON.stringify(source.place)}`;
  const mounted = await artifacts.content(source.artifact, source.subPath);
  const parts: string[] = [];
  const entries =
    mounted.kind === "directory" ? mounted.entries : [{ ...mounted, path: "" } as const];
  for (const entry of entries) {
    if (entry.kind !== "file") continue;
    const { content } = entry;
    const bytes =
      content.kind === "bytes"
        ? content.bytes
        : readFileSync(content.path).subarray(content.offset, content.offset + content.size);
    const text = Buffer.from(bytes).toString();
    parts.push(mounted.kind === "file" ? `file:${text}` : `/${entry.path}=${text}`);
  }
  return mounted.kind === "file" ? (parts[0] ?? "") : `folder:${parts.toSorted().join(",")}`;
}

async function shown(
  node: RunNode,
  nodes: ReadonlyMap<string, RunNode>,
  artifacts: ArtifactStore,
): Promise<ExpectedNode> {
  const nameOf = (id: string): string => nodes.get(id)?.name ?? `no node ${id}`;
  const { outputs } = node;
  const inputs = Object.fromEntries(
    (node.inputs?.parameters ?? []).map((item) => [item.name, item.value] as const),
  );
  const parameters = Object.fromEntries(
    (outputs?.parameters ?? []).map((item) => [item.name, item.value] as const),
  );
  const files: Record<string, string> = {};
  for (const { name, artifact } of outputs?.artifacts ?? [])
    files[name] = await content(artifact, artifacts);
  return {
    id: node.id,
    name: node.name,
    displayName: node.displayName,
    type: node.type,
    ...(node.template === undefined ? {} : { template: node.template.replace(/^.*\//, "") }),
    ...(node.boundary === undefined ? {} : { boundary: nameOf(node.boundary) }),
    phase: node.phase,
    ...(node.message === undefined ? {} : { message: node.message }),
    ...(Object.keys(inputs).length === 0 ? {} : { inputs }),
    ...(outputs?.result === undefined ? {} : { result: outputs.result }),
    ...(outputs?.exitCode === undefined ? {} : { exitCode: String(outputs.exitCode) }),
    ...(Object.keys(parameters).length === 0 ? {} : { parameters }),
    ...(Object.keys(files).length === 0 ? {} : { artifacts: files }),
  };
}

describe(
  "workflows end with the tree of nodes that Argo's controller makes",
  { concurrency: 4 },
  () => {
    for (const file of globSync("*.yaml", { cwd: folder }).toSorted()) {
      test(basename(file, ".yaml"), { timeout: 15_000 }, async () => {
        const data = mkdtempSync(join(tmpdir(), "atalanta-workflows-"));
        try {
          const artifacts = await openArtifactStore({ folder: join(data, "artifacts") });
          const state = await run(join(folder, file), artifacts, data);
          const expected = JSON.parse(
            readFileSync(join(folder, file.replace(/yaml$/, "json")), "utf8"),
          ) as Expected;
          const nodes = await Promise.all(
            [...state.nodes.values()]
              .toSorted((left, right) => (left.name < right.name ? -1 : 1))
              .map((node) => shown(node, state.nodes, artifacts)),
          );
          const kept = new Set(
            nodes.filter((node) => node.result !== undefined).map(({ id }) => id),
          );
          assert.deepEqual(
            nodes.map((node, at) => {
              // Argo has no name for a template written where it is used; ours is that of the step.
              const { template: _template, ...rest } = node;
              return expected.nodes[at]?.template === undefined ? rest : node;
            }),
            // A result that nothing reads is not kept.
            expected.nodes.map(({ result, ...node }) =>
              kept.has(node.id) && result !== undefined ? { ...node, result } : node,
            ),
          );
          const children = [...state.nodes.values()].flatMap((node) => node.children);
          assert.equal(new Set(children).size, children.length, "a node is the child of one other");
          assert.equal(state.phase, expected.phase);
          assert.equal(state.message, expected.message);
          const shared = Object.fromEntries(
            state.outputs.parameters.map((item) => [item.name, item.value] as const),
          );
          for (const [name, value] of Object.entries(expected.parameters ?? {}))
            assert.equal(shared[name], value);
        } finally {
          rmSync(data, { recursive: true, force: true });
        }
      });
    }
  },
);
