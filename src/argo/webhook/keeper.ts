import { Failure, toFailure } from "../../errors/mod.ts";
import {
  listOf,
  recordOf,
  textOf,
  type Cluster,
  type Kind,
  type KubeObject,
} from "../../kubernetes/mod.ts";
import { bundleOf, type Keys } from "./keys.ts";

const secrets: Kind = { group: "", version: "v1", plural: "secrets", namespaced: true };
const admission = { group: "admissionregistration.k8s.io", version: "v1", namespaced: false };
const configurations: readonly Kind[] = [
  { ...admission, plural: "mutatingwebhookconfigurations" },
  { ...admission, plural: "validatingwebhookconfigurations" },
];
/** Replicas that start together all want to write. */
const attempts = 5;

export interface KeeperOptions {
  readonly cluster: Cluster;
  readonly namespace: string;
  /** Of the Secret, and of both configurations. */
  readonly name: string;
  /** Names under which API servers ask. */
  readonly names: readonly string[];
  readonly now: () => number;
}

/** Keeps the certificates in a Secret that all replicas share, and tells API servers whom to trust. */
export class Keeper {
  readonly #options: KeeperOptions;

  constructor(options: KeeperOptions) {
    this.#options = options;
  }

  /** Keys that are good now. */
  async keys(signal: AbortSignal): Promise<Keys> {
    const { cluster, namespace, name, names, now } = this.#options;
    const at = { namespace, signal };
    // Nobody else in this process needs what certificates are made with.
    const { renewed } = await import("./certificates.ts");
    for (let left = attempts; left > 0; left -= 1) {
      const found = await present(() => cluster.get(secrets, name, at));
      const known = found && keysOf(found);
      const keys = await renewed(known, names, now());
      if (keys === known) return keys;
      const data = {
        "tls.crt": base64(keys.certificate),
        "tls.key": base64(keys.key),
        "ca.crt": base64(bundleOf(keys)),
        "ca.json": base64(JSON.stringify(keys.authorities)),
      };
      try {
        if (found) {
          const { uid, resourceVersion } = found.metadata;
          await cluster.patch(secrets, name, { metadata: { uid, resourceVersion }, data }, at);
        } else {
          const labels = { "app.kubernetes.io/managed-by": "atalanta" };
          const type = "kubernetes.io/tls";
          await cluster.create(secrets, { metadata: { name, namespace, labels }, type, data }, at);
        }
        return keys;
      } catch (thrown) {
        // Another replica was first; its keys count.
        if (toFailure(thrown).code !== "cluster-conflict") throw thrown;
      }
    }
    throw new Failure(
      "cluster-conflict",
      `The Secret ${namespace}/${name} is changed by others all the time`,
    );
  }

  /** Writes what is to be trusted into both configurations, where something else stands. One that is not there is left so. */
  async trust(keys: Keys, signal: AbortSignal): Promise<void> {
    const { cluster, name } = this.#options;
    const caBundle = base64(bundleOf(keys));
    for (const kind of configurations) {
      const found = await present(() => cluster.get(kind, name, { signal }));
      const webhooks = listOf(found?.["webhooks"]).map(recordOf);
      const patch = webhooks.flatMap(({ clientConfig }, index) =>
        recordOf(clientConfig)["caBundle"] === caBundle
          ? []
          : [{ op: "add", path: `/webhooks/${index}/clientConfig/caBundle`, value: caBundle }],
      );
      if (!found || patch.length === 0) continue;
      // A list that has been changed since is not the one that was read.
      const version = {
        op: "test",
        path: "/metadata/resourceVersion",
        value: found.metadata.resourceVersion,
      };
      await cluster.patch(kind, name, [version, ...patch], { type: "json", signal });
    }
  }
}

function keysOf(secret: KubeObject): Keys | undefined {
  const data = recordOf(secret["data"]);
  const text = (key: string): string => Buffer.from(textOf(data[key]) ?? "", "base64").toString();
  try {
    const authorities = listOf(JSON.parse(text("ca.json"))).map((item) => ({
      certificate: textOf(recordOf(item)["certificate"]) ?? "",
      key: textOf(recordOf(item)["key"]) ?? "",
    }));
    const keys = { authorities, certificate: text("tls.crt"), key: text("tls.key") };
    return keys.certificate === "" || keys.key === "" ? undefined : keys;
  } catch {
    // What somebody else wrote there is made anew.
    return undefined;
  }
}

function base64(text: string): string {
  return Buffer.from(text).toString("base64");
}

async function present(ask: () => Promise<KubeObject>): Promise<KubeObject | undefined> {
  try {
    return await ask();
  } catch (thrown) {
    if (toFailure(thrown).code === "cluster-missing") return undefined;
    throw thrown;
  }
}
