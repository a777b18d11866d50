import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdir, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join, relative, resolve } from "node:path";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { parse, parseAllDocuments } from "yaml";
import { listOf, recordOf, textOf } from "../../src/kubernetes/mod.ts";
import { ClusterSetting } from "../cluster/setting.ts";
import { install } from "../servers/install.ts";
import { freePort } from "../servers/program.ts";
import { start } from "../servers/start.ts";

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

  /** What skopeo and umoci make of it. */
  async function unpacked(
    architecture: string,
  ): Promise<{ readonly root: string; readonly bytes: number }> {
    const one = join(folder, `one-${architecture}`);
    const bundle = join(folder, `bundle-${architecture}`);
    const root = join(bundle, "rootfs");
    if (!existsSync(bundle)) {
      const from = `oci:${join(folder, "layout")}`;
      const copied = await run("skopeo", [
        "copy",
        "-q",
        `--override-arch=${architecture}`,
        from,
        `oci:${one}:x`,
      ]);
      assert.equal(copied.status, 0, copied.stderr);
      const made = await run("umoci", ["unpack", "--rootless", `--image=${one}:x`, bundle]);
      assert.equal(made.status, 0, made.stderr);
    }
    const blobs = join(one, "blobs/sha256");
    let bytes = 0;
    for (const name of await readdir(blobs)) bytes += (await stat(join(blobs, name))).size;
    return { root, bytes };
  }

  function podman(...args: readonly string[]): ReturnType<typeof run> {
    return run("podman", args);
  }

  test("is the same to the last byte when it is made again, goes to a real registry, and comes back from there", async () => {
    const installed = await install(() => undefined, ["registry"]);
    await using servers = await start(installed);
    const host = servers.given.registry?.host;
    assert(host !== undefined, JSON.stringify([...installed]));
    const again = await make("again", `--push=${host}/team/atalanta:1`);
    assert.equal(again, digest);
    const name = `${host}/team/atalanta@${digest}`;
    const { status, stdout, stderr } = await podman("pull", "-q", "--tls-verify=false", name);
    assert.equal(status, 0, stderr);
    assert.equal(stdout.trim(), image);
    const atalanta = join(project, "bin/atalanta.js");
    const own = await run(process.execPath, [atalanta, "image", "inspect", name]);
    assert.match(
      own.stderr,
      /it is an index for linux\/amd64, linux\/arm64/,
      own.stdout + own.stderr,
    );
  });

  test("is what others take it for, with nothing in it but a loader, libraries, five small programs, Node and this project", async () => {
    for (const [architecture, loader] of [
      ["amd64", "ld-linux-x86-64.so.2"],
      ["arm64", "ld-linux-aarch64.so.1"],
    ] as const) {
      const { root, bytes } = await unpacked(architecture);
      // 58 MB are Node's for the most part.
      assert(bytes < 70e6, `${architecture}: ${bytes} bytes`);
      const names = (await readdir(root, { recursive: true, withFileTypes: true }))
        .filter((entry) => !entry.isDirectory())
        .map((entry) => relative(root, join(entry.parentPath, entry.name)));
      const system = names.filter((name) => !name.startsWith("app/"));
      const programs = system.filter((name) => name.startsWith("usr/bin/")).toSorted();
      assert.deepEqual(
        programs.map((name) => basename(name)),
        ["choom", "node", "prlimit", "setpriv", "true", "unshare"],
      );
      assert(system.some((name) => basename(name) === loader));
      const others = system.filter(
        (name) =>
          !/^(?:usr\/bin\/|(?:usr\/)?lib.*\.so|usr\/share\/doc\/|etc\/(?:passwd|group|nsswitch\.conf)$|lib$|lib64$)/.test(
            name,
          ),
      );
      assert.deepEqual(others, []);
      const strangers = names.filter(
        (name) =>
          /\.(?:ts|test\.js|node)$|node_modules\/(?:typescript|node)\//.test(name) &&
          !name.endsWith(".d.ts"),
      );
      assert.deepEqual(strangers, []);
    }
  });

  test("runs on arm64 as well", async () => {
    const { root } = await unpacked("arm64");
    const node = join(root, "usr/bin/node");
    const atalanta = join(root, "app/bin/atalanta.js");
    const arm = (...args: readonly string[]): ReturnType<typeof run> =>
      run("qemu-aarch64-static", ["-L", root, node, atalanta, ...args]);
    const version = await arm("version");
    assert.match(version.stdout, /^atalanta .* linux\/arm64\)/, version.stderr);
    const { status, stdout, stderr } = await arm("exec", join(guests, "act.wasm"), "line", "hello");
    assert.deepEqual([status, stdout], [0, "hello\n"], stderr);
  });

  test("runs as a user that is not root, on a disk that cannot be written to, without any capability", async () => {
    const version = await podman("run", ...walls, image, "version");
    assert.match(version.stdout, /^atalanta \d+\.\d+\.\d+ \(Node 26/, version.stderr);
    const user = await podman("image", "inspect", "--format={{.Config.User}}", image);
    assert.equal(user.stdout.trim(), "65532:65532");
    const shell = await podman("run", ...walls, "--entrypoint=/bin/sh", image, "-c", "true");
    assert.notEqual(shell.status, 0, "there is a shell");
    const help = await podman("run", ...walls, image, "agent", "--help");
    assert.match(help.stdout, /^Usage: atalanta agent /, help.stderr);
    const status = 'process.stdout.write(require("fs").readFileSync("/proc/self/status"))';
    const { stdout } = await podman(
      "run",
      ...walls,
      "--entrypoint=/usr/bin/node",
      image,
      "-e",
      status,
    );
    // A filter is there, as RuntimeDefault gives one.
    assert.match(stdout, /^CapBnd:\t0+\nCapAmb:\t0+\nNoNewPrivs:\t1\nSeccomp:\t2$/m);
  });

  test("says what it needs where nothing at all may be written", async () => {
    const closed = ["--rm", "--read-only", "--read-only-tmpfs=false", "--cap-drop=all"];
    const volume = `--volume=${guests}:/guests:ro`;
    for (const trust of ["thread", "process"]) {
      const { status, stderr } = await podman(
        "run",
        ...closed,
        volume,
        image,
        "exec",
        `--trust=${trust}`,
        "/guests/act.wasm",
      );
      assert.notEqual(status, 0);
      assert.match(stderr, /error\[storage\].*EROFS.*\n {2}hint: Set TMPDIR/, stderr);
    }
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
    const mounts = await operator(setting);
    const agent = spawn(
      "podman",
      [
        "run",
        ...walls,
        "--network=host",
        ...mounts,
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

  test("executes steps beside Argo's own agent as its manifest says", async () => {
    await using stack = new AsyncDisposableStack();
    const setting = stack.use(await ClusterSetting.start());
    stack.use(await setting.controller());
    const mounts = await operator(setting);
    const token = join(folder, "token");
    await writeFile(token, "of-the-agent\n", { mode: 0o644 });
    const atalanta = join(project, "bin/atalanta.js");
    const printed = await run(process.execPath, [
      atalanta,
      "executor-plugin",
      "manifest",
      `--image=${image}`,
    ]);
    const map = parseAllDocuments(printed.stdout)
      .map((document) => recordOf(document.toJSON()))
      .find(({ kind }) => kind === "ConfigMap");
    const container = recordOf(parse(textOf(recordOf(map?.["data"])["sidecar.container"]) ?? ""));
    const port = await freePort();
    // Argo's agent gives no volumes but the token's, so its disk may be written to.
    const plugin = spawn(
      "podman",
      [
        "run",
        "--rm",
        "--cap-drop=all",
        "--security-opt=no-new-privileges",
        "--network=host",
        `--user=${String(recordOf(container["securityContext"])["runAsUser"])}`,
        ...listOf(container["env"])
          .map(recordOf)
          .map(({ name, value }) => `--env=${String(name)}=${String(value)}`),
        ...mounts,
        `--volume=${token}:/var/run/argo/token:ro`,
        "--name=atalanta-test-plugin",
        String(container["image"]),
        ...listOf(container["args"]).map(String),
        `--port=${port}`,
        "--kubeconfig=/etc/atalanta/kubeconfig",
        "--config=/etc/atalanta/atalanta.yaml",
        "--store-address=127.0.0.0/8",
      ],
      { stdio: ["ignore", "ignore", "pipe"] },
    );
    let log = "";
    plugin.stderr.setEncoding("utf8").on("data", (text: string) => (log += text));
    const ended = once(plugin, "exit");
    try {
      for (let left = 200; !log.includes("Serves Argo's agent"); left -= 1) {
        assert(left > 0 && plugin.exitCode === null, log);
        await sleep(50);
      }
      const template = {
        name: "main",
        plugin: { wasm: { image: setting.image, args: ["line", "hello"] } },
      };
      const spec = { entrypoint: "main", templates: [template] };
      const { metadata } = await setting.submit("one", spec);
      const ask = async (): Promise<Readonly<Record<string, unknown>>> => {
        const answer = await fetch(`http://127.0.0.1:${port}/api/v1/template.execute`, {
          method: "POST",
          headers: { "content-type": "application/json", authorization: "Bearer of-the-agent" },
          body: JSON.stringify({
            workflow: { metadata: { name: "one", namespace: "default", uid: metadata.uid } },
            template,
          }),
        });
        return recordOf(recordOf(await answer.json())["node"]);
      };
      let node = await ask();
      // As Argo's agent does: what takes longer is asked for again.
      for (let left = 10; node["phase"] === "Running" && left > 0; left -= 1) node = await ask();
      assert.equal(node["phase"], "Succeeded", `${JSON.stringify(node)}\n${log}`);
      assert.equal(recordOf(node["outputs"])["result"], "hello");
    } finally {
      await podman("stop", "-t", "10", "atalanta-test-plugin");
      await ended;
    }
  });

  /** What an operator gives: the registry on this machine, and a way to the cluster. */
  async function operator(setting: ClusterSetting): Promise<readonly string[]> {
    const settings = join(folder, "atalanta.yaml");
    await writeFile(
      settings,
      `registries:\n  "${setting.registry.host}":\n    plainHttp: true\npermissions:\n  http:\n    allowedAddresses: ["127.0.0.0/8"]\n`,
    );
    const login = join(folder, "kubeconfig");
    await writeFile(login, await readFile(setting.cluster.kubeconfig), { mode: 0o644 });
    return [
      `--volume=${settings}:/etc/atalanta/atalanta.yaml:ro`,
      `--volume=${login}:/etc/atalanta/kubeconfig:ro`,
    ];
  }
});
