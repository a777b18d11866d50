import { crc32 } from "node:zlib";
import type { SQLOutputValue } from "node:sqlite";
import { damaged, type Row } from "./database.ts";

/** Plain data as it lies in the journal. The checksum is begun with the record's number, so that two cannot change places. */
export interface Written {
  readonly body: string;
  readonly checksum: number;
}

export function write(value: unknown, sequence: number): Written {
  const body = JSON.stringify(value);
  return { body, checksum: crc32(body, sequence) };
}

/** The value again, or `journal-format`. The caller knows its type: format and checksum vouch for what `write` was given. */
export function readRecord(row: Row, sequence: number, what: string): unknown {
  const { body, checksum } = row;
  if (typeof body !== "string" || crc32(body, sequence) !== checksum) throw damaged(what);
  return JSON.parse(body);
}

export function text(value: SQLOutputValue | undefined): string {
  if (typeof value === "string") return value;
  throw damaged("a text is missing");
}

export function integer(value: SQLOutputValue | undefined): number {
  if (typeof value === "number") return value;
  throw damaged("a number is missing");
}
