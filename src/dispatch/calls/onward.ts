import { randomUUID } from "node:crypto";
import { Failure } from "../../errors/mod.ts";
import type { CallHandler, Deployments } from "../../functions/mod.ts";
import { callOf } from "./make.ts";
import type { Call, CallDispatcher } from "./model.ts";

const deepest = 8;
/** Calls that one call may lead to, over all. */
const mostOfFamily = 1000;
const mostFamilies = 10_000;

/** Calls of guests to other functions: not too deep, not too many, and in no circle. */
export class Onward {
  readonly #deployments: Deployments;
  readonly #families = new Map<string, number>();

  constructor(deployments: Deployments) {
    this.#deployments = deployments;
  }

  handlerOf(caller: Call, dispatcher: Pick<CallDispatcher, "run">): CallHandler {
    return async (asked, { signal }) => {
      const { name } = asked;
      const namespace = caller.owner;
      const deployment = await this.#deployments.get(namespace, name);
      if (!deployment) {
        throw new Failure("deployment-unknown", `There is no deployment "${namespace}/${name}"`);
      }
      const chain = [...(caller.chain ?? []), `${caller.target}/${caller.function}`];
      const target = `${namespace}/${name}`;
      const me = `${target}/${asked.function}`;
      if (chain.includes(me)) throw tooDeep(`it calls itself: ${[...chain, me].join(" → ")}`);
      if (chain.length >= deepest) throw tooDeep(`${deepest} calls are inside of each other`);
      const family = caller.family ?? caller.id;
      const count = (this.#families.get(family) ?? 0) + 1;
      if (count > mostOfFamily) throw tooDeep(`one call has led to ${mostOfFamily} others`);
      this.#families.delete(family);
      this.#families.set(family, count);
      if (this.#families.size > mostFamilies) {
        const [oldest] = this.#families.keys();
        if (oldest !== undefined) this.#families.delete(oldest);
      }
      const call = callOf(
        { kind: "deployment", deployment },
        {
          function: asked.function,
          arguments: asked.arguments,
          ...(asked.input ? { input: asked.input } : {}),
          ...(asked.key === undefined ? {} : { key: asked.key }),
          ...(caller.traceparent === undefined ? {} : { traceparent: caller.traceparent }),
        },
        randomUUID(),
      );
      const { outcome } = await dispatcher.run({ ...call, chain, family }, { signal });
      return outcome;
    };
  }
}

function tooDeep(what: string): Failure {
  return new Failure("call-depth", `The function may not be called: ${what}`, {
    hint: "Let the first function do the work in its turn.",
  });
}
