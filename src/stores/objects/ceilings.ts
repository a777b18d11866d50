import { Failure } from "../../errors/mod.ts";

export function tooLarge(what: string, mostBytes: number): Failure {
  return new Failure("artifact-too-large", `it ${what} than the ${mostBytes} that may be`, {
    hint: "The ceiling is the same for all artifacts from stores; make several of it.",
  });
}
