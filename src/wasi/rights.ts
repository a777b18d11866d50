/** The rights of preview 1, as bits (`rights` in its witx description). All fit a number of 30 bits. */
export const right = {
  datasync: 0x1,
  read: 0x2,
  seek: 0x4,
  setFlags: 0x8,
  sync: 0x10,
  tell: 0x20,
  write: 0x40,
  advise: 0x80,
  allocate: 0x100,
  createDirectory: 0x200,
  createFile: 0x400,
  linkSource: 0x800,
  linkTarget: 0x1000,
  open: 0x2000,
  readdir: 0x4000,
  readlink: 0x8000,
  renameSource: 0x10000,
  renameTarget: 0x20000,
  pathFilestatGet: 0x40000,
  pathSetTimes: 0x100000,
  filestatGet: 0x200000,
  setSize: 0x400000,
  setTimes: 0x800000,
  symlink: 0x1000000,
  removeDirectory: 0x2000000,
  unlink: 0x4000000,
  poll: 0x8000000,
} as const;

/** What a descriptor may, and what those may at most that are opened through it. */
export interface Rights {
  readonly base: number;
  readonly inheriting: number;
}

const file =
  right.datasync |
  right.read |
  right.seek |
  right.setFlags |
  right.sync |
  right.tell |
  right.write |
  right.advise |
  right.allocate |
  right.filestatGet |
  right.setSize |
  right.setTimes |
  right.poll;

const directory =
  right.createDirectory |
  right.createFile |
  right.linkSource |
  right.linkTarget |
  right.open |
  right.readdir |
  right.readlink |
  right.renameSource |
  right.renameTarget |
  right.pathFilestatGet |
  right.pathSetTimes |
  right.filestatGet |
  right.setTimes |
  right.symlink |
  right.removeDirectory |
  right.unlink;

/** A preopened directory, and what its guest opens through it, has every right that applies to its kind. */
export const directoryRights: Rights = { base: directory, inheriting: directory | file };
export const stdinRights: Rights = { base: right.read, inheriting: right.read };
export const outputRights: Rights = { base: right.write, inheriting: right.write };

/** Rights of something opened below a directory. */
export function inherited(from: Rights, kind: "file" | "directory"): Rights {
  const { inheriting } = from;
  const base = inheriting & (kind === "file" ? file : directory);
  return { base, inheriting: kind === "file" ? base : inheriting };
}

/** As 64-bit numbers come from a guest; those that no specification names are kept as one that nobody has. */
export function asRights(value: bigint): number {
  return BigInt.asUintN(64, value) >= 1n << 30n ? -1 : Number(value);
}
