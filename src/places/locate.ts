import { Failure } from "../errors/mod.ts";
import { endpointEntry, isFor, parseEndpoint, type Endpoint, type Secret } from "../network/mod.ts";
import type { Location, S3Credentials, Secret as StoreSecret, WebIdentity } from "../stores/mod.ts";
import { endpointOf, sameHost, sameStore } from "./keys.ts";
import type { Place, SecretName } from "./model.ts";

export interface LocateOptions {
  /** The operator's, by `NAME/KEY`. */
  readonly secrets: ReadonlyMap<string, Pick<Secret, "hosts" | "value">>;
  /** The operator's own repositories: their endpoints may be private, and this machine's identity is for their buckets alone. */
  readonly own: readonly Place[];
  /** Whose roles at clouds a place without keys may use; absent: nobody's. */
  readonly identity?: WebIdentity;
}

/** What a store needs to go to a place. Throws when a secret is not there or not for its host. */
export function locate(place: Place, options: LocateOptions): Location {
  const endpoint = endpointOf(place);
  if (endpoint === undefined || endpoint === "tags") {
    throw new Failure(
      "invalid-argument",
      `"${place.http?.url ?? place.artifactory?.url ?? place.git?.repo ?? place.s3?.endpoint ?? place.azure?.endpoint ?? ""}" is no place on the network`,
      {
        hint: "Write the host of a store, or an http or https URL.",
      },
    );
  }
  const locator = new Locator(place, endpoint, options);
  const { s3, gcs, oss, azure, http, artifactory, git } = place;
  if (s3) return locator.s3(s3);
  if (oss) return locator.oss(oss);
  if (gcs) return locator.gcs(gcs);
  if (azure) return locator.azure(azure);
  if (http) return locator.http(http);
  if (artifactory) {
    return locator.http({ url: artifactory.url, auth: { basicAuth: artifactory } });
  }
  if (git) return locator.git(git);
  throw new Failure("invalid-argument", "The place of an artifact names no store");
}

/** What is wrong with using a secret at an endpoint; undefined when it may be. */
export function secretTrouble(
  { name, key }: SecretName,
  endpoint: Endpoint,
  secrets: LocateOptions["secrets"],
): Failure | undefined {
  const label = `${name}/${key}`;
  const secret = secrets.get(label);
  const entry = endpointEntry(endpoint);
  if (!secret) {
    return new Failure(
      "secret-missing",
      `The secret "${label}" of a store at ${entry} is not among the operator's`,
      {
        hint: `Name where it lies and "${entry}" under its hosts in the file for --config, under secrets.${name}.${key}.`,
      },
    );
  }
  if (isFor(secret, endpoint)) return undefined;
  return new Failure("store-refused", `The secret "${label}" is not for the store at ${entry}`, {
    hint: `Add "${entry}" to secrets.${name}.${key}.hosts in the file for --config, if it may go there.`,
  });
}

type Of<Kind extends keyof Place> = NonNullable<Place[Kind]>;
type Asked<Kind extends Location["kind"]> = Extract<Location, { readonly kind: Kind }>;

class Locator {
  readonly #place: Place;
  readonly #endpoint: Endpoint;
  readonly #options: LocateOptions;
  readonly #own: { readonly ofOperator?: true };

  constructor(place: Place, endpoint: Endpoint, options: LocateOptions) {
    this.#place = place;
    this.#endpoint = endpoint;
    this.#options = options;
    this.#own = options.own.some((own) => sameHost(own, place)) ? { ofOperator: true } : {};
  }

