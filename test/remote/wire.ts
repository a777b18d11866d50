// A line between two that can be cut: a TCP proxy. A cut line says nothing to either side, as a pulled cable does.
import { connect, createServer, type AddressInfo, type Server, type Socket } from "node:net";
import { once } from "node:events";

export class Line implements AsyncDisposable {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #cut = false;

  private constructor(server: Server) {
    this.#server = server;
  }

  static async to(port: number): Promise<Line> {
    const server = createServer({ pauseOnConnect: false });
    const line = new Line(server);
    server.on("connection", (near) => line.#join(near, port));
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    return line;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  #join(near: Socket, port: number): void {
    const far = connect(port, "127.0.0.1");
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      this.#sockets.add(from);
      from.on("data", (bytes) => {
        // What is sent into a cut line is lost.
        if (!this.#cut) to.write(bytes);
      });
      from.on("error", () => to.destroy());
      from.on("close", () => {
        this.#sockets.delete(from);
        if (!this.#cut) to.destroy();
      });
    }
  }

  cut(): void {
    this.#cut = true;
  }

  /** What was connected stays broken; new connections work. */
  mend(): void {
    for (const socket of this.#sockets) socket.destroy();
    this.#cut = false;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
    await once(this.#server, "close").catch(() => undefined);
  }
}
