import type { AskedLimits } from "../limits/mod.ts";

/** The part of Argo's workflow (`argoproj.io/v1alpha1`) that is supported; keys are Argo's own. */
export interface Workflow {
  readonly metadata: { readonly name?: string; readonly generateName?: string };
  readonly spec: {
    readonly entrypoint: string;
    readonly arguments?: Arguments;
    readonly templates: readonly Template[];
  };
}

export interface Arguments {
  readonly parameters?: readonly Parameter[];
  readonly artifacts?: readonly Artifact[];
}

export type Scalar = string | number | boolean;

export interface Parameter {
  readonly name: string;
  readonly value?: Scalar;
  readonly default?: Scalar;
  readonly enum?: readonly Scalar[];
  readonly valueFrom?: {
    readonly path?: string;
    readonly parameter?: string;
    readonly default?: Scalar;
  };
}

export interface Artifact {
  readonly name: string;
  readonly path?: string;
  readonly optional?: boolean;
  readonly from?: string;
  readonly subPath?: string;
  readonly raw?: { readonly data: string };
}

export interface Template {
  readonly name: string;
  readonly inputs?: Arguments;
  readonly outputs?: Arguments;
  readonly wasm?: Wasm;
  readonly plugin?: { readonly wasm: Wasm };
  readonly steps?: readonly (readonly Step[])[];
  readonly dag?: { readonly tasks: readonly Step[] };
}

/** What a `wasm:` template runs. */
export interface Wasm {
  readonly image?: string;
  /** A module file, relative to the workflow's; local runs only. */
  readonly module?: string;
  readonly command?: readonly Scalar[];
  readonly args?: readonly Scalar[];
  readonly env?: readonly { readonly name: string; readonly value?: Scalar }[];
  readonly stdin?: string;
  readonly limits?: AskedLimits;
}

/** A step of `steps`, or a task of `dag`. */
export interface Step {
  readonly name: string;
  readonly template: string;
  readonly arguments?: Arguments;
  readonly withItems?: readonly unknown[];
  readonly withParam?: string;
  readonly continueOn?: { readonly failed?: boolean; readonly error?: boolean };
  readonly dependencies?: readonly string[];
}
