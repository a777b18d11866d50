export interface UploadOptions {
  readonly signal: AbortSignal;
  /** Each number of bytes that went; negative ones where some have to go again. */
  readonly onBytes: (bytes: number) => void;
}

/** Bytes that can be read from any place, and again. */
export interface Source {
  readonly size: number;
  readonly pieces: (from: number, to: number) => AsyncIterable<Uint8Array> | Iterable<Uint8Array>;
  /** To be called when nobody reads it any more: its room may be wanted. */
  readonly sent?: () => Promise<void>;
}

/** The pieces of a source, told as they go. */
export function counting(
  source: Source,
  onBytes: (bytes: number) => void,
): () => AsyncIterable<Uint8Array> {
  return async function* () {
    for await (const piece of source.pieces(0, source.size)) {
      yield piece;
      onBytes(piece.length);
    }
  };
}
