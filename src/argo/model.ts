/** The workflow that a step belongs to. */
export interface WorkflowIdentity {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
}

/** A template as it stands in a task set: filled in, and every scalar may be a text. */
export type Template = Readonly<Record<string, unknown>>;

/** One node that somebody has to execute. */
export interface Step {
  readonly workflow: WorkflowIdentity;
  readonly nodeId: string;
  readonly template: Template;
}

/** How a node ended, in Argo's words. `Failed` is the step's own fault and `Error` everything else. */
export interface NodeResult {
  readonly phase: "Pending" | "Running" | "Succeeded" | "Failed" | "Error";
  readonly message?: string;
  readonly progress?: string;
  readonly outputs?: NodeOutputs;
}

export interface NodeOutputs {
  readonly result?: string;
  readonly exitCode?: string;
  /** As the template has them, with their values. */
  readonly parameters?: readonly Readonly<Record<string, unknown>>[];
  /** As the template has them, with their keys. */
  readonly artifacts?: readonly Readonly<Record<string, unknown>>[];
}

/** Executes one kind of template. */
export interface StepExecutor {
  accepts(template: Template): boolean;
  /** Never rejects for what a step does. */
  execute(step: Step, options: { readonly signal: AbortSignal }): Promise<NodeResult>;
}
