/**
 * Where artifacts lie outside: one interface, and a file or folder for each kind of store. It knows nothing of workflows; a
 * location is all that is needed to go there.
 */
import type { AddressRules, ProxyFor } from "../network/mod.ts";
import type { HostBytes, TreeEntry } from "../wasi/mod.ts";

export { openStores } from "./stores.ts";

/**
 * Gives a secret's value for use at a host (`minio.example.com:9000`, without the port where it is the scheme's own), or fails when it is not
 * for that host.
 */
export type Secret = (host: string) => Promise<Uint8Array>;

interface Place {
  /**
   * The operator named this endpoint himself: it may lie at private addresses, and this machine's own identity may be used
   * for it. Absent: a workflow named it, and it has public addresses or such as the operator allowed.
   */
  readonly ofOperator?: true;
}

interface Authorities {
  /** Certificates (PEM) of the authorities to trust instead of Node's own. */
  readonly authorities?: Secret;
}

export interface S3Location extends Place, Authorities {
  readonly kind: "s3";
  /** Host, or host and port: `s3.amazonaws.com`, `minio:9000`. */
  readonly endpoint: string;
  /** Plain HTTP. */
  readonly insecure?: boolean;
  readonly bucket: string;
  /** Default: what the bucket answers, else us-east-1. */
  readonly region?: string;
  /** The key of an object, or the beginning of the keys of a folder. */
  readonly key: string;
  /** How the bucket is named: in the path, or before the host. Default: before the host at Amazon's, Google's and Alibaba's, else in the path. */
  readonly addressing?: "path" | "virtual-hosted";
  readonly credentials: S3Credentials;
  readonly encryption?: S3Encryption;
  /** Makes the bucket before an upload. */
  readonly createBucket?: { readonly objectLocking?: boolean };
}

/** Somebody whom an issuer vouches for that clouds trust, such as a service account of a cluster. No store ever gets a token of his: they are for a cloud's token service. */
export interface WebIdentity {
  /** Who; what a cloud gives him is kept by it. */
  readonly name: string;
  /** What stands beside him for clouds to read, by their names for it. */
  annotation(name: string, signal: AbortSignal): Promise<string | undefined>;
  /** A new token that is good for one audience. */
  token(audience: string, signal: AbortSignal): Promise<string>;
}

export type S3Credentials =
  | { readonly kind: "anonymous" }
  | {
      readonly kind: "keys";
      readonly accessKey: Secret;
      readonly secretKey: Secret;
      readonly sessionToken?: Secret;
    }
  /**
   * Who this machine or this user is: variables, a web identity, the shared file, the container's or the machine's role (in this order);
   * then, if it is named, another role by STS. Only with `ofOperator`.
   */
  | { readonly kind: "ambient"; readonly roleArn?: string }
  /**
   * The role that the annotation `eks.amazonaws.com/role-arn` names, by STS and a token; then `roleArn`, or that alone. Without either he is
   * nobody, which fails when the role was `asked` for.
   */
  | {
      readonly kind: "web-identity";
      readonly identity: WebIdentity;
      readonly roleArn?: string;
      readonly asked: boolean;
    };

export type S3Encryption =
  | { readonly kind: "s3" }
  | {
      readonly kind: "kms";
      readonly keyId: string;
      /** A JSON object of strings. */
      readonly context?: string;
    }
  /** The object's key is derived from this as Argo does, so that both read what the other wrote. Only over TLS. */
  | { readonly kind: "customer"; readonly key: Secret };

/** Alibaba's, through its S3 interface. */
export interface OssLocation extends Place {
  readonly kind: "oss";
  /** `oss-cn-hangzhou.aliyuncs.com`, with or without a scheme before it. */
  readonly endpoint: string;
  readonly bucket: string;
  readonly key: string;
  readonly credentials: S3Credentials;
  readonly createBucket?: boolean;
}

export interface HttpLocation extends Place, Authorities {
  readonly kind: "http";
  readonly url: string;
  readonly headers?: readonly (readonly [name: string, value: string])[];
  readonly auth?:
    | { readonly kind: "basic"; readonly user: Secret; readonly password: Secret }
    | { readonly kind: "certificate"; readonly certificate: Secret; readonly key: Secret }
    | {
        readonly kind: "oauth2";
        readonly clientId: Secret;
        readonly clientSecret: Secret;
        readonly tokenUrl: Secret;
        readonly scopes?: readonly string[];
        readonly parameters?: readonly (readonly [name: string, value: string])[];
      };
}

export interface GitLocation extends Place {
  readonly kind: "git";
  readonly repository: string;
  readonly revision?: string;
  readonly depth?: number;
  readonly fetch?: readonly string[];
  readonly branch?: string;
  readonly singleBranch?: boolean;
  readonly submodules?: boolean;
  readonly user?: Secret;
  readonly password?: Secret;
  readonly sshKey?: Secret;
  readonly anyHostKey?: boolean;
  readonly anyCertificate?: boolean;
}

