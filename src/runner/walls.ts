import { spawn } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

/** What stands between a runner process and the rest of the machine, beside Node's permissions. */
export interface Walls {
  /** Commands that put them up and then become the next one. */
  readonly wrapper: (user: number | undefined) => readonly string[];
  /** Whether each process has a user of its own. */
  readonly ownUser: boolean;
  /** Whether killing the process also ends whatever it may have started. */
  readonly wholeGroup: boolean;
  /** What this machine does not let us have, in words. */
  readonly missing: readonly string[];
}

const folders = ["/usr/bin", "/bin", "/usr/sbin", "/sbin"];
/** Threads and processes that one user of ours may have. */
const processes = 512;
const descriptors = 4096;
/** Address space for code that V8 sets aside for each thread, and which counts as memory although nothing lies there. */
const reservedBytes = 640 * 1024 * 1024;
const probeMs = 5000;
/** When the process that started it is gone. */
const toDie = ["--pdeathsig", "KILL"];

/** Looks which walls can be put up here, by trying them. */
export async function findWalls(options: {
  readonly memoryBytes: number;
  readonly threads: number;
}): Promise<Walls> {
  const root = process.getuid?.() === 0;
  const linux = process.platform === "linux";
  const tools = {
    unshare: linux ? find("unshare") : undefined,
    setpriv: linux ? find("setpriv") : undefined,
    prlimit: linux ? find("prlimit") : undefined,
    choom: linux ? find("choom") : undefined,
  };
  const nothing = find("true");
  const works = async (wrapper: readonly string[], user?: number): Promise<boolean> =>
    nothing !== undefined && (await succeeds([...wrapper, nothing], user));

  // When memory runs out, these go before anything else of the machine's.
  const firstToGo = tools.choom ? [tools.choom, "-n", "1000", "--"] : [];
  const death = tools.setpriv ? [tools.setpriv, ...toDie, ...firstToGo] : [];
  const namespaces = tools.unshare
    ? [
        tools.unshare,
        ...(root ? [] : ["--user", "--map-current-user"]),
        "--net",
        "--ipc",
        "--pid",
        "--fork",
        "--kill-child=SIGKILL",
      ]
    : [];
  const become = (user: number | undefined): readonly string[] =>
    user === undefined ? [] : ["--reuid", `${user}`, "--regid", `${user}`, "--clear-groups"];
  const rights = (user: number | undefined): readonly string[] =>
    tools.setpriv
      ? [
          tools.setpriv,
          ...toDie,
          ...become(user),
          "--no-new-privs",
          "--inh-caps=-all",
          "--bounding-set=-all",
        ]
      : [];
  const noNewRights = (): readonly string[] =>
    tools.setpriv ? [tools.setpriv, ...toDie, "--no-new-privs"] : [];
  // The first process of a namespace is deaf to most signals, so ours is the second. A shell adds variables.
  const second = ["/bin/sh", "-c", `${find("env") ?? "env"} -i "$@"; exit $?`, "sh"];
  const limits = (own: boolean): readonly string[] =>
    tools.prlimit
      ? [
          tools.prlimit,
          "--core=0",
          `--nofile=${Math.min(descriptors, mostDescriptors())}`,
          `--data=${options.memoryBytes + reservedBytes * (options.threads + 3)}`,
          ...(own ? [`--nproc=${processes}`] : []),
        ]
      : [];

  const user = root ? newUser() : undefined;
  const all = (given: number | undefined): readonly string[] => [
    ...death,
    ...namespaces,
    ...rights(given),
    ...second,
    ...limits(root),
  ];
  if (namespaces.length > 0 && tools.setpriv && tools.prlimit && (await works(all(user)))) {
    return {
      wrapper: all,
      ownUser: root,
      wholeGroup: true,
      missing: root ? [] : ["a user of its own"],
    };
  }
  // One by one, from the inside out.
  const ownUser = root && (await works([], user));
  const own = ownUser ? user : undefined;
  const limited = [...firstToGo, ...limits(ownUser)];
  const inner = limited.length > 0 && (await works(limited, own)) ? limited : [];
  const asRoot = ownUser && tools.setpriv && (await works([...rights(own), ...inner]));
  const fewer = !asRoot && (await works([...noNewRights(), ...inner], own));
  const withRights = asRoot ? rights : fewer ? noNewRights : () => [];
  const spaced =
    namespaces.length > 0 &&
    (await works([...death, ...namespaces, ...withRights(own), ...second, ...inner], own));
  const missing = [
    ...(ownUser ? [] : ["a user of its own"]),
    ...(inner.length > 0 ? [] : ["limits of the system"]),
    ...(asRoot || fewer ? [] : ["no new privileges"]),
    ...(spaced ? [] : ["no network of the system's, no sight of other processes"]),
  ];
  return {
    wrapper: (given) => [
      ...(spaced ? [...death, ...namespaces] : []),
      ...withRights(given),
      ...(spaced ? second : []),
      ...inner,
    ],
    ownUser,
    wholeGroup: spaced,
    missing,
  };
}

/** What we have ourselves; a limit can be lowered by anybody, and raised by few. */
function mostDescriptors(): number {
  try {
    const row = /^Max open files +\S+ +(\d+)/m.exec(readFileSync("/proc/self/limits", "utf8"));
    return Number(row?.[1] ?? descriptors);
  } catch {
    return descriptors;
  }
}

/** Users that nobody else has, above those that distributions and containers hand out. */
const firstUser = 1_879_048_192;
const users = 2 ** 28;
/** Where only a few are mapped: those that systemd gives to services for as long as they run. */
const fewFirst = 61_184;
const fewUsers = 4336;

/** A user for one process. It is drawn, so that several of us on a machine do not take the same one. */
export function newUser(): number {
  const [first, count] = mapped(firstUser + users - 1) ? [firstUser, users] : [fewFirst, fewUsers];
  return first + Math.floor(Math.random() * count);
}

function mapped(user: number): boolean {
  try {
    return readFileSync("/proc/self/uid_map", "utf8")
      .split("\n")
      .map((line) => line.trim().split(/\s+/).map(Number))
      .some(([from = 0, , count = 0]) => user >= from && user < from + count);
  } catch {
    // No Linux, so no maps.
    return true;
  }
}

/** Descriptors that whoever started us left open for our children too; ours are all closed there. */
export function leakedDescriptors(): readonly number[] {
  if (process.platform !== "linux") return [];
  try {
    return readdirSync("/proc/self/fd")
      .map(Number)
      .filter((descriptor) => descriptor > 3 && staysOpen(descriptor));
  } catch {
    return [];
  }
}

const closeOnExec = 0o2000000;

function staysOpen(descriptor: number): boolean {
  try {
    const text = readFileSync(`/proc/self/fdinfo/${descriptor}`, "utf8");
    const flags = /^flags:\s*([0-7]+)/m.exec(text)?.[1] ?? "0";
    return (Number.parseInt(flags, 8) & closeOnExec) === 0;
  } catch {
    // The one with which the folder was read is closed by now.
    return false;
  }
}

function find(name: string): string | undefined {
  return folders.map((folder) => join(folder, name)).find((path) => existsSync(path));
}

function succeeds(command: readonly string[], user: number | undefined): Promise<boolean> {
  const [file = "", ...parameters] = command;
  return new Promise((resolve) => {
    const child = spawn(file, parameters, {
      env: {},
      cwd: "/",
      stdio: "ignore",
      timeout: probeMs,
      ...(user === undefined ? {} : { uid: user, gid: user }),
    });
    child.on("error", () => resolve(false));
    child.on("exit", (code) => resolve(code === 0));
  });
}
