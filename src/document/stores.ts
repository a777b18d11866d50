import {
  flag,
  idle,
  list,
  object,
  offered,
  refused,
  scalar,
  text,
  whole,
  type Key,
  type ObjectShape,
  type Shape,
} from "./shapes.ts";

/** Keys of Argo's `ArtifactLocation`: where an artifact lies in a store. */

const secret = object(
  "SecretSelector",
  "A key of a secret of the operator's, in the file for --config.",
  {
    name: offered("Name of the secret.", text()),
    key: offered("Key of the secret.", text()),
    optional: idle("a store that names a secret needs it"),
  },
  "name",
  "key",
);
const secretOf = (says: string): Key => offered(says, secret);

const s3Bucket: Readonly<Record<string, Key>> = {
  endpoint: offered("Host, or host and port, such as s3.amazonaws.com or minio:9000.", text()),
  bucket: offered("The bucket.", text()),
  region: offered("Its region.", text()),
  insecure: offered("Plain HTTP.", flag),
  accessKeySecret: secretOf("The access key."),
  secretKeySecret: secretOf("The secret key."),
  sessionTokenSecret: secretOf("The session token."),
  roleARN: offered("A role to take on. Only in the operator's own repository.", text()),
  useSDKCreds: offered("This machine's own identity. Only in the operator's repository.", flag),
  caSecret: secretOf("Certificates of the authorities to trust."),
  addressingStyle: offered(
    "How the bucket is named in requests.",
    text(["auto", "path", "virtual-hosted"]),
  ),
  createBucketIfNotPresent: offered(
    "Makes the bucket.",
    object("CreateBucket", "Makes the bucket.", {
      objectLocking: offered("Whether its objects can be locked.", flag),
    }),
  ),
  encryptionOptions: offered(
    "Encryption by the server.",
    object("S3Encryption", "Encryption by the server.", {
      enableEncryption: offered("Whether it is asked for.", flag),
      kmsKeyId: offered("Key of its key service.", text()),
      kmsEncryptionContext: offered("A JSON object of texts.", text()),
      serverSideCustomerKeySecret: secretOf("A key of the user's own."),
    }),
  ),
};
const gcsBucket: Readonly<Record<string, Key>> = {
  bucket: offered("The bucket.", text()),
  serviceAccountKeySecret: secretOf("The JSON of a service account."),
};
const ossBucket: Readonly<Record<string, Key>> = {
  endpoint: offered("Host, such as oss-cn-hangzhou.aliyuncs.com.", text()),
  bucket: offered("The bucket.", text()),
  accessKeySecret: secretOf("The access key."),
  secretKeySecret: secretOf("The secret key."),
  createBucketIfNotPresent: offered("Makes the bucket.", flag),
  securityToken: refused("It is a secret. Use a secret for it with s3, or another key."),
  lifecycleRule: idle("objects are deleted by artifactGC alone"),
  useSDKCreds: offered("This machine's own identity. Only in the operator's repository.", flag),
};
const azureContainer: Readonly<Record<string, Key>> = {
  endpoint: offered("Such as https://ACCOUNT.blob.core.windows.net.", text()),
  container: offered("The container.", text()),
  accountKeySecret: secretOf("The account's key."),
  useSDKCreds: offered("This machine's own identity. Only in the operator's repository.", flag),
};
const login: Readonly<Record<string, Key>> = {
  usernameSecret: secretOf("The user's name."),
  passwordSecret: secretOf("The password."),
};

const s3 = object(
  "S3",
  "An object of S3 or of a store like it. With nothing but a key: of the artifact repository.",
  { ...s3Bucket, key: offered("Its key, or the beginning of the keys of a folder.", text()) },
  "key",
);
const gcs = object(
  "Gcs",
  "An object of Google Cloud Storage.",
  { ...gcsBucket, key: offered("Its key.", text()) },
  "key",
);
const oss = object(
  "Oss",
  "An object of Alibaba's store.",
  { ...ossBucket, key: offered("Its key.", text()) },
  "key",
);
const azure = object(
  "Azure",
  "A blob of Azure.",
  { ...azureContainer, blob: offered("Its name.", text()) },
  "blob",
);
const artifactory = object(
  "Artifactory",
  "A file of Artifactory.",
  { url: offered("Its URL.", text()), ...login },
  "url",
);
const namedValue = (name: string, says: string, key: "name" | "key"): Shape =>
  list(
    object(
      name,
      says,
      { [key]: offered("Its name.", text()), value: offered("Its value.", scalar) },
      key,
    ),
  );
