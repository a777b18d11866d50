import { access, lstat, mkdir, readdir, readlink, realpath, rm, writeFile } from "node:fs/promises";
import { isIP, isIPv6 } from "node:net";
import { join } from "node:path";
import { Failure } from "../../errors/mod.ts";
import type { TreeEntry } from "../../wasi/mod.ts";
import type { Downloaded, GitLocation } from "../mod.ts";
import { retried } from "../retries.ts";
import type { Store, StoreContext, Transfer } from "../stores.ts";
import { excess, git, type Ceilings, type GitOptions } from "./program.ts";
import { addressesOf, checkedName, parseRemote, shown, type Remote } from "./remote.ts";

/** Submodules of a repository, all of them, and how deep they may lie in each other. */
const mostSubmodules = 200;
const deepest = 5;
/** A server may look for what it sends for so many times the time in which else some of a body has to come. */
const patience = 20;

/**
 * Repositories, by the `git` of this machine, with its working tree and its `.git`, as Argo has them; they are only read. The URL and all that the
 * repository says are a stranger's: nothing but http, https, ssh and git is spoken, no setting of the machine or the user counts, no hook
 * and no filter runs, no redirect is followed, and a login goes to the host of the URL alone. A host is looked up and checked by us, and over
 * http, https and ssh git connects to the address that was checked; over git:// it looks once more for itself.
 */
export function openGit(context: StoreContext): Store<GitLocation> {
  return {
    async download(location, folder, options) {
      const remote = parseRemote(location.repository);
      try {
        return await retried(context.retries, options.signal, async () => {
          const work = await context.temporaryFolder();
          try {
            // A second attempt begins with an empty folder, too.
            await rm(folder, { recursive: true, force: true });
            await mkdir(folder, { recursive: true });
            await new Clone(context, { location, remote, folder, work, options }).run();
            return await tree(folder, ceilingsOf(context));
          } finally {
            await rm(work, { recursive: true, force: true });
          }
        });
      } catch (thrown) {
        if (!(thrown instanceof Failure)) throw thrown;
        const { code, message, hint } = thrown;
        throw new Failure(
          code,
          `Cannot get the repository "${shown(location.repository)}": ${message}`,
          { cause: thrown, ...(hint === undefined ? {} : { hint }) },
        );
      }
    },
  };
}

interface CloneOf {
  readonly location: GitLocation;
  readonly remote: Remote;
  readonly folder: string;
  /** For settings and keys; removed afterwards. */
  readonly work: string;
  readonly options: Transfer;
}

class Clone {
  readonly #context: StoreContext;
  readonly #of: CloneOf;
  readonly #environment: Record<string, string> = {};
  /** Where each host that was looked at is met. */
  readonly #met = new Map<
    string,
    { readonly remote: Remote; readonly addresses: readonly string[] }
  >();
  #submodules = 0;

  constructor(context: StoreContext, of: CloneOf) {
    this.#context = context;
    this.#of = of;
  }

