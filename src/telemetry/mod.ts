/** Traces over OTLP, set up by the standard variables (`OTEL_…`). */
export { openTracing } from "./tracing.ts";

type Attributes = Readonly<Record<string, string | number | boolean>>;

export interface SpanOptions {
  readonly attributes?: Attributes;
  /** Milliseconds since 1970; default: now. */
  readonly startMs?: number;
}

/** A piece of work in a trace. */
export interface Span {
  /** For whoever goes on with the trace (W3C Trace Context, section 3.2). */
  readonly traceparent: string;
  readonly traceId: string;
  child(name: string, options?: SpanOptions): Span;
  /** With `error` it did not succeed. Nothing may follow. */
  end(options?: {
    readonly attributes?: Attributes;
    readonly error?: string | undefined;
    readonly endMs?: number;
  }): void;
}

/** Never throws and never waits: what cannot be sent is dropped. */
export interface Tracing extends AsyncDisposable {
  /**
   * Begins a trace, or goes on with one: below the span of a `traceparent`, or in the trace of a known id (32 hexadecimal digits). What is neither is ignored.
   */
  start(
    name: string,
    options?: SpanOptions & {
      readonly traceparent?: string | undefined;
      readonly traceId?: string | undefined;
    },
  ): Span;
}
