import type { WriteStream } from "node:tty";
import type { RunNode, RunState } from "../workflow/mod.ts";
import { bytes, duration } from "./format.ts";
import { NodeTree, type Row } from "./nodetree.ts";
import { interrupted } from "./interrupt.ts";
import { mark, rowMessage, rowName, rowTime } from "./phase.ts";
import type { Paint } from "./style.ts";
import { cut, oneLine, width } from "./text.ts";

/** Shows a run while it goes on. */
export interface Progress extends Disposable {
  /** Nodes that began, changed or ended, and what is now known of the run. */
  update(nodes: readonly RunNode[], state: RunState): void;
  /** A line beside the progress, such as a line of a log. */
  say(line: string): void;
  /** An artifact of a node is on its way from or to a store, or has come to its end. */
  transfer(node: string, transfer: Transfer): void;
}

export interface Transfer {
  readonly artifact: string;
  readonly way: "from" | "to";
  readonly bytes?: number;
}

/** Time between two pictures: fast enough to look alive, slow enough to cost nothing. */
const frameMs = 100;
/** Lines of the picture that stays when all is over. */
const finalRows = 200;

const hideCursor = "\u001b[?25l";
const showCursor = "\u001b[?25h";

/** A tree that is drawn over itself on a terminal; its last state stays. */
export class LiveTree implements Progress {
  readonly #out: WriteStream;
  readonly #paint: Paint;
  readonly #tree = new NodeTree();
  readonly #timer: NodeJS.Timeout;
  readonly #onResize = (): void => this.#draw(this.#frame());
  readonly #onExit = (): void => {
    this.#out.write(showCursor);
  };
  readonly #transfers = new Map<string, string>();
  #state: RunState | undefined;
  /** Lines that are on the screen now. */
  #shown: readonly string[] = [];

  constructor(out: WriteStream, paint: Paint) {
    this.#out = out;
    this.#paint = paint;
    this.#timer = setInterval(() => this.#draw(this.#frame()), frameMs);
    this.#timer.unref();
    out.on("resize", this.#onResize);
    // Also when a bug ends the process, and before a second Ctrl-C can.
    process.once("exit", this.#onExit);
    interrupted.addEventListener("abort", this.#onExit);
    out.write(hideCursor);
  }

  update(nodes: readonly RunNode[], state: RunState): void {
    // A run that is taken up again has nodes from before.
    for (const node of this.#state ? nodes : state.nodes.values()) this.#tree.update(node);
    this.#state = state;
  }

  transfer(node: string, { artifact, way, bytes: sofar }: Transfer): void {
    if (sofar === undefined) this.#transfers.delete(node);
    else {
      const arrow = way === "from" ? "↓" : "↑";
      this.#transfers.set(node, `${arrow} ${oneLine(artifact)} ${bytes(sofar)}`);
    }
  }

  say(line: string): void {
    const frame = this.#shown;
    this.#erase();
    this.#out.write(`${line}\n`);
    this.#draw(frame);
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
    this.#out.off("resize", this.#onResize);
    process.off("exit", this.#onExit);
    interrupted.removeEventListener("abort", this.#onExit);
    this.#erase();
    const rows = this.#tree.rows();
    const lines = this.#lines(rows.slice(0, finalRows));
    if (rows.length > finalRows) lines.push(` … ${rows.length - finalRows} more`);
    this.#out.write(`${lines.map((line) => `${line}\n`).join("")}${showCursor}`);
  }

  /** What fits the window: it may not scroll, or it could not be drawn over. */
  #frame(): string[] {
    if (!this.#state) return [];
    const room = Math.max(3, (this.#out.rows || 24) - 2);
    const rows = this.#tree.rows();
    return [...this.#lines(fit(rows, room)), this.#summary(this.#state, rows)];
  }

  #lines(rows: readonly (Row | Gap)[]): string[] {
    const now = Date.now();
    const columns = this.#out.columns || 80;
    // An item of a loop can be a whole object, and all of it is in the name.
    const most = Math.max(20, Math.min(60, columns >> 1));
    const names = rows.map((row) =>
      row.kind === "gap" ? "" : cut(rowName(row, this.#paint), most),
    );
    const nameWidth = Math.max(0, ...names.map(width));
    return rows.map((row, at) => {
      if (row.kind === "gap") {
        return cut(this.#paint("dim", `   … ${row.rows} more`), columns - 1);
      }
      const name = names[at] ?? "";
      const time = this.#paint("dim", rowTime(row, now).padStart(7));
      const moving = row.kind === "node" ? this.#transfers.get(row.node.id) : undefined;
      const rest = `${time}  ${moving ?? rowMessage(row, this.#paint)}`;
      const gap = " ".repeat(Math.max(0, nameWidth - width(name)));
      return cut(`${name}${gap}  ${rest}`.trimEnd(), columns - 1);
    });
  }

  #summary(state: RunState, rows: readonly Row[]): string {
    const { done, total } = state.progress;
    const parts = [
      `${mark(state.phase, this.#paint)} ${state.suspended ? "Suspended" : state.phase}`,
      ...(total > 0 ? [`${done}/${total}`] : []),
      duration((state.finishedAt ?? Date.now()) - state.startedAt),
    ];
    const waits = (row: Row): boolean =>
      row.kind === "node" && row.node.type === "Suspend" && row.node.phase === "Running";
    if (state.suspended || rows.some(waits)) {
      parts.push(`go on with: atalanta resume ${state.begin.name}`);
    }
    return cut(` ${parts.join("  ")}`, (this.#out.columns || 80) - 1);
  }

  #draw(frame: readonly string[]): void {
    if (
      frame.length === this.#shown.length &&
      frame.every((line, at) => line === this.#shown[at])
    ) {
      return;
    }
    this.#out.write(`${this.#home()}${frame.map((line) => `\u001b[K${line}\n`).join("")}\u001b[J`);
    this.#shown = frame;
  }

  #erase(): void {
    if (this.#shown.length > 0) this.#out.write(`${this.#home()}\u001b[J`);
    this.#shown = [];
  }

  /** Moves to the first line of the picture; a window that became narrower has broken lines in two. */
  #home(): string {
    const columns = this.#out.columns || 80;
    const lines = this.#shown.reduce(
      (sum, line) => sum + Math.max(1, Math.ceil(width(line) / columns)),
      0,
    );
    return lines === 0 ? "" : `\u001b[${lines}A\r`;
  }
}

interface Gap {
  readonly kind: "gap";
  readonly rows: number;
}

/** Takes as many lines as fit, what failed and what runs first, and says how many are left out where. */
function fit(rows: readonly Row[], room: number): readonly (Row | Gap)[] {
  if (rows.length <= room) return rows;
  const kept = new Set<Row>();
  let picture: readonly (Row | Gap)[] = [];
  const byWish = rows.toSorted((left, right) => wish(right) - wish(left));
  for (const row of byWish) {
    kept.add(row);
    const next = gaps(rows, (item) => kept.has(item));
    // A line in a gap splits it in two, so one may not fit where another one does; that is not worth a search.
    if (next.length > room) break;
    picture = next;
  }
  return picture;
}

/** How much one wants to see a row. */
function wish(row: Row): number {
  if (row.kind === "loop") return 3;
  const { phase, type } = row.node;
  if (phase === "Failed" || phase === "Error") return 4;
  if (phase === "Running") return 3;
  if (phase === "Pending") return 2;
  return type === "Steps" || type === "DAG" ? 1 : 0;
}

function gaps(rows: readonly Row[], keep: (row: Row) => boolean): readonly (Row | Gap)[] {
  const kept: (Row | Gap)[] = [];
  for (const row of rows) {
    const last = kept.at(-1);
    if (keep(row)) kept.push(row);
    else if (last?.kind === "gap") kept[kept.length - 1] = { kind: "gap", rows: last.rows + 1 };
    else kept.push({ kind: "gap", rows: 1 });
  }
  return kept;
}
