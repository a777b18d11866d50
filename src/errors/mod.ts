/**
 * The one table of failures. Every failure a user, an operator or a client can meet has a code here, with what the code
 * says about retrying and the HTTP status it becomes. Parts add their rows; nothing else decides these properties.
 */

interface Row {
  /** Whether the same request may succeed later without being changed. */
  readonly retryable: boolean;
  /** HTTP status of the problem document that a server answers with. */
  readonly status: number;
  /** What the code means, as one line for the documentation. */
  readonly summary: string;
}

const table: Readonly<Record<Code, Row>> = {
  internal: { retryable: false, status: 500, summary: "A bug in Atalanta" },
  aborted: { retryable: true, status: 499, summary: "The caller stopped it" },
  "invalid-argument": { retryable: false, status: 400, summary: "An argument or option is wrong" },
  "module-invalid": {
    retryable: false,
    status: 422,
    summary: "The bytes are no WebAssembly module, or damaged",
  },
  "module-component": {
    retryable: false,
    status: 422,
    summary: "A component was given where a module is expected",
  },
  "module-unsupported": {
    retryable: false,
    status: 422,
    summary: "The module needs a feature that is not offered",
  },
  "module-too-large": {
    retryable: false,
    status: 413,
    summary: "The module has more bytes than the ceiling",
  },
  "module-import": {
    retryable: false,
    status: 422,
    summary: "The module imports what the sandbox does not offer",
  },
  "module-entry": { retryable: false, status: 422, summary: "The module has nothing to start" },
  "module-not-found": {
    retryable: false,
    status: 404,
    summary: "There is no such module file or image",
  },
  "limit-time": {
    retryable: false,
    status: 504,
    summary: "The guest ran longer than its time limit",
  },
  "limit-memory": {
    retryable: false,
    status: 422,
    summary: "The guest needs more memory than its limit",
  },
  "limit-table": {
    retryable: false,
    status: 422,
    summary: "The guest needs a larger table than its limit",
  },
  "limit-output": {
    retryable: false,
    status: 422,
    summary: "The guest wrote more to stdout or stderr than its limit",
  },
  "limit-arguments": {
    retryable: false,
    status: 413,
    summary: "Arguments and environment are larger than the limit",
  },
  "limit-cpu-time": {
    retryable: false,
    status: 504,
    summary: "The guest computed longer than its limit of CPU time",
  },
  "limit-stack": {
    retryable: false,
    status: 422,
    summary: "The guest's calls are nested deeper than its stack holds",
  },
  "limit-log-lines": {
    retryable: false,
    status: 422,
    summary: "The guest logged more lines in one second than its limit",
  },
  "limit-files": {
    retryable: false,
    status: 422,
    summary: "The guest's files hold more bytes than their limit",
  },
  "limit-file-size": {
    retryable: false,
    status: 422,
    summary: "A file of the guest is larger than its limit",
  },
  "limit-file-count": {
    retryable: false,
    status: 422,
    summary: "The guest made more files, folders and links than its limit",
  },
  "limit-descriptors": {
    retryable: false,
    status: 422,
    summary: "The guest opened more descriptors at once than its limit",
  },
  "limit-path-length": {
    retryable: false,
    status: 422,
    summary: "The guest used a longer path than its limit",
  },
  "limit-path-depth": {
    retryable: false,
    status: 422,
    summary: "The guest used or made a deeper path than its limit",
  },
  "limit-random": {
    retryable: false,
    status: 422,
    summary: "The guest asked for more random bytes than its limit",
  },
  "limit-http-requests": {
    retryable: false,
    status: 422,
    summary: "The guest made more HTTP requests than its limit",
  },
  "limit-http-bytes": {
    retryable: false,
    status: 422,
    summary: "The guest's HTTP requests and responses have more bytes than their limit",
  },
  "limit-module-functions": {
    retryable: false,
    status: 413,
    summary: "The module has more functions than the ceiling",
  },
  "limit-module-locals": {
    retryable: false,
    status: 413,
    summary: "The module's functions have more local variables than the ceiling",
  },
  "limit-module-types": {
    retryable: false,
    status: 413,
    summary: "The module has more types than the ceiling",
  },
  "limit-module-imports": {
    retryable: false,
    status: 413,
    summary: "The module has more imports than the ceiling",
  },
  "limit-module-exports": {
    retryable: false,
    status: 413,
    summary: "The module has more exports than the ceiling",
  },
  "limit-module-globals": {
    retryable: false,
    status: 413,
    summary: "The module has more globals than the ceiling",
  },
  "limit-module-segments": {
    retryable: false,
    status: 413,
    summary: "The module has more data and element segments than the ceiling",
  },
  "limit-compile-time": {
    retryable: false,
    status: 413,
    summary: "The module took longer to compile than the ceiling",
  },
  "limit-above-host": {
    retryable: false,
    status: 422,
    summary: "A step asks for a higher ceiling than the host allows",
  },
  "limit-sandboxes": {
    retryable: true,
    status: 503,
    summary: "As many guests run and wait as the host allows",
  },
  "limit-expression": {
    retryable: false,
    status: 422,
    summary: "An expression is longer, deeper or costlier than its ceiling",
  },
  "limit-plan": {
    retryable: false,
    status: 422,
    summary: "A loop or a recursion of the workflow is larger than its ceiling",
  },
  "functions-invalid": {
    retryable: false,
    status: 422,
    summary: "A module describes its functions wrongly",
  },
  "function-unknown": { retryable: false, status: 404, summary: "The module has no such function" },
  "function-threw": { retryable: false, status: 422, summary: "The function threw an error" },
  "function-result": {
    retryable: false,
    status: 422,
    summary: "The function's result is not what its description says",
  },
  "deployment-unknown": {
    retryable: false,
    status: 404,
    summary: "There is no such deployment in the namespace",
  },
  "call-unknown": {
    retryable: false,
    status: 404,
    summary: "There is no such call, or its result is no longer kept",
  },
  "call-depth": {
    retryable: false,
    status: 508,
    summary: "Functions call each other too deep, too often or in a circle",
  },
  "call-poison": {
    retryable: false,
    status: 502,
    summary: "Each runner that took the call was lost with it",
  },
  conflict: { retryable: false, status: 412, summary: "It was changed by somebody else meanwhile" },
  "idempotency-mismatch": {
    retryable: false,
    status: 422,
    summary: "The idempotency key belongs to a call with other arguments",
  },
  "queue-full": { retryable: true, status: 429, summary: "As many calls wait as may" },
  deadline: { retryable: false, status: 504, summary: "The time that the caller gave is over" },
  "circuit-open": {
    retryable: true,
    status: 503,
    summary: "The function has failed too often, and is not called for a while",
  },
  "shutting-down": {
    retryable: true,
    status: 503,
    summary: "The process ends and takes no further calls",
  },
  "broker-unavailable": {
    retryable: true,
    status: 503,
    summary: "The message broker cannot be reached, or refuses",
  },
  "method-not-allowed": {
    retryable: false,
    status: 405,
    summary: "The path does not take this method",
  },
  "request-too-large": {
    retryable: false,
    status: 413,
    summary: "A request has more bytes than the ceiling",
  },
  unauthenticated: { retryable: false, status: 401, summary: "The request has no valid token" },
  forbidden: { retryable: false, status: 403, summary: "The token does not allow it" },
  "rate-limited": { retryable: true, status: 429, summary: "More requests came than may" },
  "runner-lost": {
    retryable: true,
    status: 503,
    summary: "The thread or process that ran the guest died",
  },
  "runner-start": {
    retryable: true,
    status: 503,
    summary: "A runner process could not be started",
  },
  "trust-class": {
    retryable: false,
    status: 501,
    summary: "The trust class that a step asks for cannot be had here",
  },
  "workflow-invalid": { retryable: false, status: 422, summary: "The workflow document is wrong" },
  "argo-workflow": {
    retryable: true,
    status: 503,
    summary: "The workflow of a step on a cluster does not say what the step needs, or is gone",
  },
  "workflow-unsupported": {
    retryable: false,
    status: 422,
    summary: "The workflow uses a key that is not supported",
  },
  "artifact-missing": {
    retryable: false,
    status: 422,
    summary: "An artifact or a file of it is not there",
  },
  "artifact-path": {
    retryable: false,
    status: 422,
    summary: "An artifact path is not absolute or leads outside",
  },
  "artifact-too-large": {
    retryable: false,
    status: 413,
    summary: "An artifact has more bytes or files than its ceiling",
  },
  "store-refused": {
    retryable: false,
    status: 502,
    summary: "A store does not do what it is asked for",
  },
  "store-unavailable": {
    retryable: true,
    status: 503,
    summary: "A store cannot be reached, is overloaded or broke off",
  },
  "archive-invalid": {
    retryable: false,
    status: 422,
    summary: "An archive is damaged, leads outside or is larger than its ceilings",
  },
  "output-too-large": {
    retryable: false,
    status: 413,
    summary: "A result or parameter is larger than its ceiling",
  },
  "network-denied": {
    retryable: false,
    status: 403,
    summary: "An HTTP request goes where the operator's or the step's list does not allow",
  },
  "network-invalid": { retryable: false, status: 400, summary: "An HTTP request is malformed" },
  "network-busy": {
    retryable: true,
    status: 429,
    summary: "A guest holds more HTTP responses open than may be",
  },
  "network-timeout": { retryable: true, status: 504, summary: "An HTTP request took too long" },
  "network-failed": {
    retryable: true,
    status: 502,
    summary: "A host could not be found, reached or understood",
  },
  "image-not-found": {
    retryable: false,
    status: 404,
    summary: "A registry has no such repository, tag, manifest or blob",
  },
  "image-invalid": {
    retryable: false,
    status: 422,
    summary: "What a registry sent is no image, or not what its digest says",
  },
  "image-policy": {
    retryable: false,
    status: 403,
    summary: "The operator's policy does not allow the image",
  },
  "image-signature": {
    retryable: false,
    status: 403,
    summary: "The image has no signature or attestation by one who is trusted",
  },
  "registry-refused": {
    retryable: false,
    status: 403,
    summary: "A registry does not let us in, or is not one that we trust",
  },
  "registry-unavailable": {
    retryable: true,
    status: 502,
    summary: "A registry cannot be reached, is busy or broke off",
  },
  "cluster-refused": {
    retryable: false,
    status: 403,
    summary: "The Kubernetes API does not allow it to this user or service account",
  },
  "cluster-missing": {
    retryable: false,
    status: 404,
    summary: "There is no such object, or no such kind, in the cluster",
  },
  "cluster-conflict": {
    retryable: true,
    status: 409,
    summary: "The object was changed, made or removed by somebody else in the meantime",
  },
  "cluster-invalid": {
    retryable: false,
    status: 422,
    summary: "The Kubernetes API does not take the request, or the configuration for it is wrong",
  },
  "cluster-unavailable": {
    retryable: true,
    status: 503,
    summary: "The Kubernetes API cannot be reached, is busy or broke off",
  },
  "secret-missing": {
    retryable: false,
    status: 422,
    summary: "A step wants a secret that the operator has not given",
  },
  "secret-invalid": {
    retryable: false,
    status: 422,
    summary: "A secret's value cannot be used, or not read",
  },
  storage: { retryable: true, status: 507, summary: "The disk is full, read-only or failed" },
  "journal-format": {
    retryable: false,
    status: 409,
    summary: "The journal was written by another version or is damaged",
  },
  "journal-busy": { retryable: true, status: 409, summary: "Another process runs this workflow" },
  "not-found": { retryable: false, status: 404, summary: "There is no such workflow or node" },
  "container-runtime": {
    retryable: false,
    status: 501,
    summary: "No container runtime is here to run a container step",
  },
  "container-image": {
    retryable: true,
    status: 502,
    summary: "The image of a container step is not here and cannot be pulled",
  },
  "container-failed": {
    retryable: true,
    status: 502,
    summary: "The container runtime could not create, start or read a container",
  },
};

