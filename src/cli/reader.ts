import { readFile, stat } from "node:fs/promises";
import { isMap, isScalar, isSeq } from "yaml";
import { Failure, type Place } from "../errors/mod.ts";
import type { AllowedHost, AskedHost } from "../network/mod.ts";
import type { ConfigurationFile } from "./configuration.ts";

/** Looks at the parts of a configuration, and says with their place what is wrong. */
export class Reader {
  readonly #file: ConfigurationFile;
  constructor(file: ConfigurationFile) {
    this.#file = file;
  }

  /** Where it stands. */
  place(node: unknown): Place {
    return this.#file.place(node);
  }

  wrong(node: unknown, message: string, hint: string): Failure {
    return new Failure("invalid-argument", message, { place: this.#file.place(node), hint });
  }

  mapping(node: unknown, name: string, known?: readonly string[]): ReadonlyMap<string, unknown> {
    if (node === undefined || (isScalar(node) && node.value === null)) return new Map();
    if (!isMap(node)) throw this.wrong(node, `${name} is no mapping`, "Write KEY: VALUE below it.");
    const found = new Map<string, unknown>();
    for (const { key, value } of node.items) {
      const word = isScalar(key) ? String(key.value) : "";
      if (known && !known.includes(word)) {
        throw this.wrong(key, `Unknown key "${word}" in ${name}`, `Known: ${known.join(", ")}.`);
      }
      if (found.has(word)) {
        throw this.wrong(key, `The key "${word}" of ${name} is there twice`, "Remove one.");
      }
      found.set(word, value);
    }
    return found;
  }

  /** What a check of another part gives; what it throws is told with its place. */
  checked<Value>(node: unknown, name: string, check: () => Value): Value {
    try {
      return check();
    } catch (thrown) {
      if (!(thrown instanceof Failure)) throw thrown;
      throw this.wrong(node, `${name}: ${thrown.message}`, thrown.hint ?? "");
    }
  }

  flag(node: unknown, name: string): boolean | undefined {
    if (node === undefined) return undefined;
    if (isScalar(node) && typeof node.value === "boolean") return node.value;
    throw this.wrong(node, `${name} is neither true nor false`, "Write true or false.");
  }

  text(node: unknown, name: string): string {
    if (isScalar(node) && typeof node.value === "string" && node.value !== "") return node.value;
    throw this.wrong(node, `${name} is no text`, "Write one value.");
  }

  texts(node: unknown, name: string): readonly string[] {
    return this.list(node, name).map((item) => this.text(item, `An item of ${name}`));
  }

  hosts(node: unknown, name: string): readonly AskedHost[] {
    return this.list(node, name).map((item) =>
      isMap(item) ? this.#host(item, name) : this.text(item, `An item of ${name}`),
    );
  }

  #host(node: unknown, name: string): AllowedHost {
    const parts = this.mapping(node, name, ["host", "scheme", "port", "methods", "pathPrefix"]);
    const optional = (key: string): string | undefined => {
      const part = parts.get(key);
      return part === undefined ? undefined : this.text(part, `${name}: ${key}`);
    };
    const port = parts.get("port");
    const scheme = optional("scheme");
    const pathPrefix = optional("pathPrefix");
    const methods = parts.get("methods");
    return {
      host: this.text(parts.get("host") ?? node, `${name}: host`),
      ...(scheme === undefined ? {} : { scheme }),
      ...(port === undefined ? {} : { port: isScalar(port) ? String(port.value) : "" }),
      ...(methods === undefined ? {} : { methods: this.texts(methods, `${name}: methods`) }),
      ...(pathPrefix === undefined ? {} : { pathPrefix }),
    };
  }

  list(node: unknown, name: string): readonly unknown[] {
    if (node === undefined || (isScalar(node) && node.value === null)) return [];
    if (isSeq(node)) return node.items;
    throw this.wrong(node, `${name} is no list`, 'Begin each item with "- ".');
  }
}

/** Reads a file that the configuration names, which is small. */
export async function readSmall(path: string, most: number, label: string): Promise<Buffer> {
  try {
    const { size } = await stat(path);
    if (size > most) {
      throw new Failure("secret-invalid", `${label}: "${path}" has ${size} bytes; ${most} may be`);
    }
    return await readFile(path);
  } catch (cause) {
    if (cause instanceof Failure) throw cause;
    const reason = cause instanceof Error && "code" in cause ? String(cause.code) : String(cause);
    throw new Failure("secret-missing", `${label}: cannot read "${path}": ${reason}`, { cause });
  }
}
