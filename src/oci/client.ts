import { Failure } from "../errors/mod.ts";
import { proxiesFrom } from "../network/mod.ts";
import { askFor, shownReference, told, type Place } from "./asks.ts";
import { anonymous, type Credentials } from "./credentials.ts";
import { download, type BlobDescriptor } from "./download.ts";
import { Endpoints, type EndpointOptions } from "./endpoints.ts";
import { Exchange } from "./exchange.ts";
import { Trouble } from "./failures.ts";
import {
  digestOf,
  fetchDigest,
  fetchManifest,
  type Descriptor,
  type Manifest,
} from "./manifest.ts";
import { readPages } from "./pages.ts";
import { pushBlob, pushManifest, sourceOf, type BlobToPush, type PushedBlob } from "./push.ts";
import { isDigest, type Reference } from "./reference.ts";
import { fetchReferrers } from "./referrers.ts";
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

interface Moving extends Waiting {
  /** Gets all bytes so far; a number may be lower than the one before, when something is done again. */
  readonly onProgress?: ((bytes: number) => void) | undefined;
}

/**
 * All registries, by the distribution specification. What is fetched comes from a mirror where one has it; what is pushed goes to the registry itself. It keeps
 * connections and tokens until it is disposed of.
 */
export interface Registry extends AsyncDisposable {
  /** The manifest or index of a reference, of at most 4 MiB, with its digest, which is checked when the reference has one. */
  manifest(reference: Reference, options?: Waiting): Promise<Manifest>;
  /** The digest that a tag has now. A reference that has a digest is not looked up. */
  resolve(reference: Reference, options?: Waiting): Promise<string>;
  /**
   * Brings a blob into a new file: checked on the way, never more than `size` bytes, taken up again after a cut. Nothing is left of one that could not be had.
   */
  blob(
    reference: Reference,
    blob: BlobDescriptor,
    to: { readonly path: string },
    options?: Moving,
  ): Promise<void>;
  /**
   * Brings a blob into a repository unless it is there: from another repository of the registry (`from`) where that can be done, or sent. A cut upload goes on where
   * it was.
   */
  pushBlob(
    reference: Reference,
    blob: BlobToPush,
    options?: Moving & { readonly from?: string | undefined },
  ): Promise<PushedBlob>;
  /**
   * Puts a manifest under the reference's tag, or under its digest when the reference has none, and gives its digest. One with a `subject` is also listed as the
   * specification says where the registry does not do that itself.
   */
  pushManifest(
    reference: Reference,
    manifest: { readonly mediaType: string; readonly bytes: Uint8Array },
    options?: Waiting,
  ): Promise<string>;
  /** What refers to a digest: by the API, or by the tag that stands for it where a registry has none. */
  referrers(
    reference: Reference,
    digest: string,
    options?: Waiting & { readonly artifactType?: string | undefined },
  ): Promise<readonly Descriptor[]>;
  /** All tags of a repository. */
  tags(reference: Reference, options?: Waiting): Promise<readonly string[]>;
}

/** A client for registries. It connects to nobody before it is asked to. */
export function openRegistry(options: RegistryOptions = {}): Registry {
  return new Client(options);
}

/** A mirror that is gone must not cost each request its wait. */
const restMs = 30_000;

const never = new AbortController().signal;

class Client implements Registry {
  readonly #endpoints: Endpoints;
  readonly #exchange: Exchange;
  /** Mirrors that could not be reached, until when they are left alone. */
  readonly #resting = new Map<string, number>();

