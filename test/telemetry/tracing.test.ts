import assert from "node:assert/strict";
import { after, describe, test } from "node:test";
import { openTracing } from "../../src/telemetry/mod.ts";
import { Collector } from "./collector.ts";

const given = { serviceName: "tried", version: "1" };
const before = new Map(Object.entries(process.env));
/** The exporter reads the process's own variables. */
function environment(variables: Readonly<Record<string, string>>): NodeJS.ProcessEnv {
  for (const name of Object.keys(process.env))
    if (name.startsWith("OTEL_")) delete process.env[name];
  Object.assign(process.env, variables);
  return process.env;
}
after(() =>
  environment(
    Object.fromEntries(
      [...before]
        .filter(([name]) => name.startsWith("OTEL_"))
        .map(([name, value]) => [name, value ?? ""]),
    ),
  ),
);

describe("traces", () => {
  test("are off without an address, and when they are switched off", async () => {
    assert.equal(await openTracing({ ...given, environment: environment({}) }), undefined);
    for (const off of [{ OTEL_SDK_DISABLED: "true" }, { OTEL_TRACES_EXPORTER: "none" }]) {
      const variables = environment({ OTEL_EXPORTER_OTLP_ENDPOINT: "http://127.0.0.1:1", ...off });
      assert.equal(await openTracing({ ...given, environment: variables }), undefined);
    }
    const grpc = environment({
      OTEL_EXPORTER_OTLP_ENDPOINT: "http://127.0.0.1:1",
      OTEL_EXPORTER_OTLP_PROTOCOL: "grpc",
    });
    await assert.rejects(openTracing({ ...given, environment: grpc }), /protocol "grpc"/);
  });

  test("go to a collector with the resource, headers and times that they should have", async () => {
    await using collector = await Collector.start();
    const variables = environment({
      OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
      OTEL_EXPORTER_OTLP_HEADERS: "x-tenant=blue",
      OTEL_SERVICE_NAME: "other",
      OTEL_RESOURCE_ATTRIBUTES: "deployment.environment=test",
    });
    const traceId = "0123456789abcdef0123456789abcdef";
    {
      await using tracing = await openTracing({ ...given, environment: variables });
      assert(tracing);
      const span = tracing.start("step", { traceId, startMs: 1000, attributes: { size: 3 } });
      assert.equal(span.traceId, traceId);
      assert.match(span.traceparent, new RegExp(`^00-${traceId}-[0-9a-f]{16}-01$`));
      span.child("inner", { startMs: 1001 }).end({ endMs: 1002.5 });
      span.end({ error: "why", endMs: 1003 });
      const below = tracing.start("below", {
        traceparent: `00-${"a".repeat(32)}-${"b".repeat(16)}-01`,
        traceId,
      });
      assert.equal(below.traceId, "a".repeat(32));
      below.end();
      const drawn = tracing.start("drawn", { traceId: "nonsense" });
      assert.notEqual(drawn.traceId, traceId);
      drawn.end();
    }
    const named = (name: string): Collector["spans"][number] => {
      const found = collector.spans.find((span) => span.name === name);
      assert(found, collector.spans.map((span) => span.name).join());
      return found;
    };
    assert.equal(named("step").traceId, traceId);
    assert.equal(named("step").parentId, "");
    assert.deepEqual([named("step").status, named("step").message], [2, "why"]);
    assert.equal(named("step").attributes.get("size"), "3");
    assert.equal(named("inner").parentId, named("step").spanId);
    assert.equal(named("inner").endNs - named("inner").startNs, 1_500_000n);
    assert.equal(named("below").parentId, "b".repeat(16));
    assert.equal(collector.resource.get("service.name"), "other");
    assert.equal(collector.resource.get("deployment.environment"), "test");
    assert.equal(collector.headers[0]?.["x-tenant"], "blue");
  });

  for (const [what, answer] of [
    ["refuses", { status: 503 }],
    ["hangs", undefined],
  ] as const) {
    test(`a collector that ${what} delays nothing, and the end only for seconds`, async () => {
      await using collector = await Collector.start();
      collector.answer = answer;
      const begun = performance.now();
      {
        await using tracing = await openTracing({
          ...given,
          environment: environment({ OTEL_EXPORTER_OTLP_ENDPOINT: collector.url }),
        });
        assert(tracing);
        for (let count = 0; count < 20_000; count += 1) tracing.start("many").end();
        assert(performance.now() - begun < 3000);
      }
      assert(performance.now() - begun < 15_000);
      assert(collector.requests > 0);
    });
  }

  test("a collector that is not there is told once in a while, and no more", async () => {
    const troubles: string[] = [];
    {
      await using tracing = await openTracing({
        ...given,
        environment: environment({ OTEL_EXPORTER_OTLP_ENDPOINT: "http://127.0.0.1:9" }),
        onTrouble: (message) => void troubles.push(message),
      });
      tracing?.start("lost").end();
    }
    assert(troubles.length >= 1 && troubles.length < 10, troubles.join("\n"));
  });
});
