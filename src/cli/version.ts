import { readFileSync } from "node:fs";
import type { Command } from "commander";

/** `atalanta version` */
export function addVersion(program: Command): void {
  program
    .command("version")
    .description("Print the version")
    .option("--json", "version, Node and platform as JSON")
    .addHelpText("after", "\nExample:\n  atalanta version --json")
    .action((options: { readonly json?: boolean }) => {
      const version = packageVersion();
      const { node: nodeVersion, v8 } = process.versions;
      const platform = `${process.platform}/${process.arch}`;
      process.stdout.write(
        options.json
          ? `${JSON.stringify({ version, node: nodeVersion, v8, platform })}\n`
          : `atalanta ${version} (Node ${nodeVersion}, V8 ${v8}, ${platform})\n`,
      );
    });
}

export function packageVersion(): string {
  // package.json lies at the same place above src/cli and dist/bundle.
  const text = readFileSync(new URL("../../package.json", import.meta.url), "utf8");
  const value: unknown = JSON.parse(text);
  return typeof value === "object" && value !== null && "version" in value
    ? String(value.version)
    : "unknown";
}
