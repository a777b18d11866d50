export interface Member {
  readonly name: string;
  readonly type?: string;
  readonly body?: string | Uint8Array;
  readonly target?: string;
  readonly size?: number;
  readonly mode?: number;
}

/** One member of a tar archive, as wrong as it is asked for. */
export function member({
  name,
  type = "0",
  body = "",
  target = "",
  size,
  mode = 0o644,
}: Member): Buffer {
  const content = Buffer.from(body);
  const header = Buffer.alloc(512);
  header.write(name, 0, 100);
  header.write(`${mode.toString(8).padStart(7, "0")}\0`, 100);
  header.write(`${(size ?? content.length).toString(8).padStart(11, "0")}\0`, 124);
  header.write("00000000000\0", 136);
  header.write(type, 156);
  header.write(target, 157, 100);
  header.write("ustar\u000000", 257);
  header.write("        ", 148);
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148);
  return Buffer.concat([header, content, Buffer.alloc((512 - (content.length % 512)) % 512)]);
}

/** A tar archive of members. */
export function tar(...members: readonly Member[]): Buffer {
  return Buffer.concat([...members.map(member), Buffer.alloc(1024)]);
}
