import { Failure } from "../errors/mod.ts";
import { limitFailure } from "../limits/mod.ts";
import { parseRanges, refusedAddress } from "./addresses.ts";
import { checkRequest, headerSize, visible, withoutBody, withoutCredentials } from "./headers.ts";
import type {
  Gate,
  GateOptions,
  GateRequest,
  GateResponse,
  HostUsage,
  Passage,
  Step,
} from "./mod.ts";
import { Names, systemResolve } from "./names.ts";
import { entryFor, parseRules, type Rule } from "./rules.ts";
import { Placeholders } from "./secrets.ts";
import { toNetworkFailure } from "./problems.ts";
import type { Connections, HopResponse } from "./send.ts";
import { parseTarget, shown, type Target } from "./target.ts";
import { orAborted, Slots } from "./waiting.ts";

/** Wait for a response's headers, and for each piece of its body, when the guest does not say. */
const defaultTimeoutMs = 60_000;
/** How long a guest may leave a response unread. */
const unreadMs = 60_000;
/** Responses that one guest may hold open. */
const openPerStep = 16;
/** Responses of all guests together; further requests wait. */
const openAtOnce = 2000;
const mostRedirects = 10;
/** Hosts that are counted one by one. */
const countedHosts = 100;
const keptRefusals = 3;

/** Makes the gate through which all HTTP requests of guests go. Throws `invalid-argument` for an operator's list that is wrong. */
export function createGate(options: GateOptions): Gate {
  const { permissions, secrets = new Map(), resolve = systemResolve, authorities } = options;
  const operator = parseRules(permissions.allowedHosts);
  const house: House = {
    operator,
    ranges: parseRanges(permissions.allowedAddresses ?? []),
    names: new Names(resolve),
    slots: new Slots(options.openAtOnce ?? openAtOnce),
    unreadMs: options.unreadMs ?? unreadMs,
  };
  return {
    async open(step: Step): Promise<Passage> {
      const rules = parseRules(step.allowedHosts);
      const placeholders = await Placeholders.make(step.secrets, secrets);
      return new StepPassage(house, { step, rules, placeholders, authorities });
    },
  };
}

/** What all steps share. */
interface House {
  readonly operator: readonly Rule[];
  readonly ranges: ReturnType<typeof parseRanges>;
  readonly names: Names;
  readonly slots: Slots;
  readonly unreadMs: number;
}

interface Opened {
  readonly step: Step;
  readonly rules: readonly Rule[];
  readonly placeholders: Placeholders;
  readonly authorities: readonly string[] | undefined;
}

class StepPassage implements Passage {
  readonly #house: House;
  readonly #step: Step;
  readonly #rules: readonly Rule[];
  readonly #placeholders: Placeholders;
  readonly #authorities: readonly string[] | undefined;
  readonly #usage = new Map<string, { -readonly [Name in keyof HostUsage]: HostUsage[Name] }>();
  readonly #refusals = new Set<string>();
  #connections: Promise<Connections> | undefined;
  #requests = 0;
  #bytes = 0;
  #open = 0;

  constructor(house: House, { step, rules, placeholders, authorities }: Opened) {
    this.#house = house;
    this.#step = step;
    this.#rules = rules;
    this.#placeholders = placeholders;
    this.#authorities = authorities;
  }

  get environment(): ReadonlyMap<string, string> {
    return this.#placeholders.environment;
  }

