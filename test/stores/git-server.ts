// Repositories over smart HTTP, by the `git http-backend` of this machine, with bad days.
import { spawn, execFileSync } from "node:child_process";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

export interface GitServerOptions {
  readonly login?: string;
  /** What goes wrong with a request; `count` is how many came before it. */
  readonly fault?: (url: string, count: number) => GitFault | undefined;
}

export type GitFault =
  | {
      readonly kind: "answer";
      readonly status: number;
      readonly headers?: Readonly<Record<string, string>>;
    }
  | { readonly kind: "cut"; readonly afterBytes: number }
  | { readonly kind: "stall" };

/** Serves the repositories of a folder. */
export class GitServer implements AsyncDisposable {
  readonly seen: { readonly url: string; readonly authorization: string | undefined }[] = [];
  readonly #server: Server;

  private constructor(server: Server) {
    this.#server = server;
  }

  static async start(folder: string, options: GitServerOptions = {}): Promise<GitServer> {
    let count = 0;
    const server = createServer((request, response) => {
      const { url = "" } = request;
      const { authorization } = request.headers;
      made.seen.push({ url, authorization });
      const fault = options.fault?.(url, count++);
      if (fault?.kind === "answer") {
        request.resume();
        response.writeHead(fault.status, fault.headers).end();
      } else if (fault?.kind === "stall") request.resume();
      else if (
        options.login !== undefined &&
        authorization !== `Basic ${Buffer.from(options.login).toString("base64")}`
      ) {
        request.resume();
        response.writeHead(401, { "www-authenticate": 'Basic realm="git"' }).end();
      } else backend(folder, request, response, fault?.afterBytes);
    });
    const made = new GitServer(server);
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    return made;
  }

  get host(): string {
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

/** RFC 3875, as far as git goes. */
function backend(
  folder: string,
  request: IncomingMessage,
  response: ServerResponse,
  cutAfter?: number,
): void {
  const url = new URL(request.url ?? "/", "http://here");
  const core = execFileSync("git", ["--exec-path"], { encoding: "utf8" }).trim();
  const child = spawn(`${core}/git-http-backend`, {
    env: {
      PATH: process.env["PATH"] ?? "",
      GIT_PROJECT_ROOT: folder,
      GIT_HTTP_EXPORT_ALL: "1",
      GIT_CONFIG_COUNT: "2",
      GIT_CONFIG_KEY_0: "safe.directory",
      GIT_CONFIG_VALUE_0: "*",
      GIT_CONFIG_KEY_1: "uploadpack.allowAnySHA1InWant",
      GIT_CONFIG_VALUE_1: "true",
      PATH_INFO: decodeURIComponent(url.pathname),
      QUERY_STRING: url.search.slice(1),
      REQUEST_METHOD: request.method ?? "",
      CONTENT_TYPE: request.headers["content-type"] ?? "",
      HTTP_CONTENT_ENCODING: request.headers["content-encoding"] ?? "",
      GIT_PROTOCOL: String(request.headers["git-protocol"] ?? ""),
      REMOTE_ADDR: "127.0.0.1",
    },
    stdio: ["pipe", "pipe", "ignore"],
  });
  request.pipe(child.stdin);
  child.stdin.on("error", () => undefined);
  let head: Buffer | undefined = Buffer.alloc(0);
  let sent = 0;
  const write = (bytes: Buffer): void => {
    const part = cutAfter === undefined ? bytes : bytes.subarray(0, Math.max(0, cutAfter - sent));
    sent += part.length;
    response.write(part);
    if (cutAfter !== undefined && sent >= cutAfter) response.destroy();
  };
  child.stdout.on("data", (bytes: Buffer) => {
    if (!head) return write(bytes);
    head = Buffer.concat([head, bytes]);
    const end = head.indexOf("\r\n\r\n");
    if (end < 0) return;
    let status = 200;
    const headers: Record<string, string> = {};
    for (const line of head.subarray(0, end).toString().split("\r\n")) {
      const [name = "", value = ""] = line.split(/:\s*/, 2);
      if (name.toLowerCase() === "status") status = Number.parseInt(value, 10);
      else headers[name] = value;
    }
    response.writeHead(status, headers);
    const rest = head.subarray(end + 4);
    head = undefined;
    write(rest);
  });
  child.stdout.on("end", () => response.end());
}
