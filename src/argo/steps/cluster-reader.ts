import { setTimeout as sleep } from "node:timers/promises";
import { Failure, toFailure } from "../../errors/mod.ts";
import { recordOf, type Cluster, type Kind } from "../../kubernetes/mod.ts";
import { workflows } from "../kinds.ts";
import { remember } from "../remember.ts";
import type { NamespaceReader } from "./mod.ts";

const core = { group: "", version: "v1", namespaced: true };
const secrets: Kind = { ...core, plural: "secrets" };
const serviceAccounts: Kind = { ...core, plural: "serviceaccounts" };
const configMaps: Kind = { ...core, plural: "configmaps" };

/**
 * With whose authority secrets and config maps are read: that of the step's service account, by a token that is asked for, so that no step gets what its
 * account may not; or our own, where service accounts may not read secrets.
 */
type Authority = "service-account" | "agent";

/** A token is replaced well before it ends. */
const tokenSeconds = 3600;
const earlyMs = 600_000;
/** A token for a cloud is given away at once; no server makes shorter ones. */
const exchangeSeconds = 600;
/** Service accounts whose tokens are known. */
const keptTokens = 1000;

/** What steps read of a cluster. */
export function clusterReader(cluster: Cluster, authority: Authority): NamespaceReader {
  const tokens = new Map<string, { readonly token: Promise<string>; readonly until: number }>();
  const tokenOf = (namespace: string, serviceAccount: string): Promise<string> => {
    const key = `${namespace}/${serviceAccount}`;
    const known = tokens.get(key);
    if (known && known.until > performance.now()) return known.token;
    const token = cluster.token(serviceAccount, { namespace, seconds: tokenSeconds }).then(
      (answer) => answer.token,
      (thrown: unknown) => {
        const failure = toFailure(thrown);
        throw failure.code === "cluster-missing"
          ? missingAccount(namespace, serviceAccount, thrown)
          : failure;
      },
    );
    const until = performance.now() + tokenSeconds * 1000 - earlyMs;
    remember(tokens, key, { token, until }, keptTokens);
    token.catch(() => tokens.delete(key));
    return token;
  };
  const as = (namespace: string, serviceAccount: string): Cluster =>
    authority === "agent" ? cluster : cluster.as(() => tokenOf(namespace, serviceAccount));
  const patience = new Patience();
  return {
    workflow: ({ namespace, name }, { signal }) =>
      patience.ask(() => cluster.get(workflows, name, { namespace, signal }), signal),
    async secret(namespace, name, { serviceAccount }) {
      const found = await patience.ask(() =>
        as(namespace, serviceAccount).get(secrets, name, { namespace }),
      );
      const data = Object.entries(recordOf(found?.["data"])).map(
        ([key, value]) => [key, Buffer.from(String(value), "base64")] as const,
      );
      return found && { data: new Map(data), annotations: found.metadata.annotations ?? {} };
    },
    async configMap(namespace, name, { serviceAccount }) {
      const found = await patience.ask(() =>
        as(namespace, serviceAccount).get(configMaps, name, { namespace }),
      );
      const data = Object.entries(recordOf(found?.["data"]));
      return found && new Map(data.map(([key, value]) => [key, String(value)]));
    },
    async serviceAccount(namespace, name) {
      const found = await patience.ask(() => cluster.get(serviceAccounts, name, { namespace }));
      return found && (found.metadata.annotations ?? {});
    },
    async token(namespace, serviceAccount, { audience, signal }) {
      const options = { namespace, audiences: [audience], seconds: exchangeSeconds, signal };
      const found = await patience.ask(() => cluster.token(serviceAccount, options), signal);
      if (found) return found.token;
      throw missingAccount(namespace, serviceAccount);
    },
  };
}

function missingAccount(namespace: string, serviceAccount: string, cause?: unknown): Failure {
  return new Failure(
    "workflow-invalid",
    `The service account "${serviceAccount}" of the workflow is not in the namespace ${namespace}`,
    { cause, hint: "Make it, or correct serviceAccountName." },
  );
}

/** A step does not fail because the API server is away for a while. */
const patienceMs = 300_000;
/** A server that has just come back knows nobody's roles yet. */
const comingBackMs = 20_000;
const firstWaitMs = 250;
const longestWaitMs = 5000;

/** Asks until there is an answer. */
class Patience {
  #awayAt = Number.NEGATIVE_INFINITY;

  /** Undefined for what is not there. */
  async ask<Value>(
    question: () => Promise<Value>,
    signal?: AbortSignal,
  ): Promise<Value | undefined> {
    const until = performance.now() + patienceMs;
    for (let waitMs = firstWaitMs; ; waitMs = Math.min(waitMs * 2, longestWaitMs)) {
      try {
        return await question();
      } catch (thrown) {
        if (!(thrown instanceof Failure)) throw thrown;
        if (thrown.code === "cluster-missing") return undefined;
        const now = performance.now();
        if (thrown.code === "cluster-unavailable") this.#awayAt = now;
        else if (thrown.code !== "cluster-refused" || now - this.#awayAt > comingBackMs)
          throw thrown;
        if (now > until) throw thrown;
        await sleep(waitMs * (0.5 + Math.random()), undefined, signal ? { signal } : {});
      }
    }
  }
}
