import { Failure } from "../../errors/mod.ts";
import { orAborted, type Secret } from "../../network/mod.ts";
import type { WebIdentity } from "../../stores/mod.ts";
import { remember } from "../remember.ts";
import type { NamespaceReader, SecretData } from "./mod.ts";

/** What was read stays known for so long: the items of a loop read the same secrets. */
const freshMs = 5000;
/** Secrets and config maps that are known at once. */
const known = 1000;

/** What one service account of one namespace may read. */
export class TenantReader {
  readonly #reader: NamespaceReader;
  readonly #namespace: string;
  readonly #serviceAccount: string;
  readonly #kept = new Map<string, { readonly until: number; readonly value: Promise<unknown> }>();

  constructor(reader: NamespaceReader, namespace: string, serviceAccount: string) {
    this.#reader = reader;
    this.#namespace = namespace;
    this.#serviceAccount = serviceAccount;
  }

  /** A key of a secret. Throws `secret-missing` when it is not there. */
  async secret(name: string, key: string): Promise<Uint8Array> {
    const value = (await this.secretData(name))?.data.get(key);
    if (value) return value;
    throw new Failure(
      "secret-missing",
      `The secret "${name}" of the namespace ${this.#namespace} has no key "${key}", or is not there`,
      {
        hint: `Look at: kubectl get secret ${name} -n ${this.#namespace}`,
      },
    );
  }

  secretData(name: string): Promise<SecretData | undefined> {
    return this.#once(`secret/${name}`, () =>
      this.#reader.secret(this.#namespace, name, { serviceAccount: this.#serviceAccount }),
    );
  }

  configMap(name: string): Promise<ReadonlyMap<string, string> | undefined> {
    return this.#once(`configmap/${name}`, () =>
      this.#reader.configMap(this.#namespace, name, { serviceAccount: this.#serviceAccount }),
    );
  }

  /** Whom clouds know the service account as. */
  get identity(): WebIdentity {
    const who = [this.#namespace, this.#serviceAccount] as const;
    return {
      name: `The service account ${who.join("/")}`,
      annotation: async (name, signal) => {
        const annotations = await orAborted(
          this.#once("serviceaccount", () => this.#reader.serviceAccount(...who)),
          signal,
        );
        return annotations?.[name];
      },
      token: (audience, signal) => this.#reader.token(...who, { audience, signal }),
    };
  }

  async #once<Value>(key: string, read: () => Promise<Value>): Promise<Value> {
    const now = performance.now();
    const found = this.#kept.get(key);
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- each key is read by one method alone
    if (found && found.until > now) return found.value as Promise<Value>;
    const value = read();
    remember(this.#kept, key, { until: now + freshMs, value }, known);
    value.catch(() => this.#kept.delete(key));
    return value;
  }
}

/** Wherever a workflow's author sends a secret of his own namespace: a pod of his could do the same. */
const anywhere = [
  { host: "*", scheme: "https", port: "*" },
  { host: "*", scheme: "http", port: "*" },
] as const;

/** Secrets of a namespace by `NAME/KEY`, each read when it is used. */
export class StoreSecrets extends Map<string, Secret> {
  readonly #reader: TenantReader;

  constructor(reader: TenantReader) {
    super();
    this.#reader = reader;
  }

  override has(): boolean {
    return true;
  }

  override get(label: string): Secret {
    const [name = "", key = ""] = label.split("/");
    return { hosts: anywhere, value: () => this.#reader.secret(name, key) };
  }
}
