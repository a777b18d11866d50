import { Failure } from "../../errors/mod.ts";
import type { AzureLocation } from "../mod.ts";
import { encoded } from "../objects/keys.ts";
import { retried, retryAfterMs, type Attempts } from "../retries.ts";
import type { StoreContext } from "../stores.ts";
import type { Answer, Manner } from "../transport.ts";
import { shortened, Trouble } from "../trouble.ts";
import { parseXml, textOf } from "../xml.ts";
import type { Login } from "./login.ts";

export interface Ask {
  readonly method: "GET" | "HEAD" | "PUT" | "DELETE";
  /** Absent: of the container itself. */
  readonly blob?: string;
  readonly query?: Readonly<Record<string, string>>;
  /** By names in lower case. */
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: {
    readonly size: number;
    /** Asked for again when the request goes again. */
    readonly pieces: () => AsyncIterable<Uint8Array> | Iterable<Uint8Array>;
  };
  readonly signal: AbortSignal;
}

const version = "2021-12-02";
/** A page of a list with the longest names there may be. */
const answerBytes = 16 * 1024 * 1024;
const errorBytes = 64 * 1024;

/** One container, reached as a location says. */
export class Container {
  readonly context: StoreContext;
  readonly secure: boolean;
  readonly #name: string;
  readonly #base: URL;
  readonly #manner: Manner;
  readonly #login: Login;

  constructor(
    { container }: AzureLocation,
    options: {
      readonly context: StoreContext;
      readonly base: URL;
      readonly manner: Manner;
      readonly login: Login;
    },
  ) {
    if (!/^(?:\$root|\$web|[a-z0-9](?:-?[a-z0-9]){2,62})$/.test(container)) {
      throw new Failure("invalid-argument", `"${container}" is no name of a container`, {
        hint: "Write 3 to 63 small letters, digits and single hyphens.",
      });
    }
    this.#name = container;
    this.context = options.context;
    this.#base = options.base;
    this.secure = options.base.protocol === "https:";
    this.#manner = options.manner;
    this.#login = options.login;
  }

  async named<Value>(what: string, work: () => Promise<Value>): Promise<Value> {
    try {
      return await work();
    } catch (thrown) {
      if (!(thrown instanceof Failure) || thrown.code === "aborted") throw thrown;
      const place = `${what} in container "${this.#name}" at ${this.#base.host}`;
      throw new Trouble(thrown.code, `Cannot ${place}: ${thrown.message}`, {
        cause: thrown,
        ...(thrown.hint === undefined ? {} : { hint: thrown.hint }),
        ...(thrown instanceof Trouble && thrown.reason !== undefined
          ? { reason: thrown.reason }
          : {}),
      });
    }
  }

  retried<Value>(
    signal: AbortSignal,
    work: (attempts: Attempts) => Promise<Value>,
  ): Promise<Value> {
    return retried(this.context.retries, signal, work);
  }

  /** Makes a request until it is answered with success, and reads all of the answer. */
  async text(ask: Ask): Promise<{ readonly answer: Answer; readonly text: string }> {
    return this.retried(ask.signal, async () => {
      const answer = await this.once(ask);
      const text = await this.context.transport.small(answer, answerBytes, ask.signal);
      return { answer, text: text.toString() };
    });
  }

