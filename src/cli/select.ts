import { Failure } from "../errors/mod.ts";
import type { RunNode } from "../workflow/mod.ts";

const fields = [
  "displayName",
  "name",
  "id",
  "phase",
  "templateName",
  "templateRef.name",
  "templateRef.template",
];

/**
 * Argo's node field selector: conditions such as `displayName=approve` or `phase!=Succeeded`, joined by commas, over
 * displayName, name, id, phase, templateName, templateRef.name, templateRef.template and inputs.parameters.NAME.value.
 */
export function nodeSelector(text: string): (node: RunNode) => boolean {
  const conditions = text
    .split(",")
    .filter((part) => part.trim() !== "")
    .map(condition);
  return (node) =>
    conditions.every(({ field, value, equal }) => (valueOf(node, field) === value) === equal);
}

function condition(text: string): {
  readonly field: string;
  readonly value: string;
  readonly equal: boolean;
} {
  const [, field = "", sign, value = ""] =
    /^\s*([^=!]+?)\s*(==|!=|=)\s*(.*?)\s*$/s.exec(text) ?? [];
  if (
    sign === undefined ||
    !(fields.includes(field) || /^inputs\.parameters\..+\.value$/.test(field))
  ) {
    throw new Failure("invalid-argument", `"${text}" is no condition on a node`, {
      hint: `Write FIELD=VALUE or FIELD!=VALUE; fields are ${fields.join(", ")} and inputs.parameters.NAME.value.`,
    });
  }
  return { field, value, equal: sign !== "!=" };
}

function valueOf(node: RunNode, field: string): string | undefined {
  switch (field) {
    case "displayName":
    case "name":
    case "id":
    case "phase":
      return node[field];
    case "templateName":
      return node.template;
    case "templateRef.name":
      return node.template?.includes("/") ? node.template.split("/")[0] : undefined;
    case "templateRef.template":
      return node.template?.includes("/") ? node.template.split("/")[1] : undefined;
    default:
      return node.inputs?.parameters.find(
        ({ name }) => name === field.slice("inputs.parameters.".length, -".value".length),
      )?.value;
  }
}
