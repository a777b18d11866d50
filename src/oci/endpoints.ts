import { Failure } from "../errors/mod.ts";
import {
  addressRules,
  isLoopback,
  loopbackAddresses,
  privateAddresses,
  type AddressRules,
  type Resolve,
} from "../network/mod.ts";
import { parseRegistryName, type Reference } from "./reference.ts";
import type { Manner } from "./transport.ts";

/** What an operator says of one registry. */
export interface RegistrySettings {
  /** Asked first when something is fetched, in this order: `HOST`, `HOST/PREFIX`, with `http://` or `https://` before it or not. */
  readonly mirrors?: readonly string[];
  /** Speaks HTTP without TLS; default: only what is named as an address of this machine does. */
  readonly plainHttp?: boolean;
  /** Takes any certificate. */
  readonly insecure?: boolean;
  /** Certificates (PEM) of authorities to trust besides Node's own. */
  readonly authorities?: readonly string[];
}

/** A host that answers for the repositories of a registry: the registry itself, or a mirror. */
export interface Endpoint {
  /** Its name in references and logins. */
  readonly name: string;
  readonly base: URL;
  /** Stands before each repository's name, with a slash at its end, or empty. */
  readonly prefix: string;
  /** It stands for another registry, which is asked when it fails. */
  readonly mirror: boolean;
  readonly manner: Manner;
  /** How hosts are met that the registry names: its token service, and where it keeps its blobs. */
  readonly named: (url: URL) => Manner;
}

export interface EndpointOptions {
  /** By host and port as references name them. */
  readonly registries?: ReadonlyMap<string, RegistrySettings>;
  /** Addresses that are not public and may be connected to all the same. */
  readonly allowedAddresses?: readonly string[];
  /** Registries on this machine (`localhost:5000`) may be used without being named in `registries`; default false. */
  readonly loopback?: boolean;
  readonly resolve?: Resolve;
}

/** Knows where each registry is, and how far it is trusted. Throws `invalid-argument` for a mirror that is none. */
export class Endpoints {
  readonly #options: EndpointOptions;
  readonly #rules = new Map<string, AddressRules>();
  readonly #known = new Map<string, Endpoint>();

  constructor(options: EndpointOptions) {
    this.#options = options;
    for (const { mirrors = [] } of options.registries?.values() ?? []) mirrors.forEach(parseMirror);
  }

  /** Asked first when something is fetched, in this order. */
  mirrors({ registry }: Reference): readonly Endpoint[] {
    const mirrors = this.#options.registries?.get(registry)?.mirrors ?? [];
    return mirrors.map((text) => this.#mirror(text));
  }

  /** The registry itself. */
  origin({ registry }: Reference): Endpoint {
    const known = this.#known.get(registry);
    if (known) return known;
    const settings = this.#options.registries?.get(registry);
    const host = registry === "docker.io" ? "registry-1.docker.io" : registry;
    const scheme = this.#scheme(registry, settings);
    const made = this.#make(registry, new URL(`${scheme}://${host}/`), settings);
    this.#known.set(registry, made);
    // A workflow may name as many as it likes.
    if (this.#known.size > 1000) this.#known.delete(this.#known.keys().next().value ?? "");
    return made;
  }

  #mirror(text: string): Endpoint {
    const { scheme, name, prefix } = parseMirror(text);
    const settings = this.#options.registries?.get(name) ?? {};
    const base = new URL(`${scheme ?? this.#scheme(name, settings)}://${name}/`);
    return { ...this.#make(name, base, settings), prefix, mirror: true };
  }

  #scheme(name: string, settings: RegistrySettings | undefined): "http" | "https" {
    const plain = settings?.plainHttp ?? (isLoopback(hostOf(name)) && !name.endsWith(":443"));
    return plain ? "http" : "https";
  }

  #make(name: string, base: URL, settings: RegistrySettings | undefined): Endpoint {
    const host = hostOf(name);
    const local = isLoopback(host) && this.#options.loopback === true;
    // What the operator named is trusted with addresses of his network, and so is what it names itself.
    const trust = settings ? "trusted" : local ? "local" : "public";
    const authorities = settings?.authorities;
    const rules = this.#rulesFor(trust);
    // Hosts of one trust share their connections' keeper, as a workflow may name as many as it likes.
    const special = authorities || settings?.insecure === true ? ` ${name}` : "";
    const own: Manner = {
      key: `${trust}${special}`,
      rules,
      ...(authorities ? { authorities } : {}),
      ...(settings?.insecure === true ? { anyCertificate: true } : {}),
    };
    const other: Manner = {
      key: `${trust}${authorities ? `${special} named` : ""}`,
      rules,
      ...(authorities ? { authorities } : {}),
    };
    return {
      name,
      base,
      prefix: "",
      mirror: false,
      manner: own,
      named: (url) => (url.host === base.host ? own : other),
    };
  }

  #rulesFor(trust: "trusted" | "local" | "public"): AddressRules {
    const known = this.#rules.get(trust);
    if (known) return known;
    const more = { trusted: privateAddresses, local: loopbackAddresses, public: [] };
    const { allowedAddresses = [], resolve } = this.#options;
    const made = addressRules({
      allowedAddresses: [...more[trust], ...allowedAddresses],
      ...(resolve ? { resolve } : {}),
    });
    this.#rules.set(trust, made);
    return made;
  }
}

interface Mirror {
  readonly scheme: "http" | "https" | undefined;
  readonly name: string;
  readonly prefix: string;
}

/** Reads `mirror.example.com:5000/prefix`, with a scheme or without. Throws `invalid-argument`. */
export function parseMirror(text: string): Mirror {
  const [, scheme, name = "", path = ""] =
    /^(?:(https?):\/\/)?([^/]*)((?:\/.*)?)$/.exec(text) ?? [];
  const prefix = path.replaceAll(/^\/+(?:v2(?:\/|$))?|\/+$/g, "");
  if (!/^[a-z0-9._/-]*$/.test(prefix) || prefix.includes("..")) {
    throw new Failure("invalid-argument", `"${text}" is no mirror of a registry`, {
      hint: 'Write a host such as "mirror.example.com:5000", with /PREFIX behind it or not.',
    });
  }
  return {
    scheme: scheme === "http" || scheme === "https" ? scheme : undefined,
    name: parseRegistryName(name),
    prefix: prefix === "" ? "" : `${prefix}/`,
  };
}

function hostOf(name: string): string {
  return name.replace(/:\d+$/, "").replace(/^\[|\]$/g, "");
}
