import { Failure } from "../../errors/mod.ts";
import type { S3Location } from "../mod.ts";
import { encoded } from "../objects/keys.ts";

/** Where a bucket is reached. */
export interface Endpoint {
  /** As the user wrote it, for messages and for the rules of secrets. */
  readonly host: string;
  /** What its name says of its region. */
  readonly region: string | undefined;
  /** The URL of an object or, without a key, of the bucket. */
  readonly url: (region: string, key?: string, query?: Readonly<Record<string, string>>) => URL;
}

/** Regions come from answers as well, and become part of a host's name. */
export const regionPattern: RegExp = /^[a-z0-9-]{1,64}$/;

/** Reads where the bucket is. Throws `invalid-argument`. */
export function endpointOf(location: S3Location): Endpoint {
  const { bucket, insecure, addressing } = location;
  const scheme = insecure === true ? "http:" : "https:";
  const base = URL.parse(`${scheme}//${location.endpoint}`);
  if (
    !base ||
    base.pathname !== "/" ||
    base.username !== "" ||
    /[/?#@\\\s]/.test(location.endpoint)
  ) {
    throw new Failure("invalid-argument", `"${location.endpoint}" is no endpoint of S3`, {
      hint: 'Write a host such as "s3.amazonaws.com", or a host and a port such as "minio:9000"; for plain HTTP, insecure: true.',
    });
  }
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]{1,253}[A-Za-z0-9]$/.test(bucket) || bucket.includes("..")) {
    throw new Failure("invalid-argument", `"${bucket}" is no name of a bucket`, {
      hint: "Write 3 or more letters, digits, dots and hyphens.",
    });
  }
  // It becomes part of a host's name.
  if (location.region !== undefined && !regionPattern.test(location.region)) {
    throw new Failure("invalid-argument", `"${location.region}" is no region`, {
      hint: 'Write one such as "eu-west-1".',
    });
  }
  const { host, hostname } = base;
  const known = /(?:^|\.)(?:amazonaws\.com(?:\.cn)?|aliyuncs\.com|storage\.googleapis\.com)$/.test(
    hostname,
  );
  // A certificate for *.s3.amazonaws.com is none for a.b.s3.amazonaws.com.
  const fits = /^[a-z0-9-]+$/.test(bucket) || (insecure === true && !/[A-Z_]/.test(bucket));
  const before = addressing === undefined ? known && fits : addressing === "virtual-hosted";
  return {
    host,
    region: regionIn(hostname),
    url: (region, key, query = {}) => {
      const place =
        host === "s3.amazonaws.com" && region !== "us-east-1" ? `s3.${region}.amazonaws.com` : host;
      const path = key === undefined ? "" : key.split("/").map(encoded).join("/");
      const pairs = Object.entries(query).map(
        ([name, value]) => `${encoded(name)}=${encoded(value)}`,
      );
      const search = pairs.length === 0 ? "" : `?${pairs.join("&")}`;
      return new URL(
        before
          ? `${scheme}//${bucket}.${place}/${path}${search}`
          : `${scheme}//${place}/${bucket}${key === undefined ? "" : "/"}${path}${search}`,
      );
    },
  };
}

/** `s3.eu-west-1.amazonaws.com`, `s3-eu-west-1.…`, `s3.dualstack.eu-west-1.…`, `oss-cn-hangzhou.aliyuncs.com`. */
function regionIn(hostname: string): string | undefined {
  const match =
    /^s3[.-](?:fips[.-])?(?:dualstack\.)?([a-z0-9-]+)\.amazonaws\.com(?:\.cn)?$/.exec(hostname) ??
    /^(?:s3\.)?oss-([a-z0-9-]+?)(?:-internal)?\.aliyuncs\.com$/.exec(hostname);
  const region = match?.[1];
  return region === "accelerate" || region === "external-1" ? undefined : region;
}
