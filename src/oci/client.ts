import { proxiesFrom } from "../network/mod.ts";
import { Failure } from "../errors/mod.ts";
import { anonymous, type Credentials } from "./credentials.ts";
import { download, type BlobDescriptor } from "./download.ts";
import { Endpoints, type Endpoint, type EndpointOptions } from "./endpoints.ts";
import { Exchange } from "./exchange.ts";
import { Trouble } from "./failures.ts";
import { checkManifest, manifestBytes, manifestTypes, type Manifest } from "./manifest.ts";
import { formatReference, isDigest, type Reference } from "./reference.ts";
import { defaultRetries, type RetryOptions } from "./retries.ts";
import { defaultTimeouts, Transport, type TimeoutOptions } from "./transport.ts";

export interface RegistryOptions extends EndpointOptions {
  /** Who we are; default: nobody. */
  readonly credentials?: Credentials;
  /** For `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY`; default: none of them. */
  readonly environment?: Readonly<Record<string, string | undefined>>;
  readonly retries?: RetryOptions;
  readonly timeouts?: TimeoutOptions;
}

interface Waiting {
  readonly signal?: AbortSignal | undefined;
}

/** All registries, by the distribution specification. It keeps connections and tokens until it is disposed of. */
export interface Registry extends AsyncDisposable {
  /** The manifest or index of a reference, of at most 4 MiB, with its digest, which is checked when the reference has one. */
  manifest(reference: Reference, options?: Waiting): Promise<Manifest>;
  /** The digest that a tag has now. A reference that has a digest is not looked up. */
  resolve(reference: Reference, options?: Waiting): Promise<string>;
  /**
   * Brings a blob into a new file: checked on the way, never more than `size` bytes, taken up again after a cut. Nothing is left of one that could not be had.
   * `onProgress` gets all bytes so far; a number may be lower than the one before, when the beginning is fetched again.
   */
  blob(
    reference: Reference,
    blob: BlobDescriptor,
    to: { readonly path: string },
    options?: Waiting & { readonly onProgress?: ((bytes: number) => void) | undefined },
  ): Promise<void>;
}

/** A client for registries. It connects to nobody before it is asked to. */
export function openRegistry(options: RegistryOptions = {}): Registry {
  return new Client(options);
}

const never = new AbortController().signal;

class Client implements Registry {
  readonly #endpoints: Endpoints;
  readonly #exchange: Exchange;

