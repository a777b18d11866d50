import type { FunctionDescription, ModuleDescription, ValueType } from "./description.ts";

/** Schemas inside of schemas that are looked at. */
const deepest = 32;

/** TypeScript declarations of a module's functions, for `connect(…).module<typeof import("./x.d.ts")>(…)`. */
export function typesOf(description: ModuleDescription, module: string): string {
  const blocks = [...description.functions].map(([name, about]) => oneFunction(name, about));
  const head = `// Functions of ${comment(module)}. Written by \`atalanta types\`; do not edit.\n`;
  return `${[head, ...blocks].join("\n")}${blocks.length === 0 ? "export {};\n" : ""}`;
}

function oneFunction(name: string, about: FunctionDescription): string {
  const { parameters, result, stream, description } = about;
  const flows = stream === "input" || stream === "both";
  const list = parameters
    .map(({ name: called, type, optional }) => {
      const written = type === "bytes" ? bytesIn(flows) : typeOf(type);
      return `${safe(called)}${optional ? "?" : ""}: ${written}`;
    })
    .join(", ");
  const returned =
    result === undefined ? "void" : result === "bytes" ? "Uint8Array" : typeOf(result);
  const whole =
    stream === "result" || stream === "both"
      ? `AsyncIterable<${returned}>`
      : `Promise<${returned}>`;
  const doc = description === undefined ? "" : `/** ${comment(description)} */\n`;
  // A name with a hyphen is exported under it, as a module's strings may be.
  if (/^[A-Za-z_]\w*$/.test(name) && !reserved.has(name)) {
    return `${doc}export declare function ${name}(${list}): ${whole};\n`;
  }
  const own = `_${name.replaceAll("-", "_")}`;
  return `${doc}declare function ${own}(${list}): ${whole};\nexport { ${own} as ${JSON.stringify(name)} };\n`;
}

function bytesIn(flows: boolean): string {
  const whole = "Uint8Array | ArrayBuffer | Blob";
  return flows ? `${whole} | ReadableStream<Uint8Array> | AsyncIterable<Uint8Array>` : whole;
}

/** A JSON Schema (draft 2020-12) as a type; what it says beyond types is left to the function. */
function typeOf(type: ValueType, depth = 0): string {
  if (type === "bytes") return "Uint8Array";
  if (depth > deepest) return "unknown";
  const { enum: values, const: value, type: kind } = type;
  if (value !== undefined) return JSON.stringify(value);
  if (Array.isArray(values) && values.length > 0) {
    return values.map((item) => JSON.stringify(item)).join(" | ");
  }
  for (const word of ["anyOf", "oneOf"] as const) {
    const choices = schemas(type[word]);
    if (choices.length > 0) {
      return choices.map((choice) => inner(typeOf(choice, depth + 1))).join(" | ");
    }
  }
  if (Array.isArray(kind)) {
    const kinds = kind.filter((item) => typeof item === "string");
    return kinds.map((item) => inner(typeOf({ ...type, type: item }, depth + 1))).join(" | ");
  }
  switch (kind) {
    case "string":
      return "string";
    case "number":
    case "integer":
      return "number";
    case "boolean":
      return "boolean";
    case "null":
      return "null";
    case "array": {
      const [items] = schemas([type["items"]]);
      return `readonly ${inner(items ? typeOf(items, depth + 1) : "unknown")}[]`;
    }
    case "object":
      return objectType(type, depth);
    default:
      return "unknown";
  }
}

function objectType(type: Readonly<Record<string, unknown>>, depth: number): string {
  const { properties, required, additionalProperties } = type;
  const wanted: readonly unknown[] = Array.isArray(required) ? required : [];
  const own = typeof properties === "object" && properties !== null ? properties : {};
  const fields = Object.entries(own).map(([name, schema]: [string, unknown]) => {
    const [known] = schemas([schema]);
    const key = /^[A-Za-z_]\w*$/.test(name) ? name : JSON.stringify(name);
    return `readonly ${key}${wanted.includes(name) ? "" : "?"}: ${known ? typeOf(known, depth + 1) : "unknown"}`;
  });
  const [others] = schemas([additionalProperties]);
  if (fields.length === 0) {
    return `Readonly<Record<string, ${others ? typeOf(others, depth + 1) : "unknown"}>>`;
  }
  return `{ ${fields.join("; ")} }`;
}

function schemas(value: unknown): readonly Readonly<Record<string, unknown>>[] {
  if (!Array.isArray(value)) return [];
  return value.filter(
    (item): item is Readonly<Record<string, unknown>> =>
      typeof item === "object" && item !== null && !Array.isArray(item),
  );
}

function inner(type: string): string {
  return /[ |]/.test(type) && !type.startsWith("{") ? `(${type})` : type;
}

/** A stranger's text must not end the comment that it stands in. */
function comment(text: string): string {
  return text.replaceAll(/\s+/g, " ").replaceAll("*/", "* /").trim();
}

function safe(name: string): string {
  return reserved.has(name) ? `${name}_` : name;
}

const reserved = new Set(
  "arguments await break case catch class const continue debugger default delete do else enum eval export extends false finally for function if implements import in instanceof interface let new null package private protected public return static super switch this throw true try typeof var void while with yield".split(
    " ",
  ),
);