  s3(s3: Of<"s3">): Asked<"s3"> {
    const { endpoint = "", bucket = "", key, region, insecure, addressingStyle } = s3;
    const { caSecret, createBucketIfNotPresent, roleARN, sessionTokenSecret } = s3;
    const encryption = this.#encryption(s3);
    const addressing = addressingStyle === "auto" ? undefined : addressingStyle;
    const given = this.#keys(s3);
    return {
      kind: "s3",
      endpoint,
      bucket,
      key,
      ...this.#own,
      ...(insecure === undefined ? {} : { insecure }),
      ...(region === undefined || region === "" ? {} : { region }),
      ...(addressing === undefined ? {} : { addressing }),
      credentials:
        given && sessionTokenSecret
          ? { ...given, sessionToken: this.#secret(sessionTokenSecret) }
          : (given ?? this.#role(s3.useSDKCreds ?? false, roleARN)),
      ...(encryption ? { encryption } : {}),
      ...(caSecret ? { authorities: this.#secret(caSecret) } : {}),
      ...(createBucketIfNotPresent ? { createBucket: createBucketIfNotPresent } : {}),
    };
  }

  #encryption({ encryptionOptions }: Of<"s3">): Asked<"s3">["encryption"] {
    if (!encryptionOptions?.enableEncryption) return undefined;
    const { kmsKeyId, kmsEncryptionContext, serverSideCustomerKeySecret } = encryptionOptions;
    if (serverSideCustomerKeySecret)
      return { kind: "customer", key: this.#secret(serverSideCustomerKeySecret) };
    if (kmsKeyId === undefined || kmsKeyId === "") return { kind: "s3" };
    return {
      kind: "kms",
      keyId: kmsKeyId,
      ...(kmsEncryptionContext === undefined ? {} : { context: kmsEncryptionContext }),
    };
  }

  oss({
    endpoint = "",
    bucket = "",
    key,
    createBucketIfNotPresent,
    ...oss
  }: Of<"oss">): Asked<"oss"> {
    return {
      kind: "oss",
      endpoint,
      bucket,
      key,
      ...this.#own,
      credentials: this.#keys(oss) ?? this.#ambient(oss.useSDKCreds ?? false),
      ...(createBucketIfNotPresent === undefined ? {} : { createBucket: createBucketIfNotPresent }),
    };
  }

  gcs({ bucket = "", key, serviceAccountKeySecret }: Of<"gcs">): Asked<"gcs"> {
    return {
      kind: "gcs",
      bucket,
      key,
      ...(serviceAccountKeySecret
        ? { ...this.#own, serviceAccount: this.#secret(serviceAccountKeySecret) }
        : this.#bucketOwn()),
    };
  }

  azure({ endpoint = "", container = "", blob, ...azure }: Of<"azure">): Asked<"azure"> {
    const { accountKeySecret, useSDKCreds = false } = azure;
    if (!accountKeySecret && useSDKCreds) this.#ambient(useSDKCreds);
    return {
      kind: "azure",
      endpoint,
      container,
      blob,
      ...(accountKeySecret
        ? { ...this.#own, accountKey: this.#secret(accountKeySecret) }
        : this.#bucketOwn()),
    };
  }

  http({ url, headers, auth = {} }: Of<"http">): Asked<"http"> {
    const { basicAuth, clientCert, oauth2 } = auth;
    const who = this.#basic(basicAuth) ?? this.#certificate(clientCert) ?? this.#token(oauth2);
    return {
      kind: "http",
      url,
      ...this.#own,
      ...(headers
        ? { headers: headers.map(({ name, value = "" }) => [name, String(value)] as const) }
        : {}),
      ...(who ? { auth: who } : {}),
    };
  }

  #basic({
    usernameSecret,
    passwordSecret,
  }: NonNullable<Of<"http">["auth"]>["basicAuth"] & object = {}):
    | Asked<"http">["auth"]
    | undefined {
    if (!usernameSecret && !passwordSecret) return undefined;
    return {
      kind: "basic",
      user: usernameSecret ? this.#secret(usernameSecret) : nobody,
      password: passwordSecret ? this.#secret(passwordSecret) : nobody,
    };
  }

  #certificate(
    given: NonNullable<Of<"http">["auth"]>["clientCert"] & object = {},
  ): Asked<"http">["auth"] | undefined {
    const { clientCertSecret, clientKeySecret } = given;
    if (!clientCertSecret || !clientKeySecret) return undefined;
    return {
      kind: "certificate",
      certificate: this.#secret(clientCertSecret),
      key: this.#secret(clientKeySecret),
    };
  }

  #token(
    given: NonNullable<Of<"http">["auth"]>["oauth2"] & object = {},
  ): Asked<"http">["auth"] | undefined {
    const { clientIDSecret, clientSecretSecret, tokenURLSecret, scopes, endpointParams } = given;
    if (!clientIDSecret || !clientSecretSecret || !tokenURLSecret) return undefined;
    return {
      kind: "oauth2",
      clientId: this.#secret(clientIDSecret),
      clientSecret: this.#secret(clientSecretSecret),
      tokenUrl: this.#secret(tokenURLSecret),
      ...(scopes ? { scopes } : {}),
      ...(endpointParams
        ? {
            parameters: endpointParams.map(({ key, value = "" }) => [key, String(value)] as const),
          }
        : {}),
    };
  }

  git(git: Of<"git">): Asked<"git"> {
    const { repo, usernameSecret, passwordSecret, sshPrivateKeySecret, depth } = git;
    const { revision, branch, singleBranch, fetch } = git;
    return {
      kind: "git",
      repository: repo,
      ...this.#own,
      // For Argo a depth of 0 is none.
      ...(depth === undefined || depth === 0 ? {} : { depth }),
      ...(revision === undefined || revision === "" ? {} : { revision }),
      ...(branch === undefined || branch === "" ? {} : { branch }),
      ...(singleBranch === undefined ? {} : { singleBranch }),
      ...(fetch ? { fetch } : {}),
      submodules: !(git.disableSubmodules ?? false),
      ...(usernameSecret ? { user: this.#secret(usernameSecret) } : {}),
      ...(passwordSecret ? { password: this.#secret(passwordSecret) } : {}),
      ...(sshPrivateKeySecret ? { sshKey: this.#secret(sshPrivateKeySecret) } : {}),
      ...(git.insecureIgnoreHostKey ? { anyHostKey: true } : {}),
      ...(git.insecureSkipTLS ? { anyCertificate: true } : {}),
    };
  }

  #keys(bucket: {
    readonly accessKeySecret?: SecretName;
    readonly secretKeySecret?: SecretName;
  }): Extract<S3Credentials, { readonly kind: "keys" }> | undefined {
    const { accessKeySecret, secretKeySecret } = bucket;
    if (!accessKeySecret || !secretKeySecret) return undefined;
    return {
      kind: "keys",
      accessKey: this.#secret(accessKeySecret),
      secretKey: this.#secret(secretKeySecret),
    };
  }

  /** Without keys Argo is who the pod is: on a cluster, its service account. */
  #role(asked: boolean, roleArn = ""): S3Credentials {
    const { identity } = this.#options;
    if (!identity) return this.#ambient(asked, roleArn);
    return {
      kind: "web-identity",
      identity,
      asked: asked || roleArn !== "",
      ...(roleArn === "" ? {} : { roleArn }),
    };
  }

  /** Without keys Argo is who the pod is. Here that is this machine's user, and he is nobody for buckets that he did not name himself. */
  #ambient(asked: boolean, roleArn?: string): S3Credentials {
    if (this.#bucketOwn().ofOperator) {
      return roleArn === undefined || roleArn === ""
        ? { kind: "ambient" }
        : { kind: "ambient", roleArn };
    }
    if (!asked && (roleArn === undefined || roleArn === "")) return { kind: "anonymous" };
    throw new Failure(
      "store-refused",
      `A workflow asks for this machine's own identity at ${endpointEntry(this.#endpoint)}`,
      {
        hint: "Only the operator's own artifactRepository uses it. Name keys with accessKeySecret and secretKeySecret.",
      },
    );
  }

  #bucketOwn(): { readonly ofOperator?: true } {
    return this.#options.own.some((own) => sameStore(own, this.#place)) ? { ofOperator: true } : {};
  }

  #secret(name: SecretName): StoreSecret {
    const { secrets } = this.#options;
    const trouble = secretTrouble(name, this.#endpoint, secrets);
    if (trouble) throw trouble;
    return async (host) => {
      const target = parseEndpoint(host, this.#endpoint.scheme === "http");
      if (target && !this.#covers(target)) {
        const other = secretTrouble(name, target, secrets);
        if (other) throw other;
      }
      const secret = secrets.get(`${name.name}/${name.key}`);
      if (!target || !secret) throw new Failure("store-refused", `"${host}" is no host`);
      return secret.value();
    };
  }

  /** The endpoint itself, or a bucket's name before it. */
  #covers({ host, port, scheme }: Endpoint): boolean {
    const own = this.#endpoint;
    if (port !== own.port || scheme !== own.scheme) return false;
    const bucket = this.#place.s3?.bucket ?? this.#place.oss?.bucket;
    return host === own.host || (bucket !== undefined && host === `${bucket}.${own.host}`);
  }
}

const nobody: StoreSecret = async () => new Uint8Array();
