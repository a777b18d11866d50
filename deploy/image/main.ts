// Makes the container image of the project, without a container runtime: `npm run image -- --help`.
import { mkdir, mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { homedir, tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import type { TreeEntry } from "../../src/engine/mod.ts";
import { dockerCredentials, openRegistry } from "../../src/oci/mod.ts";
import { newestPackages, systemFiles } from "./debian.ts";
import { Layout, type ImageSettings } from "./layout.ts";
import { readLock, writeLock, type Architecture } from "./lock.ts";
import { fetchNode, nodeFiles, nodeVersion, projectFiles } from "./node.ts";

const help = `Usage: npm run image -- [options]

Makes a container image with nothing in it but the C library, Node and this project: no shell, no package manager, a user that is not root.
The result is an OCI image layout, which podman, skopeo and containerd read, and which --push sends to a registry.

Options:
  --platform <list>  amd64, arm64 or both (default: amd64,arm64)
  --output <folder>  where the layout goes (default: image-layout)
  --tag <tag>        its name in the layout (default: the version of the project)
  --push <name>      send it there, such as registry.example.com/team/atalanta:0.1.0, with the logins of docker and podman
  --mirror <url>     where Debian's packages come from (default: http://deb.debian.org/debian)
  --update           write the newest packages of Debian, and Node as the project wants it, into packages.json, and end
  --help

Examples:
  npm run image -- --platform amd64
  npm run image -- --push registry.example.com/team/atalanta:0.1.0
`;
/** The user that images without a root have by custom. */
const user = 65_532;
const suite = "trixie";
const say = (line: string): void => void process.stderr.write(`${line}\n`);

const { values } = parseArgs({
  options: {
    platform: { type: "string", default: "amd64,arm64" },
    output: { type: "string", default: "image-layout" },
    tag: { type: "string" },
    push: { type: "string" },
    mirror: { type: "string", default: "http://deb.debian.org/debian" },
    update: { type: "boolean", default: false },
    help: { type: "boolean", default: false },
  },
});
if (values.help) process.stdout.write(help);
else {
  const scratch = await mkdtemp(join(tmpdir(), "atalanta-image-"));
  try {
    await (values.update ? update(scratch) : make(scratch));
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

async function update(scratch: string): Promise<void> {
  const version = await nodeVersion();
  const nodeOf = async (architecture: Architecture): Promise<string> =>
    (await fetchNode(architecture, version, scratch)).digest;
  await writeLock({
    suite,
    node: { version, amd64: await nodeOf("amd64"), arm64: await nodeOf("arm64") },
    packages: {
      amd64: await newestPackages("amd64", values.mirror, suite),
      arm64: await newestPackages("arm64", values.mirror, suite),
    },
  });
}

async function make(scratch: string): Promise<void> {
  const { version, description, license } = JSON.parse(
    await readFile(join(import.meta.dirname, "../../package.json"), "utf8"),
  ) as { readonly version: string; readonly description: string; readonly license: string };
  const labels = {
    "org.opencontainers.image.title": "atalanta",
    "org.opencontainers.image.description": description,
    "org.opencontainers.image.version": version,
    "org.opencontainers.image.licenses": license,
  };
  const settings: ImageSettings = {
    entrypoint: ["/usr/bin/node", "/app/bin/atalanta.js"],
    user: `${user}:${user}`,
    workingFolder: "/data",
    environment: ["PATH=/usr/bin:/app/bin", "HOME=/data", "NODE_ENV=production"],
    labels,
  };
  const folder = resolve(values.output);
  const there = await readdir(folder).catch((): string[] => []);
  if (there.length > 0 && !there.includes("oci-layout"))
    throw new Error(`--output ${folder} has something else in it than a layout`);
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { recursive: true });
  const lock = await readLock();
  const layout = new Layout(folder);
  say("The project and what it depends on");
  const app = await layout.layer(await projectFiles(scratch), "atalanta");
  const images = [];
  for (const architecture of values.platform.split(",").map(architectureOf)) {
    say(`Debian's packages and Node for ${architecture}`);
    const system = await systemFiles(lock.packages[architecture], values.mirror);
    const { file, digest } = await fetchNode(architecture, await nodeVersion(), scratch);
    if (digest !== lock.node[architecture]) {
      const known = `packages.json says ${lock.node[architecture]} of ${lock.node.version}`;
      throw new Error(`Node for ${architecture} has the digest ${digest}; ${known}`);
    }
    images.push(
      await layout.image(
        architecture,
        [
          await layout.layer([...base(), ...system], `debian ${lock.suite}`),
          await layout.layer(await nodeFiles(file), "node"),
          app,
        ],
        settings,
      ),
    );
  }
  const index = await layout.index(images, { tag: values.tag ?? version, labels });
  process.stdout.write(`${index.digest}\n`);
  if (values.push === undefined) return;
  say(`Sends it to ${values.push}`);
  await using registry = openRegistry({
    credentials: dockerCredentials({ environment: process.env, home: homedir() }),
    environment: process.env,
    loopback: true,
  });
  await layout.push(registry, values.push, index);
}

function architectureOf(name: string): Architecture {
  const found = /^(?:linux\/)?(amd64|arm64)$/.exec(name.trim())?.[1];
  if (found === "amd64" || found === "arm64") return found;
  throw new Error(`--platform ${name}: there are amd64 and arm64`);
}

/** Folders that programs expect, and names for the user. Libraries lie below /usr, as in Debian since 12. */
function base(): readonly TreeEntry[] {
  const text = (path: string, value: string): TreeEntry => ({
    kind: "file",
    path,
    mode: 0o644,
    content: { kind: "bytes", bytes: Buffer.from(value) },
  });
  return [
    { kind: "symlink", path: "lib", target: "usr/lib" },
    { kind: "symlink", path: "lib64", target: "usr/lib64" },
    { kind: "directory", path: "tmp", mode: 0o1777 },
    { kind: "directory", path: "data", mode: 0o1777 },
    text(
      "etc/passwd",
      `root:x:0:0:root:/root:/sbin/nologin\natalanta:x:${user}:${user}::/data:/sbin/nologin\n`,
    ),
    text("etc/group", `root:x:0:\natalanta:x:${user}:\n`),
    text("etc/nsswitch.conf", "hosts: files dns\n"),
  ];
}
