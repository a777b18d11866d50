import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { Home, jsonLines, root } from "./cli/command.ts";

const home = new Home();
home.environment["ATALANTA_CONTAINER_RUNTIME"] = "/nowhere/docker";
after(() => home[Symbol.dispose]());

const page = "test/cli/page.yaml";
const approve = "test/cli/approve.yaml";
const broken = ["run", page, "-p", "broken=yes", "--quiet"];

/** Times, digests and random letters differ from run to run. */
function steady(text: string): string {
  return text
    .replace(/\d+(\.\d+)? (ms|s)\b/g, "TIME")
    .replace(/^(Started|Finished): .*$/gm, "$1: WHEN")
    .replace(/ {2,}/g, "  ");
}

function lines(text: string): readonly string[] {
  return text.trimEnd().split("\n");
}

describe("atalanta run", () => {
  test("a pipe gets a line for each node that ended, then outputs, where they lie, and where the time went", () => {
    const out = join(home.folder, "out");
    const { status, stdout, stderr } = home.run([
      "run",
      page,
      "--name",
      "lines",
      "--output-dir",
      out,
    ]);
    assert.equal(status, 0, stderr);
    assert.equal(stderr, "");
    const text = steady(stdout);
    assert.match(text, /^✔ lines\.count {2}Succeeded {2}TIME\n/);
    assert.match(text, /\n✔ lines: Succeeded in TIME, 6 steps\n\nOutputs\n/);
    assert.match(text, /\n {2}seen {2}parameter {2}\["page 0","page 1","page 2"\]\n/);
    assert.match(
      text,
      /\n {2}index {2}artifact {2}9 B {2}sha256:[0-9a-f]{16} {2}→ .*\/out\/index\n/,
    );
    assert.match(
      text,
      /time in {2}steps {2}queue {2}pull {2}compile {2}instantiate {2}run {2}artifacts/,
    );
    assert.match(text, /\n {2}page {2}3 {2}/);
    assert.equal(readFileSync(join(out, "index"), "utf8"), "the index");
  });

  test("--json tells of the start, each node and the end, one line each", () => {
    const { status, stdout } = home.run(["run", page, "--name", "events", "--json", "--log"]);
    assert.equal(status, 0);
    const events = jsonLines(stdout);
    assert.deepEqual(events[0], {
      type: "run-started",
      name: "events",
      uid: events[0]?.["uid"],
      namespace: "default",
      startedAt: events[0]?.["startedAt"],
      parameters: {},
      artifacts: {},
    });
    const node = events.findLast(
      ({ type, name }) => type === "node" && name === "events.page(1:1)",
    );
    assert.equal(node?.["phase"], "Succeeded");
    assert.equal(node["nodeType"], "Plugin");
    assert.equal((node["outputs"] as { result: string }).result, "page 1");
    assert.equal(typeof (node["timings"] as { runMs: unknown }).runMs, "number");
    const output = events.filter(({ type }) => type === "output");
    assert.ok(
      output.some(
        ({ name, stream, text }) =>
          name === "page(2:2)" && stream === "stdout" && text === "page 2",
      ),
    );
    assert.ok(
      output.some(
        ({ name, stream, text }) =>
          name === "check(0)" && stream === "stderr" && text === "no paper left",
      ),
    );
    const end = events.at(-1);
    assert.equal(end?.["type"], "run-finished");
    assert.equal(end["phase"], "Succeeded");
    assert.deepEqual(end["outputs"], {
      parameters: { seen: '["page 0","page 1","page 2"]' },
      artifacts: (end["outputs"] as { artifacts: unknown }).artifacts,
    });
  });

  test("a failure says which node, which template at which line, its exit code and last words, and what to do", () => {
    const { status, stdout, stderr } = home.run([...broken, "--name", "fails"]);
    assert.equal(status, 1);
    assert.equal(stdout, "");
    assert.match(stderr, /✖ fails\.check\(1\) {2}Failed: .*exit code 3/);
    // The attempt before has failed, too, but its failure is not what ended the run.
    assert.doesNotMatch(stderr, /check\(0\)/);
    assert.match(
      stderr,
      /\n {2}template "check" at test\/cli\/page\.yaml:\d+\n {2}stderr:\n {2}\| no paper left\n/,
    );
    assert.match(
      stderr,
      /atalanta get fails .*\n {2}atalanta logs fails 'check\(1\)' .*\n {2}atalanta retry fails /,
    );
  });

  test("parameters come from a file, the command line comes first", () => {
    const file = join(home.folder, "parameters.yaml");
    writeFileSync(file, "pages: 2\nbroken: 'no'\n");
    const { stdout } = home.run(["run", page, "-f", file, "-p", "pages=1", "--json"]);
    const end = jsonLines(stdout).at(-1) as { outputs: { parameters: { seen: string } } };
    assert.equal(end.outputs.parameters.seen, '["page 0"]');
  });

  test("another entrypoint, and a name from a prefix", () => {
    const { stdout } = home.run([
      "run",
      page,
      "--entrypoint",
      "index",
      "--generate-name",
      "idx-",
      "--json",
    ]);
    const events = jsonLines(stdout);
    assert.match(String(events[0]?.["name"]), /^idx-[a-z0-9]{5}$/);
    assert.equal(events.at(-1)?.["phase"], "Succeeded");
    const wrong = home.run(["run", page, "--entrypoint", "indx"]);
    assert.equal(wrong.status, 2);
    assert.match(wrong.stderr, /no template "indx".*\n {2}hint: There are: main, count/);
  });

  test("container steps without a runtime end it before anything has begun", () => {
    const before = home.run(["list", "-o", "name"]).stdout;
    const args = [
      "run",
      "test/cli/everything.yaml",
      "-p",
      "title=x",
      "-a",
      "doc=LICENSE",
      "--json",
    ];
    const { status, stdout, stderr } = home.run(args);
    assert.equal(status, 2);
    assert.equal(stdout, "");
    const failure = jsonLines(stderr).find(({ type }) => type === "error");
    assert.equal(failure?.["code"], "container-runtime");
    assert.equal(home.run(["list", "-o", "name"]).stdout, before);
  });

  test("Ctrl-C leaves a run that says how to go on, exits with 130, and goes on", async () => {
    const started = home.start(["run", approve, "--name", "left"]);
    await started.prints(/waits for resume/);
    started.process.kill("SIGINT");
    assert.equal(await started.ended, 130);
    assert.match(started.stderr, /error\[aborted\].*"left".*\n {2}hint: .*atalanta resume left/);
    assert.match(home.run(["list"]).stdout, /left +Running \(Interrupted\)/);
    assert.match(
      home.run(["wait", "left"]).stderr,
      /no process has it.*\n {2}hint: .*atalanta resume left/,
    );
    const { status, stdout, stderr } = home.run(["resume", "left", "-p", "approved=yes"]);
    assert.equal(status, 0, stderr);
    // What had been accepted is not run again.
    assert.doesNotMatch(stdout, /left\[0\]\.first/);
    assert.match(
      home.run(["logs", "left"]).stdout,
      /^\[0\]\.first: one\n\[2\]\.last: yes\nonExit: tidied\n$/,
    );
  });

  test("a run goes on from another folder than the one it began in", async () => {
    const started = home.start(["run", approve, "--name", "elsewhere"]);
    await started.prints(/waits for resume/);
    started.process.kill("SIGINT");
    assert.equal(await started.ended, 130);
    const resume = ["resume", "elsewhere", "-p", "approved=yes", "--quiet"];
    const { status, stderr } = home.run(resume, { cwd: home.folder });
    assert.equal(status, 0, stderr);
  });

  test("a reader that goes away (| head) ends it without a word", async () => {
    const started = home.start(["run", page, "-p", "pages=300", "--name", "pipe"]);
    started.process.stdout?.once("data", () => started.process.stdout?.destroy());
    assert.equal(await started.ended, 141);
    assert.equal(started.stderr, "");
    assert.equal(home.run(["resume", "pipe", "--quiet"]).status, 0);
  });

  test("atalanta.yaml beside the workflow names modules for images; a mistake in it has its place", () => {
    const workflow = join(home.folder, "flow.yaml");
    writeFileSync(
      workflow,
      "apiVersion: argoproj.io/v1alpha1\nkind: Workflow\nmetadata: {generateName: flow-}\nspec:\n  entrypoint: a\n  templates: [{name: a, wasm: {image: act, imagePullPolicy: Never, args: [line, hi]}}]\n",
    );
    const file = join(home.folder, "atalanta.yaml");
    writeFileSync(file, `images:\n  act: ${join(root, "test/guests/act/act.wasm")}\n`);
    assert.equal(home.run(["run", workflow, "--quiet"]).status, 0);
    for (const [text, place, message] of [
      ["images: {}\nimgaes: {}\n", "2:1", /Unknown key "imgaes"/],
      ["images:\n  act: [1]\n", "2:8", /images\."act" is no text/],
      ["images: [\n", "2:1", /YAML/],
      ["- images\n", "1:1", /no mapping/],
    ] as const) {
      writeFileSync(file, text);
      const { status, stderr } = home.run(["run", workflow, "--quiet"]);
      assert.equal(status, 2, stderr);
      assert.match(stderr, message);
      assert.ok(stderr.startsWith(`${file}:${place}: error[invalid-argument]`), stderr);
    }
    rmSync(file);
    const missing = home.run(["run", workflow, "--quiet", "--name", "flow-missing"]);
    assert.equal(missing.status, 1);
    assert.match(missing.stderr, /docker\.io\/library\/act:latest is not here/);
    const given = ["--image", `act=${join(root, "test/guests/act/act.wasm")}`];
    assert.equal(home.run(["retry", "flow-missing", "--quiet", ...given]).status, 0);
  });
});