/** A failure's stable name, for programs. */
export type Code =
  | "internal"
  | "aborted"
  | "invalid-argument"
  | "module-invalid"
  | "module-component"
  | "module-unsupported"
  | "module-too-large"
  | "module-import"
  | "module-entry"
  | "module-not-found"
  | "limit-time"
  | "limit-memory"
  | "limit-table"
  | "limit-output"
  | "limit-arguments"
  | "limit-cpu-time"
  | "limit-stack"
  | "limit-log-lines"
  | "limit-files"
  | "limit-file-size"
  | "limit-file-count"
  | "limit-descriptors"
  | "limit-path-length"
  | "limit-path-depth"
  | "limit-random"
  | "limit-http-requests"
  | "limit-http-bytes"
  | "limit-module-functions"
  | "limit-module-locals"
  | "limit-module-types"
  | "limit-module-imports"
  | "limit-module-exports"
  | "limit-module-globals"
  | "limit-module-segments"
  | "limit-compile-time"
  | "limit-above-host"
  | "limit-sandboxes"
  | "limit-expression"
  | "limit-plan"
  | "functions-invalid"
  | "function-unknown"
  | "function-threw"
  | "function-result"
  | "deployment-unknown"
  | "call-unknown"
  | "call-depth"
  | "call-poison"
  | "conflict"
  | "idempotency-mismatch"
  | "queue-full"
  | "deadline"
  | "circuit-open"
  | "shutting-down"
  | "broker-unavailable"
  | "method-not-allowed"
  | "request-too-large"
  | "unauthenticated"
  | "forbidden"
  | "rate-limited"
  | "runner-lost"
  | "runner-start"
  | "trust-class"
  | "workflow-invalid"
  | "workflow-unsupported"
  | "argo-workflow"
  | "artifact-missing"
  | "artifact-path"
  | "artifact-too-large"
  | "store-refused"
  | "store-unavailable"
  | "archive-invalid"
  | "output-too-large"
  | "network-denied"
  | "network-invalid"
  | "network-busy"
  | "network-timeout"
  | "network-failed"
  | "image-not-found"
  | "image-invalid"
  | "image-policy"
  | "image-signature"
  | "registry-refused"
  | "registry-unavailable"
  | "cluster-refused"
  | "cluster-missing"
  | "cluster-conflict"
  | "cluster-invalid"
  | "cluster-unavailable"
  | "secret-missing"
  | "secret-invalid"
  | "storage"
  | "journal-format"
  | "journal-busy"
  | "not-found"
  | "container-runtime"
  | "container-image"
  | "container-failed";

