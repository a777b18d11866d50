/** The name that is fewest letters away, when it is near enough to be a slip. */
export function nearest(name: string, names: readonly string[]): string | undefined {
  let best: string | undefined;
  let least = Math.max(2, Math.floor(name.length / 3)) + 1;
  for (const other of names) {
    const away = other.startsWith(name) ? 1 : distance(name, other);
    if (away < least) [best, least] = [other, away];
  }
  return best;
}

/** Levenshtein's. */
function distance(left: string, right: string): number {
  let before = Array.from({ length: right.length + 1 }, (_, index) => index);
  for (const [row, letter] of left.split("").entries()) {
    const now = [row + 1];
    for (const [column, other] of right.split("").entries()) {
      const change = (before[column] ?? 0) + (letter === other ? 0 : 1);
      now.push(Math.min(change, (before[column + 1] ?? 0) + 1, (now[column] ?? 0) + 1));
    }
    before = now;
  }
  return before[right.length] ?? 0;
}
