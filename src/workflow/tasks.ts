import { resolve } from "node:path";
import type { Bundle, Container, Scalar, Wasm } from "../document/mod.ts";
import { Failure } from "../errors/mod.ts";
import { parseBytes } from "../limits/mod.ts";
import type { ContainerProgram, Task, WasmProgram } from "../task/mod.ts";
import type { Begin, Work } from "./plan/mod.ts";

/** The planner calls work off at its deadline, with its own words; this is for a runner that does not hear it. */
const graceMs = 1000;

/**
 * Turns a leaf that is ready into a task. `imageDigest` is what its image is in this run, if that is known. Throws a `Failure` when the document asks
 * for what is not there.
 */
export function toTask(work: Work, begin: Begin, now: number, imageDigest?: string): Task {
  const { program } = work;
  const stdin = "stdin" in program ? program.stdin : undefined;
  return {
    // A started-again attempt is the same piece of work; another attempt of the node is another one.
    key: `${begin.uid}/${work.node}/${work.attempt}`,
    owner: begin.namespace,
    program:
      work.kind === "wasm"
        ? wasm(asWasm(program), begin.bundle, imageDigest)
        : container(asContainer(program)),
    environment: (program.env ?? []).map(({ name, value, valueFrom }) =>
      valueFrom?.secretKeyRef
        ? { name, secret: valueFrom.secretKeyRef }
        : { name, value: String(value ?? "") },
    ),
    ...(stdin === undefined ? {} : { stdin }),
    inputs: work.inputs,
    outputs: work.outputs,
    ...(work.deadlineAt === undefined
      ? {}
      : { timeoutMs: Math.max(1, work.deadlineAt - now + graceMs) }),
  };
}

type Script = Container & { readonly source?: string };

function asWasm(program: Work["program"]): Wasm {
  return program;
}

function asContainer(program: Work["program"]): Script {
  if (program.image !== undefined) return { ...program, image: program.image };
  throw new Failure("workflow-invalid", "A container step has no image");
}

function wasm(program: Wasm, bundle: Bundle, digest: string | undefined): WasmProgram {
  const { image = "", imagePullPolicy: pullPolicy } = program;
  return {
    kind: "wasm",
    module:
      program.module === undefined
        ? {
            image,
            ...(digest === undefined ? {} : { digest }),
            ...(pullPolicy === undefined ? {} : { pullPolicy }),
          }
        : { path: resolve(bundle.folder, program.module) },
    ...(program.command === undefined ? { afterEntrypoint: true } : {}),
    arguments: [...(program.command ?? []), ...(program.args ?? [])].map(String),
    limits: program.limits ?? {},
    ...(program.trust === undefined ? {} : { trust: program.trust }),
    ...(program.permissions?.http?.allowedHosts
      ? { allowedHosts: program.permissions.http.allowedHosts }
      : {}),
    ...(program.map ? { map: program.map } : {}),
  };
}

function container(program: Script): ContainerProgram {
  const { memory, cpu } = program.resources?.limits ?? {};
  return {
    kind: "container",
    image: program.image,
    ...(program.command === undefined ? {} : { command: program.command.map(String) }),
    arguments: (program.args ?? []).map(String),
    ...(program.source === undefined ? {} : { script: program.source }),
    ...(program.workingDir === undefined ? {} : { workingDir: program.workingDir }),
    ...(program.imagePullPolicy === undefined ? {} : { pullPolicy: program.imagePullPolicy }),
    ...(memory === undefined ? {} : { memoryBytes: parseBytes(number(memory)) }),
    ...(cpu === undefined ? {} : { cpus: cpus(cpu) }),
  };
}

function number(value: Scalar): string | number {
  return typeof value === "boolean" ? String(value) : value;
}

/** Processors in Kubernetes' form: `2`, `0.5`, `"500m"`. */
function cpus(value: Scalar): number {
  const [, amount, milli] = /^(\d+(?:\.\d+)?)(m)?$/.exec(String(value)) ?? [];
  const count = Number(amount) / (milli === undefined ? 1 : 1000);
  if (count > 0) return count;
  throw new Failure("invalid-argument", `"${value}" is not a number of processors`, {
    hint: 'Write a number such as 0.5, or "500m".',
  });
}
