import { Errno } from "./errno.ts";

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
/** Longest string that is read at all; what it may be is the caller's to say. */
const textBytes = 65_536;
/** What a call works on at once: V8 can stop a guest only between such steps. */
export const stepBytes: number = 4 * 1024 * 1024;
/** Most buffers of one scattered read or write, as in POSIX's `IOV_MAX`. */
const vectorCount = 1024;

/** One buffer of the guest's: `length` bytes of its memory from `start` on. */
export interface Vector {
  readonly start: number;
  readonly length: number;
}

/**
 * The linear memory of a guest as its calls see it. Every access is checked against the memory as it is now, and one outside of
 * it is `fault`. Without a memory every access of at least one byte is outside.
 */
export class GuestMemory {
  #memory: WebAssembly.Memory | undefined;
  view: DataView = new DataView(new ArrayBuffer(0));
  bytes: Uint8Array = new Uint8Array(0);

  attach(memory: WebAssembly.Memory): void {
    this.#memory = memory;
  }

  /** `memory.grow` detaches the buffer that the views were made over. */
  refresh(): void {
    // A detached view has no bytes left, and looking at that costs less than asking for the buffer.
    if (this.bytes.length > 0 || !this.#memory) return;
    this.view = new DataView(this.#memory.buffer);
    this.bytes = new Uint8Array(this.#memory.buffer);
  }

  /** The pointer as an index, when so many bytes lie there. */
  at(pointer: number, length: number): number {
    const start = pointer >>> 0;
    if (start + (length >>> 0) > this.bytes.length) throw new Errno("fault");
    return start;
  }

  /** A view of the guest's bytes, not a copy. */
  slice(pointer: number, length: number): Uint8Array {
    const start = this.at(pointer, length);
    return this.bytes.subarray(start, start + (length >>> 0));
  }

  put32(pointer: number, value: number): void {
    this.view.setUint32(this.at(pointer, 4), value, true);
  }

  put64(pointer: number, value: bigint): void {
    this.view.setBigUint64(this.at(pointer, 8), value, true);
  }

  get32(pointer: number): number {
    return this.view.getUint32(this.at(pointer, 4), true);
  }

  /** A string of the guest's: `ilseq` when it is not UTF-8. */
  text(pointer: number, length: number): string {
    if (length >>> 0 > textBytes) throw new Errno("nametoolong", "pathLength");
    const bytes = this.slice(pointer, length);
    try {
      return decoder.decode(bytes);
    } catch {
      throw new Errno("ilseq");
    }
  }

  /** The buffers of a scattered read or write, large ones in steps. All are checked, and their places copied, before any of them is used. */
  vectors(pointer: number, count: number): readonly Vector[] {
    if (count >>> 0 > vectorCount) throw new Errno("inval");
    const first = this.at(pointer, count * 8);
    const vectors: Vector[] = [];
    for (let at = first; at < first + count * 8; at += 8) {
      let length = this.view.getUint32(at + 4, true);
      let start = this.at(this.view.getUint32(at, true), length);
      for (; length > stepBytes; length -= stepBytes, start += stepBytes) {
        vectors.push({ start, length: stepBytes });
      }
      vectors.push({ start, length });
    }
    return vectors;
  }
}
