import assert from "node:assert/strict";
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { ClusterSetting } from "./setting.ts";

const program = resolve(import.meta.dirname, "../../bin/atalanta.js");
/** An agent as an operator starts it. */
export class AgentProcess implements AsyncDisposable {
  readonly child: ChildProcess;
  /** What it said. */
  log = "";

  constructor(
    setting: ClusterSetting,
    kubeconfig: string,
    more: readonly string[] = [],
    environment: Readonly<Record<string, string>> = {},
  ) {
    const home = mkdtempSync(join(setting.folder, "home-"));
    // Registries on this machine are an operator's to allow.
    writeFileSync(
      join(home, "atalanta.yaml"),
      `registries:\n  "${setting.registry.host}":\n    plainHttp: true\npermissions:\n  http:\n    allowedAddresses: ["127.0.0.0/8"]\n`,
    );
    this.child = spawn(
      process.execPath,
      [
        program,
        "agent",
        `--kubeconfig=${kubeconfig}`,
        "--authority=agent",
        "--listen=",
        `--config=${join(home, "atalanta.yaml")}`,
        "--store-address=127.0.0.0/8",
        "--log-level=debug",
        ...more,
      ],
      {
        env: {
          ...process.env,
          HOME: home,
          ATALANTA_HOME: join(home, "atalanta"),
          ...environment,
        },
        stdio: ["ignore", "ignore", "pipe"],
      },
    );
    this.child.stderr?.setEncoding("utf8").on("data", (text: string) => (this.log += text));
  }

  async ready(): Promise<this> {
    for (let left = 300; !this.log.includes("Follows the task sets"); left -= 1) {
      assert(left > 0 && this.child.exitCode === null, this.log);
      await sleep(50);
    }
    return this;
  }

  async kill(signal: NodeJS.Signals = "SIGKILL"): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    const ended = once(this.child, "exit");
    this.child.kill(signal);
    await ended;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
  }
}
