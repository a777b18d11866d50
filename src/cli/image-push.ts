import { readFile, stat } from "node:fs/promises";
import { Option, type Command } from "commander";
import { Failure } from "../errors/mod.ts";
import type { Packaging } from "../oci/mod.ts";
import { bytes } from "./format.ts";
import { openUserRegistry, registryOptions, type RegistryFlags } from "./images.ts";
import { interrupted } from "./interrupt.ts";
import { readHostLimits } from "./limits.ts";
import { collect, pair } from "./options.ts";
import { escaped } from "./text.ts";

interface Options extends RegistryFlags {
  readonly packaging: Packaging;
  readonly entrypoint?: string;
  readonly cmd: readonly string[];
  readonly env: readonly string[];
  readonly workdir?: string;
  readonly annotation: readonly string[];
  readonly json?: boolean;
  readonly quiet?: boolean;
}

/** `atalanta image push FILE REFERENCE` */
export function addImagePush(image: Command): void {
  const command = image
    .command("push")
    .description("Put a module into a registry as an image")
    .argument("<file>", "a .wasm module built for wasip1")
    .argument("<reference>", "where it goes, such as ghcr.io/acme/step:1.2")
    .addOption(
      new Option("--packaging <form>", "the CNCF's Wasm artifact, or another form")
        .choices(["cncf", "wasi-image", "wasm-to-oci", "compat"])
        .default("cncf"),
    )
    .option(
      "--entrypoint <path>",
      "of the module in a wasi-image; it becomes argv[0] (default: /NAME.wasm)",
    )
    .option(
      "--cmd <word>",
      "an argument when a step gives none, in a wasi-image (repeatable)",
      collect,
      [],
    )
    .option("--env <name=value>", "a variable, in a wasi-image (repeatable)", collect, [])
    .option("--workdir <path>", "its working folder, in a wasi-image")
    .option("--annotation <name=value>", "of the manifest (repeatable)", collect, []);
  registryOptions(command)
    .option("-q, --quiet", "only the reference with its digest")
    .option("--json", "one line of JSON")
    .addHelpText(
      "after",
      `
The same file and options give the same digest, and what the registry has is not sent again. Prints NAME:TAG@DIGEST.

Examples:
  atalanta image push test/guests/hello/hello.wasm ghcr.io/acme/hello:1
  atalanta image push --packaging wasi-image --env A=b test/guests/hello/hello.wasm ghcr.io/acme/hello:2`,
    )
    .action(async (file: string, reference: string, options: Options) => {
      const { packageModule, parseReference, pushImage, formatReference } =
        await import("../oci/mod.ts");
      const to = parseReference(reference);
      const module = await readModule(file, options);
      const name = file.slice(file.lastIndexOf("/") + 1);
      const files = options.packaging === "wasi-image" || options.packaging === "compat";
      const given = [...options.cmd, ...options.env, options.entrypoint, options.workdir];
      if (!files && given.some((value) => value !== undefined)) {
        throw new Failure(
          "invalid-argument",
          `An image of the form ${options.packaging} has a module and nothing else`,
          {
            hint: "--entrypoint, --cmd, --env and --workdir need --packaging wasi-image.",
          },
        );
      }
      const packaged = await packageModule(module, {
        packaging: options.packaging,
        entrypoint: [options.entrypoint ?? `/${name}`],
        ...(options.cmd.length > 0 ? { command: options.cmd } : {}),
        ...(options.env.length > 0
          ? { environment: options.env.map((text) => pair("--env", text).join("=")) }
          : {}),
        ...(options.workdir === undefined ? {} : { workingDir: options.workdir }),
        annotations: new Map(options.annotation.map((text) => pair("--annotation", text))),
      });
      await using registry = await openUserRegistry(options);
      const show = !options.json && !options.quiet;
      const digest = await pushImage(registry, to, packaged, {
        signal: interrupted,
        onPart: ({ digest: part, size, how }) => {
          if (show) process.stderr.write(`${part.slice(0, 19)}  ${bytes(size)}  ${how}\n`);
        },
      });
      const pushed = formatReference({ ...to, digest });
      process.stdout.write(
        `${options.json ? escaped(JSON.stringify({ reference: pushed, digest, packaging: options.packaging })) : pushed}\n`,
      );
    });
}

/** Reads a module that would be refused when it is pulled no further than to see that. */
async function readModule(file: string, options: RegistryFlags): Promise<Uint8Array> {
  const limits = await readHostLimits({ limit: [], ...options });
  try {
    const { size } = await stat(file);
    if (size > limits.moduleBytes) {
      throw new Failure(
        "module-too-large",
        `"${file}" has ${size} bytes; limits.moduleSize is ${limits.moduleBytes}`,
      );
    }
    const module = await readFile(file);
    if (module.subarray(0, 4).toString("latin1") !== "\0asm") {
      throw new Failure("module-invalid", `"${file}" is no WebAssembly module`, {
        hint: "Give a .wasm file built for wasip1.",
      });
    }
    return module;
  } catch (cause) {
    if (cause instanceof Failure) throw cause;
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new Failure("module-not-found", `Cannot read the module "${file}": ${reason}`, { cause });
  }
}
