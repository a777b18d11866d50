import type { Call, CallSpan } from "../dispatch/mod.ts";
import { openTracing } from "../telemetry/mod.ts";
import type { AgentLog } from "./agent-log.ts";
import { packageVersion } from "./version.ts";

/** Spans of calls, sent where the standard variables (`OTEL_…`) say; nothing without them. */
export async function callTraces(
  log: AgentLog,
  stack: AsyncDisposableStack,
): Promise<{ readonly trace?: (call: Call) => CallSpan }> {
  const tracing = await openTracing({
    environment: process.env,
    serviceName: "atalanta",
    version: packageVersion(),
    onTrouble: (reason) => log.write("warn", "Traces cannot be sent", { reason }),
  });
  if (!tracing) return {};
  stack.use(tracing);
  return {
    trace(call) {
      const span = tracing.start(`${call.target} ${call.function}`, {
        traceparent: call.traceparent,
        attributes: {
          "faas.trigger": "http",
          "faas.invocation_id": call.id,
          "faas.name": call.target,
          "atalanta.function": call.function,
          "atalanta.namespace": call.owner,
        },
      });
      return {
        traceparent: span.traceparent,
        end: ({ error, queueMs, attempts, cold }) =>
          span.end({
            attributes: {
              "faas.coldstart": cold,
              "atalanta.queue_ms": queueMs,
              "atalanta.attempts": attempts,
            },
            ...(error === undefined ? {} : { error }),
          }),
      };
    },
  };
}
