import { Failure } from "../../errors/mod.ts";
import type { S3Credentials } from "../mod.ts";
import type { StoreContext } from "../stores.ts";
import type { Expiring } from "./expiring.ts";
import type { Identities } from "./identities.ts";
import { renewed } from "./renewed.ts";
import { assumeRole, assumeRoleWithWebIdentity, type Sts } from "./sts.ts";

/** As Amazon's own webhook for pods reads them: https://docs.aws.amazon.com/eks/latest/userguide/associate-service-account-role.html */
const roleAnnotation = "eks.amazonaws.com/role-arn";
const audienceAnnotation = "eks.amazonaws.com/audience";
const usualAudience = "sts.amazonaws.com";

/** Whoever vouches for an identity may be away for a while. */
const findMs = 5 * 60_000;

/** A role that somebody may take on who is vouched for, as his annotations say now; renewed before it ends. */
export function ofWebIdentity(
  context: StoreContext,
  {
    identity,
    asked,
    roleArn,
    region,
  }: Extract<S3Credentials, { readonly kind: "web-identity" }> & {
    readonly region: string | undefined;
  },
): Identities {
  const variable = (name: string): string | undefined => context.environment[name] || undefined;
  const here = variable("AWS_REGION") ?? variable("AWS_DEFAULT_REGION");
  const sts: Sts = {
    context,
    region: region ?? here,
    endpoint: variable("AWS_ENDPOINT_URL_STS"),
    session: sessionOf(identity.name),
  };
  const find = async (signal: AbortSignal): Promise<Expiring> => {
    const own = await identity.annotation(roleAnnotation, signal);
    const [first, second] = [...new Set([own, roleArn])].filter((role) => role !== undefined);
    if (first === undefined) {
      throw new Failure("secret-missing", `${identity.name} has no role at Amazon's`, {
        hint: `Annotate it with ${roleAnnotation}, or name accessKeySecret and secretKeySecret.`,
      });
    }
    const audience = (await identity.annotation(audienceAnnotation, signal)) ?? usualAudience;
    const token = await identity.token(audience, signal);
    const found = await assumeRoleWithWebIdentity(sts, { roleArn: checked(first), token }, signal);
    if (second === undefined) return found;
    return assumeRole(sts, found.identity, checked(second), signal);
  };
  const credentials = renewed(find, { mostMs: findMs, region: here });
  return {
    ...credentials,
    get: async (signal) => {
      if (!asked && roleArn === undefined && !(await hasRole(signal))) return undefined;
      return credentials.get(signal);
    },
  };

  /** Nobody asked for a role, so that it is not known whether there is one is no failure: the bucket may be everybody's. */
  async function hasRole(signal: AbortSignal): Promise<boolean> {
    try {
      return (await identity.annotation(roleAnnotation, signal)) !== undefined;
    } catch (thrown) {
      signal.throwIfAborted();
      if (thrown instanceof Failure) return false;
      throw thrown;
    }
  }
}

/** It goes into a request and into messages. */
function checked(role: string): string {
  if (/^[\x21-\x7E]{1,2048}$/.test(role)) return role;
  throw new Failure("invalid-argument", `"${role.slice(0, 100)}" is no role`, {
    hint: "Write an ARN such as arn:aws:iam::123456789012:role/NAME.",
  });
}

/** Who used the role, as the cloud's own logs tell it: 64 letters of a small alphabet. */
function sessionOf(name: string): string {
  return `atalanta-${name.replaceAll(/[^\w+=,.@-]+/g, ".")}`.slice(0, 64);
}
