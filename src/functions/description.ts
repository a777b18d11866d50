import { Failure } from "../errors/mod.ts";
import { checkFunctionName } from "./convention.ts";

/** `bytes`, or a JSON Schema of a JSON value. */
export type ValueType = "bytes" | Readonly<Record<string, unknown>>;

interface ParameterDescription {
  readonly name: string;
  readonly type: ValueType;
  readonly optional: boolean;
}

export interface FunctionDescription {
  readonly description?: string;
  readonly parameters: readonly ParameterDescription[];
  /** Absent: it returns nothing. */
  readonly result?: ValueType;
  /** Which sides come in pieces. */
  readonly stream?: "input" | "result" | "both";
  /** It does nothing to the world, so it may run more than once. */
  readonly pure: boolean;
}

/** Which functions a module has. */
export interface ModuleDescription {
  readonly functions: ReadonlyMap<string, FunctionDescription>;
}

const mostFunctions = 1000;
const mostParameters = 32;
const longestText = 4096;
const streams = ["input", "result", "both"] as const;

/** Reads what a module says of itself, which is a stranger's word. Throws `functions-invalid`, which says what is wrong with it. */
export function parseDescription(text: string, module: string): ModuleDescription {
  const wrong = (what: string): Failure =>
    new Failure("functions-invalid", `"${module}" describes its functions wrongly: ${what}`, {
      hint: "docs/functions.md has the form of a description.",
    });
  let said: unknown;
  try {
    said = JSON.parse(text);
  } catch (cause) {
    throw wrong(`it is no JSON (${cause instanceof Error ? cause.message : String(cause)})`);
  }
  const { version, functions } = record(said, "the description", wrong);
  if (version !== 1) throw wrong(`version is ${JSON.stringify(version)}, and 1 is known`);
  const entries = Object.entries(record(functions, "functions", wrong));
  if (entries.length > mostFunctions) {
    throw wrong(`it has ${entries.length} functions; ${mostFunctions} may be`);
  }
  return {
    functions: new Map(
      entries.map(([name, about]) => {
        checkFunctionName(name);
        return [name, oneFunction(name, record(about, name, wrong), wrong)];
      }),
    ),
  };
}

/** What a module says of one function; undefined when it says nothing of any. Throws `function-unknown` when it has others. */
export function describeFunction(
  description: ModuleDescription | undefined,
  name: string,
  module: string,
): FunctionDescription | undefined {
  if (!description) return undefined;
  const found = description.functions.get(name);
  if (found) return found;
  const others = [...description.functions.keys()].slice(0, 20).join(", ");
  throw new Failure("function-unknown", `"${module}" has no function "${name.slice(0, 100)}"`, {
    hint: others === "" ? "It has none at all." : `It has: ${others}.`,
  });
}

type Wrong = (what: string) => Failure;

function oneFunction(
  name: string,
  about: Readonly<Record<string, unknown>>,
  wrong: Wrong,
): FunctionDescription {
  const { description, parameters = [], result, stream, pure = false } = about;
  if (!Array.isArray(parameters)) throw wrong(`${name}.parameters is no list`);
  if (parameters.length > mostParameters) {
    throw wrong(`${name} has ${parameters.length} parameters; ${mostParameters} may be`);
  }
  const list = parameters.map((item: unknown, at): ParameterDescription => {
    const where = `${name}.parameters[${at}]`;
    const parameter = record(item, where, wrong);
    const called = parameter["name"];
    if (typeof called !== "string" || !/^[A-Za-z_][A-Za-z0-9_]{0,63}$/.test(called)) {
      throw wrong(`${where}.name is ${JSON.stringify(called)?.slice(0, 100)}`);
    }
    const { optional = false } = parameter;
    if (typeof optional !== "boolean") throw wrong(`${where}.optional is neither true nor false`);
    return { name: called, type: valueType(parameter["type"] ?? {}, where, wrong), optional };
  });
  if (list.filter(({ type }) => type === "bytes").length > 1) {
    throw wrong(`${name} has more than one parameter of bytes`);
  }
  const asked = list.findIndex(({ optional }) => optional);
  if (asked >= 0 && list.slice(asked).some(({ optional }) => !optional)) {
    throw wrong(`${name} has a parameter that must be given behind one that need not`);
  }
  const flow = streams.find((word) => word === stream);
  if (stream !== undefined && !flow) throw wrong(`${name}.stream is none of ${streams.join(", ")}`);
  if ((flow === "input" || flow === "both") && !list.some(({ type }) => type === "bytes")) {
    throw wrong(`${name} streams its input and has no parameter of bytes`);
  }
  if ((flow === "result" || flow === "both") && result === undefined) {
    throw wrong(`${name} streams a result and has none`);
  }
  if (typeof pure !== "boolean") throw wrong(`${name}.pure is neither true nor false`);
  return {
    ...(typeof description === "string" ? { description: description.slice(0, longestText) } : {}),
    parameters: list,
    ...(result === undefined ? {} : { result: valueType(result, `${name}.result`, wrong) }),
    ...(flow ? { stream: flow } : {}),
    pure,
  };
}

function valueType(value: unknown, where: string, wrong: Wrong): ValueType {
  if (value === "bytes") return value;
  return record(value, where, (what) => wrong(`${what}; "bytes" or a JSON Schema may be`));
}

function record(value: unknown, where: string, wrong: Wrong): Readonly<Record<string, unknown>> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw wrong(`${where} is no object`);
  }
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- an object of JSON
  return value as Readonly<Record<string, unknown>>;
}
