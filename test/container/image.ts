// Makes a small image out of a static busybox, without a registry: the archive that `docker save` writes.
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";

export const image = "localhost/atalanta-test:1";

const applets = "sh cat ls echo sleep cp mkdir rm id env dd tr yes chmod ln head pwd printf".split(
  " ",
);

/** The host's busybox; undefined when there is none, or none that runs without the host's libraries. */
export function findBusybox(): string | undefined {
  return [
    "/bin/busybox",
    "/usr/bin/busybox",
    "/usr/bin/busybox-static",
    "/bin/busybox.static",
  ].find(
    // A program that needs the host's libraries names its loader.
    (path) => existsSync(path) && !readFileSync(path).includes("/lib64/ld-linux"),
  );
}

/** Writes the archive into a folder and returns its path, for `docker load -i` and its like. */
export function writeImage(folder: string, busybox: string): string {
  const root = join(folder, "root");
  for (const path of ["bin", "tmp", "etc", "data"])
    mkdirSync(join(root, path), { recursive: true });
  copyFileSync(busybox, join(root, "bin/busybox"));
  for (const applet of applets) symlinkSync("busybox", join(root, "bin", applet));
  writeFileSync(join(root, "tmp/of-the-image"), "image\n");
  writeFileSync(join(root, "etc/passwd"), "root:x:0:0:root:/:/bin/sh\n");
  const layer = join(folder, "layer.tar");
  execFileSync("tar", ["--owner=0", "--group=0", "-C", root, "-cf", layer, "."]);
  const config = JSON.stringify({
    architecture: { x64: "amd64", arm64: "arm64" }[process.arch as "x64"] ?? process.arch,
    os: "linux",
    config: {
      Env: ["PATH=/bin", "FROM_IMAGE=yes"],
      Entrypoint: ["/bin/echo", "entry"],
      Cmd: ["default"],
    },
    rootfs: {
      type: "layers",
      diff_ids: [`sha256:${createHash("sha256").update(readFileSync(layer)).digest("hex")}`],
    },
  });
  writeFileSync(join(folder, "config.json"), config);
  const manifest = [{ Config: "config.json", RepoTags: [image], Layers: ["layer.tar"] }];
  writeFileSync(join(folder, "manifest.json"), JSON.stringify(manifest));
  const archive = join(folder, "image.tar");
  const parts = ["manifest.json", "config.json", "layer.tar"];
  execFileSync("tar", ["-C", folder, "-cf", archive, ...parts]);
  return archive;
}