  async run(): Promise<void> {
    const { location, remote, folder } = this.#of;
    const { depth, branch, singleBranch = false, fetch = [] } = location;
    const names = [
      ...(location.revision === undefined ? [] : [location.revision]),
      ...(branch === undefined ? [] : [branch]),
    ].map((name) => checkedName(name, "revision"));
    const specs = fetch.map((spec) => checkedName(spec, "refspec"));
    if (singleBranch && branch === undefined) {
      throw new Failure("invalid-argument", "singleBranch is set, and no branch is named", {
        hint: "Name it under branch:.",
      });
    }
    await this.#meet(remote);
    await this.#prepare();
    const shallow = depth === undefined ? [] : ["--depth", String(Math.max(1, Math.trunc(depth)))];
    const only = singleBranch
      ? ["--single-branch", "--branch", branch ?? ""]
      : depth === undefined
        ? []
        : ["--no-single-branch"];
    await this.#git(["clone", "--quiet", "--no-checkout", "--template=", ...shallow, ...only, "--", remote.url, folder]); // prettier-ignore
    if (specs.length > 0)
      await this.#git(["fetch", "--quiet", ...shallow, "origin", ...specs], folder);
    const revision = names.length > 0 ? location.revision : undefined;
    if (revision === undefined) {
      // Of an empty repository nothing can be checked out.
      if (await this.#commit("HEAD")) await this.#git(["checkout", "--quiet"], folder);
    } else
      await this.#git(
        ["checkout", "--quiet", "--detach", await this.#find(revision), "--"],
        folder,
      );
    if (location.submodules ?? true) await this.#checkOutSubmodules(folder, 1);
  }

  /** The commit that a tag, a branch, a commit's beginning or a whole name of a reference means. */
  async #find(revision: string): Promise<string> {
    const { folder } = this.#of;
    const tried = [
      ...(revision.startsWith("refs/heads/")
        ? [`refs/remotes/origin/${revision.slice("refs/heads/".length)}`]
        : []),
      ...(revision.startsWith("refs/") ? [revision] : []),
      `refs/tags/${revision}`,
      `refs/remotes/origin/${revision}`,
      `refs/heads/${revision}`,
      revision,
    ];
    for (const name of tried) {
      const commit = await this.#commit(name);
      if (commit) return commit;
    }
    // A commit that no branch has, or that a shallow clone has left out.
    await this.#git(["fetch", "--quiet", "origin", revision], folder);
    return (await this.#commit("FETCH_HEAD")) ?? revision;
  }

  async #commit(name: string): Promise<string | undefined> {
    try {
      const { folder } = this.#of;
      return (await this.#git(["rev-parse", "--verify", "--quiet", "--end-of-options", `${name}^{commit}`], folder)).trim(); // prettier-ignore
    } catch (thrown) {
      this.#of.options.signal.throwIfAborted();
      if (thrown instanceof Failure) return undefined;
      throw thrown;
    }
  }

  /** One by one, as each may name others, whose hosts are to be looked at before. */
  async #checkOutSubmodules(folder: string, depth: number): Promise<void> {
    const own = await access(join(folder, ".gitmodules")).then(
      () => this.#config(folder, ["--file", ".gitmodules"], "path"),
      () => [],
    );
    if (own.length === 0) return;
    this.#submodules += own.length;
    if (depth > deepest || this.#submodules > mostSubmodules) {
      throw new Failure(
        "store-refused",
        `The repository has more than ${mostSubmodules} submodules, or deeper ones than ${deepest}`,
        {
          hint: "Set disableSubmodules: true.",
        },
      );
    }
    // Only git knows where a relative URL leads: `../../other/x` may climb over the host. What it found is looked at, and what was understood is used.
    await this.#git(["submodule", "--quiet", "init"], folder);
    for (const [key, url] of await this.#config(folder, ["--local"], "url")) {
      const remote = parseRemote(url);
      await this.#meet(remote);
      await this.#git(["config", "--local", "--", key, remote.url], folder);
    }
    await this.#prepare();
    await this.#git(["submodule", "--quiet", "update"], folder);
    for (const [, path] of own) {
      const inner = join(folder, path);
      if (await isSubmodule(folder, path)) await this.#checkOutSubmodules(inner, depth + 1);
    }
  }