const http = object(
  "Http",
  "What a URL gives, or takes by PUT.",
  {
    url: offered("The URL.", text()),
    headers: offered("Further headers.", namedValue("Header", "A header of the request.", "name")),
    auth: offered(
      "Who asks.",
      object("HttpAuth", "Who asks.", {
        basicAuth: offered("Name and password.", object("BasicAuth", "Name and password.", login)),
        clientCert: offered(
          "A certificate.",
          object("ClientCert", "A certificate.", {
            clientCertSecret: secretOf("The certificate."),
            clientKeySecret: secretOf("Its key."),
          }),
        ),
        oauth2: offered(
          "A token by the client's own credentials.",
          object("OAuth2", "A token by the client's own credentials.", {
            clientIDSecret: secretOf("Who the client is."),
            clientSecretSecret: secretOf("Its secret."),
            tokenURLSecret: secretOf("Where it gets the token."),
            scopes: offered("Scopes of the token.", list(text())),
            endpointParams: offered(
              "Further parameters.",
              namedValue("EndpointParam", "A parameter of the request for a token.", "key"),
            ),
          }),
        ),
      }),
    ),
    saveStreamViaFile: idle("every artifact lies in a file before it is sent"),
  },
  "url",
);
const git = object(
  "Git",
  "A checkout of a git repository.",
  {
    repo: offered("Its URL.", text()),
    revision: offered("A commit, tag or branch.", text()),
    depth: offered("Commits of the history.", whole(0)),
    fetch: offered("Further refs.", list(text())),
    branch: offered("The branch.", text()),
    singleBranch: offered("No other branches.", flag),
    disableSubmodules: offered("No submodules.", flag),
    ...login,
    sshPrivateKeySecret: secretOf("A key for ssh."),
    insecureIgnoreHostKey: offered("Any host is taken for the right one.", flag),
    insecureSkipTLS: offered("Any certificate is taken for a right one.", flag),
  },
  "repo",
);
const raw = object("Raw", "Content as text.", { data: offered("The text.", text()) }, "data");

const noClient = (what: string): string =>
  `There is no client for ${what} here. Copy it to S3, GCS, Azure or a web server, or pass the file with --artifact NAME=PATH.`;

/** The kinds of stores of an artifact. */
export const locationKeys: Readonly<Record<string, Key>> = {
  s3: offered("An object of S3, or of the artifact repository.", s3),
  http: offered("What a URL gives.", http),
  artifactory: offered("A file of Artifactory.", artifactory),
  git: offered("A checkout of a git repository.", git),
  raw: offered("Its content.", raw),
  gcs: offered("An object of Google Cloud Storage.", gcs),
  azure: offered("A blob of Azure.", azure),
  oss: offered("An object of Alibaba's store.", oss),
  hdfs: refused(noClient("HDFS")),
  plugin: refused(noClient("plugins of stores")),
};

/** `archiveLocation` of a template. */
export const archiveLocation: Shape = object(
  "ArchiveLocation",
  "Where a template's outputs go that do not say it themselves.",
  {
    ...locationKeys,
    git: refused("Nothing is written to git. Name a store."),
    raw: refused("Nothing is written there. Name a store."),
    archiveLogs: offered("Whether the logs go there, too.", flag),
  },
);

const gcKeys: Readonly<Record<string, Key>> = {
  strategy: offered(
    "When the artifacts in stores are deleted.",
    text(["OnWorkflowCompletion", "OnWorkflowDeletion", "Never"]),
  ),
  podMetadata: idle("there are no pods on one machine"),
  serviceAccountName: idle("there are no pods on one machine"),
};

/** `artifactGC` of an artifact. */
export const artifactGc: Shape = object("ArtifactGC", "When it is deleted.", gcKeys);

/** `artifactGC` of a workflow. */
export const workflowGc: Shape = object("WorkflowArtifactGC", "When artifacts are deleted.", {
  ...gcKeys,
  forceFinalizerRemoval: idle("use `delete --force`"),
  podSpecPatch: idle("there are no pods on one machine"),
});

/** `artifactRepositoryRef` of a workflow. */
export const repositoryRef: Shape = object(
  "ArtifactRepositoryRef",
  "An artifact repository of the operator's, or of a ConfigMap among the files.",
  {
    configMap: offered("Its mapping; artifact-repositories is the default.", text()),
    key: offered("Its key in the mapping.", text()),
  },
);

const keyFormat = offered("Where outputs go, such as {{workflow.name}}/{{pod.name}}.", text());
const keys = (name: string, says: string, of: Readonly<Record<string, Key>>): Key =>
  offered(says, object(name, says, of));

/** An artifact repository: a bucket, and where in it outputs go. */
export const artifactRepository: ObjectShape = object(
  "ArtifactRepository",
  "A place for artifacts.",
  {
    archiveLogs: offered("Whether logs go there, too.", flag),
    s3: keys("S3Repository", "A bucket of S3.", {
      ...s3Bucket,
      keyFormat,
      keyPrefix: offered("What stands before the keys.", text()),
    }),
    gcs: keys("GcsRepository", "A bucket of Google's.", { ...gcsBucket, keyFormat }),
    oss: keys("OssRepository", "A bucket of Alibaba's.", { ...ossBucket, keyFormat }),
    azure: keys("AzureRepository", "A container of Azure.", {
      ...azureContainer,
      blobNameFormat: keyFormat,
    }),
    artifactory: keys("ArtifactoryRepository", "A repository of Artifactory.", {
      ...login,
      repoURL: offered("Its URL.", text()),
      keyFormat,
    }),
    hdfs: refused(noClient("HDFS")),
    plugin: refused(noClient("plugins of stores")),
  },
);
