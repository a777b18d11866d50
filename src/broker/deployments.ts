import { Kvm, type KV } from "@nats-io/kv";
import type { Deployment, Deployments } from "../functions/mod.ts";
import { changed } from "../functions/mod.ts";
import { codeOf, unavailable, type Broker } from "./connection.ts";

const bucket = "atalanta-deployments";

interface Kept {
  readonly deployment: Deployment;
  readonly revision: number;
}

/** Deployments in the broker's key-value store. Every process has all of them in memory, and hears of changes. */
export async function openNatsDeployments(broker: Broker): Promise<Deployments> {
  const store = await new Kvm(broker.stream).create(bucket, {
    history: 1,
    replicas: broker.options.replicas,
  });
  const kept = new Map<string, Kept>();
  const watcher = await store.watch();
  const ready = Promise.withResolvers<undefined>();
  void (async () => {
    for await (const entry of watcher) {
      if (entry.operation === "PUT")
        kept.set(entry.key, { deployment: parsed(entry.string()), revision: entry.revision });
      else kept.delete(entry.key);
      if (entry.delta === 0) ready.resolve(undefined);
    }
  })();
  if ((await store.status()).values === 0) ready.resolve(undefined);
  await ready.promise;
  return {
    async get(namespace, name) {
      const key = `${namespace}.${name}`;
      const known = kept.get(key);
      if (known) return known.deployment;
      // It may have been deployed by another front end this very moment.
      return (await read(store, key))?.deployment;
    },
    async put(deployment, ifVersion) {
      const { namespace, name } = deployment;
      const key = `${namespace}.${name}`;
      const now = await read(store, key);
      if (ifVersion !== undefined && (ifVersion ?? undefined) !== now?.deployment.version) {
        throw changed(namespace, name, now?.deployment.version);
      }
      const text = JSON.stringify(deployment);
      try {
        // Whoever is quicker has it.
        const revision = now
          ? await store.update(key, text, now.revision)
          : await store.create(key, text);
        kept.set(key, { deployment, revision });
      } catch (thrown) {
        if (codeOf(thrown) !== 10071)
          throw unavailable("The deployment could not be written", thrown);
        throw changed(namespace, name, (await read(store, key))?.deployment.version);
      }
    },
    list(namespace) {
      const own = [...kept].filter(([key]) => key.startsWith(`${namespace}.`));
      return Promise.resolve(
        own
          .map(([, { deployment }]) => deployment)
          .toSorted((left, right) => (left.name < right.name ? -1 : 1)),
      );
    },
    async remove(namespace, name, ifVersion) {
      const key = `${namespace}.${name}`;
      const now = await read(store, key);
      if (!now) return false;
      if (ifVersion !== undefined && ifVersion !== now.deployment.version)
        throw changed(namespace, name, now.deployment.version);
      await store.delete(key, { previousSeq: now.revision });
      kept.delete(key);
      return true;
    },
    [Symbol.asyncDispose]() {
      watcher.stop();
      return Promise.resolve();
    },
  };
}

async function read(store: KV, key: string): Promise<Kept | undefined> {
  const entry = await store.get(key);
  if (!entry || entry.operation !== "PUT") return undefined;
  return { deployment: parsed(entry.string()), revision: entry.revision };
}

function parsed(text: string): Deployment {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- whoever may write to the store is one of ours
  return JSON.parse(text) as Deployment;
}
