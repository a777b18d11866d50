import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Home, root } from "../cli/command.ts";

interface Ended {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

interface Endpoint {
  readonly endpoint: string;
  readonly accessKey: string;
  readonly secretKey: string;
}

export const act: string = join(root, "test/guests/act/act.wasm");

/** A user with a home folder, a folder for his files, and the operator's configuration. */
export class User implements Disposable {
  readonly home: Home = new Home();
  readonly folder: string = mkdtempSync(join(tmpdir(), "atalanta-places-"));
  #count = 0;

  /** Runs a command to its end; servers of the test go on meanwhile. */
  async run(...args: readonly string[]): Promise<Ended> {
    const started = this.home.start(args);
    const status = await started.ended;
    return { status, stdout: started.stdout, stderr: started.stderr };
  }

  /** A file of the user's. */
  file(name: string, text: string): string {
    const path = join(this.folder, name);
    writeFileSync(path, text);
    return path;
  }

  /** A workflow's specification as a file. */
  workflow(
    spec: object,
    more: { readonly name?: string; readonly beside?: readonly object[] } = {},
  ): string {
    const document = {
      apiVersion: "argoproj.io/v1alpha1",
      kind: "Workflow",
      metadata: { name: more.name ?? "flow" },
      spec,
    };
    const texts = [document, ...(more.beside ?? [])].map((item) => JSON.stringify(item));
    return this.file(`workflow-${this.#count++}.yaml`, texts.join("\n---\n"));
  }

  /** The operator's configuration with the keys of a store, which may go there. */
  config(
    { endpoint, accessKey, secretKey }: Endpoint,
    more: object = {},
    hosts: readonly string[] = [`http://${endpoint}`],
  ): string {
    this.home.environment["TEST_ACCESS"] = accessKey;
    this.home.environment["TEST_SECRET"] = secretKey;
    return this.file(
      `config-${this.#count++}.yaml`,
      JSON.stringify({
        secrets: {
          store: {
            access: { fromEnv: "TEST_ACCESS", hosts },
            secret: { fromEnv: "TEST_SECRET", hosts },
          },
        },
        ...more,
      }),
    );
  }

  [Symbol.dispose](): void {
    this.home[Symbol.dispose]();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** Keys of an S3 place, for the secrets of `User.config`. */
export function bucket({ endpoint }: Pick<Endpoint, "endpoint">, name = "data"): object {
  return {
    endpoint,
    insecure: true,
    bucket: name,
    region: "us-east-1",
    accessKeySecret: { name: "store", key: "access" },
    secretKeySecret: { name: "store", key: "secret" },
  };
}

/** A template that runs the guest `act`. */
export function leaf(name: string, args: readonly string[], more: object = {}): object {
  return { name, wasm: { module: act, args }, ...more };
}

/** A run as `get -o json` shows it. */
export interface Shown {
  readonly status: {
    readonly phase: string;
    readonly message?: string;
    readonly outputs?: { readonly artifacts?: readonly Record<string, unknown>[] };
    readonly nodes: Readonly<
      Record<
        string,
        {
          readonly displayName: string;
          readonly phase: string;
          readonly message?: string;
          readonly outputs?: {
            readonly result?: string;
            readonly artifacts?: readonly Record<string, unknown>[];
          };
        }
      >
    >;
  };
}
