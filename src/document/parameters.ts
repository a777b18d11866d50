import { Failure } from "../errors/mod.ts";
import { plainData } from "./shape.ts";
import { Report } from "./source.ts";
import { readYaml } from "./yaml.ts";

/** Bytes of one parameter's value: texts travel in records and messages, large data as artifacts. */
export const parameterBytes: number = 256 * 1024;

/**
 * The parameters in a file of YAML or JSON: one mapping. A text is itself, everything else the JSON of it, as for Argo.
 * Throws a `Failure` with its place for the first mistake.
 */
export function parseParameterFile(
  text: string,
  file: string = "the parameter file",
): Readonly<Record<string, string>> {
  const report = new Report();
  const [tree, second] = readYaml(file, text, report);
  const [problem] = report.problems([file]);
  if (problem) throw problem;
  const parameters: Record<string, string> = Object.create(null);
  if (!tree) return parameters;
  if (second || tree.kind !== "mapping") {
    const place = (second ?? tree).source.place((second ?? tree).at);
    throw new Failure("invalid-argument", `"${file}" is no single mapping`, {
      place,
      hint: 'Write one "name: value" a line.',
    });
  }
  for (const [name, { key, value }] of tree.entries) {
    const written =
      value.kind === "scalar" && value.value !== null
        ? value.text
        : JSON.stringify(plainData(value));
    const size = Buffer.byteLength(written);
    if (size > parameterBytes) {
      throw new Failure(
        "invalid-argument",
        `The parameter "${name}" has ${size} bytes; the ceiling is ${parameterBytes}`,
        {
          place: key.source.place(key.at),
          hint: "Pass large data as an artifact.",
        },
      );
    }
    parameters[name] = written;
  }
  return parameters;
}