  /** One attempt; somebody must read or drop the answer's body. A login that ended is renewed once. */
  async once(ask: Ask): Promise<Answer> {
    for (let renewed = false; ; renewed = true) {
      const answer = await this.#send(ask);
      if (answer.status >= 200 && answer.status < 300) return answer;
      const trouble = await this.#trouble(answer, ask.signal);
      const ended = answer.status === 401 || trouble.reason === "AuthenticationFailed";
      if (!ended || renewed || !this.#login.forget()) throw trouble;
    }
  }

  async #send({ method, blob, query = {}, headers = {}, body, signal }: Ask): Promise<Answer> {
    const path = this.#base.pathname.replace(/\/$/, "");
    const names = [this.#name, ...(blob === undefined ? [] : blob.split("/"))];
    const url = new URL(`${path}/${names.map(encoded).join("/")}`, this.#base);
    url.search = Object.entries(query)
      .map(([name, value]) => `${name}=${encoded(value)}`)
      .join("&");
    const request = {
      method,
      url,
      headers: {
        host: url.host,
        "user-agent": "atalanta",
        "accept-encoding": "identity",
        "x-ms-version": version,
        ...headers,
        ...(method === "PUT" ? { "content-length": String(body?.size ?? 0) } : {}),
      },
    };
    return this.context.transport.call({
      ...(await this.#login.sign(request, signal)),
      manner: this.#manner,
      signal,
      ...(body && body.size > 0 ? { body: body.pieces() } : {}),
    });
  }

  async #trouble(answer: Answer, signal: AbortSignal): Promise<Trouble> {
    const body = await this.context.transport
      .small(answer, errorBytes, signal)
      .catch((thrown: unknown) => {
        signal.throwIfAborted();
        // Its status is known; that the explanation broke off changes nothing.
        if (thrown instanceof Failure) return Buffer.alloc(0);
        throw thrown;
      });
    const { status, headers } = answer;
    const told = headers["x-ms-error-code"];
    const { code, message } = readError(body.toString());
    const name = [told, code].find((one) => typeof one === "string" && /^\w{1,64}$/.test(one));
    const reason = String(name ?? byStatus.get(status) ?? "");
    const cleaned = this.#login.secrets
      .filter((secret) => secret.length > 3)
      .reduce((text, secret) => text.replaceAll(secret, "***"), message);
    const detail = [reason, shortened(cleaned)].filter((part) => part !== "").join(": ");
    const again = passing.has(reason) || passingStatuses.has(status);
    const kind =
      reason === "BlobNotFound"
        ? "artifact-missing"
        : again
          ? "store-unavailable"
          : "store-refused";
    const hint = hints[reason];
    return new Trouble(kind, `it answered ${status}${detail === "" ? "" : ` (${detail})`}`, {
      reason: status === 412 ? "PreconditionFailed" : reason,
      ...(hint === undefined ? {} : { hint }),
      ...(again ? { againMs: retryAfterMs(headers["retry-after"]) } : {}),
    });
  }
}

/** Something on the way may answer with another page. */
function readError(body: string): { readonly code: string | undefined; readonly message: string } {
  try {
    const root = parseXml(body.replace(/^\uFEFF/, ""));
    // Behind the first line stand the request's number and time.
    const [message = ""] = (textOf(root, "Message") ?? "").split("\n");
    return { code: textOf(root, "Code"), message };
  } catch {
    return { code: undefined, message: "" };
  }
}

const byStatus: ReadonlyMap<number, string> = new Map([
  [404, "BlobNotFound"],
  [416, "InvalidRange"],
]);

const passing = new Set(["Md5Mismatch", "OperationTimedOut", "InternalError", "ServerBusy"]);
const passingStatuses = new Set([408, 429, 500, 502, 503, 504]);

const hints: Readonly<Record<string, string>> = {
  ContainerNotFound: "Is the container's name right? Nobody makes it.",
  AuthenticationFailed: "Is the key of this account, and is the clock of this machine right?",
  AuthorizationFailure: "Does this login have a right to it? The account may have a firewall.",
  AuthorizationPermissionMismatch:
    "Does this login have a right to it? It needs the role Storage Blob Data Contributor.",
  NoAuthenticationInformation: "Name accountKeySecret.",
  PublicAccessNotPermitted: "Name accountKeySecret.",
  ResourceNotFound: "Name accountKeySecret, if the container is not public.",
  BlobArchived: "The blob is in the archive tier: bring it back first.",
  LeaseIdMissing: "Somebody holds a lease of the blob.",
  InvalidBlockList: "Somebody else wrote the blob at the same time.",
};
