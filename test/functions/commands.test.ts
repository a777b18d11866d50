import assert from "node:assert/strict";
import { copyFileSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { Home, root, type Started } from "../cli/command.ts";
import { Collector } from "../telemetry/collector.ts";

const home = new Home();
let collector: Collector;
let server: Started;
let url = "";
let token = "";
const words = join(root, "examples/functions/words.wasm");

async function run(
  args: readonly string[],
  input?: string,
): Promise<{ readonly code: number | null; readonly stdout: string; readonly stderr: string }> {
  const started = home.start(args);
  started.process.stdin?.end(input ?? "");
  const code = await started.ended;
  return { code, stdout: started.stdout, stderr: started.stderr };
}

before(async () => {
  collector = await Collector.start();
  const file = join(home.folder, "tokens.json");
  const made = await run([
    "token",
    "tester",
    "--scope",
    "default:admin",
    "--scope",
    "*:read",
    "--file",
    file,
  ]);
  assert.equal(made.code, 0, made.stderr);
  token = made.stdout.trim();
  // Of a token only its digest is kept.
  assert.ok(!readFileSync(file, "utf8").includes(token));
  home.environment["OTEL_EXPORTER_OTLP_ENDPOINT"] = collector.url;
  server = home.start([
    "serve",
    "--listen",
    "0.0.0.0:0",
    "--tokens",
    file,
    "--image",
    `words=${words}`,
    "--image",
    `ghcr.io/acme/resize:1=${words}`,
    "--image",
    `ghcr.io/acme/mail:2=${words}`,
  ]);
  delete home.environment["OTEL_EXPORTER_OTLP_ENDPOINT"];
  await server.prints(/Listens on \S+/);
  url = (/Listens on (\S+)/.exec(server.stdout)?.[1] ?? "").replace("0.0.0.0", "127.0.0.1");
  home.environment["ATALANTA_SERVER"] = url;
  home.environment["ATALANTA_TOKEN"] = token;
});
after(async () => {
  server.process.kill("SIGKILL");
  await server.ended;
  await collector[Symbol.asyncDispose]();
  home[Symbol.dispose]();
});

describe("commands for functions", () => {
  test("without a token are refused, and say what to do", async () => {
    delete home.environment["ATALANTA_TOKEN"];
    const refused = await run(["functions"]);
    home.environment["ATALANTA_TOKEN"] = token;
    assert.notEqual(refused.code, 0);
    assert.match(refused.stderr, /unauthenticated[\s\S]*ATALANTA_TOKEN/);
  });

  test("deploy, list, show, call, and remove", async () => {
    const made = await run(["deploy", "w", "words", "--limit", "memory=64Mi", "--pure", "greet"]);
    assert.equal(made.code, 0, made.stderr);
    assert.match(
      made.stdout,
      /^Deployed default\/w: version \S+, sha256:[0-9a-f]{64}, with greet, shout, words\n$/,
    );
    assert.match((await run(["functions"])).stdout, /^NAME +IMAGE[\s\S]*\nw +words +sha256:/);
    assert.equal((await run(["call", "w", "greet", "--arg", "Ada"])).stdout, '"Hello, Ada!"\n');
    assert.equal((await run(["call", "w", "shout", "--input", "-"], "loud")).stdout, "LOUD");
    assert.equal(
      (await run(["call", "w", "words", "--input", "-"], "one two")).stdout,
      '{"word":"one","length":3}\n{"word":"two","length":3}\n',
    );
    const json = await run(["call", "w", "greet", "--arg", "3", "--json"]);
    assert.equal(json.code, 1);
    const said = JSON.parse(json.stdout) as Record<string, unknown>;
    assert.deepEqual(
      [said["ok"], said["code"], said["name"]],
      [false, "function-threw", "TypeError"],
    );
    const top = await run(["top", "--once", "--json"]);
    assert.equal(
      (JSON.parse(top.stdout) as { targets: { target: string }[] }).targets.some(
        ({ target }) => target === "default/w",
      ),
      true,
    );
    assert.equal((await run(["functions", "w", "--remove"])).code, 0);
    assert.equal((await run(["call", "w", "greet", "--arg", "Ada"])).code, 1);
  });

  test("put calls into traces, below their caller's", async () => {
    await run(["deploy", "traced", "words"]);
    const trace = "0af7651916cd43dd8448eb211c80319c";
    const response = await fetch(`${url}/v1/namespaces/default/functions/traced/call/greet`, {
      method: "POST",
      body: '["Ada"]',
      headers: {
        "content-type": "application/json",
        authorization: `Bearer ${token}`,
        traceparent: `00-${trace}-b7ad6b7169203331-01`,
      },
    });
    assert.equal(response.status, 200);
    for (let left = 400; !collector.spans.some(({ traceId }) => traceId === trace); left--) {
      assert.ok(left > 0, "no span came");
      await new Promise((done) => setTimeout(done, 25));
    }
    const span = collector.spans.find(({ traceId }) => traceId === trace);
    assert.equal(span?.name, "default/traced greet");
    assert.equal(span.parentId, "b7ad6b7169203331");
    assert.equal(span.attributes.get("faas.name"), "default/traced");
  });

  test("of --help work as they stand", async () => {
    copyFileSync(words, join(home.folder, "greet.wasm"));
    copyFileSync(words, join(home.folder, "resize.wasm"));
    const pages = ["call", "deploy", "functions", "types", "top", "token"];
    let ran = 0;
    for (const page of pages) {
      const help = await run([page, "--help"]);
      const lines = [...help.stdout.matchAll(/^ {2}atalanta (.+)$/gm)].map(([, line = ""]) => line);
      assert.ok(lines.length > 0, page);
      for (const line of lines) {
        // The programs that the examples name have the functions of ours.
        const adapted = line
          .replace(/ > \S+$/, "")
          .replace(/--server \S+ ?/, "")
          .replaceAll(/(greet|resize)\.wasm/g, join(home.folder, "$1.wasm"))
          .replace("tokens.json", join(home.folder, "others.json"))
          .replace(/ (resize|render) --input photo\.jpg/, ` shout --input ${join(root, "LICENSE")}`)
          .replace(/ --arg '\{.*?\}'/, "");
        if (
          adapted === "top" ||
          adapted.includes("--remove") ||
          adapted.startsWith("types ghcr.io")
        )
          continue;
        const { code, stderr } = await run(adapted.split(" "));
        assert.equal(code, 0, `${line}\n${adapted}\n${stderr}`);
        ran++;
      }
    }
    assert.ok(ran > 7);
  });

  test("say what is wrong with what they were given", async () => {
    for (const [args, why] of [
      [["serve", "--listen", "0.0.0.0:0"], /nothing says who they are[\s\S]*--tokens/],
      [["serve", "--tls-cert", "x"], /go together/],
      [["serve", "--oidc-issuer", "https://x.example.com"], /--oidc-audience/],
      [["runner"], /without --nats/],
      [
        ["serve", "--nats", "nats://127.0.0.1:1"],
        /broker-unavailable[\s\S]*Cannot connect to nats:\/\/127\.0\.0\.1:1/,
      ],
      [["token", "x", "--scope", "everything", "--file", join(home.folder, "x.json")], /no scope/],
      [["call", "nope.wasm", "f"], /module-not-found/],
    ] as const) {
      const { code, stderr } = await run(args);
      assert.notEqual(code, 0, args.join(" "));
      assert.match(stderr, why, args.join(" "));
    }
  });
});
