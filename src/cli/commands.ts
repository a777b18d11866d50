import type { Command } from "commander";

type Add = (program: Command) => void;

interface Entry {
  readonly summary: string;
  /** Loads the command's modules; what it returns adds the command to the program. */
  readonly load: () => Promise<Add>;
}

/** Every command with its summary, in the order in which the help shows them. */
export const commands: ReadonlyMap<string, Entry> = new Map<string, Entry>(
  (
    [
      ["run", "Run a workflow on this machine", async () => (await import("./run.ts")).addRun],
      [
        "exec",
        "Run one module in a sandbox, like a local command",
        async () => (await import("./exec.ts")).addExec,
      ],
      [
        "plan",
        "Show the graph of a workflow; nothing is run",
        async () => (await import("./plan.ts")).addPlan,
      ],
      [
        "lint",
        "Find every mistake in workflow files; nothing is run",
        async () => (await import("./lint.ts")).addLint,
      ],
      [
        "inspect",
        "Show what a module could do, and what a workflow lets it do",
        async () => (await import("./inspect.ts")).addInspect,
      ],
      [
        "image",
        "Pull, push, check and remove images of modules",
        async () => (await import("./image.ts")).addImage,
      ],
      [
        "serve",
        "Serve functions of Wasm modules over HTTP",
        async () => (await import("./serve.ts")).addServe,
      ],
      [
        "runner",
        "Run functions that front ends have put into a broker",
        async () => (await import("./runner.ts")).addRunner,
      ],
      [
        "call",
        "Call a function of a module, here or on a server",
        async () => (await import("./call.ts")).addCall,
      ],
      [
        "deploy",
        "Give a module a name on a server",
        async () => (await import("./deploy.ts")).addDeploy,
      ],
      [
        "functions",
        "List, show and remove what is deployed on a server",
        async () => (await import("./functions.ts")).addFunctions,
      ],
      [
        "token",
        "Make a bearer token for a server",
        async () => (await import("./token.ts")).addToken,
      ],
      [
        "types",
        "Write TypeScript types of a module's functions",
        async () => (await import("./types.ts")).addTypes,
      ],
      [
        "top",
        "Show which functions of a server run and wait",
        async () => (await import("./top.ts")).addTop,
      ],
      [
        "rewrite",
        "Write workflows with wasm: steps as a cluster with Argo takes them",
        async () => (await import("./rewrite.ts")).addRewrite,
      ],
      [
        "submit",
        "Start a workflow on a cluster with Argo",
        async () => (await import("./submit.ts")).addSubmit,
      ],
      [
        "doctor",
        "Find what keeps Wasm steps from running on a cluster with Argo",
        async () => (await import("./doctor.ts")).addDoctor,
      ],
      [
        "agent",
        "Execute the Wasm steps of Argo Workflows on a cluster",
        async () => (await import("./agent.ts")).addAgent,
      ],
      [
        "executor-plugin",
        "Execute Wasm steps beside Argo's own agent pods",
        async () => (await import("./executor-plugin.ts")).addExecutorPlugin,
      ],
      [
        "webhook",
        "Let kubectl take the wasm: key on a cluster",
        async () => (await import("./webhook.ts")).addWebhook,
      ],
      ["list", "List runs, the newest first", async () => (await import("./list.ts")).addList],
      [
        "get",
        "Show a run: its tree and its outputs",
        async () => (await import("./get.ts")).addGet,
      ],
      [
        "logs",
        "Print what the steps of a run printed",
        async () => (await import("./logs.ts")).addLogs,
      ],
      [
        "cp",
        "Write the artifacts that the steps of a run handed on",
        async () => (await import("./cp.ts")).addCp,
      ],
      ["watch", "Show a run until it has ended", async () => (await import("./watch.ts")).addWatch],
      ["wait", "Wait until runs have ended", async () => (await import("./wait.ts")).addWait],
      [
        "resume",
        "Go on with runs that are suspended or were interrupted",
        async () => (await import("./resume.ts")).addResume,
      ],
      [
        "retry",
        "Run the failed steps of a run once more",
        async () => (await import("./retry.ts")).addRetry,
      ],
      [
        "suspend",
        "Let runs begin no other step",
        async () => (await import("./stop.ts")).addSuspend,
      ],
      [
        "stop",
        "Stop runs, but let their exit handlers run",
        async () => (await import("./stop.ts")).addStop,
      ],
      ["terminate", "Stop runs at once", async () => (await import("./stop.ts")).addTerminate],
      ["delete", "Forget runs", async () => (await import("./delete.ts")).addDelete],
      [
        "completion",
        "Print a script that completes words in your shell",
        async () => (await import("./completion.ts")).addCompletion,
      ],
      ["version", "Print the version", async () => (await import("./version.ts")).addVersion],
    ] as const
  ).map(([name, summary, load]) => [name, { summary, load }]),
);
