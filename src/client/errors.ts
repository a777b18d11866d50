/** What a function threw, or why a call did not come to a result. */
export class RemoteError extends Error {
  /** `function-threw` for what the function threw; otherwise what went wrong, see docs/functions.md. */
  readonly code: string;
  readonly status: number;
  /** Whether the same call may succeed later. */
  readonly retryable: boolean;
  readonly hint: string | undefined;
  /** What the function threw beside its message. */
  readonly data: unknown;
  /** The guest's functions, innermost first. */
  readonly guestStack: readonly string[];
  readonly callId: string | undefined;

  constructor(problem: Problem, callId?: string) {
    super(problem.detail);
    this.name = problem.name ?? "RemoteError";
    this.code = problem.code;
    this.status = problem.status;
    this.retryable = problem.retryable;
    this.hint = problem.hint;
    this.data = problem.data;
    this.guestStack = problem.stack ?? [];
    this.callId = callId;
    if (this.guestStack.length > 0) {
      const own = this.stack ?? `${this.name}: ${this.message}`;
      const [head = "", ...rest] = own.split("\n");
      const guest = this.guestStack.map((line) => `    at ${line} (guest)`);
      this.stack = [head, ...guest, ...rest].join("\n");
    }
  }
}

/** A problem document of the HTTP API (RFC 9457). */
export interface Problem {
  readonly code: string;
  readonly detail: string;
  readonly status: number;
  readonly retryable: boolean;
  readonly hint?: string;
  readonly name?: string;
  readonly data?: unknown;
  readonly stack?: readonly string[];
}

/** Reads what a server answered instead of a result; it may be a proxy's page. */
export function problemOf(status: number, text: string): Problem {
  try {
    const said: unknown = JSON.parse(text);
    if (typeof said === "object" && said !== null && "code" in said && "detail" in said) {
      const field = (name: string): unknown => Reflect.get(said, name);
      const [hint, name, stack] = [field("hint"), field("name"), field("stack")];
      return {
        code: String(said.code),
        detail: String(said.detail),
        status,
        retryable: field("retryable") === true,
        ...(typeof hint === "string" ? { hint } : {}),
        ...(typeof name === "string" ? { name } : {}),
        ...("data" in said ? { data: said.data } : {}),
        ...(Array.isArray(stack) ? { stack: stack.map(String) } : {}),
      };
    }
  } catch {
    // No problem document.
  }
  const start = text.slice(0, 200).trim();
  const retryable = status === 429 || status === 502 || status === 503 || status === 504;
  return {
    code: "http",
    detail: `HTTP ${status}${start === "" ? "" : `: ${start}`}`,
    status,
    retryable,
  };
}
