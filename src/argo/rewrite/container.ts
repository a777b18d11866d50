import { isMap, isSeq, Pair, Scalar, YAMLMap, YAMLSeq } from "yaml";
import { containerOnly, runtimeAnnotation, scriptPath } from "../../document/mod.ts";
import { isRecord, listOf, recordOf } from "../../kubernetes/mod.ts";

/** What a template's annotation says that its container runs as. */
export function runtimeOf(template: YAMLMap): string | undefined {
  const metadata = template.get("metadata", true);
  for (const holder of [template, metadata]) {
    const annotations = isMap(holder) ? holder.get("annotations", true) : undefined;
    const runtime = isMap(annotations) ? annotations.get(runtimeAnnotation) : undefined;
    if (typeof runtime === "string") return runtime;
  }
  return undefined;
}

/** The embedded engine refuses these with the whole document. */
const podOnly = [...containerOnly, "volumeMounts", "envFrom"];

/** Turns a container or script into a plugin, as the embedded engine does. Gives what keeps it from that. */
export function fromContainer(
  template: YAMLMap,
  key: "container" | "script",
): { readonly message: string; readonly hint: string } | undefined {
  const node = template.get(key, true);
  const container = isMap(node) ? recordOf(node.toJSON()) : {};
  const only = podOnly.find((word) => container[word] !== undefined);
  if (only !== undefined) {
    return {
      message: `"${only}" has no meaning for a module that runs as Wasm`,
      hint: "Remove it, or the annotation.",
    };
  }
  const { image, imagePullPolicy, command, args, env, resources, source } = container;
  const { memory } = recordOf(recordOf(resources)["limits"]);
  const given = listOf(args);
  const wasm = Object.fromEntries(
    Object.entries({
      image,
      imagePullPolicy,
      // The first word is the program, which the module is.
      command: Array.isArray(command) ? command.slice(1) : undefined,
      args: key === "script" ? [...given, scriptPath] : args,
      env,
      limits: memory === undefined ? undefined : { memory },
    }).filter(([, value]) => value !== undefined),
  );
  const at = template.items.findIndex((pair) => String(pair.key) === key);
  const pair = template.items[at];
  if (!pair) return undefined;
  template.items[at] = new Pair(new Scalar("plugin"), nodeOf({ wasm }));
  if (key === "script") addInput(template, typeof source === "string" ? source : "");
  return undefined;
}

function addInput(template: YAMLMap, source: string): void {
  const file = nodeOf({ name: "script-source", path: scriptPath, raw: { data: source } });
  const inputs = template.get("inputs", true);
  if (!isMap(inputs)) {
    template.set("inputs", nodeOf({ artifacts: [] }));
  }
  const holder = template.get("inputs", true);
  if (!isMap(holder)) return;
  const artifacts = holder.get("artifacts", true);
  if (isSeq(artifacts)) artifacts.items.push(file);
  else {
    const list = new YAMLSeq();
    list.items.push(file);
    holder.set("artifacts", list);
  }
}

type Made = YAMLMap | YAMLSeq | Scalar;

function nodeOf(value: unknown): Made {
  if (Array.isArray(value)) {
    const list = new YAMLSeq();
    list.items.push(...value.map(nodeOf));
    return list;
  }
  if (!isRecord(value)) return new Scalar(value);
  const map = new YAMLMap();
  for (const [key, inner] of Object.entries(value))
    map.items.push(new Pair(new Scalar(key), nodeOf(inner)));
  return map;
}
