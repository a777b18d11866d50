/** Candidates that are compared: a hostile text must not buy a comparison of everything with everything. */
const candidateCount = 2000;
const wordLength = 100;

/** "Did you mean …?" for a word that is close to a known one, or what is known. */
export function meant(word: string, known: Iterable<string>): string {
  const candidates: string[] = [];
  for (const candidate of known) {
    if (candidate !== "" && candidates.push(candidate) >= candidateCount) break;
  }
  const best = closest(word, candidates);
  if (best !== undefined) return `Did you mean "${best}"?`;
  if (candidates.length === 0) return "Nothing is defined there.";
  const listed = candidates.slice(0, 12).join(", ");
  return `Known here: ${listed}${candidates.length > 12 ? " …" : "."}`;
}

/** The known word that differs least, if it is near enough to have been meant. */
export function closest(word: string, known: readonly string[]): string | undefined {
  if (word.length > wordLength) return undefined;
  let best: string | undefined;
  // short words are near to each other by chance
  let far =
    1 + (word.length <= 1 ? 0 : word.length <= 4 ? 1 : Math.floor(Math.max(2, word.length / 3)));
  for (const candidate of known) {
    if (Math.abs(candidate.length - word.length) >= far || candidate.length > wordLength) continue;
    const away = distance(word.toLowerCase(), candidate.toLowerCase());
    if (away < far) {
      far = away;
      best = candidate;
    }
  }
  return best;
}

/** Levenshtein's distance, with two neighbours that changed places as one change. */
function distance(left: string, right: string): number {
  let before: number[] = [];
  let row = Array.from({ length: right.length + 1 }, (_, index) => index);
  for (let at = 1; at <= left.length; at++) {
    const next = [at];
    for (let to = 1; to <= right.length; to++) {
      const change = left[at - 1] === right[to - 1] ? 0 : 1;
      let least = Math.min(
        (next[to - 1] ?? 0) + 1,
        (row[to] ?? 0) + 1,
        (row[to - 1] ?? 0) + change,
      );
      const swapped =
        at > 1 && to > 1 && left[at - 1] === right[to - 2] && left[at - 2] === right[to - 1];
      if (swapped) least = Math.min(least, (before[to - 2] ?? 0) + 1);
      next.push(least);
    }
    before = row;
    row = next;
  }
  return row[right.length] ?? Infinity;
}