/** Every code with its row, for the documentation and the API description. */
export const codes: Readonly<Record<Code, Row>> = table;

/** A place in a text that a user wrote. Line and column count from 1. */
export interface Place {
  readonly file: string;
  readonly line: number;
  readonly column: number;
}

export interface FailureOptions {
  readonly cause?: unknown;
  /** What to change, as a sentence of its own. */
  readonly hint?: string;
  readonly place?: Place;
}

/** A failure with a code. The message says what failed and with which value; the hint says what to change. */
export class Failure extends Error {
  readonly code: Code;
  readonly hint: string | undefined;
  readonly place: Place | undefined;

  constructor(code: Code, message: string, options: FailureOptions = {}) {
    super(message, options.cause === undefined ? {} : { cause: options.cause });
    this.name = "Failure";
    this.code = code;
    this.hint = options.hint;
    this.place = options.place;
  }

  /** Whether the same request may succeed later. */
  get retryable(): boolean {
    return table[this.code].retryable;
  }

  /** What crosses a thread, a journal or a wire. */
  toJSON(): FailureRecord {
    return {
      code: this.code,
      message: this.message,
      retryable: this.retryable,
      ...(this.hint === undefined ? {} : { hint: this.hint }),
      ...(this.place === undefined ? {} : { place: this.place }),
    };
  }
}

/** A failure as plain data. */
export interface FailureRecord {
  readonly code: Code;
  readonly message: string;
  readonly retryable: boolean;
  readonly hint?: string;
  readonly place?: Place;
}

/** Turns anything thrown into a failure; what has no code is a bug and becomes `internal`. */
export function toFailure(thrown: unknown): Failure {
  if (thrown instanceof Failure) return thrown;
  if (thrown instanceof Error && thrown.name === "AbortError") {
    return new Failure("aborted", thrown.message, { cause: thrown });
  }
  const message = thrown instanceof Error ? thrown.message : String(thrown);
  return new Failure("internal", message, {
    cause: thrown,
    hint: "This is a bug in Atalanta; please report it with the command and its input.",
  });
}
