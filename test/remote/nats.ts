// NATS servers for tests, as their authors make them: one, or a cluster of three, on free ports of this machine.
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { install, type Installed } from "../servers/install.ts";
import { freePort } from "../servers/program.ts";

export async function natsProgram(
  say: (line: string) => void = () => undefined,
): Promise<Installed> {
  const installed = await install(say, ["nats"]);
  return installed.get("nats") ?? { missing: "nats" };
}

export interface NatsSettings {
  /** What JetStream may have on the disk, such as `16MB`. */
  readonly store?: string;
  readonly storeFolder?: string;
}

/** One server; it can be killed, frozen, and started again with what it had. */
export class NatsServer implements AsyncDisposable {
  readonly folder: string;
  readonly port: number;
  readonly monitor: number;
  #child: ChildProcess | undefined;
  readonly #program: string;
  readonly #config: string;

  constructor(
    folder: string,
    program: string,
    ports: { readonly port: number; readonly monitor: number },
    config: string,
  ) {
    this.folder = folder;
    this.#program = program;
    this.port = ports.port;
    this.monitor = ports.monitor;
    this.#config = join(folder, "nats.conf");
    mkdirSync(folder, { recursive: true });
    writeFileSync(this.#config, config);
  }

  static async start(settings: NatsSettings = {}): Promise<NatsServer> {
    const program = await natsProgram();
    if ("missing" in program) throw new Error(program.missing);
    const folder = mkdtempSync(join(tmpdir(), "atalanta-nats-"));
    const ports = { port: await freePort(), monitor: await freePort() };
    const server = new NatsServer(
      folder,
      program.program,
      ports,
      configOf("one", folder, ports, settings),
    );
    await server.up();
    return server;
  }

  get url(): string {
    return `nats://127.0.0.1:${this.port}`;
  }

  async up(): Promise<void> {
    const log = openSync(join(this.folder, "log"), "a");
    this.#child = spawn(this.#program, ["-c", this.#config], { stdio: ["ignore", log, log] });
    const { pid } = this.#child;
    process.once("exit", () => this.#child?.pid === pid && this.#child?.kill("SIGKILL"));
    for (let left = 400; ; left--) {
      const well = await fetch(
        `http://127.0.0.1:${this.monitor}/healthz?js-enabled-only=true`,
      ).catch(() => undefined);
      if (well?.ok) return;
      if (left === 0 || this.#child.exitCode !== null)
        throw new Error(readFileSync(join(this.folder, "log"), "utf8").slice(-2000));
      await sleep(25);
    }
  }

  async down(signal: NodeJS.Signals = "SIGKILL"): Promise<void> {
    const child = this.#child;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const gone = once(child, "exit");
    child.kill(signal);
    await gone;
    this.#child = undefined;
  }

  signal(signal: NodeJS.Signals): void {
    this.#child?.kill(signal);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.signal("SIGCONT");
    await this.down();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** Three servers that keep each message three times. */
export class NatsCluster implements AsyncDisposable {
  readonly servers: readonly NatsServer[];

  private constructor(servers: readonly NatsServer[]) {
    this.servers = servers;
  }

  static async start(): Promise<NatsCluster> {
    const program = await natsProgram();
    if ("missing" in program) throw new Error(program.missing);
    const folder = mkdtempSync(join(tmpdir(), "atalanta-nats-"));
    const routes: number[] = [];
    for (let at = 0; at < 3; at++) routes.push(await freePort());
    const servers: NatsServer[] = [];
    for (const [at, route] of routes.entries()) {
      const ports = { port: await freePort(), monitor: await freePort() };
      const own = join(folder, `n${at}`);
      const cluster = `cluster { name: c, listen: "127.0.0.1:${route}", routes: [${routes.map((port) => `"nats://127.0.0.1:${port}"`).join(", ")}] }\n`;
      servers.push(
        new NatsServer(own, program.program, ports, configOf(`n${at}`, own, ports, {}) + cluster),
      );
    }
    await Promise.all(servers.map((server) => server.up()));
    return new NatsCluster(servers);
  }

  get urls(): readonly string[] {
    return this.servers.map(({ url }) => url);
  }

  /** The server that leads a stream. */
  async leaderOf(stream: string): Promise<NatsServer> {
    for (let left = 100; left > 0; left--) {
      for (const { monitor } of this.servers) {
        const response = await fetch(
          `http://127.0.0.1:${monitor}/jsz?streams=true&accounts=true`,
        ).catch(() => undefined);
        if (!response?.ok) continue;
        const said = (await response.json()) as {
          account_details?: { stream_detail?: { name: string; cluster?: { leader?: string } }[] }[];
        };
        const detail = said.account_details?.[0]?.stream_detail?.find(
          ({ name }) => name === stream,
        );
        const leader = detail?.cluster?.leader;
        const found = leader === undefined ? undefined : this.servers[Number(leader.slice(1))];
        if (found) return found;
      }
      await sleep(100);
    }
    throw new Error(`nobody leads ${stream}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.servers.map((server) => server[Symbol.asyncDispose]()));
  }
}

function configOf(
  name: string,
  folder: string,
  { port, monitor }: { readonly port: number; readonly monitor: number },
  { store, storeFolder }: NatsSettings,
): string {
  const limit = store === undefined ? "" : `, max_file_store: ${store}`;
  return `server_name: ${name}\nlisten: "127.0.0.1:${port}"\nhttp: "127.0.0.1:${monitor}"\njetstream { store_dir: "${storeFolder ?? join(folder, "data")}"${limit} }\n`;
}
