// What `npm run test:stores` tells the tests: which real servers are there. A test that has use for one asks here and skips itself otherwise.
import { readFileSync } from "node:fs";

/** A registry by its host and port, as it stands in a reference. */
export interface GivenRegistry {
  readonly host: string;
  /** It speaks plain HTTP. */
  readonly insecure: boolean;
  readonly user?: string;
  readonly password?: string;
  /** A file with the certificate of the authority that signed the registry's, where it speaks HTTPS. */
  readonly authority?: string;
}

export interface GivenS3 {
  readonly endpoint: string;
  readonly region: string;
  readonly bucket: string;
  readonly accessKey: string;
  readonly secretKey: string;
  readonly authority?: string;
}

/** What is missing could not be installed or started here. */
export interface GivenServers {
  /** CNCF distribution, without login. It has no referrers API. */
  readonly registry?: GivenRegistry;
  /** The same, which wants a user and a password (Basic). */
  readonly registryWithPassword?: GivenRegistry;
  /** The same, which wants a token of a token server (Bearer), which wants the user and the password for anything but pulls below `public/`. */
  readonly registryWithTokens?: GivenRegistry;
  /** The same with HTTPS and a certificate of an authority of ours, without login. */
  readonly registryWithTls?: GivenRegistry;
  /** The registry of go-containerregistry, with the referrers API. */
  readonly registryWithReferrers?: GivenRegistry;
  /** versitygw, with a bucket of its own for these tests: let every test use a prefix of its own. */
  readonly s3?: GivenS3;
  readonly s3WithTls?: GivenS3;
  readonly gcs?: { readonly endpoint: string; readonly bucket: string };
  readonly azure?: {
    readonly endpoint: string;
    readonly account: string;
    readonly key: string;
    readonly container: string;
  };
}

/** The servers of the file that ATALANTA_TEST_SERVERS names; none without it. */
export function givenServers(): GivenServers {
  const file = process.env["ATALANTA_TEST_SERVERS"];
  return file === undefined ? {} : (JSON.parse(readFileSync(file, "utf8")) as GivenServers);
}

/** For the options of a test: why it is skipped, or that it is not. */
export function needs(server: keyof GivenServers): { readonly skip: string | false } {
  const there = givenServers()[server] !== undefined;
  return { skip: there ? false : `no ${server} here: npm run test:stores starts one` };
}
