import { Failure } from "../errors/mod.ts";

/** Every complaint about an archive's bytes. */
export function broken(why: string): Failure {
  return new Failure("archive-invalid", `The archive cannot be unpacked: ${why}`, {
    hint: "Check the file that was given, or set archive: {none: {}} to hand it over as it is.",
  });
}

/** A name of an archive, as a message shows it. */
export function shown(name: string): string {
  return name.slice(0, 200).replaceAll("\0", "\\0");
}
