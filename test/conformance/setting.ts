import type { Step } from "./script.ts";

/** What lies in a preopened directory before a case begins. */
export type Entry =
  | { readonly kind: "file"; readonly path: string; readonly content: string }
  | { readonly kind: "directory"; readonly path: string }
  | { readonly kind: "symlink"; readonly path: string; readonly target: string };

export interface Preopen {
  readonly path: string;
  readonly readOnly: boolean;
  readonly entries: readonly Entry[];
}

/** What a guest is started with. */
export interface Setting {
  readonly arguments: readonly string[];
  readonly environment: readonly (readonly [string, string])[];
  readonly stdin: string;
  readonly preopens: readonly Preopen[];
}

/** One entry of a preopened directory after the guest ended. */
export interface Found {
  readonly path: string;
  readonly kind: "file" | "directory" | "symlink";
  /** Hexadecimal. */
  readonly content?: string;
  readonly target?: string;
}

/** How a guest ended, and what it told. */
export interface Outcome {
  readonly told: string;
  /** Hexadecimal. */
  readonly stdout: string;
  /** What then lay in each preopen, when that was asked for. */
  readonly trees?: readonly (readonly Found[])[];
  /** `exit N`, `trap: why`, or why it could not be begun or go on. */
  readonly end: string;
  /** The sentence that goes with it, where ours has one. */
  readonly message?: string;
}

export interface Case {
  /** `function: what is asked`. */
  readonly name: string;
  readonly steps: readonly Step[];
}

/** Descriptors of the three directories that every case begins with. */
export const d = 3;
export const e = 4;
export const r = 5;

const file = (path: string, content: string): Entry => ({ kind: "file", path, content });
const link = (path: string, target: string): Entry => ({ kind: "symlink", path, target });
const folder = (path: string): Entry => ({ kind: "directory", path });

/** Every case begins here. */
export const setting: Setting = {
  arguments: ["second", "dritté", ""],
  environment: [
    ["A", "b"],
    ["ümlaut", "€=1"],
    ["EMPTY", ""],
  ],
  stdin: "the standard input",
  preopens: [
    {
      path: "/d",
      readOnly: false,
      entries: [
        file("f", "0123456789"),
        file("empty", ""),
        folder("dir"),
        file("dir/x", "in dir"),
        folder("dir/deep"),
        file("dir/deep/y", "deeper"),
        folder("hollow"),
        link("link", "f"),
        link("dlink", "dir"),
        link("dangling", "nowhere"),
        link("loop", "loop"),
        link("ping", "pong"),
        link("pong", "ping"),
        link("up", ".."),
        link("out", "../e/g"),
        link("abs", "/d/f"),
        link("dir/back", "../f"),
        link("chain", "link"),
        link("slashed", "dir/"),
      ],
    },
    { path: "/e", readOnly: false, entries: [file("g", "other"), folder("sub")] },
    {
      path: "/r",
      readOnly: true,
      entries: [
        file("f", "read only"),
        folder("dir"),
        file("dir/x", "in dir"),
        folder("hollow"),
        link("link", "f"),
      ],
    },
  ],
};
