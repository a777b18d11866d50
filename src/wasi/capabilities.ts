/** What a module could do with a function that it imports. */
type Capability =
  | "stdin"
  | "output"
  | "arguments"
  | "environment"
  | "read-files"
  | "write-files"
  | "clocks"
  | "randomness"
  | "waits"
  | "sockets"
  | "http"
  | "descriptors"
  | "ends";

interface Row {
  /** What it does, for people. */
  readonly says: string;
  /** Each of these alone is enough. */
  readonly by: readonly string[];
  /** These are, once one of the others is there: without it a descriptor is never that of a file. */
  readonly also?: readonly string[];
}

/**
 * Every function of preview 1, and those of `atalanta_http` by their full name, in what it is good for. An import is a possibility and no more: whether a path may be read or written
 * is decided by what the sandbox was given. `path_open` can also create and empty files, so it stands in both rows.
 */
const capabilities: Readonly<Record<Capability, Row>> = {
  stdin: { says: "read stdin", by: ["fd_read"] },
  output: { says: "print", by: ["fd_write"] },
  arguments: { says: "see its arguments", by: ["args_get", "args_sizes_get"] },
  environment: { says: "see its environment", by: ["environ_get", "environ_sizes_get"] },
  "read-files": {
    says: "read files",
    by: ["path_open", "path_filestat_get", "path_readlink", "fd_readdir"],
    also: [
      "fd_read",
      "fd_pread",
      "fd_seek",
      "fd_tell",
      "fd_advise",
      "fd_filestat_get",
      "fd_prestat_get",
      "fd_prestat_dir_name",
    ],
  },
  "write-files": {
    says: "write files",
    by: [
      "path_open",
      "path_create_directory",
      "path_filestat_set_times",
      "path_link",
      "path_remove_directory",
      "path_rename",
      "path_symlink",
      "path_unlink_file",
    ],
    also: [
      "fd_write",
      "fd_pwrite",
      "fd_allocate",
      "fd_filestat_set_size",
      "fd_filestat_set_times",
      "fd_sync",
      "fd_datasync",
    ],
  },
  clocks: { says: "see the clock", by: ["clock_time_get", "clock_res_get"] },
  randomness: { says: "get random bytes", by: ["random_get"] },
  waits: { says: "wait", by: ["poll_oneoff", "sched_yield"] },
  sockets: {
    says: "ask for sockets",
    by: ["sock_accept", "sock_recv", "sock_send", "sock_shutdown"],
  },
  http: {
    says: "make HTTP requests",
    by: ["atalanta_http.send"],
    also: [
      "atalanta_http.headers",
      "atalanta_http.read",
      "atalanta_http.close",
      "atalanta_http.error",
    ],
  },
  descriptors: {
    says: "manage descriptors",
    by: ["fd_close", "fd_fdstat_get", "fd_fdstat_set_flags", "fd_fdstat_set_rights", "fd_renumber"],
  },
  ends: { says: "end itself", by: ["proc_exit", "proc_raise"] },
};

/** One of them, with the functions that a module has for it. */
export interface FoundCapability {
  readonly capability: Capability;
  readonly says: string;
  readonly functions: readonly string[];
}

const rows: readonly (Row & { readonly capability: Capability })[] = Object.entries(
  capabilities,
).map(
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the keys of the table are the capabilities
  ([name, row]) => ({ ...row, capability: name as Capability }),
);

const isThere = ({ by }: Row, functions: ReadonlySet<string>): boolean =>
  by.some((name) => functions.has(name));

/** What a module that imports these functions could do. */
export function capabilitiesOf(functions: ReadonlySet<string>): readonly FoundCapability[] {
  return rows
    .filter((row) => isThere(row, functions))
    .map(({ capability, says, by, also = [] }) => ({
      capability,
      says,
      functions: [...by, ...also].filter((name) => functions.has(name)),
    }));
}

/** What it could not do. */
export function capabilitiesMissing(
  functions: ReadonlySet<string>,
): readonly Pick<FoundCapability, "capability" | "says">[] {
  return rows
    .filter((row) => !isThere(row, functions))
    .map(({ capability, says }) => ({ capability, says }));
}
