import { mkdtemp, rm } from "node:fs/promises";
import { join } from "node:path";
import { openArtifactStore, type ArtifactStore } from "../../artifacts/mod.ts";
import { createDepot, createTaskRunner, type Depot, type TaskRunner } from "../../task/mod.ts";
import type { Stores } from "../../stores/mod.ts";
import type { WasmStepsOptions } from "./mod.ts";
import type { Tenant } from "./tenants.ts";

/** Steps that share one folder, and how long it takes new ones: what they bring and leave stays on the disk so long, and no longer. */
const mostUses = 256;
const longestMs = 60_000;
/** How long a folder waits for the next step of its workflow. */
const idleMs = 5000;

/** Where steps of one workflow have their artifacts while they run. */
export interface Room extends AsyncDisposable {
  readonly artifacts: ArtifactStore;
  readonly depot: Depot;
  readonly runner: TaskRunner;
}

interface Folder {
  readonly folder: string;
  readonly artifacts: ArtifactStore;
}

export class Rooms implements AsyncDisposable {
  readonly #options: WasmStepsOptions;
  readonly #openStores: () => Promise<Stores>;
  readonly #rooms = new Map<string, SharedRoom>();
  readonly #leaving = new Set<Promise<void>>();
  #spare: Promise<Folder> | undefined;

  constructor(options: WasmStepsOptions, openStores: () => Promise<Stores>) {
    this.#options = options;
    this.#openStores = openStores;
  }

  /** A place in the room of a workflow's service account. */
  async enter(key: string, tenant: Tenant): Promise<Room> {
    let shared = this.#rooms.get(key);
    if (!shared?.open) {
      const room = this.#furnish(tenant);
      const made = new SharedRoom(room, () => {
        if (this.#rooms.get(key) === made) this.#rooms.delete(key);
        const left = room.then(
          (it) => it[Symbol.asyncDispose](),
          () => undefined,
        );
        this.#leaving.add(left);
        void left.finally(() => this.#leaving.delete(left));
      });
      shared = made;
      this.#rooms.set(key, made);
    }
    return shared.enter();
  }

  /** One folder is always made before it is asked for. */
  async #takeFolder(): Promise<Folder> {
    const spare = this.#spare ?? this.#makeFolder();
    const next = spare.then(
      () => this.#makeFolder(),
      () => this.#makeFolder(),
    );
    next.catch(() => {
      if (this.#spare === next) this.#spare = undefined;
    });
    this.#spare = next;
    return spare;
  }

  async #makeFolder(): Promise<Folder> {
    const folder = await mkdtemp(join(this.#options.folder, "rooms", "room-"));
    return { folder, artifacts: await openArtifactStore({ folder }) };
  }

  async #furnish(tenant: Tenant): Promise<Room> {
    const { runners, limits, trust } = this.#options;
    const { folder, artifacts } = await this.#takeFolder();
    const depot = createDepot({
      artifacts,
      secrets: tenant.secrets,
      own: [],
      identity: tenant.reader.identity,
      // Connections to stores are everybody's.
      openStores: async () => shared(await this.#openStores()),
    });
    const runner = createTaskRunner({
      runners,
      trust,
      artifacts,
      depot,
      limits,
      images: tenant.images,
      gate: tenant.gate,
    });
    return {
      artifacts,
      depot,
      runner,
      async [Symbol.asyncDispose]() {
        await depot[Symbol.asyncDispose]();
        await rm(folder, { recursive: true, force: true });
      },
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const room of this.#rooms.values()) room.close();
    await Promise.all(this.#leaving);
    const spare = await this.#spare?.catch(() => undefined);
    if (spare) await rm(spare.folder, { recursive: true, force: true });
  }
}

class SharedRoom {
  readonly #room: Promise<Room>;
  readonly #leave: () => void;
  readonly #until = performance.now() + longestMs;
  #uses = 0;
  #inside = 0;
  #idle: NodeJS.Timeout | undefined;
  #closed = false;
  #left = false;

  constructor(room: Promise<Room>, leave: () => void) {
    this.#room = room;
    this.#leave = leave;
  }

  /** Whether one more may come in. */
  get open(): boolean {
    return !this.#closed && this.#uses < mostUses && performance.now() < this.#until;
  }

  async enter(): Promise<Room> {
    this.#uses += 1;
    this.#inside += 1;
    clearTimeout(this.#idle);
    try {
      const room = await this.#room;
      return { ...room, [Symbol.asyncDispose]: async () => this.#exit() };
    } catch (thrown) {
      this.#closed = true;
      this.#exit();
      throw thrown;
    }
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#idle);
    if (this.#inside > 0 || this.#left) return;
    this.#left = true;
    this.#leave();
  }

  #exit(): void {
    this.#inside -= 1;
    if (this.#inside > 0) return;
    if (this.open) {
      this.#idle = setTimeout(() => this.close(), idleMs);
      this.#idle.unref();
    } else this.close();
  }
}

function shared(stores: Stores): Stores {
  return {
    download: (location, folder, options) => stores.download(location, folder, options),
    upload: (location, content, options) => stores.upload(location, content, options),
    list: (location, options) => stores.list(location, options),
    delete: (location, options) => stores.delete(location, options),
    [Symbol.asyncDispose]: async () => undefined,
  };
}
