import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { textOf, recordOf } from "../../src/kubernetes/mod.ts";
import { ClusterSetting } from "../cluster/setting.ts";
import { StandInRegistry } from "../servers/registry.ts";

const asked = process.env["ATALANTA_IMAGE_TESTS"] === "1";
const project = resolve(import.meta.dirname, "../..");
const guests = join(project, "test/guests/act");
/** As the chart runs it. */
const walls = [
  "--rm",
  "--read-only",
  "--cap-drop=all",
  "--security-opt=no-new-privileges",
  "--tmpfs=/data:rw,mode=1777",
];

function run(
  program: string,
  args: readonly string[],
): Promise<{ readonly status: number; readonly stdout: string; readonly stderr: string }> {
  return new Promise((resolved) => {
    const child = execFile(program, args, (_error, stdout, stderr) =>
      resolved({ status: child.exitCode ?? 1, stdout, stderr }),
    );
  });
}

describe("the container image", asked ? {} : { skip: "npm run test:image makes it" }, () => {
  let folder = "";
  let digest = "";
  let image = "";
  before(async () => {
    // podman makes a name of it, which has no capitals.
    folder = join(tmpdir(), `atalanta-image-test-${process.pid}`);
    await mkdir(folder);
    digest = await make("layout");
    const { status, stdout, stderr } = await podman("pull", "-q", `oci:${join(folder, "layout")}`);
    assert.equal(status, 0, stderr);
    image = stdout.trim();
  });
  after(async () => {
    if (image !== "") await podman("rmi", "-f", image);
    await rm(folder, { recursive: true, force: true });
  });

  async function make(name: string, ...more: readonly string[]): Promise<string> {
    const program = join(project, "deploy/image/main.ts");
    const options = ["--platform=amd64,arm64", `--output=${join(folder, name)}`, ...more];
    const made = await run(process.execPath, ["--no-warnings", program, ...options]);
    assert.equal(made.status, 0, made.stderr);
    return made.stdout.trim();
  }

  function podman(...args: readonly string[]): ReturnType<typeof run> {
    return run("podman", args);
  }

  test("is the same to the last byte when it is made again, goes to a registry, and comes back from there", async () => {
    await using registry = await StandInRegistry.start();
    const again = await make("again", `--push=${registry.host}/team/atalanta:1`);
    assert.equal(again, digest);
    const { status, stdout, stderr } = await podman(
      "pull",
      "-q",
      "--tls-verify=false",
      `${registry.host}/team/atalanta@${digest}`,
    );
    assert.equal(status, 0, stderr);
    assert.equal(stdout.trim(), image);
    const index = JSON.parse(
      await readFile(join(folder, "again/blobs", digest.replace(":", "/")), "utf8"),
    ) as { readonly manifests: { readonly platform: { readonly architecture: string } }[] };
    assert.deepEqual(
      index.manifests.map(({ platform }) => platform.architecture),
      ["amd64", "arm64"],
    );
  });

  test("runs as a user that is not root, on a disk that cannot be written to, without any capability", async () => {
    const version = await podman("run", ...walls, image, "version");
    assert.match(version.stdout, /^atalanta \d+\.\d+\.\d+ \(Node 26/, version.stderr);
    const user = await podman("image", "inspect", "--format={{.Config.User}}", image);
    assert.equal(user.stdout.trim(), "65532:65532");
    const shell = await podman("run", ...walls, "--entrypoint=/bin/sh", image, "-c", "true");
    assert.notEqual(shell.status, 0, "there is a shell");
  });

  for (const trust of ["thread", "process"]) {
    test(`runs guests of the class ${trust}`, async () => {
      const { status, stdout, stderr } = await podman(
        "run",
        ...walls,
        `--volume=${guests}:/guests:ro`,
        image,
        "exec",
        `--trust=${trust}`,
        "/guests/act.wasm",
        "line",
        "hello",
      );
      assert.deepEqual([status, stdout], [0, "hello\n"], stderr);
    });
  }

  test("executes the steps of workflows on a cluster as an agent", async () => {
    await using stack = new AsyncDisposableStack();
    const setting = stack.use(await ClusterSetting.start());
    stack.use(await setting.controller());
    const settings = join(folder, "atalanta.yaml");
    await writeFile(
      settings,
      `registries:\n  "${setting.registry.host}":\n    plainHttp: true\npermissions:\n  http:\n    allowedAddresses: ["127.0.0.0/8"]\n`,
    );
    const login = join(folder, "kubeconfig");
    await writeFile(login, await readFile(setting.cluster.kubeconfig), { mode: 0o644 });
    const agent = spawn(
      "podman",
      [
        "run",
        ...walls,
        "--network=host",
        `--volume=${settings}:/etc/atalanta/atalanta.yaml:ro`,
        `--volume=${login}:/etc/atalanta/kubeconfig:ro`,
        "--env=ATALANTA_HOME=/data",
        "--env=TMPDIR=/data",
        "--name=atalanta-test-agent",
        image,
        "agent",
        "--kubeconfig=/etc/atalanta/kubeconfig",
        "--config=/etc/atalanta/atalanta.yaml",
        "--authority=agent",
        "--listen=",
        "--store-address=127.0.0.0/8",
      ],
      { stdio: ["ignore", "ignore", "pipe"] },
    );
    let log = "";
    agent.stderr.setEncoding("utf8").on("data", (text: string) => (log += text));
    const ended = once(agent, "exit");
    try {
      for (let left = 200; !log.includes("Follows the task sets"); left -= 1) {
        assert(left > 0 && agent.exitCode === null, log);
        await sleep(50);
      }
      await setting.submit("one", {
        entrypoint: "main",
        templates: [
          { name: "main", plugin: { wasm: { image: setting.image, args: ["line", "hello"] } } },
        ],
      });
      const { status } = await setting.ended("one");
      assert.equal(
        textOf(recordOf(status)["phase"]),
        "Succeeded",
        `${JSON.stringify(status)}\n${log}`,
      );
    } finally {
      await podman("stop", "-t", "10", "atalanta-test-agent");
      await ended;
    }
    assert.doesNotMatch(log, /"weakness":"limits of the system"/);
    assert.doesNotMatch(log, /"weakness":"no new privileges"/);
    assert.match(log, /"message":"[^"]*end/i, log);
  });
});
