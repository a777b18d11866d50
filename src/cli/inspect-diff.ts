import type { Description } from "../engine/mod.ts";
import { formatLimit } from "../limits/mod.ts";
import type { InspectedStep } from "./inspect-steps.ts";
import { isLimit } from "./limits.ts";

/** What one thing can do more and less than another one. */
export interface Difference {
  /** The template, or the module. */
  readonly name: string;
  /** New capabilities and grants; these are what an upgrade is looked at for. */
  readonly more: readonly string[];
  readonly less: readonly string[];
  /** Changes that let it do nothing new. */
  readonly changed: readonly string[];
}

/** Compares steps by the name of their template; one that is new is compared with nothing. */
export function compareSteps(
  now: readonly InspectedStep[],
  before: readonly InspectedStep[],
): readonly Difference[] {
  const known = new Map(before.map((step) => [step.template, step]));
  const names = new Set(now.map(({ template }) => template));
  const gone = before.filter(({ template }) => !names.has(template));
  const differences = [
    ...now.map((step) => {
      const old = known.get(step.template);
      return difference(step.template, {
        now: rightsOfStep(step),
        before: old ? rightsOfStep(old) : new Map<string, number>(),
        changed: old ? changesOf(step.module, old.module) : ["a new step"],
      });
    }),
    ...gone.map((step) =>
      difference(step.template, {
        now: new Map(),
        before: rightsOfStep(step),
        changed: ["the step is gone"],
      }),
    ),
  ];
  return differences.filter(
    ({ more, less, changed }) => more.length + less.length + changed.length > 0,
  );
}

export function compareModules(now: Description, before: Description): Difference {
  return difference(now.name, {
    now: rightsOfModule(now),
    before: rightsOfModule(before),
    changed: changesOf(now, before),
  });
}

/** What it may do, each with how much of it. */
type Rights = ReadonlyMap<string, number>;

function difference(
  name: string,
  given: { readonly now: Rights; readonly before: Rights; readonly changed: readonly string[] },
): Difference {
  const { now, before, changed } = given;
  // What there is on one side only has no amount worth telling.
  const line = (key: string): string =>
    now.has(key) && before.has(key)
      ? `${key}: ${amount(key, before.get(key))} → ${amount(key, now.get(key))}`
      : key;
  const beyond = (left: Rights, right: Rights): string[] =>
    [...left].filter(([key, much]) => much > (right.get(key) ?? 0)).map(([key]) => line(key));
  return { name, more: beyond(now, before), less: beyond(before, now), changed };
}

/** A limit as its author would write it. */
function amount(key: string, much = 0): string {
  const limit = key.replace(/^limit /, "");
  return isLimit(limit) ? formatLimit(limit, much) : String(much);
}

function rightsOfModule(module: Description): Rights {
  const rights = new Map<string, number>();
  for (const { says } of module.capabilities) rights.set(`could ${says}`, 1);
  for (const { module: from, name } of module.unknownImports) {
    rights.set(`could call ${from}.${name}, where it is offered`, 1);
  }
  return rights;
}

function rightsOfStep({ kind, source, grants, module }: InspectedStep): Rights {
  if (kind === "container") return new Map([[`runs the container ${source}`, 1]]);
  const rights = new Map(module ? rightsOfModule(module) : []);
  for (const { path } of grants?.reads ?? []) rights.set(`reads ${path}`, 1);
  for (const { path } of grants?.writes ?? []) rights.set(`hands out ${path}`, 1);
  for (const name of grants?.environment ?? []) rights.set(`gets the variable ${name}`, 1);
  for (const host of grants?.hosts ?? []) rights.set(`may ask ${host}, if the operator agrees`, 1);
  for (const secret of grants?.secrets ?? []) rights.set(`gets the secret ${secret}`, 1);
  if (grants?.trust !== "pod") rights.set("runs outside a pod of its own", 1);
  if (grants?.trust === "thread") rights.set("runs in the process of all others", 1);
  if (grants?.stdin) rights.set("gets stdin", 1);
  if (!grants?.limits) rights.set("limits that are known only when it runs", 1);
  for (const [key, value] of Object.entries(grants?.limits ?? {}))
    rights.set(`limit ${key}`, value);
  return rights;
}

function changesOf(now: Description | undefined, before: Description | undefined): string[] {
  if (!now || !before) return now === before ? [] : [now ? "the module is there" : "no module"];
  if (now.digest === before.digest) return [];
  const changed = [`the module is another one: ${before.digest} → ${now.digest}`];
  const functions = (module: Description): Set<string> =>
    new Set(module.capabilities.flatMap((item) => item.functions));
  const [old, young] = [functions(before), functions(now)];
  const added = [...young].filter((name) => !old.has(name));
  const removed = [...old].filter((name) => !young.has(name));
  if (added.length > 0) changed.push(`also imports ${added.join(", ")}`);
  if (removed.length > 0) changed.push(`no longer imports ${removed.join(", ")}`);
  if (now.entry !== before.entry) changed.push(`was a ${before.entry}, is a ${now.entry}`);
  return changed;
}
