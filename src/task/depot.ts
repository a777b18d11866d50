import { rm } from "node:fs/promises";
import { packTar, packZip } from "../archives/mod.ts";
import type { ArtifactStore, StoredArtifact } from "../artifacts/mod.ts";
import { Failure } from "../errors/mod.ts";
import { joinKey, keyOf, locate, withKey, type LocateOptions, type Place } from "../places/mod.ts";
import type { Stores, UploadContent } from "../stores/mod.ts";
import type { Copy, Depot, Packing, TransferOptions } from "./mod.ts";

export interface DepotOptions extends LocateOptions {
  readonly artifacts: ArtifactStore;
  /** Opened when there is something to bring or to send. */
  readonly openStores: () => Promise<Stores>;
}

/** Brings artifacts from stores into the content-addressed folder, and sends them there. */
export function createDepot(options: DepotOptions): Depot {
  return new PlacesDepot(options);
}

/** Artifacts of places that never change, kept by their place. */
const keptPlaces = 256;
/** Objects of a folder that are deleted at once. */
const deletedTogether = 16;

class PlacesDepot implements Depot {
  readonly #options: DepotOptions;
  readonly #flights = new Map<string, Flight>();
  readonly #unchanging = new Map<string, StoredArtifact>();
  #stores: Promise<Stores> | undefined;

  constructor(options: DepotOptions) {
    this.#options = options;
  }

