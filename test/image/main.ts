// `npm run test:image`: makes the container image and tries it: with podman, a real registry, other readers of layouts, arm64 by emulation, and as an agent on a real API server. It
// needs a way to Debian's packages and npm; the programs are installed where there is apt.
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { clusterPrograms } from "../cluster/cluster.ts";

const say = (line: string): void => void process.stdout.write(`${line}\n`);
const works = (): boolean =>
  [
    ["podman", "info"],
    ["skopeo", "--version"],
    ["umoci", "--version"],
    ["qemu-aarch64-static", "--version"],
  ].every(([program = "", argument = ""]) => spawnSync(program, [argument]).status === 0);
if (!works()) {
  const packages = "podman runc skopeo umoci qemu-user-static";
  spawnSync(
    "sh",
    ["-c", `apt-get update -qq && apt-get install -qq -y --no-install-recommends ${packages}`],
    {
      env: { ...process.env, DEBIAN_FRONTEND: "noninteractive" },
    },
  );
}
const programs = await clusterPrograms(say);
if (!works() || "missing" in programs) {
  const missing =
    "missing" in programs
      ? programs.missing
      : "podman, skopeo, umoci or qemu-aarch64-static does not work here";
  say(`!!! NOTHING WAS TESTED: ${missing}`);
  process.exit(1);
}
const folder = mkdtempSync(join(tmpdir(), "atalanta-podman-"));
const configuration = join(folder, "containers.conf");
// runc runs on hosts that mix both versions of cgroups as well.
writeFileSync(
  configuration,
  '[containers]\ndefault_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]\nnetns = "none"\n[engine]\nruntime = "runc"\n',
);
const child = spawn(
  process.execPath,
  ["--test", "--test-reporter=spec", join(import.meta.dirname, "image.test.ts")],
  {
    stdio: "inherit",
    env: {
      ...process.env,
      CONTAINERS_CONF: process.env["CONTAINERS_CONF"] ?? configuration,
      ATALANTA_CLUSTER_TESTS: "1",
      ATALANTA_IMAGE_TESTS: "1",
    },
  },
);
const [code] = (await once(child, "exit")) as [number | null];
process.exitCode = code ?? 1;