  get usage(): readonly HostUsage[] {
    return [...this.#usage.values()];
  }

  get refusals(): readonly string[] {
    return [...this.#refusals];
  }

  readonly http = async (
    request: GateRequest,
    { signal }: { readonly signal: AbortSignal },
  ): Promise<GateResponse> => {
    try {
      return await this.#answer(request, signal);
    } catch (thrown) {
      if (thrown instanceof Failure && thrown.code.startsWith("network-")) this.#note(thrown);
      throw thrown;
    }
  };

  /** Follows a request to its response. One clock runs over all of it. */
  async #answer(request: GateRequest, signal: AbortSignal): Promise<GateResponse> {
    const watch = new Watch(signal, () => new Failure("aborted", "The guest has ended"));
    const timeoutMs = request.timeoutMs ?? defaultTimeoutMs;
    try {
      this.#placeholders.checkUrl(request.url);
      const target = parseTarget(request.method, request.url);
      watch.set(timeoutMs, () => tooSlow(target, timeoutMs));
      if (this.#open >= openPerStep) {
        throw new Failure("network-busy", `The guest holds ${openPerStep} responses open`, {
          hint: "Read one to its end, or close it.",
        });
      }
      this.#open++;
      let free = (): void => undefined;
      let settled = false;
      const settle = (): void => {
        if (settled) return;
        settled = true;
        this.#open--;
        free();
        watch[Symbol.dispose]();
      };
      try {
        free = await this.#house.slots.take(watch.signal);
        const { response, at } = await this.#follow(request, target, watch.signal);
        return this.#hand(response, { target: at, watch, timeoutMs, settle });
      } catch (thrown) {
        settle();
        throw thrown;
      }
    } catch (thrown) {
      watch[Symbol.dispose]();
      throw thrown;
    }
  }

  async #follow(
    request: GateRequest,
    first: Target,
    signal: AbortSignal,
  ): Promise<{ readonly response: HopResponse; readonly at: Target }> {
    let target = first;
    let body = request.body;
    let headers = checkRequest(request.headers, body, target);
    const most = Math.min(request.redirects, mostRedirects);
    for (let left = most; ; left--) {
      const response = await this.#hop(target, headers, body, signal);
      const location = response.headers.find(([name]) => name === "location")?.[1];
      const redirect = [301, 302, 303, 307, 308].includes(response.status);
      if (!redirect || location === undefined || request.redirects === 0)
        return { response, at: target };
      response.message.destroy();
      if (left === 0)
        throw new Failure("network-failed", `${shown(first)} redirects more than ${most} times`);
      const next = this.#redirected(target, response.status, location);
      if (next.method !== target.method) {
        body = new Uint8Array(0);
        headers = withoutBody(headers);
      }
      if (entryFor(next) !== entryFor(target)) {
        headers = withoutCredentials(headers).filter(
          ([, value]) => !this.#placeholders.holdsForeign(value, next),
        );
      }
      target = next;
    }
  }

  /** Where a redirect leads, by the rules that browsers follow (Fetch, 4.4). */
  #redirected(from: Target, status: number, location: string): Target {
    // Bytes of a header are Latin-1 to us and may have been UTF-8; and a secret may have come back in it.
    const text = Buffer.from(this.#placeholders.redactor().text(location), "latin1").toString();
    this.#placeholders.checkUrl(text);
    const url = URL.parse(text, `${from.scheme}://${entryHost(from)}${from.path}${from.query}`);
    const toGet =
      (status === 303 && from.method !== "HEAD") || (status < 303 && from.method === "POST");
    return parseTarget(toGet ? "GET" : from.method, url?.href ?? text);
  }

