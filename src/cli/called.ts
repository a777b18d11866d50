/** What the user types for this program: `kubectl atalanta` when kubectl started it as its plugin. Nobody who is started from here is told. */
export function calledAs(environment: NodeJS.ProcessEnv): string {
  const name = environment["ATALANTA_CALLED"];
  delete environment["ATALANTA_CALLED"];
  return name === "kubectl atalanta" ? name : "atalanta";
}

/** A help text whose commands are those that the user can type. */
export function asCalled(text: string, name: string, commands: Iterable<string>): string {
  if (name === "atalanta") return text;
  const words = [...commands].join("|");
  return text.replaceAll(
    new RegExp(`(?<!kubectl )\\batalanta (?=(?:${words})\\b)`, "g"),
    `${name} `,
  );
}
