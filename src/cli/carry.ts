import { Option, type Command } from "commander";
import type { Bundle } from "../document/mod.ts";
import { collectArtifacts, type RunState, type RunWorkflowOptions } from "../workflow/mod.ts";
import { parseTrust } from "../runner/mod.ts";
import { finish } from "./finish.ts";
import { interrupted } from "./interrupt.ts";
import { openHome } from "./journal.ts";
import { allowAddressHelp, collect, configHelp, limitHelp, positive } from "./options.ts";
import { OutputLines } from "./output.ts";
import { prepareFolder } from "./outputs.ts";
import { printFailure } from "./print.ts";
import { progressFor } from "./progress.ts";
import { openSession, type Session } from "./session.ts";
import { paintFor } from "./style.ts";

/** Options of every command that runs steps in this process. */
export interface RunOptions {
  readonly image: readonly string[];
  readonly allowHost: readonly string[];
  readonly allowAddress: readonly string[];
  readonly config?: string;
  readonly trust?: string;
  readonly limit: readonly string[];
  readonly outputDir?: string;
  readonly nats: readonly string[];
  readonly maxParallel?: number;
  readonly json?: boolean;
  readonly quiet?: boolean;
  readonly progress: boolean;
  readonly log?: boolean;
  readonly durability?: "normal" | "full";
}

const allowHostHelp =
  "let steps that ask for it reach a host, such as https://*.example.com/v1/ (repeatable)";

export const trustHelp =
  "how far guests are kept from others: thread (default), or process for strangers' modules";

/** Adds them to a command. */
export function runOptions(command: Command): Command {
  return command
    .option("--image <reference=file>", "use a module file for an image (repeatable)", collect, [])
    .option("--allow-host <host>", allowHostHelp, collect, [])
    .option("--allow-address <range>", allowAddressHelp, collect, [])
    .option("--config <file>", configHelp)
    .option("--trust <class>", trustHelp)
    .option("--limit <key=value>", limitHelp, collect, [])
    .option("--output-dir <folder>", "write the workflow's output artifacts there")
    .option(
      "--nats <url>",
      "let the runners of a broker run the steps: nats://HOST:4222 (repeatable)",
      collect,
      [],
    )
    .option("--max-parallel <n>", "steps that run at once (default 8)", positive("--max-parallel"))
    .option("--log", "show what the steps print, as it comes")
    .option("--no-progress", "lines instead of a tree on a terminal")
    .option("--quiet", "nothing but failures")
    .option("--json", "events as one line of JSON each")
    .addOption(
      new Option("--durability <setting>", "full: also a loss of power loses nothing").choices([
        "normal",
        "full",
      ]),
    );
}

type How = Pick<
  RunWorkflowOptions,
  "dispatcher" | "signal" | "onChange" | "onOutput" | "onNotice" | "onTransfer" | "resolveImage"
>;

/**
 * Lets `work` carry a run on with a session for its steps, shows its progress, and reports its end. Without a state at the end, another
 * process has the run and there is nothing to report.
 */
export async function carryOut(
  { bundle, options }: { readonly bundle: Bundle; readonly options: RunOptions },
  work: (session: Session, how: How) => Promise<RunState | void>,
): Promise<void> {
  if (options.outputDir !== undefined) await prepareFolder(options.outputDir);
  await using session = await openSession({
    bundle,
    images: options.image,
    allowHosts: options.allowHost,
    allowAddresses: options.allowAddress,
    ...(options.trust === undefined ? {} : { trust: parseTrust(options.trust, "--trust") }),
    ...(options.config === undefined ? {} : { config: options.config }),
    limits: options.limit,
    ...(options.nats.length === 0 ? {} : { nats: { servers: options.nats } }),
    ...(options.maxParallel === undefined ? {} : { maxParallel: options.maxParallel }),
    ...(options.durability === undefined ? {} : { durability: options.durability }),
  });
  const state = await shown(session, options, work);
  if (state?.finishedAt !== undefined) await letGo(state.begin.name, session, options);
  if (state) {
    const { artifacts, depot } = session;
    await finish(state, { artifacts, depot, ...options });
  }
}

/** Deletes in stores what `artifactGC` lets go of at the end of a run. What fails is told, and tried again when the run is deleted. */
async function letGo(name: string, { depot }: Session, options: RunOptions): Promise<void> {
  using journal = openHome(options.durability);
  const { failures } = await collectArtifacts({
    journal,
    name,
    deletion: false,
    remove: (copy, artifact) => depot.remove(copy, artifact, { signal: interrupted }),
  });
  for (const failure of failures) printFailure(failure, { json: options.json ?? false });
}

/** The progress ends, and leaves its last picture, before anything else is printed. */
async function shown(
  session: Session,
  options: RunOptions,
  work: (session: Session, how: How) => Promise<RunState | void>,
): Promise<RunState | void> {
  using progress = progressFor(options);
  const how = { json: options.json ?? false, paint: paintFor(process.stdout) };
  const output = options.log ? new OutputLines(progress, how) : undefined;
  return await work(session, {
    dispatcher: session.dispatcher,
    resolveImage: session.resolveImage,
    signal: interrupted,
    onChange: (nodes, state) => {
      output?.update(nodes, state.begin.name);
      progress.update(nodes, state);
    },
    onTransfer: (node, transfer) => progress.transfer(node, transfer),
    onNotice: (message) => progress.say(how.json ? message : `note: ${message}`),
    ...(output ? { onOutput: (node, stream, bytes) => output.write(node, stream, bytes) } : {}),
  });
}
