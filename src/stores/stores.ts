import { join } from "node:path";
import { mkdtemp, mkdir, rm } from "node:fs/promises";
import { Failure } from "../errors/mod.ts";
import type {
  Downloaded,
  ListedObject,
  Location,
  StoreLimits,
  StoreRetries,
  Stores,
  StoresOptions,
  TransferOptions,
  UploadContent,
  Uploaded,
  WaitOptions,
} from "./mod.ts";
import { defaultRetries } from "./retries.ts";
import { defaultTimeouts, Transport, type Manner } from "./transport.ts";

export interface Wait {
  readonly signal: AbortSignal;
}

export interface Transfer extends Wait {
  readonly onProgress: (bytes: number) => void;
}

/** One kind of store; the same as `Stores`, for locations of its kind. */
export interface Store<Kind extends Location> {
  download(location: Kind, folder: string, options: Transfer): Promise<Downloaded>;
  upload?(location: Kind, content: UploadContent, options: Transfer): Promise<Uploaded>;
  list?(location: Kind, options: Wait): AsyncIterable<ListedObject>;
  delete?(location: Kind, options: Wait): Promise<void>;
}

/** What all kinds share. */
export interface StoreContext {
  readonly transport: Transport;
  readonly retries: Required<StoreRetries>;
  readonly limits: Required<StoreLimits>;
  /** How the endpoint of a location is met. */
  readonly manner: (location: { readonly ofOperator?: true }) => Manner;
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** A new empty folder, which whoever asked removes. */
  readonly temporaryFolder: () => Promise<string>;
}

type Opener<Kind extends Location["kind"]> = (
  context: StoreContext,
) => Promise<Store<Extract<Location, { readonly kind: Kind }>>>;

/** Each kind is loaded when it is first used, so that nobody waits for what he does not need. */
const openers: { readonly [Kind in Location["kind"]]?: Opener<Kind> } = {
  s3: async (context) => (await import("./s3/store.ts")).openS3(context),
  azure: async (context) => (await import("./azure/store.ts")).openAzure(context),
  gcs: async (context) => (await import("./gcs/store.ts")).openGcs(context),
  http: async (context) => (await import("./http/store.ts")).openHttp(context),
  git: async (context) => (await import("./git/store.ts")).openGit(context),
  oss: async (context) => (await import("./oss.ts")).openOss(context),
};

const defaultLimits: Required<StoreLimits> = { bytes: 5 * 1024 ** 4, files: 100_000 };

/** Opens all kinds of stores. Nobody is connected to before there is something to bring. */
export function openStores(options: StoresOptions): Stores {
  return new AllStores(options);
}

const never = new AbortController().signal;

class AllStores implements Stores {
  readonly #context: StoreContext;
  readonly #opened = new Map<string, Promise<Store<Location>>>();
  readonly #closing = new AbortController();

  constructor(options: StoresOptions) {
    const { reach, operatorReach, authorities, environment = {}, stagingFolder } = options;
    this.#context = {
      transport: new Transport(options.proxyFor ?? (() => undefined), {
        ...defaultTimeouts,
        ...options.timeouts,
      }),
      retries: { ...defaultRetries, ...options.retries },
      limits: { ...defaultLimits, ...options.limits },
      manner: ({ ofOperator }) => ({
        rules: ofOperator === true ? operatorReach : reach,
        authorities,
      }),
      environment,
      temporaryFolder: async () => {
        await mkdir(stagingFolder, { recursive: true });
        return mkdtemp(join(stagingFolder, "store-"));
      },
    };
  }

  async download(
    location: Location,
    folder: string,
    options: TransferOptions = {},
  ): Promise<Downloaded> {
    const store = await this.#store(location);
    try {
      return await store.download(location, folder, this.#transfer(options));
    } catch (thrown) {
      // The folder was empty when it came to us.
      await rm(folder, { recursive: true, force: true });
      await mkdir(folder, { recursive: true });
      throw thrown;
    }
  }

  async upload(
    location: Location,
    content: UploadContent,
    options: TransferOptions = {},
  ): Promise<Uploaded> {
    const store = await this.#store(location);
    if (!store.upload) throw cannot(location, "be written to");
    return store.upload(location, content, this.#transfer(options));
  }

  async *list(location: Location, options: WaitOptions = {}): AsyncGenerator<ListedObject> {
    const store = await this.#store(location);
    if (!store.list) throw cannot(location, "be listed");
    yield* store.list(location, { signal: this.#signal(options) });
  }

  async delete(location: Location, options: WaitOptions = {}): Promise<void> {
    const store = await this.#store(location);
    if (!store.delete) throw cannot(location, "be deleted from");
    return store.delete(location, { signal: this.#signal(options) });
  }

  #transfer(options: TransferOptions): Transfer {
    return {
      signal: this.#signal(options),
      onProgress: options.onProgress ?? (() => undefined),
    };
  }

  #signal({ signal = never }: WaitOptions): AbortSignal {
    return AbortSignal.any([signal, this.#closing.signal]);
  }

  #store({ kind }: Location): Promise<Store<Location>> {
    const known = this.#opened.get(kind);
    if (known) return known;
    const open: ((context: StoreContext) => Promise<Store<Location>>) | undefined = openers[kind];
    if (!open) {
      throw new Failure("invalid-argument", `There is no store of the kind "${kind}"`, {
        hint: `Known are ${Object.keys(openers).join(", ")}.`,
      });
    }
    const opened = open(this.#context);
    this.#opened.set(kind, opened);
    return opened;
  }

  // oxlint-disable-next-line typescript/require-await -- others may have to wait
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort(new Failure("aborted", "The stores were closed"));
    this.#context.transport[Symbol.dispose]();
  }
}

function cannot({ kind }: Location, what: string): Failure {
  return new Failure("invalid-argument", `A store of the kind "${kind}" cannot ${what}`, {
    hint: "Use another kind of store, such as s3.",
  });
}