  /** Settings of submodules: their keys and values. */
  async #config(
    folder: string,
    from: readonly string[],
    name: "path" | "url",
  ): Promise<readonly (readonly [key: string, value: string])[]> {
    const list = await this.#git(["config", ...from, "-z", "--list"], folder);
    const wanted = new RegExp(String.raw`^submodule\.[^]*\.${name}$`);
    return list.split("\0").flatMap((item) => {
      const end = item.indexOf("\n");
      const key = item.slice(0, Math.max(0, end));
      return wanted.test(key) ? [[key, item.slice(end + 1)] as const] : [];
    });
  }

  async #meet(remote: Remote): Promise<void> {
    const key = `${remote.protocol} ${remote.host} ${remote.port}`;
    if (this.#met.has(key)) return;
    const { rules } = this.#context.manner(this.#of.location);
    this.#met.set(key, { remote, addresses: await addressesOf(remote, rules) });
  }

  /** What git and ssh read instead of the user's and the machine's files. */
  async #prepare(): Promise<void> {
    const { location, remote, work } = this.#of;
    const { environment } = this.#context;
    const ssh = join(work, "ssh");
    const known = location.anyHostKey
      ? ["StrictHostKeyChecking no", "UserKnownHostsFile /dev/null"]
      : ["StrictHostKeyChecking yes", ...(environment["HOME"] === undefined ? [] : [`UserKnownHostsFile "${environment["HOME"]}/.ssh/known_hosts"`])]; // prettier-ignore
    const key = join(work, "key");
    if (location.sshKey) {
      const text = Buffer.from(await location.sshKey(endpointOf(remote))).toString();
      await writeFile(key, text.endsWith("\n") ? text : `${text}\n`, { mode: 0o600 });
    }
    const hosts = [...this.#met.values()].filter((met) => met.remote.protocol === "ssh");
    const lines = hosts.flatMap(({ remote: { host }, addresses: [address = host] }) => [
      `Host ${host}`,
      `  HostName ${address}`,
      `  HostKeyAlias ${host}`,
      ...(location.sshKey && host === remote.host ? [`  IdentityFile "${key}"`, "  IdentitiesOnly yes"] : ["  IdentityFile none"]), // prettier-ignore
    ]);
    await writeFile(ssh, [...lines, "Host *", "  BatchMode yes", "  ConnectTimeout 20", "  ServerAliveInterval 15", "  PasswordAuthentication no", "  ForwardAgent no", ...known.map((line) => `  ${line}`), ""].join("\n")); // prettier-ignore
    Object.assign(this.#environment, {
      PATH: environment["PATH"] ?? process.env["PATH"] ?? "/usr/bin:/bin",
      HOME: work,
      LC_ALL: "C",
      GIT_CONFIG_NOSYSTEM: "1",
      GIT_CONFIG_GLOBAL: "/dev/null",
      GIT_TERMINAL_PROMPT: "0",
      GIT_ASKPASS: "true",
      GIT_ALLOW_PROTOCOL: "http:https:ssh:git",
      GIT_PROTOCOL_FROM_USER: "0",
      GIT_SSH_COMMAND: `ssh -F '${ssh}'`,
    });
    for (const name of ["http_proxy", "https_proxy", "no_proxy"]) {
      const value = environment[name] ?? environment[name.toUpperCase()];
      if (value !== undefined) this.#environment[name] = value;
    }
    if (!location.user && !location.password) return;
    if (remote.protocol !== "https" && remote.protocol !== "http") {
      throw new Failure("invalid-argument", `A password is of no use over ${remote.protocol}`, {
        hint: "Give sshPrivateKeySecret, or an https URL.",
      });
    }
    const value = async (secret: GitLocation["user"], usual: string): Promise<string> => {
      const text = secret
        ? Buffer.from(await secret(endpointOf(remote)))
            .toString()
            .trim()
        : usual;
      if (!/[\n\0]/.test(text)) return text;
      throw new Failure("secret-invalid", "A name or password for git has more than one line");
    };
    this.#environment["ATALANTA_GIT_USER"] = await value(location.user, remote.user ?? "git");
    this.#environment["ATALANTA_GIT_PASSWORD"] = await value(location.password, "");
  }

  #settings(): readonly string[] {
    const { location, remote, work } = this.#of;
    const { authorities } = this.#context.manner(location);
    const { protocol } = remote;
    const place = endpointOf(remote);
    const pinned = [...this.#met.values()]
      .filter((met) => met.remote.protocol.startsWith("http") && isIP(met.remote.host) === 0)
      .map(({ remote: met, addresses }) => `http.curloptResolve=${met.host}:${met.port}:${addresses.map((address) => (isIPv6(address) ? `[${address}]` : address)).join(",")}`); // prettier-ignore
    return [
      "core.hooksPath=/dev/null",
      "core.fsmonitor=false",
      "core.protectHFS=true",
      "core.protectNTFS=true",
      // A folder of a tree can look like a repository, with settings that name programs.
      "safe.bareRepository=explicit",
      "submodule.recurse=false",
      "fetch.recurseSubmodules=false",
      "credential.helper=",
      "http.followRedirects=false",
      // A server that looks for long what to send gives five bytes in five seconds.
      "http.lowSpeedLimit=1",
      "http.lowSpeedTime=60",
      "gc.auto=0",
      "maintenance.auto=false",
      "advice.detachedHead=false",
      ...pinned,
      ...(location.anyCertificate ? ["http.sslVerify=false"] : []),
      ...(authorities ? [`http.sslCAInfo=${join(work, "authorities.pem")}`] : []),
      ...("ATALANTA_GIT_PASSWORD" in this.#environment
        ? [
            `credential.${protocol}://${place}.helper=!f() { test "$1" = get && printf 'username=%s\\npassword=%s\\n' "$ATALANTA_GIT_USER" "$ATALANTA_GIT_PASSWORD"; }; f`,
          ]
        : []),
    ];
  }

  async #git(words: readonly string[], folder = this.#of.work): Promise<string> {
    const { work, options, location } = this.#of;
    const { authorities } = this.#context.manner(location);
    if (authorities) await writeFile(join(work, "authorities.pem"), authorities.join("\n"));
    const given: GitOptions = {
      folder,
      environment: this.#environment,
      settings: this.#settings(),
      signal: options.signal,
      watched: this.#of.folder,
      ...ceilingsOf(this.#context),
      stillMs: this.#context.transport.timeouts.idleMs * patience,
      onProgress: options.onProgress,
    };
    return git(words, given);
  }
}

