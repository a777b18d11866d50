import { basename } from "node:path";
import type { Engine, Module, Mount } from "../engine/mod.ts";
import { Failure } from "../errors/mod.ts";
import type { Limits } from "../limits/mod.ts";
import type { Image, Images } from "../oci/mod.ts";
import type { WasmProgram } from "./mod.ts";

/** Where modules come from. */
export interface ModuleSources {
  /** Module files that stand for images, by reference. */
  readonly overrides?: ReadonlyMap<string, string>;
  /** Throws for a file that a program names and that may not run; absent: all may. */
  readonly checkFile?: (path: string) => void;
  /** Modules of all other images; opened when a program first has one. Absent: there are none. */
  readonly images?: () => Promise<Images>;
}

/** A program's module, compiled, with what its image says of how it runs. */
export interface ReadyProgram extends Disposable {
  readonly module: Module;
  /** argv[0] first. */
  readonly arguments: readonly string[];
  /** Of the image; the step's own come after it. */
  readonly environment: readonly (readonly [name: string, value: string])[];
  readonly mounts: readonly Mount[];
  readonly imageDigest?: string;
  readonly pullMs: number;
  readonly compileMs: number;
}

/** Finds a program's module, brings it here and compiles it. */
export async function makeReady(
  program: Pick<WasmProgram, "module" | "arguments" | "afterEntrypoint">,
  options: ModuleSources & {
    readonly engine: Engine;
    readonly limits: Limits;
    readonly signal: AbortSignal | undefined;
    /** Bytes of the image that have come so far, while it is pulled. */
    readonly onProgress?: ((bytes: number) => void) | undefined;
  },
): Promise<ReadyProgram> {
  const { module: asked } = program;
  const { engine, limits, onProgress } = options;
  if ("path" in asked) options.checkFile?.(asked.path);
  const file = "path" in asked ? asked.path : options.overrides?.get(asked.image);
  if (file !== undefined) {
    const start = performance.now();
    const module = await engine.load({ path: file }, { limits });
    return {
      module,
      arguments: [nameOf(module), ...program.arguments],
      environment: [],
      mounts: [],
      pullMs: 0,
      compileMs: performance.now() - start,
      [Symbol.dispose]: () => undefined,
    };
  }
  if ("path" in asked || !options.images) throw unknown("image" in asked ? asked.image : "");
  const images = await options.images();
  const start = performance.now();
  let compileMs = 0;
  for (let again = false; ; again = true) {
    const image = await images.get(asked.image, {
      ...(asked.digest === undefined ? {} : { digest: asked.digest }),
      ...(asked.pullPolicy === undefined ? {} : { pullPolicy: asked.pullPolicy }),
      ...(options.signal ? { signal: options.signal } : {}),
      ...(onProgress ? { onProgress: ({ receivedBytes }) => onProgress(receivedBytes) } : {}),
    });
    try {
      const compiling = performance.now();
      const module = await engine.load({ path: image.module.path }, { limits });
      compileMs += performance.now() - compiling;
      if (module.digest === image.module.digest) {
        return {
          module,
          arguments: argumentsOf(program, image, nameOf(module)),
          environment: environmentOf(image),
          mounts: image.files ? [{ path: "/", readOnly: true, content: image.files }] : [],
          imageDigest: image.digest,
          pullMs: performance.now() - start - compileMs,
          compileMs,
          [Symbol.dispose]: () => image[Symbol.dispose](),
        };
      }
    } catch (thrown) {
      // A file that is damaged may be no module any more.
      if (again || !(thrown instanceof Failure && thrown.code === "module-invalid")) {
        image[Symbol.dispose]();
        throw thrown;
      }
    }
    image[Symbol.dispose]();
    if (again) throw damaged(image);
    await images.discard(image.digest);
  }
}

/** As Kubernetes has it: `command` replaces the entry point's own arguments, `args` the image's command. */
function argumentsOf(
  { arguments: given, afterEntrypoint }: Pick<WasmProgram, "arguments" | "afterEntrypoint">,
  { entrypoint, command }: Image,
  name: string,
): readonly string[] {
  const [program = name, ...own] = entrypoint;
  if (!afterEntrypoint) return [program, ...given];
  return [program, ...own, ...(given.length > 0 ? given : command)];
}

/** There is no working folder in preview 1; programs of Go and some others look at this. */
function environmentOf({ environment, workingDir }: Image): ReadyProgram["environment"] {
  return workingDir === "" ? environment : [["PWD", workingDir], ...environment];
}

function nameOf(module: Module): string {
  return basename(module.name, ".wasm");
}

function unknown(image: string): Failure {
  return new Failure("module-not-found", `No module is known for the image "${image}"`, {
    hint: "Images are not pulled here; name a file for it.",
  });
}

function damaged({ reference, module }: Image): Failure {
  return new Failure(
    "storage",
    `The module of ${reference} has another digest than ${module.digest} whenever it is read`,
    { hint: "Look at the disk." },
  );
}
