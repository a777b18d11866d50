import { spawn } from "node:child_process";
import { Failure } from "../errors/mod.ts";
import type { Credential } from "./credentials.ts";
import { parseObject, shortened } from "./failures.ts";

const answerBytes = 64 * 1024;

/**
 * Asks `docker-credential-NAME` for the login of a registry (docker-credential-helpers); undefined when it has none. Throws `secret-missing` when it cannot be run,
 * fails, or takes longer than its time.
 */
export async function askHelper(
  name: string,
  server: string,
  options: {
    readonly environment: Readonly<Record<string, string | undefined>>;
    readonly timeMs: number;
    readonly signal: AbortSignal;
  },
): Promise<Credential | undefined> {
  const program = `docker-credential-${name}`;
  const fail = (why: string, hint?: string): Failure =>
    new Failure(
      "secret-missing",
      `${program} did not tell the login for ${server}: ${why}`,
      hint === undefined ? {} : { hint },
    );
  if (!/^[\w.-]+$/.test(name)) throw fail("its name has other characters than letters and digits");
  const { code, output } = await run(program, server, options, fail);
  const parsed = parseObject(output);
  if (code !== 0 || !parsed) {
    if (/credentials not found/i.test(output)) return undefined;
    // Without success its output is an explanation; with it, it might be a secret.
    throw fail(
      code === 0 ? "its answer is no JSON" : `it ended with ${code}: ${shortened(output)}`,
    );
  }
  const { Username: username, Secret: secret } = parsed;
  if (typeof username !== "string" || typeof secret !== "string")
    throw fail("its answer has no Username and Secret");
  if (secret === "") return undefined;
  return username === "<token>"
    ? { kind: "identity-token", token: secret }
    : { kind: "basic", username, password: secret };
}

function run(
  program: string,
  input: string,
  { environment, timeMs, signal }: Parameters<typeof askHelper>[2],
  fail: (why: string, hint?: string) => Failure,
): Promise<{ readonly code: number; readonly output: string }> {
  signal.throwIfAborted();
  return new Promise((resolve, reject) => {
    const child = spawn(program, ["get"], { env: environment, stdio: ["pipe", "pipe", "ignore"] });
    let output = "";
    const end = (failure?: unknown): void => {
      clearTimeout(timer);
      signal.removeEventListener("abort", stop);
      child.kill("SIGKILL");
      // A process that it left behind may hold the pipe.
      child.stdout.destroy();
      // oxlint-disable-next-line typescript/prefer-promise-reject-errors -- whoever aborts gives a failure
      if (failure !== undefined) reject(failure);
    };
    const stop = (): void => end(signal.reason);
    const timer = setTimeout(() => end(fail(`it took longer than ${timeMs / 1000} s`)), timeMs);
    signal.addEventListener("abort", stop, { once: true });
    child.on("error", (cause) => {
      const missing = "code" in cause && cause.code === "ENOENT";
      end(
        missing
          ? fail("there is no such program", "Install it, or take it out of docker's config.json.")
          : fail(cause.message),
      );
    });
    child.stdout.setEncoding("utf8").on("data", (piece: string) => {
      output += piece;
      if (output.length > answerBytes) end(fail(`its answer has more than ${answerBytes} bytes`));
    });
    child.on("close", (code) => {
      end();
      resolve({ code: code ?? -1, output });
    });
    // It may end without having read.
    child.stdin.on("error", () => undefined);
    child.stdin.end(input);
  });
}