/** As a secret's list of hosts has it. */
function endpointOf({ protocol, host, port }: Remote): string {
  const usual = { http: 80, https: 443, ssh: 22, git: 9418 }[protocol];
  const written = isIPv6(host) ? `[${host}]` : host;
  return port === usual ? written : `${written}:${port}`;
}

function ceilingsOf({ limits }: StoreContext): Ceilings {
  return { mostBytes: limits.bytes, mostFiles: limits.files };
}

/** Whether git has made a submodule there: then it has a file `.git`, which no tree of a stranger's has; and no link leads to it. */
async function isSubmodule(folder: string, path: string): Promise<boolean> {
  const inner = join(folder, path);
  const file = await lstat(join(inner, ".git")).catch(() => undefined);
  if (!file?.isFile()) return false;
  return (await realpath(inner)) === join(await realpath(folder), path);
}

/** What git has laid down; links as they are, for nothing follows them. */
async function tree(folder: string, most: Ceilings): Promise<Downloaded> {
  const entries: TreeEntry[] = [];
  const folders = [""];
  let bytes = 0;
  for (let at = folders.pop(); at !== undefined; at = folders.pop()) {
    for (const item of await readdir(join(folder, at), { withFileTypes: true })) {
      const path = at === "" ? item.name : `${at}/${item.name}`;
      const host = join(folder, path);
      if (item.isDirectory()) {
        folders.push(path);
        entries.push({ kind: "directory", path, mode: 0o755 });
      } else if (item.isSymbolicLink()) {
        entries.push({ kind: "symlink", path, target: await readlink(host) });
      } else if (item.isFile()) {
        const { size, mode } = await lstat(host);
        bytes += size;
        const content = { kind: "slice", path: host, offset: 0, size } as const;
        entries.push({ kind: "file", path, mode: mode & 0o111 ? 0o755 : 0o644, content });
      }
      const failure = excess({ bytes, files: entries.length }, most);
      if (failure) throw failure;
    }
  }
  return { kind: "directory", entries };
}
