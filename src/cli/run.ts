import { resolve } from "node:path";
import type { Command } from "commander";
import type { StoredArtifact } from "../artifacts/mod.ts";
import { parseParameterFile } from "../document/mod.ts";
import { Failure } from "../errors/mod.ts";
import { secretsOf } from "../places/mod.ts";
import { beginRun, runWorkflow } from "../workflow/mod.ts";
import { carryOut, runOptions, type RunOptions } from "./carry.ts";
import { readOperatorFile } from "./configuration.ts";
import { openHome } from "./journal.ts";
import { readHostLimits } from "./limits.ts";
import { collect, pair } from "./options.ts";
import { readText, readWorkflow } from "./read.ts";
import { repositoryFor } from "./repositories.ts";
import { storeSecrets } from "./secrets.ts";

interface Options extends RunOptions {
  readonly parameter: readonly string[];
  readonly parameterFile?: string;
  readonly artifact: readonly string[];
  readonly name?: string;
  readonly generateName?: string;
  readonly entrypoint?: string;
  readonly workflow?: string;
}

/** `atalanta run FILE…`: a workflow on this machine, from its arguments to its outputs. */
export function addRun(program: Command): void {
  const command = program
    .command("run")
    .description("Run a workflow on this machine")
    .argument("<file...>", "a workflow, and files with what it refers to; - for stdin")
    .option("-p, --parameter <name=value>", "give a parameter (repeatable)", collect, [])
    .option("-f, --parameter-file <file>", "a mapping of parameters in YAML or JSON")
    .option(
      "-a, --artifact <name=path>",
      "give an artifact: a file or folder (repeatable)",
      collect,
      [],
    )
    .option("--name <name>", "name of this run, instead of metadata.name")
    .option(
      "--generate-name <prefix>",
      "five letters are added to it, instead of metadata.generateName",
    )
    .option("--entrypoint <template>", "begin with this template")
    .option("--workflow <name>", "which workflow or template, when the files hold several");
  runOptions(command)
    .addHelpText(
      "after",
      `
A run that was stopped with Ctrl-C, or whose process died, goes on with: atalanta resume NAME

Examples:
  atalanta run examples/words/workflow.yaml -a doc=LICENSE --output-dir out
  atalanta run examples/first/workflow.yaml --name first-run --json

Exit codes: 0 succeeded, 1 failed, 2 wrong input, 130 interrupted.`,
    )
    .action(async (files: readonly string[], options: Options) => {
      const parameters = {
        ...(options.parameterFile === undefined
          ? {}
          : parseParameterFile(await readText(options.parameterFile), options.parameterFile)),
        ...Object.fromEntries(options.parameter.map((text) => pair("-p", text))),
      };
      const secrets = storeSecrets(await readOperatorFile(options.config));
      const read = await readWorkflow(files, {
        json: options.json ?? false,
        parameters: Object.keys(parameters),
        secrets: secrets.check,
        limits: await readHostLimits(options),
        ...(options.workflow === undefined ? {} : { name: options.workflow }),
      });
      if (!read) return;
      const bundle = renamed(read, options);
      using journal = openHome(options.durability);
      await carryOut({ bundle, options }, async (session, how) => {
        const { repositories } = session.operator;
        const repository = repositoryFor(bundle, repositories, (text) => how.onNotice?.(text));
        if (repository) session.depot.check(repository.place);
        await secrets.read(repository && secretsOf(repository.place));
        const artifacts: Record<string, StoredArtifact> = {};
        for (const [name, path] of options.artifact.map((text) => pair("-a", text))) {
          artifacts[name] = await session.artifacts.putPath(path);
        }
        const { name } = options;
        // Whoever goes on with the run may be in another folder.
        const placed = { ...bundle, folder: resolve(bundle.folder) };
        const given = {
          journal,
          bundle: placed,
          parameters,
          artifacts,
          ...(repository ? { repository } : {}),
        };
        using claim = beginRun(name === undefined ? given : { ...given, name });
        // Awaited here: the claim ends with this function.
        return await runWorkflow({ claim, ...how });
      });
    });
}

type ReadBundle = NonNullable<Awaited<ReturnType<typeof readWorkflow>>>;

/** The workflow with what the command says instead of the document. */
function renamed(bundle: ReadBundle, { generateName, entrypoint }: Options): ReadBundle {
  if (generateName === undefined && entrypoint === undefined) return bundle;
  const { metadata, spec } = bundle.workflow;
  const { name: _name, ...others } = metadata;
  const names = (spec.templates ?? []).map(({ name }) => name);
  if (entrypoint !== undefined && !names.includes(entrypoint)) {
    throw new Failure("invalid-argument", `There is no template "${entrypoint}" to begin with`, {
      hint: `There are: ${names.join(", ")}.`,
    });
  }
  return {
    ...bundle,
    workflow: {
      ...bundle.workflow,
      metadata: generateName === undefined ? metadata : { ...others, generateName },
      spec: entrypoint === undefined ? spec : { ...spec, entrypoint },
    },
  };
}
