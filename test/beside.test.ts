import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { Home, jsonLines, root } from "./cli/command.ts";

/** What a stranger's folder holds beside a workflow, or names in it. */
const home = new Home();
after(() => home[Symbol.dispose]());
const act = join(root, "test/guests/act/act.wasm");
/** Far below what each of these took, or took up, without end. */
const timeout = 60_000;

function folder(name: string, module: string): string {
  const path = join(home.folder, name);
  mkdirSync(path);
  const template = { name: "main", wasm: { module, args: ["echo", "fine"] } };
  writeFileSync(
    join(path, "w.yaml"),
    JSON.stringify({
      apiVersion: "argoproj.io/v1alpha1",
      kind: "Workflow",
      metadata: { name },
      spec: { entrypoint: "main", templates: [template] },
    }),
  );
  return path;
}

function run(path: string): { readonly code: string | undefined; readonly text: string } {
  const args = ["run", join(path, "w.yaml"), "--json"];
  const { status, stdout, stderr } = home.run(args, { timeout });
  assert.notEqual(status, null, "it had to be killed");
  const lines = jsonLines(`${stdout}${stderr}`) as readonly {
    readonly failure?: { readonly code: string };
    readonly code?: string;
  }[];
  const code = lines.map((line) => line.failure?.code ?? line.code).find(Boolean);
  return { code, text: `${stdout}${stderr}` };
}

describe("a module that is no file is refused, and nothing waits for it", () => {
  test("a pipe that nobody writes to", () => {
    const path = folder("pipe", "./m.wasm");
    execFileSync("mkfifo", [join(path, "m.wasm")]);
    assert.equal(run(path).code, "module-not-found");
  });
  test("a device without an end", () => {
    assert.equal(run(folder("device", "/dev/zero")).code, "module-not-found");
  });
});

describe("an atalanta.yaml beside a workflow", () => {
  test("that is a pipe or a device is refused", () => {
    const pipe = folder("pipe-beside", act);
    execFileSync("mkfifo", [join(pipe, "atalanta.yaml")]);
    assert.equal(run(pipe).code, "invalid-argument");
    const device = folder("device-beside", act);
    symlinkSync("/dev/zero", join(device, "atalanta.yaml"));
    assert.equal(run(device).code, "invalid-argument");
  });
  test("with very many keys takes no more than their number", () => {
    const path = folder("keys-beside", act);
    const keys = Array.from({ length: 50_000 }, (_, at) => `  k${at}: x\n`);
    writeFileSync(join(path, "atalanta.yaml"), `images:\n${keys.join("")}`);
    assert.equal(run(path).code, undefined);
  });
  test("with a key twice is refused", () => {
    const path = folder("twice-beside", act);
    writeFileSync(join(path, "atalanta.yaml"), "images:\n  a: x\n  b: x\n  a: y\n");
    const { code, text } = run(path);
    assert.equal(code, "invalid-argument");
    assert.match(text, /\\"a\\" is there twice/);
  });
});

describe("what a guest prints", () => {
  test("moves no cursor as JSON or YAML either, and a program reads it as it is", () => {
    const said = "\u009b2J\u007f\u0085é";
    const path = folder("controls", act);
    const template = { name: "main", wasm: { module: act, args: ["echo", said] } };
    const spec = { entrypoint: "main", templates: [template] };
    const head = { apiVersion: "argoproj.io/v1alpha1", kind: "Workflow" };
    const metadata = { name: "controls" };
    const file = join(path, "v.yaml");
    // YAML's text may not have them, and its escapes may.
    const text = JSON.stringify({ ...head, metadata, spec }).replace(
      said,
      "\\u009b2J\\u007f\\u0085é",
    );
    writeFileSync(file, text);
    const ran = home.run(["run", file, "--json", "--log"], { timeout });
    assert.equal(ran.status, 0, ran.stderr);
    const outputs = (
      jsonLines(ran.stdout) as readonly { readonly type: string; readonly text?: string }[]
    ).filter(({ type }) => type === "output");
    assert.deepEqual(
      outputs.map((line) => line.text),
      [said],
    );
    for (const form of ["json", "yaml"]) {
      const got = home.run(["get", "controls", "-o", form]);
      assert.equal(got.status, 0, got.stderr);
      assert.ok(got.stdout.includes("2J"));
      assert.doesNotMatch(got.stdout, /[\u007f-\u009f]/);
    }
    assert.doesNotMatch(ran.stdout, /[\u007f-\u009f]/);
  });
});
