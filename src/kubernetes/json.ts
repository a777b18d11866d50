import { Failure } from "../errors/mod.ts";
import type { KubeObject } from "./mod.ts";

/** For JSON that others wrote: what is not of the kind that is asked for is not there. */
export function recordOf(value: unknown): Readonly<Record<string, unknown>> {
  return isRecord(value) ? value : {};
}

export function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

export function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

/** A text that says something. */
export function textOf(value: unknown): string | undefined {
  return typeof value === "string" && value !== "" ? value : undefined;
}

/** An object of the API. Throws `cluster-unavailable` for an answer that is none. */
export function objectOf(value: unknown): KubeObject {
  if (isObject(value)) return value;
  throw new Failure("cluster-unavailable", "The API server answered with what is no object", {
    hint: "Is that the address of a Kubernetes API server?",
  });
}

export function isObject(value: unknown): value is KubeObject {
  return isRecord(value) && isRecord(value["metadata"]);
}
