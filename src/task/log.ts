const tailBytes = 8192;
const tailLines = 20;

/** What a program wrote to both streams, in the order in which it came; the engine holds the ceiling. */
export interface Log {
  readonly size: number;
  readonly write: (stream: "stdout" | "stderr", bytes: Uint8Array) => void;
  readonly bytes: () => Uint8Array;
  /** The last lines of stderr. */
  readonly stderrTail: () => string;
}

/** Keeps a log and hands each piece on. It also has what a program said that was stopped from outside. */
export function createLog(
  onOutput: ((stream: "stdout" | "stderr", bytes: Uint8Array) => void) | undefined,
): Log {
  let kept = Buffer.alloc(0);
  let size = 0;
  let stderr = Buffer.alloc(0);
  return {
    get size() {
      return size;
    },
    write(stream, bytes) {
      if (size + bytes.length > kept.length) {
        const grown = Buffer.alloc(Math.max(size + bytes.length, kept.length * 2));
        grown.set(kept.subarray(0, size));
        kept = grown;
      }
      kept.set(bytes, size);
      size += bytes.length;
      if (stream === "stderr") stderr = Buffer.concat([stderr, bytes]).subarray(-tailBytes);
      onOutput?.(stream, bytes);
    },
    bytes: () => kept.subarray(0, size),
    stderrTail: () => stderr.toString().trimEnd().split("\n").slice(-tailLines).join("\n"),
  };
}
