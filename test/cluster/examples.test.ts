import assert from "node:assert/strict";
import { execFile, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { after, before, describe, test } from "node:test";
import { clusterTests } from "./needed.ts";
import { ClusterSetting } from "./setting.ts";

const root = resolve(import.meta.dirname, "../..");
const program = join(root, "src/cli/main.ts");

/** What the help of a command shows. */
function examplesOf(command: string): readonly string[] {
  const help = execFileSync(process.execPath, ["--no-warnings", program, command, "--help"], {
    encoding: "utf8",
  });
  return [...help.matchAll(/^ {2}atalanta (.+)$/gm)].map(([, line = ""]) => line);
}

describe("examples of commands that need a cluster", clusterTests, () => {
  let setting: ClusterSetting;
  let image = "";
  const folder = mkdtempSync(join(tmpdir(), "atalanta-examples-"));
  const stack = new AsyncDisposableStack();
  before(async () => {
    setting = stack.use(await ClusterSetting.start());
    image = await setting.push("acme/hello:1", join(root, "test/guests/hello/hello.wasm"));
    stack.use(await setting.controller());
    stack.use(await setting.agent());
    await setting.cluster.namespace("argo");
    await setting.cluster.namespace("atalanta");
    await setting.namespace("team");
    const text = readFileSync(join(root, "examples/argo/hello.yaml"), "utf8");
    writeFileSync(join(folder, "workflow.yaml"), text.replace("ghcr.io/acme/hello:1", image));
    const template = text
      .replace("generateName: hello-", "name: hello")
      .replace("kind: Workflow", "kind: WorkflowTemplate");
    writeFileSync(join(folder, "templates.yaml"), template);
  });
  after(() => stack.disposeAsync());

  const words = (line: string): string[] => [
    "--no-warnings",
    program,
    ...line.replaceAll("ghcr.io/acme/hello:1", image).split(" "),
  ];
  const environment = (): NodeJS.ProcessEnv => ({
    ...process.env,
    KUBECONFIG: setting.cluster.kubeconfig,
    ATALANTA_HOME: join(folder, "home"),
  });

  for (const command of clusterTests.skip ? [] : ["submit", "doctor", "webhook"]) {
    for (const line of examplesOf(command).filter((one) => !one.includes(" serve "))) {
      test(`atalanta ${line}`, async () => {
        const { code, stdout, stderr } = await new Promise<{
          code: number;
          stdout: string;
          stderr: string;
        }>((done) => {
          execFile(
            process.execPath,
            words(line),
            { cwd: folder, env: environment() },
            (error, out, err) => done({ code: Number(error?.code ?? 0), stdout: out, stderr: err }),
          );
        });
        assert.equal(code, 0, `${stdout}${stderr}`);
        assert.notEqual(stdout, "");
      });
    }
  }

  const serving = ["agent", "webhook"]
    .flatMap(examplesOf)
    .filter((one) => !/ (?:allow|forget)$/.test(one));
  for (const line of clusterTests.skip ? [] : serving) {
    test(`atalanta ${line}`, async () => {
      const child = spawn(process.execPath, words(line), {
        cwd: folder,
        env: environment(),
        stdio: ["ignore", "ignore", "pipe"],
      });
      let log = "";
      child.stderr.setEncoding("utf8").on("data", (text: string) => {
        log += text;
        if (/Follows the task sets|Serves API servers/.test(text)) child.kill("SIGTERM");
      });
      const [code] = (await once(child, "exit")) as [number];
      assert.equal(code, 0, log);
    });
  }
});
