import { readFile } from "node:fs/promises";
import { request as httpRequest, type IncomingMessage } from "node:http";
import { request as httpsRequest } from "node:https";
import { setTimeout as sleep } from "node:timers/promises";
import { Failure, toFailure } from "../../errors/mod.ts";
import { isRecord, listOf, recordOf, textOf } from "../../kubernetes/mod.ts";
import { parseDurationMs } from "../../limits/mod.ts";
import { connectionProblem, readAll } from "../../network/mod.ts";
import type { NodeOutputs, NodeResult, Step, StepExecutor, Template } from "../model.ts";

export interface ForeignPlugin {
  /** The key below `plugin:`. */
  readonly key: string;
  /** Without the path of the protocol. */
  readonly url: URL;
  /** Its content is sent as a bearer token. */
  readonly tokenFile?: string;
}

const path = "api/v1/template.execute";
/** As Argo's own client has it. */
const callMs = 30_000;
const attempts = 5;
const firstWaitMs = 1000;
const answerBytes = 4 * 1024 * 1024;
/** A plugin that asks to be asked again at once. */
const leastRequeueMs = 100;

/** Executes templates of other plugins by asking those who serve them. */
export function createForeignSteps(
  plugins: readonly ForeignPlugin[],
  options: { readonly firstWaitMs?: number } = {},
): StepExecutor {
  return new ForeignSteps(plugins, options.firstWaitMs ?? firstWaitMs);
}

class ForeignSteps implements StepExecutor {
  readonly #plugins: ReadonlyMap<string, ForeignPlugin>;
  readonly #firstWaitMs: number;

  constructor(plugins: readonly ForeignPlugin[], waitMs: number) {
    this.#plugins = new Map(plugins.map((plugin) => [plugin.key, plugin]));
    this.#firstWaitMs = waitMs;
  }

  accepts(template: Template): boolean {
    return this.#pluginOf(template) !== undefined;
  }

  async execute(step: Step, { signal }: { readonly signal: AbortSignal }): Promise<NodeResult> {
    const plugin = this.#pluginOf(step.template);
    if (!plugin) return nobody;
    const { namespace, name, uid } = step.workflow;
    const body = JSON.stringify({
      workflow: { metadata: { name, namespace, uid } },
      template: step.template,
    });
    try {
      for (;;) {
        const { node, requeueMs } = await this.#ask(plugin, body, signal);
        if (!node) return nobody;
        if (requeueMs === undefined || node.phase === "Succeeded" || node.phase === "Error")
          return node;
        await sleep(Math.max(leastRequeueMs, requeueMs), undefined, { signal });
      }
    } catch (thrown) {
      return { phase: "Failed", message: toFailure(thrown).message };
    }
  }

  #pluginOf({ plugin }: Template): ForeignPlugin | undefined {
    const [key = ""] = isRecord(plugin) ? Object.keys(plugin) : [];
    return this.#plugins.get(key);
  }

  async #ask(
    plugin: ForeignPlugin,
    body: string,
    signal: AbortSignal,
  ): Promise<{ readonly node?: NodeResult; readonly requeueMs?: number }> {
    for (let attempt = 1, waitMs = this.#firstWaitMs; ; attempt += 1, waitMs *= 2) {
      try {
        const { status, text } = await send(plugin, body, signal);
        if (status === 200) return read(text, plugin);
        if (status === 404) return {};
        const failure = new Failure("network-failed", `${status}: ${text.slice(0, 1000)}`);
        if (status !== 503 || attempt === attempts) throw failure;
      } catch (thrown) {
        signal.throwIfAborted();
        const again = thrown instanceof Failure && thrown.code === "network-busy";
        if (!again || attempt === attempts) throw thrown;
      }
      await sleep(waitMs * (1 + 0.2 * Math.random()), undefined, { signal });
    }
  }
}

const nobody: NodeResult = { phase: "Failed", message: "no plugin executed the template" };

async function send(
  { url, tokenFile, key }: ForeignPlugin,
  body: string,
  signal: AbortSignal,
): Promise<{ readonly status: number; readonly text: string }> {
  const token = tokenFile === undefined ? undefined : (await readFile(tokenFile, "utf8")).trim();
  const bytes = Buffer.from(body);
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  const late = AbortSignal.timeout(callMs);
  try {
    const target = new URL(path, url.href.endsWith("/") ? url : `${url.href}/`);
    const request = (url.protocol === "https:" ? httpsRequest : httpRequest)(
      target,
      {
        method: "POST",
        agent: false,
        signal: AbortSignal.any([signal, late]),
        headers: {
          "content-type": "application/json",
          "content-length": bytes.length,
          ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
        },
      },
      resolve,
    );
    request.on("error", reject);
    request.end(bytes);
    const response = await promise;
    const answer = await readAll(
      response,
      answerBytes,
      () =>
        new Failure(
          "network-failed",
          `The plugin "${key}" answers with more than ${answerBytes} bytes`,
        ),
    );
    return { status: response.statusCode ?? 0, text: answer.toString() };
  } catch (thrown) {
    signal.throwIfAborted();
    if (thrown instanceof Failure) throw thrown;
    const why = late.aborted ? `no answer in ${callMs / 1000} s` : connectionProblem(thrown).reason;
    throw new Failure(
      "network-busy",
      `The plugin "${key}" at ${url.origin} cannot be asked: ${why}`,
      {
        cause: thrown,
      },
    );
  }
}

const phases: ReadonlySet<string> = new Set(["Pending", "Running", "Succeeded", "Failed", "Error"]);

function read(
  text: string,
  { key }: ForeignPlugin,
): { readonly node?: NodeResult; readonly requeueMs?: number } {
  let answer: unknown;
  try {
    answer = JSON.parse(text);
  } catch (cause) {
    throw new Failure("network-failed", `The answer of the plugin "${key}" is no JSON`, { cause });
  }
  const node = recordOf(answer)["node"];
  if (!isRecord(node)) return {};
  const requeue = textOf(recordOf(answer)["requeue"]);
  const phase = textOf(node["phase"]) ?? "";
  if (!phases.has(phase)) {
    throw new Failure("network-failed", `The plugin "${key}" answers with the phase "${phase}"`);
  }
  const message = textOf(node["message"]);
  const { outputs } = node;
  return {
    node: {
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- it is one of them
      phase: phase as NodeResult["phase"],
      ...(message === undefined ? {} : { message }),
      ...(isRecord(outputs) ? { outputs: outputsOf(outputs) } : {}),
    },
    ...(requeue === undefined ? {} : { requeueMs: parseDurationMs(requeue) }),
  };
}

function outputsOf(outputs: Readonly<Record<string, unknown>>): NodeOutputs {
  const { result, exitCode, parameters, artifacts } = outputs;
  return {
    ...(typeof result === "string" ? { result } : {}),
    ...(typeof exitCode === "string" ? { exitCode } : {}),
    ...(Array.isArray(parameters) ? { parameters: listOf(parameters).map(recordOf) } : {}),
    ...(Array.isArray(artifacts) ? { artifacts: listOf(artifacts).map(recordOf) } : {}),
  };
}
