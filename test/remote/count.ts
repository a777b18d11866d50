// Calls whose answers are told apart: `unique` gives its word back with a number that is another one each time it runs. So an answer that is lost shows, and
// one that is another when it is asked for again.
import assert from "node:assert/strict";
import type { TestContext } from "node:test";
import { connect, RemoteError } from "../../src/client/mod.ts";

interface Guest {
  unique(ms: number, word: string): Promise<string>;
}

export interface Counted {
  readonly calls: number;
  readonly lost: number;
  readonly doubled: number;
  readonly seconds: number;
}

/** Sends calls with keys to front ends in turns, as many at once as are wanted; each is sent on until it is answered. */
export async function callAll(
  urls: () => readonly string[],
  options: {
    readonly calls: number;
    readonly atOnce: number;
    readonly ms: number;
    readonly run: string;
    readonly wordOf?: (at: number) => string;
    readonly onAnswer?: (count: number) => void;
  },
): Promise<Map<string, string>> {
  const answers = new Map<string, string>();
  let next = 0;
  const lane = async (): Promise<void> => {
    while (next < options.calls) {
      const at = next++;
      const word = options.wordOf?.(at) ?? `w${at}`;
      const answer = await one(urls, { word, ms: options.ms, run: options.run });
      if (answer !== undefined) answers.set(word, answer);
      options.onAnswer?.(answers.size);
    }
  };
  await Promise.all(Array.from({ length: options.atOnce }, lane));
  return answers;
}

async function one(
  urls: () => readonly string[],
  { word, ms, run }: { readonly word: string; readonly ms: number; readonly run: string },
): Promise<string | undefined> {
  const until = Date.now() + 120_000;
  for (let attempt = 0; Date.now() < until; attempt++) {
    const all = urls();
    const url = all[(attempt + word.length) % all.length];
    if (url === undefined) continue;
    try {
      return await connect(url, { attempts: 2 })
        .module<Guest>("f")
        .unique(ms, word, { idempotencyKey: `${run}-${word.slice(0, 20)}` });
    } catch (thrown) {
      if (!(thrown instanceof RemoteError) || !thrown.retryable) {
        process.stderr.write(`${word.slice(0, 20)}: ${String(thrown)}\n`);
        return undefined;
      }
      await new Promise((done) => setTimeout(done, 100));
    }
  }
  return undefined;
}

/** Asks for every call once more, elsewhere: whatever is not the answer of before was answered twice. */
export async function check(
  t: TestContext,
  answers: ReadonlyMap<string, string>,
  options: {
    readonly urls: () => readonly string[];
    readonly calls: number;
    readonly run: string;
    readonly ms: number;
    readonly startedAt: number;
  },
): Promise<void> {
  const seconds = (performance.now() - options.startedAt) / 1000;
  const again = await callAll(() => options.urls().toReversed(), { ...options, atOnce: 32 });
  let doubled = 0;
  let wrong = 0;
  for (const [word, answer] of again) {
    if (!answer.startsWith(`${word} `)) wrong++;
    const before = answers.get(word);
    if (before !== undefined && before !== answer) doubled++;
  }
  const lost = options.calls - answers.size;
  t.diagnostic(`calls ${options.calls}, lost ${lost}, doubled ${doubled}, ${seconds.toFixed(1)} s`);
  assert.deepEqual(
    { lost, doubled, wrong, again: again.size },
    { lost: 0, doubled: 0, wrong: 0, again: options.calls },
  );
}
