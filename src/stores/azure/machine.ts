import { Failure } from "../../errors/mod.ts";
import type { StoreContext } from "../stores.ts";
import { askMachine, askToken, readNamed, Tokens, type Token } from "../tokens.ts";

const resource = "https://storage.azure.com/";

/**
 * Who this machine is at Azure's, found as their own clients find it: a client with a secret or with a federated token (both of the environment), then
 * what tells a container or a machine.
 */
export function machineTokens(context: StoreContext): Tokens {
  const variable = (name: string): string | undefined => {
    const value = context.environment[name];
    return value === undefined || value === "" ? undefined : value;
  };
  const ofClient = async (signal: AbortSignal): Promise<Token | undefined> => {
    const tenant = variable("AZURE_TENANT_ID");
    const client = variable("AZURE_CLIENT_ID");
    const secret = variable("AZURE_CLIENT_SECRET");
    const file = variable("AZURE_FEDERATED_TOKEN_FILE");
    if (tenant === undefined || client === undefined) return undefined;
    if (secret === undefined && file === undefined) return undefined;
    const authority = variable("AZURE_AUTHORITY_HOST") ?? "https://login.microsoftonline.com/";
    const base = URL.parse(authority);
    if (!base || !/^[\w.-]+$/.test(tenant)) {
      throw new Failure(
        "invalid-argument",
        "AZURE_AUTHORITY_HOST is no URL, or AZURE_TENANT_ID no tenant",
      );
    }
    const proof: Readonly<Record<string, string>> =
      secret === undefined
        ? {
            client_assertion_type: "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            // It is replaced while we run.
            client_assertion: (await readNamed(file ?? "", "AZURE_FEDERATED_TOKEN_FILE")).trim(),
          }
        : { client_secret: secret };
    return askToken(
      context,
      {
        url: new URL(`/${tenant}/oauth2/v2.0/token`, base),
        form: {
          grant_type: "client_credentials",
          client_id: client,
          scope: `${resource}.default`,
          ...proof,
        },
        manner: context.manner({ ofOperator: true }),
      },
      signal,
    );
  };
  const ofMachine = (signal: AbortSignal): Promise<Token | undefined> => {
    const client = variable("AZURE_CLIENT_ID");
    const service = variable("IDENTITY_ENDPOINT");
    const header = variable("IDENTITY_HEADER");
    const host = variable("AZURE_POD_IDENTITY_AUTHORITY_HOST") ?? "http://169.254.169.254";
    const inService = service !== undefined && header !== undefined;
    const url = URL.parse(inService ? service : `${host}/metadata/identity/oauth2/token`);
    if (!url) throw new Failure("invalid-argument", "IDENTITY_ENDPOINT is no URL");
    url.searchParams.set("api-version", inService ? "2019-08-01" : "2018-02-01");
    url.searchParams.set("resource", resource);
    if (client !== undefined) url.searchParams.set("client_id", client);
    return askMachine(
      context,
      { url, headers: inService ? { "x-identity-header": header } : { metadata: "true" } },
      signal,
    );
  };
  return new Tokens(async (signal) => {
    const found = (await ofClient(signal)) ?? (await ofMachine(signal));
    if (found) return found;
    throw new Failure("secret-missing", "This machine has no identity at Azure's", {
      hint: "Name accountKeySecret, or set AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET or AZURE_FEDERATED_TOKEN_FILE, or give the machine an identity.",
    });
  });
}
