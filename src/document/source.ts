import { Failure, type Code, type Place } from "../errors/mod.ts";

/** A file's text, and which line and column an offset of it is. */
export class Source {
  readonly file: string;
  readonly text: string;
  readonly #lines: number[] = [0];

  constructor(file: string, text: string) {
    this.file = file;
    this.text = text;
    for (let at = text.indexOf("\n"); at >= 0; at = text.indexOf("\n", at + 1)) {
      this.#lines.push(at + 1);
    }
  }

  place(offset: number): Place {
    let low = 0;
    let high = this.#lines.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if ((this.#lines[middle] ?? 0) <= offset) low = middle;
      else high = middle - 1;
    }
    return { file: this.file, line: low + 1, column: offset - (this.#lines[low] ?? 0) + 1 };
  }
}

/** A point in a text. Every tree is one: the point where it begins. */
export interface Spot {
  readonly source: Source;
  readonly at: number;
}

/** How many mistakes are listed one by one, so that a hostile text does not become millions of messages. */
const problemCount = 2000;

/** Collects what is found, each thing once. */
export class Report {
  readonly #problems = new Map<string, Failure>();
  readonly #warnings = new Map<string, Failure>();
  #unlisted = 0;

  problem(spot: Spot, message: string, hint?: string, code: Code = "workflow-invalid"): void {
    if (!add(this.#problems, spot, message, hint, code)) this.#unlisted += 1;
  }

  warning(spot: Spot, message: string, hint?: string): void {
    add(this.#warnings, spot, message, hint, "workflow-unsupported");
  }

  /** Whether so much is wrong that looking for what was meant would only cost time. */
  get crowded(): boolean {
    return this.#problems.size >= 200;
  }

  get problemCount(): number {
    return this.#problems.size;
  }

  problems(files: readonly string[]): readonly Failure[] {
    const listed = sorted([...this.#problems.values()], files);
    if (this.#unlisted === 0) return listed;
    const more = `There are ${this.#unlisted} more mistakes than the ${problemCount} that are listed`;
    const options = { hint: "Correct the first ones and look again." };
    return [...listed, new Failure("workflow-invalid", more, options)];
  }

  warnings(files: readonly string[]): readonly Failure[] {
    return sorted([...this.#warnings.values()], files);
  }
}

function add(
  list: Map<string, Failure>,
  spot: Spot,
  message: string,
  hint: string | undefined,
  code: Code,
): boolean {
  const place = spot.source.place(spot.at);
  const id = `${place.file}:${place.line}:${place.column}:${message}`;
  if (list.has(id)) return true;
  if (list.size >= problemCount) return false;
  list.set(id, new Failure(code, message, { place, ...(hint === undefined ? {} : { hint }) }));
  return true;
}

function sorted(failures: Failure[], files: readonly string[]): readonly Failure[] {
  const rank = new Map(files.map((file, index) => [file, index]));
  const order = ({ place }: Failure): readonly [number, number, number] =>
    place ? [rank.get(place.file) ?? 0, place.line, place.column] : [0, 0, 0];
  return failures.toSorted((left, right) => {
    const [file, line, column] = order(left);
    const [otherFile, otherLine, otherColumn] = order(right);
    return file - otherFile || line - otherLine || column - otherColumn;
  });
}
