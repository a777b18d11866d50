import { Reader } from "./reader.ts";
import { leb, section, sections } from "./sections.ts";

/** The import under which a module gets the memory that it would have made itself. */
const memoryModule = "atalanta:memory";
const memoryName = "memory";

/** Up to here, setting a memory back to zero costs less than making another one (1.5 MiB). */
const mostPages = 24;
/** Bytes of memories that lie ready on one thread. */
const keptBytes = 32 * 1024 * 1024;
const pageBytes = 65_536;
/** Sections in the order in which they must stand (section 5.5.16). */
const order = [1, 2, 3, 4, 5, 13, 6, 7, 8, 9, 12, 10, 11];

/**
 * A module whose one memory is imported instead of defined, so that the next guest can have what the last one left: V8 takes most of a short
 * guest's time to make a memory and to clear it away. Nothing for a module where that would not pay. `bytes` have our ceilings already.
 */
export function withMemoryImport(
  bytes: Uint8Array,
  name: string,
): { readonly bytes: Uint8Array; readonly size: MemorySize } | undefined {
  let memory: Uint8Array | undefined;
  let last = -1;
  for (const { id, body } of sections(bytes, name)) {
    // A module that V8 would refuse must not become one that it takes.
    const rank = order.indexOf(id);
    if (id !== 0 && rank <= last) return undefined;
    last = Math.max(last, rank);
    if (id === 2 && importsMemory(body, name)) return undefined;
    if (id === 5) memory = body;
  }
  if (!memory) return undefined;
  const reader = new Reader(memory, name);
  if (reader.number() !== 1 || reader.byte() !== 1) return undefined;
  const limits = memory.subarray(2);
  const size = { initial: reader.number(), maximum: reader.number() };
  if (size.initial > mostPages) return undefined;
  const entry = Buffer.concat([text(memoryModule), text(memoryName), Buffer.from([2, 1]), limits]);
  const parts: Uint8Array[] = [bytes.subarray(0, 8)];
  let placed = false;
  for (const { id, from, to, body } of sections(bytes, name)) {
    if (id === 2) {
      const own = new Reader(body, name);
      const count = own.number();
      parts.push(section(2, Buffer.concat([leb(count + 1), body.subarray(own.at), entry])));
      placed = true;
      continue;
    }
    // Imports stand behind the types and before everything else but custom sections (section 5.5.16).
    if (!placed && id > 2) {
      parts.push(section(2, Buffer.concat([leb(1), entry])));
      placed = true;
    }
    if (id !== 5) parts.push(bytes.subarray(from, to));
  }
  return { bytes: Buffer.concat(parts), size };
}

/** What the module asks for, in pages. */
export interface MemorySize {
  readonly initial: number;
  readonly maximum: number;
}

/** What is offered to such a module. */
export function memoryImport(
  memory: WebAssembly.Memory,
): Record<string, Record<string, WebAssembly.Memory>> {
  return { [memoryModule]: { [memoryName]: memory } };
}

/** The imports that the module had itself. */
export function ownImports(imports: readonly Import[]): readonly Import[] {
  return imports.filter(({ module }) => module !== memoryModule);
}

type Import = ReturnType<typeof WebAssembly.Module.imports>[number];

/** Whether it imports a memory; then it is told so elsewhere. */
function importsMemory(body: Uint8Array, name: string): boolean {
  const reader = new Reader(body, name);
  for (let left = reader.number(); left > 0; left--) {
    reader.take(reader.number());
    reader.take(reader.number());
    const kind = reader.byte();
    if (kind === 2) return true;
    // Anything but a function is not offered, and is refused with words of its own.
    if (kind !== 0) return true;
    reader.number();
  }
  return false;
}

function text(value: string): Uint8Array {
  return Buffer.concat([leb(value.length), Buffer.from(value)]);
}

/**
 * Memories of one thread that lie ready, all zero, by module. One that a guest has made larger is not used again: the next guest would see that it is.
 */
export class Memories {
  readonly #free = new Map<string, WebAssembly.Memory[]>();
  #bytes = 0;

  take(key: string, size: MemorySize): WebAssembly.Memory {
    const free = this.#free.get(key)?.pop();
    if (!free) return new WebAssembly.Memory(size);
    this.#bytes -= free.buffer.byteLength;
    return free;
  }

  /** Of a guest that has ended; nothing may run on it any more. */
  giveBack(key: string, memory: WebAssembly.Memory, initial: number): void {
    const { buffer } = memory;
    if (buffer.byteLength !== initial * pageBytes) return;
    if (this.#bytes + buffer.byteLength > keptBytes) return;
    new Uint8Array(buffer).fill(0);
    this.#bytes += buffer.byteLength;
    const free = this.#free.get(key);
    if (free) free.push(memory);
    else this.#free.set(key, [memory]);
  }

  clear(): void {
    this.#free.clear();
    this.#bytes = 0;
  }
}
