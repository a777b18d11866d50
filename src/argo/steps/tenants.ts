import { join } from "node:path";
import { createGate, type Gate, type Secret } from "../../network/mod.ts";
import {
  firstOf,
  openImages,
  openRegistry,
  pullSecretCredentials,
  type Credentials,
  type Images,
} from "../../oci/mod.ts";
import { remember } from "../remember.ts";
import type { WasmStepsOptions } from "./mod.ts";
import { StoreSecrets, TenantReader } from "./reader.ts";

/** Namespaces with service accounts that are ready at once; the one that was not used for longest makes room. */
const most = 500;

/** What all steps of one service account of a namespace share; none of it is another's. */
export interface Tenant {
  readonly reader: TenantReader;
  /** For stores of artifacts. */
  readonly secrets: StoreSecrets;
  /** Secrets that stay outside of guests, by `NAME/KEY`. */
  readonly guarded: Map<string, Secret>;
  readonly gate: Gate;
  readonly images: () => Promise<Images>;
  /** Names of secrets that images are pulled with. */
  readonly pullSecrets: Set<string>;
}

export class Tenants implements AsyncDisposable {
  readonly #options: WasmStepsOptions;
  readonly #tenants = new Map<string, Tenant>();
  readonly #opened = new Set<Promise<Images>>();

  constructor(options: WasmStepsOptions) {
    this.#options = options;
  }

  of(namespace: string, serviceAccount: string): Tenant {
    const key = `${namespace}/${serviceAccount}`;
    const found = this.#tenants.get(key) ?? this.#make(namespace, serviceAccount);
    remember(this.#tenants, key, found, most);
    return found;
  }

  #make(namespace: string, serviceAccount: string): Tenant {
    const { reader: all, permissions, authorities = [] } = this.#options;
    const reader = new TenantReader(all, namespace, serviceAccount);
    const guarded = new Map<string, Secret>();
    const pullSecrets = new Set<string>();
    let opened: Promise<Images> | undefined;
    return {
      reader,
      secrets: new StoreSecrets(reader),
      guarded,
      gate: createGate({
        permissions,
        secrets: guarded,
        ...(authorities.length === 0 ? {} : { authorities }),
      }),
      pullSecrets,
      images: () => {
        if (opened) return opened;
        const opening = this.#open(namespace, { reader, pullSecrets });
        opened = opening;
        this.#opened.add(opening);
        opening.catch(() => {
          this.#opened.delete(opening);
          opened = undefined;
        });
        return opening;
      },
    };
  }

  #open(
    namespace: string,
    { reader, pullSecrets }: Pick<Tenant, "reader" | "pullSecrets">,
  ): Promise<Images> {
    const { imagesFolder, limits, imageCacheBytes, policy, registry } = this.#options;
    const own: Credentials = {
      async find(where, options) {
        for (const name of pullSecrets) {
          const secret = await reader.secretData(name);
          const found = await loginsOf(secret?.data ?? new Map()).find(where, options);
          if (found) return found;
        }
        return undefined;
      },
    };
    return openImages({
      // Pulled images stay in their namespace, so that nobody runs what only others may pull.
      folder: join(imagesFolder, namespace),
      limits,
      ...(imageCacheBytes === undefined ? {} : { mostBytes: imageCacheBytes }),
      ...(policy ? { policy } : {}),
      registry: () =>
        openRegistry({
          ...registry,
          credentials: firstOf([own, ...(registry.credentials ? [registry.credentials] : [])]),
        }),
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const opened of this.#opened) {
      await (await opened.catch(() => undefined))?.[Symbol.asyncDispose]();
    }
  }
}

const loginKeys = [".dockerconfigjson", ".dockercfg"] as const;

function loginsOf(data: ReadonlyMap<string, Uint8Array>): Credentials {
  return pullSecretCredentials(
    loginKeys.flatMap((key) => {
      const value = data.get(key);
      return value ? [{ key, text: Buffer.from(value).toString() }] : [];
    }),
  );
}