  /** One request, after every check. */
  async #hop(
    target: Target,
    headers: GateRequest["headers"],
    body: Uint8Array,
    signal: AbortSignal,
  ): Promise<HopResponse> {
    this.#count(target);
    this.#checkLists(target);
    const addresses = await this.#addresses(target, signal);
    const filledHeaders = this.#placeholders.headers(headers, target);
    const filledBody = this.#placeholders.body(body, target);
    const usage = this.#usageOf(target.host);
    usage.requests++;
    // The line "METHOD PATH HTTP/1.1".
    const line = target.method.length + target.path.length + target.query.length + 12;
    this.#spend(usage, "sentBytes", line + headerSize(filledHeaders) + filledBody.length);
    this.#connections ??= connect(this.#authorities);
    const response = await (
      await this.#connections
    ).send({
      target,
      addresses,
      headers: this.#plainAnswer(filledHeaders, target),
      body: filledBody,
      signal,
    });
    try {
      this.#spend(usage, "receivedBytes", headerSize(response.headers));
      this.#checkEncoding(response, target);
    } catch (thrown) {
      response.message.destroy();
      throw thrown;
    }
    return response;
  }

  /** Every request counts, also one that is refused: a guest that tries all day comes to an end. */
  #count(target: Target): void {
    const { limits } = this.#step;
    this.#requests++;
    if (this.#requests <= limits.httpRequests) return;
    throw limitFailure(
      "httpRequests",
      limits,
      `The guest made ${this.#requests} HTTP requests, the last to ${shown(target)}`,
    );
  }

  #spend(usage: Usage, way: "sentBytes" | "receivedBytes", bytes: number): void {
    const { limits } = this.#step;
    usage[way] += bytes;
    this.#bytes += bytes;
    if (this.#bytes <= limits.httpBytes) return;
    throw limitFailure(
      "httpBytes",
      limits,
      `The guest's HTTP requests and responses have ${this.#bytes} bytes`,
    );
  }

  #checkLists(target: Target): void {
    const sides = [
      [this.#rules, "step"],
      [this.#house.operator, "operator"],
    ] as const;
    const refusing = sides.filter(([rules]) => !rules.some((rule) => rule.allows(target)));
    if (refusing.length === 0) return;
    const entry = entryFor(target);
    const near = refusing.flatMap(([rules]) => rules).find((rule) => rule.knows(target.host));
    const who = refusing.map(([, side]) => `the ${side}'s list`).join(" and ");
    const hints = refusing.map(([, side]) =>
      side === "step"
        ? `Add "${entry}" to permissions.http.allowedHosts of the step.`
        : `The operator may add "${entry}" to permissions.http.allowedHosts of the file for --config, or give --allow-host ${entry}.`,
    );
    throw new Failure(
      "network-denied",
      `${target.method} ${shown(target)} is not in ${who}${near ? `; the nearest entry is "${near.text}"` : ""}`,
      { hint: hints.join(" ") },
    );
  }

  /** Addresses to connect to. A name that leads to some that are not allowed is left with the others. */
  async #addresses(target: Target, signal: AbortSignal): Promise<readonly string[]> {
    // Whoever lists an address means it; a name that leads there is another matter.
    const { operator, ranges } = this.#house;
    if (operator.some((rule) => rule.address === target.host && rule.allows(target))) {
      return [target.host];
    }
    let found: readonly string[];
    try {
      found = await this.#house.names.find(target.host, signal);
    } catch (thrown) {
      throw toNetworkFailure(thrown, target);
    }
    const refused = found.map((address) => refusedAddress(address, ranges));
    const allowed = found.filter((_address, index) => refused[index] === undefined);
    if (allowed.length > 0) return allowed;
    const [what] = refused;
    if (what === undefined)
      throw new Failure("network-failed", `There are no addresses for "${target.host}"`);
    throw new Failure(
      "network-denied",
      `"${target.host}" leads to an address that is ${what}, which the operator has not listed`,
      {
        hint: "The operator may add the address or its range to permissions.http.allowedAddresses of the file for --config, or give --allow-address.",
      },
    );
  }

  /** What is compressed cannot be searched for secrets. */
  #plainAnswer(headers: GateRequest["headers"], target: Target): GateRequest["headers"] {
    if (!this.#placeholders.reaches(target)) return headers;
    return [
      ...headers.filter(([name]) => name.toLowerCase() !== "accept-encoding"),
      ["Accept-Encoding", "identity"],
    ];
  }

  #checkEncoding({ headers }: HopResponse, target: Target): void {
    if (!this.#placeholders.reaches(target)) return;
    const encoded = headers.find(
      ([name, value]) => name === "content-encoding" && value.toLowerCase() !== "identity",
    );
    if (!encoded) return;
    throw new Failure(
      "network-failed",
      `${shown(target)} answers compressed, which is not possible for a host that a secret may go to`,
    );
  }

  #hand(response: HopResponse, way: Handing): GateResponse {
    const { target, watch, settle } = way;
    const redactor = this.#placeholders.redactor();
    const hasSecrets = this.#placeholders.size > 0;
    const headers = visible(response.headers)
      // What is taken out changes the length.
      .filter(([name]) => !hasSecrets || name !== "content-length")
      .map(([name, value]) => [redactor.text(name), redactor.text(value)] as const);
    const usage = this.#usageOf(target.host);
    const pieces = read(response, (size) => this.#spend(usage, "receivedBytes", size));
    const body = hasSecrets ? redactor.stream(pieces) : pieces;
    const unread = (): void =>
      watch.set(
        this.#house.unreadMs,
        () =>
          new Failure("network-timeout", `The guest left the response of ${shown(target)} unread`),
      );
    watch.signal.addEventListener("abort", () => {
      response.message.destroy();
      settle();
    });
    const end = async (): Promise<IteratorResult<Uint8Array, undefined>> => {
      settle();
      response.message.destroy();
      return { done: true, value: undefined };
    };
    unread();
    return {
      status: response.status,
      headers,
      body: {
        next: async () => {
          try {
            watch.signal.throwIfAborted();
            watch.set(way.timeoutMs, () => tooSlow(target, way.timeoutMs));
            const piece = await orAborted(body.next(), watch.signal);
            if (piece.done) return await end();
            unread();
            return piece;
          } catch (thrown) {
            await end();
            const failure = toNetworkFailure(thrown, target);
            if (failure.code.startsWith("network-")) this.#note(failure);
            throw failure;
          }
        },
        return: end,
      },
    };
  }

  #usageOf(host: string): Usage {
    const name = this.#usage.has(host) || this.#usage.size < countedHosts ? host : "(others)";
    let usage = this.#usage.get(name);
    if (!usage) {
      usage = { host: name, requests: 0, sentBytes: 0, receivedBytes: 0 };
      this.#usage.set(name, usage);
    }
    return usage;
  }

  #note(failure: Failure): void {
    if (this.#refusals.size < keptRefusals) {
      this.#refusals.add([`${failure.message}.`, failure.hint].filter(Boolean).join(" "));
    }
  }

  [Symbol.dispose](): void {
    void this.#connections?.then((connections) => connections[Symbol.dispose]());
  }
}

