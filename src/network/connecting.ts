import { isIP, type LookupFunction } from "node:net";
import { Failure } from "../errors/mod.ts";
import { parseRanges, refusedAddress } from "./addresses.ts";
import { Names, systemResolve, type Resolve } from "./names.ts";

/** Which addresses a client of ours may connect to. */
export interface AddressRules {
  /** Why no connection may be made to a host that is written as an address; undefined for other addresses and for names. */
  readonly refusal: (host: string) => string | undefined;
  /**
   * For `lookup` of sockets and requests: finds the addresses of a name and fails with `network-denied` when none of them may be
   * connected to. Sockets ask nobody about a host that is written as an address, so `refusal` comes first.
   */
  readonly lookup: LookupFunction;
}

export interface AddressRuleOptions {
  /** Addresses and ranges that are not public and may be connected to all the same. */
  readonly allowedAddresses?: readonly string[];
  /** How names become addresses; default: the system's way. */
  readonly resolve?: Resolve;
}

/** What a private network is made of; where clouds tell a machine its keys, and what is local to a link, is not in it. */
export const privateAddresses: readonly string[] = [
  "10.0.0.0/8",
  "100.64.0.0/10",
  "127.0.0.0/8",
  "172.16.0.0/12",
  "192.168.0.0/16",
  "::1",
  "fc00::/7",
];

/** What leads to this machine alone. */
export const loopbackAddresses: readonly string[] = ["127.0.0.0/8", "::1"];

const never = new AbortController().signal;

/** Public addresses and those that are allowed besides. Throws `invalid-argument` for a range that is none. */
export function addressRules(options: AddressRuleOptions = {}): AddressRules {
  const allowed = parseRanges(options.allowedAddresses ?? []);
  const names = new Names(options.resolve ?? systemResolve);
  return {
    refusal: (host) => (isIP(host) === 0 ? undefined : refusedAddress(host, allowed)),
    lookup: (name, asked, tell) => {
      const found = async (): Promise<readonly string[]> => {
        const all = await names.find(name, never);
        const { family } = asked;
        const wanted =
          family === 4 || family === "IPv4" ? 4 : family === 6 || family === "IPv6" ? 6 : 0;
        const fitting = all.filter((address) => wanted === 0 || isIP(address) === wanted);
        const open = fitting.filter((address) => refusedAddress(address, allowed) === undefined);
        const [first] = fitting;
        if (open.length > 0) return open;
        if (first === undefined)
          throw Object.assign(new Error("no address"), { code: "ENOTFOUND" });
        const why = refusedAddress(first, allowed) ?? "not public";
        throw new Failure("network-denied", `"${name}" leads to an address that is ${why}`);
      };
      found().then(
        (addresses) => {
          const [first = ""] = addresses;
          if (asked.all === true) {
            tell(
              null,
              addresses.map((address) => ({ address, family: isIP(address) })),
            );
          } else tell(null, first, isIP(first));
        },
        (thrown: unknown) => tell(thrown instanceof Error ? thrown : new Error(String(thrown)), ""),
      );
    },
  };
}
