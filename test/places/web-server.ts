import { readFileSync } from "node:fs";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";

interface Asked {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingMessage["headers"];
  readonly body: Buffer;
}

type Answer = (asked: Asked, response: ServerResponse) => void;

/** A web server of the test's: it answers by path, and keeps what it was asked. */
export class WebServer implements AsyncDisposable {
  readonly seen: Asked[] = [];
  readonly paths: Map<string, Answer> = new Map();
  readonly #folders = new Map<string, string>();
  readonly #server = createServer((request, response) => void this.#handle(request, response));

  static async start(): Promise<WebServer> {
    const made = new WebServer();
    await new Promise<void>((resolve) => void made.#server.listen(0, "127.0.0.1", resolve));
    return made;
  }

  get host(): string {
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** Gives what lies in a folder, below a path. */
  files(path: string, folder: string): void {
    this.#folders.set(path, folder);
  }

  asked(path: string): readonly Asked[] {
    return this.seen.filter((asked) => asked.path === path);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async #handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const body = Buffer.concat(await request.toArray().catch(() => []));
    const { method = "", url: path = "", headers } = request;
    const asked = { method, path, headers, body };
    this.seen.push(asked);
    const answer = this.paths.get(path);
    if (answer) answer(asked, response);
    else this.#file(path, response);
  }

  #file(asked: string, response: ServerResponse): void {
    const [path = ""] = asked.split("?");
    for (const [before, folder] of this.#folders) {
      if (!path.startsWith(before)) continue;
      try {
        response.end(readFileSync(join(folder, path.slice(before.length))));
        return;
      } catch {
        // Not there: as any other path.
      }
    }
    response.writeHead(404).end();
  }
}
