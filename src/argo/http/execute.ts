import { Failure, toFailure } from "../../errors/mod.ts";
import { evaluate } from "../../expression/mod.ts";
import { isRecord, listOf, recordOf, textOf } from "../../kubernetes/mod.ts";
import { addressRules, type AddressRules } from "../../network/mod.ts";
import type { NodeResult, Step, StepExecutor, Template } from "../model.ts";
import { sendRequest, type Answer, type Asked } from "./send.ts";

export interface HttpStepsOptions {
  /** Addresses and ranges that requests may go to beside public ones. */
  readonly allowedAddresses: readonly string[];
  /** A key of a secret of the workflow's namespace. Rejects when it is not there. */
  readonly secret: (step: Step, name: string, key: string) => Promise<Uint8Array>;
  /** Certificates (PEM) of authorities to trust instead of Node's own. */
  readonly authorities?: readonly string[];
}

/** A request whose template says no time: Argo's own agent would wait for ever. */
const longestMs = 3_600_000;
const bodyBytes = 8 * 1024 * 1024;

/** Executes templates with `http` as Argo's own agent does: what goes wrong on the way is the step's failure, too. */
export function createHttpSteps(options: HttpStepsOptions): StepExecutor {
  return new HttpSteps(options);
}

class HttpSteps implements StepExecutor {
  readonly #options: HttpStepsOptions;
  readonly #rules: AddressRules;

  constructor(options: HttpStepsOptions) {
    this.#options = options;
    this.#rules = addressRules({ allowedAddresses: options.allowedAddresses });
  }

  accepts({ http }: Template): boolean {
    return isRecord(http);
  }

  async execute(step: Step, { signal }: { readonly signal: AbortSignal }): Promise<NodeResult> {
    const http = recordOf(step.template["http"]);
    let timeoutMs = longestMs;
    try {
      const asked = await this.#asked(step, http);
      timeoutMs = asked.timeoutMs;
      const answer = await sendRequest(asked, {
        rules: this.#rules,
        authorities: this.#options.authorities,
        signal: AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]),
      });
      return outcome(http, asked, answer);
    } catch (thrown) {
      if (signal.aborted) return { phase: "Error", message: "The request was called off" };
      if (thrown instanceof Error && thrown.name === "TimeoutError") {
        return { phase: "Failed", message: `The request took longer than ${timeoutMs / 1000} s` };
      }
      return { phase: "Failed", message: toFailure(thrown).message };
    }
  }

  async #asked(step: Step, http: Readonly<Record<string, unknown>>): Promise<Asked> {
    const headers: (readonly [string, string])[] = [];
    for (const item of listOf(http["headers"]).map(recordOf)) {
      const name = textOf(item["name"]) ?? "";
      const reference = recordOf(recordOf(item["valueFrom"])["secretKeyRef"]);
      const secret = textOf(reference["name"]);
      const value =
        secret === undefined
          ? (textOf(item["value"]) ?? "")
          : Buffer.from(
              await this.#options.secret(step, secret, textOf(reference["key"]) ?? ""),
            ).toString();
      headers.push([name, value]);
    }
    const text = textOf(http["url"]) ?? "";
    const url = URL.parse(text);
    if (url?.protocol !== "http:" && url?.protocol !== "https:") {
      throw new Failure("network-invalid", `"${text.slice(0, 200)}" is no http or https URL`);
    }
    const bytes = textOf(recordOf(http["bodyFrom"])["bytes"]);
    const seconds = Number(http["timeoutSeconds"] ?? 0);
    return {
      method: (textOf(http["method"]) ?? "GET").toUpperCase(),
      url,
      headers,
      body:
        bytes === undefined
          ? Buffer.from(textOf(http["body"]) ?? "")
          : Buffer.from(bytes, "base64"),
      anyCertificate: http["insecureSkipVerify"] === true,
      timeoutMs: seconds > 0 ? Math.min(seconds * 1000, longestMs) : longestMs,
      mostBytes: bodyBytes,
    };
  }
}

function outcome(
  http: Readonly<Record<string, unknown>>,
  asked: Asked,
  answer: Answer,
): NodeResult {
  const result = answer.body.toString();
  const outputs = { result };
  const condition = textOf(http["successCondition"]);
  if (condition === undefined) {
    if (answer.status >= 200 && answer.status < 300) return { phase: "Succeeded", outputs };
    return {
      phase: "Failed",
      message: `received non-2xx response code: ${answer.status}`,
      outputs,
    };
  }
  const plainHeaders = listOf(http["headers"])
    .map(recordOf)
    .filter(({ valueFrom }) => valueFrom === undefined)
    .map(({ name, value }) => [textOf(name) ?? "", [textOf(value) ?? ""]] as const);
  const scope: Readonly<Record<string, unknown>> = {
    request: {
      method: textOf(http["method"]) ?? "",
      url: asked.url.href,
      body: textOf(http["body"]) ?? "",
      headers: Object.fromEntries(plainHeaders),
    },
    response: { statusCode: answer.status, body: result, headers: answer.headers },
  };
  const holds = evaluate(
    condition,
    { get: (name) => (Object.hasOwn(scope, name) ? scope[name] : undefined) },
    { now: Date.now(), random: Math.random },
  );
  if (typeof holds !== "boolean") {
    throw new Failure(
      "invalid-argument",
      `successCondition '${condition}' is neither true nor false`,
    );
  }
  if (holds) return { phase: "Succeeded", outputs };
  return { phase: "Failed", message: `successCondition '${condition}' evaluated false`, outputs };
}
