import { limitFailure, type LimitKey, type Limits } from "../limits/mod.ts";
import { Reader } from "./reader.ts";

/** Ceilings of what a module is made of; key and field have one name. */
type Part = LimitKey & keyof Limits;

/** What the sections of the specification (5.5) hold, by their id. */
const counted: ReadonlyMap<number, readonly [Part, string]> = new Map([
  [1, ["moduleTypes", "types"]],
  [2, ["moduleImports", "imports"]],
  [3, ["moduleFunctions", "functions"]],
  [6, ["moduleGlobals", "globals"]],
  [7, ["moduleExports", "exports"]],
  [9, ["moduleSegments", "data and element segments"]],
  [10, ["moduleLocals", "local variables"]],
  [11, ["moduleSegments", "data and element segments"]],
]);
const code = 10;

/**
 * Counts what a module is made of before V8 sees it. A few bytes of a module can cost V8 a hundred times their size, and much
 * time: a type has three bytes, 50,000 local variables of a function have five.
 */
export class Tally {
  readonly #name: string;
  readonly #limits: Limits;
  readonly #found = new Map<Part, number>();

  constructor(name: string, limits: Limits) {
    this.#name = name;
    this.#limits = limits;
  }

  /** Adds a section. Throws the failure of the ceiling that is below its content. */
  add(id: number, body: Uint8Array): void {
    const row = counted.get(id);
    if (!row) return;
    const [key, what] = row;
    const reader = new Reader(body, this.#name);
    const count = (this.#found.get(key) ?? 0) + (id === code ? locals(reader) : reader.number());
    this.#found.set(key, count);
    if (count <= this.#limits[key]) return;
    throw limitFailure(key, this.#limits, `"${this.#name}" has ${count} ${what}`);
  }

  /** The values of all ceilings that are looked at here. */
  static ceilings(limits: Limits): readonly number[] {
    return [...counted.values()].map(([key]) => limits[key]);
  }
}

/** Local variables of all functions of a code section. */
function locals(reader: Reader): number {
  let sum = 0;
  for (let functions = reader.number(); functions > 0; functions--) {
    const size = reader.number();
    const end = reader.at + size;
    for (let groups = reader.number(); groups > 0; groups--) {
      sum += reader.number();
      reader.valueType();
      // Or going back to the end of each of many functions would take the square of their number.
      if (reader.at > end) throw reader.damaged("a function longer than its size");
    }
    reader.at = end;
  }
  return sum;
}
