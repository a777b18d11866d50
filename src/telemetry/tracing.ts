import type * as Api from "@opentelemetry/api";
import type { IdGenerator } from "@opentelemetry/sdk-trace-base";
import { randomBytes } from "node:crypto";
import { Failure } from "../errors/mod.ts";
import type { Span, SpanOptions, Tracing } from "./mod.ts";

export interface TracingOptions {
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** Unless `OTEL_SERVICE_NAME` says something else. */
  readonly serviceName: string;
  readonly version: string;
  /** What keeps traces from being sent. */
  readonly onTrouble?: (message: string) => void;
}

/** How long the last spans may take at the end. */
const flushMs = 5000;

/**
 * Traces, if the environment names where they go (`OTEL_EXPORTER_OTLP_ENDPOINT` or `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`); undefined if not, and then nothing is loaded. Throws
 * `invalid-argument` for a protocol that is not offered.
 */
export async function openTracing(options: TracingOptions): Promise<Tracing | undefined> {
  const { environment, serviceName, version, onTrouble } = options;
  const variable = (name: string): string | undefined => environment[name]?.trim() || undefined;
  const isOff =
    variable("OTEL_SDK_DISABLED")?.toLowerCase() === "true" ||
    variable("OTEL_TRACES_EXPORTER") === "none";
  const where =
    variable("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") ?? variable("OTEL_EXPORTER_OTLP_ENDPOINT");
  if (isOff || where === undefined) return undefined;
  const protocol =
    variable("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") ?? variable("OTEL_EXPORTER_OTLP_PROTOCOL");
  if (protocol !== undefined && protocol !== "http/protobuf") {
    throw new Failure("invalid-argument", `Traces cannot be sent by the protocol "${protocol}"`, {
      hint: "Set OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf, and the port of the collector for it (4318).",
    });
  }
  const [api, sdk, { OTLPTraceExporter }, resources] = await Promise.all([
    import("@opentelemetry/api"),
    import("@opentelemetry/sdk-trace-base"),
    import("@opentelemetry/exporter-trace-otlp-proto"),
    import("@opentelemetry/resources"),
  ]);
  const told = (message: string): void => onTrouble?.(message);
  const quiet = (): void => undefined;
  api.diag.setLogger(
    { error: told, warn: told, info: quiet, debug: quiet, verbose: quiet },
    api.DiagLogLevel.WARN,
  );
  const ids = new Ids();
  const own = { "service.name": serviceName, "service.version": version };
  const provider = new sdk.BasicTracerProvider({
    idGenerator: ids,
    // What the environment says goes before what we say.
    resource: resources
      .resourceFromAttributes(own)
      .merge(resources.detectResources({ detectors: [resources.envDetector] })),
    spanProcessors: [new sdk.BatchSpanProcessor(new OTLPTraceExporter())],
  });
  return new OtlpTracing(api, ids, provider.getTracer("atalanta", version), async () => {
    const late = new Promise((done) => setTimeout(done, flushMs).unref());
    await Promise.race([provider.shutdown().catch(() => undefined), late]);
  });
}

/** Ids of new traces are drawn, but for the next one where somebody has said it. */
class Ids implements IdGenerator {
  next: string | undefined;

  generateTraceId(): string {
    const id = this.next ?? randomBytes(16).toString("hex");
    this.next = undefined;
    return id;
  }

  generateSpanId(): string {
    return randomBytes(8).toString("hex");
  }
}

class OtlpTracing implements Tracing {
  readonly #api: typeof Api;
  readonly #ids: Ids;
  readonly #tracer: Api.Tracer;
  readonly #close: () => Promise<void>;

  constructor(api: typeof Api, ids: Ids, tracer: Api.Tracer, close: () => Promise<void>) {
    this.#api = api;
    this.#ids = ids;
    this.#tracer = tracer;
    this.#close = close;
  }

  start(name: string, options: Parameters<Tracing["start"]>[1] = {}): Span {
    const { traceparent = "", traceId = "" } = options;
    const { trace, ROOT_CONTEXT } = this.#api;
    const [, id = "", parent = "", flags = ""] =
      /^[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})/.exec(traceparent) ?? [];
    if (id !== "") {
      const traceFlags = Number.parseInt(flags, 16);
      const context = { traceId: id, spanId: parent, traceFlags, isRemote: true };
      return this.#begin(name, options, trace.setSpanContext(ROOT_CONTEXT, context));
    }
    this.#ids.next = /^(?!0{32})[0-9a-f]{32}$/.test(traceId) ? traceId : undefined;
    return this.#begin(name, options, ROOT_CONTEXT);
  }

  #begin(name: string, { attributes, startMs }: SpanOptions, parent: Api.Context): Span {
    const { trace, SpanStatusCode } = this.#api;
    const span = this.#tracer.startSpan(
      name,
      {
        ...(attributes ? { attributes } : {}),
        ...(startMs === undefined ? {} : { startTime: startMs }),
      },
      parent,
    );
    const { traceId, spanId, traceFlags } = span.spanContext();
    return {
      traceId,
      traceparent: `00-${traceId}-${spanId}-${traceFlags.toString(16).padStart(2, "0")}`,
      child: (inner, options = {}) => this.#begin(inner, options, trace.setSpan(parent, span)),
      end: ({ attributes: more, error, endMs } = {}) => {
        if (more) span.setAttributes(more);
        if (error !== undefined) span.setStatus({ code: SpanStatusCode.ERROR, message: error });
        span.end(endMs);
      },
    };
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#close();
  }
}
