import { StringDecoder } from "node:string_decoder";
import type { RunNode } from "../workflow/mod.ts";
import { event } from "./events.ts";
import type { Progress } from "./live.ts";
import { ended } from "./nodetree.ts";
import type { Paint } from "./style.ts";
import { printable } from "./text.ts";

type Stream = "stdout" | "stderr";

/** Characters of one line; a guest may never write a line break. */
const longestLine = 16_384;
const colours = ["green", "yellow", "blue", "magenta", "cyan"] as const;

/** What steps print, as whole lines with the step's name before them. */
export class OutputLines {
  readonly #names = new Map<string, string>();
  readonly #partial = new Map<string, { readonly decoder: StringDecoder; text: string }>();
  readonly #say: (node: string, name: string, stream: Stream, line: string) => void;

  constructor(progress: Progress, how: { readonly json: boolean; readonly paint: Paint }) {
    this.#say = (node, name, stream, line) => {
      if (how.json) event({ type: "output", node, name, stream, text: line });
      else progress.say(`${prefix(name, how.paint)}${printable(line)}`);
    };
  }

  /** Learns the names of nodes, and ends the last line of those that have ended. */
  update(nodes: readonly RunNode[], run: string): void {
    for (const node of nodes) {
      if (!this.#names.has(node.id)) this.#names.set(node.id, shortName(node, run));
      if (!ended(node.phase)) continue;
      for (const stream of ["stdout", "stderr"] as const) this.#flush(node.id, stream);
    }
  }

  write(node: string, stream: Stream, bytes: Uint8Array): void {
    const key = `${node} ${stream}`;
    const partial = this.#partial.get(key) ?? { decoder: new StringDecoder(), text: "" };
    this.#partial.set(key, partial);
    const lines = (partial.text + partial.decoder.write(Buffer.from(bytes))).split("\n");
    partial.text = lines.pop() ?? "";
    for (const line of lines) this.#tell(node, stream, line);
    if (partial.text.length > longestLine) this.#flush(node, stream);
  }

  #flush(node: string, stream: Stream): void {
    const key = `${node} ${stream}`;
    const { text = "" } = this.#partial.get(key) ?? {};
    this.#partial.delete(key);
    if (text !== "") this.#tell(node, stream, text);
  }

  #tell(node: string, stream: Stream, line: string): void {
    this.#say(node, this.#names.get(node) ?? node, stream, line.replace(/\r$/, ""));
  }
}

/** A node's name without the run's: `[1].count(0:a)`, `task`. */
export function shortName({ name }: Pick<RunNode, "name">, run: string): string {
  return (name.startsWith(run) ? name.slice(run.length).replace(/^\./, "") : name) || name;
}

/** `NAME: ` in a colour that is always the same for a name. */
export function prefix(name: string, paint: Paint): string {
  let sum = 0;
  for (const character of name) sum += character.codePointAt(0) ?? 0;
  return paint(colours[sum % colours.length] ?? "cyan", `${printable(name)}: `);
}