describe("the verbs", () => {
  test("get shows the tree as Argo does, with times, messages and outputs", () => {
    home.run(["run", page, "--name", "shown", "--quiet"]);
    const { stdout } = home.run(["get", "shown"]);
    assert.equal(steady(stdout), readFileSync(join(root, "test/cli/get.txt"), "utf8"));
    assert.equal(home.run(["get", "@latest", "-o", "name"]).stdout, "shown\n");
  });

  test("get -o json is Argo's Workflow: nodes by id, times, outputs; -o yaml is the same", () => {
    const { stdout } = home.run(["get", "shown", "-o", "json"]);
    const workflow = JSON.parse(stdout) as {
      kind: string;
      metadata: { name: string };
      spec: { entrypoint: string };
      status: { phase: string; nodes: Record<string, Record<string, unknown>> };
    };
    assert.equal(workflow.kind, "Workflow");
    assert.equal(workflow.metadata.name, "shown");
    assert.equal(workflow.spec.entrypoint, "main");
    assert.equal(workflow.status.phase, "Succeeded");
    const node = Object.values(workflow.status.nodes).find(
      ({ displayName }) => displayName === "index",
    );
    assert.equal(node?.["type"], "Plugin");
    assert.equal(node["templateName"], "index");
    assert.equal(node["boundaryID"], "shown");
    assert.match(String(node["startedAt"]), /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
    const [artifact] = (node["outputs"] as { artifacts: { name: string; size: number }[] })
      .artifacts;
    assert.equal(artifact?.size, 9);
    assert.match(home.run(["get", "shown", "-o", "yaml"]).stdout, /\n {2}phase: Succeeded\n/);
  });

  test("a loop of more than 20 items is one line with counts; -o wide shows every item", () => {
    home.run(["run", page, "--name", "many", "-p", "pages=30", "--quiet"]);
    assert.match(
      steady(home.run(["get", "many"]).stdout),
      /├─✔ page {2}TIME {2}30 of 30\n ├─✔ index/,
    );
    const wide = home.run(["get", "many", "-o", "wide"]).stdout;
    assert.equal([...wide.matchAll(/✔ page\(\d+:\d+\)/g)].length, 30);
  });

  test("list filters by phase, age, prefix and whether it has ended", () => {
    const names = (...args: readonly string[]): readonly string[] =>
      lines(home.run(["list", "-o", "name", ...args]).stdout);
    const all = names();
    assert.ok(all.includes("fails") && all.includes("shown"));
    assert.deepEqual(names("--status", "Failed", "--prefix", "fai"), ["fails"]);
    assert.deepEqual(names("--running"), [""]);
    assert.equal(names("--completed", "--since", "1h").length, all.length);
    assert.deepEqual(names("--older", "1h"), [""]);
    assert.match(home.run(["list"]).stdout, /^ {2}NAME +STATUS +AGE +DURATION +MESSAGE\n/);
    assert.match(
      home.run(["list", "-o", "wide", "--prefix", "fails"]).stdout,
      /fails +Failed.*7\/7 +broken=yes/,
    );
    const [first] = JSON.parse(home.run(["list", "-o", "json"]).stdout) as {
      metadata: { name: string };
    }[];
    assert.equal(first?.metadata.name, all[0]);
    assert.equal(home.run(["list", "--status", "Broken"]).status, 2);
  });

  test("logs prints what each step wrote, one node's only, its last lines, or what matches", () => {
    assert.equal(
      home.run(["logs", "shown"]).stdout.split("\n").toSorted().join("\n"),
      [
        "",
        "check(0): no paper left",
        "count: [0,1,2]",
        "page(0:0): page 0",
        "page(1:1): page 1",
        "page(2:2): page 2",
      ].join("\n"),
    );
    assert.equal(home.run(["logs", "shown", "page(1:1)"]).stdout, "page(1:1): page 1\n");
    assert.deepEqual(lines(home.run(["logs", "shown", "page"]).stdout).toSorted(), [
      "page(0:0): page 0",
      "page(1:1): page 1",
      "page(2:2): page 2",
    ]);
    assert.equal(home.run(["logs", "shown", "check"]).stdout, "check(0): no paper left\n");
    assert.equal(home.run(["logs", "shown", "shown.check"]).stdout, "check(0): no paper left\n");
    assert.equal(home.run(["logs", "shown", "--grep", "^no "]).stdout, "check(0): no paper left\n");
    assert.equal(home.run(["logs", "shown", "count", "--tail", "0"]).stdout, "");
    const wrong = home.run(["logs", "shown", "nothing"]);
    assert.equal(wrong.status, 2);
    assert.match(wrong.stderr, /no node "nothing".*\n {2}hint: .*atalanta get shown/);
  });

  test("retry runs what failed with other parameters, and keeps what succeeded", () => {
    home.run([...broken, "--name", "again"]);
    const refused = home.run(["retry", "shown"]);
    assert.equal(refused.status, 2);
    assert.match(refused.stderr, /"shown" has succeeded/);
    const { status, stdout } = home.run(["retry", "again", "-p", "broken=no"]);
    assert.equal(status, 0);
    assert.doesNotMatch(stdout, /again\.page/);
    assert.match(stdout, /✔ again: Succeeded/);
    assert.match(home.run(["get", "again"]).stdout, /^ {2}broken: +no$/m);
    const { spec } = JSON.parse(home.run(["get", "again", "-o", "json"]).stdout) as {
      readonly spec: { readonly arguments: { readonly parameters: readonly object[] } };
    };
    assert.ok(
      spec.arguments.parameters.some(
        (item) => JSON.stringify(item) === JSON.stringify({ name: "broken", value: "no" }),
      ),
      JSON.stringify(spec.arguments),
    );
  });

  test("retry --restart-successful runs a chosen node again, and what depends on it", () => {
    const args = ["--restart-successful", "--node-field-selector", "displayName=index"];
    const { status, stdout } = home.run(["retry", "shown", ...args]);
    assert.equal(status, 0);
    assert.match(stdout, /✔ shown\.index/);
    assert.doesNotMatch(stdout, /✔ shown\.count/);
    const wrong = home.run([
      "retry",
      "shown",
      "--restart-successful",
      "--node-field-selector",
      "colour=red",
    ]);
    assert.equal(wrong.status, 2);
    assert.match(wrong.stderr, /"colour=red" is no condition/);
  });

  test("a live run is watched, resumed with a value and waited for from other processes", async () => {
    const started = home.start(["run", approve, "--name", "live"]);
    await started.prints(/waits for resume/);
    assert.match(home.run(["list", "--running"]).stdout, /● live +Running +/);
    assert.match(home.run(["delete", "live"]).stderr, /error\[journal-busy\]/);
    assert.match(
      home.run(["resume", "live", "--node-field-selector", "displayName=no"]).stderr,
      /Suspended are: approve/,
    );
    const watching = home.start(["watch", "live"]);
    const waiting = home.start(["wait", "live"]);
    const following = home.start(["logs", "live", "--follow"]);
    await watching.prints(/waits for resume/);
    const args = [
      "resume",
      "live",
      "--node-field-selector",
      "displayName=approve",
      "-p",
      "approved=yes",
    ];
    assert.equal(home.run(args).stdout, "workflow live resumed\n");
    assert.equal(await started.ended, 0);
    assert.equal(await watching.ended, 0);
    assert.equal(await waiting.ended, 0);
    assert.equal(await following.ended, 0);
    assert.match(watching.stdout, /✔ live\[2\]\.last/);
    assert.equal(waiting.stdout, "live Succeeded\n");
    assert.equal(following.stdout, "[0].first: one\n[2].last: yes\nonExit: tidied\n");
  });

  test("stop lets the exit handler run, terminate does not, suspend holds the next step back", async () => {
    for (const [verb, handled] of [
      ["stop", true],
      ["terminate", false],
    ] as const) {
      const started = home.start(["run", approve, "--name", verb]);
      await started.prints(/waits for resume/);
      assert.equal(
        home.run([verb, verb]).stdout,
        `workflow ${verb} ${verb}${verb === "stop" ? "ped" : "d"}\n`,
      );
      assert.equal(await started.ended, 1, started.stdout + started.stderr);
      assert.equal(started.stdout.includes("onExit  Succeeded"), handled, started.stdout);
    }
    const held = home.start(["run", approve, "--name", "held"]);
    await held.prints(/waits for resume/);
    assert.equal(home.run(["suspend", "held"]).status, 0);
    const status = (): string => home.run(["list", "--prefix", "held"]).stdout;
    for (let tries = 0; tries < 50 && !status().includes("Running (Suspended)"); tries += 1);
    held.process.kill("SIGINT");
    await held.ended;
    assert.match(status(), /Running \(Suspended\)/);
    assert.equal(
      home.run(["terminate", "held", "--dry-run"]).stdout,
      "workflow held terminated (dry run)\n",
    );
    assert.equal(home.run(["stop", "held", "--message", "enough"]).status, 0);
    const { stdout } = home.run(["get", "held"]);
    assert.match(stdout, /Status: +Failed/);
    assert.match(stdout, /✔ held\.onExit/);
  });

  test("cp writes what steps handed on, of one node or of all", () => {
    const all = join(home.folder, "copied");
    const { status, stderr } = home.run(["cp", "shown", all]);
    assert.equal(status, 0, stderr);
    const written = readdirSync(all, { recursive: true, withFileTypes: true });
    assert.ok(written.some((item) => item.isFile()));
    for (const line of stderr.trim().split("\n")) assert.match(line, /^wrote .*copied/);
    const one = join(home.folder, "one");
    home.run(["cp", "shown", one, "--node-id", "shown.index"]);
    assert.equal(readdirSync(one).length, 1);
    const none = home.run(["cp", "shown", one, "--node-id", "nobody"]);
    assert.equal(none.status, 2);
    assert.match(none.stderr, /error\[not-found\].*"nobody"/);
  });

  test("delete forgets runs by name or filter, and only says so with --dry-run", () => {
    assert.equal(home.run(["delete"]).status, 2);
    assert.match(
      home.run(["delete", "shwn"]).stderr,
      /no run "shwn".*\n {2}hint: Did you mean "shown"/,
    );
    assert.equal(
      home.run(["delete", "shown", "--dry-run"]).stdout,
      "workflow shown deleted (dry run)\n",
    );
    assert.equal(home.run(["delete", "shown"]).stdout, "workflow shown deleted\n");
    assert.equal(home.run(["get", "shown"]).status, 2);
    assert.match(
      home.run(["delete", "--completed", "--status", "Failed"]).stdout,
      /workflow fails deleted\n/,
    );
    home.run(["delete", "--all"]);
    assert.equal(home.run(["list"]).stdout, "No workflows found\n");
    assert.match(home.run(["get", "@latest"]).stderr, /error\[not-found\]: There is no run yet/);
  });
});

describe("completion", () => {
  const complete = (...words: readonly string[]): readonly string[] =>
    lines(home.run(["complete", "--", String(words.length - 1), ...words]).stdout);

  test("completes commands, options, choices and names of runs, and leaves files to the shell", () => {
    home.run(["run", page, "--name", "completed", "--quiet"]);
    assert.deepEqual(complete("atalanta", "re"), ["rewrite", "resume", "retry"]);
    assert.ok(complete("atalanta", "run", "--").includes("--output-dir"));
    assert.deepEqual(complete("atalanta", "get", "-o", "j"), ["json"]);
    assert.deepEqual(complete("atalanta", "get", ""), ["@latest", "completed"]);
    assert.deepEqual(complete("atalanta", "completion", ""), ["bash", "zsh", "fish"]);
    assert.deepEqual(complete("atalanta", "run", ""), [""]);
  });

  test("the script works in bash", (context) => {
    if (!existsSync("/bin/bash")) return context.skip("bash is not here");
    const command = `${process.execPath} ${join(root, "src/cli/main.ts")}`;
    const script = home.run(["completion", "bash"]).stdout.replaceAll("$(atalanta", `$(${command}`);
    const asked = `${script}\nCOMP_WORDS=(atalanta logs compl); COMP_CWORD=2; _atalanta; printf '%s\\n' "\${COMPREPLY[@]}"`;
    assert.equal(home.shell(asked), "completed\n");
  });
});
