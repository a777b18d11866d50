// Front ends and runners as an operator starts them.
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { cpSync, globSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

const program = resolve(import.meta.dirname, "../../dist/bundle/main.js");
export const guest: string = resolve(import.meta.dirname, "../guests/functions/functions.wasm");

class Running implements AsyncDisposable {
  readonly child: ChildProcess;
  readonly #home: string;
  said = "";

  constructor(
    words: readonly string[],
    options: { readonly preload?: string; readonly program?: string } = {},
  ) {
    this.#home = mkdtempSync(join(tmpdir(), "atalanta-remote-"));
    this.child = spawn(
      process.execPath,
      [
        "--no-warnings",
        ...(options.preload === undefined ? [] : ["--import", options.preload]),
        options.program ?? program,
        ...words,
      ],
      {
        env: {
          PATH: process.env["PATH"],
          HOME: this.#home,
          ATALANTA_HOME: join(this.#home, "data"),
        },
        stdio: ["ignore", "pipe", "pipe"],
      },
    );
    for (const stream of [this.child.stdout, this.child.stderr]) {
      stream?.setEncoding("utf8").on("data", (text: string) => {
        this.said = (this.said + text).slice(-20_000);
      });
    }
    process.once("exit", () => this.child.kill("SIGKILL"));
  }

  async until(text: string): Promise<void> {
    for (let left = 600; !this.said.includes(text); left--) {
      if (left === 0 || this.child.exitCode !== null)
        throw new Error(`it did not say "${text}":\n${this.said}`);
      await sleep(25);
    }
  }

  signal(signal: NodeJS.Signals): void {
    this.child.kill(signal);
  }

  get ended(): boolean {
    return this.child.exitCode !== null || this.child.signalCode !== null;
  }

  async end(signal: NodeJS.Signals = "SIGKILL"): Promise<number | null> {
    if (!this.ended) {
      const gone = once(this.child, "exit");
      this.signal(signal);
      await gone;
    }
    return this.child.exitCode;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.signal("SIGCONT");
    await this.end();
    rmSync(this.#home, { recursive: true, force: true });
  }
}

export interface RemoteOptions {
  readonly nats: readonly string[];
  readonly silence?: string;
  readonly deliveries?: number;
  readonly replicas?: number;
  readonly capacity?: number;
  readonly preload?: string;
  /** The compiled program of another version. */
  readonly program?: string;
  readonly more?: readonly string[];
}

function words({
  nats,
  silence = "2s",
  deliveries = 5,
  replicas = 1,
  more = [],
}: RemoteOptions): string[] {
  return [
    ...nats.map((url) => `--nats=${url}`),
    `--silence=${silence}`,
    `--deliveries=${deliveries}`,
    `--nats-replicas=${replicas}`,
    `--image=f=${guest}`,
    ...more,
  ];
}

export class Front extends Running {
  url = "";
  static async start(options: RemoteOptions, port = 0): Promise<Front> {
    const front = new Front(
      ["serve", `--listen=127.0.0.1:${port}`, "--no-run", ...words(options)],
      options,
    );
    await front.until("Listens on ");
    front.url = /Listens on (\S+)/.exec(front.said)?.[1] ?? "";
    return front;
  }
}

export class Runner extends Running {
  static async start(options: RemoteOptions): Promise<Runner> {
    const { capacity = 64 } = options;
    const runner = new Runner(["runner", `--capacity=${capacity}`, ...words(options)], options);
    await runner.until("Takes calls");
    return runner;
  }
}

/** The program as its next version might be: what it sends has another number. It lies beside this one, because it needs the same packages. */
export function nextVersion(): Disposable & { readonly program: string } {
  const from = dirname(program);
  const folder = mkdtempSync(join(from, "../next-"));
  cpSync(from, folder, { recursive: true });
  let changed = 0;
  for (const file of globSync("*.js", { cwd: folder })) {
    const path = join(folder, file);
    const text = readFileSync(path, "utf8");
    const other = text.replace(/^(var|const) version(\d*) = 1;$/m, "$1 version$2 = 2;");
    if (other === text) continue;
    changed++;
    writeFileSync(path, other);
  }
  if (changed !== 1) throw new Error(`${changed} files have the version of what is sent`);
  return {
    program: join(folder, basename(program)),
    [Symbol.dispose]: () => rmSync(folder, { recursive: true, force: true }),
  };
}

/** Deploys the guest under a name. */
export async function deploy(url: string, name = "f", more: object = {}): Promise<void> {
  const response = await fetch(`${url}/v1/namespaces/default/functions/${name}`, {
    method: "PUT",
    body: JSON.stringify({ image: "f", ...more }),
  });
  if (!response.ok) throw new Error(await response.text());
}
