import { join } from "node:path";
import { openArtifactStore } from "../artifacts/mod.ts";
import { readOperatorFile } from "./configuration.ts";
import { openDepot } from "./depot.ts";
import { homeFolder } from "./home.ts";
import type { Kept } from "./outputs.ts";
import type { StoreOptions } from "./storeoptions.ts";

/** Opens the folder of artifacts, and the way to stores for what is not there any more. */
export async function openKept(options: StoreOptions): Promise<Kept & AsyncDisposable> {
  const artifacts = await openArtifactStore({ folder: join(homeFolder(), "artifacts") });
  const depot = openDepot({
    artifacts,
    operator: await readOperatorFile(options.config),
    allowAddresses: options.allowAddress,
  });
  return { artifacts, depot, [Symbol.asyncDispose]: () => depot[Symbol.asyncDispose]() };
}
