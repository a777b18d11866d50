import type { FailureRecord } from "../errors/mod.ts";
import type { Limits } from "../limits/mod.ts";
import type { Span } from "./channel.ts";

/**
 * What crosses to a runner process and back, as the headers of frames. The process believes what it is told; what it says is
 * believed by nobody before `parse.ts` has looked at it, so only the way down is described as types here.
 */
export type ToRunner =
  /** The body is the module. */
  | {
      readonly type: "load";
      readonly id: number;
      readonly module: number;
      readonly name: string;
      readonly limits: Limits;
    }
  | { readonly type: "forget"; readonly module: number }
  | ({ readonly type: "run"; readonly id: number; readonly module: number } & WireInvocation)
  | { readonly type: "stop"; readonly id: number }
  /** Files of a result were taken over. */
  | { readonly type: "release"; readonly id: number }
  | {
      readonly type: "answer";
      readonly id: number;
      readonly call: number;
      readonly answer: Answer;
    };

/** What a guest's HTTP request, or reading on in the response, is answered with; a piece is the body. */
export type Answer =
  | {
      readonly kind: "response";
      readonly handle: number;
      readonly status: number;
      readonly headers: readonly (readonly [string, string])[];
    }
  | { readonly kind: "piece" }
  | { readonly kind: "end" }
  | { readonly kind: "failure"; readonly failure: FailureRecord };

interface WireInvocation {
  readonly arguments: readonly string[];
  readonly environment: readonly (readonly [string, string])[];
  readonly stdin: Span;
  readonly mounts: readonly WireMount[];
  readonly preopens?: readonly string[];
  readonly collect: readonly string[];
  readonly limits: Limits;
  readonly live: boolean;
  readonly http: boolean;
  readonly entry?: string;
  /** Whether stdin goes on (asked for as response 0), and whether stdout is taken piece by piece. */
  readonly streams?: { readonly stdin: boolean; readonly stdout: boolean };
}

export interface WireMount {
  readonly path: string;
  readonly readOnly: boolean;
  readonly file?: readonly [mode: number, content: WireBytes];
  readonly entries?: readonly WireEntry[];
}

/** Bytes in the body, or a part of a file in the folder `in` or `out` of the process. */
export type WireBytes = Span | readonly [file: string, at: number, length: number];

export type WireEntry =
  | readonly ["f", path: string, mode: number, content: WireBytes]
  | readonly ["d", path: string, mode: number]
  | readonly ["l", path: string, target: string];

/** Folders of a runner process, below its working folder: what it is given, and what it writes. */
export const givenFolder = "in";
export const writtenFolder = "out";

/** The descriptor of the channel in a runner process. */
export const channelDescriptor = 3;

/** What a runner process is told on its command line. */
export interface RunnerSettings {
  readonly threads: number;
  readonly parkedBytes: number;
  /** Descriptors that our own process was given by whoever started it, and handed on. */
  readonly close: readonly number[];
}

/** Bytes of stdout that a process hands on before it asks whether they are taken. */
export const pouredBytes: number = 512 * 1024;
