export { parseBytes, parseDurationMs } from "./quantities.ts";
export { limitFailure, reachedLimit } from "./reached.ts";
export { defaultLimits, formatLimit, hostLimits, parseLimit, resolveLimits } from "./resolve.ts";
export {
  ceilings,
  type AskedHostLimits,
  type AskedLimits,
  type LimitKey,
  type Limits,
} from "./table.ts";
