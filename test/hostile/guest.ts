import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { Failure, type Code } from "../../src/errors/mod.ts";
import { defaultLimits, type Limits } from "../../src/limits/mod.ts";
import type { Engine, Mount, Result } from "../../src/engine/mod.ts";

/** One guest of the corpus: the manifest's line. */
export interface Hostile {
  /** Also the name of its files in `guests/`, unless a function makes it. */
  readonly name: string;
  /** What it wants, as the end of "a guest that wants to …". */
  readonly wants: string;
  /** How it must end; a pattern where more than one ceiling may be met first. What it must print lies in `guests/NAME.txt` where that file is. */
  readonly ends: Ending | RegExp;
  readonly prints?: string | RegExp;
  /** Most time from loading it to its result, in milliseconds; 5,000 when absent. */
  readonly withinMs?: number;
  /** Makes the module, where a committed file would be large or say nothing. */
  readonly make?: () => Uint8Array;
  readonly limits?: Partial<Limits>;
  readonly arguments?: readonly string[];
  readonly environment?: readonly (readonly [string, string])[];
  /** Costs seconds: only part of the whole corpus. */
  readonly long?: boolean;
}

export type Ending = Code | `exit ${number}` | `trap: ${string}`;

export interface Ended {
  /** `exit N`, `trap: MESSAGE` or a failure's code. */
  readonly how: string;
  readonly said: string;
  readonly stdout: string;
  readonly result?: Result;
}

const text = (value: string) => ({ kind: "bytes", bytes: Buffer.from(value) }) as const;
/** `/d` is all that a guest was given; `/secret` lies beside it in the same tree. */
const mounts: readonly Mount[] = [
  {
    path: "/d",
    readOnly: false,
    content: {
      kind: "directory",
      entries: [{ kind: "file", path: "in", mode: 0o644, content: text("inside") }],
    },
  },
  {
    path: "/d/ro",
    readOnly: true,
    content: {
      kind: "directory",
      entries: [
        { kind: "file", path: "f", mode: 0o644, content: text("unchanged") },
        { kind: "file", path: "sub/g", mode: 0o644, content: text("unchanged") },
      ],
    },
  },
  { path: "/secret", readOnly: false, content: { kind: "file", mode: 0o644, content: text("SECRET") } },
]; // prettier-ignore

/** Runs one guest. What `load` refuses is an end like any other. */
export async function runGuest(engine: Engine, guest: Hostile, signal?: AbortSignal): Promise<Ended> {
  const limits = { ...defaultLimits, timeMs: 20_000, ...guest.limits };
  try {
    const bytes = guest.make?.() ?? readFileSync(join(import.meta.dirname, "guests", `${guest.name}.wasm`));
    const module = await engine.load({ bytes, name: guest.name }, { limits });
    const invocation = {
      arguments: [guest.name, ...(guest.arguments ?? [])],
      environment: new Map(guest.environment ?? []),
      mounts,
      preopens: ["/d"],
      collect: [],
      limits,
    };
    const result = await engine.run(module, invocation, signal ? { signal } : {});
    const stdout = Buffer.from(result.stdout).toString();
    if (result.kind === "exited") return { how: `exit ${result.exitCode}`, said: "", stdout, result };
    if (result.kind === "trapped") return { how: `trap: ${result.message}`, said: "", stdout, result };
    return { how: result.failure.code, said: result.failure.message, stdout, result };
  } catch (thrown) {
    if (thrown instanceof Failure) return { how: thrown.code, said: thrown.message, stdout: "" };
    throw thrown;
  }
} // prettier-ignore

/** What is wrong with how it ended; nothing when all is as it must be. */
export function complaint(guest: Hostile, { how, said, stdout }: Ended): string | undefined {
  const { ends } = guest;
  const right = typeof ends === "string" ? how === ends : ends.test(how);
  if (!right) return `it ended with ${how} (${said}); it printed\n${stdout.slice(0, 4000)}`;
  const answers = answersOf(guest.name);
  const prints = guest.prints ?? (existsSync(answers) ? readFileSync(answers, "utf8") : /^/);
  if (typeof prints === "string" ? stdout === prints : prints.test(stdout)) return undefined;
  return `it printed\n${stdout.slice(0, 20_000)}`;
}

/** The file with what a guest must print, word for word. */
export function answersOf(name: string): string {
  return join(import.meta.dirname, "guests", `${name}.txt`);
}
