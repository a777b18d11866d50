import type { Callee, Ended } from "../dispatch/mod.ts";

const mostModules = 1000;
const mostBroken = 1000;

/** Modules that are called by their images: one object for each, because what lies ready is found by it. */
export class KnownModules {
  readonly #known = new Map<string, Extract<Callee, { readonly kind: "module" }>>();
  readonly #files: ((name: string) => string | undefined) | undefined;

  constructor(files: ((name: string) => string | undefined) | undefined) {
    this.#files = files;
  }

  get(owner: string, image: string): Extract<Callee, { readonly kind: "module" }> {
    const key = `${owner} ${image}`;
    let callee = this.#known.get(key);
    if (callee) return callee;
    if (this.#known.size >= mostModules) this.#known.clear();
    const path = this.#files?.(image);
    const module = path === undefined ? { image } : { path };
    callee = { kind: "module", owner, name: image, program: { module, limits: {} } };
    this.#known.set(key, callee);
    return callee;
  }
}

type Bad = Exclude<Ended["outcome"], { readonly kind: "returned" }>;

/** Why responses that had begun were broken off; a caller asks for it by the id of his call. The last thousand are known. */
export class BrokenStreams {
  readonly #known = new Map<string, { readonly owner: string; readonly outcome: Bad }>();

  add({ id, owner }: { readonly id: string; readonly owner: string }, outcome: Bad): void {
    this.#known.set(id, { owner, outcome });
    const [oldest] = this.#known.keys();
    if (this.#known.size > mostBroken && oldest !== undefined) this.#known.delete(oldest);
  }

  get(owner: string, id: string): Bad | undefined {
    const found = this.#known.get(id);
    return found?.owner === owner ? found.outcome : undefined;
  }
}
