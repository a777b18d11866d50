import { InvalidArgumentError } from "commander";
import { Failure } from "../errors/mod.ts";

/** For options that may be given again. */
export function collect(value: string, before: readonly string[]): readonly string[] {
  return [...before, value];
}

/** `NAME=VALUE` of an option. */
export function pair(option: string, text: string): readonly [string, string] {
  const at = text.indexOf("=");
  if (at > 0) return [text.slice(0, at), text.slice(at + 1)];
  const missing = at < 0 ? "value" : "name";
  throw new Failure("invalid-argument", `${option} "${text}" has no ${missing}`, {
    hint: `Write ${option} NAME=VALUE.`,
  });
}

/** Of every command that runs or checks steps. */
export const configHelp =
  "your own atalanta.yaml: images, limits, permissions, policy, registries, repositories, secrets, trust";
export const limitHelp =
  "the highest value of a limit that a step may ask for, such as memory=1Gi (repeatable)";

/** A whole number from 1 on. */
export function positive(option: string): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (Number.isSafeInteger(value) && value >= 1) return value;
    throw new Failure("invalid-argument", `${option} "${text}" is no whole number above zero`);
  };
}

/** A whole number from 0 on. */
export function nonNegative(option: string): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (Number.isSafeInteger(value) && value >= 0) return value;
    throw new Failure("invalid-argument", `${option} "${text}" is no whole number`);
  };
}

/** One of some words. */
export function oneOf<Word extends string>(...words: readonly Word[]): (text: string) => Word {
  return (text) => {
    const found = words.find((word) => word === text);
    if (found !== undefined) return found;
    throw new InvalidArgumentError(`Write ${words.join(" or ")}.`);
  };
}

/** Where a server listens: `HOST:PORT`, or a port of this machine alone. */
export function address(
  option: string,
  text: string,
): { readonly host: string; readonly port: number } {
  const [, host = "", port = ""] = /^(?:\[?([^\]]*)\]?:)?(\d{1,5})$/.exec(text) ?? [];
  if (port !== "") return { host: host === "" ? "127.0.0.1" : host, port: Number(port) };
  throw new Failure("invalid-argument", `${option} "${text}" is no address`, {
    hint: "Write HOST:PORT, such as 0.0.0.0:9464.",
  });
}

export const allowAddressHelp: string =
  "connect also to an address or range that is not public, such as 127.0.0.1 (repeatable)";
