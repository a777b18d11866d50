/** The part of the WebAssembly JavaScript interface that we use; neither `esnext` nor `@types/node` declares it. */
declare namespace WebAssembly {
  type ImportValue = ((...parameters: never[]) => unknown) | Memory | Suspending;
  class Module {
    constructor(bytes: Uint8Array);
    static customSections(module: Module, name: string): readonly ArrayBuffer[];
    static exports(module: Module): { readonly name: string; readonly kind: string }[];
    static imports(
      module: Module,
    ): { readonly module: string; readonly name: string; readonly kind: string }[];
  }
  class Instance {
    constructor(module: Module, imports: Record<string, Record<string, ImportValue>>);
    readonly exports: Readonly<Record<string, unknown>>;
  }
  class Memory {
    constructor(descriptor: { readonly initial: number; readonly maximum?: number });
    readonly buffer: ArrayBuffer;
  }
  /** An import that may return a promise, for which the guest's stack is put aside (JavaScript Promise Integration). */
  class Suspending {
    constructor(run: (...parameters: never[]) => unknown);
  }
  /** An exported function whose stack can be put aside. */
  function promising(run: () => void): () => Promise<void>;
  class CompileError extends Error {}
  class LinkError extends Error {}
  class RuntimeError extends Error {}
  /** What a guest throws (exception handling proposal); it is no `Error`. */
  class Exception {}
  function compile(bytes: Uint8Array): Promise<Module>;
  function validate(bytes: Uint8Array): boolean;
}
