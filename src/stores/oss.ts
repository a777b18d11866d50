import type { OssLocation, S3Location } from "./mod.ts";
import { openS3 } from "./s3/store.ts";
import type { Store, StoreContext } from "./stores.ts";

/** Alibaba's store through the interface that it shares with S3: signatures of version 4, and buckets before the host alone. */
export async function openOss(context: StoreContext): Promise<Store<OssLocation>> {
  const s3 = await openS3(context);
  return {
    download: (location, folder, options) => s3.download(asS3(location), folder, options),
    upload: (location, content, options) => s3.upload(asS3(location), content, options),
    list: (location, options) => s3.list(asS3(location), options),
    delete: (location, options) => s3.delete(asS3(location), options),
  };
}

function asS3({ endpoint, createBucket, ...location }: OssLocation): S3Location {
  const [, scheme, host = ""] = /^(?:(https?):\/\/)?(.*?)\/?$/.exec(endpoint) ?? [];
  return {
    ...location,
    kind: "s3",
    endpoint: host,
    insecure: scheme === "http",
    addressing: "virtual-hosted",
    ...(createBucket === true ? { createBucket: {} } : {}),
  };
}
