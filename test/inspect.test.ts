import assert from "node:assert/strict";
import { mkdtempSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { after, describe, test } from "node:test";
import { Home, root } from "./cli/command.ts";

const home = new Home();
after(() => home[Symbol.dispose]());
const folder = mkdtempSync(join(home.folder, "inspect-"));
const guest = (name: string): string => join(root, `test/guests/${name}/${name}.wasm`);

interface Json {
  readonly module: {
    readonly digest: string;
    readonly entry: string;
    readonly capabilities: readonly { readonly capability: string }[];
    readonly unknownImports: readonly unknown[];
    readonly refusal?: { readonly code: string };
  };
  readonly steps: readonly {
    readonly template: string;
    readonly grants: { readonly limits: unknown };
    readonly unused: readonly string[];
    readonly denied: readonly string[];
    readonly missing?: { readonly code: string };
  }[];
  readonly differences: readonly {
    readonly name: string;
    readonly more: readonly string[];
    readonly less: readonly string[];
    readonly changed: readonly string[];
  }[];
}

function json(...args: readonly string[]): Json & { readonly status: number | null } {
  const { status, stdout, stderr } = home.run(["inspect", "--json", ...args]);
  assert.equal(stdout.trim().split("\n").length, 1, stderr);
  return { status, ...(JSON.parse(stdout) as Json) };
}

const could = ({ module }: Json): readonly string[] =>
  module.capabilities.map(({ capability }) => capability);

/** A module of hand-made sections: imported functions, a memory, an exported function. */
function module(given: {
  readonly imports?: readonly (readonly [string, string])[];
  readonly memory?: readonly number[];
  readonly entry?: string;
}): string {
  const { imports = [], memory = [0, 1], entry = "_start" } = given;
  const text = (value: string): number[] => [...leb(value.length), ...Buffer.from(value)];
  const section = (id: number, content: readonly number[]): number[] => [
    id,
    ...leb(content.length),
    ...content,
  ];
  const bytes = Buffer.from([
    ...Buffer.from("0061736d01000000", "hex"),
    ...section(1, [1, 0x60, 0, 0]),
    ...section(2, [
      ...leb(imports.length),
      ...imports.flatMap(([from, name]) => [...text(from), ...text(name), 0, 0]),
    ]),
    ...section(3, [1, 0]),
    ...section(5, [1, ...memory]),
    ...section(7, [1, ...text(entry), 0, ...leb(imports.length)]),
    ...section(10, [1, 2, 0, 0x0b]),
  ]);
  const path = join(folder, `${made++}.wasm`);
  writeFileSync(path, bytes);
  return path;
}
let made = 0;

function leb(value: number): number[] {
  return value < 128 ? [value] : [(value % 128) | 128, ...leb(Math.floor(value / 128))];
}

function workflow(wasm: string, more = ""): string {
  const path = join(folder, `${made++}.yaml`);
  writeFileSync(
    path,
    `apiVersion: argoproj.io/v1alpha1
kind: Workflow
metadata: {name: t}
spec:
  entrypoint: one
  templates:
    - name: one
${more}      wasm:
${wasm}`,
  );
  return path;
}

const wasi = "wasi_snapshot_preview1";

describe("atalanta inspect MODULE", () => {
  test("says what a program could do, and what it cannot", () => {
    const { status, stdout } = home.run(["inspect", guest("hello")]);
    assert.equal(status, 0);
    assert.match(stdout, /^hello\.wasm {2}command, 767 B, 10 functions/);
    assert.match(stdout, /could +print +fd_write\n +end itself +proc_exit\n/);
    assert.match(stdout, /cannot +see its environment, read files, write files, .*ask for sockets/);
    assert.match(stdout, /memory +128\.0 KiB to begin with, no maximum\n/);
    assert.match(stdout, /made by +language C99/);
    assert.match(stdout, /runs here +yes\n$/);
  });

  test("names every capability of a larger one, as words in the JSON", () => {
    assert.deepEqual(could(json(guest("probe"))), [
      "stdin",
      "output",
      "arguments",
      "environment",
      "read-files",
      "write-files",
      "clocks",
      "randomness",
      "waits",
      "descriptors",
      "ends",
    ]);
  });

  test("a descriptor is no file's where nothing can open one", () => {
    const imports = [
      [wasi, "fd_pread"],
      [wasi, "fd_pwrite"],
      [wasi, "fd_read"],
    ] as const;
    assert.deepEqual(could(json(module({ imports }))), ["stdin"]);
  });

  test("an unknown import is shown and is why the exit code is 1", () => {
    const path = module({ imports: [["env", "system"]] });
    const { status, stdout } = home.run(["inspect", path]);
    assert.equal(status, 1);
    assert.match(stdout, /unknown +function env\.system\n/);
    assert.match(stdout, /runs here +no: .*"env\.system", which the sandbox does not offer/);
  });

  for (const name of ["__proto__", "constructor", "toString", "hasOwnProperty"]) {
    test(`"${name}" of preview 1 is an unknown import`, () => {
      const found = json(module({ imports: [[wasi, name]] }));
      assert.equal(found.status, 1);
      assert.equal(found.module.refusal?.code, "module-import");
      assert.equal(found.module.unknownImports.length, 1);
    });
  }

  const refusals: readonly (readonly [string, string, () => string])[] = [
    ["module-entry", "a library", () => module({ entry: "add" })],
    [
      "limit-memory",
      "one that begins above the ceiling",
      () => module({ memory: [0, 0x80, 0x80, 2] }),
    ],
    ["module-unsupported", "one that wants threads", () => module({ memory: [3, 1, 1] })],
    ["module-invalid", "a file that is no module", () => written("not.wasm", "hello")],
    ["module-component", "a component", () => written("component.wasm", "\0asm\r\0\u0001\0")],
    [
      "module-invalid",
      "one that is cut off",
      () => written("cut.wasm", "\0asm\u0001\0\0\0\u0001\u007f"),
    ],
  ];
  for (const [code, what, path] of refusals) {
    test(`${what} is told about, and refused with ${code}`, () => {
      const found = json(path());
      assert.equal(found.status, 1);
      assert.equal(found.module.refusal?.code, code);
      assert.match(found.module.digest, /^sha256:[0-9a-f]{64}$/);
    });
  }

  test("names of a hostile module move no cursor", () => {
    const path = module({ imports: [["\u001b[2J", "\u001b]0;title\u0007\n x"]] });
    const { stdout } = home.run(["inspect", path]);
    // oxlint-disable-next-line no-control-regex -- control characters are what this is about
    assert.doesNotMatch(stdout, /[\u0000-\u0009\u000b-\u001f]/);
  });

  test("a hundred thousand unknown imports are a short text", () => {
    const imports = Array.from({ length: 100_000 }, (_, at) => ["env", `f${at}`] as const);
    const { status, stdout } = home.run(["inspect", module({ imports })]);
    assert.equal(status, 1);
    assert.ok(stdout.length < 3000, String(stdout.length));
    assert.match(stdout, /and \d+ more/);
  });

  test("a module that is not there, and a folder, are wrong input", () => {
    for (const path of [join(folder, "nothing.wasm"), folder]) {
      const { status, stderr } = home.run(["inspect", path]);
      assert.equal(status, 2);
      assert.match(stderr, /Cannot read/);
    }
  });
});

describe("atalanta inspect --diff for modules", () => {
  test("nothing new: 0", () => {
    const { status, stdout } = home.run(["inspect", guest("hello"), "--diff", guest("hello")]);
    assert.equal(status, 0);
    assert.equal(stdout, "No difference.\n");
  });

  test("a capability more is 1, and the same one less is 0", () => {
    const clock = module({ imports: [[wasi, "clock_time_get"]] });
    const none = module({});
    const up = json(clock, "--diff", none);
    assert.equal(up.status, 1);
    assert.deepEqual(up.differences[0]?.more, ["could see the clock"]);
    const down = json(none, "--diff", clock);
    assert.equal(down.status, 0);
    assert.deepEqual(down.differences[0]?.less, ["could see the clock"]);
  });

  test("another function for what it could do before is a change and no more", () => {
    const before = module({ imports: [[wasi, "path_open"]] });
    const now = module({
      imports: [
        [wasi, "path_open"],
        [wasi, "path_symlink"],
      ],
    });
    const found = json(now, "--diff", before);
    assert.equal(found.status, 0);
    assert.deepEqual(found.differences[0]?.more, []);
    assert.ok(found.differences[0]?.changed.includes("also imports path_symlink"));
  });

  test("an old module that is not there is wrong input, and a workflow is no module's older one", () => {
    assert.equal(home.run(["inspect", guest("hello"), "--diff", "none.wasm"]).status, 2);
    const file = "examples/words/workflow.yaml";
    const { status, stderr } = home.run(["inspect", guest("hello"), "--diff", file]);
    assert.equal(status, 2);
    assert.match(stderr, /cannot be compared with a workflow/);
  });
});

describe("atalanta inspect FILE", () => {
  test("shows what an example grants beside what its modules could do", () => {
    const { status, stdout } = home.run(["inspect", "examples/words/workflow.yaml"]);
    assert.equal(status, 0);
    assert.match(stdout, /^split_parts {2}examples\/words\/workflow\.yaml:\d+\n/);
    assert.match(stdout, /granted +reads \/tmp\/doc \(artifact doc\)\n +hands out \/tmp\/parts/);
    assert.equal(stdout.match(/runs here +yes/g)?.length, 3);
  });

  test("what is granted and never used is named", () => {
    const file = workflow(
      `        module: ${guest("hello")}
        args: [a]
        stdin: text
        env: [{name: TOKEN, value: x}]
`,
      `      inputs: {artifacts: [{name: doc, path: /doc, raw: {data: x}}]}
      outputs: {artifacts: [{name: out, path: /out/it}]}
`,
    );
    const found = json(file);
    assert.equal(found.status, 0);
    assert.deepEqual(found.steps[0]?.unused, [
      "variables TOKEN: it never looks at its environment",
      "arguments: it never looks at them",
      "stdin: it never reads it",
      "artifacts at /doc: it never opens a file",
      "outputs at /out/it: it never opens a file, so they will be missing",
    ]);
  });

  test("what a module could ask for and is not granted is named", () => {
    const asks = module({
      imports: [
        [wasi, "path_open"],
        [wasi, "sock_send"],
      ],
      memory: [1, 1, 16],
    });
    const file = workflow(`        module: ${asks}\n        limits: {memory: 64Ki}\n`);
    const { status, denied } = { ...json(file), ...json(file).steps[0] };
    assert.equal(status, 0);
    assert.deepEqual(denied, [
      "sockets: there are none, each call gets an errno",
      "files: none are given, it finds an empty tree of its own",
      "memory up to the 1.0 MiB that it declares: growing fails above 64.0 KiB",
    ]);
  });

  test("an image that cannot be had, and a module that is refused, are 1", () => {
    const missing = json(workflow("        image: 127.0.0.1:1/acme/none:1\n"));
    assert.equal(missing.status, 1);
    assert.equal(missing.steps[0]?.missing?.code, "registry-unavailable");
    assert.equal(json(workflow(`        module: ${module({ entry: "add" })}\n`)).status, 1);
  });

  test("--image gives the file, as for run", () => {
    const file = workflow("        image: ghcr.io/acme/none:1\n");
    assert.equal(json(file, "--image", `ghcr.io/acme/none:1=${guest("hello")}`).status, 0);
  });

  test("hosts, secrets and trust are grants; what the operator has not given is denied", () => {
    const file = workflow(
      `        module: ${guest("hello")}
        trust: process
        env: [{name: TOKEN, valueFrom: {secretKeyRef: {name: api, key: token}}}]
        permissions: {http: {allowedHosts: [{host: a.example, methods: [GET], pathPrefix: /v1}]}}
`,
    );
    const alone = json(file);
    assert.deepEqual(alone.steps[0]?.grants, {
      reads: [],
      writes: [],
      arguments: [],
      environment: ["TOKEN"],
      stdin: false,
      hosts: ["GET a.example/v1"],
      secrets: ["api/token"],
      trust: "process",
      limits: alone.steps[0]?.grants.limits,
    });
    assert.deepEqual(alone.steps[0]?.denied, [
      "hosts GET a.example/v1: the operator allows none",
      "secret api/token: the operator has not given it, so the step does not start",
    ]);
    assert.ok(alone.steps[0]?.unused.some((text) => text.startsWith("hosts GET a.example/v1:")));
    const config = written(
      "operator.yaml",
      `permissions: {http: {allowedHosts: [a.example]}}
secrets: {api: {token: {fromEnv: NEVER_READ, hosts: [a.example]}}}
`,
    );
    assert.deepEqual(json(file, "--config", config).steps[0]?.denied, []);
    const weaker = workflow(`        module: ${guest("hello")}\n`);
    const { status, differences } = json(weaker, "--diff", file);
    assert.equal(status, 1);
    assert.deepEqual(differences[0]?.more, ["runs in the process of all others"]);
    assert.equal(json(weaker, "--diff", file, "--trust", "process").status, 0);
  });

  test("a module that makes requests is told that nothing allows them", () => {
    const imports = [["atalanta_http", "send"]] as const;
    const found = json(workflow(`        module: ${module({ imports })}\n`));
    assert.deepEqual(found.steps[0]?.denied, [
      "HTTP: the step allows no host, so each request is denied",
    ]);
  });

  test("a container step is said to be outside the sandbox", () => {
    const path = resolve(folder, "container.yaml");
    writeFileSync(
      path,
      `apiVersion: argoproj.io/v1alpha1
kind: Workflow
metadata: {name: t}
spec: {entrypoint: c, templates: [{name: c, container: {image: alpine}}]}
`,
    );
    const { status, stdout } = home.run(["inspect", path]);
    assert.equal(status, 0);
    assert.match(stdout, /container +alpine, outside the sandbox/);
  });

  test("a class that is none is wrong input, of a module too", () => {
    for (const path of ["test/guests/hello/hello.wasm", "examples/first/workflow.yaml"]) {
      const { status, stderr } = home.run(["inspect", path, "--trust", "proces"]);
      assert.equal(status, 2, path);
      assert.match(stderr, /--trust "proces" is no trust class/);
    }
  });

  test("mistakes in the file are wrong input", () => {
    assert.equal(home.run(["inspect", "test/lint/ten-mistakes.yaml"]).status, 2);
  });

  test("--diff says which grants are new, and how far a limit was raised", () => {
    const before = workflow(`        module: ${guest("probe")}\n        limits: {memory: 1Mi}\n`);
    const now = workflow(
      `        module: ${guest("probe")}
        limits: {memory: 2Mi, time: 1s}
        env: [{name: TOKEN, value: x}]
`,
    );
    const up = json(now, "--diff", before);
    assert.equal(up.status, 1);
    assert.deepEqual(up.differences, [
      {
        name: "one",
        more: ["gets the variable TOKEN", "limit memory: 1Mi → 2Mi"],
        less: ["limit time: 5m → 1s", "limit cpuTime: 5m → 1s"],
        changed: [],
      },
    ]);
    assert.equal(json(now, "--diff", now).status, 0);
  });
});

function written(name: string, content: string): string {
  const path = join(folder, name);
  writeFileSync(path, Buffer.from(content, "latin1"));
  return path;
}