/** Most steps send nothing, and Node's HTTP takes its time to load. */
async function connect(authorities: readonly string[] | undefined): Promise<Connections> {
  const { Connections } = await import("./send.ts");
  return new Connections(authorities);
}

type Usage = { -readonly [Name in keyof HostUsage]: HostUsage[Name] };

interface Handing {
  readonly target: Target;
  readonly watch: Watch;
  readonly timeoutMs: number;
  readonly settle: () => void;
}

/** The body as it comes, never more of it in memory than the connection's own buffer. */
async function* read(
  { message }: HopResponse,
  count: (size: number) => void,
): AsyncGenerator<Uint8Array, undefined> {
  for await (const piece of message) {
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- no encoding was set, so it is bytes
    const bytes = piece as Uint8Array;
    count(bytes.length);
    yield bytes;
  }
  return undefined;
}

/** A signal that follows another one and has a clock that can be set again. */
class Watch implements Disposable {
  readonly #stop = new AbortController();
  readonly #outer: AbortSignal;
  readonly #onAbort: () => void;
  #timer: NodeJS.Timeout | undefined;

  constructor(outer: AbortSignal, reason: () => Failure) {
    this.#outer = outer;
    this.#onAbort = () => this.#stop.abort(reason());
    if (outer.aborted) this.#onAbort();
    else outer.addEventListener("abort", this.#onAbort);
  }

  get signal(): AbortSignal {
    return this.#stop.signal;
  }

  set(ms: number, reason: () => Failure): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#stop.abort(reason()), Math.min(ms, longestTimerMs));
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
    this.#outer.removeEventListener("abort", this.#onAbort);
  }
}

const longestTimerMs = 2 ** 31 - 1;

function tooSlow(target: Target, timeoutMs: number): Failure {
  return new Failure("network-timeout", `${shown(target)} did not answer within ${timeoutMs} ms`);
}

function entryHost({ host, port }: Target): string {
  return `${host.includes(":") ? `[${host}]` : host}:${port}`;
}
