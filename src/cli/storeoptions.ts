import type { Command } from "commander";
import { allowAddressHelp, collect, configHelp } from "./options.ts";

/** Options of commands that may have to bring an artifact from a store. */
export interface StoreOptions {
  readonly config?: string;
  readonly allowAddress: readonly string[];
}

/** Adds them to a command. */
export function storeOptions(command: Command): Command {
  return command
    .option("--config <file>", configHelp)
    .option("--allow-address <range>", allowAddressHelp, collect, []);
}
