import assert from "node:assert/strict";
import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { after, test } from "node:test";
import { Home, root } from "./cli/command.ts";
import { givenServers, needs } from "./servers/given.ts";
import { letterflowFrom } from "./servers/letterflow.ts";
import { StandInRegistry } from "./servers/registry.ts";

const homes = new DisposableStack();
after(() => homes.dispose());

/** What a run of letterflow hands out, by path. The title of the sheet, which is the run's name, is left out. */
async function outputs(
  home: Home,
  name: string,
  args: readonly string[],
): Promise<Readonly<Record<string, string>>> {
  const out = join(home.folder, name);
  const command = [...args, "--name", name, "--output-dir", out];
  const started = home.start(command);
  started.process.stdin?.end();
  assert.equal(await started.ended, 0, started.stderr);
  const files = globSync("**/*.*", { cwd: out }).toSorted();
  assert(files.length >= 7, files.join(" "));
  const text = (file: string): string => readFileSync(join(out, file)).toString("latin1");
  return Object.fromEntries(files.map((file) => [file, text(file).replaceAll(name, "NAME")]));
}

/** Twice in one home: with everything to be pulled, and without the registry. */
async function check(host: string, stop: () => Promise<void>): Promise<void> {
  const [home, plain] = [homes.use(new Home()), homes.use(new Home())];
  const example = join(root, "examples/letterflow");
  const files = [
    "run",
    join(example, "workflow.yaml"),
    "-a",
    `doc=${join(example, "letter.tiff")}`,
  ];
  const expected = await outputs(plain, "files", files);
  const args = await letterflowFrom(host, home.folder);
  assert.deepEqual(await outputs(home, "pulled", args), expected);
  await stop();
  assert.deepEqual(await outputs(home, "kept", args), expected);
}

test("letterflow from a registry gives what it gives from files, and again when the registry is out of order", async () => {
  await using server = await StandInRegistry.start();
  await check(server.host, async () => {
    const pulled = server.seen.filter(({ method, url }) => method === "GET" && /blobs/.test(url));
    // Each of the four modules once, however many steps run it.
    assert.equal(pulled.length, 4);
    server.options = { fault: () => ({ kind: "answer", status: 500 }) };
  });
});

test("letterflow from a registry that others wrote", needs("registry"), async () => {
  await check(givenServers().registry?.host ?? "", async () => undefined);
});