  constructor(options: RegistryOptions) {
    this.#endpoints = new Endpoints(options);
    const timeouts = { ...defaultTimeouts, ...options.timeouts };
    this.#exchange = new Exchange(new Transport(proxiesFrom(options.environment ?? {}), timeouts), {
      credentials: options.credentials ?? anonymous,
      retries: { ...defaultRetries, ...options.retries },
    });
  }

  async manifest(reference: Reference, { signal }: Waiting = {}): Promise<Manifest> {
    const what = `Cannot get the manifest of ${shownReference(reference)}`;
    return this.#fetch({ reference, signal, what }, (place) =>
      fetchManifest(this.#exchange, place, nameOf(reference)),
    );
  }

  async resolve(reference: Reference, { signal }: Waiting = {}): Promise<string> {
    if (reference.digest !== undefined) return reference.digest;
    const what = `Cannot get the digest of ${shownReference(reference)}`;
    return this.#fetch({ reference, signal, what }, (place) =>
      fetchDigest(this.#exchange, place, nameOf(reference)),
    );
  }

  async blob(
    reference: Reference,
    blob: BlobDescriptor,
    { path }: { readonly path: string },
    { signal, onProgress }: Moving = {},
  ): Promise<void> {
    const what = `Cannot get the blob ${blob.digest} of ${shownReference(reference)}`;
    if (!isDigest(blob.digest) || !Number.isSafeInteger(blob.size) || blob.size < 0)
      throw new Failure("image-invalid", `${what}: its digest or its size (${blob.size}) is none`);
    await this.#fetch({ reference, signal, what }, (place) =>
      download(this.#exchange, askFor(place, "GET", `blobs/${blob.digest}`), {
        blob,
        path,
        onProgress,
      }),
    );
  }

  async pushBlob(
    reference: Reference,
    blob: BlobToPush,
    options: Parameters<Registry["pushBlob"]>[2] = {},
  ): Promise<PushedBlob> {
    const { signal, from, onProgress } = options;
    const source = sourceOf(blob);
    return told(`Cannot push the blob ${source.digest} to ${shownReference(reference)}`, () =>
      pushBlob(this.#exchange, this.#origin(reference, signal), source, { from, onProgress }),
    );
  }

  async pushManifest(
    reference: Reference,
    manifest: { readonly mediaType: string; readonly bytes: Uint8Array },
    { signal }: Waiting = {},
  ): Promise<string> {
    const digest = digestOf(manifest.bytes, reference.digest?.split(":")[0]);
    const what = `Cannot push the manifest ${digest} to ${shownReference(reference)}`;
    await told(what, async () => {
      if (reference.digest !== undefined && reference.digest !== digest)
        throw new Failure("invalid-argument", "the reference has another digest");
      const place = this.#origin(reference, signal);
      await pushManifest(this.#exchange, place, reference.tag ?? digest, manifest);
    });
    return digest;
  }

  async referrers(
    reference: Reference,
    digest: string,
    options: Parameters<Registry["referrers"]>[2] = {},
  ): Promise<readonly Descriptor[]> {
    const { signal, artifactType } = options;
    const what = `Cannot get what refers to ${digest} in ${shownReference(reference)}`;
    if (!isDigest(digest)) throw new Failure("invalid-argument", `${what}: it is no digest`);
    return this.#fetch(
      { reference, signal, what },
      (place) => fetchReferrers(this.#exchange, place, digest, artifactType),
      // A mirror need not have what was attached later.
      (found) => found.length > 0,
    );
  }

  async tags(reference: Reference, { signal }: Waiting = {}): Promise<readonly string[]> {
    const { registry, repository } = reference;
    return told(`Cannot list the tags of "${registry}/${repository}"`, async () => {
      const ask = askFor(this.#origin(reference, signal), "GET", "tags/list");
      const found = await readPages(this.#exchange, ask, ({ tags }) =>
        // Without any, some registries say null.
        Array.isArray(tags) ? tags.filter((tag) => typeof tag === "string") : [],
      );
      if (found) return found;
      throw new Trouble("image-invalid", `${registry} sent no list of tags`);
    });
  }

  #origin(reference: Reference, signal = never): Place {
    const { repository } = reference;
    return { endpoint: this.#endpoints.origin(reference), repository, signal };
  }

  /** Asks the mirrors and then the registry itself; what that one says is told. */
  async #fetch<Value>(
    asked: { reference: Reference; signal: AbortSignal | undefined; what: string },
    work: (place: Place) => Promise<Value>,
    enough: (found: Value) => boolean = () => true,
  ): Promise<Value> {
    const { reference, signal, what } = asked;
    const origin = this.#origin(reference, signal);
    for (const endpoint of this.#endpoints.mirrors(reference)) {
      const { href } = endpoint.base;
      if ((this.#resting.get(href) ?? 0) > Date.now()) continue;
      try {
        const found = await work({ ...origin, endpoint });
        if (enough(found)) return found;
      } catch (thrown) {
        if (!(thrown instanceof Failure) || !ofTheRegistry(thrown)) throw thrown;
        if (thrown.code === "registry-unavailable") this.#resting.set(href, Date.now() + restMs);
      }
    }
    return told(what, () => work(origin));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#exchange[Symbol.dispose]();
  }
}

function nameOf({ digest, tag = "latest" }: Reference): string {
  return digest ?? tag;
}

/** Whether another host may give what this one did not. */
function ofTheRegistry({ code }: Failure): boolean {
  return /^(?:image|registry|network)-/.test(code);
}
