import type { Result } from "../engine/mod.ts";
import { Failure } from "../errors/mod.ts";
import type { FunctionDescription } from "./description.ts";
import type { FunctionCall, Outcome, ResultType, Thrown } from "./mod.ts";

/** Names of functions are words of argv, of URLs and of TypeScript. */
const namePattern = /^[A-Za-z_][A-Za-z0-9_-]{0,127}$/;
/** Asks a module for its description. */
export const describeWord = "atalanta:describe";
const errorMark = "atalanta-error: ";
const shownBytes = 4096;
const mostErrorBytes = 256 * 1024;

/** Throws `invalid-argument` for what is no name of a function. */
export function checkFunctionName(name: string): void {
  if (namePattern.test(name)) return;
  throw new Failure("invalid-argument", `"${name.slice(0, 100)}" is no name of a function`, {
    hint: "It has letters, digits, _ and -, begins with a letter or _, and has at most 128 of them.",
  });
}

/** Reads a call's arguments. Throws `invalid-argument` for what is no JSON array. */
export function checkArguments(text: string): readonly unknown[] {
  let said: unknown;
  try {
    said = JSON.parse(text);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new Failure("invalid-argument", `The arguments are no JSON: ${reason}`, {
      cause,
      hint: 'Write an array with one element for each parameter, such as ["Ada", 3].',
    });
  }
  if (Array.isArray(said)) return said;
  throw new Failure("invalid-argument", "The arguments are JSON, but no array", {
    hint: 'Write an array with one element for each parameter, such as ["Ada", 3].',
  });
}

/** Whether what is given fits what the module says of the function. Throws `invalid-argument`. */
export function checkCall(call: FunctionCall, about: FunctionDescription | undefined): void {
  if (!about) return;
  const given = checkArguments(call.arguments);
  const { parameters } = about;
  const least = parameters.filter(({ optional }) => !optional).length;
  const wrong = (what: string): Failure =>
    new Failure("invalid-argument", `${call.function}: ${what}`, {
      hint: `It is called as ${call.function}(${parameters.map(({ name, optional }) => (optional ? `${name}?` : name)).join(", ")}).`,
    });
  if (given.length < least || given.length > parameters.length) {
    const many = least === parameters.length ? `${least}` : `${least} to ${parameters.length}`;
    throw wrong(`${given.length} arguments are given, and it takes ${many}`);
  }
  const at = parameters.findIndex(({ type }) => type === "bytes");
  if (at < 0 && call.input !== undefined) throw wrong("bytes are given, and it takes none");
  const parameter = parameters[at];
  if (parameter && !parameter.optional && call.input === undefined) {
    throw wrong(`${parameter.name} is of bytes, and none are given`);
  }
}

/** How a module gets a call (docs/functions.md): bytes on stdin and all else in argv, or all on stdin. */
export function given(call: FunctionCall): {
  readonly arguments: readonly string[];
  readonly stdin: Uint8Array;
} {
  if (call.input === undefined) {
    return { arguments: [call.function], stdin: Buffer.from(call.arguments) };
  }
  return { arguments: [call.function, call.arguments], stdin: call.input };
}

/** What a result says by the convention. */
export function outcomeOf(
  result: Result,
  about: FunctionDescription | undefined,
  poured: boolean,
): Outcome {
  if (result.kind === "stopped" || result.kind === "failed") {
    return { kind: "failed", failure: result.failure };
  }
  if (result.kind === "trapped") {
    const { message, stack } = result;
    const said = thrownIn(result.stderr);
    return { kind: "threw", error: { ...(said ?? { name: "Trap", message }), stack } };
  }
  if (result.exitCode !== 0) {
    const { exitCode } = result;
    const said = thrownIn(result.stderr);
    return { kind: "threw", error: said ?? plain(result.stderr, exitCode) };
  }
  if (poured) return { kind: "returned", type: typeOf(about), body: nothing };
  return returned(result.stdout, about);
}

function typeOf(about: FunctionDescription | undefined): ResultType {
  if (!about) return "bytes";
  if (about.result === undefined) return "none";
  return about.result === "bytes" ? "bytes" : "json";
}

function returned(stdout: Uint8Array, about: FunctionDescription | undefined): Outcome {
  if (about?.result === undefined && stdout.length === 0) {
    return { kind: "returned", type: "none", body: nothing };
  }
  if (about?.result === "bytes") return { kind: "returned", type: "bytes", body: stdout };
  // A function that returns nothing may print what it likes.
  if (about && about.result === undefined) return { kind: "returned", type: "none", body: nothing };
  if (about?.stream) return { kind: "returned", type: "json", body: stdout };
  const problem = jsonProblem(stdout);
  if (problem === undefined) return { kind: "returned", type: "json", body: stdout };
  if (!about) return { kind: "returned", type: "bytes", body: stdout };
  const failure = new Failure("function-result", `The function's result is no JSON: ${problem}`, {
    hint: "It must print one JSON value to stdout and nothing else; what is for people goes to stderr.",
  });
  return { kind: "failed", failure: failure.toJSON() };
}

/** What a JSON text begins with, of white space, digits and the rest. */
const jsonBegins = new Set(Buffer.from(' \t\r\n-0123456789{["tfn'));

function jsonProblem(bytes: Uint8Array): string | undefined {
  const [first] = bytes;
  if (first === undefined) return "it is empty";
  // To throw and to catch takes longer than many a function.
  if (!jsonBegins.has(first)) return `it begins with ${JSON.stringify(String.fromCharCode(first))}`;
  try {
    JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString());
    return undefined;
  } catch (thrown) {
    return thrown instanceof Error ? thrown.message : String(thrown);
  }
}

/** The last line of stderr that is an error of the convention's. */
function thrownIn(stderr: Uint8Array): Thrown | undefined {
  const end = Buffer.from(stderr.subarray(Math.max(0, stderr.length - mostErrorBytes))).toString();
  const line = end.split("\n").findLast((text) => text.startsWith(errorMark));
  if (line === undefined) return undefined;
  try {
    const said: unknown = JSON.parse(line.slice(errorMark.length));
    if (typeof said !== "object" || said === null) return undefined;
    const name = "name" in said && typeof said.name === "string" ? said.name : "Error";
    const message = "message" in said && typeof said.message === "string" ? said.message : "";
    return {
      name: name.slice(0, 200),
      message: message.slice(0, shownBytes),
      ...("data" in said ? { data: said.data } : {}),
    };
  } catch {
    return undefined;
  }
}

/** A program that has never heard of the convention. */
function plain(stderr: Uint8Array, exitCode: number): Thrown {
  const text = Buffer.from(stderr.subarray(Math.max(0, stderr.length - shownBytes)))
    .toString()
    .trim();
  const said = text === "" ? `exit code ${exitCode}` : text;
  return { name: "Error", message: said, data: { exitCode } };
}

const nothing = new Uint8Array(0);