  check(place: Place): void {
    locate(place, this.#options);
  }

  async bring(place: Place, options: TransferOptions = {}): Promise<StoredArtifact> {
    const key = JSON.stringify(place);
    const known = this.#unchanging.get(key);
    if (known && (await this.#isHere(known))) return known;
    const artifact = await this.#together(key, options, (own) => this.#download(place, own));
    if (isUnchanging(place)) {
      this.#unchanging.set(key, artifact);
      const [oldest] = this.#unchanging.keys();
      if (this.#unchanging.size > keptPlaces && oldest !== undefined)
        this.#unchanging.delete(oldest);
    }
    return artifact;
  }

  async restore(
    { place, packed }: Copy,
    artifact: StoredArtifact,
    options: TransferOptions = {},
  ): Promise<StoredArtifact> {
    const found = await this.bring(place, options);
    const { artifacts } = this.#options;
    const waiting = options.signal ? { signal: options.signal } : {};
    const same = packed === "none" ? found : await artifacts.unpack(found, packed, waiting);
    const { foreign: _foreign, ...whole } = same;
    // No store of ours keeps links in zip archives.
    if (whole.digest !== artifact.digest && packed !== "zip") {
      throw new Failure(
        "artifact-missing",
        `What lies at "${keyOf(place) ?? ""}" in the store is not what the step sent there`,
        {
          hint: "Something else was written to that key since. Put {{workflow.name}} and {{pod.name}} into it.",
        },
      );
    }
    // Bits of a file that lay there as it is, and that the run still knows.
    const mode = artifact.kind === "file" && whole.kind === "file" ? artifact.mode : undefined;
    return {
      ...whole,
      ...(mode === undefined ? {} : { mode }),
      ...(artifact.foreign ? { foreign: true } : {}),
    };
  }

  async send(
    place: Place,
    artifact: StoredArtifact,
    packing: Packing,
    options: TransferOptions = {},
  ): Promise<void> {
    const location = locate(place, this.#options);
    const stores = await this.#open();
    await stores.upload(location, await this.#packed(artifact, packing, options), options);
  }

  async remove(
    copy: Copy,
    artifact: StoredArtifact,
    options: { readonly signal?: AbortSignal } = {},
  ): Promise<void> {
    const { place, packed } = copy;
    const stores = await this.#open();
    const own = this.#options;
    if (packed !== "none" || artifact.kind === "file") {
      return stores.delete(locate(place, own), options);
    }
    // Only what was written: others may have written below the same key.
    const files = (await this.#entriesOf(copy, artifact, options)).filter(
      ({ kind }) => kind === "file",
    );
    const key = keyOf(place) ?? "";
    for (let from = 0; from < files.length; from += deletedTogether) {
      const group = files.slice(from, from + deletedTogether);
      await Promise.all(
        group.map(({ path }) =>
          stores.delete(locate(withKey(place, joinKey(key, path)), own), options),
        ),
      );
    }
  }

  /** What a folder had in it is known here, or brought back once more. */
  async #entriesOf(
    copy: Copy,
    artifact: StoredArtifact,
    options: { readonly signal?: AbortSignal },
  ): Promise<readonly { readonly kind: string; readonly path: string }[]> {
    const { artifacts } = this.#options;
    try {
      const content = await artifacts.content(artifact, "", options);
      return content.kind === "file" ? [] : content.entries;
    } catch (thrown) {
      if (!(thrown instanceof Failure && thrown.code === "storage")) throw thrown;
    }
    const again = await this.restore(copy, artifact, options);
    const content = await artifacts.content(again, "", options);
    return content.kind === "file" ? [] : content.entries;
  }

  async #packed(
    artifact: StoredArtifact,
    { kind, name, level }: Packing,
    options: TransferOptions,
  ): Promise<UploadContent> {
    const waiting = options.signal ? { signal: options.signal } : {};
    const content = await this.#options.artifacts.content(artifact, "", waiting);
    if (kind === "tar") {
      const how = { name, ...(level === undefined ? {} : { level }) };
      return { kind: "stream", bytes: () => packTar(content, how) };
    }
    if (kind === "zip") return { kind: "stream", bytes: () => packZip(content, { name }) };
    return content.kind === "file" ? { kind: "file", content: content.content } : content;
  }

  async #download(place: Place, options: TransferOptions): Promise<StoredArtifact> {
    const { artifacts } = this.#options;
    const location = locate(place, this.#options);
    const stores = await this.#open();
    const folder = await artifacts.stagingFolder();
    const waiting = options.signal ? { signal: options.signal } : {};
    try {
      const found = await stores.download(location, folder, options);
      // Its files get a second name in the folder of artifacts; nothing is copied.
      const artifact = await artifacts.put(
        found.kind === "file" ? { path: "", mode: 0o644, ...found } : { path: "", ...found },
        waiting,
      );
      return artifact.kind === "file" ? { ...artifact, foreign: true } : artifact;
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  }

  /** Whoever asks for what is on its way waits for that. It is given up when nobody waits any more. */
  async #together(
    key: string,
    options: TransferOptions,
    work: (options: TransferOptions) => Promise<StoredArtifact>,
  ): Promise<StoredArtifact> {
    options.signal?.throwIfAborted();
    let flight = this.#flights.get(key);
    if (!flight) {
      const begun = new Flight(work);
      flight = begun;
      this.#flights.set(key, begun);
      const over = (): void => {
        if (this.#flights.get(key) === begun) this.#flights.delete(key);
      };
      begun.done.then(over, over);
      begun.stopped.addEventListener("abort", over);
    }
    return flight.wait(options);
  }

  async #isHere(artifact: StoredArtifact): Promise<boolean> {
    try {
      await this.#options.artifacts.content(artifact);
      return true;
    } catch {
      return false;
    }
  }

  #open(): Promise<Stores> {
    this.#stores ??= this.#options.openStores();
    return this.#stores;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const stores = await this.#stores?.catch(() => undefined);
    await stores?.[Symbol.asyncDispose]();
  }
}

class Flight {
  readonly done: Promise<StoredArtifact>;
  readonly #stop = new AbortController();
  readonly #waiting = new Set<TransferOptions>();

  constructor(work: (options: TransferOptions) => Promise<StoredArtifact>) {
    this.done = work({
      signal: this.#stop.signal,
      onProgress: (bytes) => {
        for (const { onProgress } of this.#waiting) onProgress?.(bytes);
      },
    });
  }

  get stopped(): AbortSignal {
    return this.#stop.signal;
  }

  async wait(options: TransferOptions): Promise<StoredArtifact> {
    const { signal } = options;
    const own = { ...options };
    this.#waiting.add(own);
    const left = Promise.withResolvers<never>();
    const leave = (): void => left.reject(signal?.reason);
    signal?.addEventListener("abort", leave);
    try {
      return await Promise.race([this.done, left.promise]);
    } finally {
      signal?.removeEventListener("abort", leave);
      this.#waiting.delete(own);
      if (this.#waiting.size === 0) {
        this.#stop.abort(new Failure("aborted", "Nobody waits for the artifact any more"));
      }
    }
  }
}

/** Whether the place names content, and not what may be another tomorrow. */
function isUnchanging({ git }: Place): boolean {
  return git?.revision !== undefined && /^[0-9a-f]{40}(?:[0-9a-f]{24})?$/.test(git.revision);
}
