import { printReading, readSources } from "./read.ts";

/** Files as a cluster takes them. Prints what is wrong with them; then there is nothing, and the exit code is 2. */
export async function readRewritten(
  files: readonly string[],
  how: { readonly json: boolean },
): Promise<{ readonly texts: readonly string[]; readonly changed: number } | undefined> {
  const { rewriteText } = await import("../argo/mod.ts");
  const sources = await readSources(files);
  const all = sources.map(({ text, file }) => rewriteText(text, file));
  const problems = all.flatMap((one) => one.problems);
  printReading({ problems, warnings: [] }, sources, how);
  if (problems.length > 0) {
    process.exitCode = 2;
    return undefined;
  }
  return {
    texts: all.map(({ text }) => text),
    changed: all.reduce((sum, one) => sum + one.changed, 0),
  };
}