export interface GcsLocation extends Place {
  readonly kind: "gcs";
  readonly bucket: string;
  readonly key: string;
  /** The JSON of a service account. Absent: with `ofOperator` this machine's own identity, else nobody's. */
  readonly serviceAccount?: Secret;
  /** Another one than Google's, for tests. */
  readonly endpoint?: string;
}

export interface AzureLocation extends Place {
  readonly kind: "azure";
  /** `https://ACCOUNT.blob.core.windows.net`. */
  readonly endpoint: string;
  readonly container: string;
  readonly blob: string;
  /** The account's key, or a shared access signature. Absent: with `ofOperator` this machine's own identity, else nobody's. */
  readonly accountKey?: Secret;
}

/** Everything that is needed to go to an artifact outside. */
export type Location =
  | S3Location
  | OssLocation
  | HttpLocation
  | GitLocation
  | GcsLocation
  | AzureLocation;

export interface WaitOptions {
  readonly signal?: AbortSignal | undefined;
}

export interface TransferOptions extends WaitOptions {
  /** Gets all bytes that went so far. A number may be lower than the one before, where something had to be begun again. */
  readonly onProgress?: ((bytes: number) => void) | undefined;
}

/** What was brought. Its files lie below the folder that was given, under names of ours, and are the caller's. */
export type Downloaded =
  | {
      readonly kind: "file";
      readonly content: Extract<HostBytes, { readonly kind: "slice" }>;
      /** Permission bits, where the store has them. */
      readonly mode?: number;
    }
  | { readonly kind: "directory"; readonly entries: readonly TreeEntry[] };

export type UploadContent =
  | { readonly kind: "file"; readonly content: HostBytes }
  /** Bytes whose number is not known; asked for again when all of it must go again. */
  | { readonly kind: "stream"; readonly bytes: () => AsyncIterable<Uint8Array> }
  | { readonly kind: "directory"; readonly entries: readonly TreeEntry[] };

export interface Uploaded {
  readonly bytes: number;
  /** Objects that were written. */
  readonly files: number;
}

export interface ListedObject {
  readonly key: string;
  readonly size: number;
}

/** All kinds of stores. Connections and short-lived credentials are kept until it is disposed of. */
export interface Stores extends AsyncDisposable {
  /**
   * Brings a file, or a folder where the store has one of that name, into `folder`, which is there and empty. Fails with `artifact-missing` when there is
   * neither; nothing of a failed download is left.
   */
  download(location: Location, folder: string, options?: TransferOptions): Promise<Downloaded>;
  /**
   * Sends a file or a folder. The object is there whole or not at all; of a folder that failed, files may be there. Kinds that are only read
   * fail with `invalid-argument`.
   */
  upload(location: Location, content: UploadContent, options?: TransferOptions): Promise<Uploaded>;
  /** What lies at the key and below it, in the store's order. */
  list(location: Location, options?: WaitOptions): AsyncIterable<ListedObject>;
  /** Removes the file, or all of the folder. That nothing is there is fine. */
  delete(location: Location, options?: WaitOptions): Promise<void>;
}

export interface StoresOptions {
  /** For what a workflow names. */
  readonly reach: AddressRules;
  /** For what the operator named; default: private addresses as well, and whatever `reach` allows. */
  readonly operatorReach: AddressRules;
  /** Certificates (PEM) of authorities to trust instead of Node's own, where a location has none of its own. */
  readonly authorities?: readonly string[];
  readonly proxyFor?: ProxyFor;
  /** For parts of streams on their way; of the machine's owner, not shared. Made when it is not there. */
  readonly stagingFolder: string;
  /** For credentials of this machine (`AWS_…` and the like), used with `ofOperator` alone; default: none. */
  readonly environment?: Readonly<Record<string, string | undefined>>;
  readonly limits?: StoreLimits;
  readonly timeouts?: StoreTimeouts;
  readonly retries?: StoreRetries;
}

export interface StoreLimits {
  /** Bytes of one artifact; default 5 TiB. */
  readonly bytes?: number;
  /** Files of a folder; default 100,000. */
  readonly files?: number;
}

export interface StoreTimeouts {
  /** To connect, with TLS; default 10 s. */
  readonly connectMs?: number;
  /** From the end of a request to the headers of its answer; default 60 s. */
  readonly headersMs?: number;
  /** In which some of a body must come or go; default 30 s. */
  readonly idleMs?: number;
}

export interface StoreRetries {
  /** How often a request is made before its failure is told, the first time included; default 5. */
  readonly attempts?: number;
  /** Wait before the second attempt, on average; each further one waits twice as long; default 200 ms. */
  readonly firstMs?: number;
  /** The longest wait, also when a server asks for more; default 30 s. */
  readonly mostMs?: number;
}
