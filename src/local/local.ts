import { homedir } from "node:os";
import { join, resolve } from "node:path";
import { EmbeddedCalls, Onward } from "../dispatch/mod.ts";
import { Failure } from "../errors/mod.ts";
import { createPerformer, openDeployments } from "../functions/mod.ts";
import { defaultLimits } from "../limits/mod.ts";
import { dockerCredentials, openImages, openRegistry, type Images } from "../oci/mod.ts";
import { createRunners } from "../runner/mod.ts";
import { bodyTooLarge, createApi, type ApiRequest, type ApiResponse } from "../server/mod.ts";

/** What `connect("local:")` calls instead of a server. */
export interface Local {
  readonly fetch: typeof fetch;
  readonly close: () => Promise<void>;
}

/** What the client reads of a `Response`. */
type LocalResponse = Pick<
  Response,
  "ok" | "status" | "headers" | "body" | "json" | "text" | "arrayBuffer"
>;

/**
 * Opens what runs functions here: modules are files (a name with a `/` or that ends in `.wasm`) or images of the folder of images. Nothing is
 * started before the first call.
 */
export async function openLocal(): Promise<Local> {
  await using stack = new AsyncDisposableStack();
  const runners = stack.use(createRunners({ spares: 0 }));
  let opened: Promise<Images> | undefined;
  stack.defer(async () => (await opened?.catch(() => undefined))?.[Symbol.asyncDispose]());
  const performer = stack.use(
    createPerformer({
      runners,
      // Whoever calls it runs it himself.
      checkFile: () => undefined,
      images: () => (opened ??= imagesOfUser()),
    }),
  );
  const deployments = stack.use(openDeployments(":memory:"));
  const dispatcher = stack.use(new EmbeddedCalls({ performer, onward: new Onward(deployments) }));
  const api = createApi({
    dispatcher,
    deployments,
    performer,
    access: { check: () => ({ name: "local" }) },
    files: (name) => (isFile(name) ? resolve(name) : undefined),
  });
  const all = stack.move();
  return {
    async fetch(url, init = {}) {
      const response = await api.handle(requestOf(urlOf(url).slice("local:".length), init));
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- it has all that the client reads
      return new Answer(response) as unknown as Response;
    },
    close: () => all.disposeAsync(),
  };
}

/** The folder of images that the command line has, with the logins of docker and podman. */
function imagesOfUser(): Promise<Images> {
  const { env } = process;
  const home =
    env["ATALANTA_HOME"] ||
    join(env["XDG_DATA_HOME"] || join(homedir(), ".local/share"), "atalanta");
  return openImages({
    folder: join(home, "images"),
    limits: defaultLimits,
    registry: () =>
      Promise.resolve(
        openRegistry({
          credentials: dockerCredentials({ environment: env, home: homedir() }),
          environment: env,
          loopback: true,
        }),
      ),
  });
}

function isFile(name: string): boolean {
  return name.endsWith(".wasm") || name.startsWith("./") || name.startsWith("/");
}

function requestOf(
  url: string,
  { method = "GET", headers, body, signal }: RequestInit,
): ApiRequest {
  const mark = url.indexOf("?");
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the client gives an object
  const named = new Map(Object.entries((headers ?? {}) as Record<string, string>));
  return {
    method,
    path: mark < 0 ? url : url.slice(0, mark),
    query: mark < 0 ? "" : url.slice(mark + 1),
    header: (name) => named.get(name),
    read: async (most) => {
      const bytes = await wholeOf(body);
      if (bytes.length > most) throw bodyTooLarge(bytes.length, most);
      return bytes;
    },
    pieces: () => piecesOf(body)[Symbol.asyncIterator](),
    signal: signal ?? never,
  };
}

const never = new AbortController().signal;

async function wholeOf(body: RequestInit["body"]): Promise<Uint8Array> {
  if (typeof body === "string") return Buffer.from(body);
  if (body instanceof Uint8Array) return body;
  if (body instanceof ArrayBuffer) return new Uint8Array(body);
  const pieces: Uint8Array[] = [];
  for await (const piece of piecesOf(body)) pieces.push(piece);
  return Buffer.concat(pieces);
}

async function* piecesOf(body: RequestInit["body"]): AsyncGenerator<Uint8Array, undefined> {
  if (body instanceof ReadableStream) yield* body;
  else if (body instanceof Blob) yield* body.stream();
  else if (body !== undefined && body !== null) yield await wholeOf(body);
  return undefined;
}

class Answer implements LocalResponse {
  readonly status: number;
  readonly headers: Headers;
  readonly #response: ApiResponse;
  #body: ReadableStream<Uint8Array<ArrayBuffer>> | undefined;

  constructor(response: ApiResponse) {
    this.#response = response;
    this.status = response.status;
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the client asks for single names
    this.headers = new Named(response.headers) as unknown as Headers;
  }

  get ok(): boolean {
    return this.status < 300;
  }

  get body(): ReadableStream<Uint8Array<ArrayBuffer>> {
    return (this.#body ??= streamOf(this.#response));
  }

  async text(): Promise<string> {
    return Buffer.from(await this.#bytes()).toString();
  }

  async json(): Promise<unknown> {
    const { body } = this.#response;
    return JSON.parse(typeof body === "string" ? body : await this.text());
  }

  async arrayBuffer(): Promise<ArrayBuffer> {
    const bytes = await this.#bytes();
    return new Uint8Array(bytes).buffer;
  }

  async #bytes(): Promise<Uint8Array> {
    const { body, stream } = this.#response;
    if (!stream) return typeof body === "string" ? Buffer.from(body) : (body ?? new Uint8Array(0));
    const pieces: Uint8Array[] = [];
    await stream((piece) => void pieces.push(bytesOf(piece)));
    return Buffer.concat(pieces);
  }
}

/** Headers in turns; to make a `Headers` of them would cost more than a short call. */
class Named {
  readonly #list: readonly string[];
  constructor(list: readonly string[]) {
    this.#list = list;
  }
  get(name: string): string | null {
    for (let at = 0; at < this.#list.length; at += 2) {
      if (this.#list[at] === name) return this.#list[at + 1] ?? null;
    }
    return null;
  }
}

function streamOf({ body, stream }: ApiResponse): ReadableStream<Uint8Array<ArrayBuffer>> {
  let more = Promise.withResolvers<undefined>();
  let gone: Failure | undefined;
  return new ReadableStream(
    {
      start(controller) {
        const write = async (bytes: Uint8Array | string): Promise<void> => {
          await more.promise;
          if (gone) throw gone;
          more = Promise.withResolvers<undefined>();
          controller.enqueue(new Uint8Array(bytesOf(bytes)));
        };
        const running = stream
          ? stream(write)
          : body === undefined
            ? Promise.resolve()
            : write(body);
        running.then(
          () => gone ?? controller.close(),
          (thrown: unknown) => gone ?? controller.error(thrown),
        );
      },
      pull: () => more.resolve(undefined),
      cancel() {
        gone = new Failure("aborted", "The caller has left");
        more.resolve(undefined);
      },
    },
    { highWaterMark: 1 },
  );
}

function bytesOf(piece: Uint8Array | string): Uint8Array {
  return typeof piece === "string" ? Buffer.from(piece) : piece;
}

function urlOf(url: Parameters<typeof fetch>[0]): string {
  if (typeof url === "string") return url;
  return url instanceof URL ? url.href : url.url;
}
