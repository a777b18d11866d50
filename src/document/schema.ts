import { kinds } from "./keys.ts";
import type { Form, Key, ObjectShape, Shape } from "./shapes.ts";

type Json = Readonly<Record<string, unknown>>;

/**
 * The JSON Schema of the files that `readBundle` reads, for editors: made from the same table of keys. Draft 7, as that is what the
 * YAML language server reads. Keys that are refused are missing from it; what only the meaning tells is not in it.
 */
export function workflowSchema(): Json {
  const definitions: Record<string, Json> = {};
  const roots = [...kinds.values()].map((shape) => reference(shape, definitions));
  return {
    $schema: "http://json-schema.org/draft-07/schema#",
    title: "Workflows that Atalanta runs",
    description:
      "Argo's Workflow, WorkflowTemplate and ClusterWorkflowTemplate with the key wasm, and ConfigMap.",
    type: "object",
    required: ["apiVersion", "kind"],
    properties: { kind: { enum: [...kinds.keys()] } },
    anyOf: roots,
    definitions,
  };
}

function reference(shape: ObjectShape, definitions: Record<string, Json>): Json {
  if (!(shape.name in definitions)) {
    definitions[shape.name] = {}; // shapes may contain themselves
    definitions[shape.name] = objectSchema(shape, definitions);
  }
  return { $ref: `#/definitions/${shape.name}` };
}

function objectSchema(shape: ObjectShape, definitions: Record<string, Json>): Json {
  const properties: Record<string, Json> = {};
  for (const [name, key] of shape.keys) {
    const schema = keySchema(key, definitions);
    if (schema) properties[name] = schema;
  }
  return {
    description: shape.says,
    type: "object",
    additionalProperties: false,
    ...(shape.required.length > 0 ? { required: shape.required } : {}),
    ...(Object.keys(properties).length > 0 ? { properties } : {}),
  };
}

function keySchema(key: Key, definitions: Record<string, Json>): Json | undefined {
  if (key.state === "refused") return undefined;
  if (key.state === "idle") return { description: `No effect here: ${key.why}.` };
  const schema = shapeSchema(key.shape, definitions);
  // beside a $ref, draft 7 ignores everything else
  return "$ref" in schema
    ? { description: key.says, allOf: [schema] }
    : { description: key.says, ...schema };
}

function shapeSchema(shape: Shape, definitions: Record<string, Json>): Json {
  switch (shape.kind) {
    case "object":
      return reference(shape, definitions);
    case "later":
      return reference(shape.shape(), definitions);
    case "either":
      return { anyOf: shape.shapes.map((inner) => shapeSchema(inner, definitions)) };
    case "list":
      return { type: "array", items: shapeSchema(shape.of, definitions) };
    case "map":
      return { type: "object", additionalProperties: shapeSchema(shape.of, definitions) };
    case "any":
      return {};
    case "flag":
      return { type: "boolean" };
    case "whole":
      return {
        type: "integer",
        ...(shape.least === undefined ? {} : { minimum: shape.least }),
        ...(shape.most === undefined ? {} : { maximum: shape.most }),
      };
    case "text":
      if (shape.words) return { enum: shape.words };
      return textSchema(shape.form);
    case "scalar":
      return textSchema(shape.form);
  }
}

const quantity = "^\\d+(\\.\\d+)?(k|M|G|T|Ki|Mi|Gi|Ti)?$|\\{\\{";
/** Forms that a pattern can tell. Argo keeps numbers and booleans as text, and a tag may stand for anything. */
const patterns: Partial<Readonly<Record<Form, string>>> = {
  name: "^[a-zA-Z0-9][-a-zA-Z0-9_]{0,127}$|\\{\\{",
  "parameter name": "^[-a-zA-Z0-9_]+$|\\{\\{",
  path: "^/.|\\{\\{",
  bytes: quantity,
  amount: quantity,
  "duration with unit": "[a-z]$|\\{\\{",
};

function textSchema(form: Form | undefined): Json {
  const pattern = form && patterns[form];
  return { type: ["string", "number", "boolean"], ...(pattern === undefined ? {} : { pattern }) };
}
