// Functions of an AssemblyScript program for Atalanta. Copy this file beside yours; docs/functions.md says how a function is called.
//
//   import { fn, json, serve } from "./atalanta";
//   fn("greet", (given: string): void => json("\"Hello\""), `{"parameters":[],"result":{"type":"string"}}`);
//   serve();
//
// Build it with: asc words.ts -o words.wasm -O --exportStart _start --use abort=words/atalanta/aborted

@external("wasi_snapshot_preview1", "args_sizes_get")
declare function args_sizes_get(count: usize, size: usize): i32;
@external("wasi_snapshot_preview1", "args_get")
declare function args_get(words: usize, bytes: usize): i32;
@external("wasi_snapshot_preview1", "fd_read")
declare function fd_read(descriptor: i32, vectors: usize, count: i32, done: usize): i32;
@external("wasi_snapshot_preview1", "fd_write")
declare function fd_write(descriptor: i32, vectors: usize, count: i32, done: usize): i32;
@external("wasi_snapshot_preview1", "proc_exit")
declare function proc_exit(code: i32): void;

class Known {
  constructor(
    public name: string,
    public call: (given: string) => void,
    public description: string,
  ) {}
}

const functions: Known[] = [];

/** Makes a function callable; it is given its arguments as a JSON array. `description` is JSON: `{"parameters": […], "result": …}`. */
export function fn(name: string, call: (given: string) => void, description: string): void {
  functions.push(new Known(name, call, description));
}

/** Prints bytes as the result, or as one piece of it. */
export function bytes(piece: ArrayBuffer): void {
  write(1, piece);
}

/** Prints JSON as the result, or as one piece of it. */
export function json(text: string): void {
  write(1, String.UTF8.encode(text));
}

/** Ends the function with an error that its caller gets by this name. */
export function fail(name: string, message: string): void {
  write(2, String.UTF8.encode(`\natalanta-error: {"name":${quoted(name)},"message":${quoted(message)}}\n`));
  proc_exit(1);
}

/** A text as JSON. */
export function quoted(text: string): string {
  let out = '"';
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code == 34 || code == 92) out += "\\" + text.charAt(at);
    else if (code < 32) out += "\\u00" + (code < 16 ? "0" : "") + code.toString(16);
    else out += text.charAt(at);
  }
  return out + '"';
}

/** The next of the bytes that the function was given; nothing at their end. */
export function read(most: i32 = 65536): ArrayBuffer {
  const buffer = new ArrayBuffer(most);
  const vector = new ArrayBuffer(8);
  const done = new ArrayBuffer(4);
  store<usize>(changetype<usize>(vector), changetype<usize>(buffer));
  store<i32>(changetype<usize>(vector) + 4, most);
  if (fd_read(0, changetype<usize>(vector), 1, changetype<usize>(done)) != 0) return new ArrayBuffer(0);
  return buffer.slice(0, load<i32>(changetype<usize>(done)));
}

/** All of the bytes that the function was given. */
export function input(): ArrayBuffer {
  let all = new Uint8Array(0);
  let piece = Uint8Array.wrap(read());
  while (piece.length > 0) {
    const more = new Uint8Array(all.length + piece.length);
    more.set(all);
    more.set(piece, all.length);
    all = more;
    piece = Uint8Array.wrap(read());
  }
  return all.buffer;
}

/** Calls the function that is asked for, or says which there are. */
export function serve(): void {
  const words = given();
  const name = words.length > 1 ? words[1] : "";
  if (name == "atalanta:describe") {
    let all = "";
    for (let at = 0; at < functions.length; at++) {
      all += (at > 0 ? "," : "") + quoted(functions[at].name) + ":" + functions[at].description;
    }
    json(`{"version":1,"functions":{${all}}}`);
    return;
  }
  for (let at = 0; at < functions.length; at++) {
    if (functions[at].name != name) continue;
    functions[at].call(words.length > 2 ? words[2] : String.UTF8.decode(input()));
    return;
  }
  fail("NoSuchFunction", name);
}

/** What the compiler calls when a check fails. */
export function aborted(message: string, file: string, line: u32, column: u32): void {
  fail("Abort", (message ? message : "aborted") + " at " + (file ? file : "") + ":" + line.toString() + ":" + column.toString());
}

function given(): string[] {
  const sizes = new ArrayBuffer(8);
  args_sizes_get(changetype<usize>(sizes), changetype<usize>(sizes) + 4);
  const count = load<i32>(changetype<usize>(sizes));
  const places = new ArrayBuffer(count * 4);
  const bytes = new ArrayBuffer(load<i32>(changetype<usize>(sizes) + 4));
  args_get(changetype<usize>(places), changetype<usize>(bytes));
  const words: string[] = [];
  for (let at = 0; at < count; at++) {
    const from = load<usize>(changetype<usize>(places) + at * 4);
    let length = 0;
    while (load<u8>(from + length) != 0) length++;
    words.push(String.UTF8.decodeUnsafe(from, length));
  }
  return words;
}

function write(descriptor: i32, piece: ArrayBuffer): void {
  const vector = new ArrayBuffer(8);
  const done = new ArrayBuffer(4);
  let at: i32 = 0;
  while (at < piece.byteLength) {
    store<usize>(changetype<usize>(vector), changetype<usize>(piece) + at);
    store<i32>(changetype<usize>(vector) + 4, piece.byteLength - at);
    if (fd_write(descriptor, changetype<usize>(vector), 1, changetype<usize>(done)) != 0) proc_exit(74);
    at += load<i32>(changetype<usize>(done));
  }
}
