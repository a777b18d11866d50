/**
 * Where an artifact lies outside, in Argo's words: one of these. Plain data that goes into journals: secrets are named, and never in it. A
 * place with nothing but a key is one in a repository, which says the rest.
 */
export interface Place {
  readonly s3?: S3Artifact;
  readonly http?: HttpArtifact;
  readonly artifactory?: ArtifactoryArtifact;
  readonly git?: GitArtifact;
  readonly gcs?: GcsArtifact;
  readonly azure?: AzureArtifact;
  readonly oss?: OssArtifact;
}

/** A secret of the operator's. */
export interface SecretName {
  readonly name: string;
  readonly key: string;
}

interface S3Artifact {
  readonly endpoint?: string;
  readonly bucket?: string;
  readonly region?: string;
  readonly insecure?: boolean;
  readonly accessKeySecret?: SecretName;
  readonly secretKeySecret?: SecretName;
  readonly sessionTokenSecret?: SecretName;
  readonly roleARN?: string;
  readonly useSDKCreds?: boolean;
  readonly caSecret?: SecretName;
  readonly addressingStyle?: "auto" | "path" | "virtual-hosted";
  readonly createBucketIfNotPresent?: { readonly objectLocking?: boolean };
  readonly encryptionOptions?: {
    readonly enableEncryption?: boolean;
    readonly kmsKeyId?: string;
    readonly kmsEncryptionContext?: string;
    readonly serverSideCustomerKeySecret?: SecretName;
  };
  readonly key: string;
}

interface GcsArtifact {
  readonly bucket?: string;
  readonly serviceAccountKeySecret?: SecretName;
  readonly key: string;
}

interface OssArtifact {
  readonly endpoint?: string;
  readonly bucket?: string;
  readonly accessKeySecret?: SecretName;
  readonly secretKeySecret?: SecretName;
  readonly createBucketIfNotPresent?: boolean;
  readonly useSDKCreds?: boolean;
  readonly key: string;
}

interface AzureArtifact {
  readonly endpoint?: string;
  readonly container?: string;
  readonly accountKeySecret?: SecretName;
  readonly useSDKCreds?: boolean;
  readonly blob: string;
}

interface Login {
  readonly usernameSecret?: SecretName;
  readonly passwordSecret?: SecretName;
}

interface ArtifactoryArtifact extends Login {
  readonly url: string;
}

interface HttpArtifact {
  readonly url: string;
  readonly headers?: readonly {
    readonly name: string;
    readonly value?: string | number | boolean;
  }[];
  readonly auth?: {
    readonly basicAuth?: Login;
    readonly clientCert?: {
      readonly clientCertSecret?: SecretName;
      readonly clientKeySecret?: SecretName;
    };
    readonly oauth2?: {
      readonly clientIDSecret?: SecretName;
      readonly clientSecretSecret?: SecretName;
      readonly tokenURLSecret?: SecretName;
      readonly scopes?: readonly string[];
      readonly endpointParams?: readonly {
        readonly key: string;
        readonly value?: string | number | boolean;
      }[];
    };
  };
}

interface GitArtifact extends Login {
  readonly repo: string;
  readonly revision?: string;
  readonly depth?: number;
  readonly fetch?: readonly string[];
  readonly branch?: string;
  readonly singleBranch?: boolean;
  readonly disableSubmodules?: boolean;
  readonly sshPrivateKeySecret?: SecretName;
  readonly insecureIgnoreHostKey?: boolean;
  readonly insecureSkipTLS?: boolean;
}