  constructor(options: RegistryOptions) {
    this.#endpoints = new Endpoints(options);
    const timeouts = { ...defaultTimeouts, ...options.timeouts };
    this.#exchange = new Exchange(new Transport(proxiesFrom(options.environment ?? {}), timeouts), {
      credentials: options.credentials ?? anonymous,
      retries: { ...defaultRetries, ...options.retries },
    });
  }

  async manifest(reference: Reference, { signal = never }: Waiting = {}): Promise<Manifest> {
    return this.#fetch(reference, `the manifest of "${formatReference(reference)}"`, (endpoint) =>
      this.#manifestAt(endpoint, reference, signal),
    );
  }

  async resolve(reference: Reference, { signal = never }: Waiting = {}): Promise<string> {
    if (reference.digest !== undefined) return reference.digest;
    return this.#fetch(
      reference,
      `the digest of "${formatReference(reference)}"`,
      async (endpoint) => {
        const answer = await this.#exchange.retried(signal, () =>
          this.#exchange.once({ ...manifestAsk(endpoint, reference, signal), method: "HEAD" }),
        );
        answer.message.resume();
        const digest = answer.headers["docker-content-digest"];
        // The specification does not oblige a registry to say it.
        return typeof digest === "string" && isDigest(digest)
          ? digest
          : (await this.#manifestAt(endpoint, reference, signal)).digest;
      },
    );
  }

  async blob(
    reference: Reference,
    blob: BlobDescriptor,
    { path }: { readonly path: string },
    options: Waiting & { readonly onProgress?: ((bytes: number) => void) | undefined } = {},
  ): Promise<void> {
    const { signal = never, onProgress } = options;
    const what = `the blob ${blob.digest} of "${formatReference(reference)}"`;
    if (!isDigest(blob.digest) || !Number.isSafeInteger(blob.size) || blob.size < 0) {
      throw new Failure(
        "image-invalid",
        `Cannot get ${what}: its digest or size (${blob.size}) is none`,
      );
    }
    await this.#fetch(reference, what, (endpoint) =>
      download(
        this.#exchange,
        {
          ...asked(endpoint, reference, "pull"),
          method: "GET",
          url: urlOf(endpoint, reference, `blobs/${blob.digest}`),
          signal,
        },
        { blob, path, ...(onProgress ? { onProgress } : {}) },
      ),
    );
  }

  async #manifestAt(
    endpoint: Endpoint,
    reference: Reference,
    signal: AbortSignal,
  ): Promise<Manifest> {
    return this.#exchange.retried(signal, async () => {
      const answer = await this.#exchange.once(manifestAsk(endpoint, reference, signal));
      const length = Number(answer.headers["content-length"] ?? 0);
      const pieces: Uint8Array[] = [];
      let size = 0;
      const tooLarge = (bytes: string): Trouble =>
        new Trouble(
          "image-invalid",
          `${endpoint.name} sends a manifest of ${bytes} bytes; ${manifestBytes} may be`,
        );
      if (length > manifestBytes) {
        answer.message.destroy();
        throw tooLarge(String(length));
      }
      for await (const piece of this.#exchange.transport.pieces(answer, signal)) {
        size += piece.length;
        if (size > manifestBytes) throw tooLarge(`more than ${manifestBytes}`);
        pieces.push(piece);
      }
      return checkManifest(Buffer.concat(pieces), {
        from: endpoint.name,
        contentType: answer.headers["content-type"] ?? "",
        wanted: reference.digest,
      });
    });
  }

  /** Asks the mirrors and then the registry itself; what that one says is told. */
  async #fetch<Value>(
    reference: Reference,
    what: string,
    work: (endpoint: Endpoint) => Promise<Value>,
  ): Promise<Value> {
    const endpoints = this.#endpoints.toFetch(reference);
    for (const [index, endpoint] of endpoints.entries()) {
      try {
        return await work(endpoint);
      } catch (thrown) {
        if (!(thrown instanceof Failure)) throw thrown;
        if (index < endpoints.length - 1 && ofTheRegistry(thrown)) continue;
        throw new Failure(thrown.code, `Cannot get ${what}: ${thrown.message}`, {
          cause: thrown,
          ...(thrown.hint === undefined ? {} : { hint: thrown.hint }),
        });
      }
    }
    throw new Error("a registry is its own last endpoint");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#exchange[Symbol.dispose]();
  }
}

/** Whether another host may give what this one did not. */
function ofTheRegistry({ code }: Failure): boolean {
  return /^(?:image|registry|network)-/.test(code);
}

function asked(
  endpoint: Endpoint,
  { repository }: Reference,
  actions: string,
): { endpoint: Endpoint; repository: string; scopes: readonly string[] } {
  const name = `${endpoint.prefix}${repository}`;
  return { endpoint, repository, scopes: [`repository:${name}:${actions}`] };
}

function urlOf({ base, prefix }: Endpoint, { repository }: Reference, rest: string): URL {
  return new URL(`v2/${prefix}${repository}/${rest}`, base);
}

function manifestAsk(
  endpoint: Endpoint,
  reference: Reference,
  signal: AbortSignal,
): Parameters<Exchange["once"]>[0] {
  const named = reference.digest ?? reference.tag ?? "latest";
  return {
    ...asked(endpoint, reference, "pull"),
    method: "GET",
    url: urlOf(endpoint, reference, `manifests/${named}`),
    headers: { accept: manifestTypes.join(", ") },
    signal,
  };
}
